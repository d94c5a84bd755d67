"""Other futures of an episode: the same until a moment, then other chance from the state of that moment.

What no sender can know when a transfer starts is how its link and host go on and who comes next. To play the
same transfer in many futures tells how well anyone could predict it, who knows the present perfectly: a
ceiling for every predictor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.supervised.outcomes import Exploring, seconds_alone
from sim.batch.layout import OPEN
from sim.batch.world import BatchWorld, OpenTo
from sim.codecs import Codec
from sim.decisions import CodecQuestion
from sim.episode import Conditions, Episode, Probes, draw_episode
from sim.links import LinkModel
from sim.payloads import Payloads
from sim.randomness import stream

Floats = npt.NDArray[np.float64]

OUT: Final = 0.1
"""Share of a link's level below which it counts as in outage: outages leave 2 %."""
_TRIES: Final = 400
_LOAD_TAU_S: Final = 10.0 / -log(0.9)
"""Correlation time of the background load: 0.9 a step of 10 s, as `sim.episode` draws it."""


def link_level(model: LinkModel, rng: np.random.Generator) -> float:
    """Capacity that a link draws for good, bytes/s: from the first number that `sim.links.generate` takes."""
    return model.capacity * exp(model.capacity_log_sd * rng.standard_normal())


def levels(episode: Episode) -> Floats:
    """What each link drew for good: capacity and round trip, shape (paths, 2), bytes/s and s."""
    drawn = []
    for number, spec in enumerate(episode.scenario.paths):
        rng = stream(episode.seed, f"link {number}")
        capacity = link_level(spec.model, rng)
        drawn.append((capacity, spec.model.rtt_s * exp(spec.model.rtt_log_sd * rng.standard_normal())))
    return np.array(drawn)


def another_future(
    episode: Episode,
    when_s: float,
    request: int,
    rng: np.random.Generator,
    others: Sequence[Episode] = (),
) -> Episode:
    """The episode as it is until ``when_s``, and then another draw of all that was still to be decided.

    Links go on from their state: an Ornstein-Uhlenbeck path forgets where it was at its own rate, so a fresh
    one plus what is left of the difference is exactly such a path from there. Streams of others that are
    alive live on for a memoryless time. Requests come at new times and in another order, except periodic
    ones. Of the transfer itself only the speed of its coder is drawn anew: its payload is taken as known.

    Args:
        episode: Drawn by `sim.episode.draw_episode` from link models without a chain.
        when_s: When the present ends.
        request: The transfer that starts then.
        rng: Draws the future.
        others: From `others_of`, where many futures share some; without, each has one of its own.

    Raises:
        ValueError: If a link is a chain, whose state cannot be read off.
    """
    present = links_at(episode.conditions, when_s)
    changed, other = on_other_links(episode, when_s, present, rng, others)
    return _with_others(changed, other, request, when_s, rng)


def others_of(episode: Episode, count: int, rng: np.random.Generator) -> Iterator[Episode]:
    """Draws of an episode's scenario that begin at its hour, one by one."""
    scenario = episode.scenario.with_(start_hour=episode.start_hour)
    return (draw_episode(scenario, int(rng.integers(2**31))) for _ in range(count))


def on_other_links(
    episode: Episode,
    when_s: float,
    present: Floats,
    rng: np.random.Generator,
    others: Sequence[Episode] = (),
) -> tuple[Episode, Episode]:
    """The episode with other links, host and probes from ``when_s`` on, and the draw that they come from.

    Args:
        episode: As of `another_future`.
        when_s: When the present ends.
        present: Conditions from which the links go on, shape (paths, 4); round trip and loss are not read.
        rng: Draws the future.
        others: As of `another_future`.

    Raises:
        ValueError: If a link is a chain, whose state cannot be read off.
    """
    if episode.scenario.has_chains:
        raise ValueError(f"{episode.scenario.name} has links by chain; resample futures of others")
    own = levels(episode)
    out = present[:, 0] < OUT * own[:, 0]
    shuffled = (others[place] for place in rng.permutation(len(others)))
    for other in shuffled if others else others_of(episode, _TRIES, rng):
        theirs = levels(other)
        if ((links_at(other.conditions, when_s)[:, 0] < OUT * theirs[:, 0]) == out).all():
            break
    conditions = _continued(episode, other, own / theirs, when_s, present, rng)
    probes = _probed(episode, other, conditions, own / theirs, when_s)
    return replace(episode, conditions=conditions, probes=probes), other


def seconds_in(
    futures: Sequence[Episode],
    codecs: Sequence[Codec],
    answers: Sequence[int],
    explore: float,
    rng: np.random.Generator,
) -> Floats:
    """Seconds that the transfer of the last answer takes in each future, shape (futures,).

    Args:
        futures: From `another_future`, all of one episode, moment and transfer.
        codecs: What answers stand for.
        answers: To the codec questions of the episode in their order, up to that of the transfer.
        explore: Share of the later answers that are drawn, as in `agents.supervised.outcomes.Exploring`.
        rng: Draws them.
    """
    world = BatchWorld(futures[:1], 1, codecs, OpenTo(OPEN, dispatch=False, share=False, control_s=1.0))
    rule = Exploring(explore, rng)
    found = []
    for future in futures:
        world.shelve(0, future)
        world.start(0, 0)
        asked, put, started_s, request = 0, world.next_question(0), 0.0, -1
        while isinstance(put, CodecQuestion):
            if asked < len(answers):
                world.answer(0, answers[asked])
                started_s, request = put.now_s, put.request
            else:
                world.answer(0, rule(put, seconds_alone(put, codecs)))
            asked += 1
            state = world.arrays.lanes[0]
            if asked > len(answers) and request in world.arrays.recorded[0, : state["recorded"]]:
                break
            put = world.next_question(0)
        found.append(float(world.arrays.transfers[0, request]["end_s"]) - started_s)
    return np.array(found)


