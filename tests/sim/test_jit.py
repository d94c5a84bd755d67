"""The door to Numba: caches that follow the content, and import where nothing can be written or compiled."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from sim.jit import content_hash, fetch, first_writable
from sim.physics import CUBIC, TYPICAL, stream_time

ROOT = Path(__file__).parents[2]
CALL = (
    "from sim.physics import TYPICAL, stream_time as t; "
    "print(t(1e7, 1e6, 0.05, 1e-3, float('inf'), 1e5, 0, TYPICAL, 1.0))"
)


def test_a_change_in_any_kernel_file_gives_another_cache(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text("caller")
    (tmp_path / "callee.py").write_text("returns 10")
    before = content_hash(tmp_path)
    assert content_hash(tmp_path) == before
    (tmp_path / "callee.py").write_text("returns 20")
    assert content_hash(tmp_path) != before


def test_a_fitted_figure_and_a_second_package_are_part_of_the_cache(tmp_path: Path) -> None:
    sim, envs = tmp_path / "sim", tmp_path / "envs"
    sim.mkdir()
    envs.mkdir()
    (sim / "fitted.json").write_text("1.0")
    before = content_hash(sim, envs)
    (sim / "fitted.json").write_text("2.0")
    refitted = content_hash(sim, envs)
    (envs / "kernel.py").write_text("return 10")
    assert len({before, refitted, content_hash(sim, envs), content_hash(sim)}) == 3  # no envs, no difference


def test_kernels_of_two_packages_are_kept_apart(tmp_path: Path) -> None:
    names = "from envs.features import fill_codec; from sim.fluid import join; "
    show = "print(*(kernel._cache.cache_path for kernel in (fill_codec, join)))"
    run = subprocess.run(
        [sys.executable, "-c", names + show],
        cwd=ROOT,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours, its = (Path(path).relative_to(tmp_path).parts[0] for path in run.stdout.split())
    assert ours != its


def test_what_is_to_be_compiled_is_announced_until_it_is(tmp_path: Path) -> None:
    tell = (
        "from sim.jit import announce; from sim.physics import stream_time; announce(stream_time, 'it', 7); "
    )
    said = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", tell + CALL],
            cwd=ROOT,
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(run.stderr)
    assert said == ["compiling it, once, about 7 s\n", ""]


def test_what_is_fetched_is_neither_read_nor_written_also_beyond_the_end() -> None:
    def total(rows: np.ndarray, ahead: int) -> float:
        found = 0.0
        for row in range(len(rows)):
            fetch(rows, (row + ahead,))
            found += rows[row]["bytes"]
        return found

    row = np.dtype([("bytes", np.float64), ("more", np.float64, 15)], align=True)  # two cache lines
    rows = np.zeros(3, row)
    rows["bytes"] = 1.0, 2.0, 4.0
    kernel = numba.njit(total)
    assert [kernel(rows, ahead) for ahead in (0, 1, 10**6)] == [7.0] * 3
    assert rows["bytes"].tolist() == [1.0, 2.0, 4.0]
    if not numba.config.DISABLE_JIT:
        (code,) = kernel.inspect_llvm().values()
        assert "call void @llvm.prefetch" in code


def test_the_first_folder_that_can_be_written_is_taken(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file is no folder")
    assert first_writable([blocked, tmp_path], "abc") == tmp_path / "abc"
    assert first_writable([blocked], "abc") is None


@pytest.mark.parametrize("setting", [{"NUMBA_DISABLE_JIT": "1"}, {"HOME": os.devnull, "TMPDIR": os.devnull}])
def test_plain_python_and_a_machine_without_a_cache_give_the_same_figure(setting: dict[str, str]) -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")} | setting
    run = subprocess.run(
        [sys.executable, "-c", CALL], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert float(run.stdout) == pytest.approx(
        stream_time(1e7, 1e6, 0.05, 1e-3, float("inf"), 1e5, CUBIC, TYPICAL, 1.0), rel=1e-12
    )
