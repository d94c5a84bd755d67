"""Training in legs: interrupted anywhere and gone on with, it ends with the bits of one that was not."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from agents.learners.checkpoints import read_checkpoint
from agents.learners.forward import network_policy
from agents.learners.legs import Plan, _described, _StopAtLegEnd, train
from agents.learners.models import load_model
from agents.learners.settings import Learner
from agents.one_step_oracle import OneStepOracle
from agents.play import play
from sim.errors import InputError

ROOT = Path(__file__).parents[2]
LEG, STEPS = 320, 1024
"""A leg is 80 decisions of each environment: it ends in the middle of an episode, which has 32."""
SMALL = {
    "ppo": {
        "kind": "ppo", "steps": STEPS, "envs": 4, "rollout": 16, "batch": 32, "epochs": 2, "layers": [16],
        "schedule": "linear", "gamma": 0.9,
    },
    "dqn": {
        "kind": "dqn", "steps": STEPS, "envs": 4, "buffer": 1000, "batch": 16, "learning_starts": 100,
        "train_freq": 2, "gradient_steps": 1, "target_update": 64, "layers": [16], "n_step": 3, "gamma": 0.9,
        "schedule": "linear", "exploration_fraction": 0.8,
    },
}  # fmt: skip
LEARNING = {
    "ppo": {
        "kind": "ppo", "steps": 10240, "envs": 32, "rollout": 32, "batch": 256, "epochs": 6, "rate": 2e-3,
        "gamma": 0.5, "schedule": "linear", "layers": [32, 32],
    },
    "dqn": {
        "kind": "dqn", "steps": 10240, "envs": 32, "buffer": 10000, "batch": 128, "learning_starts": 500,
        "train_freq": 1, "gradient_steps": 2, "gamma": 0.5, "target_update": 500, "rate": 1e-3,
        "layers": [32, 32],
    },
}  # fmt: skip

KILLED_IN_LEG_2 = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from agents.learners import legs
from agents.play import play

torch.set_num_threads(1)
plan, pool, episodes, fatal_step, folder = pickle.loads(Path(sys.argv[1]).read_bytes())

class Fatal(legs._StopAtLegEnd):
    def _on_step(self):
        if self.num_timesteps >= fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._on_step()

legs._StopAtLegEnd = Fatal
env = plan.make_env()

def validate(policy):
    return sum(play(env, one, policy).cost for one in episodes)

legs.train(plan, pool, validate, Path(folder))
"""


def plan_of(settings, make_env, leg_steps=LEG, **changed) -> Plan:
    config = TypeAdapter(Learner).validate_python(settings | changed)
    return Plan(config, 7, leg_steps, make_env, {"codecs": ["none", "zstd", "amst-32"]})


@pytest.fixture(scope="module")
def validate(validation, make_env):
    env = make_env()
    return lambda policy: sum(play(env, one, policy).cost for one in validation)


