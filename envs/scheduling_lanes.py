"""`dwcp/Scheduling-v0` on lanes of the compiled world."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.features import scale
from envs.lanes import EnvLanes, Seen, codec_of
from envs.scheduling import Scheduling
from envs.scheduling_features import fill_dispatch
from envs.shortlist import Choice, Shortlister, ShortlistRows, make_shortlist
from sim.batch.events import answer_dispatch
from sim.batch.layout import ASK_DISPATCH, Floats, Ints, Lanes
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
def _actions(any_path: bool, lists: ShortlistRows) -> int:
    """How many actions there are, the last of which lets all wait."""
    ways = lists.backlog_bytes.shape[1] if any_path else 1
    actions: int = lists.positions.shape[1] * ways + 1
    return actions


@njit
def answer_dispatches(
    lanes: Ints, actions: Ints, w: Lanes, any_path: bool, lists: ShortlistRows, seen: Seen
) -> None:
    """Answer the dispatch questions among those that stand on some lanes; actions are of all lanes, legal."""
    last = _actions(any_path, lists) - 1
    for number in range(len(lanes)):
        k = lanes[number]
        if seen.asked[k] == ASK_DISPATCH:
            _dispatch(w, k, any_path, lists, actions[k], last)


class Starts(NamedTuple):
    """Where what is seen of a dispatch question starts in an observation, and what it allows in a mask."""

    seen: int
    allowed: int


_ALONE: Final = Starts(0, 0)


@njit
def observe_dispatches(
    lanes: Ints,
    rows: QuestionRows,
    choice: Choice,
    lists: ShortlistRows,
    rules: Floats,
    starts: Starts,
    values: Floats,
    seen: Seen,
) -> None:
    """Write what is seen, and allowed, of the dispatch questions among those that stand on some lanes.

    Args:
        lanes: Which.
        rows: The questions.
        choice: What there is to choose from.
        lists: Takes who is shown.
        rules: How `scale` scales what is seen.
        starts: Where to write.
        values: Scratch.
        seen: Takes what is seen and allowed; at the end nothing is.
    """
    width, actions = len(rules), _actions(choice.any_path, lists)
    for number in range(len(lanes)):
        k = lanes[number]
        mask = seen.masks[k, starts.allowed : starts.allowed + actions]
        if seen.asked[k] == ASK_DISPATCH:
            make_shortlist(rows, k, choice, lists)
            fill_dispatch(rows, lists, k, choice.any_path, values[:width])
            scale(values[:width], rules, seen.observations[k, starts.seen : starts.seen + width])
            _allow(rows, k, choice.any_path, lists, mask)
        elif seen.ended[k]:
            mask[:] = False


def with_room(lists: ShortlistRows, lister: Shortlister, waiting: int) -> ShortlistRows:
    """The same shortlists, with room for so many that wait on a lane."""
    if waiting <= lists.path.shape[1]:
        return lists
    larger = lister.room(len(lists.shown), waiting)
    return larger._replace(positions=lists.positions, shown=lists.shown)


def refuse_forbidden(seen: Seen, masks: NDArray[np.bool_], actions: NDArray[Any]) -> None:
    """Refuse actions that do not answer the dispatch questions that stand.

    Args:
        seen: Tells on which lanes one stands.
        masks: What is allowed of it, shape (lanes, actions).
        actions: One a lane.

    Raises:
        ValueError: If a lane's mask forbids its action.
    """
    asked = seen.asked == ASK_DISPATCH
    wrong = np.flatnonzero(asked & ~masks[np.arange(len(masks)), actions])
    if len(wrong):
        lane = int(wrong[0])
        legal = np.flatnonzero(masks[lane]).tolist()
        raise ValueError(
            f"action of copy {lane} must be one that its mask allows, of {legal}, got {actions[lane]}"
        )


class SchedulingLanes(EnvLanes):
    """Lanes that ask which waiting transfer goes next; arguments as of `EnvLanes`."""

    env: Scheduling

    def __init__(self, env: Scheduling, count: int, pool: Sequence[Episode] = ()) -> None:
        asks = OpenTo(codec_of(env.codec, env.codecs), dispatch=True, share=False, control_s=1.0)
        actions = int(cast(spaces.Discrete, env.action_space).n)
        super().__init__(env, count, actions, asks, pool)
        self._lists = env.shortlister.room(count, 1)

    def step(self, actions: NDArray[Any]) -> None:
        """Answer the open question of every lane and run it to its next; see `EnvLanes.step`.

        Raises:
            ValueError: If a lane's mask forbids its action; then no lane has moved.
        """
        refuse_forbidden(self.seen, self.seen.masks, actions)
        super().step(actions)

    def _quantum_s(self, episode: Episode) -> float:
        return self.env.quantum_s(episode.scenario)

    def _advance(self, lanes: Ints, actions: NDArray[Any] | None) -> None:
        if actions is not None:
            any_path, w = self.env.shortlister.any_path, self.world.arrays
            answer_dispatches(lanes, np.asarray(actions, np.int64), w, any_path, self._lists, self.seen)
        self._run(lanes)
        rows, lister, rules = self.world.rows, self.env.shortlister, self.env.features.rules
        self._lists = with_room(self._lists, lister, rows.waiting.shape[1])
        observe_dispatches(lanes, rows, lister.choice, self._lists, rules, _ALONE, self._values, self.seen)
