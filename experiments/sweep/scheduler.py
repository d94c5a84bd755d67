"""Where the runs of a sweep are worked on, and the loop that sees all of them through."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from experiments.sweep.worker import Job

ATTEMPTS: Final = 3
"""So often a run is begun whose process or machine is lost: what kills it every time is the run itself."""
POLL_S: Final = 0.5


class Ended(NamedTuple):
    """A job that is no longer worked on.

    Attributes:
        job: Which.
        problem: What went wrong, in one line; empty when it is done.
        lost: Whether its process ended without a word: the job may be begun again.
    """

    job: Job
    problem: str = ""
    lost: bool = False


class Scheduler(Protocol):
    """Processes for jobs, here or on other machines."""

    def room(self) -> int:
        """How many more jobs could begin at once."""

    def begin(self, job: Job) -> None:
        """Begin a job in a process of its own."""

    def ended(self, patience_s: float) -> Sequence[Ended]:
        """Jobs that ended since the last call; waits so long for the first of them."""

    def stop(self, job: Job) -> None:
        """End a job that runs; it does not come back from `ended`."""


class Standing(NamedTuple):
    """How far a sweep is: digests by what has become of them."""

    waiting: Sequence[str]
    running: Sequence[str]
    done: Sequence[str]
    failed: dict[str, str]


Watch = Callable[[Standing], None]


def see_through(jobs: Sequence[Job], scheduler: Scheduler, watch: Watch) -> dict[str, str]:
    """Do all jobs, whatever becomes of single ones.

    Args:
        jobs: Each once.
        scheduler: Where.
        watch: Told how far it is, twice a second.

    Returns:
        For each job that failed what went wrong.
    """
    waiting, running = deque(jobs), dict[str, Job]()
    begun, failed, done = dict[str, int](), dict[str, str](), list[str]()
    while waiting or running:
        for _ in range(min(scheduler.room(), len(waiting))):
            job = waiting.popleft()
            begun[job.digest] = begun.get(job.digest, 0) + 1
            running[job.digest] = job
            scheduler.begin(job)
        watch(Standing([job.digest for job in waiting], list(running), done, failed))
        for job, problem, lost in scheduler.ended(POLL_S):
            del running[job.digest]
            if lost and begun[job.digest] < ATTEMPTS:
                waiting.appendleft(job)
            elif problem:
                failed[job.digest] = f"{problem}, {ATTEMPTS} times" if lost else problem
            else:
                done.append(job.digest)
    watch(Standing((), (), done, failed))
    return failed
