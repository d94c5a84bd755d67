"""Files: whole or not there, whatever stops the writer."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sim.errors import InputError
from sim.files import write_json, write_parquet, write_text, write_whole

ROOT = Path(__file__).parents[2]


def in_another_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_file_overwritten_again_and_again_is_whole_whenever_the_writer_is_killed(tmp_path):
    code = (
        "import sys, pathlib; from sim.files import write_json\n"
        "path, number = pathlib.Path(sys.argv[1]), 0\n"
        "while True:\n"
        "    write_json(path, [number] * 20_000)\n"
        "    if number == 0: print('started', flush=True)\n"
        "    number += 1"
    )
    for pause in (0.0, 0.013, 0.05):
        path = tmp_path / "summary.json"
        writer = in_another_process(code, path)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(pause)
        writer.kill()
        writer.wait(60)
        numbers = json.loads(path.read_text())
        assert len(numbers) == 20_000
        assert len(set(numbers)) == 1


def test_failing_writer_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "report.md"
    write_text(path, "old")

    def fail(stream):
        stream.write(b"new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_full_disk_and_missing_rights_are_input_errors_and_leave_no_litter(tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match=r"cannot be written: (File exists|Not a directory)"):
        write_text(blocked / "report.md", "text")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        InputError, match=r"report\.md: cannot be written: No space left on device; free room"
    ):
        write_text(tmp_path / "report.md", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_json_is_strict_and_takes_figures_as_numpy_has_them(tmp_path):
    document = {
        "low": np.float64(np.nan),
        "high": float("inf"),
        "n": np.int64(3),
        "row": np.array([1.5, np.nan]),
        "t": (1,),
    }
    write_json(tmp_path / "summary.json", document)
    expected = {"low": None, "high": None, "n": 3, "row": [1.5, None], "t": [1]}
    assert json.loads((tmp_path / "summary.json").read_text()) == expected
    with pytest.raises(TypeError):
        write_json(tmp_path / "summary.json", {"path": object()})


def test_parquet_reads_back_as_written(tmp_path):
    table = pa.table({"policy": ["ppo", "zstd"], "cost_s": [1.5, 2.5]})
    write_parquet(tmp_path / "deep" / "episodes.parquet", table)
    assert pq.read_table(tmp_path / "deep" / "episodes.parquet").equals(table)
