"""The summary of a run against a run worked out by hand."""

import json
from io import StringIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from experiments.evidence import Evidence, cells, read_evidence
from experiments.headline import headline_renderables, headline_table
from experiments.summary import build_summary
from sim.errors import InputError
from sim.files import write_parquet


def summarise(evidence: Evidence) -> dict[str, list[dict]]:
    rng = np.random.default_rng(7)
    return build_summary(evidence.episodes, evidence.decisions, rng=rng, resamples=200)


def value(summary, metric, policy, scenario, split="test"):
    key = {"metric": metric, "policy": policy, "scenario": scenario, "split": split}
    (row,) = [row for row in summary["rows"] if key.items() <= row.items()]
    return row["value"]


def pair(summary, policy, against, scenario, metric="cost_s"):
    key = {"policy": policy, "against": against, "scenario": scenario, "metric": metric}
    (row,) = [row for row in summary["paired"] if key.items() <= row.items()]
    return row


def test_the_best_static_policy_is_chosen_on_validation_even_where_the_test_would_choose_another(evidence):
    chosen = [row for row in summarise(evidence)["rows"] if row["metric"] == "best_static"]
    assert {(row["scenario"], row["policy"], row["split"]) for row in chosen} == {
        ("wan", "zstd", "validation"),
        ("lan", "hde", "validation"),
    }


def test_a_held_out_scenario_is_set_against_the_best_static_policy_in_hindsight(evidence):
    frame = evidence.episodes
    held_out = frame[(frame["scenario"] == "wan") & (frame["split"] == "test")].assign(
        split="held-out", scenario="new"
    )
    summary = summarise(evidence._replace(episodes=pd.concat([frame, held_out])))
    (row,) = [r for r in summary["rows"] if r["metric"] == "best_static" and r["scenario"] == "new"]
    assert (row["policy"], row["split"]) == ("hde", "held-out")


def test_paired_differences_are_the_ratios_of_the_factors(evidence):
    summary = summarise(evidence)
    assert pair(summary, "ppo", "best_static", "wan")["difference"] == pytest.approx(0.7 / 1.0 - 1)
    assert pair(summary, "ppo", "one_step_oracle", "wan")["difference"] == pytest.approx(0.7 / 0.8 - 1)
    assert pair(summary, "ppo", "ensemble", "wan")["difference"] == pytest.approx(0.7 / 0.9 - 1)
    assert pair(summary, "ppo", "best_static", "all")["difference"] == pytest.approx((0.7 * 1.1) ** 0.5 - 1)
    assert pair(summary, "ppo", "best_static", "wan")["probability_of_improvement"] == pytest.approx(1.0)


def test_an_interval_has_no_width_where_every_episode_says_the_same(evidence):
    row = pair(summarise(evidence), "one_step_oracle", "best_static", "wan")
    assert row["low"] == pytest.approx(-0.2) and row["high"] == pytest.approx(-0.2)


def test_no_policy_is_set_against_itself(evidence):
    paired = summarise(evidence)["paired"]
    assert not [row for row in paired if row["policy"] == row["against"]]
    assert not [
        row
        for row in paired
        if (row["policy"], row["scenario"]) == ("zstd", "wan") and row["against"] == "best_static"
    ]


def with_plain(evidence: Evidence, factor: dict[str, float]) -> Evidence:
    """Every policy's goodput is so many times that of a policy called plain; the bound has none."""
    frame = evidence.episodes
    plain = frame[frame["policy"] == "hde"].assign(policy="plain")
    frame = pd.concat([frame, plain])
    base = 100.0 + frame["episode"] % 100
    frame["goodput_mbps"] = base * frame["policy"].map(factor)
    return evidence._replace(episodes=frame)


def test_goodput_is_set_against_plain_and_more_of_it_is_an_improvement(evidence):
    given = with_plain(evidence, {"plain": 1.0, "ppo": 1.25, "zstd": 1.1, "hde": 0.9})
    summary = build_summary(
        given.episodes, given.decisions, rng=np.random.default_rng(7), resamples=200, against=["plain"]
    )
    for scenario in ("wan", "lan", "all"):
        row = pair(summary, "ppo", "plain", scenario, "goodput_mbps")
        assert row["difference"] == pytest.approx(0.25) and row["low"] == pytest.approx(0.25)
        assert row["probability_of_improvement"] == pytest.approx(1.0)
        assert value(summary, "goodput_goal_met", "ppo", scenario) == 1
        assert value(summary, "goodput_goal_met", "zstd", scenario) == 0
    assert pair(summary, "hde", "plain", "wan", "goodput_mbps")["probability_of_improvement"] == 0.0
    told = [r for r in summary["paired"] if r["metric"] == "goodput_mbps"]
    assert "best_found" not in {row["policy"] for row in told}  # it has no goodput here: NaN is left out


