"""Sweeps: which runs a file asks for, who does them, and what is left when one fails or dies."""

import math
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.run_folder import RunFolder
from experiments.sweep import commands
from experiments.sweep.config import read_sweep
from experiments.sweep.expansion import expand
from experiments.sweep.local import LocalScheduler
from experiments.sweep.results import by_point, read_frame
from experiments.sweep.scheduler import ATTEMPTS, Ended, see_through
from experiments.sweep.space import Span
from experiments.sweep.worker import SWEEP, done_run, job_of, perform, runs_of, taken, work
from sim.errors import InputError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
SMALL = """
name: small
title: Does the price of a CPU second matter?
environment: {scenarios: [metro], codecs: [none, zstd], requests: 8}
evaluation: {train_episodes: 2, validation_episodes: 2, test_episodes: 2, search_episodes: 0, resamples: 100}
policies: [none, zstd]
tensorboard: false
"""
PATIENCE_S = 180.0


@pytest.fixture
def write(tmp_path):
    """Writes a sweep on top of a shipped config, or of the small one above."""

    def fill(text, base="quick"):
        if base == "small":
            (tmp_path / "sweep.yaml").write_text(SMALL + text)
        else:
            (tmp_path / "base.yaml").write_text((CONFIGS / f"{base}.yaml").read_text("utf-8"))
            (tmp_path / "sweep.yaml").write_text(f"base: base.yaml\nname: swept\n{text}")
        return tmp_path / "sweep.yaml"

    return fill


class Here:
    """Does every job at once, in this process."""

    def __init__(self, do=work):
        self.do, self.over, self.begun = do, [], []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def room(self):
        return 1

    def begin(self, job):
        self.begun.append(job.digest)
        self.over.append(Ended(job, perform(self.do, job)))

    def ended(self, patience_s):
        back, self.over = self.over, []
        return back

    def stop(self, job):
        raise AssertionError("a sweep stops no job")


def test_a_grid_and_seeds_give_every_combination_seeds_fastest(write):
    points = expand(
        read_sweep(write("sweep:\n  seeds: [4, 7]\n  grid: {learners.ppo.rate: [1e-3, 2e-3], seed: [1, 2]}"))
    )
    told = [tuple(point.values.values()) for point in points]
    rates, roots, seeds = (1e-3, 2e-3), (1, 2), (4, 7)
    assert told == [(rate, root, seed) for rate in rates for root in roots for seed in seeds]
    assert len({point.digest for point in points}) == 8
    last = points[-1].config
    assert (last.seed, last.learners[0].rate, [one.seeds for one in last.learners]) == (2, 2e-3, [(7,), (7,)])
    assert last.learners[1].rate == read_point(write).learners[1].rate


def read_point(write):
    return expand(read_sweep(write("sweep: {list: [{}]}")))[0].config


def test_a_point_that_leaves_a_key_alone_shows_the_value_it_has_then(write):
    points = expand(
        read_sweep(write("sweep: {list: [{}, {learners.ppo.rate: 5e-3, learners.ppo.clip: 0.1}]}"))
    )
    assert [tuple(point.values.values()) for point in points] == [(1e-3, 0.2), (5e-3, 0.1)]


def test_points_that_are_the_same_run_are_one(write):
    assert len(expand(read_sweep(write("sweep: {list: [{}, {learners.ppo.rate: 1e-3}, {seed: 7}]}")))) == 1


def test_draws_are_the_same_for_the_same_seed_and_others_for_another(write):
    text = (
        "sweep: {draw: {points: 5, seed: %d, space: {learners.ppo.rate: {low: 1e-4, high: 1e-2, log: true}}}}"
    )
    first, again, other = (
        [point.values["learners.ppo.rate"] for point in expand(read_sweep(write(text % seed)))]
        for seed in (0, 0, 1)
    )
    assert first == again != other
    assert all(1e-4 <= value <= 1e-2 for value in first)


def test_a_logarithmic_draw_puts_half_below_the_geometric_mean(rng=None):
    rng = np.random.default_rng(5)
    drawn = np.array([Span(low=1e-4, high=1e-2, log=True).draw(rng) for _ in range(2000)])
    assert np.mean(drawn < 1e-3) == pytest.approx(0.5, abs=3 * 0.5 / math.sqrt(2000))


