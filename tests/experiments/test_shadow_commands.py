"""What one types and sees: rules become bundles, bundles are looked at, logs are played and replayed."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from agents.catalogue import make_policy
from agents.play import play
from envs.compression import Compression
from envs.scheduling import Scheduling
from experiments.bundles import rule_bundle
from experiments.shadow import commands
from experiments.shadow.bundle import BundlePolicy, open_bundle
from experiments.shadow.explore import log_decisions
from experiments.shadow.rule_graphs import rule_names
from sim.catalogue import find_scenario
from sim.episode import draw_episode
from sim.errors import InputError

SITE = find_scenario("metro").with_(requests=24)
ENV = Compression(SITE)


@pytest.fixture
def say(say, monkeypatch):
    """Runs a command in this process: exit code, what it printed on a wide screen, what it complained of."""

    def run(*words):
        monkeypatch.setattr(commands, "console", Console(width=160))
        code, printed, complaints = say(*words)
        return code, printed, "".join(f"{line}\n" for line in complaints)

    return run


@pytest.fixture(scope="session")
def rules(once):
    """Bundles of two rules and of a codec for the same question, and of an order for another."""

    def make(folder):
        for name in ("estimate", "contention", "hde"):
            rule_bundle(folder / f"{name}.zip", name, ENV, range(6), 100)
        rule_bundle(folder / "wspt", "wspt", Scheduling(SITE.with_(slots=2)), range(4), 60)

    return once("rules", make)


def test_a_rule_plays_an_episode_as_its_bundle_does(rules):
    for name, env in (("contention", ENV), ("hde", ENV), ("wspt", Scheduling(SITE.with_(slots=2)))):
        episode = draw_episode(env.scenarios[0], 77)
        path = rules / name if (rules / name).exists() else rules / f"{name}.zip"
        bundle = open_bundle(path, env.features.names)
        assert bundle.parity.equal == bundle.parity.rows and bundle.manifest["kind"] in ("rule", "static")
        by_bundle = play(env, episode, BundlePolicy(bundle, env.features)).cost
        assert by_bundle == play(env, episode, make_policy(name, env)).cost


def test_a_rule_that_no_graph_can_say_is_refused_with_those_that_can_be(tmp_path):
    assert {"none", "zstd", "hde", "amst", "dwcp_rule", "mode_rule"} <= set(rule_names(ENV))
    with pytest.raises(InputError, match="estimat: is no rule that can be a bundle; did you mean 'estimate'"):
        rule_bundle(tmp_path / "x.zip", "estimat", ENV, range(1), 10)


def test_verify_show_diff_pack_and_loader_print_what_they_found(rules, tmp_path, say):
    paths = [rules / "estimate.zip", rules / "wspt"]
    code, printed, complaints = say("bundle", "verify", *paths)
    assert (code, complaints) == (0, "") and "estimate: 100 parity rows, 100 equal, 0 ties" in printed
    _, printed, _ = say("bundle", "show", rules / "estimate.zip")
    assert "estimate (rule)" in printed and "Apache-2.0" in printed and "bandwidth_mbps" in printed
    _, printed, _ = say("bundle", "diff", rules / "estimate.zip", rules / "contention.zip")
    assert "of 200 rows differ" in printed and "name" in printed
    _, printed, _ = say("bundle", "diff", rules / "estimate.zip", rules / "wspt")
    assert "cannot be compared" in printed and "rtt_ms is only in the first" in printed
    code, _, _ = say("bundle", "pack", rules / "wspt", tmp_path / "wspt.zip")
    assert code == 0 and open_bundle(tmp_path / "wspt.zip").manifest == open_bundle(rules / "wspt").manifest
    _, printed, _ = say("bundle", "diff", rules / "wspt", tmp_path / "wspt.zip")
    assert "say and do the same" in printed
    assert say("bundle", "loader", tmp_path / "loader.py")[0] == 0 and (tmp_path / "loader.py").exists()


def test_what_cannot_be_used_is_refused_in_one_line_with_code_2(rules, tmp_path, say):
    (tmp_path / "torn.zip").write_bytes((rules / "estimate.zip").read_bytes()[:3000])
    for words, message in (
        (("bundle", "verify", tmp_path / "torn.zip"), "torn or foreign file"),
        (("bundle", "verify", tmp_path / "none"), "cannot be read: No such file"),
        (("bundle", "pack", rules / "wspt", tmp_path / "wspt.tar"), "a name that ends in .zip"),
        (("bundle", "rule", "wsp", tmp_path / "x", "--only", "metro"), "is no rule that can be a bundle"),
        (("shadow", "log", tmp_path / "log.csv"), "a name that ends in .parquet"),
        (("shadow", "log", tmp_path / "log.parquet", "--policy", "ppo", "--only", "metro"), "unknown policy"),
        (
            ("shadow", "log", tmp_path / "log.parquet", "--task", "joint", "--only", "metro"),
            "--task: expected",
        ),
        (
            ("shadow", "replay", "--bundle", rules / "estimate.zip", "--log", tmp_path / "none.csv"),
            "cannot be read",
        ),
    ):
        code, _, complaints = say(*words)
        assert code == 2 and message in complaints and complaints.count("\n") == 1, words


def test_a_log_holds_what_a_replay_needs_and_is_the_same_every_time(rules, tmp_path, say, monkeypatch):
    words = ("--policy", rules / "estimate.zip", "--explore", "0.4", "--only", "metro", "--episodes", "3")
    code, printed, complaints = say("shadow", "log", tmp_path / "log.parquet", *words)
    assert (code, complaints) == (0, "") and "384 decisions" in printed
    say("shadow", "log", tmp_path / "again.parquet", *words)
    assert (tmp_path / "log.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
    table = pq.read_table(tmp_path / "log.parquet")
    assert table.schema.metadata[b"dwcp-gym decisions policy"] == b"estimate"
    frame = table.to_pandas()
    assert set(np.round(frame["propensity"], 9)) == {0.1, 0.7}  # 0.4 / 4, and 0.6 more
    strays = 1 - frame["propensity"].gt(0.5).mean()
    assert abs(strays - 0.3) < 0.08  # three quarters of 0.4
    assert frame["cost_s"].gt(0).all() and set(frame["oracle"]) <= {"none", "zstd", "hde", "amst"}

    options = ("--bundle", rules / "contention.zip", "--incumbent", rules / "estimate.zip")
    report = tmp_path / "report.json"
    code, printed, complaints = say(
        "shadow", "replay", *options, "--log", tmp_path / "log.parquet", "--json", report
    )
    assert (code, complaints) == (0, "")
    for word in ("as the incumbent", "doubly robust", "effective decisions", "PSI", "of the typical cost"):
        assert word in printed
    found = json.loads(report.read_text())
    assert found["rows"] == 384 and found["groups"] == 3
    assert set(found["gains"]) == {"ips", "snips", "dr"}
    assert found["incumbent"]["agreement"] == pytest.approx(frame["propensity"].gt(0.5).mean())


def test_the_costs_in_a_log_are_those_of_the_transfers(tmp_path):
    episode = draw_episode(SITE, 5)
    table = log_decisions(ENV, [episode], make_policy("zstd", ENV), 0.0, lambda units: None)
    world = play(ENV, episode, make_policy("zstd", ENV))
    assert table["cost_s"].to_numpy().sum() == pytest.approx(world.cost)  # nothing but transfers costs
    assert Counter(table["action"].to_pylist()) == {"zstd": 24}
    assert set(table["propensity"].to_pylist()) == {1.0}


def test_decisions_with_masks_are_logged_with_what_was_allowed(rules):
    env = Scheduling(SITE.with_(slots=2))
    frame = log_decisions(
        env, [draw_episode(env.scenarios[0], 5)], make_policy("fifo", env), 0.5, lambda units: None
    ).to_pandas()
    allowed = frame[[name for name in frame if name.startswith("allowed_")]].to_numpy()
    named = [name.removeprefix("allowed_") for name in frame if name.startswith("allowed_")]
    assert allowed[np.arange(len(frame)), [named.index(one) for one in frame["action"]]].all()
    counts = allowed.sum(axis=1)
    assert np.isin(
        np.round(frame["propensity"], 9), np.round([*(0.5 / counts), *(0.5 + 0.5 / counts)], 9)
    ).all()
    assert frame["cost_s"].isna().all() and "oracle" not in frame


def test_labels_tell_the_true_saving(rules, tmp_path, say):
    labels = tmp_path / "labels.parquet"
    assert say("label", labels, "--only", "metro", "--episodes", "2", "--workers", "1")[0] == 0
    report = tmp_path / "report.json"
    code, printed, _ = say(
        "shadow",
        "replay",
        "--bundle",
        rules / "hde.zip",
        "--log",
        labels,
        "--outcome",
        "continued",
        "--json",
        report,
    )
    assert code == 0 and "never explores" in printed
    frame, found = pd.read_parquet(labels), json.loads(report.read_text())
    taken = [row[f"continued_s_{row['answer']}"] for _, row in frame.iterrows()]
    assert found["gains"]["actual"]["value"] == pytest.approx(1 - frame["continued_s_hde"].sum() / sum(taken))
    assert found["candidate"]["accuracy"] == pytest.approx(
        (frame["best_continued"] == "hde").mean(), abs=0.05
    )
