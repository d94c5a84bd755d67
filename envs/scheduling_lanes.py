"""`dwcp/Scheduling-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.features import scale
from envs.lanes import EnvLanes, Seen, codec_of
from envs.scheduling import Scheduling
from envs.scheduling_features import fill_dispatch
from envs.shortlist import Choice, ShortlistRows, make_shortlist
from sim.batch.events import answer_dispatch
from sim.batch.layout import Floats, Ints, Lanes
from sim.batch.world import OpenTo
from sim.episode import Episode
from sim.jit import njit
from sim.question_rows import QuestionRows


@njit
def _allow(rows: QuestionRows, k: int, any_path: bool, lists: ShortlistRows, mask: NDArray[np.bool_]) -> None:
    """Write which actions answer the question of a lane."""
    mask[:] = False
    for slot in range(lists.shown[k]):
        bits = np.int64(rows.waiting[k, lists.positions[k, slot]]["paths"])
        if not any_path:
            mask[slot] = bits != 0
        else:
            paths = lists.backlog_bytes.shape[1]
            for path in range(rows.site[k]["paths"]):
                mask[slot * paths + path] = bits >> path & 1 != 0
    mask[len(mask) - 1] = rows.site[k]["may_wait"]


@njit
def _dispatch(w: Lanes, k: int, any_path: bool, lists: ShortlistRows, action: int, last: int) -> None:
    """Let the candidate go whom a legal action names, or at the last action let all wait."""
    if action == last:
        answer_dispatch(w, k, -1, -1)
    elif any_path:
        paths = lists.backlog_bytes.shape[1]
        answer_dispatch(w, k, lists.positions[k, action // paths], action % paths)
    else:
        position = lists.positions[k, action]
        answer_dispatch(w, k, position, w.transfers[k, w.waiting[k, position]]["path"])


@njit
def _answer(lanes: Ints, actions: Ints, w: Lanes, any_path: bool, lists: ShortlistRows, seen: Seen) -> None:
    for number in range(len(lanes)):
        k = lanes[number]
        if not seen.ended[k]:
            _dispatch(w, k, any_path, lists, actions[k], seen.masks.shape[1] - 1)


@njit
def _observe(
    lanes: Ints,
    rows: QuestionRows,
    choice: Choice,
    lists: ShortlistRows,
    rules: Floats,
    values: Floats,
    seen: Seen,
) -> None:
    for number in range(len(lanes)):
        k, scratch = lanes[number], lanes[0]
        if seen.ended[k]:
            seen.masks[k, :] = False
        else:
            make_shortlist(rows, k, choice, lists)
            fill_dispatch(rows, lists, k, choice.any_path, values[scratch])
            scale(values[scratch], rules, seen.observations[k])
            _allow(rows, k, choice.any_path, lists, seen.masks[k])


class SchedulingLanes(EnvLanes):
    """Lanes that ask which waiting transfer goes next; arguments as of `EnvLanes`."""

    env: Scheduling

    def __init__(
        self, env: Scheduling, count: int, pool: Sequence[Episode] = (), *, threads: int = 1
    ) -> None:
        asks = OpenTo(codec_of(env.codec, env.codecs), dispatch=True, share=False, control_s=1.0)
        actions = int(cast(spaces.Discrete, env.action_space).n)
        super().__init__(env, count, actions, asks, pool, threads=threads)
        self._lists = env.shortlister.room(count, 1)

    def step(self, actions: NDArray[Any]) -> None:
        """Answer the open question of every lane and run it to its next; see `EnvLanes.step`.

        Raises:
            ValueError: If a lane's mask forbids its action; then no lane has moved.
        """
        masks = self.seen.masks
        wrong = np.flatnonzero(~self.seen.ended & ~masks[np.arange(len(self)), actions])
        if len(wrong):
            lane = int(wrong[0])
            legal = np.flatnonzero(masks[lane]).tolist()
            raise ValueError(
                f"action of copy {lane} must be one that its mask allows, of {legal}, got {actions[lane]}"
            )
        super().step(actions)

    def _quantum_s(self, episode: Episode) -> float:
        return self.env.quantum_s(episode.scenario)

    def _answer(self, lanes: Ints, actions: NDArray[Any]) -> None:
        any_path = self.env.shortlister.any_path
        _answer(lanes, np.asarray(actions, np.int64), self.world.arrays, any_path, self._lists, self.seen)

    def _observe(self, lanes: Ints) -> None:
        rows, lister, old = self.world.rows, self.env.shortlister, self._lists
        if rows.waiting.shape[1] > old.path.shape[1]:
            self._lists = lister.room(len(self), rows.waiting.shape[1])._replace(
                positions=old.positions, shown=old.shown
            )
        rules = self.env.features.rules
        _observe(lanes, rows, lister.choice, self._lists, rules, self._values, self.seen)
