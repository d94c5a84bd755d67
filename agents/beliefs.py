"""Futures as a sender can believe in them: from what it has measured, sent and seen arrive, and the laws."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.supervised.futures import OUT, levels, links_at, on_other_links
from agents.supervised.probe_history import row_at
from sim.episode import Episode
from sim.payloads import Content, Payloads, draw_content, draw_payloads
from sim.workloads import PERIOD_JITTER, SIZE_LOG_SD, Workload, draw_periods

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CANDIDATES: Final = 64
"""Payloads of a class among which one is chosen that a sample fits."""
_RATIO_BAND, _ENTROPY_BAND = 0.05, 0.01
"""How far, in ln of its ratio and in entropy, a candidate's sample may lie from the one that was taken."""
_MOST_STREAMS: Final = 64
_LEAST_SD: Final = 1e-3


def believed_future(
    episode: Episode,
    when_s: float,
    answered: Collection[int],
    rng: np.random.Generator,
    others: Sequence[Episode] = (),
) -> Episode:
    """The episode as it is until ``when_s``, and then what could come, for all that its sender knows.

    It knows the scenario, and how many transfers are still to come; what its paths are in the mean, their
    last probes, and of others' streams the mean number; its cores; all of the transfers that it has answered
    and of the datasets that these belong to; of a dataset that it has sent nothing of, what a sample says;
    who has come, and when. Who will come is drawn by the laws: known datasets as often as they came,
    periodic ones at the periods that they have shown. So other than in
    `agents.supervised.futures.another_future` nothing is known of the transfers to come.

    Args:
        episode: Drawn by `sim.episode.draw_episode` from link models without a chain.
        when_s: When the present ends.
        answered: Requests whose codec questions have been answered by then.
        rng: Draws the future.
        others: As of `agents.supervised.futures.another_future`.

    Raises:
        ValueError: If a link is a chain, whose state cannot be read off.
    """
    present = _present(episode, when_s, rng)
    changed, other = on_other_links(episode, when_s, present, rng, others)
    moved = np.zeros(len(episode), np.bool_)
    moved[list(answered)] = True
    after = int(np.searchsorted(episode.requests.arrival_s, when_s, side="right"))
    known = _sampled(changed, other, np.flatnonzero(~moved[:after]), moved, rng)
    return _joined(known, other, _coming(known, other, after, when_s, rng), after, rng)


def _present(episode: Episode, when_s: float, rng: np.random.Generator) -> Floats:
    """Links as the last probes let believe, shape (paths, 4): they tell capacity over streams plus one."""
    present = links_at(episode.conditions, when_s).copy()
    free = episode.probes.values[row_at(episode.probes, when_s), :, 2]
    noise = max(episode.scenario.probe.noise, _LEAST_SD)
    streams = np.arange(_MOST_STREAMS)
    for path, spec in enumerate(episode.scenario.paths):
        mean, sd = spec.model.cross_streams, max(spec.model.sigma, _LEAST_SD)
        prior = streams * np.log(max(mean, 1e-12)) - np.cumsum(np.log(np.maximum(streams, 1)))
        apart = np.log(free[path] * (1 + streams) / episode.nominal[path])
        out = free[path] * (1 + mean) < OUT * episode.nominal[path]
        fits = prior if out else prior - apart**2 / (2 * (sd**2 + noise**2))
        count = _drawn(fits, rng)
        trust = 0.0 if out else noise**2 / (sd**2 + noise**2)  # in what is provisioned
        spread = noise * (1.0 - trust) ** 0.5
        level = np.log(free[path] * (1 + count)) - trust * apart[count] + spread * rng.standard_normal()
        present[path, 0], present[path, 3] = np.exp(level), count
    return present