def test_a_comparison_of_goodput_changes_no_interval_of_a_cost(evidence):
    frame = evidence.episodes.assign(goodput_mbps=np.nan)
    without = summarise(evidence._replace(episodes=frame))["paired"]
    assert without == [row for row in summarise(evidence)["paired"] if row["metric"] == "cost_s"]


def test_best_found_is_compared_on_the_episodes_that_were_searched(evidence):
    frame = evidence.episodes
    unsearched = (frame["policy"] == "zstd") & (frame["episode"] > 202)
    frame.loc[unsearched, "cost_s"] *= 50
    summary = summarise(evidence)
    assert value(summary, "headroom", "best_found", "wan") == pytest.approx(0.5)
    assert pair(summary, "best_found", "best_static", "wan")["difference"] == pytest.approx(-0.5)
    assert value(summary, "searched_cost_s", "zstd", "wan") == pytest.approx((100 + 110 + 120) / 3)


def test_the_share_of_the_headroom_is_what_is_saved_over_what_could_be(evidence):
    summary = summarise(evidence)
    assert value(summary, "headroom_won", "ppo", "wan") == pytest.approx((1.0 - 0.7) / (1.0 - 0.5))
    assert value(summary, "headroom_won", "one_step_oracle", "wan") == pytest.approx(0.4)
    assert value(summary, "headroom_won", "ppo", "lan") == pytest.approx((1.0 - 1.1) / (1.0 - 0.98))


def _with_bound(evidence: Evidence) -> Evidence:
    """With a bound of 0.4 times the cost of zstd, on two of the test episodes of one scenario."""
    frame = evidence.episodes
    place = (frame["policy"] == "zstd") & (frame["scenario"] == "wan") & frame["episode"].isin([200, 202])
    rows = frame[place].assign(policy="bound", kind="bound", cost_s=0.4 * frame["cost_s"])
    return evidence._replace(episodes=pd.concat([frame, rows]))


def test_the_gap_to_the_bound_is_shared_out_on_the_episodes_that_have_one(evidence):
    frame = evidence.episodes
    frame.loc[(frame["policy"] == "zstd") & frame["episode"].isin([201, 203, 204, 205]), "cost_s"] *= 50
    summary = summarise(_with_bound(evidence))
    assert value(summary, "bound_gap", "bound", "wan") == pytest.approx(0.6)
    assert value(summary, "gap_closed", "ppo", "wan") == pytest.approx((1.0 - 0.7) / (1.0 - 0.4))
    assert value(summary, "gap_closed", "one_step_oracle", "wan") == pytest.approx((1.0 - 0.8) / 0.6)
    assert pair(summary, "bound", "best_static", "wan")["difference"] == pytest.approx(-0.6)
    assert "zstd" not in {row["policy"] for row in summary["rows"] if row["metric"] == "gap_closed"}


def test_a_bound_changes_nothing_else(evidence):
    without, with_it = summarise(evidence), summarise(_with_bound(evidence))
    for part in ("rows", "paired"):
        kept = [row for row in with_it[part] if row["policy"] != "bound"]
        assert [row for row in kept if row.get("metric") != "gap_closed"] == without[part]


def test_decisions_without_an_oracle_count_for_no_agreement(evidence):
    unasked = evidence.decisions.assign(oracle_action="")
    summary = summarise(evidence._replace(decisions=unasked))
    assert not [row for row in summary["rows"] if row["metric"].startswith(("accuracy", "f1", "majority"))]


def test_a_scenario_within_three_percent_is_labelled(evidence):
    summary = summarise(evidence)
    assert value(summary, "nothing_to_learn", "best_found", "lan") == 1.0
    assert value(summary, "nothing_to_learn", "best_found", "wan") == 0.0


