"""What each answer to a codec question would have come to: lanes forked at every decision, run to the end."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from envs.codec_rule import SHORTEST
from envs.features import CODEC_FEATURES, fill_codec
from sim.batch import events, layout, ledger
from sim.batch.layout import NO_QUESTION, Floats, Ints, Lanes
from sim.batch.questions import codec_question, shortest
from sim.batch.world import BatchWorld, OpenTo, copy_lane, run_lane
from sim.codecs import Codec
from sim.episode import Episode
from sim.estimates import alone
from sim.jit import announce, njit

_TRUNK: Final = 0
"""Lane that the base policy plays."""
_FORK: Final = 1
"""Lane on which one other answer is tried."""
NO_STRAY: Final = -1
"""In place of an answer: the base policy's stands."""


class Counterfactuals(NamedTuple):
    """Codec decisions of an episode in the order of the questions, and what each answer really leads to.

    Attributes:
        request: Number of the transfer, shape (n,).
        now_s: When the question was put, seconds since the start, shape (n,).
        accrued_s: Cost of the episode until then, in seconds, shape (n,).
        features: The observation in the units of `envs.features.CODEC_FEATURES`, shape (n, features).
        answer: What was answered, shape (n,).
        one_step_s: Cost that the transfer itself causes under each answer, in seconds, shape (n, codecs).
        continued_s: Cost of the episode from the question on under each answer, in seconds, shape
            (n, codecs).
    """

    request: Ints
    now_s: Floats
    accrued_s: Floats
    features: Floats
    answer: Ints
    one_step_s: Floats
    continued_s: Floats


@njit
def _own_cost(w: Lanes, k: int, request: int) -> float:
    """Cost that a transfer that has moved has caused, in seconds."""
    e = w.lanes[k]["episode"]
    site, row, transfer = w.sites[e], w.requests[e, request], w.transfers[k, request]
    late_s = max(0.0, transfer["end_s"] - row["deadline_s"])
    inside_s = transfer["end_s"] - transfer["came_s"]
    return row["priority"] * inside_s + site["cpu_price"] * transfer["cpu_s"] + site["late_price"] * late_s


@njit
def _try_answers(w: Lanes, base: OpenTo, known: int, own: Floats, rest: Floats) -> None:
    """Give the trunk's open question each answer but a known one, each on a fork, and let the base go on."""
    request, accrued_s = w.open[_TRUNK, 0], ledger.accrued(w, _TRUNK)
    for answer in range(len(own)):
        if answer != known:
            copy_lane(w, _TRUNK, _FORK)
            events.answer_codec(w, _FORK, answer)
            run_lane(w, _FORK, base)
            own[answer] = _own_cost(w, _FORK, request)
            rest[answer] = ledger.accrued(w, _FORK) - accrued_s


@njit
def _label(w: Lanes, base: OpenTo, strays: Ints, found: Counterfactuals) -> None:
    """Play the episode on the shelf's first place and try every answer to every question."""
    astray = len(strays)
    while astray > 0 and strays[astray - 1] == NO_STRAY:
        astray -= 1
    events.start(w, _TRUNK, 0, np.inf)
    n = 0
    while events.next_question(w, _TRUNK, False, False, base.control_s) != NO_QUESTION:
        answer = strays[n]
        if answer == NO_STRAY:
            answer = shortest(w, _TRUNK) if base.codec == layout.SHORTEST else base.codec
        codec_question(w, _TRUNK, w.asked[_TRUNK])
        question = w.asked[_TRUNK : _TRUNK + 1]
        fill_codec(question, alone(question), found.features[n])
        found.request[n], found.now_s[n] = w.open[_TRUNK, 0], w.lanes[_TRUNK]["now"]
        found.accrued_s[n], found.answer[n] = ledger.accrued(w, _TRUNK), answer
        known = answer if n >= astray - 1 else NO_STRAY
        _try_answers(w, base, known, found.one_step_s[n], found.continued_s[n])
        events.answer_codec(w, _TRUNK, answer)
        n += 1
    for row in range(max(astray - 1, 0), n):  # from here on the trunk is the fork of the answer given
        answer = found.answer[row]
        found.one_step_s[row, answer] = _own_cost(w, _TRUNK, found.request[row])
        found.continued_s[row, answer] = ledger.accrued(w, _TRUNK) - found.accrued_s[row]


class Counterfactor:
    """Labels episode after episode: a base policy plays, and at each decision every answer is tried.

    An answer is tried on a copy of the world, which the base policy plays to its end: same dice, same later
    transfers, only that answer differs. Labels cost a whole rest of an episode each, compiled.

    Args:
        codecs: The answers.
        base: Who plays before and after: a codec's own name, or ``shortest``, see `envs.codec_rule`.

    Raises:
        ValueError: If ``base`` is neither.
    """

    def __init__(self, codecs: Sequence[Codec], base: str) -> None:
        names = [codec.name for codec in codecs]
        if base != SHORTEST and base not in names:
            raise ValueError(f"base must be {SHORTEST!r} or one of {', '.join(names)}, got {base!r}")
        self._codecs = tuple(codecs)
        codec = layout.SHORTEST if base == SHORTEST else names.index(base)
        self._base = OpenTo(codec, dispatch=False, share=False, control_s=1.0)
        self._world: BatchWorld | None = None

    def label(self, episode: Episode, strays: Ints | None = None) -> Counterfactuals:
        """Every decision of an episode, each answer played to the end.

        Args:
            episode: The episode.
            strays: Answers that are given in place of the base policy's as the episode goes on, or
                `NO_STRAY`, shape (transfers,). They lead to states that the base policy would not come to.
        """
        if self._world is None:
            announce(_label, "what tries every answer", 60)
            self._world = BatchWorld([episode], 2, self._codecs, self._base)
        else:
            self._world.shelve(0, episode)
        if strays is None:
            strays = np.full(len(episode), NO_STRAY)
        found = _empty(len(episode), len(self._codecs))
        _label(self._world.arrays, self._base, strays, found)
        return found


def joined(parts: Sequence[Counterfactuals]) -> Counterfactuals:
    """All decisions of several episodes."""
    return Counterfactuals._make(np.concatenate(column) for column in zip(*parts, strict=True))


def _empty(decisions: int, codecs: int) -> Counterfactuals:
    return Counterfactuals(
        request=np.zeros(decisions, np.int64),
        now_s=np.zeros(decisions),
        accrued_s=np.zeros(decisions),
        features=np.zeros((decisions, len(CODEC_FEATURES))),
        answer=np.zeros(decisions, np.int64),
        one_step_s=np.zeros((decisions, codecs)),
        continued_s=np.zeros((decisions, codecs)),
    )
