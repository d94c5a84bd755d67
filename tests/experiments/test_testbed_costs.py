"""Costs of real plays: the interval against the best codec, what the host takes, the sample of episodes."""

import numpy as np
import pandas as pd
import pytest

from experiments.testbed_episodes import episode_config, episode_errors, episodes_report, episodes_table
from experiments.testbed_host import SIMULATED, HostFit, Stack, fit_stack, told_cost
from experiments.testbed_paired import paired, paired_table, read_plays
from experiments.testbed_simulated import Setup
from sim.errors import InputError


def plays(costs: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"policy": policy, "seed": seed, "cost_s": cost, "simulated_cost_s": cost, "completion_s": 1.0}
        for policy, of_policy in costs.items()
        for seed, cost in enumerate(of_policy)
    ]
    return pd.DataFrame(rows)


def test_a_policy_that_always_saves_a_tenth_has_an_interval_below_zero():
    hde = [10.0, 20.0, 30.0, 12.0]
    found = paired(plays({"hde": hde, "zstd": [50.0] * 4, "bundles-ppo": [0.9 * cost for cost in hde]}))
    first, second = found
    assert (first.policy, first.against, first.episodes) == ("bundles-ppo", "hde", 4)
    assert first.difference == pytest.approx(-0.1) and first.low == pytest.approx(first.high)
    assert first.high < 0 < second.low
    assert paired_table(found).row_count == 2


def test_two_episodes_give_no_interval_and_policies_without_a_codec_no_comparison():
    assert np.isnan(paired(plays({"hde": [1.0, 2.0], "estimate": [1.0, 3.0]}))[0].low)
    assert paired(plays({"estimate": [1.0, 3.0]})) == []


def test_a_torn_file_of_plays_is_named(tmp_path):
    (tmp_path / "plays.parquet").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"plays\.parquet: is torn or foreign"):
        read_plays(tmp_path)


def test_constants_of_a_host_are_found_again_in_rows_that_follow_them():
    rng = np.random.default_rng(0)
    truth = Stack(0.002, 0.0005, 8e-9, 0.02)
    rows = pd.DataFrame({"streams": rng.choice([1, 4, 16], 60), "wire_bytes": 10 ** rng.uniform(4, 7, 60)})
    rows["real_s"] = rows["wire_bytes"] / 10 ** rng.uniform(6, 8, 60) + 0.05
    rows["stack_cpu_s"] = [truth.seconds(1, *one) for one in rows.itertuples(index=False)]
    found = fit_stack(rows)
    assert found is not None and found.off < 1e-3
    assert found.stack == pytest.approx(truth, rel=0.02)
    assert fit_stack(rows.head(10)) is None


def real() -> pd.DataFrame:
    one = {
        "policy": "hde", "transfers": 10, "cost_s": 20.0, "simulated_cost_s": 17.0, "simulated_streams": 10.0,
        "simulated_wire_bytes": 1e8, "simulated_moving_s": 30.0, "cpu_price": 0.5, "priorities": 20.0,
        "waited_s": 1.0,
    }  # fmt: skip
    return pd.DataFrame([one, {**one, "waited_s": 9.0}])


def test_what_the_host_takes_is_priced_as_cpu_and_as_seconds_of_each_transfer():
    stack = SIMULATED._replace(byte_s=SIMULATED.byte_s + 1e-8)  # a second of CPU more for 100 MB
    told = told_cost(real(), stack, Setup(transfer_s=0.01, stream_s=0.005))
    assert told.tolist() == pytest.approx([17.0 + 0.5 * 1.0 + 20.0 * 0.015] * 2)


def test_plays_that_waited_for_cores_are_told_apart():
    host = HostFit(SIMULATED, 50, 0.1)
    errors = episode_errors(real(), host, Setup(0.0, 0.0))
    assert errors["calm"].tolist() == [True, False]
    assert errors["told_error"].tolist() == pytest.approx([-0.15, -0.15])
    assert episodes_table(errors).row_count == 4
    assert "| calm | 1 | -15.0% | 15.0% | 15.0% | -15.0% |" in episodes_report(errors, host)


def test_the_sample_of_episodes_is_the_same_for_the_same_seed_and_another_for_another():
    first = [episode_config(3, number, 1.0) for number in range(8)]
    assert first == [episode_config(3, number, 1.0) for number in range(8)]
    assert len({one.path for one in first}) > 2
    assert {one.seeds for one in first}.isdisjoint(one.seeds for one in [episode_config(4, 0, 1.0)])
