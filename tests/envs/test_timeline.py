"""The picture of an episode: lanes, rates and colours worked by hand, and drawings of scenarios."""

import numpy as np
import pytest

from envs.compression import DEFAULT_CODECS
from envs.timeline import Span, codec_colour, draw_timeline, lanes, sent_rate, spans
from sim.catalogue import find_scenario
from sim.codecs import CODECS, parse_codec
from sim.episode import draw_episode
from sim.world import World


def world_after(scenario: str, steps: int | None) -> World:
    """A world whose codecs take turns, after some answers or at its end."""
    world = World(draw_episode(find_scenario(scenario), 0), [parse_codec(name) for name in DEFAULT_CODECS])
    while (question := world.next_question()) is not None and steps != 0:
        world.answer(question.request % 4)
        steps = None if steps is None else steps - 1
    return world


def span(start_s: float, end_s: float, wire_bytes: float) -> Span:
    return Span(start_s, start_s, end_s, np.inf, 0, "zstd", False, wire_bytes)


def test_bars_that_overlap_lie_in_different_lanes():
    assert lanes([0.0, 1.0, 2.0, 3.0, 5.0], [4.0, 2.0, 6.0, 3.5, 7.0]) == [0, 1, 1, 2, 0]


def test_the_rates_of_transfers_side_by_side_add_up():
    edges = np.array([0.0, 1.0, 2.0, 4.0, 5.0])
    rates = sent_rate([span(0.0, 2.0, 20.0), span(1.0, 4.0, 90.0)], edges)
    assert rates.tolist() == [10.0, 40.0, 30.0, 0.0]


def test_what_was_sent_is_what_the_records_say():
    world = world_after("wan", None)
    bars = spans(world)
    edges = np.unique([0.0, *(bar.start_s for bar in bars), *(bar.end_s for bar in bars)])
    sent = float((sent_rate(bars, edges) * np.diff(edges)).sum())
    assert sent == pytest.approx(sum(record.wire_bytes for record in world.records), rel=1e-9)


def test_in_the_middle_the_moving_and_the_waiting_are_there_too():
    world = world_after("flash-crowd", 90)
    arrived = int((world.episode.requests.arrival_s <= world.clock.now).sum())
    bars = spans(world)
    assert len(bars) == arrived > len(world.records)
    open_bars = [bar for bar in bars if not bar.wire_bytes]
    assert len(open_bars) == arrived - len(world.records)
    assert all(bar.end_s == world.clock.now >= bar.start_s >= bar.arrival_s for bar in open_bars)
    assert sum(bool(bar.codec) for bar in open_bars) == len(world.moving)


def test_every_codec_has_a_colour_and_families_differ():
    colours = {codec.family: codec_colour(codec) for codec in CODECS.values() if codec.name == codec.family}
    assert len(set(colours.values())) == len(colours) == 5
    levels = [codec_colour(parse_codec(name)) for name in ("zstd-1", "zstd-3", "zstd-9", "zstd-19")]
    assert len(set(levels)) == 4


@pytest.mark.parametrize(("scenario", "steps"), [("wan", 0), ("hybrid", 30), ("dwcp-constrained", None)])
def test_a_picture_has_its_size_and_shows_something(scenario, steps):
    picture = draw_timeline(world_after(scenario, steps))
    assert picture.shape == (700, 1200, 3) and picture.dtype == np.uint8
    assert 0.01 < (picture < 250).any(axis=2).mean() < 0.9


def test_the_same_world_is_drawn_the_same():
    assert (draw_timeline(world_after("lossy", 20)) == draw_timeline(world_after("lossy", 20))).all()


def test_the_picture_bears_the_colours_of_the_codecs_in_use():
    picture = draw_timeline(world_after("wan", None))
    for name in DEFAULT_CODECS:
        colour = codec_colour(parse_codec(name))
        channels = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
        assert (picture == channels).all(axis=2).sum() > 100
