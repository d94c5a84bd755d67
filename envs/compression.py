"""`dwcp/Compression-v0`: with which codec does each transfer go?"""

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
from gymnasium import spaces

from envs.base import Observation, WorldEnv
from envs.features import CODEC_FEATURES
from envs.forecasts import Foreseen, Foresight, with_forecasts
from sim.decisions import CodecQuestion, Question
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
        samples of the payload. After the last decision: zeros. With forecasts, theirs follow.

    Reward:
        Minus the cost, in seconds, that accrued since the last decision; the return is exactly minus the cost
        of the episode: ``sum of priority * completion time + cpu_price * CPU seconds + late_price *
        lateness``.

    Start:
        Before the first transfer of an episode drawn from the scenario.

    End:
        Terminated when every transfer has been decoded; never truncated. The last info holds ``cost_s``.

    Attributes:
        answers: Index in ``codecs`` for each action, of the shape of the action space.
        foreseen: The forecasts; None without any.

    Args:
        scenario: Name(s) or object(s); see `sim.catalogue`.
        codecs: Answers to choose from, for ``action="discrete"``.
        action: ``discrete`` or ``multi``.
        levels: zstd levels, for ``action="multi"``.
        streams: AMST stream counts, for ``action="multi"``.
        forecasts: Whose features follow those of the question; see `envs.forecasts`.
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
        forecasts: Sequence[Foresight] = (),
        traces: Sequence[Trace] = (),
        render_mode: str | None = None,
    ) -> None:
        if action not in ("discrete", "multi"):
            raise ValueError(f"action must be 'discrete' or 'multi', got {action!r}")
        self._multi = action == "multi"
        if self._multi:
            by_level = [f"zstd-{level}" for level in levels]
            by_streams = [f"amst-{count}" for count in streams]
            codecs = ("none", "hde", *by_level, *by_streams)
        self.foreseen = Foreseen(forecasts) if forecasts else None
        features = with_forecasts(self.foreseen) if self.foreseen else CODEC_FEATURES
        super().__init__(scenario, codecs, features, traces=traces, render_mode=render_mode)
        self.action_space: spaces.Space[Any] = spaces.Discrete(len(codecs))
        self.answers = np.arange(len(codecs))
        if self._multi:
            self.answers = np.zeros((len(FAMILIES), len(levels), len(streams)), np.int64)
            self.answers[FAMILIES.index("hde")] = codecs.index("hde")
            for number, name in enumerate(by_level):
                self.answers[FAMILIES.index("zstd"), number] = codecs.index(name)
            for number, name in enumerate(by_streams):
                self.answers[FAMILIES.index("amst"), :, number] = codecs.index(name)
            self.action_space = spaces.MultiDiscrete(list(self.answers.shape))

    def _answer(self, question: Question, action: Any) -> int:
        return int(self.answers[tuple(np.asarray(action, int))]) if self._multi else int(action)

    def _observe(self, question: Question) -> Observation:
        if self.foreseen is None:
            return super()._observe(question)
        asked = cast(CodecQuestion, question)
        seen = self.foreseen.scaled([asked], [self._running().episode])
        return np.concatenate([CODEC_FEATURES.observe(asked), seen[0]])
