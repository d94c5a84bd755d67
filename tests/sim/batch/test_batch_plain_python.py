"""The kernels as plain Python, for debugging: they say what the compiled ones say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLAY = """
import json, sys
import numpy as np
from sim.batch.layout import OPEN
from sim.batch.world import BatchWorld, OpenTo
from sim.catalogue import SCENARIOS
from sim.codecs import CODECS
from sim.decisions import CodecQuestion, DispatchQuestion, Go, Shares
from sim.episode import draw_episode

def answer(question):
    if isinstance(question, CodecQuestion):
        return question.request % len(CODECS)
    if isinstance(question, DispatchQuestion):
        ways = [(place, path) for place, one in enumerate(question.waiting) for path in one.paths]
        wait = question.may_wait and question.waiting[0].request % 3 == 0
        return None if wait else Go(*ways[-1])
    weights = [one.size_bytes for one in question.running]
    return Shares(weights, weights[::-1], [one.request % 9 + 1 for one in question.running])

episode, played = draw_episode(SCENARIOS["two-links"].with_(requests=16), 4), []
for dispatch, share in ((False, False), (True, False), (False, True), (True, True)):
    batch = BatchWorld([episode], 2, list(CODECS.values()), OpenTo(OPEN, dispatch, share, 20.0))
    batch.start(0, 0)
    asked = []
    while (question := batch.next_question(0)) is not None:
        asked.append((type(question).__name__, *map(str, question)))
        batch.answer(0, answer(question))
    batch.fork(0, 1)
    assert batch.records(0) == batch.records(1)
    played.append((asked, batch.cost(0), [list(record) for record in batch.records(0)]))
print(json.dumps(played))
"""


def played(disabled: str) -> list:
    run = subprocess.run(
        [sys.executable, "-c", PLAY],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": disabled},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def words(record: list) -> list[str]:
    return [entry for entry in record if isinstance(entry, str)]


def numbers(record: list) -> list[float]:
    return [entry for entry in record if not isinstance(entry, str)]


def test_one_episode_of_each_question_goes_as_the_compiled_one():
    plain, compiled = played("1"), played("0")
    for (asked, cost, records), (expected, its_cost, its_records) in zip(plain, compiled, strict=True):
        assert [question[0] for question in asked] == [question[0] for question in expected]
        assert cost == pytest.approx(its_cost, rel=1e-12)
        for record, its_record in zip(records, its_records, strict=True):
            assert words(record) == words(its_record)
            assert numbers(record) == pytest.approx(numbers(its_record), rel=1e-12)
