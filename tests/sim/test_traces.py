"""Traces: rules, cuts and averages worked by hand, and files of every form, whole and broken."""

import gzip
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import InputError
from sim.traces import (
    Trace,
    Unmeasured,
    read_binned,
    read_csv,
    read_folder,
    read_log,
    read_mahimahi,
    write_csv,
)
from sim.units import MBIT


def a_trace(time_s, capacity, rtt_s=0.05, loss=0.0, cross_streams=0.0):
    rest = (np.full(len(time_s), value) for value in (rtt_s, loss, cross_streams))
    return Trace(np.array(time_s, dtype=float), np.array(capacity, dtype=float), *rest)


@st.composite
def any_traces(draw):
    rows = draw(st.integers(1, 8))
    gaps = draw(st.lists(st.floats(1e-3, 1e3), min_size=rows - 1, max_size=rows - 1))
    capacity = draw(
        st.lists(st.floats(0, 1e10).filter(lambda x: x == 0 or x > 1), min_size=rows, max_size=rows)
    )
    capacity[-1] += 1.0
    return Trace(
        np.cumsum([0.0, *gaps]),
        np.array(capacity),
        np.array(draw(st.lists(st.floats(1e-5, 10), min_size=rows, max_size=rows))),
        np.array(draw(st.lists(st.floats(0, 0.999), min_size=rows, max_size=rows))),
        np.array(draw(st.lists(st.floats(0, 100), min_size=rows, max_size=rows))),
    )


@pytest.mark.parametrize(
    ("time_s", "columns", "message"),
    [
        ([0.0], ([1.0, 2.0], [0.1], [0.0], [0.0]), r"capacity must have shape"),
        ([], ([], [], [], []), r"time_s must have shape"),
        ([1.0], ([1.0], [0.1], [0.0], [0.0]), r"must start at 0"),
        ([0.0, 0.0], ([1.0, 1.0], [0.1, 0.1], [0.0, 0.0], [0.0, 0.0]), r"and increase"),
        ([0.0], ([-1.0], [0.1], [0.0], [0.0]), r"capacity must be finite and at least 0"),
        ([0.0], ([np.nan], [0.1], [0.0], [0.0]), r"capacity must be finite"),
        ([0.0], ([np.inf], [0.1], [0.0], [0.0]), r"capacity must be finite"),
        ([0.0], ([0.0], [0.1], [0.0], [0.0]), r"must end above 0"),
        ([0.0], ([1.0], [0.0], [0.0], [0.0]), r"rtt_s must be above 0"),
        ([0.0], ([1.0], [0.1], [1.0], [0.0]), r"write 1 % as 0\.01"),
        ([0.0], ([1.0], [0.1], [0.0], [-1.0]), r"cross_streams must be finite and at least 0"),
    ],
)
def test_a_trace_that_breaks_a_rule_is_refused(time_s, columns, message):
    with pytest.raises(ValueError, match=message):
        Trace(np.array(time_s), *(np.array(column) for column in columns))


def test_each_row_holds_from_its_breakpoint_and_the_last_for_ever():
    trace = a_trace([0, 1, 3], [1, 2, 3])
    assert [trace.at(t) for t in (0.0, 0.999, 1.0, 2.9, 3.0, 1e9)] == [0, 0, 1, 1, 2, 2]


def test_mean_capacity_is_bytes_over_seconds():
    trace = a_trace([0, 1, 3], [10, 0, 20])
    assert trace.mean_capacity(4.0) == (10 + 0 + 20) / 4
    assert trace.mean_capacity(2.0) == 5.0


def test_a_window_is_cut_inside_a_row_and_starts_at_zero():
    cut = a_trace([0, 1, 3, 5], [1, 2, 3, 4]).window(2.0, 2.5)
    assert cut.time_s.tolist() == [0, 1]
    assert cut.capacity.tolist() == [2, 3]


def test_a_window_behind_the_end_is_the_last_row():
    assert a_trace([0, 1], [1, 2]).window(50.0, 10.0).capacity.tolist() == [2]


def test_a_window_that_ends_in_an_outage_keeps_its_end():
    cut = a_trace([0, 1, 3, 4], [1, 0, 0, 4]).window(0.5, 1.0)
    assert cut.time_s.tolist() == [0, 0.5, 2.5, 3.5]
    assert cut.capacity.tolist() == [1, 0, 0, 4]


