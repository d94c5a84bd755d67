"""The bandwidth predictor as a task: the next minute of new links, beside simpler ways and the truth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.forecaster import INPUTS, OUTPUTS, STEPS, Forecaster, steps_of, windows
from agents.supervised.foresight import probe_windows
from agents.supervised.futures import link_level
from agents.supervised.link_features import LINKS
from agents.supervised.link_futures import State, next_bandwidth
from agents.supervised.model import Part
from agents.supervised.sequences import SequenceConfig
from experiments.supervised.config import ModelsConfig
from experiments.supervised.forecast_figures import error_figure
from experiments.supervised.task import NAN, Evaluation, Measure, Shipped, Task, Tell, Watched
from sim.episode import draw_episode, draw_start_hour
from sim.monitoring.estate import Estate
from sim.monitoring.telemetry import draw_monitoring
from sim.monitoring.wires import draw_conditions, local_hours
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.units import DAY, MBIT, MINUTE

MODEL_FILE, TREES_FILE, PROBES_FILE = "forecaster.npz", "trees.npz", "probes.npz"
_LEAST: Final = np.array([1e-3, 1e-3, 1e-3, 1e-7])

Floats = NDArray[np.float64]


class _Minutes(NamedTuple):
    """Minutes with thirty known ones before and one after, of all links of an estate.

    Attributes:
        seed: Of the estate.
        rows: Windows, (n, STEPS, inputs).
        features: The pipeline's, of the last minute of each window, (n, features).
        truth: `OUTPUTS` of the minute after, (n, 4).
        size: Mean of each over the link, (n, 4): errors are counted in it.
        link: Of which link, (n,).
        minute: Number of the last minute of the window, (n,).
        quiet: Whether no trouble is in force in that minute or the next, (n,).
    """

    seed: int
    rows: NDArray[np.float32]
    features: NDArray[np.float32]
    truth: Floats
    size: Floats
    link: NDArray[np.int64]
    minute: NDArray[np.int64]
    quiet: NDArray[np.bool_]


def train(config: ModelsConfig, folder: Path, tell: Tell) -> None:
    """Watch two estates, and fit the network and the trees that it is set against."""
    settings = config.bandwidth
    tell("telemetry")
    learned, held = (_minutes(config, part) for part in ("train", "validation"))
    rng = stream(config.seed, "bandwidth")
    learned, held = _some(learned, settings.windows, rng), _some(held, settings.windows // 4, rng)
    tell("network")
    shape = SequenceConfig(STEPS, units=settings.units, epochs=settings.epochs, batch=128, rate=2e-3)
    network = Forecaster(INPUTS, OUTPUTS, shape)
    network.fit(Part(learned.rows, learned.truth), Part(held.rows, held.truth), rng)
    network.save(folder / MODEL_FILE)
    tell("trees")
    trees = settings.trees
    boosted = Boosted(
        LINKS.names,
        OUTPUTS,
        BoostedConfig("absolute", rounds=trees.rounds, depth=trees.depth, rate=trees.rate, columns=0.5),
    )
    boosted.fit(Part(learned.features, _log_share(learned)), Part(held.features, _log_share(held)), rng)
    boosted.save(folder / TREES_FILE)
    tell("probes")
    seen, ahead = (_probes(config, part, settings.windows) for part in ("train", "validation"))
    probes = Forecaster(INPUTS, OUTPUTS, shape)
    probes.fit(seen, ahead, rng)
    probes.save(folder / PROBES_FILE)


def evaluate(config: ModelsConfig, folder: Path, tell: Tell) -> Evaluation:
    """Errors of the next minute on a third estate, over those of the last value."""
    network, trees = Forecaster.load(folder / MODEL_FILE), Boosted.load(folder / TREES_FILE)
    tell("telemetry")
    test = _minutes(config, "test")
    seen = test.rows[:, :, : len(OUTPUTS)].astype(np.float64)
    ways = {
        "last value": seen[:, -1],
        "mean of 5": seen[:, -5:].mean(axis=1),
        "mean of 30": seen.mean(axis=1),
        "trees": np.exp(trees.predict(test.features)) * (seen.mean(axis=1) + _LEAST),
        "network": network.predict(test.rows),
    }
    errors = {name: (np.abs(said - test.truth) / test.size).mean(axis=0) for name, said in ways.items()}
    tell("futures")
    quiet = _ceiling(config, test, ways)
    measures = [_gain(place, errors, quiet if place == 0 else None) for place in range(len(OUTPUTS))]
    measures += _published(ways["network"], test)
    measures.append(
        Measure(
            "bandwidth: error below the trees'",
            1 - errors["network"][0] / errors["trees"][0],
            baseline="XGBoost on the 135 features of the pipeline",
        )
    )
    shares = {
        name.split("_")[0]: {
            way: 100 * error[place] / errors["last value"][place] for way, error in errors.items()
        }
        for place, name in enumerate(OUTPUTS)
    }
    probes = Forecaster.load(folder / PROBES_FILE)
    measures.append(_probe_gain(config, probes))
    rows = [[way, *(float(one) for one in error)] for way, error in errors.items()]
    return Evaluation(
        measures=measures,
        figures={
            "errors": (
                error_figure(shares, {"bandwidth": 100 * (1 - quiet["ceiling"])}),
                "Forecasts of the next minute",
            )
        },
        shipped={
            "forecaster": Shipped(network, test.rows[:2000]),
            "trees": Shipped(trees, test.features[:2000]),
            "probes": Shipped(probes, test.rows[:500]),
        },
        notes=[
            f"Three estates of {config.bandwidth.sites} sites each, so that links and days of validation and "
            f"test are new; {len(test.truth)} test minutes, troubles included.",
            "An error is the mean absolute one over the mean of its link, so that links count alike.",
            f"The ceiling is of {config.bandwidth.ceiling_minutes} test minutes without trouble: the median "
            f"of {config.bandwidth.futures} futures drawn from the true state at the end of the minute. On "
            f"the same minutes the network is {quiet['network']:.1%} below the last value.",
        ],
        tables={"Mean absolute error over the link's mean": [["forecast", *OUTPUTS], *rows]},
        card={
            "Use": "Says what a link will be like in the next minute, for schedulers and policies.",
            "Data": f"Minutes of links of {config.watch.scenario}.",
            "Limits": "One minute ahead; for links that are measured as these are.",
        },
        watched=_watched(config, test, ways["network"]),
    )


def _gain(place: int, errors: Mapping[str, Floats], quiet: Mapping[str, float] | None) -> Measure:
    last = errors["last value"][place]
    return Measure(
        f"{OUTPUTS[place].split('_')[0]}: error below the last value's",
        float(1 - errors["network"][place] / last),
        naive=float(1 - errors["mean of 30"][place] / last),
        ceiling=quiet["ceiling"] if quiet else NAN,
        target=0.15 if place == 0 else NAN,
        baseline="the mean of thirty minutes",
        bound="the median of futures from the true state, in minutes without trouble" if quiet else "",
    )


def _published(said: Floats, test: _Minutes) -> list[Measure]:
    """The three measures that the published 98 % may mean, of the bandwidth."""
    bandwidth, true = said[:, 0], test.truth[:, 0]
    some = true > 0
    return [
        Measure("bandwidth: correlation", float(np.corrcoef(bandwidth, true)[0, 1])),
        Measure("bandwidth: 1 - error over mean", float(1 - np.abs(bandwidth - true).mean() / true.mean())),
        Measure(
            "bandwidth: mean relative error",
            float(np.mean(np.abs(bandwidth - true)[some] / true[some])),
            lower_is_better=True,
        ),
    ]


def _ceiling(config: ModelsConfig, test: _Minutes, ways: Mapping[str, Floats]) -> dict[str, float]:
    """Error below the last value's, in quiet minutes, of the network and of who knows the state."""
    settings, estate = config.bandwidth, _estate(config)
    scenario, rng = estate.scenario, stream(config.seed, "bandwidth futures")
    among = np.flatnonzero(test.quiet)
    chosen = np.sort(rng.choice(among, min(settings.ceiling_minutes, len(among)), replace=False))
    per = max(round(estate.interval_s / scenario.probe.period_s), 1)
    period_s = estate.interval_s / per
    intervals = int(settings.days * DAY / estate.interval_s)
    hours = local_hours(draw_start_hour(scenario, test.seed), intervals, estate.interval_s)
    known = np.empty(len(chosen))
    link, true, level = -1, None, 0.0
    for place, row in enumerate(chosen):
        if test.link[row] != link:
            link = int(test.link[row])
            spec = scenario.paths[link % len(scenario.paths)]
            name = f"monitored link {link}"
            true = draw_conditions(spec, (intervals, per), period_s, float(hours[0]), stream(test.seed, name))
            level = link_level(spec.model, stream(test.seed, name))
        assert true is not None
        at = int(test.minute[row])
        hour = float(hours[0]) + (at + 1) * estate.interval_s / 3600
        state = State(hour, level, float(true.capacity[at, -1]), float(true.cross_streams[at, -1]))
        drawn = next_bandwidth(spec.model, state, estate.interval_s, settings.futures, rng)
        known[place] = np.median(drawn) / MBIT
    truth, size = test.truth[chosen, 0], test.size[chosen, 0]
    last = float(np.mean(np.abs(ways["last value"][chosen, 0] - truth) / size))
    return {
        "ceiling": 1 - float(np.mean(np.abs(known - truth) / size)) / last,
        "network": 1 - float(np.mean(np.abs(ways["network"][chosen, 0] - truth) / size)) / last,
    }


