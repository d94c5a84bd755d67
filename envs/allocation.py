"""`dwcp/Allocation-v0`: what share of link and CPU does each running transfer get?"""

from collections.abc import Sequence
from math import inf
from typing import Any, Final, Literal, cast, get_args

import numpy as np
from gymnasium import spaces

from envs.allocation_features import (
    SITE_FEATURES,
    SLOT_FEATURES,
    Floats,
    Ints,
    Rows,
    empty_prospects,
    find_prospects,
    multi_stream,
    share_features,
)
from envs.allocation_rewards import published, utility
from envs.base import Observation, Slots, WorldEnv
from envs.codec_rule import codec_rule
from envs.compression import DEFAULT_CODECS
from sim.codecs import parse_codec
from sim.decisions import Question, Rules, ShareQuestion, Shares
from sim.jit import njit
from sim.question_rows import rows_of
from sim.scenarios import Scenario
from sim.traces import Trace

Reward = Literal["cost", "published", "utility"]

TILT: Final = 5.0
"""An action of +1 weighs e to this; between -1 and +1 lie 22 000, enough for the first to leave nothing."""
_MOST_STREAMS: Final = 64


@njit
def weigh(
    running: Rows,
    order: Ints,
    parts: Floats,
    counts: Floats,
    several: Floats,
    link: Floats,
    cpu: Floats,
    streams: Floats,
) -> None:
    """Write what an action gives those that move; see `Allocation`.

    Args:
        running: Those that move, rows of `sim.question_rows.RUNNING_ROW`, oldest request first.
        order: Their places in the order of the slots.
        parts: The action, shape (2 or 3, slots); cut to [-1, 1].
        counts: Of TCP connections, to choose from; none leaves all as they are.
        several: Of each codec, whether there is that choice, as of `multi_stream`.
        link: Takes weights on the wire, in the order of ``running``.
        cpu: Takes weights on the cores, likewise.
        streams: Takes connections, likewise; 0 without a choice.
    """
    slots = parts.shape[1]
    for rank in range(len(running)):
        place, slot = order[rank], min(rank, slots - 1)
        one = running[place]
        own = one["streams"]
        if len(counts) and rank < slots and several[int(one["codec"])] > 0.0:
            share = (_cut(parts[2, slot]) + 1.0) / 2.0
            own = counts[min(int(share * len(counts)), len(counts) - 1)]
        link[place] = np.exp(TILT * _cut(parts[0, slot])) * own
        cpu[place] = np.exp(TILT * _cut(parts[1, slot]))
        streams[place] = own if len(counts) else 0.0


@njit
def _cut(part: float) -> float:
    return min(max(part, -1.0), 1.0)