def test_whole_numbers_are_drawn_alike_often_their_ends_included():
    rng = np.random.default_rng(5)
    drawn = [Span(low=1, high=4, whole=True).draw(rng) for _ in range(4000)]
    counts = np.bincount(drawn)[1:]
    assert len(counts) == 4
    assert np.abs(counts - 1000).max() < 4 * math.sqrt(4000 * 0.25 * 0.75)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("seed: 1", "sweep: is missing"),
        ("sweep: {gird: {}}", "sweep.gird: unknown key, with the value {}; did you mean 'sweep.grid'?"),
        ("sweep: {seeds: 0}", "sweep.seeds: expected a list of seeds, or how many from 1 to 1000, got 0"),
        ("sweep: {}", "expected at least one of grid, list, draw and seeds"),
        ("sweep: {grid: {seed: []}}", "expected a list with 1 or more items"),
        ("sweep: {grid: {seed: [1]}, list: [{seed: 2}]}", "'seed' stands in two of grid, list and draw"),
        ("sweep: {grid: {learners.ppo.rat: [1]}}", "did you mean 'learners.0.rate'? (at rat=1)"),
        ("sweep: {grid: {learners.pp.rate: [1]}}", "learners.pp: expected an item of the list 'learners'"),
        ("sweep: {grid: {learners.ppo.batch: [333]}}", "batch 333 must divide envs * rollout"),
        ("sweep: {draw: {points: 1, space: {seed: {lo: 1}}}}", "seed: lo: unknown key, with the value 1"),
        (
            "sweep: {draw: {points: 1, space: {seed: {low: 2, high: 1}}}}",
            "expected low below high, got 2 and 1",
        ),
        ("sweep: {draw: {points: 1, space: {seed: {low: 0, high: 1, log: true}}}}", "expected low above 0"),
        (
            "tune: {ppo: {space: {rate: {low: 1}}}}",
            "tune: ppo: space: rate: expected low and high, or choices",
        ),
    ],
)
def test_what_a_sweep_cannot_mean_is_refused_in_one_line(write, text, problem):
    with pytest.raises(InputError) as refused:
        expand(read_sweep(write(text)))
    assert "sweep.yaml: " in str(refused.value)
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_seeds_without_a_learner_are_refused(write):
    with pytest.raises(InputError, match="no learner to train with them"):
        expand(read_sweep(write("sweep: {seeds: 2}", base="small")))


def test_every_sweep_that_we_ship_has_runs_and_bears_the_name_of_its_file():
    files = sorted((CONFIGS / "sweeps").glob("*.yaml"))
    assert files
    for path in files:
        file = read_sweep(path)
        assert file.experiment["name"] == path.stem
        assert len(expand(file)) > 1


class Scripted:
    """Ends jobs as a list says, one at each look."""

    def __init__(self, ends):
        self.ends, self.running, self.begun = ends, [], []

    def room(self):
        return 2 - len(self.running)

    def begin(self, job):
        self.begun.append(job.config.seed)
        self.running.append(job)

    def ended(self, patience_s):
        job = self.running.pop(0)
        return [Ended(job, *self.ends[job.config.seed].pop(0))]

    def stop(self, job):
        raise AssertionError("a sweep stops no job")


def test_a_lost_run_is_begun_again_a_failed_one_is_not_and_neither_stops_the_others(write, tmp_path):
    points = expand(read_sweep(write("sweep: {grid: {seed: [0, 1, 2, 3]}}", base="small")))
    jobs = [job_of(point.config, tmp_path, "finished") for point in points]
    lost = ("gone", True)
    scheduler = Scripted({0: [lost, ("",)], 1: [("no room",)], 2: [lost] * ATTEMPTS, 3: [("",)]})
    seen = []
    failed = see_through(jobs, scheduler, seen.append)
    assert failed == {jobs[1].digest: "no room", jobs[2].digest: f"gone, {ATTEMPTS} times"}
    assert sorted(scheduler.begun) == [0, 0, 1, *[2] * ATTEMPTS, 3]
    assert (set(seen[-1].done), seen[-1].running) == ({jobs[0].digest, jobs[3].digest}, ())


STAND_IN = """
import os, time
from experiments.run_folder import RunFolder


def do(job):
    with RunFolder.create(job.config, job.root) as run:
        legs = run.file("legs.txt")
        if job.config.seed == 1:
            raise ValueError("one bad run")
        while len(done := legs.read_text().split() if legs.exists() else []) < 10:
            fresh = run.file("legs.new")
            fresh.write_text(" ".join([*done, str(os.getpid())]))
            fresh.replace(legs)
            while job.config.seed == 0 and len(done) == 2 and not (job.root / "killed").exists():
                time.sleep(0.05)  # the test kills it here
        run.finish()
"""


