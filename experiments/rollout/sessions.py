"""From decisions in the store to sessions: what is counted, each once in a stage."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.rollout.assignment import takes_candidate
from experiments.rollout.expectation import Expectation
from experiments.rollout.gates import Gates
from experiments.shadow.store_rows import Decisions

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]


class Closed(NamedTuple):
    """Sessions whose outcomes are waited for no longer, in the order of their first decisions; shape (n,).

    Attributes:
        treated: Whether the hash gave them to the candidate, whoever answered in the end.
        ratio: Logarithm of what they cost over what was expected; NaN where no cost is known.
        wrong: Share of the candidate's answers that were wrong; NaN where none can be judged.
        slow: Share of its answers that took longer than the guard's limit; NaN without an answer.
        failed: Share of the decisions to which it had none; NaN where it was never asked.
    """

    treated: Truths
    ratio: Floats
    wrong: Floats
    slow: Floats
    failed: Floats

    @classmethod
    def none(cls) -> "Closed":
        """No session."""
        return cls(np.zeros(0, np.bool_), *(np.zeros(0) for _ in range(4)))

    def joined(self, more: "Closed") -> "Closed":
        """These and later ones."""
        return Closed(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))


class Judged(NamedTuple):
    """Decisions one by one; shape (n,).

    Attributes:
        treated: As of `Closed`.
        asked: Whether the candidate was asked.
        failed: Whether it was asked and had no answer.
        same: Whether it answered as the incumbent did.
        known: Whether its answer can be judged.
        right: Whether it was right, where known.
        took_ms: Time of its answers, NaN without.
        cost_s: What came of the side's own answer, NaN where unknown or where chance answered.
        expected_s: What that was expected to cost.
    """

    treated: Truths
    asked: Truths
    failed: Truths
    same: Truths
    known: Truths
    right: Truths
    took_ms: Floats
    cost_s: Floats
    expected_s: Floats


def judge(
    read: Decisions, candidate: str, share: float, gates: Gates, expected: Expectation | None
) -> Judged:
    """Judge decisions of one stage.

    Args:
        read: From the store.
        candidate: Version of the candidate.
        share: Of the keys that it answers.
        gates: Say when an answer is as good as the best.
        expected: What decisions cost the incumbent; None: all the same.
    """
    answers, asked = read["candidate_action"], read["candidate"] == candidate
    answered = asked & (answers != None)  # noqa: E711  # by element
    judged = [
        _right(answer, best, costs, gates.sessions.tie)
        for answer, best, costs in zip(answers, read.best, read.costs, strict=True)
    ]
    known = answered & np.array([one is not None for one in judged], np.bool_)
    own = np.where(read["arm"] == "candidate", answers, read["incumbent_action"])
    by_side = (read["action"] == own) | (read["arm"] == "fallback")
    costs_s = np.where(by_side & (read.cost_s > 0), read.cost_s, np.nan)
    expected_s = np.ones(len(read)) if expected is None else expected.costs(read.names, read.features)
    return Judged(
        sides(read, candidate, share),
        asked,
        asked & ~answered,
        answered & (answers == read["incumbent_action"]),
        known,
        np.array([one is True for one in judged], np.bool_),
        np.where(answered, read["candidate_ms"], np.nan),
        costs_s,
        expected_s,
    )


def sides(read: Decisions, candidate: str, share: float) -> Truths:
    """Which decisions the hash gives to the candidate."""
    codes, places = keys_of(read)
    regions, keys = read["region"][places], read["key"][places]
    drawn = [
        takes_candidate(key, region, candidate, share) for key, region in zip(keys, regions, strict=True)
    ]
    return np.array(drawn, np.bool_)[codes]


def chosen(read: Decisions, keep: Truths) -> Decisions:
    """Those of some decisions where ``keep`` is True."""
    columns = {name: column[keep] for name, column in read.columns.items()}
    told = read.known[keep], read.cost_s[keep], read.best[keep], read.costs[keep]
    return Decisions(read.seq[keep], read.settled[keep], columns, read.names, read.features[keep], *told)


def heard_by(read: Decisions, latest: Floats) -> Decisions:
    """The same decisions without the outcomes that came too late; so whoever looks, whenever, sees the same.

    Args:
        read: From the store.
        latest: Until when outcomes of each count, in seconds since 1970, shape (n,).
    """
    late = read.known > latest
    told = {name: getattr(read, name).copy() for name in ("known", "cost_s", "best", "costs")}
    for name, column in told.items():
        column[late] = np.nan if name in ("known", "cost_s") else None
    return replace(read, **told)


def keys_of(read: Decisions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for the key of each decision, from 0 in the order of their first ones, and where these are."""
    regions, keys = (pd.factorize(read[name])[0].astype(np.int64) for name in ("region", "key"))
    codes = pd.factorize(regions * (int(keys.max(initial=0)) + 1) + keys)[0].astype(np.int64)
    return codes, np.asarray(np.unique(codes, return_index=True)[1], np.int64)


def close(read: Decisions, judged: Judged, gates: Gates) -> Closed:
    """Sessions of decisions that all belong to closed ones."""
    codes, places = keys_of(read)
    count = len(places)
    first = read["time"][places]
    inside = read["time"] < first[codes] + gates.sessions.length_s

    def mean(values: Floats, of: Truths) -> Floats:
        of = of & inside
        number = np.bincount(codes[of], minlength=count)
        total = np.bincount(codes[of], values[of], count)
        return np.where(number > 0, total / np.maximum(number, 1), np.nan)

    costs = ~np.isnan(judged.cost_s)
    with np.errstate(invalid="ignore"):
        ratio = np.log(mean(judged.cost_s, costs) / mean(judged.expected_s, costs))
    limit = gates.guard.p99_ms or np.inf
    took = ~np.isnan(judged.took_ms)
    slow = np.where(took, judged.took_ms, 0.0) > limit
    return Closed(
        judged.treated[places],
        ratio,
        mean((~judged.right).astype(np.float64), judged.known),
        mean(slow.astype(np.float64), took),
        mean(judged.failed.astype(np.float64), judged.asked),
    )


def _right(answer: str | None, best: str | None, costs: dict[str, float] | None, tie: float) -> bool | None:
    """Whether an answer is right; None if nobody knows."""
    if answer is None:
        return None
    if costs and answer in costs:
        least = min(costs.values())
        return costs[answer] <= least + tie * abs(least)
    return None if best is None else answer == best
