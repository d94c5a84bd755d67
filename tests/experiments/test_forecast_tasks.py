"""The two predictors as tasks, end to end on little data: what they report, and the figures they draw."""

from pathlib import Path

import numpy as np
import pytest

from experiments.config import ExperimentConfig
from experiments.pipeline import check
from experiments.supervised.config import ModelsConfig
from experiments.supervised.tasks import task
from sim.errors import InputError
from sim.settings import load

QUICK = Path(__file__).parents[2] / "experiments" / "configs" / "supervised" / "quick.yaml"


@pytest.fixture(scope="module")
def quick():
    return load(QUICK, ModelsConfig)


def evaluated(name: str, config: ModelsConfig, folder: Path):
    told: list[str] = []
    one = task(name)
    one.train(config, folder, told.append)
    found = one.evaluate(config, folder, told.append)
    assert told
    return found


def test_the_performance_predictor_is_told_beside_estimate_law_and_ceiling(quick, tmp_path):
    found = evaluated("performance", quick, tmp_path)
    first = found.measures[0]
    assert first.name == "completion time within 20%"
    assert first.target == 0.8
    assert 0 <= first.naive <= 1 and 0 <= first.ceiling <= 1
    assert first.value > first.naive
    (head, *rows) = next(iter(found.tables.values()))
    assert head[0] == "scenario"
    assert [row[0] for row in rows] == [*quick.performance.scenarios, *quick.performance.held_out]
    again = task("performance").evaluate(quick, tmp_path, lambda _: None)
    assert [one.value for one in again.measures] == [one.value for one in found.measures]


def test_the_bandwidth_predictor_is_told_beside_the_last_value_means_trees_and_ceiling(quick, tmp_path):
    found = evaluated("bandwidth", quick, tmp_path)
    names = [one.name for one in found.measures]
    assert names[0] == "bandwidth: error below the last value's"
    assert {"rtt", "jitter", "loss"} <= {name.split(":")[0] for name in names}
    assert found.measures[0].target == 0.15
    assert np.isfinite(found.measures[0].ceiling)
    (_, *rows) = next(iter(found.tables.values()))
    assert [row[0] for row in rows] == ["last value", "mean of 5", "mean of 30", "trees", "network"]
    assert set(found.shipped) == {"forecaster", "trees", "probes"}
    assert found.watched is not None
    assert (np.diff(found.watched.day) >= 0).all()


def test_a_config_may_name_forecasts_and_is_refused_in_a_line_where_they_were_never_trained(tmp_path):
    config = load(QUICK.parents[1] / "forecasts.yaml", ExperimentConfig)
    options = {"features": ["performance_forecast"], "models": str(tmp_path)}
    environment = config.environment.model_copy(update={"options": options})
    with pytest.raises(InputError, match=r"performance\.npz"):
        check(config.model_copy(update={"environment": environment}), "forecasts.yaml")
