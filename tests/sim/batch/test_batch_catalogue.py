"""Every scenario of the catalogue in both engines: the same questions, costs and records."""

from itertools import product
from math import inf

import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import draw_episode

CODEC_SETS = (
    ("none", "zstd", "hde", "amst", "hde_xor", "zstd-9", "amst-16-lz4"),
    ("hde", "amst-64"),
    ("zstd-1", "hde_xor", "amst-2-lz4"),
)
EVERY_DAY = 3


@pytest.mark.parametrize(("dispatch", "share"), list(product((False, True), repeat=2)))
@pytest.mark.parametrize("name", SCENARIOS)
def test_both_engines_ask_and_record_the_same(name, dispatch, share, twins, random_answers, more):
    scenario = SCENARIOS[name]
    interval_s = scenario.workload.interval_s
    for seed in range(more or EVERY_DAY):
        codecs = [parse_codec(codec) for codec in CODEC_SETS[seed % len(CODEC_SETS)]]
        questions = {
            "dispatch": dispatch,
            "share": share,
            "control_s": (1.3, 0.7)[seed % 2] * interval_s,
            "quantum_s": (inf, 3.7 * interval_s)[seed % 2] if dispatch else inf,
        }
        pair = twins(draw_episode(scenario, seed), codecs, **questions)
        pair.play(random_answers(seed, len(codecs)))
        assert len(pair.world.records) == scenario.requests


@pytest.mark.parametrize(("dispatch", "share"), [(True, False), (False, True), (False, False)])
def test_a_question_that_a_rule_answers_is_not_put_by_either(dispatch, share, twins, random_answers):
    episode = draw_episode(SCENARIOS["two-links"], 5)
    for codec in range(7):
        pair = twins(episode, dispatch=dispatch, share=share, codec=codec, control_s=20.0)
        pair.play(random_answers(codec))
        assert not any(isinstance(answer, int) for answer in pair.given)
        assert {record.codec for record in pair.batch.records(0)} == {pair.batch.codecs[codec].name}
