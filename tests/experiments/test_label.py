"""Label files: the page says what is in them, the figures are the kernel's, and refusals are one line."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.supervised.counterfactual import Counterfactor
from envs.compression import Compression
from envs.features import CODEC_FEATURES
from experiments.cli import main
from experiments.label import VERSION, label_columns, label_episodes, label_plan, write_labels
from experiments.minari_dataset import check_minari, write_minari
from sim.catalogue import SCENARIOS
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.errors import InputError
from sim.scenario_file import save_scenario

PAGE = Path(__file__).parents[2] / "docs" / "labels.md"
CODECS = ("none", "zstd", "amst-16")
HAS_MINARI = find_spec("minari") is not None


class _Alone:
    """A crew of nobody else: does the tasks itself."""

    def map(self, stage, function, tasks, units=None):
        return [function(task) for task in tasks]


@pytest.fixture(scope="module")
def scenario_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scenario") / "short-wan.yaml"
    save_scenario(SCENARIOS["wan"].with_(name="short-wan", requests=9), path)
    return path


@pytest.fixture(scope="module")
def plan(scenario_file):
    return label_plan([str(scenario_file), "dwcp-high-latency"], CODECS, "zstd", range(4, 10))


@pytest.fixture(scope="module")
def episodes(plan):
    return label_episodes(plan, _Alone())


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Runs `dwcp-gym label` and expects exit code 2, one line of complaint and no file."""

    def call(*words):
        out = tmp_path / "labels.parquet"
        monkeypatch.setattr(sys, "argv", ["dwcp-gym", "label", str(out), *words])
        with pytest.raises(SystemExit) as leave:
            main()
        (line,) = capsys.readouterr().err.splitlines()
        assert leave.value.code == 2 and not out.exists()
        return line

    return call


def test_the_page_lists_the_columns_with_type_unit_and_meaning():
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.+) \|$", PAGE.read_text("utf-8"), re.M)
    expected = [(*one[:2], one.unit, one.meaning) for one in label_columns(["none", "zstd", "hde", "amst"])]
    assert [tuple(part.strip() for part in row) for row in rows] == expected
    assert f"## Schema, version {VERSION}" in PAGE.read_text("utf-8")


def test_a_file_holds_each_decision_of_each_episode_with_what_every_answer_costs(plan, episodes, tmp_path):
    write_labels(tmp_path / "deep" / "labels.parquet", plan, episodes)
    table = pq.read_table(tmp_path / "deep" / "labels.parquet")
    assert table.column_names == [column.name for column in label_columns(CODECS)]
    rows = table.to_pylist()
    assert len(rows) == 6 * (9 + 15)
    drawn = draw_episode(plan.scenarios[0], 5)
    found = Counterfactor([parse_codec(name) for name in CODECS], "zstd").label(drawn)
    own = [row for row in rows if (row["scenario"], row["seed"]) == ("short-wan", 5)]
    assert [row["request"] for row in own] == found.request.tolist()
    for kind, costs in (("one_step", found.one_step_s), ("continued", found.continued_s)):
        written = np.array([[row[f"{kind}_s_{name}"] for name in CODECS] for row in own])
        np.testing.assert_array_equal(written, costs)
        assert [row[f"best_{kind}"] for row in own] == [CODECS[best] for best in costs.argmin(axis=1)]
    seen = np.array([[row[name] for name in CODEC_FEATURES.names] for row in own])
    np.testing.assert_array_equal(seen, found.features)
    assert {(row["base"], row["answer"]) for row in rows} == {("zstd", "zstd")}


def test_a_file_tells_its_version_its_codecs_and_the_unit_of_each_column(plan, episodes, tmp_path):
    write_labels(tmp_path / "labels.parquet", plan, episodes)
    schema = pq.read_schema(tmp_path / "labels.parquet")
    assert schema.metadata[b"dwcp-gym labels version"] == b"1"
    assert schema.metadata[b"dwcp-gym labels codecs"] == b"none,zstd,amst-16"
    assert schema.metadata[b"dwcp-gym labels base"] == b"zstd"
    assert schema.field("continued_s_amst-16").metadata[b"unit"] == b"s"
    assert not any(field.nullable for field in schema)


