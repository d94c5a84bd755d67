"""The same seed is the same world: again, in another process, beside another world, however it is watched."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.decisions import CodecQuestion
from sim.episode import draw_episode
from sim.world import World

Play = Callable[..., World]
InTurn = Callable[[CodecQuestion], int]

CODECS = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
VARIED = ("wan", "hybrid", "lossy", "cpu-starved", "internet")


@pytest.mark.parametrize("name", VARIED)
def test_the_same_seed_gives_the_same_records_also_after_other_episodes(name: str, played: Play) -> None:
    first = played(draw_episode(SCENARIOS[name], 11)).records
    played(draw_episode(SCENARIOS["lossy"], 12))
    assert played(draw_episode(SCENARIOS[name], 11)).records == first


PROGRAM = """
import hashlib
from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.world import World
codecs = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
world = World(draw_episode(SCENARIOS["hybrid"], 13), codecs)
world.run(lambda question: question.request % 4)
print(hashlib.sha256(repr(world.records).encode()).hexdigest())
"""


def test_another_process_plays_the_same_episode_bit_for_bit(capsys: pytest.CaptureFixture[str]) -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    exec(PROGRAM, {})
    assert run.stdout == capsys.readouterr().out != ""


def test_arrivals_do_not_depend_on_the_answers(played: Play) -> None:
    episode = draw_episode(SCENARIOS["wan"], 14)
    arrivals = [
        [record.arrival_s for record in sorted(played(episode, lambda _, c=codec: c).records)]  # type: ignore[misc]
        for codec in range(len(CODECS))
    ]
    assert arrivals[0] == arrivals[1] == arrivals[2] == arrivals[3] == episode.requests.arrival_s.tolist()


def test_two_worlds_side_by_side_do_not_disturb_each_other(played: Play, in_turn: InTurn) -> None:
    episodes = [draw_episode(SCENARIOS[name], 15) for name in ("wan", "lossy")]
    apart = [played(episode).records for episode in episodes]
    worlds = [World(episode, CODECS) for episode in episodes]
    running = list(worlds)
    while running:
        for world in list(running):
            question = world.next_question()
            if question is None:
                running.remove(world)
            else:
                world.answer(in_turn(question))
    assert [world.records for world in worlds] == apart


def test_who_reads_the_cost_changes_nothing(played: Play, in_turn: InTurn) -> None:
    episode = draw_episode(SCENARIOS["metro"], 16)
    world = World(episode, CODECS)
    while (question := world.next_question()) is not None:
        assert world.cost >= 0
        world.answer(in_turn(question))
    assert world.records == played(episode).records
