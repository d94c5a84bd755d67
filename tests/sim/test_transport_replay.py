"""Real TCP transfers, one by one, against the time that `sim.crowding.transfer_time` gives for each."""

from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sim import physics
from sim.crowding import transfer_time
from sim.physics import BBR, CUBIC, GAPS, RENO, TYPICAL, goodput_capacity, stream_time
from sim.randomness import stream
from sim.units import MBIT, MS

MEASUREMENTS = Path(physics.__file__).parent / "calibration" / "transport_measurements.csv.gz"
CODES = {"cubic": CUBIC, "bbr": BBR, "reno": RENO}
UNBOUND_RECEIVE_BUFFER = 64 * 2**20
USABLE_SHARE_OF_BUFFER = 0.55
"""Middle of what Linux gave: 0.50 to 0.61 of tcp_rmem[2]."""


def replay(row: pd.Series) -> float:
    window = inf if row["rmax"] >= UNBOUND_RECEIVE_BUFFER else USABLE_SHARE_OF_BUFFER * row["rmax"]
    return transfer_time(
        float(row["size"]),
        row["rate"] * MBIT,
        row["rtt"] * MS,
        row["loss"],
        int(row["n"]),
        CODES[row["cc"]],
        window,
        float(row["qbytes"]),
        row["m"],
        TYPICAL,
    )


@pytest.fixture(scope="module")
def transfers() -> pd.DataFrame:
    """All transfers with their relative errors; runs over capacity traces are not in the file."""
    rows = pd.read_csv(MEASUREMENTS)
    assert rows["trace"].isna().all()
    rows["m"] = rows["m"].fillna(0.0)
    rows["error"] = [replay(row) for _, row in rows.iterrows()] / rows["T"] - 1.0
    rows["off"] = rows["error"].abs()
    rows["split"] = (rows["dyn"] == 0) & (rows["n"] > 1)
    rows["streams"] = (rows["n"] > 1).map({False: "one", True: "several"})
    rows["lossy"] = rows["loss"] > 0
    return rows


def table(rows: pd.DataFrame) -> str:
    off = rows.groupby(["exp", "cc", "streams", "lossy"])["off"]
    columns = {"transfers": off.size(), "median": off.median(), "p90": off.quantile(0.9), "worst": off.max()}
    return pd.DataFrame(columns).round(3).to_string()


def test_half_of_all_transfers_are_met_within_5_percent_and_most_within_20(
    transfers: pd.DataFrame,
) -> None:
    """All but payloads split beforehand; with cross traffic and single lossy streams.

    The latter vary by 15 % from run to run: they are not fitted, and no better is asked of them.
    """
    rows = transfers[~transfers["split"]]
    assert len(rows) == 263
    assert rows["off"].median() <= 0.05, table(rows)
    assert rows["off"].quantile(0.9) <= 0.20, table(rows)


def test_a_single_clean_stream_is_met_within_one_percent(transfers: pd.DataFrame) -> None:
    rows = transfers[
        (transfers["n"] == 1) & (transfers["loss"] == 0) & transfers["exp"].isin(["main", "rep"])
    ]
    assert rows["off"].median() <= 0.01, table(rows)
    assert rows["off"].max() <= 0.03, table(rows)


def test_several_streams_under_loss_are_met_within_5_percent(transfers: pd.DataFrame) -> None:
    rows = transfers[~transfers["split"] & (transfers["n"] > 1) & transfers["lossy"]]
    assert rows["off"].median() <= 0.05, table(rows)
    assert abs(rows["error"].median()) <= 0.03, table(rows)


def test_small_transfers_are_met_within_5_percent_whatever_the_control(transfers: pd.DataFrame) -> None:
    rows = transfers[transfers["exp"] == "ss"]
    assert (rows.groupby("cc")["off"].median() <= 0.05).all(), table(rows)
    assert rows["off"].quantile(0.9) <= 0.20, table(rows)


def test_repeats_of_one_setting_are_met_in_the_mean(transfers: pd.DataFrame) -> None:
    """Seven repeats each, one stream or stolen work: means vary less by chance."""
    rows = transfers[(transfers["exp"] == "rep") & ~transfers["split"]]
    error = rows.groupby(["rtt", "loss", "n"])["error"].mean()
    assert (error.abs() <= 0.20).all(), error.to_string()
    assert error.abs().median() <= 0.10, error.to_string()


def test_size_over_capacity_would_be_off_by_far_more(transfers: pd.DataFrame) -> None:
    rows = transfers[~transfers["split"] & transfers["lossy"]]
    naive = (rows["size"] / (rows["rate"] * MBIT) / rows["T"] - 1.0).abs()
    assert naive.median() > 3 * rows["off"].median()


STREAMS = MEASUREMENTS.with_name("stream_measurements.csv.gz")
"""Repeats on paths of 20 to 60 Mbit/s with a queue of one product, at least 64 packets and 10 ms."""


def test_what_chance_loses_makes_single_streams_as_slow_in_the_mean_as_real_ones_are() -> None:
    """Nothing is fitted to it; of 12 transfers the measured mean itself is uncertain by 9 %, of 75 by 8."""
    rows = pd.read_csv(STREAMS)
    rows = rows[(rows["n"] == 1) & (rows["loss"] >= 1e-3)]
    luck = stream(0, "luck").standard_exponential((400, GAPS))
    real_s, told_s = [], []
    for (rate, rtt, loss, size), own in rows.groupby(["rate", "rtt", "loss", "size"]):
        queue, share = max(rate * MBIT * max(rtt * MS, 0.01), 96e3), goodput_capacity(rate * MBIT, loss)
        setting = float(size), share, rtt * MS, loss, inf, queue, CUBIC
        told_s.append(np.mean([stream_time(*setting, gaps, 1.0) for gaps in luck]))
        real_s.append(own["T"].mean())
    assert sum(told_s) == pytest.approx(sum(real_s), rel=0.05)
    assert np.median(np.abs(np.divide(told_s, real_s) - 1)) <= 0.12


def typical_errors(name: str) -> pd.Series:
    """Relative error of the median of the repeats of each setting of a set."""
    rows = pd.read_csv(STREAMS)
    settings = rows[rows["set"] == name].groupby(["rate", "rtt", "loss", "size", "n"])["T"].median()
    errors = {}
    for (rate, rtt, loss, size, n), real_s in settings.items():
        queue = max(rate * MBIT * max(rtt * MS, 0.01), 96e3)
        told_s = transfer_time(size, rate * MBIT, rtt * MS, loss, int(n), CUBIC, inf, queue, 0.0, TYPICAL)
        errors[rate, rtt, loss, size, n] = told_s / real_s - 1.0
    return pd.Series(errors)


@pytest.mark.parametrize(("name", "most"), [("single", 0.04), ("held-out", 0.05), ("small", 0.05)])
def test_typical_times_of_single_streams_under_loss_are_met(name: str, most: float) -> None:
    """No constant was read off ``held-out``."""
    errors = typical_errors(name)
    assert len(errors) == {"single": 18, "held-out": 12, "small": 6}[name]
    assert errors.abs().median() <= most, errors.to_string()


def test_sixteen_and_thirty_two_streams_are_met_also_where_the_queue_holds_two_packets_of_each() -> None:
    several, crowd = typical_errors("several"), typical_errors("crowd")
    assert several.abs().median() <= 0.05 and several.abs().quantile(0.9) <= 0.15, several.to_string()
    of_32 = crowd[crowd.index.get_level_values(4) <= 32]
    assert len(of_32) == 9 and of_32.abs().max() <= 0.10, of_32.to_string()
