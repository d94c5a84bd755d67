"""`dwcp/Scheduling-v0`: which waiting transfer goes next, or does all wait?"""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from envs.base import Mask, Slots, WorldEnv
from envs.codec_rule import SHORTEST, codec_rule
from envs.compression import DEFAULT_CODECS
from envs.scheduling_features import candidate_columns, dispatch_features
from envs.shortlist import Shortlister
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.decisions import WAIT, Dispatch, DispatchQuestion, Go, Question, Rules
from sim.episode import Episode
from sim.scenarios import Scenario
from sim.traces import Trace
from sim.world import World


class Scheduling(WorldEnv):
    """One step is one dispatch decision: a slot is free and something waits.

    Action:
        ``Discrete(slots + 1)``: which candidate goes, or (the last) all wait until the next arrival, the next
        end, or ``quantum_s``. Where transfers may take any path, ``Discrete(slots * paths + 1)``: action
        ``candidate * paths + path``. `action_masks` tells which are legal; there is always one.

    Observation:
        Box(-1, 1) of `envs.scheduling_features.dispatch_features`: of each candidate, of each path, of the
        whole; see ``docs/scheduling.md``. After the last decision: zeros.

    Reward:
        Minus the cost, in seconds, that accrued since the last decision; the return is exactly minus the cost
        of the episode, as in `Compression`.

    Start:
        Before the first transfer of an episode drawn from the scenario.

    End:
        Terminated when every transfer has been decoded; never truncated. The last info holds ``cost_s``.

    Args:
        scenario: Name(s) or object(s); see `sim.catalogue`.
        codecs: What the codec rule chooses from.
        codec: The codec rule: one of ``codecs``, or ``shortest``.
        slots: Candidates shown, at most.
        quantum_s: Longest wait, in seconds, until the question is put again: 3600 are the published
            scheduler's hourly delays; None waits for the scenario's mean time between two arrivals.
        traces: Recorded link conditions to use in place of the link models.
        render_mode: ``rgb_array`` or None.

    Attributes:
        codec: Name of the codec rule.
        shortlister: Says who is shown.
    """

    task = "scheduling"
    masked = True

    def __init__(
        self,
        scenario: str | Scenario | Sequence[str | Scenario] = "wan",
        codecs: Sequence[str] = DEFAULT_CODECS,
        *,
        codec: str = SHORTEST,
        slots: int = 16,
        quantum_s: float | None = None,
        traces: Sequence[Trace] = (),
        render_mode: str | None = None,
    ) -> None:
        if slots < 1:
            raise ValueError(f"slots must be at least 1, got {slots}")
        if quantum_s is not None and not 0 < quantum_s < float("inf"):
            raise ValueError(f"quantum_s must be finite and above 0, got {quantum_s}")
        given = [scenario] if isinstance(scenario, str | Scenario) else list(scenario)
        scenarios = [find_scenario(one) if isinstance(one, str) else one for one in given]
        parsed = [parse_codec(name) for name in codecs]
        rule = codec_rule(codec, parsed)
        families = [one.family for one in parsed if codec in (SHORTEST, one.name)]
        paths = max((len(one.paths) for one in scenarios), default=1)
        any_path = any(one.any_path for one in scenarios)
        self.codec = codec
        self.shortlister = Shortlister(slots, paths, any_path, families)
        super().__init__(
            scenarios,
            codecs,
            dispatch_features(self.shortlister),
            rules=Rules(codec=rule, dispatch=None),
            traces=traces,
            render_mode=render_mode,
        )
        self._quantum_s = quantum_s
        self.action_space = spaces.Discrete(slots * (paths if any_path else 1) + 1)

    def quantum_s(self, scenario: Scenario) -> float:
        """Longest wait on a site, in seconds."""
        return self._quantum_s or scenario.workload.interval_s

    def _start(self, episode: Episode) -> World:
        quantum_s = self.quantum_s(episode.scenario)
        return World(episode, self.codecs, self._rules._replace(quantum_s=quantum_s))

    @property
    def shown(self) -> Slots:
        """Candidates, with the scores of the actions that let each of them go."""
        lister = self.shortlister
        ways = lister.paths if lister.any_path else 1
        return Slots(
            candidate_columns(lister),
            tuple(tuple(range(slot * ways, (slot + 1) * ways)) for slot in range(lister.slots)),
        )

    def _mask(self, question: Question) -> Mask:
        question = cast(DispatchQuestion, question)
        lister = self.shortlister
        mask = np.zeros((lister.slots, lister.paths if lister.any_path else 1), np.bool_)
        for row, position in zip(mask, lister(question).positions, strict=False):
            for path in question.waiting[position].paths:
                row[path if lister.any_path else 0] = True
        return np.append(mask.ravel(), question.may_wait)

    def _answer(self, question: Question, action: Any) -> Dispatch:
        question, action = cast(DispatchQuestion, question), int(action)
        mask = self._mask(question)
        if not (0 <= action < len(mask) and mask[action]):
            legal = np.flatnonzero(mask).tolist()
            raise ValueError(f"action must be one that the mask allows, of {legal}, got {action}")
        if action == len(mask) - 1:
            return WAIT
        lister = self.shortlister
        candidate, path = divmod(action, lister.paths) if lister.any_path else (action, 0)
        position = lister(question).positions[candidate]
        return Go(position, path if lister.any_path else question.waiting[position].paths[0])