def _estate(config: ModelsConfig) -> Estate:
    return Estate(scenario=resolve(config.watch.scenario), sites=config.bandwidth.sites, nodes=1, groups=1)


def _minutes(config: ModelsConfig, part: str) -> _Minutes:
    seed = int(stream(config.seed, f"bandwidth {part}").integers(2**31))
    seen = draw_monitoring(_estate(config), seed, config.bandwidth.days * DAY).link_metrics.to_pandas()
    features = LINKS.compute(seen)
    found = []
    for link, rows in seen.groupby("link"):
        own = features[features["link"] == link]
        found.append(_of_link(int(str(link)), rows, own))
    parts: list[Any] = [np.concatenate(columns) for columns in zip(*found, strict=True)]
    return _Minutes(seed, *parts)


def _of_link(link: int, rows: pd.DataFrame, features: pd.DataFrame) -> tuple[NDArray[np.generic], ...]:
    """The fields of `_Minutes` after the first, of one link without gaps."""
    column = {name: rows[name].to_numpy(np.float64) for name in ("bandwidth", "rtt_s", "jitter_s", "loss")}
    said = steps_of(*column.values())
    turn = 2 * np.pi * rows["hour"].to_numpy(np.float64) / 24
    steps = np.column_stack([said, rows["utilisation"].to_numpy(np.float64), np.sin(turn), np.cos(turn)])
    last = np.arange(STEPS - 1, len(rows) - 1)
    calm = rows["incident"].to_numpy() == -1
    return (
        windows(steps)[:-1],
        features.loc[:, list(LINKS.names)].to_numpy(np.float32)[last],
        said[last + 1],
        np.broadcast_to(said.mean(axis=0) + _LEAST, (len(last), len(OUTPUTS))),
        np.full(len(last), link),
        last,
        calm[last] & calm[last + 1],
    )


