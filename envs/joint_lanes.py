"""`dwcp/Joint-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from envs.allocation import Allocation
from envs.allocation_lanes import answer_shares, no_room, observe_shares
from envs.allocation_lanes import with_room as room_for_moving
from envs.codec_lanes import answer_codecs, observe_codecs
from envs.joint import CODEC, DISPATCH, SHARE, Joint
from envs.lanes import EnvLanes, Seen
from envs.scheduling import Scheduling
from envs.scheduling_lanes import Starts, answer_dispatches, observe_dispatches, refuse_forbidden
from envs.scheduling_lanes import with_room as room_for_waiting
from sim.batch.layout import ASK_CODEC, ASK_DISPATCH, ASK_SHARE, OPEN, Floats, Ints
from sim.batch.world import OpenTo
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


class _Parts(NamedTuple):
    """The actions of all lanes, as each of the environments that `Joint` is made of has its own."""

    codec: Ints  # (K,)
    dispatch: Ints  # (K,)
    share: Floats  # (K, 2, slots)


class _Heads(NamedTuple):
    """How the parts of an action stand in a mask."""

    firsts: NDArray[np.bool_]  # what is allowed of parts that are not asked for
    codecs_end: int
    levels_start: int
    levels: int  # of a slot


@njit
def _split(lanes: Ints, actions: Ints, tilts: Floats, parts: _Parts) -> None:
    """Take the actions of some lanes apart."""
    for number in range(len(lanes)):
        k = lanes[number]
        parts.codec[k], parts.dispatch[k] = actions[k, 0], actions[k, 1]
        for slot in range(actions.shape[1] - 2):
            tilt = tilts[actions[k, 2 + slot]]
            parts.share[k, 0, slot] = parts.share[k, 1, slot] = tilt


@njit
def _blank(lanes: Ints, rows: QuestionRows, heads: _Heads, seen: Seen) -> None:
    """Write which questions stand, that nothing is seen of others, and what codecs and levels are allowed."""
    for number in range(len(lanes)):
        k = lanes[number]
        mask, asked = seen.masks[k], seen.asked[k]
        if seen.ended[k]:
            mask[:] = False
            continue
        seen.observations[k, :] = -1.0
        for place in range(len(mask)):  # to assign the whole at once takes an array of its own
            mask[place] = heads.firsts[place]
        if asked == ASK_CODEC:
            seen.observations[k, CODEC] = 1.0
            mask[: heads.codecs_end] = True
        elif asked == ASK_DISPATCH:
            seen.observations[k, DISPATCH] = 1.0
        elif asked == ASK_SHARE:
            seen.observations[k, SHARE] = 1.0
            end = heads.levels_start + rows.site[k]["running"] * heads.levels
            mask[heads.levels_start : end] = True


class JointLanes(EnvLanes):
    """Lanes that ask all three questions; arguments as of `EnvLanes`.

    A step goes over its lanes once for each kind of question, with the kernels of the environments that ask
    it alone: they are not compiled anew.
    """

    env: Joint

    def __init__(self, env: Joint, count: int, pool: Sequence[Episode] = ()) -> None:
        self._scheduling = cast(Scheduling, env.parts[DISPATCH].env)
        allocation = cast(Allocation, env.parts[SHARE].env)
        asks = OpenTo(OPEN, dispatch=True, share=True, control_s=allocation.control_s)
        super().__init__(env, count, env.parts[SHARE].allowed.stop, asks, pool)
        codecs, _, levels = (part.allowed for part in env.parts)
        self._heads = _Heads(env.firsts, codecs.stop, levels.start, len(env.tilts))
        self._taken_apart = _Parts(
            np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros((count, *allocation.parts))
        )
        self._lists = self._scheduling.shortlister.room(count, 1)
        self._kept = no_room(allocation, count)
        self._rules = [part.env.features.rules for part in env.parts]

    def step(self, actions: NDArray[Any]) -> None:
        """Answer the open question of every lane and run it to its next; see `EnvLanes.step`.

        Raises:
            ValueError: If a lane's mask forbids who its action lets go; then no lane has moved.
        """
        masks = self.seen.masks[:, self.env.parts[DISPATCH].allowed]
        refuse_forbidden(self.seen, masks, actions[:, DISPATCH])
        super().step(actions)

    def _quantum_s(self, episode: Episode) -> float:
        return self._scheduling.quantum_s(episode.scenario)

    def _advance(self, lanes: Ints, actions: NDArray[Any] | None) -> None:
        if actions is not None:
            self._answer(lanes, actions)
        self._run(lanes)
        self._observe(lanes)

    def _answer(self, lanes: Ints, actions: NDArray[Any]) -> None:
        w, rows, parts = self.world.arrays, self.world.rows, self._taken_apart
        any_path = self._scheduling.shortlister.any_path
        _split(lanes, np.asarray(actions, np.int64), self.env.tilts, parts)
        answer_codecs(lanes, parts.codec, w, self.seen)
        answer_dispatches(lanes, parts.dispatch, w, any_path, self._lists, self.seen)
        answer_shares(lanes, parts.share, w, rows, self._kept, self.seen)

    def _observe(self, lanes: Ints) -> None:
        rows, lister = self.world.rows, self._scheduling.shortlister
        self._lists = room_for_waiting(self._lists, lister, rows.waiting.shape[1])
        self._kept = room_for_moving(self._kept, rows.running.shape[1])
        codec, dispatch, share = self._rules
        first, second, third = (part.seen.start for part in self.env.parts)
        starts = Starts(second, self.env.parts[DISPATCH].allowed.start)
        values, seen = self._values, self.seen
        _blank(lanes, rows, self._heads, seen)
        observe_codecs(lanes, rows, codec, first, values, seen)
        observe_dispatches(lanes, rows, lister.choice, self._lists, dispatch, starts, values, seen)
        observe_shares(lanes, rows, self._kept, share, third, values, seen)
