"""A cost that no policy can beat: a linear programme over time with perfect knowledge."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from agents.bound_crowd import Crowd, crowd, most_under
from agents.bound_grid import densest_first, hats, lay_nodes
from agents.bound_leave import Leave, at_will
from agents.bound_options import Freedom, Options, draw_up_options, path_capacity
from agents.bound_programme import Programme, Rows
from agents.bound_transport import Floats, Ints
from sim.codecs import Codec
from sim.episode import Episode

_MOST_NODES: Final = 400
"""Nodes in time; twice as many raise the bound of a site's episode by at most 0.7 %."""
_SPAN: Final = 4.0
_NEAREST: Final = 8
"""Nodes of a transfer that the programme starts with: those within so many times what it takes alone, and at
least so many; the others join when they matter."""


class Bound(NamedTuple):
    """Lower bound on the cost of an episode, in seconds, and what it is made of.

    The cost is a bound; its parts are those of one best point, and no bounds of their own.

    Attributes:
        cost_s: No policy costs less.
        completion_s: Sum of priority times time from arrival to decoded.
        cpu_s: CPU seconds times their price.
        late_s: Lateness times its price.
    """

    cost_s: float
    completion_s: float
    cpu_s: float
    late_s: float


def bound(
    episode: Episode,
    codecs: Sequence[Codec],
    *,
    free_shares: bool = True,
    free_streams: bool = True,
    free_order: bool = True,
    leave: Leave | None = None,
) -> Bound:
    """Lower bound on the cost of an episode under any policy.

    Policies may know all, answer every question about these codecs, let transfers go in any order and wait,
    and take any path where the scenario says so. What may be set besides is an argument: the less, the higher
    the bound. With all of it free, the bound holds for every environment.

    Every course of events is turned into a feasible point of a linear programme that costs no more:

    * An option o of a transfer is a codec, whole or as a delta, on a path. f_o(t) is the share of the
      transfer that moves at t under the option that it took; the f of its other options are 0.
    * Hats h_k over nodes t_k sum to 1 and reproduce straight lines. So ``x_ok = integral of h_k f_o`` sums to
      1 over all k and o of a transfer, and ``sum of t_k x_ok`` is the mean moment M at which it moves.
    * Bytes on a path and encoding cores never exceed what is there. Integrated against h_k: ``sum of bytes_o
      x_ok <= integral of h_k capacity``; so for cores, and for slots, which one holds while it moves.
    * f_o stays below the highest rate r_o(t) that codec, cores, TCP and the least start-up allow: ``x_ok <=
      integral of h_k r_o``.
    * What moves at most at rate r is done no sooner than ``C >= M + 1 / (2 r)`` (Goemans), nor sooner than
      alone. Both are linear in x; and cost is linear in C, in the lateness ``L >= C - deadline, L >= 0``, and
      in the CPU seconds of the option.
    * At most ``max_deltas`` deltas are sent against each baseline of a dataset, and only against a baseline
      that is young enough (`_Draft.limit_deltas`).
    * Where each stream weighs the same, few streams leave more to the traffic of others, and bytes on a path
      count for more (`agents.bound_crowd`).

    A programme may split a transfer over several options, which no policy can: that lowers it further. With
    all there at 0, equal priorities and one path without other limits the shortest goes first and meets the
    bound, if each end is a node.

    Args:
        episode: What is to be moved; its scenario says whether paths are free.
        codecs: The codecs allowed.
        free_shares: Whether policies may set what each transfer gets of link and cores. If not, each stream
            weighs the same.
        free_streams: Whether policies may set the streams of multi-stream transfers that move; shares are
            free then, too.
        free_order: Whether policies may say who goes next. If not, it is first come, first served.
        leave: When and how transfers may leave, as of `agents.bound_leave`; at will unless given.

    Raises:
        RuntimeError: If the solver gives up.

    Source:
        Dyer, Wolsey: Formulating the single machine sequencing problem with release dates as a mixed integer
        program. Discrete Applied Mathematics 26, 1990. Goemans, Queyranne, Schulz, Skutella, Wang: Single
        machine scheduling with release dates. SIAM J. Discrete Mathematics 15(2), 2002.
    """
    freedom = Freedom(free_shares or free_streams, free_streams, free_order or _out_of_turn(episode))
    leave = leave or at_will(episode, codecs)
    capacity = path_capacity(episode, codecs, freedom, leave)
    options = draw_up_options(episode, codecs, capacity, freedom, leave)
    draft = _Draft(episode, options, _nodes(episode, options, capacity))
    draft.limit_resources(capacity, None if freedom.shares else crowd(episode, options))
    draft.limit_deltas(in_turn=not freedom.order)
    draft.limit_completion()
    late = draft.limit_lateness()
    cost_s, values = draft.programme.solve()
    scenario = episode.scenario
    cpu_s = scenario.cpu_price * float(values[draft.work] @ options.cpu_s[draft.option])
    late_s = scenario.late_price * float(values[late].sum())
    return Bound(cost_s, cost_s - cpu_s - late_s, cpu_s, late_s)


