"""Features of links and nodes: no look-ahead, each link by itself, values worked by hand, split and files."""

import json

import numpy as np
import pandas as pd
import pytest

from agents.supervised.feature_tables import quality, read_features, split, write_features
from agents.supervised.feature_windows import correlation, entropy, filled, robust_score, rolled, slope
from agents.supervised.features import Pipeline, canonical, temporal
from agents.supervised.link_features import LINKS
from agents.supervised.node_features import NODES
from sim.errors import InputError


def telemetry(pipeline: Pipeline, minutes: int = 150, entities: int = 3, seed: int = 0) -> pd.DataFrame:
    """Made-up telemetry with a day that turns at minute 60."""
    rng = np.random.default_rng(seed)
    parts = []
    for entity in range(entities):
        minute = np.arange(minutes)
        part = {
            pipeline.entity: np.full(minutes, entity),
            "time_s": 60.0 * (minute + 1),
            "hour": (23 + minute / 60) % 24,
            "day": ((23 * 60 + minute) // 1440).astype(int),
        }
        for one in pipeline.measured:
            shape = rng.uniform(0.2, 0.8, minutes)
            most = min(one.high, 100.0)
            part[one.source] = (one.low + shape * (most - one.low)) * one.scale
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("pipeline", [LINKS, NODES], ids=["links", "nodes"])
class TestEveryPipeline:
    def test_declares_a_hundred_features_each_once_with_unit_range_window_and_stage(self, pipeline):
        assert len(set(pipeline.names)) == len(pipeline.columns) >= 100
        assert all(one.low < one.high and one.window >= 1 and one.about for one in pipeline.columns)
        assert {one.stage for one in pipeline.columns} >= {"canonical", "temporal", "cross", "anomaly"}

    def test_keeps_every_value_in_its_declared_range(self, pipeline):
        found = pipeline.compute(telemetry(pipeline))
        for one in pipeline.columns:
            known = found[one.name].dropna()
            assert len(known) and known.between(one.low, one.high).all(), one.name

    def test_does_not_change_what_it_said_when_the_future_comes(self, pipeline):
        table = telemetry(pipeline)
        rng = np.random.default_rng(1)
        for minute in (3, 40, 61, 100):
            past = table["time_s"] <= 60.0 * minute
            other = table.copy()
            sources = [one.source for one in pipeline.measured]
            scrambled = rng.permuted(table.loc[~past, sources].to_numpy(), axis=0)
            other.loc[~past, sources] = scrambled
            then = pipeline.compute(table[past])
            for future in (pipeline.compute(table), pipeline.compute(other)):
                seen = future[future["time_s"] <= 60.0 * minute].reset_index(drop=True)
                pd.testing.assert_frame_equal(then, seen, check_exact=True)

    def test_reads_no_further_back_than_its_window(self, pipeline):
        table = telemetry(pipeline, entities=1)
        whole, tail = pipeline.compute(table), pipeline.compute(table.iloc[20:])
        for one in pipeline.columns:
            if one.name == "staleness_min":
                continue
            reach = one.window + (10 if one.window < 60 else 90)  # a window of windows reaches further
            last = slice(20 + reach, None)
            np.testing.assert_allclose(
                whole[one.name].to_numpy()[last],
                tail[one.name].to_numpy()[last.start - 20 :],
                rtol=1e-6,
                atol=1e-6 * (abs(whole[one.name].max()) + 1),
                err_msg=one.name,
            )

    def test_computes_each_link_or_node_as_if_it_were_alone(self, pipeline):
        table = telemetry(pipeline)
        together = pipeline.compute(table.sample(frac=1.0, random_state=0))
        for number in range(3):
            alone = pipeline.compute(table[table[pipeline.entity] == number])
            mine = together[together[pipeline.entity] == number].reset_index(drop=True)
            pd.testing.assert_frame_equal(alone, mine, check_exact=True)


def test_missing_minutes_are_held_for_ten_minutes_and_counted_as_stale():
    table = telemetry(LINKS, entities=1)
    gap = (table["time_s"] > 60.0 * 100) & (table["time_s"] <= 60.0 * 115)
    found = LINKS.compute(table[~gap])
    assert len(found) == 150
    assert found["rtt_ms"][109] == found["rtt_ms"][99]
    assert np.isnan(found["rtt_ms"][110])
    assert found["staleness_min"][114] == 15
    assert found["staleness_min"][115] == 0


def test_impossible_values_count_as_missing():
    table = telemetry(LINKS, entities=1)
    table.loc[50, "loss"] = -1.0
    found = LINKS.compute(table)
    assert found["loss"][50] == found["loss"][49]


def test_windows_say_what_one_works_out_by_hand():
    values = np.array([1.0, 2.0, 6.0, 3.0])
    assert rolled(values, 2, "mean").tolist() == [1.0, 1.5, 4.0, 4.5]
    assert rolled(values, 3, "max").tolist() == [1.0, 2.0, 6.0, 6.0]
    np.testing.assert_allclose(rolled(values, 2, "std"), [0.0, 0.5, 2.0, 1.5])
    np.testing.assert_allclose(slope(values, 4)[-1], (-1.5 * 1 - 0.5 * 2 + 0.5 * 6 + 1.5 * 3) / 5)
    assert filled(np.array([np.nan, 1.0, np.nan, np.nan]), 1)[2:].tolist()[0] == 1.0
    np.testing.assert_allclose(correlation(values, -values, 3)[-1], -1.0)
    assert correlation(values, np.ones(4), 3)[-1] == 0.0


def test_a_robust_score_of_normal_noise_has_a_deviation_of_about_one():
    noise = np.random.default_rng(0).normal(5.0, 3.0, 5000)
    assert 0.9 < robust_score(noise, 60, 20.0)[100:].std() < 1.2


def test_entropy_is_one_for_noise_and_none_for_a_straight_line():
    noise = np.random.default_rng(0).normal(size=3000)
    assert entropy(noise, 1, 2000)[-1] > 0.99
    assert entropy(np.arange(200.0), 1, 60)[-1] == 0.0


def test_a_split_gives_each_part_links_and_days_of_its_own():
    table = pd.DataFrame({"link": np.repeat(np.arange(10), 20), "day": np.tile(np.arange(20), 10)})
    part = split(table, "link", np.random.default_rng(0))
    links = {name: set(table["link"][part == name]) for name in ("train", "validation", "test")}
    days = {name: set(table["day"][part == name]) for name in ("train", "validation", "test")}
    for of in (links, days):
        assert of["train"] and of["validation"] and of["test"]
        assert not of["train"] & of["test"] and not of["validation"] & (of["train"] | of["test"])
    assert max(days["train"]) < min(days["validation"]) <= max(days["validation"]) < min(days["test"])


def test_a_split_of_two_links_is_refused():
    table = pd.DataFrame({"link": [0, 1], "day": [0, 1]})
    with pytest.raises(ValueError, match="at least 3 links, got 2"):
        split(table, "link", np.random.default_rng(0))


def test_the_quality_report_counts_what_was_planted():
    table = telemetry(LINKS, entities=2)
    table.loc[5, "loss"] = 1.5
    table.loc[6, "rtt_s"] = np.nan
    table = pd.concat([table.drop(index=[10, 11]), table.iloc[[20]]], ignore_index=True)
    told = quality(table, LINKS, labels=np.where(table["link"] == 0, "quiet", "drop"))
    assert (told.rows, told.minutes, told.absent, told.duplicates) == (299, 300, 2, 1)
    by_name = told.columns.set_index("quantity")
    assert by_name.loc["rtt_ms", "missing"] == pytest.approx(1 / 299)
    assert by_name.loc["loss", "out_of_range"] == pytest.approx(1 / 299)
    assert told.labels == {"drop": 150, "quiet": 149}
    assert "| quiet | 149 |" in told.markdown()


def test_features_are_written_as_parquet_and_csv_with_what_they_mean(tmp_path):
    found = LINKS.compute(telemetry(LINKS, minutes=70, entities=1))
    parquet, csv, metadata = write_features(found, LINKS, tmp_path, about={"seed": 0})
    pd.testing.assert_frame_equal(read_features(tmp_path, LINKS), found)
    np.testing.assert_allclose(pd.read_csv(csv)["rtt_ms_std60"], found["rtt_ms_std60"])
    told = json.loads(metadata.read_text("utf-8"))
    assert [one["name"] for one in told["features"]] == list(LINKS.names)
    assert told["about"] == {"seed": 0}
    parquet.write_bytes(parquet.read_bytes()[:-1])
    with pytest.raises(InputError, match="write it anew"):
        read_features(tmp_path, LINKS)


def test_features_of_another_pipeline_are_refused(tmp_path):
    few = Pipeline("link", LINKS.measured, [*canonical(LINKS.measured), *temporal(LINKS.measured)])
    write_features(few.compute(telemetry(LINKS, minutes=5, entities=1)), few, tmp_path)
    with pytest.raises(InputError, match="other features"):
        read_features(tmp_path, LINKS)


def test_telemetry_without_a_column_is_refused_by_its_name():
    with pytest.raises(ValueError, match="lacks rtt_s"):
        LINKS.compute(telemetry(LINKS).drop(columns="rtt_s"))