def test_a_process_that_is_killed_is_replaced_and_goes_on_where_it_was(write, tmp_path, monkeypatch):
    (tmp_path / "stand_in_of_sweeps.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    import stand_in_of_sweeps  # type: ignore[import-not-found]

    points = expand(read_sweep(write("sweep: {grid: {seed: [0, 1, 2]}}", base="small")))
    jobs = [job_of(point.config, tmp_path, "finished") for point in points]
    killed, deadline = [], time.monotonic() + PATIENCE_S

    def watch(standing):
        assert time.monotonic() < deadline
        runs = runs_of(jobs[0])
        legs = runs[0].file("legs.txt") if runs else None
        if not killed and legs and legs.exists() and len(legs.read_text().split()) == 3:
            killed.append(int(runs[0].file("lock").read_text()))
            os.kill(killed[0], signal.SIGKILL)
            (tmp_path / "killed").touch()

    with LocalScheduler(2, stand_in_of_sweeps.do) as scheduler:
        failed = see_through(jobs, scheduler, watch)
    assert list(failed) == [jobs[1].digest]
    assert failed[jobs[1].digest].startswith("ValueError: one bad run; see ")
    assert "Traceback" in jobs[1].log.read_text()
    assert [len(runs_of(job)) for job in jobs] == [1, 1, 1]
    workers = runs_of(jobs[0])[0].file("legs.txt").read_text().split()
    assert [worker == str(killed[0]) for worker in workers] == [True] * 3 + [False] * 7
    assert not jobs[0].log.exists()


def test_a_sweep_leaves_ordinary_runs_a_table_a_page_and_a_figure_and_does_nothing_twice(
    write, tmp_path, monkeypatch, say
):
    config, root = write("sweep: {grid: {environment.cpu_price: [0.0, 2.0]}}", base="small"), tmp_path / "out"
    here = Here()
    monkeypatch.setattr(commands, "_scheduler", lambda *given: here)
    code, listed, _ = say("sweep", config, "--results", root, "--list")
    assert (code, listed.count("missing")) == (0, 2)
    code, printed, errors = say("sweep", config, "--results", root)
    assert (code, errors) == (0, [])
    assert "2 of 2 done" in printed
    frame = read_frame(root / "small" / SWEEP / "runs.csv")
    assert list(frame["policy"]) == ["none", "zstd"] * 2
    assert (frame.groupby("run")["validation_cost"].min() == 1.0).all()  # the best static policy itself
    dear = frame[(frame["environment.cpu_price"] == "2.0") & (frame["policy"] == "zstd")]
    cheap = frame[(frame["environment.cpu_price"] == "0.0") & (frame["policy"] == "zstd")]
    assert dear["validation_cost"].item() > cheap["validation_cost"].item()
    page = (root / "small" / SWEEP / "sweep.md").read_text()
    assert "Does the price of a CPU second matter?" in page

    runs = sorted(path.parent for path in (root / "small").glob("*-1/report.md"))
    assert len(runs) == 2
    code, printed, _ = say("compare", *runs)
    assert (code, printed.count("Does the price")) == (0, 2)
    code, printed, _ = say("compare", root / "small")
    assert (code, "cpu_price" in printed) == (0, True)

    code, printed, _ = say(
        "sweep", config, "sweep.grid={environment.cpu_price: [0.0, 1.0, 2.0]}", "--results", root
    )
    assert code == 0
    assert "done before  2" in printed
    assert len(here.begun) == 3
    assert [path.name.partition("-")[2] for path in (root / "small").glob("*-[0-9]")] == ["1"] * 3


def test_a_base_may_stand_on_a_base_but_not_on_itself(tmp_path):
    (tmp_path / "low.yaml").write_text(SMALL)
    (tmp_path / "mid.yaml").write_text(
        "base: low.yaml\nname: mid\nevaluation: {test_episodes: 3}\nsweep: {seeds: 2}\n"
    )
    (tmp_path / "top.yaml").write_text("base: mid.yaml\nseed: 5\nsweep: {grid: {seed: [1]}}\n")
    found = read_sweep(tmp_path / "top.yaml")
    assert (found.experiment["name"], found.experiment["seed"]) == ("mid", 5)
    assert found.experiment["evaluation"]["test_episodes"] == 3
    assert found.experiment["evaluation"]["train_episodes"] == 2
    assert found.sweep.seeds is None
    (tmp_path / "low.yaml").write_text("base: top.yaml\n")
    with pytest.raises(InputError, match=r"top\.yaml: base: stands on itself"):
        read_sweep(tmp_path / "top.yaml")


def test_a_sweep_tells_what_held_out_scenarios_cost_where_there_are_some(write, tmp_path, monkeypatch, say):
    config, root = write("sweep: {grid: {seed: [0]}}", base="small"), tmp_path / "out"
    monkeypatch.setattr(commands, "_scheduler", lambda *given: Here())
    code, printed, _ = say("sweep", config, "environment.held_out=[wan]", "--results", root)
    assert (code, "held-out, %" in printed) == (0, True)
    frame = read_frame(root / "small" / SWEEP / "runs.csv")
    assert frame["held_out_cost"].min() == 1.0  # the best static policy there, in hindsight
    assert frame["held_out_cost"].max() > 1.0
    assert "validation, % | test, % | held-out, %" in (root / "small" / SWEEP / "sweep.md").read_text()


def test_a_failed_run_ends_the_command_with_1_and_is_tried_again(write, tmp_path, monkeypatch, say):
    config, root = write("sweep: {grid: {seed: [0, 1]}}", base="small"), tmp_path / "out"

    def torn(job):
        if job.config.seed == 1 and not (tmp_path / "well").exists():
            raise OSError(28, "No space left on device")
        work(job)

    monkeypatch.setattr(commands, "_scheduler", lambda *given: Here(torn))
    code, printed, _ = say("sweep", config, "--results", root)
    assert code == 1
    assert "(seed=1): OSError: [Errno 28] No space left on device; see " in printed
    assert set(read_frame(root / "small" / SWEEP / "runs.csv")["seed"]) == {"0"}
    (tmp_path / "well").touch()
    code, printed, _ = say("sweep", config, "--results", root)
    assert (code, "done before  1" in printed) == (0, True)
    assert set(read_frame(root / "small" / SWEEP / "runs.csv")["seed"]) == {"0", "1"}


def test_a_worker_that_cannot_see_the_results_or_has_other_packages_says_so(write, tmp_path):
    point = expand(read_sweep(write("sweep: {grid: {seed: [0]}}", base="small")))[0]
    job = job_of(point.config, tmp_path / "elsewhere", "finished")
    with pytest.raises(InputError, match="a folder that all machines share"):
        work(job)
    (job.home / SWEEP).mkdir(parents=True)
    other = job._replace(versions={"python": "3.9.1", "packages": {}})
    with pytest.raises(InputError, match=r"worker: python: expected 3\.9\.1"):
        work(other)
    assert done_run(job) is None


def test_a_run_that_a_worker_given_up_as_lost_still_ends_is_not_done_again(write, tmp_path):
    point = expand(read_sweep(write("sweep: {grid: {seed: [0]}}", base="small")))[0]
    job = job_of(point.config, tmp_path, "finished")
    held = RunFolder.create(job.config, job.root)

    def end():
        time.sleep(0.6)
        held.finish()
        held.release()

    lost = threading.Thread(target=end)
    lost.start()
    try:
        assert taken(job) is None
    finally:
        lost.join(PATIENCE_S)
    assert [run.path for run in runs_of(job)] == [held.path]


def test_points_are_ordered_by_the_mean_over_their_seeds(tmp_path):
    rows = [
        ("a-1", "0.1", 0, "ppo", "learner", 0.9, 0.8),
        ("b-1", "0.1", 1, "ppo", "learner", 0.7, 0.9),
        ("c-1", "0.2", 0, "ppo", "learner", 0.75, 0.7),
        ("c-1", "0.2", -1, "zstd", "static", 0.1, 0.1),
    ]
    names = ["run", "learners.ppo.rate", "training_seed", "policy", "kind", "validation_cost", "test_cost"]
    pd.DataFrame(rows, columns=names).assign(held_out_cost=np.nan).to_csv(tmp_path / "runs.csv", index=False)
    points = by_point(read_frame(tmp_path / "runs.csv"))
    assert list(points["learners.ppo.rate"]) == ["0.2", "0.1"]
    assert points["validation_cost_mean"].tolist() == pytest.approx([0.75, 0.8])
    assert points["runs"].tolist() == [1, 2]
    assert points["test_cost_max"].tolist() == pytest.approx([0.7, 0.9])
