"""Configs: what is accepted, and for all else one line: where, what came, what was expected."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from experiments.config import ExperimentConfig, check_names
from sim.errors import InputError
from sim.settings import as_yaml, digest, dump, key_help, load, schema
from sim.yaml_file import MOST_BYTES

KINDS = "ppo, vine, recurrent_ppo, masked_ppo, dqn, masked_dqn, qrdqn"
CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"

GOOD = """\
name: trial
title: Is it worth it?
environment: {scenarios: [wan, metro]}
learners:
  - {kind: ppo, seeds: 3}
  - {kind: dqn, name: slow_dqn, rate: 3e-4, seeds: [7]}
"""


@pytest.fixture
def refused(tmp_path):
    """Message of the refusal of a config, with its path shortened to the file name."""

    def message(text: str, *overrides: str) -> str:
        path = tmp_path / "trial.yaml"
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            load(path, ExperimentConfig, overrides)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return message


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "trial.yaml"
    path.write_text(GOOD)
    return path


def test_config_is_read_with_defaults_and_seeds_counted_from_0(good):
    config = load(good, ExperimentConfig)
    ppo, dqn = config.learners
    assert (ppo.kind, ppo.name, ppo.seeds) == ("ppo", "ppo", (0, 1, 2))
    assert (dqn.kind, dqn.name, dqn.seeds, dqn.rate) == ("dqn", "slow_dqn", (7,), 0.0003)
    assert config.environment.codecs == ("none", "zstd", "hde", "amst")
    assert config.supervised.xgb.trees == 200


def test_overrides_name_items_by_number_name_or_kind_and_the_last_one_wins(good):
    overrides = [
        "learners.0.steps=1e5",
        "learners.slow_dqn.gamma=0.9",
        "learners.ppo.layers=[32]",
        "seed=1",
        "seed=2",
    ]
    config = load(good, ExperimentConfig, [*overrides, "supervised.xgb.trees=20"])
    assert config.learners[0].steps == 100_000
    assert config.learners[0].layers == (32,)
    assert config.learners[1].gamma == 0.9
    assert config.seed == 2
    assert config.supervised.xgb.trees == 20


def test_config_cannot_be_changed_after_it_was_read(good):
    with pytest.raises(ValueError, match="frozen"):
        load(good, ExperimentConfig).seed = 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeed: 3\n", "trial.yaml: seeed: unknown key, with the value 3; did you mean 'seed'?"),
        (
            "test_episodes: 3\n",
            "test_episodes: unknown key, with the value 3; did you mean 'evaluation.test_episodes'?",
        ),
        ("seed: three\n", "trial.yaml: seed: expected a whole number, got 'three'"),
        ("seed: -1\n", "trial.yaml: seed: expected a value of at least 0, got -1"),
        ("seed: 1.5\n", "trial.yaml: seed: expected a whole number, got 1.5"),
        ("seed: true\n", "trial.yaml: seed: expected no truth value here, got true"),
        ("policies: zstd\n", "trial.yaml: policies: expected a list, got 'zstd'"),
        ("policies: []\n", "trial.yaml: policies: expected a list with 1 or more items, got []"),
        ("evaluation: [1]\n", "trial.yaml: evaluation: expected settings as 'key: value', got [1]"),
        ("evaluation: {level: .nan}\n", "trial.yaml: evaluation.level: expected a finite number, got nan"),
        ("evaluation: {level: 1}\n", "trial.yaml: evaluation.level: expected a value below 1, got 1"),
        ("supervised: {xgb: {deph: 3}}\n", "did you mean 'supervised.xgb.depth'?"),
        (
            "evaluation: {baselines: [zstdd]}\n",
            "'zstdd', which is not in the comparison; did you mean 'zstd'?",
        ),
        (
            "export: {policies: [zstd]}\n",
            "export.policies names 'zstd', which is not in the comparison; known: ppo",
        ),
        ("policies: [zstd, ppo]\n", "trial.yaml: 'ppo' names two rows of the comparison"),
        ("policies: [zstd, best_static]\n", "'best_static' names two rows"),
        (
            "seed: 1\nseed: 2\n",
            "trial.yaml: line 8, column 1: key 'seed' stands here and in line 7; keep one of them",
        ),
        ("seed: [1\n", "trial.yaml: line 8, column 1: expected ',' or ']'"),
        ("seed: &a 1\nworkers: *a\n", "trial.yaml: line 8, column 10: alias '*a' is not used in configs"),
        (
            "seed: !!python/name:os.system\n",
            "trial.yaml: line 7, column 7: could not determine a constructor",
        ),
        ("3: 4\n", "trial.yaml: line 7, column 1: a key must be a word"),
        ("seed: \x01\n", "trial.yaml: not YAML: unacceptable character"),
        ("seed: " + "[" * 50_000, "trial.yaml: nested too deeply"),
        ("seed: 1" + "0" * 5000, "trial.yaml: not YAML: Exceeds the limit"),
        ("seed: '" + "x" * MOST_BYTES + "'", f"trial.yaml: expected a config of at most {MOST_BYTES} bytes"),
    ],
)
def test_wrong_config_is_refused_in_one_line(refused, text, message):
    said = refused(GOOD + text)
    assert message in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "name: trial\n",
            "",
            "trial.yaml: name: is missing; expected: name of the experiment and of its folder",
        ),
        ("name: trial", "name: ../up", "trial.yaml: name: expected text of the form ^[a-z0-9]"),
        (
            "title: Is it worth it?",
            "title: 2026",
            "title: expected text (in quotes, if it looks like a number), got 2026",
        ),
        (
            "[wan, metro]",
            "[wan, wan]",
            "environment: scenario 'wan' stands twice in scenarios and held_out; keep one",
        ),
        (
            "kind: ppo",
            "kind: pp0",
            f"learners.0.kind: expected one of {KINDS}, got 'pp0'; did you mean 'ppo'?",
        ),
        (
            "kind: ppo, ",
            "",
            f"learners.0.kind: expected one of {KINDS}, got nothing",
        ),
        ("{kind: ppo, seeds: 3}", "ppo", "learners.0: expected settings as 'key: value', got 'ppo'"),
        ("seeds: 3", "clip: 2", "learners.0.clip: expected a value below 1, got 2"),
        ("seeds: 3", "buffer: 2000", "learners.0.buffer: unknown key, with the value 2000"),
        (
            "seeds: 3",
            "schedule: liner",
            "schedule: expected 'constant' or 'linear', got 'liner'; did you mean 'linear'?",
        ),
        ("seeds: 3", "layers: [64, 0]", "learners.0.layers.1: expected a value of at least 1, got 0"),
        (
            "seeds: 3",
            "batch: 500",
            "learners.0: batch 500 must divide envs * rollout = 2048 without rest; take 256",
        ),
        (
            "seeds: 3",
            "seeds: 0",
            "learners.0.seeds: expected a list of seeds, or how many from 1 to 1000, got 0",
        ),
        ("seeds: [7]", "seeds: [7, 7]", "learners.1.seeds: expected different seeds, got [7, 7]"),
        ("seeds: [7]", "gamma: 1.0", "learners.1.gamma: expected a value below 1, got 1.0"),
        ("seeds: [7]", "steps: 3000", "learners.1: learning_starts 5000 must lie below steps 3000"),
        ("name: slow_dqn", "name: ppo", "'ppo' names two rows of the comparison"),
    ],
)
def test_wrong_learner_or_name_is_refused_at_its_key_without_union_tags(refused, old, new, message):
    said = refused(GOOD.replace(old, new, 1))
    assert message in said
    assert "\n" not in said


def test_a_learner_with_a_memory_is_never_among_the_bundles_to_be(refused):
    text = GOOD.replace("kind: ppo", "kind: recurrent_ppo") + "export: {policies: [recurrent_ppo]}\n"
    assert "no bundle keeps the memory of a recurrent_ppo; leave it out there" in refused(text)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "learners.0.ratee=3",
            "command line: learners.0.ratee: unknown key, with the value 3; did you mean 'learners.0.rate'?",
        ),
        (
            "learners.2.rate=3",
            "command line: learners.2: expected an item of the list 'learners': 0 to 1, ppo, slow_dqn",
        ),
        ("seed.x=3", "command line: seed.x: 'seed' is the single value 5; it has no 'x' inside"),
        ("seed", "command line: 'seed': expected an override as key=value"),
        ("=3", "command line: '=3': expected an override as key=value"),
        ("seed=[1", "command line: seed: expected ',' or ']'"),
        ("evaluation.level=2", "command line: evaluation.level: expected a value below 1, got 2"),
        ("learners.ppo.batch=500", "command line: learners.0: batch 500 must divide"),
    ],
)
def test_wrong_override_is_blamed_on_the_command_line(refused, override, message):
    said = refused(GOOD + "seed: 5\n", override)
    assert message in said
    assert "\n" not in said


def test_each_fault_has_its_line_and_its_source(refused):
    lines = refused(GOOD + "sead: 1\nworkers: 0\n", "evaluation.resamples=3").splitlines()
    assert [line.split(": ")[:2] for line in sorted(lines)] == [
        ["command line", "evaluation.resamples"],
        ["trial.yaml", "sead"],
        ["trial.yaml", "workers"],
    ]


def test_missing_empty_and_foreign_files_are_refused(tmp_path, refused):
    assert "the file is empty" in refused("")
    assert "the file is empty" in refused("# nothing but a remark\n")
    assert "expected settings as 'key: value', got a list" in refused("- wan\n")
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: No such file"):
        load(tmp_path / "none.yaml", ExperimentConfig)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load(tmp_path, ExperimentConfig)
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(InputError, match=r"binary\.yaml: byte 6: expected UTF-8"):
        load(tmp_path / "binary.yaml", ExperimentConfig)


def test_dumped_config_reads_back_equal_with_equal_digest(good, tmp_path):
    config = load(good, ExperimentConfig)
    dump(config, tmp_path / "out" / "config.yaml")
    again = load(tmp_path / "out" / "config.yaml", ExperimentConfig)
    assert again == config
    assert digest(again) == digest(config)


def test_digest_depends_on_values_and_neither_on_order_nor_on_workers(good, tmp_path):
    config = load(good, ExperimentConfig)
    tree = yaml.safe_load(GOOD)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(dict(reversed(tree.items()))))
    assert digest(load(other, ExperimentConfig, ["learners.0.seeds=[0, 1, 2]"])) == digest(config)
    assert digest(load(good, ExperimentConfig, ["workers=1"])) == digest(config)
    assert digest(load(good, ExperimentConfig, ["learners.0.gamma=0.98"])) != digest(config)


def test_digest_is_the_same_in_another_process(good):
    code = (
        "import sys, pathlib; from sim.settings import *; from experiments.config import *;"
        "print(digest(load(pathlib.Path(sys.argv[1]), ExperimentConfig)))"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", code, good], capture_output=True, text=True, check=True, cwd=root
    )
    assert said.stdout.strip() == digest(load(good, ExperimentConfig))


def test_names_are_held_against_the_registries_with_a_guess(good):
    known = {
        "scenarios": ["wan", "metro"],
        "policies": ["none", "zstd", "hde", "amst", "dwcp_rule", "estimate", "one_step_oracle"],
        "codecs": ["none", "zstd", "hde", "amst"],
    }
    check_names(load(good, ExperimentConfig), "trial.yaml", **known)
    for override, message in [
        (
            "environment.scenarios=[wan, mtero]",
            "environment.scenarios.1: unknown name 'mtero'; did you mean 'metro'?",
        ),
        ("environment.held_out=[mars]", "environment.held_out.0: unknown name 'mars'; known: wan, metro"),
        (
            "environment.codecs=[none, zstdd]",
            "environment.codecs.1: unknown name 'zstdd'; did you mean 'zstd'?",
        ),
        ("policies=[dwcp_rul]", "policies.0: unknown name 'dwcp_rul'; did you mean 'dwcp_rule'?"),
        (
            "environment.codecs=[none, zstd]",
            "policies.2: the fixed codec 'hde' is not among environment.codecs",
        ),
    ]:
        with pytest.raises(InputError, match=re.escape(f"trial.yaml: {message}")):
            check_names(load(good, ExperimentConfig, [override]), "trial.yaml", **known)


def test_every_key_is_described_in_help_and_schema(good):
    lines = list(key_help(ExperimentConfig))
    assert all(line.meaning.endswith(".") for line in lines)
    assert {"environment.scenarios": "required", "seed": "0"}.items() <= {
        line.key: line.default for line in lines
    }.items()
    definitions = json.loads(schema(ExperimentConfig))["$defs"]
    for name, definition in definitions.items():
        assert all("description" in key for key in definition["properties"].values()), name


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_config_is_valid_and_named_as_its_file(path):
    config = load(path, ExperimentConfig)
    assert config.name == path.stem
    assert yaml.safe_load(as_yaml(config))["name"] == path.stem
