"""`dwcp/Scheduling-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs import codec_rule
from envs.features import scale
from envs.lanes import EnvLanes, Seen
from envs.scheduling import Scheduling
from envs.scheduling_features import fill_dispatch
from envs.shortlist import Choice, ShortlistRows, make_shortlist
from sim.batch import ledger
from sim.batch.events import answer_dispatch, start
from sim.batch.layout import NO_QUESTION, SHORTEST, Floats, Ints, Lanes
from sim.batch.world import BatchWorld, OpenTo, put_question, run_lane
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
def _look(
    w: Lanes,
    k: int,
    open_to: OpenTo,
    rows: QuestionRows,
    choice: Choice,
    lists: ShortlistRows,
    rules: Floats,
    values: Floats,
    seen: Seen,
) -> None:
    asked = run_lane(w, k, open_to)
    seen.ended[k] = asked == NO_QUESTION
    if asked == NO_QUESTION:
        seen.observations[k, :] = 0.0
        seen.masks[k, :] = False
    else:
        put_question(w, k, rows)
        make_shortlist(rows, k, choice, lists)
        fill_dispatch(rows, lists, k, choice.any_path, values)
        scale(values, rules, seen.observations[k])
        _allow(rows, k, choice.any_path, lists, seen.masks[k])
    seen.costs[k], seen.now_s[k] = ledger.accrued(w, k), w.lanes[k]["now"]


@njit
def _answer(w: Lanes, k: int, any_path: bool, lists: ShortlistRows, action: int, last: int) -> None:
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
def _begin(
    lanes: Ints,
    places: Ints,
    quanta: Floats,
    w: Lanes,
    open_to: OpenTo,
    rows: QuestionRows,
    choice: Choice,
    lists: ShortlistRows,
    rules: Floats,
    values: Floats,
    seen: Seen,
) -> None:
    for number in range(len(lanes)):
        k = lanes[number]
        start(w, k, places[number], quanta[number])
        _look(w, k, open_to, rows, choice, lists, rules, values[0], seen)
        seen.costs[k] = 0.0  # what passes before the first question is charged to the first step


@njit
def _step(
    first: int,
    end: int,
    actions: Ints,
    w: Lanes,
    open_to: OpenTo,
    rows: QuestionRows,
    choice: Choice,
    lists: ShortlistRows,
    rules: Floats,
    values: Floats,
    seen: Seen,
) -> None:
    for k in range(first, end):
        if not seen.ended[k]:
            _answer(w, k, choice.any_path, lists, actions[k], seen.masks.shape[1] - 1)
            _look(w, k, open_to, rows, choice, lists, rules, values[first], seen)


class SchedulingLanes(EnvLanes):
    """Lanes that ask which waiting transfer goes next; arguments as of `EnvLanes`."""

    env: Scheduling
    kernel = _step

    def __init__(
        self, env: Scheduling, count: int, pool: Sequence[Episode] = (), *, threads: int = 1
    ) -> None:
        names = [codec.name for codec in env.codecs]
        codec = SHORTEST if env.codec == codec_rule.SHORTEST else names.index(env.codec)
        actions = int(cast(spaces.Discrete, env.action_space).n)
        super().__init__(env, count, actions, OpenTo(codec, True, False, 1.0), pool, threads=threads)
        self._lists = env.shortlister.room(count, 1)
        self._values = np.zeros((count, len(env.features)))  # scratch, a row a thread: that of its first lane

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

    def _begin(self, world: BatchWorld, lanes: Ints, places: Ints, quanta: Floats) -> None:
        waiting = world.rows.waiting.shape[1]
        if waiting > self._lists.path.shape[1]:
            old = self._lists
            self._lists = self.env.shortlister.room(len(self), waiting)._replace(
                positions=old.positions, shown=old.shown
            )
        _begin(lanes, places, quanta, *self._rest(world))

    def _step(self, world: BatchWorld, actions: NDArray[Any], first: int, end: int) -> None:
        _step(first, end, np.asarray(actions, np.int64), *self._rest(world))

    def _rest(
        self, world: BatchWorld
    ) -> tuple[Lanes, OpenTo, QuestionRows, Choice, ShortlistRows, Floats, Floats, Seen]:
        choice, rules = self.env.shortlister.choice, self.env.features.rules
        return (
            world.arrays,
            world.open_to,
            world.rows,
            choice,
            self._lists,
            rules,
            self._values,
            self.seen,
        )
