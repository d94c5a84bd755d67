"""Other questions than the codec pass every stage: numbers, masked choices, choices of several parts."""

import numpy as np
import pandas as pd
import pytest
from gymnasium import spaces

from agents.catalogue import POLICIES, Entry
from agents.policy import Policy
from envs.compression import Compression
from envs.registration import IDS
from experiments.bundles import export_bundles
from experiments.config import ExperimentConfig
from experiments.pipeline import check, evaluate_stages, train_stages
from experiments.publish import publish
from experiments.run_folder import RunFolder
from experiments.shadow.bundle import open_bundle
from sim.errors import InputError

ALLOWED = np.array([True, True, False, True])
"""The masked toys never allow the third codec."""


class Weighted(Compression):
    """The codec of the greatest of four numbers."""

    task = "allocation"

    def __init__(self, scenario, codecs, *, sharpness=1.0):
        super().__init__(scenario, codecs)
        if sharpness <= 0:
            raise ValueError(f"sharpness must be above 0, got {sharpness}")
        self.action_space = spaces.Box(-1.0, 1.0, (len(self.codecs),), np.float32)

    def _answer(self, question, action):
        assert action.shape == (4,) and np.abs(action).max() <= 1
        return int(np.argmax(action))


class Masked(Compression):
    """A codec, but never the third."""

    task = "scheduling"
    masked = True

    def __init__(self, scenario, codecs):
        super().__init__(scenario, codecs)

    def _mask(self, question):
        return ALLOWED

    def _answer(self, question, action):
        assert ALLOWED[action]
        return int(action)


class Several(Masked):
    """A codec, never the third, and a yes that counts for nothing."""

    task = "joint"

    def __init__(self, scenario, codecs):
        super().__init__(scenario, codecs)
        self.action_space = spaces.MultiDiscrete([4, 2])

    def _mask(self, question):
        return np.append(ALLOWED, [False, True])

    def _answer(self, question, action):
        assert ALLOWED[action[0]] and action[1] == 1
        return int(action[0])


class Always(Policy):
    """One and the same action."""

    def __init__(self, name, action):
        self.name = name
        self._action = action

    def act(self, observation, mask=None):
        return self._action


class SameProcess:
    """A crew of one that works where the toys are known."""

    def map(self, stage, function, tasks, units=None):
        return [function(task) for task in tasks]


SHORT = {"steps": 256, "envs": 4, "seeds": 1, "layers": [8]}
ON_POLICY = {**SHORT, "rollout": 32, "batch": 64, "epochs": 1}
OFF_POLICY = {**SHORT, "buffer": 1000, "batch": 16, "learning_starts": 64}
TASKS = {
    "dwcp/Allocation-v0": (
        Weighted,
        {"zstd": np.eye(4, dtype=np.float32)[1], "hde": np.eye(4, dtype=np.float32)[2]},
        [{"kind": "ppo", **ON_POLICY}],
    ),
    "dwcp/Scheduling-v0": (
        Masked,
        {"none": 0, "zstd": 1},
        [
            {"kind": "masked_ppo", **ON_POLICY},
            {"kind": "masked_dqn", **OFF_POLICY},
            {"kind": "qrdqn", **OFF_POLICY, "quantiles": 5},
        ],
    ),
    "dwcp/Joint-v0": (
        Several,
        {"none": np.array([0, 1]), "zstd": np.array([1, 1])},
        [{"kind": "masked_ppo", **ON_POLICY}],
    ),
}


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr("experiments.splits.load_env_creator", lambda entry: entry)
    for name, (kind, constants, _) in TASKS.items():
        monkeypatch.setitem(IDS, name, kind)
        entries = {
            f"only_{codec}": Entry(
                "static", "a toy", lambda env, codec=codec, act=act: Always(f"only_{codec}", act)
            )
            for codec, act in constants.items()
        }
        monkeypatch.setitem(POLICIES, kind.task, entries)


def config_of(name, **changed):
    given = {
        "name": TASKS[name][0].task,
        "title": "Does it run?",
        "environment": {"id": name, "scenarios": ["metro"], "held_out": ["lossy"], "requests": 12},
        "evaluation": {"train_episodes": 2, "validation_episodes": 1, "test_episodes": 3, "resamples": 100}
        | {"bound_episodes": 2, "baselines": ["best_static", "bound"]},
        "policies": [f"only_{codec}" for codec in TASKS[name][1]],
        "learners": TASKS[name][2],
        "evaluate_every": 128,
        "export": {"parity_rows": 40},
    }
    return ExperimentConfig.model_validate(given | changed)


