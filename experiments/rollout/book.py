"""What one stage of one region has come to, read from the store bit by bit as sessions close."""

from dataclasses import replace

import numpy as np

from experiments.rollout.assignment import SHARES
from experiments.rollout.evidence import Evidence, weigh
from experiments.rollout.expectation import Expectation, expectation
from experiments.rollout.gates import Gates
from experiments.rollout.sessions import Closed, Judged, chosen, close, heard_by, judge, keys_of
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Decisions

DAY_S = 86_400.0
_MOST_FITTED = 50_000
"""Decisions at most to which an expectation is fitted: more teach a regression nothing."""


class Book:
    """Keeps the closed sessions of a stage; each decision counts once, when its session has closed.

    Args:
        store: Where the decisions are.
        candidate: Version on trial.
        region: Where.
        stage: Which.
        since: When it began, seconds since 1970.
        expected: What decisions cost the incumbent, fitted before.
    """

    def __init__(
        self,
        store: Store,
        candidate: str,
        region: str,
        stage: str,
        since: float,
        expected: Expectation | None,
    ) -> None:
        self._store, self._candidate, self._region = store, candidate, region
        self._stage, self._since, self._expected = stage, since, expected
        self._share = SHARES[stage]
        self._from = since
        self._done: set[tuple[str, str]] = set()
        self._closed, self._judged = Closed.none(), _no_judged()
        self._weighed: Evidence | None = None

    def evidence(self, gates: Gates, before: float | None) -> Evidence:
        """Read what is new, and weigh all.

        Args:
            gates: Limits; the same at every call.
            before: Accuracy in shadow.
        """
        now = self._store.clock()
        days = (now - self._since) / DAY_S
        if self._read(gates, now) or self._weighed is None:
            parts, stage, share = (self._closed, self._judged, gates), self._stage, self._share
            self._weighed = weigh(*parts, stage=stage, share=share, days=days, before=before)
        return replace(self._weighed, days=days)

    def expectation(self) -> Expectation | None:
        """What decisions cost the incumbent in this stage, for the stages to come."""
        read = self._rows(self._since)
        own = (read["arm"] == "incumbent") & (read["action"] == read["incumbent_action"])
        last = np.flatnonzero(own)[-_MOST_FITTED:]
        return expectation(read.names, read.features[last], read.cost_s[last])

    def _read(self, gates: Gates, now: float) -> bool:
        """Take in sessions that have closed since; gives whether there were any."""
        limits, before = gates.sessions, len(self._closed.treated)
        read = self._rows(self._from)
        if len(read):
            codes, places = keys_of(read)
            names = list(zip(read["region"][places], read["key"][places], strict=True))
            closes = read["time"][places] + limits.length_s + limits.wait_s
            ends = closes <= now
            fresh = np.array([name not in self._done for name in names], np.bool_)
            closing = chosen(heard_by(read, closes[codes]), (ends & fresh)[codes])
            if len(closing):
                judged = judge(closing, self._candidate, self._share, gates, self._expected)
                self._closed = self._closed.joined(close(closing, judged, gates))
                self._judged = Judged(
                    *(np.concatenate(pair) for pair in zip(self._judged, judged, strict=True))
                )
                self._done.update(name for name, ended in zip(names, ends, strict=True) if ended)
        self._from = max(self._since, now - limits.length_s - limits.wait_s)
        return len(self._closed.treated) > before

    def _rows(self, since: float) -> Decisions:
        """Decisions of this stage from a time on."""
        read = self._store.decisions(region=self._region, since=since)
        mine = (read["candidate"] == self._candidate) | (read["candidate"] == None)  # noqa: E711  # by element
        return chosen(read, (read["stage"] == self._stage) & mine)


def _no_judged() -> Judged:
    truths, numbers = np.zeros(0, np.bool_), np.zeros(0)
    return Judged(truths, truths, truths, truths, truths, truths, numbers, numbers, numbers)
