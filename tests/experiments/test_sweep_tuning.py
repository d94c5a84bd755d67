"""Tuning: the study finds what is best, cuts short what is poor, and goes on where it was left."""

import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from experiments.run_folder import RunFolder
from experiments.sweep.board import Board
from experiments.sweep.config import read_sweep
from experiments.sweep.history import best_trial, trials_frame, write_history, write_tuned
from experiments.sweep.scheduler import ATTEMPTS, Ended
from experiments.sweep.tuning import STUDY, Tuning
from experiments.sweep.worker import runs_of
from sim.errors import InputError

optuna = pytest.importorskip("optuna", reason="optuna is not installed: pip install 'dwcp-gym[tune]'")

LEGS = 4
CONFIG = """
name: searched
title: Which rate?
environment: {scenarios: [metro], codecs: [none, zstd]}
policies: [none, zstd, ensemble]
evaluation: {baselines: [best_static, ensemble]}
learners:
  - {kind: ppo, steps: 4000, rate: 1e-4, layers: [64, 64], envs: 8, rollout: 64}
  - {kind: dqn, steps: 6000}
evaluate_every: 1000
tune:
  ppo:
    trials: %d
    startup: 5
    warmup: 1
    space: {rate: {low: 1e-5, high: 1e-1, log: true}, layers: {choices: [[64, 64], [32]]}}
"""


def cost_of(learner) -> float:
    """Least at a rate of 1e-3, by hand; what the layers are changes nothing."""
    return 0.8 + 0.1 * abs(math.log10(learner.rate) + 3)


class Pretended:
    """Trains one leg of a job at each look, with costs that fall to the one above; counts the legs."""

    def __init__(self, lost=(), most=10**9):
        self.running, self.legs, self.lost, self.stopped, self.most = {}, {}, list(lost), [], most

    def room(self):
        return 1 - len(self.running)

    def begin(self, job):
        self.running[job.digest] = job
        if not runs_of(job):
            RunFolder.create(job.config, job.root).release()

    def stop(self, job):
        self.stopped.append(job.digest)
        del self.running[job.digest]

    def ended(self, patience_s):
        (job,) = self.running.values()
        if sum(self.legs.values()) >= self.most:
            raise KeyboardInterrupt
        if self.lost:
            del self.running[job.digest]
            return [Ended(job, "gone", self.lost.pop())]
        self.legs[job.digest] = self.legs.get(job.digest, 0) + 1
        learner = job.config.learners[0]
        (run,) = runs_of(job)
        leg = 1 + len(list(run.path.glob("learners/*/checkpoints/leg-*")))
        curve = [
            {"step": 1000 * (n + 1), "validation_cost": cost_of(learner) + 0.01 * (LEGS - 1 - n)}
            for n in range(leg)
        ]
        place = run.file("learners", "ppo-0", "checkpoints", f"leg-{leg}", "training.json")
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({"curve": curve}))
        if leg < LEGS:
            return []
        table = "".join(f"{row['step']},{row['validation_cost']}\n" for row in curve)
        run.file("learners", "ppo-0", "curves.csv").write_text(f"step,validation_cost\n{table}")
        del self.running[job.digest]
        return [Ended(job)]


@pytest.fixture
def tuning(tmp_path):
    def make(trials: int, root: Path | None = None) -> Tuning:
        (tmp_path / "searched.yaml").write_text(CONFIG % trials)
        return Tuning(read_sweep(tmp_path / "searched.yaml"), "ppo", root or tmp_path / "out")

    return make


def still(standing):
    """Nobody watches."""


def test_the_search_begins_with_the_config_ends_near_the_optimum_and_cuts_poor_trials_short(tuning):
    search, scheduler = tuning(24), Pretended()
    search.run(scheduler, still)
    frame = trials_frame(search)
    assert len(frame) == 24
    assert (float(frame["rate"][0]), frame["layers"][0]) == (1e-4, "[64, 64]")
    assert frame["validation_cost"][0] == pytest.approx(0.9)
    best = best_trial(frame)
    assert best["validation_cost"] < 0.83  # within a third of a decade
    cut = frame[frame["state"] == "pruned"]
    assert len(cut) >= 5
    assert (cut["validations"] < LEGS).all()
    assert (cut["validations"] >= 2).all()  # one is the warm-up
    assert sum(scheduler.legs.values()) < 24 * LEGS
    assert len(scheduler.stopped) == len(cut)