@pytest.mark.parametrize("name", TASKS)
def test_a_run_of_another_task_ends_with_report_bound_and_bundles(toys, name, tmp_path):
    config = config_of(name)
    check(config, "toy.yaml")
    with RunFolder.create(config, tmp_path) as run:
        train_stages(run, config, SameProcess())
        evaluate_stages(run, config, SameProcess())
        exported = export_bundles(run, config)
        summary = publish(run, config)
    episodes = pd.read_parquet(run.file("episodes.parquet"))
    of_bound = episodes[episodes["kind"] == "bound"]
    assert of_bound["episode"].tolist() == [0, 1] and (of_bound["scenario"] == "metro").all()
    tested = episodes[(episodes["split"] == "test") & episodes["episode"].isin([0, 1])]
    least = tested[tested["kind"] != "bound"].groupby("episode")["cost_s"].min()
    assert (of_bound.set_index("episode")["cost_s"] <= least).all()
    assert not (episodes["policy"] == "best_found").any()

    closed = {row["policy"] for row in summary["rows"] if row["metric"] == "gap_closed"}
    learners = {learner.name for learner in config.learners}
    assert learners <= closed
    report = run.file("report.md").read_text()
    assert "How near to the bound" in report and "missed, %" in report and "Jain" in report
    assert "one-step oracle" not in report and "codec policy" not in report

    for one in exported:
        policy = open_bundle(one.folder)
        kind = TASKS[name][0]
        assert (policy.manifest["task"], policy.face.masked) == (kind.task, kind.masked)
        assert policy.parity.equal + policy.parity.ties == 40
        space = policy.manifest["action_space"]
        assert space["kind"] == {"allocation": "Box", "scheduling": "Discrete"}.get(
            kind.task, "MultiDiscrete"
        )
        row = policy.row({})
        if kind is Weighted:
            assert policy.act(row).shape == (4,) and policy.act(row).dtype == np.float32
        elif kind is Masked:
            assert {policy.act(row, np.arange(4) == only) for only in range(4)} == {0, 1, 2, 3}
        else:
            mask = np.array([False, False, True, False, False, True])
            assert policy.act(row, mask).tolist() == [2, 1]
    decisions = pd.read_parquet(run.file("decisions.parquet"))
    assert len(decisions) == (0 if name != "dwcp/Scheduling-v0" else 3 * 12 * (2 + 3))


@pytest.mark.parametrize(
    ("name", "changed", "complaint"),
    [
        (
            "dwcp/Allocation-v0",
            {"environment": {"options": {"sharpnes": 2}}},
            r"environment\.options\.sharpnes: unknown option of dwcp/Allocation-v0; did you mean .sharp",
        ),
        (
            "dwcp/Allocation-v0",
            {"environment": {"options": {"sharpness": -1}}},
            "environment.options: dwcp/Allocation-v0 refuses them: sharpness must be above 0",
        ),
        (
            "dwcp/Allocation-v0",
            {"environment": {"options": {"sharpness": "much"}}},
            "environment.options: dwcp/Allocation-v0 refuses them",
        ),
        (
            "dwcp/Allocation-v0",
            {"learners": [{"kind": "dqn"}]},
            r"learners\.0\.kind: dqn cannot learn the Box actions of dwcp/Allocation-v0; take one of ppo",
        ),
        (
            "dwcp/Scheduling-v0",
            {"learners": [{"kind": "masked_ppo"}, {"kind": "ppo"}]},
            r"\.1\.kind: ppo cannot learn the masked Discrete actions of .*; take one of masked_ppo",
        ),
        (
            "dwcp/Joint-v0",
            {"learners": [{"kind": "masked_dqn"}]},
            "masked_dqn cannot learn the masked MultiDiscrete actions",
        ),
        ("dwcp/Joint-v0", {"policies": ["zstd"]}, "policies.0: unknown name 'zstd'"),
    ],
)
def test_what_does_not_fit_a_task_is_refused_in_one_line(toys, name, changed, complaint):
    environment = {"id": name, "scenarios": ["metro"]} | changed.pop("environment", {})
    with pytest.raises(InputError, match=complaint) as refused:
        check(config_of(name, environment=environment, **changed), "toy.yaml")
    assert str(refused.value).startswith("toy.yaml: ") and "\n" not in str(refused.value)


def test_a_codec_in_parts_is_refused_for_its_policies_answer_with_one_number():
    environment = {"scenarios": ["metro"], "options": {"action": "multi"}}
    config = config_of("dwcp/Allocation-v0", environment=environment, policies=["zstd"], learners=[])
    with pytest.raises(InputError, match=r"options\.action: the policies answer with one codec"):
        check(config, "multi.yaml")


def test_two_configs_that_differ_in_their_options_are_two():
    one, other = (
        config_of("dwcp/Allocation-v0", environment={"scenarios": ["metro"], "options": {"k": value}})
        for value in (1, 2)
    )
    assert one != other and hash(one) == hash(one.model_copy())