@pytest.fixture(scope="module", params=["ppo", "dqn"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def whole(kind, pool, validate, make_env, tmp_path_factory) -> Path:
    """Folder of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp(f"whole-{kind}")
    train(plan_of(SMALL[kind], make_env), pool, validate, folder)
    return folder


def state(plan: Plan, folder: Path):
    """All that a training has come to: curve, tensors by name, counters."""
    checkpoint = read_checkpoint(folder / "checkpoints", plan.config.kind, _described(plan), plan.make_env())
    model = checkpoint.model
    tensors = dict(model.policy.state_dict())
    for key, slots in model.policy.optimizer.state_dict()["state"].items():
        tensors |= {f"optimiser {key} {name}": torch.as_tensor(value) for name, value in slots.items()}
    tensors["rate"] = torch.tensor([group["lr"] for group in model.policy.optimizer.param_groups])
    counters = {"steps": model.num_timesteps, "updates": model._n_updates}
    if plan.config.kind == "dqn":
        replay = model.replay_buffer
        names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
        tensors |= {f"replay {name}": torch.as_tensor(getattr(replay, name)) for name in names}
        counters |= {"pos": replay.pos, "full": replay.full, "calls": model._n_calls}
        counters |= {"exploration": model.exploration_rate}
    return checkpoint.curve, tensors, counters


def assert_same_end(plan: Plan, folder: Path, other: Path) -> None:
    (curve, tensors, counters), (curve_2, tensors_2, counters_2) = state(plan, folder), state(plan, other)
    assert curve == curve_2
    assert counters == counters_2
    assert tensors.keys() == tensors_2.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], tensors_2[name])] == []
    best = [load_model(plan.config.kind, one / "best.zip").policy.state_dict() for one in (folder, other)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


def test_a_training_killed_in_the_middle_of_leg_2_ends_with_the_bits_of_one_that_was_not(
    kind, whole, pool, validation, validate, make_env, tmp_path
):
    plan, folder = plan_of(SMALL[kind], make_env), tmp_path / "killed"
    task = tmp_path / "task.pkl"
    task.write_bytes(pickle.dumps((plan, pool, validation, LEG + LEG // 2, str(folder))))
    ended = subprocess.run([sys.executable, "-c", KILLED_IN_LEG_2, str(task)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [one.name for one in (folder / "checkpoints").iterdir()] == ["leg-1"]
    train(plan, pool, validate, folder)
    assert_same_end(plan, folder, whole)


def test_a_training_that_an_error_stops_at_a_leg_end_goes_on_to_the_same_bits(
    kind, whole, pool, validate, make_env, tmp_path
):
    plan, calls = plan_of(SMALL[kind], make_env), []

    def fail_the_second_time(policy):
        calls.append(policy)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(policy)

    with pytest.raises(KeyboardInterrupt):
        train(plan, pool, fail_the_second_time, tmp_path)
    assert len(state(plan, tmp_path)[0]) == 1
    train(plan, pool, validate, tmp_path)
    assert_same_end(plan, tmp_path, whole)


@pytest.mark.parametrize("fatal", ["before", "after"])
def test_a_training_stopped_while_it_writes_its_second_checkpoint_goes_on_to_the_same_bits(
    kind, whole, pool, validate, make_env, tmp_path, monkeypatch, fatal
):
    plan, replace = plan_of(SMALL[kind], make_env), os.replace

    def stop_at_leg_2(source, target):
        if Path(target).name != "leg-2":
            replace(source, target)
            return
        if fatal == "after":
            replace(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", stop_at_leg_2)
        with pytest.raises(KeyboardInterrupt):
            train(plan, pool, validate, tmp_path)
    assert len(state(plan, tmp_path)[0]) == (1 if fatal == "before" else 2)
    train(plan, pool, validate, tmp_path)
    assert_same_end(plan, tmp_path, whole)
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == ["leg-4"]


def test_a_training_that_is_done_is_not_done_again(
    kind, whole, pool, validate, make_env, tmp_path, monkeypatch
):
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder)
    monkeypatch.setattr(_StopAtLegEnd, "_on_step", lambda self: pytest.fail("it trained again"))
    told = []
    outcome = train(plan_of(SMALL[kind], make_env), pool, validate, folder, told.append)
    assert told == [STEPS]
    assert outcome.curve[-1]["step"] >= STEPS


def test_the_curve_has_a_row_a_leg_and_the_best_model_is_that_of_its_least_cost(
    kind, whole, validate, make_env
):
    curve, _, _ = state(plan_of(SMALL[kind], make_env), whole)
    steps = [row["step"] for row in curve]
    assert steps == [320, 640, 960, 1024]
    best = network_policy(kind, load_model(kind, whole / "best.zip"))
    assert validate(best) == min(row["validation_cost"] for row in curve)


def _watch_schedules(monkeypatch) -> list[tuple[int, float, float]]:
    """Steps, learning rate and share of random choices at each step of the trainings to come."""
    seen = []
    on_step = _StopAtLegEnd._on_step

    def watching(self):
        rate = self.model.policy.optimizer.param_groups[0]["lr"]
        seen.append((self.num_timesteps, rate, getattr(self.model, "exploration_rate", 0.0)))
        return on_step(self)

    monkeypatch.setattr(_StopAtLegEnd, "_on_step", watching)
    return seen


def test_schedules_run_over_the_whole_training_whatever_the_legs(
    kind, pool, validate, make_env, tmp_path, monkeypatch
):
    seen = _watch_schedules(monkeypatch)
    settings = SMALL[kind] | {"learning_starts": 0} if kind == "dqn" else SMALL[kind]
    train(plan_of(settings, make_env, leg_steps=10**6), pool, validate, tmp_path / "one")
    without_legs = seen.copy()
    seen.clear()
    train(plan_of(settings, make_env), pool, validate, tmp_path / "four")
    assert seen == without_legs
    envs, start = 4, plan_of(settings, make_env).config.rate
    update = 16 * envs if kind == "ppo" else 2 * envs
    for steps, rate, random_share in seen:
        updated_at = (steps - 1) // update * update
        if updated_at:
            assert rate == pytest.approx(start * (1 - updated_at / STEPS), rel=1e-9)
        if kind == "dqn" and steps > envs:  # the callback comes before the step's own new share
            faded = min(1.0, (steps - envs) / STEPS / 0.8)
            assert random_share == pytest.approx(1 - faded * (1 - 0.03), rel=1e-9)


def test_a_last_rollout_past_the_end_does_not_unlearn(pool, validate, make_env, tmp_path, monkeypatch):
    seen = _watch_schedules(monkeypatch)
    plan = plan_of(SMALL["ppo"], make_env, steps=STEPS + 1)
    outcome = train(plan, pool, validate, tmp_path)
    assert outcome.curve[-1]["step"] == STEPS + 64
    assert min(rate for _, rate, _ in seen) > 0
    final = load_model("ppo", tmp_path / "best.zip")
    assert final.policy.optimizer.param_groups[0]["lr"] >= 0
    _, tensors, _ = state(plan, tmp_path)
    assert float(tensors["rate"][0]) == 0.0


def test_no_n_step_return_runs_from_a_leg_into_the_next(pool, validate, make_env, tmp_path):
    plan = plan_of(SMALL["dqn"], make_env, buffer=2000)
    train(plan, pool, validate, tmp_path)
    replay = read_checkpoint(
        tmp_path / "checkpoints", "dqn", _described(plan), plan.make_env()
    ).model.replay_buffer
    size = replay.size()
    goes_on = np.all(replay.next_observations[: size - 1] == replay.observations[1:size], axis=2)
    ends = (replay.dones[: size - 1] + replay.timeouts[: size - 1]) > 0
    assert np.all(goes_on | ends)
    assert np.any(replay.timeouts[: size - 1] > 0)
    assert not np.any((replay.timeouts[:size] > 0) & (replay.dones[:size] > 0))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda leg: (leg / "model.zip").write_bytes((leg / "model.zip").read_bytes()[:-200]), "model"),
        (lambda leg: (leg / "model.zip").write_bytes(b""), "model"),
        (lambda leg: (leg / "model.zip").unlink(), "model, got no file"),
        (lambda leg: (leg / "model.zip").write_text("a shopping list"), "model"),
        (lambda leg: (leg / "training.json").unlink(), "curve of a training"),
        (lambda leg: (leg / "training.json").write_text('{"training": {'), "curve of a training"),
        (lambda leg: (leg / "training.json").write_text("[]"), "curve of a training"),
        (lambda leg: (leg / "training.json").write_bytes(b"\xff\xfe"), "curve of a training"),
    ],
)
def test_a_torn_checkpoint_is_refused_in_one_line(
    kind, whole, pool, validate, make_env, tmp_path, spoil, complaint
):
    shutil.copytree(whole, tmp_path / "torn")
    spoil(next((tmp_path / "torn" / "checkpoints").iterdir()))
    with pytest.raises(InputError, match=complaint) as refused:
        train(plan_of(SMALL[kind], make_env), pool, validate, tmp_path / "torn")
    assert "\n" not in str(refused.value)
    assert "remove" in str(refused.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_bytes(pickle.dumps({"a": 1})),
        lambda path: path.write_bytes(b"not a pickle"),
    ],
    ids=["missing", "truncated", "foreign", "text"],
)
def test_a_torn_replay_buffer_is_refused_in_one_line(pool, validate, make_env, tmp_path, spoil):
    plan = plan_of(SMALL["dqn"], make_env, steps=LEG)
    train(plan, pool, validate, tmp_path)
    spoil(tmp_path / "checkpoints" / "leg-1" / "replay.pkl")
    with pytest.raises(InputError, match=r"replay\.pkl: expected a replay buffer") as refused:
        train(plan, pool, validate, tmp_path)
    assert "\n" not in str(refused.value)


def test_the_checkpoint_of_another_training_is_refused_by_what_differs(kind, whole, pool, validate, make_env):
    for change, word in (({"gamma": 0.5}, "gamma"), ({"layers": [8]}, "layers"), ({"envs": 8}, "envs")):
        with pytest.raises(InputError, match=f"got one with other {word}"):
            train(plan_of(SMALL[kind], make_env, **change), pool, validate, whole)
    with pytest.raises(InputError, match="other environment"):
        train(
            plan_of(SMALL[kind], make_env)._replace(environment={"codecs": ["none"]}), pool, validate, whole
        )
    with pytest.raises(InputError, match="other seed"):
        train(plan_of(SMALL[kind], make_env)._replace(seed=8), pool, validate, whole)


def test_the_model_of_the_other_algorithm_is_refused(whole, kind, tmp_path):
    other = "dqn" if kind == "ppo" else "ppo"
    with pytest.raises(InputError, match=f"expected a saved {other.upper()} model") as refused:
        load_model(other, whole / "best.zip")
    assert "\n" not in str(refused.value)


def test_model_and_curve_of_different_steps_are_refused(whole, kind, pool, validate, make_env, tmp_path):
    shutil.copytree(whole, tmp_path / "mixed")
    path = next((tmp_path / "mixed" / "checkpoints").iterdir()) / "training.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"curve": stored["curve"][:-1]}))
    with pytest.raises(InputError, match="model and curve of the same step"):
        train(plan_of(SMALL[kind], make_env), pool, validate, tmp_path / "mixed")


def test_learners_come_within_2_percent_of_the_oracle_where_the_best_is_plain(
    kind, pool, validate, unseen, make_env, tmp_path
):
    outcome = train(plan_of(LEARNING[kind], make_env, leg_steps=2048), pool, validate, tmp_path)
    learned = network_policy(kind, load_model(kind, outcome.best))
    env = make_env()
    costs = {
        policy.name: sum(play(env, one, policy).cost for one in unseen)
        for policy in (learned, OneStepOracle(env.codecs))
    }
    assert costs[kind] <= 1.02 * costs["one_step_oracle"]