def test_lines_of_trials_name_their_settings_though_these_come_one_by_one(tuning):
    search, lines = tuning(3), io.StringIO()
    with Board(Console(file=lines, width=200), search.jobs, search.values) as board:
        search.run(Pretended(), board)
    first = lines.getvalue().splitlines()[0]
    assert re.search(r"  rate=0\.0001 layers=\[64, 64\]", first), first
    assert "(1 of 3 done" in first


def test_the_same_seed_gives_the_same_study_with_one_worker(tuning, tmp_path):
    frames = []
    for name in ("first", "second"):
        search = tuning(4, tmp_path / name)
        search.run(Pretended(), still)
        frames.append(trials_frame(search))
    assert frames[0].equals(frames[1])


def test_an_interrupted_trial_is_begun_again_with_its_settings_and_its_run(tuning):
    search = tuning(3)
    with pytest.raises(KeyboardInterrupt):
        search.run(Pretended(most=LEGS + 2), still)
    left = search.study.trials[1]
    assert left.state.name == "RUNNING"
    again = tuning(3)
    again.run(Pretended(), still)
    states = [trial.state.name for trial in again.study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert again.study.trials[2].params == left.params
    assert again.study.trials[2].user_attrs == left.user_attrs
    assert (again.folder / STUDY).stat().st_size > 0


def test_a_finished_search_does_nothing_and_a_longer_one_goes_on(tuning):
    tuning(2).run(Pretended(), still)
    scheduler = Pretended()
    tuning(2).run(scheduler, still)
    assert scheduler.legs == {}
    search = tuning(4)
    search.run(scheduler, still)
    assert len(search.study.trials) == 4
    assert len(scheduler.legs) == 2


def test_a_lost_worker_costs_no_trial_and_one_lost_every_time_is_told_and_left(tuning):
    search = tuning(2)
    search.run(Pretended(lost=[True]), still)
    assert [trial.state.name for trial in search.study.trials] == ["COMPLETE", "COMPLETE"]
    search = tuning(3)
    seen = []
    search.run(Pretended(lost=[True] * ATTEMPTS), seen.append)
    assert list(seen[-1].failed.values()) == ["gone"]
    assert search.study.trials[2].state.name == "FAIL"


def test_trials_train_this_learner_alone_and_no_selector(tuning):
    search = tuning(1)
    search.run(Pretended(), still)
    (job,) = search.jobs.values()
    assert [learner.name for learner in job.config.learners] == ["ppo"]
    assert job.config.policies == ("none", "zstd")
    assert job.until == "training"


def test_the_best_settings_leave_as_a_config_that_runs(tuning, tmp_path):
    search = tuning(3)
    search.run(Pretended(), still)
    frame, page = write_history(search, "ppo")
    best = best_trial(frame)
    assert f"Best: trial {best['trial']}" in page.read_text()
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    file = read_sweep(tmp_path / "searched.yaml")
    write_tuned(file, {"ppo": search}, tmp_path / "tuned.yaml")
    tuned = read_sweep(tmp_path / "tuned.yaml").experiment
    assert [learner["kind"] for learner in tuned["learners"]] == ["ppo", "dqn"]
    assert tuned["learners"][0]["rate"] == float(best["rate"])


def test_a_key_that_the_learner_does_not_have_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text((CONFIG % 1).replace("{rate:", "{rat:"))
    with pytest.raises(InputError, match=r"tune\.ppo\.space: .*got 'rat'; did you mean 'rate'\?"):
        Tuning(read_sweep(tmp_path / "bad.yaml"), "ppo", tmp_path)


def test_a_learner_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "bad.yaml").write_text((CONFIG % 1).replace("  ppo:", "  ppp:"))
    with pytest.raises(InputError, match=r"tune\.ppp: names no learner"):
        Tuning(read_sweep(tmp_path / "bad.yaml"), "ppp", tmp_path)
