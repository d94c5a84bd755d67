"""`dwcp/Joint-v0`: with which codec, who next, and who gets how much? One agent answers all three."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.allocation import Allocation
from envs.base import Mask, Slots, WorldEnv
from envs.compression import DEFAULT_CODECS, Compression
from envs.features import Feature, FeatureList
from envs.scheduling import Scheduling
from sim.decisions import Answer, CodecQuestion, DispatchQuestion, Question, Rules, ShareQuestion
from sim.episode import Episode
from sim.scenarios import Scenario
from sim.traces import Trace
from sim.world import World

CODEC, DISPATCH, SHARE = range(3)
"""Places of the questions in `Joint.parts`, and of the features that tell which of them is put."""

_QUESTIONS: Final = (CodecQuestion, DispatchQuestion, ShareQuestion)
_WORDS: Final = ("codec", "dispatch", "share")
_ASKED: Final = tuple(
    Feature(f"asked_{word}", "bool", 0, 1, "linear", f"the {word} question is put") for word in _WORDS
)


class Part(NamedTuple):
    """One of the three questions, and where it stands in what is seen, allowed and done.

    Attributes:
        env: The environment that puts it alone: never reset here, it only reads and answers questions.
        seen: Its entries of the observation.
        allowed: Its entries of the mask.
        done: Its entries of the action.
    """

    env: WorldEnv
    seen: slice
    allowed: slice
    done: slice


class Joint(WorldEnv):
    """One step is one question of any kind: codec, dispatch or share.

    Action:
        ``MultiDiscrete``: a codec; a dispatch, as in `Scheduling`; for each slot, as in `Allocation`, one of
        ``levels`` tilts from -1 to 1 that weighs it on link and cores alike. Only the part that is asked for
        counts: `action_masks` leaves the others their first entries alone, and so the levels of empty slots.

    Observation:
        Box(-1, 1): which question is put, then what `Compression`, `Scheduling` and `Allocation` show of it,
        one after the other; those that are not asked for are all -1. See ``docs/joint.md``. After the last
        decision: zeros.

    Reward:
        Minus the cost, in seconds, that accrued since the last decision; the return is exactly minus the cost
        of the episode, as in `Compression`.

    Start:
        Before the first transfer of an episode drawn from the scenario.

    End:
        Terminated when every transfer has been decoded; never truncated. The last info holds ``cost_s``.

    Attributes:
        parts: The three questions, in the order of `CODEC`, `DISPATCH`, `SHARE`.
        tilts: What the levels stand for.
        firsts: The mask where nothing is asked: the first entry of each part of an action.

    Args:
        scenario: Name(s) or object(s); see `sim.catalogue`.
        codecs: Answers of the codec question.
        candidates: Waiting transfers that are seen one by one.
        slots: Running transfers that are seen and weighed one by one.
        levels: Tilts to choose from, at least 2, evenly from -1 to 1. Neighbours of 4 differ by a factor of
            28 in weight, nearly a strict order.
        control_s: Seconds between two share questions, above 0.
        quantum_s: Longest wait, in seconds, as in `Scheduling`.
        traces: Recorded link conditions to use in place of the link models.
        render_mode: ``rgb_array`` or None.
    """

    task = "joint"
    masked = True

    def __init__(
        self,
        scenario: str | Scenario | Sequence[str | Scenario] = "wan",
        codecs: Sequence[str] = DEFAULT_CODECS,
        *,
        candidates: int = 8,
        slots: int = 6,
        levels: int = 4,
        control_s: float = 1.0,
        quantum_s: float | None = None,
        traces: Sequence[Trace] = (),
        render_mode: str | None = None,
    ) -> None:
        if candidates < 1:
            raise ValueError(f"candidates must be at least 1, got {candidates}")
        if levels < 2:
            raise ValueError(f"levels must be at least 2, for there to be a choice, got {levels}")
        self._scheduling = Scheduling(scenario, codecs, slots=candidates, quantum_s=quantum_s)
        asked: list[WorldEnv] = [
            Compression(scenario, codecs),
            self._scheduling,
            Allocation(scenario, codecs, slots=slots, control_s=control_s),
        ]
        super().__init__(
            scenario,
            codecs,
            joint_features([one.features for one in asked]),
            rules=Rules(share=None, dispatch=None, control_s=control_s),
            traces=traces,
            render_mode=render_mode,
        )
        self.slots = slots
        self.tilts = np.linspace(-1.0, 1.0, levels)
        sizes = [len(codecs), int(cast(spaces.Discrete, self._scheduling.action_space).n), *[levels] * slots]
        self.action_space = spaces.MultiDiscrete(sizes)
        seen = np.cumsum([len(_ASKED), *(len(one.features) for one in asked)]).tolist()
        allowed = [0, sizes[0], sizes[0] + sizes[1], sum(sizes)]
        done = [0, 1, 2, len(sizes)]
        self.parts: tuple[Part, ...] = tuple(
            Part(one, *(slice(at[number], at[number + 1]) for at in (seen, allowed, done)))
            for number, one in enumerate(asked)
        )
        self.firsts = np.zeros(sum(sizes), np.bool_)
        self.firsts[np.cumsum([0, *sizes[:-1]])] = True

    def levels_of(self, tilts: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The level nearest to each tilt; of two as near, the lower."""
        away = np.abs(tilts[..., None] - self.tilts).round(9)  # levels are not exact in binary
        nearest: NDArray[np.int64] = away.argmin(axis=-1)
        return nearest

    @property
    def shown(self) -> Slots:
        """Candidates, with the scores of the actions that let each go; then those that move, with levels."""
        _, dispatch, share = self.parts
        waiting, moving = self._scheduling.shown, share.env.shown
        assert moving is not None
        levels = len(self.tilts)
        starts = range(share.allowed.start, share.allowed.stop, levels)
        of_levels = tuple(tuple(range(start, start + levels)) for start in starts)
        return Slots(
            _moved(waiting.seen, dispatch.seen.start) + _moved(moving.seen, share.seen.start),
            _moved(waiting.done, dispatch.allowed.start) + of_levels,
            (len(waiting.seen), len(moving.seen)),
        )

    def _start(self, episode: Episode) -> World:
        quantum_s = self._scheduling.quantum_s(episode.scenario)
        return World(episode, self.codecs, self._rules._replace(quantum_s=quantum_s))

    def _mask(self, question: Question) -> Mask:
        mask = self.firsts.copy()
        own = mask[self.parts[_asked(question)].allowed]
        if isinstance(question, CodecQuestion):
            own[:] = True
        elif isinstance(question, DispatchQuestion):
            own[:] = self._scheduling._mask(question)
        else:
            own[: len(question.running) * len(self.tilts)] = True
        return mask

    def _answer(self, question: Question, action: Any) -> Answer:
        part = self.parts[_asked(question)]
        own = np.asarray(action, np.int64)[part.done]
        if isinstance(question, ShareQuestion):
            return part.env._answer(question, np.tile(self.tilts[own], 2))
        return part.env._answer(question, own[0])


def joint_features(parts: Sequence[FeatureList]) -> FeatureList:
    """Which question is put, then the features of all three; of those not put they are at their low end.

    Args:
        parts: Of the codec, the dispatch and the share question.
    """
    named = [
        replace(feature, name=f"{word}_{feature.name}")
        for word, part in zip(_WORDS, parts, strict=True)
        for feature in part.features
    ]
    features = [*_ASKED, *named]
    lows = np.array([feature.low for feature in features], np.float64)
    starts = np.cumsum([len(_ASKED), *map(len, parts)])

    def read(question: Question) -> NDArray[np.float64]:
        values, number = lows.copy(), _asked(question)
        values[number] = 1.0
        values[starts[number] : starts[number + 1]] = parts[number].raw(question)
        return values

    return FeatureList(features, read)


def _moved(places: Sequence[Sequence[int]], by: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(place + by for place in own) for own in places)


def _asked(question: Question) -> int:
    return _QUESTIONS.index(type(question))