def _sampled(
    episode: Episode, other: Episode, waiting: Ints, moved: NDArray[np.bool_], rng: np.random.Generator
) -> Episode:
    """The episode with other truth behind the samples of those that wait, and other coders' speeds."""
    columns: list[Any] = [column.copy() for column in episode.payloads]
    payloads = Payloads(*columns)
    columns = [column.copy() for column in episode.content]
    content = Content(*columns)
    loss_gaps = episode.loss_gaps.copy()
    dataset, sent = episode.requests.dataset, set(episode.requests.dataset[moved].tolist())
    for name in ("encode_noise", "decode_noise"):
        getattr(payloads, name)[waiting] = getattr(other.payloads, name)[waiting]
    loss_gaps[waiting] = other.loss_gaps[waiting]
    for one in np.unique(dataset[waiting]).tolist():
        if one in sent:
            continue
        rows = waiting[dataset[waiting] == one]
        drawn = draw_content(np.full(_CANDIDATES, content.kind[one]), rng)
        size = np.full(_CANDIDATES, payloads.size_bytes[rows[0]])
        guess = draw_payloads(drawn, np.arange(_CANDIDATES), size, rng)
        ratio = np.log(guess.sample_ratio / payloads.sample_ratio[rows[0]]) / _RATIO_BAND
        entropy = (guess.entropy - payloads.entropy[rows[0]]) / _ENTROPY_BAND
        chosen = _drawn(-0.5 * (ratio**2 + entropy**2), rng)
        payloads.ratio3[rows], payloads.novelty[rows] = guess.ratio3[chosen], guess.novelty[chosen]
        for mine, theirs in zip(content, drawn, strict=True):
            mine[one] = theirs[chosen]
    return replace(episode, payloads=payloads, content=content, loss_gaps=loss_gaps)


class _Coming(NamedTuple):
    """Transfers to come, an entry each.

    Attributes:
        arrival_s: When, ascending.
        row: Of the other episode, from which it is taken.
        like: The newest transfer so far of its dataset; -1 where it is of a new one.
    """

    arrival_s: Floats
    row: Ints
    like: Ints


def _coming(episode: Episode, other: Episode, after: int, when_s: float, rng: np.random.Generator) -> _Coming:
    """Who comes after a moment, by the law of arrivals."""
    workload, dataset = episode.scenario.workload, episode.requests.dataset[:after]
    newest = {one: row for row, one in enumerate(dataset.tolist()) if one < workload.datasets}
    if workload.arrivals == "sync":
        return _periodic(episode, other, newest, after, when_s, rng)
    rows = np.arange(after, len(other))
    gaps = np.diff(other.requests.arrival_s, prepend=0.0)[after:]
    mine = sorted(newest, key=lambda one: -int((dataset == one).sum()))
    theirs = other.requests.dataset[other.requests.dataset < workload.datasets]
    popular = np.argsort(-np.bincount(theirs, minlength=workload.datasets), kind="stable")
    like = np.full(len(popular) + len(other), -1)
    for one, popular_one in zip(mine, popular.tolist(), strict=False):  # as often as they came
        like[popular_one] = newest[one]
    return _Coming(when_s + np.cumsum(gaps), rows, like[other.requests.dataset[rows]])


def _periodic(
    episode: Episode, other: Episode, newest: dict[int, int], after: int, when_s: float,
    rng: np.random.Generator,
) -> _Coming:  # fmt: skip
    """Each dataset at its period, some of the times with a one-off in its place."""
    workload, arrival_s = episode.scenario.workload, episode.requests.arrival_s
    count = len(episode) - after
    comes: list[Floats] = []
    for one in range(workload.datasets):
        own = arrival_s[:after][episode.requests.dataset[:after] == one]
        period = _period(own, workload, when_s, rng)
        last = own[-1] if len(own) else when_s - period * rng.random()
        times = last + period * (np.arange(1, count + 2) + PERIOD_JITTER * rng.standard_normal(count + 1))
        comes.append(times[times > when_s])
    times = np.concatenate(comes)
    of = np.repeat(np.arange(workload.datasets), [len(own) for own in comes])
    order = np.argsort(times, kind="stable")[:count]
    once = rng.random(count) < workload.one_off
    theirs = np.where(other.requests.dataset < workload.datasets, other.requests.dataset, -1)
    wanted = np.where(once, -1, of[order])  # of new datasets, a row of the other's of that number
    rows = np.empty(count, np.int64)
    for one in np.unique(wanted).tolist():
        there = np.flatnonzero(theirs == one)
        rows[wanted == one] = rng.choice(there if len(there) else len(other), int((wanted == one).sum()))
    like = np.array([newest.get(one, -1) for one in wanted.tolist()], np.int64)
    return _Coming(times[order], rows, like)


