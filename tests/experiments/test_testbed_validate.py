"""The simulator held against transfers for real: what is simulated, what is kept, and what is reported."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.testbed_accuracy import accuracy, report, scatter, write_accuracy
from experiments.testbed_grid import Setting, sample
from experiments.testbed_journal import Journal, Row
from experiments.testbed_simulated import Payload, Setup, Solo, pair_episode, pipeline_s, simulated_s, told
from experiments.testbed_solo import solo
from experiments.testbed_validate import REPEATS, _least_setup, validate
from sim.crowding import transfer_time
from sim.errors import InputError
from sim.physics import CUBIC, TYPICAL
from sim.testbed.paths import PathSettings
from sim.units import KIB, MBIT, MIB, MS

PATH = PathSettings(100 * MBIT, 20 * MS)
PAYLOAD = Payload(4 * MIB, ratio=2.0, changed=0.1, novelty=0.5)
WINDOW = 0.55 * PATH.receive_buffer_bytes


def alone(size_bytes: float) -> float:
    return transfer_time(
        size_bytes, 100 * MBIT, 20 * MS, 0.0, 1, CUBIC, WINDOW, PATH.queue_bytes, 0.0, TYPICAL
    )


def test_a_raw_transfer_takes_in_the_world_what_the_formula_says():
    assert simulated_s(pair_episode(PATH, PAYLOAD, 0, 2), "none") == pytest.approx(alone(4 * MIB), rel=1e-9)


@pytest.mark.parametrize("codec", ["zstd", "zstd-9", "amst-4-lz4"])
def test_told_its_ratio_and_rates_a_codec_sends_that_much_and_no_faster(codec):
    episode = pair_episode(PATH, PAYLOAD, 0, 2)
    fast = simulated_s(told(episode, codec, Solo(3.0, 1e9, 1e9)), codec)
    if codec != "amst-4-lz4":
        assert fast == pytest.approx(alone(4 * MIB / 3.0), rel=1e-6)
    slow = simulated_s(told(episode, codec, Solo(3.0, 1e5, 1e9)), codec)
    cores = 2 if codec == "amst-4-lz4" else 1
    assert slow == pytest.approx(4 * MIB / 1e5 / cores, rel=0.03)


def test_told_its_ratio_a_delta_sends_that_much():
    episode = pair_episode(PATH, PAYLOAD, 0, 2)
    for codec in ("hde", "hde_xor"):
        said = simulated_s(told(episode, codec, Solo(25.0, 1e10, 1e10)), codec)
        assert said == pytest.approx(alone(4 * MIB / 25.0), rel=0.01), codec


def test_set_up_counts_streams_and_the_first_and_last_piece_their_coding():
    setup = Setup(transfer_s=0.001, stream_s=0.0002)
    half = Solo(2.0, encode=64e6, decode=128e6)
    assert pipeline_s("none", MIB, half, setup) == pytest.approx(0.0012)
    assert pipeline_s("amst-8", MIB, half, setup) == pytest.approx(0.0026)
    small = 64 * KIB
    assert pipeline_s("zstd", small, half, setup) == pytest.approx(0.0012 + small / 64e6 + small / 128e6)


def test_what_a_codec_does_alone_is_measured_on_the_payload(tmp_path):
    rng = np.random.default_rng(0)
    now, before = tmp_path / "now", tmp_path / "before"
    content = rng.integers(0, 256, MIB, dtype=np.uint8)
    before.write_bytes(content.tobytes())
    content[:4096] = rng.integers(0, 256, 4096, dtype=np.uint8)
    now.write_bytes(content.tobytes())
    assert solo("none", now, before).ratio == pytest.approx(1.0, rel=0.005)  # opening and end beside it
    assert solo("zstd", now, before).ratio == pytest.approx(1.0, rel=0.01)  # random bytes
    assert solo("hde", now, before).ratio == pytest.approx(
        MIB / (7 * 1448)
    )  # opening, map, a block in 3, end of frame, end


def row(number: int, codec: str, real_s: float, told_s: float, repeat: int = 0) -> Row:
    zeros = dict.fromkeys(Row._fields, 0)
    given = {"number": number, "codec": codec, "real_s": real_s, "told_s": told_s, "laws_s": told_s}
    path = {"rate_mbit": 100, "rtt_ms": 20, "size_bytes": MIB, "streams": 1, "repeat": repeat}
    return Row(**{**zeros, **given, **path})  # type: ignore[arg-type]


def test_errors_ranking_and_regret_are_those_of_a_sum_by_hand():
    rows = pd.DataFrame(
        [
            *(row(0, "none", real_s, 4.0) for real_s in (3.0, 4.0, 5.0)),  # median 4: no error
            row(0, "zstd", 2.0, 2.2),  # 10 % over
            row(0, "hde", 1.0, 0.9),  # 10 % under
            row(1, "none", 1.0, 1.0),
            row(1, "zstd", 1.5, 0.9),  # 40 % under, and chosen: half as much again as the best
        ]
    )
    found = accuracy(rows)
    assert found.summary["median"] == pytest.approx(0.1)
    assert found.summary["worst"] == pytest.approx(0.4)
    assert found.choices["spearman"].tolist() == pytest.approx([1.0, -1.0])
    assert found.choices["regret"].tolist() == pytest.approx([0.0, 0.5])
    assert found.by_class["pairs"].iloc[0] == 5


def test_codecs_that_take_as_long_are_not_ranked_against_each_other():
    rows = pd.DataFrame([row(0, "none", 1.00, 1.01), row(0, "amst-8", 1.01, 1.00), row(0, "zstd", 0.5, 0.5)])
    found = accuracy(rows)
    assert found.summary["spearman"] == pytest.approx(1.0)
    assert found.summary["spearman_strict"] == pytest.approx(0.5)


def test_transfers_for_which_the_machine_had_no_time_are_left_out():
    starved = row(0, "none", 9.0, 1.0)._replace(waited_s=1.0)
    found = accuracy(pd.DataFrame([row(0, "none", 1.0, 1.0), starved, row(0, "zstd", 0.5, 0.5)]))
    assert (found.summary["worst"], found.summary["left_out"]) == (0.0, 1)
    with pytest.raises(InputError, match="end other work on this machine"):
        accuracy(pd.DataFrame([starved, starved._replace(codec="zstd")]))


def test_report_and_figure_are_written_beside_the_rows(tmp_path):
    found = accuracy(pd.DataFrame([row(0, "none", 2.0, 2.1), row(0, "zstd", 1.0, 0.9)]))
    write_accuracy(tmp_path, found, "Two cores.")
    assert {file.name for file in tmp_path.iterdir()} == {"report.md", "accuracy.json", "scatter.png"}
    assert "| relative error, median | 7.5% | 5% |" in report(found, "")
    assert scatter(found).axes[0].get_xscale() == "log"


def test_a_setting_that_was_cut_short_is_forgotten_and_a_whole_one_kept(tmp_path):
    path = tmp_path / "transfers.csv"
    journal = Journal(path, 0)
    codecs = next(sample(0)).codecs
    journal.add([row(3, codec, 1.0, 1.0, repeat) for codec in codecs for repeat in range(REPEATS)])
    journal.add([row(4, "none", 1.0, 1.0)])
    with path.open("a") as stream:
        stream.write("0,4,zst")
    again = Journal(path, 0)
    assert again.done == {3}
    assert set(pd.read_csv(path)["number"]) == {3}
    with pytest.raises(InputError, match="another seed than 7"):
        Journal(path, 7)


def test_a_folder_keeps_the_shortest_set_up_that_its_machine_has_shown(tmp_path):
    path = tmp_path / "setup.json"
    quick, slow = Setup(0.001, 0.0002), Setup(0.030, 0.0010)
    assert _least_setup(path, slow) == slow
    assert _least_setup(path, quick) == quick
    assert _least_setup(path, slow) == quick
    path.write_text("{}")
    with pytest.raises(InputError, match="delete it"):
        _least_setup(path, quick)


def test_the_sample_spans_what_it_says_and_every_setting_has_five_codecs():
    settings = [setting for setting, _ in zip(sample(0), range(400), strict=False)]
    assert {setting.rate_mbit for setting in settings} == {20, 50, 100, 200, 500}
    assert {setting.rtt_ms for setting in settings} == {1, 5, 20, 50, 100, 150}
    assert {setting.size_bytes for setting in settings} >= {64 * KIB, 256 * MIB}
    assert {len(set(setting.codecs)) for setting in settings} == {5}


def test_a_setting_is_moved_for_real_and_the_simulator_is_near(tmp_path, monkeypatch):
    """On whatever path there is: between namespaces, or over the shaped loopback."""
    codecs = ("none", "zstd", "hde", "amst-2", "zstd-1")
    only = Setting(0, 50, 20, 0.0, 256 * KIB, 2, 2.0, 0.03, 0.9, codecs)
    monkeypatch.setattr("experiments.testbed_validate.sample", lambda seed: iter([only]))
    found = validate(tmp_path, 1.0, 20.0, 0, Console(file=io.StringIO()))
    assert (found.rows.groupby("codec").size() >= REPEATS).all()
    if not found.why_not:  # the quickest of each: other work on the machine only adds
        quickest = found.rows.groupby("codec")[["told_s", "real_s"]].min()
        assert (quickest["told_s"] / quickest["real_s"] - 1).abs().median() < 0.2
    assert validate(tmp_path, 1.0, 20.0, 0, Console(file=io.StringIO())).rows.shape == found.rows.shape
