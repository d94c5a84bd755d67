"""`dwcp/Compression-v0`: with which codec does each transfer go?"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from envs.base import WorldEnv
from envs.features import CODEC_FEATURES
from sim.decisions import Question
from sim.scenarios import Scenario
from sim.traces import Trace

DEFAULT_CODECS = ("none", "zstd", "hde", "amst")
FAMILIES = ("none", "zstd", "hde", "amst")
"""First entry of a MultiDiscrete action."""


class Compression(WorldEnv):
    """One step is one codec decision.

    Action:
        ``Discrete``: index in ``codecs``. With ``action="multi"``: ``MultiDiscrete`` of family (none, zstd,
        hde, amst), position in ``levels`` (used by zstd) and position in ``streams`` (used by amst).

    Observation:
        Box(-1, 1) of `envs.features.CODEC_FEATURES`, shape (42,), listed in ``docs/compression.md``:
        all measurable by the sender before the transfer starts, as late and noisy probes, lagged averages and
        samples of the payload. After the last decision: zeros.

    Reward:
        Minus the cost, in seconds, that accrued since the last decision; the return is exactly minus the cost
        of the episode: ``sum of priority * completion time + cpu_price * CPU seconds + late_price *
        lateness``.

    Start:
        Before the first transfer of an episode drawn from the scenario.

    End:
        Terminated when every transfer has been decoded; never truncated. The last info holds ``cost_s``.

    Args:
        scenario: Name(s) or object(s); see `sim.catalogue`.
        codecs: Answers to choose from, for ``action="discrete"``.
        action: ``discrete`` or ``multi``.
        levels: zstd levels, for ``action="multi"``.
        streams: AMST stream counts, for ``action="multi"``.
        traces: Recorded link conditions to use in place of the link models.
        render_mode: ``rgb_array`` or None.
    """

    task = "compression"

    def __init__(
        self,
        scenario: str | Scenario | Sequence[str | Scenario] = "wan",
        codecs: Sequence[str] = DEFAULT_CODECS,
        *,
        action: Literal["discrete", "multi"] = "discrete",
        levels: Sequence[int] = (1, 3, 9),
        streams: Sequence[int] = (4, 8, 16),
        traces: Sequence[Trace] = (),
        render_mode: str | None = None,
    ) -> None:
        if action not in ("discrete", "multi"):
            raise ValueError(f"action must be 'discrete' or 'multi', got {action!r}")
        self._multi = action == "multi"
        if self._multi:
            names = {(0, 0, 0): "none", (2, 0, 0): "hde"}
            names |= {(1, number, 0): f"zstd-{level}" for number, level in enumerate(levels)}
            names |= {(3, 0, number): f"amst-{count}" for number, count in enumerate(streams)}
            codecs = tuple(names.values())
            self._answers = {key: answer for answer, key in enumerate(names)}
        super().__init__(scenario, codecs, CODEC_FEATURES, traces=traces, render_mode=render_mode)
        if self._multi:
            self.action_space = spaces.MultiDiscrete([len(FAMILIES), len(levels), len(streams)])
        else:
            self.action_space = spaces.Discrete(len(codecs))

    def _answer(self, question: Question, action: Any) -> int:
        if not self._multi:
            return int(action)
        family, level, streams = np.asarray(action, int).tolist()
        return self._answers[family, level if family == 1 else 0, streams if family == 3 else 0]
