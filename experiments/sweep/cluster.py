"""Runs on a Ray cluster: the only file that knows Ray, which is loaded when a cluster is asked for."""

import importlib
import os
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from experiments.sweep.scheduler import Ended
from experiments.sweep.worker import Job, Work, perform, work
from sim.errors import InputError

_KNOCK_S: Final = 10.0


class RayScheduler:
    """One core of a cluster for each job, in a process that ends with it.

    Machines must have the same packages, and see the results under the same path. Which machine a job runs on
    is Ray's to choose. One that is lost is told as such, like a process of this machine.

    Args:
        address: ``auto``, or ``host:port`` of the cluster; None starts Ray on this machine alone.
        do: What a process does with its job.

    Raises:
        InputError: If Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, address: str | None = None, do: Work = work) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray = _ray()
        alone: dict[str, Any] = {} if address else {"include_dashboard": False}
        try:
            _knock(address)
            self._ray.init(address, log_to_driver=False, logging_level="error", **alone)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError, OSError) as error:
            problem = (
                f"no Ray cluster answers: {str(error).splitlines()[0]}; start one with `ray start --head`"
            )
            raise InputError("--address", str(address), problem) from error
        self._serve = self._ray.remote(num_cpus=1, max_retries=0, max_calls=1)(perform)
        self._do = do
        self._begun: dict[Any, Job] = {}

    def __enter__(self) -> "RayScheduler":
        """The cluster is joined already."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster; what runs there for this sweep is ended."""
        for reference in self._begun:
            self._ray.cancel(reference, force=True)
        self._begun.clear()
        self._ray.shutdown()

    def room(self) -> int:
        """Cores of the cluster, as it stands now, without a job of this sweep."""
        return max(0, int(self._ray.cluster_resources().get("CPU", 0)) - len(self._begun))

    def begin(self, job: Job) -> None:
        """Hand a job to the cluster."""
        self._begun[self._serve.remote(self._do, job)] = job

    def ended(self, patience_s: float) -> Sequence[Ended]:
        """Jobs of which the cluster says that they ended."""
        references = list(self._begun)
        if not references:  # every machine is gone, for now
            time.sleep(patience_s)
            return []
        self._ray.wait(references, num_returns=1, timeout=patience_s)
        ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        return [self._ended(reference) for reference in ready]

    def stop(self, job: Job) -> None:
        """End a job on the cluster."""
        reference = next(one for one, own in self._begun.items() if own.digest == job.digest)
        del self._begun[reference]
        self._ray.cancel(reference, force=True)

    def _ended(self, reference: Any) -> Ended:
        job = self._begun.pop(reference)
        try:
            return Ended(job, self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:  # before it was ours to catch
            reason = str(error.cause)
            return Ended(job, f"a worker cannot begin: {reason}; install the same dwcp-gym on every machine")
        except self._ray.exceptions.RayError as error:
            return Ended(job, f"its worker was lost ({type(error).__name__})", lost=True)


def _knock(address: str | None) -> None:
    """See that someone listens at ``host:port``: Ray itself asks an address where no one does for minutes.

    Raises:
        OSError: If no one does within ten seconds.
        ValueError: If there is no number behind the colon.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        problem = "needs the package ray, which is not installed; pip install 'dwcp-gym[ray]'"
        raise InputError("--backend", "ray", problem) from error