def links_at(conditions: Conditions, when_s: float) -> Floats:
    """Conditions of the links that hold at a moment, shape (paths, 4)."""
    row: Floats = conditions.links[int(np.searchsorted(conditions.times, when_s, side="right")) - 1]
    return row


def _cores_at(conditions: Conditions, when_s: float) -> float:
    return float(conditions.cores[int(np.searchsorted(conditions.times, when_s, side="right")) - 1])


def _continued(
    episode: Episode, other: Episode, ratio: Floats, when_s: float, present: Floats, rng: np.random.Generator
) -> Conditions:
    """The episode's conditions until a moment; from there those of the other, brought to a present."""
    before, after = episode.conditions, other.conditions
    past, future = before.times < when_s, after.times > when_s
    times = np.concatenate(([when_s], after.times[future]))
    since_s = times - when_s
    theirs = links_at(after, when_s)
    links = np.concatenate((theirs[None], after.links[future]))
    for number, spec in enumerate(episode.scenario.paths):
        model = spec.model
        apart = np.log(present[number, 0] / (theirs[number, 0] * ratio[number, 0]))
        memory = np.exp(-since_s / model.tau_s)
        links[:, number, 0] *= ratio[number, 0] * np.exp(memory * apart)
        links[:, number, 1] *= ratio[number, 1]
        least, floor = before.links[:, number, 2].min(), after.links[:, number, 2].min()
        links[:, number, 2] = np.clip(links[:, number, 2] - floor + least, 0.0, 0.99)
        links[:, number, 3] = _streams(
            present[number, 3], model.cross_streams, model.cross_tau_s, since_s, rng
        )
    cores = np.concatenate(([_cores_at(after, when_s)], after.cores[future]))
    left = np.exp(-since_s / _LOAD_TAU_S) * (_cores_at(before, when_s) - cores[0])
    return Conditions(
        np.concatenate((before.times[past], times)),
        np.concatenate((before.links[past], links)),
        np.concatenate((before.cores[past], np.clip(cores + left, 0.1, episode.scenario.host.cores))),
    )


def _streams(alive: float, mean: float, tau_s: float, since_s: Floats, rng: np.random.Generator) -> Floats:
    """Streams of others from now on: those alive and those to come, each with an exponential lifetime."""
    horizon_s = max(float(since_s[-1]), 1e-9)
    born = np.concatenate(
        (np.zeros(int(alive)), rng.uniform(0.0, horizon_s, rng.poisson(mean / tau_s * horizon_s)))
    )
    died = np.sort(born + rng.exponential(tau_s, len(born)))
    there = np.searchsorted(np.sort(born), since_s, side="right") - np.searchsorted(
        died, since_s, side="right"
    )
    return there.astype(np.float64)


def _probed(episode: Episode, other: Episode, conditions: Conditions, ratio: Floats, when_s: float) -> Probes:
    """The episode's probes until a moment, then the other's, of what the links have become."""
    period_s = episode.probes.period_s
    first = int(when_s / period_s) + 1
    values = other.probes.values[first:].copy()
    delay_s = episode.scenario.probe.delay_s
    taken = np.maximum((first + np.arange(len(values))) * period_s - delay_s, 0.0)
    theirs, mine = (
        one.links[np.searchsorted(one.times, taken, side="right") - 1]
        for one in (other.conditions, conditions)
    )
    values[:, :, 0:2] *= ratio[:, 1, None]
    free, wanted = theirs[:, :, 0] / (1 + theirs[:, :, 3]), mine[:, :, 0] / (1 + mine[:, :, 3])
    values[:, :, 2] *= wanted / free
    values[:, :, 3] = np.maximum(values[:, :, 3] - theirs[:, :, 2] + mine[:, :, 2], 0.0)
    return Probes(period_s, np.concatenate((episode.probes.values[:first], values)))


def _with_others(
    episode: Episode, other: Episode, request: int, when_s: float, rng: np.random.Generator
) -> Episode:
    """Other requests after a moment, and another speed of the coder for the transfer in question."""
    after = int(np.searchsorted(episode.requests.arrival_s, when_s, side="right"))
    count = len(episode)
    order, arrival_s = np.arange(count), episode.requests.arrival_s.copy()
    if episode.scenario.workload.arrivals != "sync":
        order[after:] = after + rng.permutation(count - after)
        gaps = np.diff(other.requests.arrival_s, prepend=0.0)[after:]
        arrival_s[after:] = when_s + np.cumsum(gaps)
    asked = episode.requests
    columns: list[Any] = [column[order] for column in episode.payloads]
    payloads = Payloads(*columns)
    for mine, theirs in (
        (payloads.encode_noise, other.payloads.encode_noise),
        (payloads.decode_noise, other.payloads.decode_noise),
    ):
        mine[request] = theirs[request]
    loss_gaps = episode.loss_gaps[order]
    loss_gaps[request] = other.loss_gaps[request]
    return replace(
        episode,
        requests=asked._replace(
            arrival_s=arrival_s,
            dataset=asked.dataset[order],
            size_bytes=asked.size_bytes[order],
            priority=asked.priority[order],
            deadline_slack=asked.deadline_slack[order],
        ),
        path=episode.path[order],
        deadline_s=arrival_s + (episode.deadline_s - asked.arrival_s)[order],
        payloads=payloads,
        changed_noise=episode.changed_noise[order],
        loss_gaps=loss_gaps,
        faults=episode.faults._replace(break_share=episode.faults.break_share[order]),
    )
