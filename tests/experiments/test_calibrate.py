"""The command `dwcp-gym calibrate`: from files and logs to what a run takes, and refusals in one line."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip("backports.zstd", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")
pytest.importorskip("lz4.frame", reason="real codecs need the extra: pip install 'dwcp-gym[testbed]'")

from sim.calibration.laws import load_fitted
from sim.catalogue import SCENARIOS
from sim.codecs import CODECS
from sim.episode import draw_episode
from sim.scenario_file import resolve
from sim.telemetry_file import write_transfers
from sim.units import MIB
from sim.world import World


@pytest.fixture
def calibrate(monkeypatch, say):
    """Runs `dwcp-gym calibrate` on a wide screen; gives what `say` gives."""
    monkeypatch.setenv("COLUMNS", "200")
    return partial(say, "calibrate")


def test_codecs_are_measured_fitted_and_drawn(calibrate, tmp_path):
    content = np.random.default_rng(0).integers(97, 107, MIB, dtype=np.uint8).tobytes()
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(content[: MIB // 2])
    out = tmp_path / "mine"
    words = (f"text-log={tmp_path}", "--out", out, "--seconds", 2, "--repeats", 1)
    code, printed, complaints = calibrate("codecs", *words)
    assert (code, complaints) == (0, [])
    assert "zstd3 encode rate" in printed and f"environment.calibration={out / 'fitted.json'}" in printed
    assert load_fitted(out / "fitted.json").memcpy > 0
    assert (out / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_a_link_is_fitted_and_written_as_a_scenario(calibrate, tmp_path):
    scenario = SCENARIOS["wan"].with_(requests=60)
    world = World(draw_episode(scenario, 1), list(CODECS.values()))
    while world.next_question() is not None:
        world.answer(1)
    write_transfers(world, tmp_path / "log.csv")
    site = tmp_path / "my-site.yaml"
    words = ("--scenario", "wan", "--out", site, "--evaluations", 60, "--draws", 2)
    code, printed, complaints = calibrate("link", tmp_path / "log.csv", *words)
    assert (code, complaints) == (0, [])
    assert "capacity, Mbit/s" in printed and "held-out error fitted: median" in printed
    assert resolve(str(site)).name == "my-site"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("codecs", "nowhere"), "nowhere: is not there; name files or folders"),
        (("link", "log.csv", "--out", "site.txt"), "site.txt: expected a name that ends in .yaml or .yml"),
        (("link", "log.csv", "--scenario", "wam"), "did you mean 'wan'"),
        (("link", "log.csv", "--path", "3"), "--path: expected a path of scenario 'wan', 0 to 0, got 3"),
        (("link", "log.csv"), "log.csv"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(calibrate, words, problem):
    code, _, complaints = calibrate(*words)
    assert code == 2 and len(complaints) == 1 and problem in complaints[0], complaints
