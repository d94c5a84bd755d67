"""The live table of a sweep: what runs, how far it is, what is done, what failed."""

from collections.abc import Mapping
from types import TracebackType
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from experiments.sweep.expansion import endings, told, written
from experiments.sweep.progress import Progress, progress
from experiments.sweep.scheduler import Standing
from experiments.sweep.worker import Job

_OUTSIDE: Final = 6
"""Lines of the screen that are not rows of the table."""
_SECONDS: Final = 2


class Board:
    """Draws a table on a terminal; elsewhere, a line for each run that ends.

    Args:
        console: Where.
        jobs: Jobs by digest, in their order.
        values: For each digest the values that tell it apart; both may grow while it draws.
        before: How many runs were done already.
    """

    def __init__(
        self,
        console: Console,
        jobs: Mapping[str, Job],
        values: Mapping[str, Mapping[str, object]],
        before: int = 0,
    ) -> None:
        self._console = console
        self._jobs = jobs
        self._values = values
        self._before = before
        self._told: set[str] = set()
        self._ends: dict[str, Progress] = {}
        self._live = Live(console=console, refresh_per_second=_SECONDS, transient=True)

    def __enter__(self) -> "Board":
        """Begin to draw."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The table goes; what stays is the result."""
        if self._console.is_terminal:
            self._live.stop()

    def __call__(self, standing: Standing) -> None:
        """Draw how far it is."""
        if self._console.is_terminal:
            self._live.update(Group(self._table(standing), self._sum(standing)))
            return
        for digest in [*standing.done, *standing.failed]:
            if digest not in self._told:
                self._told.add(digest)
                problem = standing.failed.get(digest, "")
                end = f"failed: {problem}" if problem else "done"
                self._console.print(
                    f"{digest}  {told(self._values.get(digest, {}))}  {end}  ({self._count(standing)})",
                    markup=False, highlight=False, soft_wrap=True,
                )  # fmt: skip

    def _table(self, standing: Standing) -> Table:
        keys = list(dict.fromkeys(key for own in self._values.values() for key in own))
        names = endings(keys)
        table = Table(box=None, pad_edge=False)
        for name in ("run", *(names[key] for key in keys), "state", "validation, %"):
            table.add_column(name, no_wrap=True)
        ended = [*reversed(standing.done)]
        rows = [*standing.running, *standing.failed, *ended, *standing.waiting]
        for digest in rows[: max(3, self._console.height - _OUTSIDE)]:
            values = self._values.get(digest, {})
            cells = [written(values[key]) if key in values else "" for key in keys]
            state, cost = self._state(digest, standing)
            table.add_row(digest, *cells, state, cost)
        return table

    def _state(self, digest: str, standing: Standing) -> tuple[Text, str]:
        if digest in standing.failed:
            return Text(f"failed: {standing.failed[digest]}", style="red"), ""
        if digest in standing.waiting:
            return Text("waiting", style="dim"), ""
        far = self._ends.get(digest) or progress(self._jobs[digest])
        if digest in standing.done:
            self._ends[digest] = far
        cost = f"{100 * far.cost:.1f}" if far.cost == far.cost else ""
        return (Text("done", style="green") if digest in standing.done else Text(_stage(far))), cost

    def _sum(self, standing: Standing) -> Text:
        return Text(f"\n{self._count(standing)}", style="bold")

    def _count(self, standing: Standing) -> str:
        done = self._before + len(standing.done)
        total = done + len(standing.failed) + len(standing.running) + len(standing.waiting)
        failed = f", {len(standing.failed)} failed" if standing.failed else ""
        return f"{done} of {total} done{failed}, {len(standing.running)} running"


def _stage(far: Progress) -> str:
    return f"{far.stage} {100 * far.share:.0f} %" if far.share == far.share else far.stage