def test_a_short_trace_repeats_until_the_episode_is_full():
    looped = a_trace([0, 1, 2], [1, 2, 3]).looped(7.5)
    assert looped.time_s.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert looped.capacity.tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_long_trace_is_cut_and_a_constant_one_stays_one_row():
    assert a_trace([0, 1, 2], [1, 2, 3]).looped(1.5).capacity.tolist() == [1, 2]
    assert a_trace([0], [7]).looped(1e6).time_s.tolist() == [0]


def test_resampling_averages_over_time():
    trace = a_trace([0, 0.5, 2.5], [4, 2, 6]).resample(1.0)
    assert trace.time_s.tolist() == [0, 1, 2, 3]
    assert trace.capacity.tolist() == [3, 2, 4, 6]


@given(any_traces(), st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_resampling_lets_as_many_bytes_pass(trace, step_s):
    coarse = trace.resample(step_s)
    end_s = coarse.time_s[-1] + step_s
    assert coarse.mean_capacity(end_s) == pytest.approx(trace.mean_capacity(end_s), rel=1e-9)


def test_scaling_touches_the_capacity_only():
    scaled = a_trace([0, 1], [1, 2], loss=0.1).scaled(4.0)
    assert scaled.capacity.tolist() == [4, 8]
    assert scaled.loss.tolist() == [0.1, 0.1]


def test_rows_that_change_nothing_are_left_out():
    trace = Trace(
        np.arange(5.0),
        np.array([1.0, 1, 2, 2, 2]),
        np.full(5, 0.1),
        np.array([0, 0, 0, 0.1, 0.1]),
        np.zeros(5),
    ).coalesced()
    assert trace.time_s.tolist() == [0, 2, 3]
    assert trace.capacity.tolist() == [1, 2, 2]


@given(any_traces(), st.floats(0, 5000))
@settings(max_examples=60, deadline=None)
def test_coalescing_changes_no_condition_at_any_time(trace, time_s):
    short = trace.coalesced()
    assert short.capacity[short.at(time_s)] == trace.capacity[trace.at(time_s)]
    assert short.loss[short.at(time_s)] == trace.loss[trace.at(time_s)]


@given(any_traces())
@settings(max_examples=60, deadline=None)
def test_a_written_trace_reads_back(tmp_path_factory, trace):
    path = tmp_path_factory.mktemp("traces") / "link.csv"
    write_csv(trace, path)
    back = read_csv(path)
    assert back.time_s.tolist() == trace.time_s.tolist()
    assert back.loss.tolist() == trace.loss.tolist()
    np.testing.assert_allclose(back.capacity, trace.capacity, rtol=1e-15)
    np.testing.assert_allclose(back.rtt_s, trace.rtt_s, rtol=1e-15)
    assert [file.name for file in path.parent.iterdir()] == ["link.csv"]


def test_csv_takes_columns_in_any_order_gzipped_and_from_any_start(tmp_path):
    path = tmp_path / "link.csv.gz"
    path.write_bytes(
        gzip.compress(
            b"\xef\xbb\xbfrtt_ms, capacity_mbps,time_s\r\n80,8,1000\r\n\r\n90,16,1002.5\r\n", mtime=0
        )
    )
    trace = read_csv(path, Unmeasured(loss=0.01, cross_streams=3))
    assert trace.time_s.tolist() == [0, 2.5]
    assert trace.capacity.tolist() == [1e6, 2e6]
    assert trace.rtt_s.tolist() == pytest.approx([0.08, 0.09])
    assert trace.loss.tolist() == [0.01, 0.01]
    assert trace.cross_streams.tolist() == [3, 3]


HEAD = "time_s,capacity_mbps,rtt_ms,loss\n"
BROKEN_CSV = {
    "": r"expected a trace, got an empty file$",
    " \n\n": r"got an empty file$",
    "time_s,capacity_mbps\n": r"line 1: expected at least .* and rows under them$",
    "time_s\n0\n": r"line 1: expected at least the columns time_s and capacity_mbps",
    "time_s,capacity_mbit\n0,1\n": r"line 1: .*, got 'capacity_mbit'; did you mean 'capacity_mbps'\?$",
    "time_s,loss,loss,capacity_mbps\n0,0,0,1\n": r"line 1: expected each of .* at most once, got 'loss'",
    HEAD + "0,10,50\n": r"line 2: expected 4 values \(.*\), got 3$",
    HEAD + "0,10,50,0,9\n": r"line 2: expected 4 values \(.*\), got 5$",
    HEAD + "0,fast,50,0\n": r"line 2: capacity_mbps must be a finite number, got 'fast'; drop or mend",
    HEAD + "0,10,50,0\n1,,50,0\n": r"line 3: capacity_mbps must be a finite number, got ''",
    HEAD + "0,nan,50,0\n": r"line 2: capacity_mbps must be a finite number, got 'nan'",
    HEAD + "0,inf,50,0\n": r"line 2: capacity_mbps must be a finite number, got 'inf'",
    HEAD + "0,1e305,50,0\n": r"line 2: capacity_mbps must be a finite number, got '1e305'",
    HEAD + "0,-1,50,0\n": r"line 2: capacity_mbps must not be negative, got '-1'",
    HEAD + "0,10,0,0\n": r"line 2: rtt_ms must be above 0, got '0'",
    HEAD + "0,10,50,1.5\n": r"line 2: loss must be a share in \[0, 1\) \(write 1 % as 0\.01\), got '1\.5'",
    HEAD + "0,10,50,0\n\n2,10,50,0\n1,9,50,0\n": r"line 5: time must increase, got 1\.0 s after 2\.0 s",
    HEAD + "0,10,50,0\n0,9,50,0\n": r"line 3: time must increase, got 0\.0 s after 0\.0 s",
    HEAD + "0,10,50,0\n1,0,50,0\n": r"line 3: the last capacity holds for ever and must be above 0",
}


@pytest.mark.parametrize("text", BROKEN_CSV)
def test_a_broken_csv_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "link.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=BROKEN_CSV[text]) as refused:
        read_csv(path)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"time_s\xff\xfe", r"byte 6: expected text, got binary content"),
        (b"time_s,capacity_mbps\n0,\0\n", r"expected a trace, got binary content"),
        (b"\x1f\x8bnot gzip at all", r"expected a readable trace file"),
        (gzip.compress(b"time_s,capacity_mbps\n0,1\n", mtime=0)[:-12], r"expected a readable trace file"),
    ],
)
@pytest.mark.parametrize("read", [read_csv, read_mahimahi, read_log, read_binned])
def test_binary_content_is_refused(tmp_path, content, message, read):
    path = tmp_path / "link"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv: expected a readable trace file"):
        read_csv(tmp_path / "none.csv")


