"""What further inputs gain: paired over seeds and episodes, refused where runs are not comparable."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.evidence import EPISODE_KEYS, METRICS
from experiments.supervised.ablation import ablation, ablation_page
from sim.errors import InputError
from sim.randomness import stream

CONFIG = """
name: {name}
title: What is it good for?
environment: {{scenarios: [wan, metro], options: {{features: [{features}], models: x}}}}
policies: [estimate]
learners:
  - {{kind: ppo, seeds: 5}}
"""


def run(folder: Path, name: str, features: str, factor: float, episodes: int = 12) -> Path:
    """A run whose costs are the same throw of dice everywhere, times a factor and a little noise."""
    path = folder / name
    path.mkdir()
    path.joinpath("config.yaml").write_text(CONFIG.format(name=name, features=features))
    dice, noise = stream(1, "costs"), stream(2, name)
    rows = []
    for scenario, scale in (("wan", 100.0), ("metro", 3.0)):
        costs = scale * np.exp(0.5 * dice.standard_normal(episodes))
        for seed in range(5):
            for episode, cost in enumerate(costs * factor * np.exp(0.02 * noise.standard_normal(episodes))):
                keys = ("ppo", "learner", seed, scenario, "test", episode)
                rows.append({**dict(zip(EPISODE_KEYS, keys, strict=True)), **dict.fromkeys(METRICS, cost)})
    pd.DataFrame(rows).to_parquet(path / "episodes.parquet")
    return path


def test_inputs_that_save_a_tenth_help_and_such_that_change_nothing_leave_it_open(tmp_path):
    base = run(tmp_path, "none", "", 1.0)
    better, same = run(tmp_path, "law", "path_law", 0.9), run(tmp_path, "idle", "bandwidth_forecast", 1.0)
    worse = run(tmp_path, "worse", "performance_forecast", 1.2)
    gains = {one.inputs: one for one in ablation([base, better, same, worse])}
    assert gains["path_law"].difference.value == pytest.approx(-0.1, abs=0.02)
    assert [gains[name].sure for name in ("path_law", "performance_forecast")] == ["helps", "harms"]
    assert gains["bandwidth_forecast"].difference.low < 0.005
    assert gains["bandwidth_forecast"].difference.high > -0.005
    assert "| path_law | ppo | test | -" in ablation_page(list(gains.values()))


def test_runs_of_other_episodes_are_refused_in_a_line(tmp_path):
    base = run(tmp_path, "none", "", 1.0)
    with pytest.raises(InputError, match="other episodes"):
        ablation([base, run(tmp_path, "law", "path_law", 0.9, episodes=8)])


def test_the_table_is_printed_and_written(tmp_path, say):
    base, other = run(tmp_path, "none", "", 1.0), run(tmp_path, "law", "path_law", 0.9)
    page = tmp_path / "gains.md"
    code, printed, _ = say("supervised", "ablation", base, other, "--page", page)
    assert code == 0
    assert "path_law" in printed
    assert page.read_text("utf-8").startswith("| inputs | policy |")
