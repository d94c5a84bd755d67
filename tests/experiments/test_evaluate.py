"""What evaluation writes down: figures of an episode by hand, and frames of a true run that hold together."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from agents.catalogue import make_policy
from agents.lookahead import Lookahead
from agents.play import play
from experiments.config import ExperimentConfig
from experiments.evaluate import episode_row
from experiments.evidence import METRICS, read_evidence
from experiments.splits import Place, episodes_of
from experiments.train import best_training, trained_policy
from sim.randomness import stream
from sim.settings import load
from sim.telemetry import TransferRecord


@pytest.fixture(scope="module")
def config(tiny_config) -> ExperimentConfig:
    return load(tiny_config, ExperimentConfig)


@pytest.fixture(scope="module")
def evidence_of_run(finished):
    return read_evidence(finished / "tiny" / "latest")


@pytest.fixture(scope="module")
def episodes(evidence_of_run) -> pd.DataFrame:
    return evidence_of_run.episodes


def _record(**known) -> TransferRecord:
    return TransferRecord(**(dict.fromkeys(TransferRecord._fields, 0.0) | known))


def test_figures_of_two_transfers_are_those_worked_out_by_hand():
    mb = 1e6
    first = _record(arrival_s=1, end_s=3, deadline_s=2.5, priority=3, size_bytes=8 * mb, wire_bytes=2 * mb)
    second = _record(
        arrival_s=2, end_s=6, deadline_s=np.inf, priority=1, size_bytes=8 * mb, wire_bytes=8 * mb
    )
    scenario = SimpleNamespace(cpu_price=0.5, late_price=2.0)
    world = SimpleNamespace(
        records=[first, second], episode=SimpleNamespace(scenario=scenario), cost=12.5, cpu_s=3.0
    )
    row = episode_row(world)
    assert row == pytest.approx(
        {
            "cost_s": 12.5,  # 3 * 2 + 1 * 4 waiting, 0.5 * 3 cores, 2 * 0.5 lateness
            "completion_cost_s": 10.0,
            "cpu_cost_s": 1.5,
            "late_cost_s": 1.0,
            "cpu_s": 3.0,
            "late_s": 0.5,
            "completion_mean_s": 3.0,
            "completion_p50_s": 3.0,
            "completion_p95_s": 3.9,
            "completion_p99_s": 3.98,
            "missed_share": 1.0,  # of the one with a deadline
            "wire_bytes": 10 * mb,
            "raw_bytes": 16 * mb,
            "makespan_s": 5.0,
            "throughput_mbps": 16 * 8 / 5,
            "goodput_mbps": 16 * 8 / (2 + 4),
            "jain": (4 + 2) ** 2 / (2 * (4**2 + 2**2)),  # paces of 4 and 2 MB/s
        }
    )


def test_without_deadlines_none_is_missed():
    scenario = SimpleNamespace(cpu_price=0.0, late_price=1.0)
    one = _record(end_s=2, deadline_s=np.inf, size_bytes=1.0)
    row = episode_row(
        SimpleNamespace(records=[one], episode=SimpleNamespace(scenario=scenario), cost=0, cpu_s=0)
    )
    assert (row["missed_share"], row["late_s"]) == (0.0, 0.0)


def test_every_policy_and_seed_meets_the_same_episodes(episodes):
    whole = episodes[~episodes["kind"].isin(["lookahead", "search"])]
    keys = ["scenario", "split", "episode"]
    met = {
        who: set(map(tuple, rows[keys].to_numpy()))
        for who, rows in whole.groupby(["policy", "training_seed"])
    }
    assert len(met) == 8 + 3
    assert len({frozenset(one) for one in met.values()}) == 1
    assert not whole.duplicated([*keys, "policy", "training_seed"]).any()
    counts = whole[whole["policy"] == "zstd"].groupby(["scenario", "split"]).size().to_dict()
    assert counts == {("metro", "validation"): 2, ("metro", "test"): 3, ("lossy", "held-out"): 3}


def test_cost_is_the_sum_of_its_parts(episodes):
    parts = episodes["completion_cost_s"] + episodes["cpu_cost_s"] + episodes["late_cost_s"]
    np.testing.assert_allclose(episodes["cost_s"], parts, rtol=1e-9)
    assert set(METRICS) <= set(episodes)
    assert (episodes["decisions"] == 16).all()


def test_raw_bytes_do_not_depend_on_the_policy_but_wire_bytes_do(episodes):
    same = episodes.groupby(["scenario", "split", "episode"])
    assert (same["raw_bytes"].nunique() == 1).all()
    assert (same["wire_bytes"].nunique() > 1).all()
    none = episodes[episodes["policy"] == "none"]
    np.testing.assert_allclose(none["wire_bytes"], none["raw_bytes"])


def test_the_one_step_oracle_agrees_with_itself_alone(episodes, evidence_of_run):
    tested = episodes[episodes["split"] != "validation"]
    agreement = tested.groupby("policy")["agreement"].mean()
    assert agreement["one_step_oracle"] == 1.0
    assert episodes.loc[episodes["split"] == "validation", "agreement"].isna().all()
    decisions = evidence_of_run.decisions
    own = decisions[decisions["policy"] == "hde"]
    assert set(own["action"]) == {"hde"}
    share = (own["action"] == own["oracle_action"]).groupby(own["episode"]).mean()
    recorded = tested[(tested["policy"] == "hde") & (tested["split"] == "test")].set_index("episode")[
        "agreement"
    ]
    np.testing.assert_allclose(share.sort_index(), recorded.sort_index())


def test_decisions_of_the_test_are_all_there_in_order(evidence_of_run):
    decisions = evidence_of_run.decisions
    assert set(decisions["scenario"]) == {"metro"}
    for _, own in decisions.groupby(["policy", "training_seed", "episode"]):
        assert own["step"].tolist() == list(range(16))


def test_the_best_found_answers_cost_no_more_than_any_policy_they_began_from(episodes):
    found = episodes[episodes["policy"] == "best_found"].set_index(["scenario", "split", "episode"])["cost_s"]
    assert list(found.index) == [("metro", "test", 0)]
    began = episodes[~episodes["policy"].isin(["best_found", "ensemble", "nn19"])]
    began = began[began["kind"] != "lookahead"]
    began = began[began["training_seed"] <= 0].set_index(["scenario", "split", "episode"])["cost_s"]
    assert found.iloc[0] <= began.loc[found.index].min() * (1 + 1e-9)


def test_the_training_that_is_best_on_validation_looks_ahead_as_who_plays_it_by_hand(
    episodes, config, finished
):
    run = (finished / "tiny" / "latest").resolve()
    learner, seed = best_training(run, config)
    curves = pd.concat(pd.read_csv(path) for path in run.rglob("curves.csv"))
    least = curves.loc[curves["validation_cost"] == curves["validation_cost"].min()]
    assert (learner, seed) in set(zip(least["policy"], least["training_seed"], strict=True))
    (row,) = episodes[episodes["kind"] == "lookahead"].to_dict("records")
    assert (row["policy"], row["scenario"], row["split"], row["episode"]) == (
        f"{learner}_ahead", "metro", "test", 0,
    )  # fmt: skip
    place = Place("metro", "test", 0)
    env, base = episodes_of(config).make_env(), trained_policy(run, config, learner, seed)
    ahead = Lookahead(env, base, 2, stream(config.seed, "look ahead metro 0"), believes=True)
    assert play(env, episodes_of(config).draw(place), ahead).cost == row["cost_s"]


@pytest.mark.parametrize("name", ["zstd", "estimate", "nn19", "dqn"])
def test_a_row_is_what_playing_the_episode_again_gives(episodes, config, finished, name):
    place = Place("lossy", "held-out", 1)
    drawn, env = episodes_of(config).draw(place), episodes_of(config).make_env()
    run = (finished / "tiny" / "latest").resolve()
    seed = 0 if name == "dqn" else -1
    policy = trained_policy(run, config, name, seed) if name in ("nn19", "dqn") else make_policy(name, env)
    rows = episodes[(episodes["policy"] == name) & (episodes["scenario"] == "lossy")]
    assert play(env, drawn, policy).cost == rows.set_index("episode")["cost_s"][1]
