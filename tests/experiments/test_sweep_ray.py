"""The same sweep on a Ray cluster of two machines: one is lost in the middle, and no run with it."""

import importlib
import os
import signal
import time

import pytest

from experiments.sweep.config import read_sweep
from experiments.sweep.expansion import expand
from experiments.sweep.scheduler import see_through
from experiments.sweep.worker import job_of, runs_of
from sim.errors import InputError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'dwcp-gym[ray]'")

LEGS = 12
PATIENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_worker_register_timeout_seconds": "240",
}
PATIENCE_S = 240.0
SWEEP = """
name: clustered
title: Is anything lost?
environment: {scenarios: [metro], codecs: [none, zstd]}
policies: [none, zstd]
sweep: {grid: {seed: [0, 1, 2]}}
"""


@pytest.fixture
def cluster(monkeypatch):
    """Two machines with a core each, as Ray sees it, with patience for a host that is busy."""
    services = importlib.import_module("ray._private.services")
    found, deadline = services.get_node, time.monotonic() + PATIENCE_S

    def get_node(*given):
        while True:  # Ray itself gives a new machine 30 s
            try:
                return found(*given)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    monkeypatch.setattr(services, "get_node", get_node)
    for name, value in PATIENT.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    size = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}
    made = Cluster()
    try:
        try:
            made.add_node(wait=False, no_monitor=True, include_dashboard=False, **size)
            made.add_node(wait=False, **size)
            made.wait_for_nodes(PATIENCE_S)
        except Exception as error:  # Ray gives its own helpers 15 s to start, which no setting changes
            pytest.skip(f"this host is too busy for Ray to start: {error}")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def jobs(tmp_path):
    (tmp_path / "clustered.yaml").write_text(SWEEP)
    points = expand(read_sweep(tmp_path / "clustered.yaml"))
    return [job_of(point.config, tmp_path / "results", "finished") for point in points]


def legs_of(job):
    """The process behind each leg of a run, in the order that they were done."""
    for run in runs_of(job):
        if run.file("legs.txt").exists():
            return run.file("legs.txt").read_text().split()
    return []


def stand_in():
    """A run of short legs, each with the process that did it; made inside, so that it travels by value."""

    def do(job):
        import os
        import time

        from experiments.sweep.worker import taken

        if (run := taken(job)) is None:
            return
        with run:
            legs = run.file("legs.txt")
            while len(done := legs.read_text().split() if legs.exists() else []) < 12:
                run.file("legs.new").write_text(" ".join([*done, str(os.getpid())]))
                run.file("legs.new").replace(legs)
                flag = {2: "killed", 5: "lost"}.get(len(done))  # the test does it to those that wait here
                while flag and not (job.root / flag).exists():
                    time.sleep(0.1)
            run.finish()

    return do


def test_a_worker_is_killed_and_a_machine_is_lost_and_every_run_is_done_once(cluster, jobs):
    from experiments.sweep.cluster import RayScheduler

    killed, lost, deadline = [], [], time.monotonic() + PATIENCE_S

    def watch(standing):
        assert time.monotonic() < deadline
        legs = {job.digest: legs_of(job) for job in jobs if job.digest in standing.running}
        third = [digest for digest, done in legs.items() if len(done) == 3]
        if third and not killed:
            killed.extend([third[0], legs[third[0]][-1]])
            os.kill(int(killed[1]), signal.SIGKILL)
            (jobs[0].root / "killed").touch()
        elif not lost and len(legs) == 2 and all(len(done) == 6 for done in legs.values()):
            lost.append(next(iter(cluster.worker_nodes)))
            cluster.remove_node(lost[0], allow_graceful=False)
            (jobs[0].root / "lost").touch()

    with RayScheduler(cluster.address, stand_in()) as scheduler:
        assert scheduler.room() == 2
        failed = see_through(jobs, scheduler, watch)
    assert failed == {}
    assert (len(killed), len(lost)) == (2, 1)
    for job in jobs:
        assert [run.finished for run in runs_of(job)] == [True]
        assert len(legs_of(job)) == LEGS  # also where a worker lives on when its machine is lost
    dead = next(legs_of(job) for job in jobs if job.digest == killed[0])
    assert [worker == killed[1] for worker in dead] == [True] * 3 + [False] * 9


def test_a_cluster_that_does_not_answer_is_told_in_one_line():
    from experiments.sweep.cluster import RayScheduler

    with pytest.raises(InputError, match=r"--address: 127\.0\.0\.1:1: no Ray cluster answers"):
        RayScheduler("127.0.0.1:1")
