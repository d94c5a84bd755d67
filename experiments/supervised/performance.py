"""The performance predictor as a task: transfers of many scenarios, new links, and what one could know."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.supervised.boosted import BoostedConfig
from agents.supervised.density import WITHIN, DensityConfig
from agents.supervised.foretelling import without_untold
from agents.supervised.futures import another_future, seconds_in
from agents.supervised.model import Part
from agents.supervised.outcomes import INPUTS, PROSPECT_RATE, PROSPECT_S, Exploring, Outcomes, record
from agents.supervised.performance import (
    MEDIAN_RATE,
    QUANTILES,
    SAID_S,
    PerformancePredictor,
    likeliest,
    performance_part,
    throughput,
    within,
)
from experiments.supervised.config import ModelsConfig
from experiments.supervised.forecast_figures import interval_figure, scenario_figure
from experiments.supervised.task import NAN, Evaluation, Measure, Shipped, Task, Tell
from sim.codecs import Codec, parse_codec
from sim.episode import Episode, draw_episode
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.scenarios import Scenario

MODEL_FILE: Final = "performance.npz"
DISPATCH_FILE: Final = "dispatch.npz"
_ALONE_S: Final = INPUTS.index("alone_s")
_BOUND: Final = (
    "the likeliest of {} other futures from the true state of the moment: payload, path and queues known, "
    "what comes next drawn anew"
)

Floats = NDArray[np.float64]


class _Found(NamedTuple):
    """Test transfers of one scenario, and those of them that were played in other futures."""

    outcomes: Outcomes
    said: Floats
    ceiling: float


def train(config: ModelsConfig, folder: Path, tell: Tell) -> None:
    """Play training and validation episodes and fit the trees."""
    settings = config.performance
    parts: dict[str, list[Outcomes]] = {"train": [], "validation": []}
    for name in settings.scenarios:
        for part, count in (("train", settings.episodes), ("validation", -(-settings.episodes // 4))):
            tell(f"transfers of {name}")
            parts[part].append(_recorded(config, name, part, count)[1])
    tell("trees, and a network")
    learned, held = (_joined(parts[part]) for part in parts)
    trees = settings.trees
    model = PerformancePredictor(
        BoostedConfig(
            "quantile", QUANTILES, rounds=trees.rounds, depth=trees.depth, rate=trees.rate, columns=0.7
        ),
        DensityConfig(units=settings.network.units, epochs=settings.network.epochs),
    )
    model.fit(performance_part(learned), performance_part(held), stream(config.seed, "performance"))
    model.save(folder / MODEL_FILE)
    tell("the same for what dispatch questions tell")
    told = PerformancePredictor(
        replace(model.config, rounds=max(1, trees.rounds // 2), depth=6),
        DensityConfig(units=settings.network.units, epochs=-(-settings.network.epochs // 2)),
    )
    taught, judged = (
        Part(without_untold(one.rows), one.truth) for one in map(performance_part, (learned, held))
    )
    told.fit(taught, judged, stream(config.seed, "performance dispatch"))
    told.save(folder / DISPATCH_FILE)


def evaluate(config: ModelsConfig, folder: Path, tell: Tell) -> Evaluation:
    """Shares of transfers that are predicted within 20 %, on new links of known and of unknown scenarios."""
    settings = config.performance
    model = PerformancePredictor.load(folder / MODEL_FILE)
    found: dict[str, _Found] = {}
    for name in (*settings.scenarios, *settings.held_out):
        tell(f"futures of {name}")
        episodes, outcomes = _recorded(config, name, "test", settings.test_episodes)
        found[name] = _Found(
            outcomes, model.predict(outcomes.rows), _ceiling(config, name, episodes, outcomes)
        )
    known = [found[name] for name in settings.scenarios]
    measures = _measures("", known, settings.futures, target=0.8)
    test, said = _joined([one.outcomes for one in known]), np.concatenate([one.said for one in known])
    inside = (test.seconds >= said[:, 0]) & (test.seconds <= said[:, len(QUANTILES) - 1])
    measures.append(
        Measure(
            "completion inside the 10 to 90 % interval",
            float(inside.mean()),
            ceiling=QUANTILES[-1] - QUANTILES[0],
            bound="what the quantiles promise: neither less nor more is right",
        )
    )
    if settings.held_out:
        unknown = [found[name] for name in settings.held_out]
        measures += _measures(" on scenarios never trained on", unknown, settings.futures)
    rows = _scenario_rows(found)
    return Evaluation(
        measures=measures,
        figures={
            "scenarios": (scenario_figure(rows, settings.held_out), "Where predictions hold"),
            "intervals": (interval_figure(test.seconds, said[:, : len(QUANTILES)], QUANTILES), "Intervals"),
        },
        shipped={"performance": Shipped(model, test.rows[:4000])},
        notes=[
            f"Transfers of {settings.episodes} episodes a scenario, their codecs drawn in "
            f"{settings.explore:.0%} of the cases; test transfers are of {settings.test_episodes} other "
            "episodes a scenario, each on links of its own.",
            f"The ceiling is of {settings.ceiling_transfers} test transfers a scenario, each played in "
            f"{settings.futures} other futures; it stands above what measurements could tell, for it "
            "knows the present as no sender does.",
        ],
        tables={"Within 20 % by scenario (completion time)": [_HEAD, *rows]},
        card={
            "Use": "Says before a transfer starts how long it will take and how fast it will go.",
            "Data": f"Simulated transfers of {', '.join(settings.scenarios)}.",
            "Limits": "What starts later, and where the link goes, is in the width of the interval only.",
        },
    )


_HEAD: Final = ["scenario", "transfers", "estimate", "law of the path", "model", "ceiling", "median error"]


def _scenario_rows(found: dict[str, _Found]) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for name, one in found.items():
        true, rows_of = one.outcomes.seconds, one.outcomes.rows
        shares = [
            float(within(said.astype(np.float64), true).mean())
            for said in (rows_of[:, _ALONE_S], rows_of[:, PROSPECT_S], one.said[:, SAID_S])
        ]
        error = float(np.median(np.abs(one.said[:, SAID_S] / true - 1)))
        rows.append([name, len(true), *shares, one.ceiling, error])
    return rows


def _measures(where: str, found: Sequence[_Found], futures: int, target: float = NAN) -> list[Measure]:
    """Completion time and rate, scenarios counted alike."""

    def share(of: Any) -> float:
        return float(np.mean([within(*of(one)).mean() for one in found]))

    ceiling = float(np.mean([one.ceiling for one in found]))
    bound = _BOUND.format(futures)
    rng = stream(0, "performance interval")
    each = [within(one.said[:, SAID_S], one.outcomes.seconds) for one in found]
    drawn = [float(np.mean([rng.choice(one, len(one)).mean() for one in each])) for _ in range(300)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    alone = "the sender's own estimate, alone on the path (`sim.estimates`)"
    return [
        Measure(
            f"completion time within {WITHIN:.0%}{where}",
            share(lambda one: (one.said[:, SAID_S], one.outcomes.seconds)),
            naive=share(lambda one: (one.outcomes.rows[:, _ALONE_S], one.outcomes.seconds)),
            ceiling=ceiling,
            target=target,
            baseline=alone,
            bound=bound,
            low=float(low),
            high=float(high),
        ),
        Measure(
            f"throughput within {WITHIN:.0%}{where}",
            share(
                lambda one: (
                    throughput(one.outcomes.size_bytes, one.said[:, SAID_S]),
                    one.outcomes.size_bytes / one.outcomes.seconds,
                )
            ),
            naive=share(
                lambda one: (
                    throughput(one.outcomes.size_bytes, one.outcomes.rows[:, _ALONE_S]),
                    one.outcomes.size_bytes / one.outcomes.seconds,
                )
            ),
            ceiling=ceiling,
            target=target,
            baseline="of the same estimate",
            bound="as above",
        ),
        Measure(
            f"rate on the wire within {WITHIN:.0%}{where}",
            share(lambda one: (one.said[:, MEDIAN_RATE], one.outcomes.wire_rate)),
            naive=share(lambda one: (one.outcomes.rows[:, PROSPECT_RATE], one.outcomes.wire_rate)),
            baseline="the law of the path alone",
        ),
    ]


def _ceiling(config: ModelsConfig, name: str, episodes: Sequence[Episode], outcomes: Outcomes) -> float:
    """Share of transfers within reach of who knows the present."""
    settings = config.performance
    rng, codecs = stream(config.seed, f"performance futures {name}"), _codecs(config)
    hits = []
    for row in rng.choice(len(outcomes), min(settings.ceiling_transfers, len(outcomes)), replace=False):
        number, request = int(outcomes.episode[row]), int(outcomes.request[row])
        own = np.flatnonzero(outcomes.episode == number)
        order = own[np.lexsort((outcomes.request[own], outcomes.start_s[own]))]
        before = order[: int(np.flatnonzero(order == row)[0]) + 1]
        futures = [
            another_future(episodes[number], float(outcomes.start_s[row]), request, rng)
            for _ in range(settings.futures)
        ]
        drawn = seconds_in(futures, codecs, outcomes.codec[before].tolist(), settings.explore, rng)
        hits.append(bool(within(np.array(likeliest(drawn)), outcomes.seconds[row])))
    return float(np.mean(hits))


def _recorded(config: ModelsConfig, name: str, part: str, count: int) -> tuple[list[Episode], Outcomes]:
    scenario = _scenario(config, name)
    seeds = stream(config.seed, f"performance {name} {part}").integers(2**31, size=count).tolist()
    rule = Exploring(config.performance.explore, stream(config.seed, f"performance {name} {part} codecs"))
    episodes = [draw_episode(scenario, seed) for seed in seeds]
    return episodes, record(episodes, _codecs(config), rule)


def _scenario(config: ModelsConfig, name: str) -> Scenario:
    scenario, requests = resolve(name), config.performance.requests
    return scenario if requests is None else scenario.with_(requests=requests)


def _codecs(config: ModelsConfig) -> list[Codec]:
    return [parse_codec(name) for name in config.performance.codecs]


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    """All transfers; numbers of episodes are those of their own parts."""
    return Outcomes(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


TASK: Final = Task(
    "performance",
    "Performance predictor",
    "How long will a transfer take, and how fast will it go?",
    train,
    evaluate,
)