def test_agreement_is_given_beside_the_majority_and_by_class(evidence):
    summary = summarise(evidence)
    assert value(summary, "accuracy", "ppo", "wan") == 0.75
    assert value(summary, "majority", "ppo", "wan") == 0.75
    assert value(summary, "f1/hde", "ppo", "wan") == pytest.approx(0.8)
    assert value(summary, "f1/zstd", "ppo", "wan") == pytest.approx(2 / 3)
    assert value(summary, "f1_macro", "ppo", "all") == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_parts_of_a_cost_add_up_to_it(evidence):
    summary = summarise(evidence)
    parts = [value(summary, metric, "ppo", "wan") for metric in ("completion_cost_s", "cpu_cost_s")]
    assert sum(parts) == pytest.approx(value(summary, "cost_s", "ppo", "wan")) == pytest.approx(0.7 * 125)


def test_what_is_not_known_is_left_out_of_the_json(evidence):
    summary = summarise(evidence)
    json.dumps(summary, allow_nan=False)
    assert not [r for r in summary["rows"] if r["metric"] == "agreement" and r["policy"] == "best_found"]


def test_the_same_generator_gives_the_same_summary_whatever_the_order_of_rows(evidence):
    shuffled = evidence.episodes.sample(frac=1, random_state=np.random.default_rng(1))
    again = summarise(evidence._replace(episodes=shuffled))
    first = {json.dumps(row, sort_keys=True) for row in summarise(evidence)["paired"]}
    assert {json.dumps(row, sort_keys=True) for row in again["paired"] if row["scenario"] != "all"} <= first


def test_one_policy_more_changes_no_interval_of_the_others(evidence):
    without = evidence._replace(episodes=evidence.episodes[evidence.episodes["policy"] != "ensemble"])
    assert pair(summarise(without), "ppo", "best_static", "wan") == pair(
        summarise(evidence), "ppo", "best_static", "wan"
    )


def test_a_missing_episode_is_refused(evidence):
    with pytest.raises(ValueError, match="the same episodes from each training seed of ppo on wan"):
        cells(evidence.episodes.drop(evidence.episodes.query("policy == 'ppo'").index[0]))


def test_the_headline_fits_120_characters_with_fifteen_long_names(evidence):
    frame = evidence.episodes
    many = [frame[frame["scenario"] == "wan"].assign(scenario=f"flash-crowd-{n:02d}") for n in range(15)]
    tables = headline_renderables(headline_table(summarise(evidence._replace(episodes=pd.concat(many)))))
    console = Console(width=120, record=True, file=StringIO())
    for table in tables:
        assert console.measure(table).minimum <= 120
        console.print(table)
    text = console.export_text()
    assert text.count("flash-crowd-") == 15 and "…" not in text


def test_the_headline_stands_at_100_for_the_best_static_policy(evidence):
    lines = {(line.policy, line.scenario): line for line in headline_table(summarise(evidence))}
    assert lines["zstd", "wan"].percent == 100.0
    assert lines["ppo", "wan"].percent == pytest.approx(70.0)
    assert lines["ppo", "wan"].best_static == "zstd"
    assert lines["hde", "wan"].percent == pytest.approx(95.0)


def test_a_run_is_read_from_its_files(evidence, tmp_path):
    write_parquet(tmp_path / "episodes.parquet", pa.Table.from_pandas(evidence.episodes))
    write_parquet(tmp_path / "decisions.parquet", pa.Table.from_pandas(evidence.decisions))
    (tmp_path / "ppo").mkdir()
    evidence.curves.to_csv(tmp_path / "ppo" / "curves.csv", index=False)
    assert summarise(read_evidence(tmp_path)) == summarise(evidence)


def test_a_missing_or_broken_table_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"episodes\.parquet: is missing; run `dwcp-gym evaluate`"):
        read_evidence(tmp_path)
    (tmp_path / "episodes.parquet").write_text("not parquet")
    with pytest.raises(InputError, match=r"episodes\.parquet: expected a table, got"):
        read_evidence(tmp_path)
    pd.DataFrame({"policy": ["ppo"]}).to_parquet(tmp_path / "episodes.parquet")
    with pytest.raises(InputError, match="expected the columns kind, training_seed"):
        read_evidence(tmp_path)