class Allocation(WorldEnv):
    """One step is one control interval in which something moves.

    Action:
        Box(-1, 1), shape (2 * slots,) or, with ``streams``, (3 * slots,): for every slot its tilt on the
        link, then for every slot its tilt on the cores, then its place in ``streams``. A transfer weighs
        ``streams * exp(5 * tilt)`` on its path and ``exp(5 * tilt)`` on the cores, so zeros are the plain
        rule. What one cannot use, others get; every action is legal. Transfers without a slot weigh what the
        last slot does; the entries of empty slots are ignored. With ``streams``, [-1, 1] is divided evenly
        among the counts; only transfers sent by AMST have that choice.

    Observation:
        Box(-1, 1) of `envs.allocation_features`, shape (15 + 21 * slots,), listed in ``docs/allocation.md``:
        the site, then a slot for each that moves, by priority over the time it needs alone, highest first.
        After the last decision: zeros.

    Reward:
        ``cost``: minus the cost, in seconds, that accrued since the last decision; what passes before the
        first is charged to the first step, so the return is exactly minus the cost of the episode.
        ``published`` and ``utility`` are those of the literature, see `envs.allocation_rewards`; policies are
        always compared by cost.

    Start:
        At the end of the first control interval in which something moves.

    End:
        Terminated when every transfer has been decoded; never truncated. The last info holds ``cost_s``.

    Attributes:
        parts: Shape of an action by parts: tilts on the link, on the cores, and places in ``streams``.
        counts: ``streams`` as numbers for `weigh`.
        several: Of each codec, 1 where its transfers have a choice of streams, else 0.

    Args:
        scenario: Name(s) or object(s); see `sim.catalogue`.
        codecs: Codecs to send with.
        codec: Which of them: the name of one, or ``shortest`` for the shortest by the sender's own estimates.
        slots: Transfers that are seen and weighed one by one.
        control_s: Seconds between two decisions, above 0.
        streams: Counts of TCP connections that an AMST transfer may be given; empty leaves its own.
        reward: What a step earns.
        traces: Recorded link conditions to use in place of the link models.
        render_mode: ``rgb_array`` or None.
    """

    task = "allocation"

    def __init__(
        self,
        scenario: str | Scenario | Sequence[str | Scenario] = "wan",
        codecs: Sequence[str] = DEFAULT_CODECS,
        *,
        codec: str = "shortest",
        slots: int = 10,
        control_s: float = 1.0,
        streams: Sequence[int] = (),
        reward: Reward = "cost",
        traces: Sequence[Trace] = (),
        render_mode: str | None = None,
    ) -> None:
        if reward not in get_args(Reward):
            raise ValueError(f"reward must be one of {', '.join(get_args(Reward))}, got {reward!r}")
        if any(not 1 <= count <= _MOST_STREAMS for count in streams):
            raise ValueError(f"streams must be counts from 1 to {_MOST_STREAMS}, got {tuple(streams)}")
        if not 0 < control_s < inf:
            raise ValueError(f"control_s must be finite and above 0, got {control_s}")
        offered = [parse_codec(name) for name in codecs]
        super().__init__(
            scenario,
            codecs,
            share_features(offered, slots),
            rules=Rules(codec=codec_rule(codec, offered), share=None, control_s=control_s),
            traces=traces,
            render_mode=render_mode,
        )
        self.codec = codec
        self.slots = slots
        self.control_s = control_s
        self.streams = tuple(streams)
        self.reward: Reward = reward
        self.parts = (3 if streams else 2, slots)
        self.counts = np.array(streams, np.float64)
        self.several = multi_stream(offered)
        self.action_space = spaces.Box(-1.0, 1.0, (self.parts[0] * slots,), np.float32)

    @property
    def shown(self) -> Slots:
        """Those that move, with the entries of the action that are theirs."""
        first, width = len(SITE_FEATURES), len(SLOT_FEATURES)
        starts = range(first, first + width * self.slots, width)
        size = (3 if self.streams else 2) * self.slots
        return Slots(
            tuple(tuple(range(start, start + width)) for start in starts),
            tuple(tuple(range(slot, size, self.slots)) for slot in range(self.slots)),
        )

    @property
    def acting(self) -> tuple[int, ...]:
        """Of each entry of the action, the entry of the observation that is above 0 where it counts."""
        names = [feature.name for feature in SLOT_FEATURES]
        places = [names.index("present")] * 2 + [names.index("multi_stream")] * bool(self.streams)
        starts = [slot[0] for slot in self.shown.seen]
        return tuple(start + place for place in places for start in starts)

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Weigh those that move and run to the end of the next interval in which something does."""
        ended_before = len(self._running().records)
        observation, reward, ended, truncated, last = super().step(action)
        if self.reward != "cost":
            world = self._running()
            question = cast(ShareQuestion | None, world.question)
            if self.reward == "published":
                reward = published(world.records[ended_before:], question)
            else:
                reward = utility(question)
        return observation, reward, ended, truncated, last

    def _answer(self, question: Question, action: Any) -> Shares:
        question = cast(ShareQuestion, question)
        parts = np.asarray(action, np.float64).reshape(self.parts)
        rows, count = rows_of(question), len(question.running)
        found, order = empty_prospects(1, count)
        find_prospects(rows, 0, found[0], order[0])
        link, cpu, streams = np.empty((3, count))
        weigh(rows.running[0], order[0], parts, self.counts, self.several, link, cpu, streams)
        chosen = streams.astype(int).tolist() if self.streams else None
        return Shares(link.tolist(), cpu.tolist(), chosen)