def test_the_command_writes_a_file(scenario_file, monkeypatch, capsys, tmp_path):
    out = tmp_path / "labels.parquet"
    words = ("label", out, "--only", scenario_file, "--episodes", 2, "--seed", 7, "--workers", 1)
    monkeypatch.setattr(sys, "argv", ["dwcp-gym", *map(str, words)])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code in (0, None)
    assert "18 decisions" in capsys.readouterr().out
    table = pq.read_table(out)
    assert set(table["seed"].to_pylist()) == {7, 8} and set(table["base"].to_pylist()) == {"shortest"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--only", "wam"), "wan"),
        (("--only", "wan", "--only", "wan"), "'wan' stands there twice; name it once"),
        (("--codec", "zstd"), "expected at least 2 codecs"),
        (("--codec", "zstd", "--codec", "hdee"), "did you mean 'hde'"),
        (("--codec", "zstd", "--codec", "zstd"), "'zstd' stands there twice"),
        (("--codec", "zstd", "--codec", "zstd-3"), "'zstd' stands there twice"),
        (("--base", "amst-16"), "base must be 'shortest' or one of none, zstd, hde, amst, got 'amst-16'"),
        (("--episodes", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_labelled_is_refused_in_one_line(refused, words, said):
    assert said in refused(*words)


def test_a_file_that_is_not_parquet_is_refused_before_any_work(refused, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dwcp-gym", "label", str(tmp_path / "labels.csv")])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 2
    assert "expected a name that ends in .parquet" in capsys.readouterr().err


@pytest.mark.skipif(HAS_MINARI, reason="minari is installed")
def test_without_minari_the_command_says_how_to_install_it(refused):
    assert "pip install 'dwcp-gym[minari]'" in refused("--minari", "dwcp/test-v0")


@pytest.mark.skipif(not HAS_MINARI, reason="minari is not installed; pip install 'dwcp-gym[minari]'")
class TestMinari:
    @pytest.fixture
    def datasets(self, tmp_path, monkeypatch):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))

    def test_a_dataset_reads_back_as_the_environment_plays_it(self, datasets):
        import minari

        plan = label_plan(["dwcp-high-latency"], CODECS, "shortest", range(3))
        write_minari("dwcp/test-v0", plan, label_episodes(plan, _Alone()))
        dataset = minari.load_dataset("dwcp/test-v0")
        assert (dataset.total_episodes, dataset.total_steps) == (3, 45)
        env = dataset.recover_environment().unwrapped
        assert isinstance(env, Compression)
        for seed, played in enumerate(dataset):
            seen, _ = env.reset(options={"scenario": "dwcp-high-latency", "episode_seed": seed})
            for step, action in enumerate(played.actions):
                np.testing.assert_allclose(played.observations[step], seen, atol=1e-6)
                seen, reward, terminated, truncated, _ = env.step(action)
                assert played.rewards[step] == pytest.approx(reward, abs=1e-6)
                assert (played.terminations[step], played.truncations[step]) == (terminated, truncated)
            assert played.infos["continued_s"].shape == (16, 3)
            assert np.isnan(played.infos["one_step_s"][-1]).all()

    def test_a_scenario_of_ones_own_is_written_without_a_recipe_for_its_environment(
        self, datasets, plan, episodes
    ):
        import minari

        write_minari("own-v0", plan, episodes)
        dataset = minari.load_dataset("own-v0")
        assert dataset.env_spec is None and dataset.total_steps == 6 * (9 + 15)

    def test_a_name_that_is_taken_or_no_id_is_refused(self, datasets, plan, episodes):
        with pytest.raises(InputError, match="expected a Minari id such as"):
            check_minari("not an id")
        check_minari("own-v0")
        write_minari("own-v0", plan, episodes)
        with pytest.raises(InputError, match="this Minari dataset exists"):
            check_minari("own-v0")