def _period(arrivals: Floats, workload: Workload, when_s: float, rng: np.random.Generator) -> float:
    """The period that arrivals of a dataset have shown, of which some were skipped; else a drawn one."""
    if len(arrivals) > 1:
        gaps = np.diff(arrivals)
        return float(np.mean(gaps / np.maximum(np.round(gaps / gaps.min()), 1.0)))
    drawn = float(draw_periods(workload, 1, rng)[0])
    return max(drawn, when_s - float(arrivals[0])) if len(arrivals) else drawn


def _joined(
    episode: Episode, other: Episode, coming: _Coming, after: int, rng: np.random.Generator
) -> Episode:
    """The episode up to some transfer, then those to come; datasets that are new follow the known ones."""
    row, like, count = coming.row, coming.like, len(episode.content.kind)
    known = like >= 0
    source = np.where(known, like, len(episode) + row)

    def columns(mine: Any, theirs: Any) -> Any:
        return np.concatenate((mine[:after], np.concatenate((mine, theirs))[source]))

    def fresh(mine: Any, theirs: Any) -> Any:
        return np.concatenate((mine[:after], theirs[row]))

    requests, theirs = episode.requests, other.requests
    spread = np.exp(SIZE_LOG_SD * rng.standard_normal(len(row)))
    size = columns(requests.size_bytes, theirs.size_bytes)
    size[after:] = np.round(np.where(known, size[after:] * spread, size[after:]))
    path = columns(episode.path, other.path)
    slack = fresh(requests.deadline_slack, theirs.deadline_slack)
    arrival_s = np.concatenate((requests.arrival_s[:after], coming.arrival_s))
    rtt_s = levels(episode)[:, 1]
    allowed_s = slack * (size / episode.nominal[path] + 4 * rtt_s[path])
    deadline_s = arrival_s + allowed_s
    deadline_s[:after] = episode.deadline_s[:after]
    payloads = Payloads(*map(columns, episode.payloads, other.payloads))
    for name in ("encode_noise", "decode_noise"):
        getattr(payloads, name)[after:] = getattr(other.payloads, name)[row]
    payloads.size_bytes[after:] = size[after:]
    return replace(
        episode,
        requests=requests._replace(
            arrival_s=arrival_s,
            dataset=columns(requests.dataset, count + theirs.dataset),
            size_bytes=size,
            priority=fresh(requests.priority, theirs.priority),
            deadline_slack=slack,
            kind_of_dataset=np.concatenate((requests.kind_of_dataset, theirs.kind_of_dataset)),
        ),
        content=Content(*map(_appended, episode.content, other.content)),
        path=path,
        deadline_s=deadline_s,
        payloads=payloads,
        changed_noise=fresh(episode.changed_noise, other.changed_noise),
        loss_gaps=fresh(episode.loss_gaps, other.loss_gaps),
        faults=episode.faults._replace(
            break_share=fresh(episode.faults.break_share, other.faults.break_share)
        ),
    )


def _appended(mine: Any, theirs: Any) -> Any:
    return np.concatenate((mine, theirs))


def _drawn(weights: Floats, rng: np.random.Generator) -> int:
    """An index by the exponentials of its weights."""
    shares = np.cumsum(np.exp(weights - weights.max()))
    return int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