def _some(minutes: _Minutes, count: int, rng: np.random.Generator) -> _Minutes:
    chosen = np.sort(rng.choice(len(minutes.truth), min(count, len(minutes.truth)), replace=False))
    columns: list[Any] = [column[chosen] for column in minutes[1:]]
    return _Minutes(minutes.seed, *columns)


def _log_share(minutes: _Minutes) -> Floats:
    """Logarithm of the truth over the mean of the window: what the trees say."""
    middle = minutes.rows[:, :, : len(OUTPUTS)].astype(np.float64).mean(axis=1) + _LEAST
    return np.log((minutes.truth + _LEAST) / middle)


def _probes(config: ModelsConfig, part: str, count: int) -> Part:
    """Windows of the probes of episodes, and the probe after each: of the scenarios that transfers are of."""
    rng, rows, truth = stream(config.seed, f"bandwidth probes {part}"), [], []
    names = config.performance.scenarios
    episodes = max(1, min(count // 250, 120) // len(names))
    for name in names:
        for seed in rng.integers(2**31, size=episodes).tolist():
            episode = draw_episode(resolve(name), seed)
            seen = probe_windows(episode, 0)
            rows.append(seen[:-1])
            truth.append(seen[1:, -1, : len(OUTPUTS)].astype(np.float64))
    windows_, ahead = np.concatenate(rows), np.concatenate(truth)
    chosen = np.sort(rng.choice(len(ahead), min(count, len(ahead)), replace=False))
    return Part(windows_[chosen], ahead[chosen])


def _probe_gain(config: ModelsConfig, model: Forecaster) -> Measure:
    """The next probe of an episode's path: what policies are told."""
    rows, truth = _probes(config, "test", config.bandwidth.windows // 4)
    seen = rows[:, :, 0].astype(np.float64)
    size = seen.mean(axis=1) + _LEAST[0]
    network, last, middle = (
        float(np.mean(np.abs(said - truth[:, 0]) / size))
        for said in (model.predict(rows)[:, 0], seen[:, -1], seen.mean(axis=1))
    )
    return Measure(
        "bandwidth of an episode's next probe: error below the last value's",
        1 - network / last,
        naive=1 - middle / last,
        baseline="the mean of thirty probes",
    )


def _watched(config: ModelsConfig, test: _Minutes, said: Floats) -> Watched:
    before = _some(_minutes(config, "train"), 5000, stream(config.seed, "bandwidth watched")).features
    order = np.argsort(test.minute, kind="stable")
    day = (test.minute * MINUTE / DAY).astype(np.int64)
    return Watched(
        LINKS.names, before, test.features[order], day[order], said[order, 0], test.truth[order, 0]
    )


TASK: Final = Task(
    "bandwidth",
    "Bandwidth predictor",
    "What will a link be like in a minute?",
    train,
    evaluate,
)