def _out_of_turn(episode: Episode) -> bool:
    """Whether some may overtake others even if no one says so: those whose path has a slot."""
    scenario = episode.scenario
    return scenario.any_path or any(path.slots is not None for path in scenario.paths)


def _nodes(episode: Episode, options: Options, capacity: Floats) -> Floats:
    """Nodes where something would happen on each resource if it were the only one, shape (nodes,)."""
    times, _, cores = episode.conditions
    priority = episode.requests.priority
    ready_s, core_s = options.least(options.ready_s), options.least(options.core_s)
    wire_bytes = options.least(options.wire_bytes)
    events = [ready_s, options.least(options.alone_s)]
    events.append(densest_first(core_s, priority / core_s, ready_s, times, cores))
    for path in np.unique(episode.path):
        own = episode.path == path
        density = priority[own] / wire_bytes[own]
        events.append(densest_first(wire_bytes[own], density, ready_s[own], times, capacity[:, path]))
    return lay_nodes(np.concatenate(events), _MOST_NODES)


class _Draft:
    """The programme as it is drawn up.

    Columns: ``work``, the share of a transfer that an ``option`` moves at a ``node``, all three of one shape;
    and ``excess``, the seconds by which an option ends later than alone, shape (options,).
    """

    def __init__(self, episode: Episode, options: Options, nodes: Floats) -> None:
        self.programme = Programme()
        self._episode, self._options, self._nodes = episode, options, nodes
        request, scenario = options.request, episode.scenario
        reach = hats(episode.conditions.times, options.rate, nodes, options.ready_s)
        self.option, self.node = np.nonzero(reach > 0.0)
        alone_s, ready_s = options.least(options.alone_s), options.least(options.ready_s)
        near_s = (alone_s + _SPAN * (alone_s - ready_s))[request]
        rank = np.cumsum(reach > 0.0, axis=1)[self.option, self.node]
        first = (nodes[self.node] <= near_s[self.option]) | (rank <= _NEAREST)
        first |= self.node == len(nodes) - 1  # where there is room for all
        priority = episode.requests.priority[request]
        cost = priority * (options.alone_s - episode.requests.arrival_s[request])
        cost += scenario.cpu_price * options.cpu_s
        most = np.minimum(reach[self.option, self.node], 1.0)
        self.work: Rows = self.programme.columns(cost[self.option], most, first)
        self.excess: Rows = self.programme.columns(priority, np.inf)
        self.programme.add_equal(request[self.option], self.work)

    def limit_resources(self, capacity: Floats, beside: Crowd | None) -> None:
        """Bytes on each path, encoding cores and slots, at every node but the last."""
        times, _, cores = self._episode.conditions
        options, nodes, width = self._options, self._nodes, len(self._nodes) - 1
        inner = self.node < width
        option, node, work = self.option[inner], self.node[inner], self.work[inner]
        behind = np.searchsorted(times, nodes[1:], side="right") - 1  # last piece under each hat
        wire_bytes = options.wire_bytes[option] * options.toll[option, behind[node]]
        if beside is not None:
            capacity = np.where(beside.known, beside.capacity, capacity)
            most = most_under(times, beside.cross, nodes)[node, options.path[option]]
            wire_bytes *= beside.displaces(options.path[option], options.streams[option], most)
        moving_s = 1.0 / options.rate.max(axis=1)
        slots = np.full((1, len(times)), float(self._episode.scenario.slots))
        for room, place, use in (
            (capacity.T, options.path[option], wire_bytes),
            (cores[None], np.zeros_like(option), options.core_s[option]),
            (slots, np.zeros_like(option), moving_s[option]),
        ):
            rows = self.programme.rows(hats(times, room, nodes)[:, :width].ravel())
            self.programme.add(rows[place * width + node], work, use)

    def limit_deltas(self, *, in_turn: bool) -> None:
        """Deltas of each dataset against the baselines that it leaves, and of each transfer by their age.

        A baseline is as old as the time from its own start to that of the delta. So what serves a transfer
        that came at a, and is at most A old, started at ``a - A`` or later, and all of it moves after that:
        under hats that reach beyond. In the programme, the deltas of a transfer against baselines of at most
        that age are no more than what moves there of transfers that leave one, all added up. If all go in
        turn, these came before; a later one starts no earlier, and cannot have been decoded.
        """
        options, most = self._options, float(self._episode.scenario.host.max_deltas)
        rows = self.programme.rows(np.zeros(len(self._episode.content.working_set)))
        for column, entry in ((options.needs_baseline, 1.0), (options.leaves_baseline, -most)):
            dataset: Ints = column[self.option]
            self.programme.add(rows[dataset[dataset >= 0]], self.work[dataset >= 0], entry)
        leaves, request = options.leaves_baseline[self.option], options.request[self.option]
        after = np.append(self._nodes[1:], np.inf)[self.node]  # what moves under the hat may move until then
        arrival_s = self._episode.requests.arrival_s
        deltas = np.flatnonzero(options.needs_baseline >= 0)
        for one in np.unique(options.request[deltas]):
            own = deltas[options.request[deltas] == one]
            serves = (leaves == options.needs_baseline[own[0]]) & (
                request < one if in_turn else request != one
            )
            for within_s in np.unique(options.within_s[own]):
                row = self.programme.rows(np.zeros(1))
                needs = np.isin(self.option, own[options.within_s[own] <= within_s])
                moves = serves & (after > arrival_s[one] - within_s)
                self.programme.add(np.broadcast_to(row, needs.sum()), self.work[needs], 1.0)
                self.programme.add(np.broadcast_to(row, moves.sum()), self.work[moves], -1.0)

    def limit_completion(self) -> None:
        """Excess over the end alone from the mean moment of movement; ends far behind count without r.

        From ``known_s`` on the highest rate r is not known. What ends before is held to ``M + 1 / (2 r)``;
        what ends after, and ``t + 1 / (2 r)`` is before it as well, if r counts at those t alone.
        """
        options, nodes = self._options, self._nodes
        known = self._episode.conditions.times < options.known_s[:, None]
        half_s = 0.5 / np.max(options.rate, axis=1, where=known, initial=0.0)
        after = np.append(nodes[1:], nodes[-1])
        counts = after <= (options.known_s - half_s)[:, None]
        mean_s = nodes + np.where(counts, half_s[:, None], 0.0)
        rows = self.programme.rows(np.zeros(len(self.excess)))
        later_s = mean_s[self.option, self.node] - options.alone_s[self.option]
        self.programme.add(rows[self.option], self.work, later_s)
        self.programme.add(rows, self.excess, -1.0)

    def limit_lateness(self) -> Rows:
        """Lateness of what has a deadline; returns its columns."""
        deadline_s, options = self._episode.deadline_s, self._options
        due = np.isfinite(deadline_s)
        late = self.programme.columns(np.full(due.sum(), self._episode.scenario.late_price), np.inf)
        rows = self.programme.rows(deadline_s[due])
        place = np.cumsum(due) - 1
        of_work, of_excess = options.request[self.option], options.request
        work, excess = due[of_work], due[of_excess]
        ends_s = options.alone_s[self.option[work]]
        self.programme.add(rows[place[of_work[work]]], self.work[work], ends_s)
        self.programme.add(rows[place[of_excess[excess]]], self.excess[excess], 1.0)
        self.programme.add(rows, late, -1.0)
        return late