@given(st.binary(max_size=60) | st.text("0123456789.,-e \nsnai", max_size=60).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_no_content_raises_anything_but_an_input_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("fuzz")
    for number, head in enumerate((b"", b"time_s,capacity_mbps\n", b"trace,t_s,mbps\n", b"0 1\n")):
        path = folder / f"{number}"
        path.write_bytes(head + content)
        try:
            read_folder(folder)
        except InputError as error:
            assert "\n" not in str(error)
        path.unlink()


def test_one_packet_a_millisecond_is_twelve_megabit(tmp_path):
    path = tmp_path / "12Mbps_trace"
    path.write_text("1\n")
    trace = read_mahimahi(path)
    assert trace.time_s.tolist() == [0]
    assert trace.capacity[0] == pytest.approx(12 * MBIT)


def test_delivery_opportunities_are_counted_in_bins(tmp_path):
    path = tmp_path / "cell.down"
    path.write_text("0\n40\n100\n101\n250\n300\n300\n300\n")
    trace = read_mahimahi(path, Unmeasured(rtt_s=0.08))
    assert trace.time_s.tolist() == pytest.approx([0, 0.1, 0.2])
    assert trace.capacity.tolist() == pytest.approx([3 * 15000, 1 * 15000, 4 * 15000])
    assert trace.rtt_s.tolist() == [0.08] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("5\n4\n", r"line 2: expected an integer of at least 5 ms, below 10\^9, got '4'"),
        ("1.5\n", r"line 1: expected an integer .* got '1\.5'"),
        ("-3\n", r"line 1: expected an integer .* got '-3'"),
        ("1\nabc\n", r"line 2: expected an integer .* got 'abc'"),
        ("1700000000000\n", r"line 1: .*below 10\^9, got '1700000000000'; count from the start"),
        ("0\n0\n", r"line 2: expected the last line above 0"),
        ("", r"got an empty file"),
    ],
)
def test_a_broken_delivery_file_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "cell.up"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_mahimahi(path)


