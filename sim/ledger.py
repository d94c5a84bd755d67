"""The one cost as it accrues: a second costs the priority of all that wait or move; CPU and lateness too."""

from heapq import heappop, heappush


class Ledger:
    """Cost of an episode by now, in seconds: exact at every moment, O(log n) a transfer.

    ``sum over transfers of priority * time since arrival + cpu_price * CPU seconds + late_price * lateness``,
    where a transfer stops counting when it has been decoded. CPU seconds are handed in, for they are metered
    elsewhere.

    >>> ledger = Ledger(cpu_price=0.5, late_price=1.0)
    >>> ledger.arrive(0, now_s=0.0, priority=2.0, deadline_s=3.0)
    >>> ledger.accrued(now_s=4.0, cpu_s=1.0)  # 2 * 4 waiting, 0.5 CPU, 1 late
    9.5
    """

    def __init__(self, cpu_price: float, late_price: float) -> None:
        self._cpu_price = cpu_price
        self._late_price = late_price
        self._inside: dict[int, tuple[float, float, float]] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._late: set[int] = set()
        self._priority = 0.0  # of all inside
        self._priority_arrival = 0.0  # sum of priority * arrival of all inside
        self._overdue = 0.0  # sum of the deadlines that have passed of those inside
        self.completion_cost = 0.0
        self.late_s = 0.0

    def arrive(self, request: int, now_s: float, priority: float, deadline_s: float) -> None:
        """Start to count a transfer; ``deadline_s`` is inf when it has none."""
        self._inside[request] = (now_s, priority, deadline_s)
        self._priority += priority
        self._priority_arrival += priority * now_s
        if deadline_s < float("inf"):
            heappush(self._deadlines, (deadline_s, request))

    def complete(self, request: int, now_s: float) -> None:
        """Stop counting a transfer that has been decoded."""
        self._pass_deadlines(now_s)
        arrival_s, priority, deadline_s = self._inside.pop(request)
        self.completion_cost += priority * (now_s - arrival_s)
        self._priority -= priority
        self._priority_arrival -= priority * arrival_s
        if request in self._late:
            self._late.remove(request)
            self._overdue -= deadline_s
            self.late_s += now_s - deadline_s
        if not self._inside:  # no rounding is carried over an idle moment
            self._priority = self._priority_arrival = self._overdue = 0.0

    def accrued(self, now_s: float, cpu_s: float) -> float:
        """Cost from the start of the episode until now, in seconds."""
        self._pass_deadlines(now_s)
        inside = self._priority * now_s - self._priority_arrival
        late = self.late_s + len(self._late) * now_s - self._overdue
        return self.completion_cost + inside + self._cpu_price * cpu_s + self._late_price * late

    def _pass_deadlines(self, now_s: float) -> None:
        while self._deadlines and self._deadlines[0][0] < now_s:
            deadline_s, request = heappop(self._deadlines)
            if request in self._inside:
                self._late.add(request)
                self._overdue += deadline_s