def test_a_logged_rate_held_since_the_line_before(tmp_path):
    path = tmp_path / "bus.log"
    path.write_text("10\t99\n12 8\n13\t16\n14 0\n")
    trace = read_log(path)
    assert trace.time_s.tolist() == [0, 2]
    assert trace.capacity.tolist() == [1e6, 2e6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n", r"line 1: expected at least two lines"),
        ("0 1\n1 0\n", r"expected some capacity above 0, got none"),
        ("0 1\n1\n", r"line 2: expected 2 values \(time_s, capacity_mbps\), got 1"),
        ("0 1\n1 -2\n", r"line 2: capacity_mbps must not be negative, got '-2'"),
        ("5 1\n5 2\n", r"line 2: time must increase"),
    ],
)
def test_a_broken_log_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "bus.log"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_log(path)


def test_binned_traces_come_in_the_order_of_their_names(tmp_path):
    path = tmp_path / "cells.csv"
    path.write_text("trace,t_s,mbps\nb,0,8\na,7,16\nb,1,24\nb,2,0\na,9,32\n")
    first, second = read_binned(path)
    assert (first.time_s.tolist(), first.capacity.tolist()) == ([0, 2], [2e6, 4e6])
    assert (second.time_s.tolist(), second.capacity.tolist()) == ([0, 1], [1e6, 3e6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace,t_s,mbit\na,0,1\n", r"line 1: expected the header trace,t_s,mbps"),
        ("trace,t_s,mbps\n", r"line 1: expected the header .* and rows"),
        ("trace,t_s,mbps\na,0\n", r"line 2: expected 2 values .* got 1"),
        ("trace,t_s,mbps\na,1,1\nb,0,1\na,1,2\n", r"line 4: time must increase"),
    ],
)
def test_a_broken_binned_file_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "cells.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_binned(path)


def test_a_folder_is_read_by_name_whatever_the_form_of_its_files(tmp_path):
    (tmp_path / "d.up").write_text("1\n")
    (tmp_path / "c.log").write_text("0 1\n1 8\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"time_s,capacity_mbps\n0,16\n", mtime=0))
    (tmp_path / "a.csv").write_text("trace,t_s,mbps\ny,0,32\nx,0,24\n")
    (tmp_path / "README.md").write_text("where they come from")
    (tmp_path / ".hidden").write_text("?")
    (tmp_path / "more").mkdir()
    traces = read_folder(tmp_path, Unmeasured(rtt_s=0.03))
    assert [trace.capacity[0] / MBIT for trace in traces] == pytest.approx([24, 32, 16, 8, 12])
    assert {trace.rtt_s[0] for trace in traces} == {0.03}


def test_a_folder_without_a_trace_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"expected a folder with at least one trace file, found none"):
            read_folder(folder)


REAL = os.environ.get("DWCP_TRACES", "")


@pytest.mark.skipif(not REAL, reason="set DWCP_TRACES to a folder of public traces to read them all")
def test_public_traces_are_read_with_their_mean_rate():
    binned, logged = 0, 0
    for path in sorted(Path(REAL).rglob("*")):
        if path.is_dir() or path.suffix == ".xz":
            continue
        text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
        head, *rows = text.split("\n")
        if head.startswith("trace,"):
            rates = {}
            for row in filter(None, rows):
                rates.setdefault(row.split(",")[0], []).append(float(row.split(",")[2]))
            for name, trace in zip(sorted(rates), read_binned(path), strict=True):
                total = sum(rates[name]) * 0.1
                alive = max(i for i, rate in enumerate(rates[name]) if rate) + 1
                assert trace.mean_capacity(alive * 0.1) / MBIT == pytest.approx(
                    total / (alive * 0.1), rel=1e-6
                )
                binned += 1
        elif len(head.split()) == 2:
            pairs = [tuple(map(float, row.split())) for row in text.split("\n") if row]
            sent = sum(now[1] * (now[0] - before[0]) for before, now in pairwise(pairs))
            length_s = pairs[-1][0] - pairs[0][0]
            assert read_log(path).mean_capacity(length_s) / MBIT == pytest.approx(sent / length_s, rel=1e-9)
            logged += 1
    assert binned + logged > 0
