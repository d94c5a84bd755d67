"""The compression selector as a task: cross-validated, calibrated, with a fallback, beside the ceiling."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.catalogue import make_policy
from agents.supervised.attainable import Redrawn, attainable, moments_of, redraw
from agents.supervised.attainable import joined as redrawn_joined
from agents.supervised.calibrated import CalibratedSelector, calibration_error
from agents.supervised.ensemble import NETWORK, Ensemble
from agents.supervised.labels import Labels, Realised, joined, label, nn19_columns
from agents.supervised.model import Part
from agents.supervised.path_law import PathLaw
from agents.supervised.trees import TreesConfig
from agents.supervised.two_class import NETWORK as PUBLISHED
from agents.supervised.two_class import TwoClassNetwork
from envs.base import WorldEnv
from envs.features import CODEC_FEATURES
from experiments.agreement import class_scores, confusion
from experiments.splits import environment_class
from experiments.supervised.config import ModelsConfig
from experiments.supervised.selector_figures import calibration_figure, confusion_figure
from experiments.supervised.task import Evaluation, Measure, Shipped, Task, Tell, Watched
from sim.codecs import parse_codec
from sim.episode import draw_episode
from sim.files import write_json
from sim.randomness import stream
from sim.scenario_file import resolve
from sim.scenarios import Scenario

DRAWS: Final = 24
"""Draws of what stays hidden, for each test decision."""
CROSS_FILE: Final = "cross-validation.json"
_PLAUSIBLE: Final = 0.3
"""Chance from which the fallback may take a codec: on validation episodes it is right where the model is not
sure as often as the model's likeliest then; with 0.15 a little less often."""
_SHARES: Final = {"train": (0.0, 0.7), "validation": (0.7, 0.85), "test": (0.85, 1.0)}


class _Episodes(NamedTuple):
    """Scenarios, and the seeds of their episodes of a part."""

    scenarios: list[Scenario]
    env: WorldEnv
    seeds: dict[str, list[int]]


def train(config: ModelsConfig, folder: Path, tell: Tell) -> None:
    """Cross-validate the ensemble on training episodes, then train both selectors on all of them."""
    settings, episodes = config.selector, _episodes(config)
    tell("labels")
    parts = {part: _labels(config, episodes, part) for part in ("train", "validation")}
    scores = []
    folds = [parts["train"][number :: settings.folds] for number in range(settings.folds)]
    for number in range(settings.folds):
        tell(f"fold {number + 1} of {settings.folds}")
        rest = joined([one for other, fold in enumerate(folds) if other != number for one in fold])
        held, model = joined(folds[number]), _ensemble(config)
        model.fit(_part(rest), _part(held), stream(config.seed, f"selector fold {number}"))
        scores.append(float(np.mean(model.predict(held.rows).argmax(axis=1) == held.best)))
    write_json(folder / CROSS_FILE, {"accuracy": scores})
    learned, held = (joined(parts[part]) for part in ("train", "validation"))
    for name, model in _models(config).items():
        tell(name)
        choices = _choices(config, name)
        model.fit(_part(learned, choices), _part(held, choices), stream(config.seed, f"selector {name}"))
        model.save(folder / f"{name}.npz")


def evaluate(config: ModelsConfig, folder: Path, tell: Tell) -> Evaluation:
    """Accuracy, F1 and regret on test episodes, beside the rule, the majority and what is attainable."""
    settings, episodes = config.selector, _episodes(config)
    names = settings.codecs
    tell("ceilings")
    by_scenario = {scenario.name: _redrawn(config, episodes, scenario) for scenario in episodes.scenarios}
    test = redrawn_joined(list(by_scenario.values()))
    models = {name: CalibratedSelector.load(folder / f"{name}.npz") for name in _models(config)}
    chances = {name: model.predict(test.rows) for name, model in models.items()}
    rule = np.asarray(make_policy("estimate", episodes.env).act(test.rows), np.int64)
    best = test.costs.argmin(axis=1)
    main = chances["ensemble"]
    sure = main.max(axis=1) >= settings.confidence
    law = _by_law(config, test.rows, main, rule)
    answers = np.where(sure, main.argmax(axis=1), law)
    ceiling, knowing = attainable(test.seen), attainable(test.payload)
    cross = np.array(json.loads((folder / CROSS_FILE).read_text("utf-8"))["accuracy"])
    majority = float(np.bincount(best).max() / len(best))
    right = float(np.mean(answers == best))
    measures = [
        Measure(
            "accuracy, share of the attainable",
            right / ceiling.accuracy,
            naive=float(np.mean(rule == best)) / ceiling.accuracy,
            ceiling=1.0,
            target=0.98,
            baseline="the estimate rule, which computes each codec's time from probe and sample",
            bound="1 by definition; the attainable accuracy is the next line's ceiling",
        ),
        Measure(
            "decision accuracy",
            right,
            naive=majority,
            ceiling=ceiling.accuracy,
            target=0.98,
            baseline="always the codec that is best most often",
            bound=f"the likeliest label over {DRAWS} draws of the payload's noises and losses, of what its "
            "sample may stand for, of deltas before the first, and of the path as its probes leave it open; "
            f"with the path known, {knowing.accuracy:.3f}",
            **_interval(answers == best, by_scenario),
        ),
        *_class_measures(names, best, answers, rule, ceiling.f1),
        Measure(
            "regret",
            _regret(test.costs, answers),
            naive=_regret(test.costs, rule),
            ceiling=ceiling.regret,
            target=0.01,
            lower_is_better=True,
            baseline="the estimate rule",
            bound="cost of the answer with the least mean cost over the same draws; with the path known, "
            f"{knowing.regret:.2%}",
        ),
        Measure(
            "accuracy in cross-validation",
            float(cross.mean()),
            low=float(cross.min()),
            high=float(cross.max()),
        ),
        Measure("accuracy without fallback", float(np.mean(main.argmax(axis=1) == best))),
        Measure("accuracy of the fallback alone", float(np.mean(law == best))),
        Measure("regret of the fallback alone", _regret(test.costs, law), lower_is_better=True),
        Measure("left to the fallback rule", float(np.mean(~sure)), lower_is_better=True),
        Measure(
            "calibration error",
            calibration_error(main, best),
            naive=calibration_error(models["ensemble"].selector.probabilities(test.rows), best),
            lower_is_better=True,
            baseline="before the temperature was fitted",
        ),
    ]
    notes = [
        f"Labels: the codec with the least cost ({settings.labels}); "
        f"{len(best)} test decisions of episodes that no selector was trained on.",
        f"The ensemble's temperature is {models['ensemble'].temperature:.2f}. Where its best chance is below "
        f"{settings.confidence:g}, the law of the path decides: the least cost by its formulas, of codecs "
        f"with a chance of {_PLAUSIBLE:g} and more.",
        f"Ceilings are a little too low rather than too high: of {DRAWS} draws each "
        "draw is judged by an answer chosen on the others.",
    ]
    tables = {"By scenario": _scenario_rows(by_scenario, answers, rule)}
    if "nn19" in models:
        measures += _two_class_measures(config, test, chances["nn19"])
    return Evaluation(
        measures=measures,
        figures={
            "calibration": (calibration_figure(main, best), "Confidence and accuracy of the ensemble"),
            "confusion": (
                confusion_figure(confusion(best, answers, len(names)), names),
                "Oracle and selector",
            ),
        },
        shipped={name: Shipped(model, test.rows[:4000]) for name, model in models.items()},
        notes=notes,
        tables=tables,
        card={
            "Use": "Chooses a codec before a transfer starts, from what its sender has measured.",
            "Data": f"Decisions of {', '.join(settings.scenarios)}; {settings.episodes} episodes each, "
            "70 % for training, 15 % for stopping and calibration, 15 % for the test, parted by episode.",
            "Limits": "It imitates an oracle that sees one transfer: neither queues nor later deltas count.",
        },
        watched=_watched(config, episodes, test, main),
    )


def _episodes(config: ModelsConfig) -> _Episodes:
    settings = config.selector
    scenarios = [resolve(name) for name in settings.scenarios]
    if settings.requests is not None:
        scenarios = [replace(one, requests=settings.requests) for one in scenarios]  # type: ignore[arg-type]
    env = environment_class("dwcp/Compression-v0")(scenarios, settings.codecs, forecasts=_forecasts(config))
    drawn = stream(config.seed, "selector episodes").integers(2**31, size=settings.episodes).tolist()
    seeds = {
        part: drawn[round(low * len(drawn)) : round(high * len(drawn))]
        for part, (low, high) in _SHARES.items()
    }
    return _Episodes(scenarios, env, seeds)


def _labels(config: ModelsConfig, episodes: _Episodes, part: str) -> list[Labels]:
    """Labels of a part, episode by episode, the scenarios of a seed together."""
    codecs = [parse_codec(name) for name in config.selector.codecs]
    realised = Realised(codecs, "one_step") if config.selector.labels == "one_step" else None
    found = []
    for seed in episodes.seeds[part]:
        drawn = [draw_episode(scenario, seed) for scenario in episodes.scenarios]
        each = [realised.label(one) if realised else label(episodes.env, one) for one in drawn]
        found.append(joined(each))
    return found


def _redrawn(config: ModelsConfig, episodes: _Episodes, scenario: Scenario) -> Redrawn:
    """All test decisions of a scenario, under `DRAWS` draws."""
    moments = moments_of(scenario, stream(config.seed, f"selector moments {scenario.name}"))
    drawn = (draw_episode(scenario, seed) for seed in episodes.seeds["test"])
    return redrawn_joined([redraw(episodes.env, episode, DRAWS, moments) for episode in drawn])


def _by_law(
    config: ModelsConfig,
    rows: NDArray[np.float32],
    chances: NDArray[np.float64],
    otherwise: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Of the plausible codecs that of least cost by the law of the path, where it is among the inputs."""
    names = _inputs(config)
    if (first := f"edge_{config.selector.codecs[0]}") not in names:
        return otherwise
    place = names.index(first)
    costs = rows[:, place : place + len(config.selector.codecs)]
    return np.where(chances >= _PLAUSIBLE, costs, np.inf).argmin(axis=1)


def _ensemble(config: ModelsConfig) -> CalibratedSelector:
    settings = config.selector
    trees = TreesConfig(settings.trees.rounds, settings.trees.depth, settings.trees.rate)
    selector = Ensemble(len(settings.codecs), trees, replace(NETWORK, epochs=settings.epochs))
    return CalibratedSelector(_inputs(config), settings.codecs, selector)


def _inputs(config: ModelsConfig) -> tuple[str, ...]:
    own = tuple(feature.name for part in _forecasts(config) for feature in part.features)
    return CODEC_FEATURES.names + own


def _forecasts(config: ModelsConfig) -> list[PathLaw]:
    """What is seen beside the question; lanes, which tell real costs, show no more than it."""
    if config.selector.labels != "oracle":
        return []
    return [PathLaw([parse_codec(name) for name in config.selector.codecs])]


def _models(config: ModelsConfig) -> dict[str, CalibratedSelector]:
    models = {"ensemble": _ensemble(config)}
    choices = _choices(config, "nn19")
    if choices is not None:
        names = config.selector.codecs
        shape = replace(PUBLISHED, epochs=config.selector.epochs)
        network = TwoClassNetwork(len(names), nn19_columns(), (choices[0], choices[1]), shape)
        models["nn19"] = CalibratedSelector(_inputs(config), names, network)
    return models


def _choices(config: ModelsConfig, name: str) -> Sequence[int] | None:
    """The actions that a selector chooses from; None for all, or where its two are not on offer."""
    names = config.selector.codecs
    if name == "ensemble" or not {"hde", "amst"} <= set(names):
        return None
    return names.index("hde"), names.index("amst")


def _part(labels: Labels, choices: Sequence[int] | None = None) -> Part:
    """Labels; all count alike: weighed by what is at stake, neither regret nor accuracy was better."""
    places = np.arange(labels.costs.shape[1]) if choices is None else np.asarray(choices)
    best = places[labels.costs[:, places].argmin(axis=1)]
    return Part(labels.rows, best[:, None].astype(np.float64))


def _regret(costs: NDArray[np.float64], answers: NDArray[np.int64]) -> float:
    return float(costs[np.arange(len(costs)), answers].sum() / costs.min(axis=1).sum() - 1)


def _interval(right: NDArray[np.bool_], by_scenario: dict[str, Redrawn]) -> dict[str, Any]:
    """Bootstrap interval of a share, resampling within scenarios."""
    rng, ends = stream(0, "selector interval"), np.cumsum([len(one.rows) for one in by_scenario.values()])
    parts = np.split(right, ends[:-1])
    means = [np.concatenate([rng.choice(part, len(part)) for part in parts]).mean() for _ in range(300)]
    low, high = np.quantile(means, (0.025, 0.975))
    return {"low": float(low), "high": float(high)}


def _class_measures(
    names: Sequence[str],
    best: NDArray[np.int64],
    answers: NDArray[np.int64],
    rule: NDArray[np.int64],
    ceiling: NDArray[np.float64],
) -> list[Measure]:
    scores, naive = (class_scores(confusion(best, given, len(names))) for given in (answers, rule))
    return [
        Measure(
            f"F1 of {name}",
            float(scores.f1[place]),
            naive=float(naive.f1[place]),
            ceiling=float(ceiling[place]),
            target=0.95,
            baseline="the estimate rule",
            bound=f"F1 of the likeliest label over the same draws ({scores.support[place]} decisions)",
        )
        for place, name in enumerate(names)
        if scores.support[place]
    ]


def _two_class_measures(config: ModelsConfig, test: Redrawn, chances: NDArray[np.float64]) -> list[Measure]:
    """The 19-feature network: HDE or AMST, by its own two costs."""
    choices = list(_choices(config, "nn19") or ())
    best = test.costs[:, choices].argmin(axis=1)
    ceiling = attainable(test.seen[:, :, choices])
    return [
        Measure(
            "19 features, HDE or AMST",
            float(np.mean(chances[:, choices].argmax(axis=1) == best)),
            naive=float(np.bincount(best).max() / len(best)),
            ceiling=ceiling.accuracy,
            target=0.98,
            baseline="always the more frequent of the two",
            bound="as above, of these two costs alone",
        )
    ]


def _scenario_rows(
    by_scenario: dict[str, Redrawn], answers: NDArray[np.int64], rule: NDArray[np.int64]
) -> list[list[Any]]:
    rows: list[list[Any]] = [
        [
            "scenario",
            "decisions",
            "majority",
            "estimate rule",
            "selector",
            "attainable",
            "regret",
            "attainable regret",
        ]
    ]
    start = 0
    for name, one in by_scenario.items():
        own = slice(start, start + len(one.rows))
        start = own.stop
        best, bound = one.costs.argmin(axis=1), attainable(one.seen)
        shares = [
            np.bincount(best).max() / len(best),
            np.mean(rule[own] == best),
            np.mean(answers[own] == best),
        ]
        regrets = [_regret(one.costs, answers[own]), bound.regret]
        rows.append([name, len(best), *map(float, shares), bound.accuracy, *regrets])
    return rows


def _watched(
    config: ModelsConfig, episodes: _Episodes, test: Redrawn, chances: NDArray[np.float64]
) -> Watched:
    """Test decisions, shuffled into ten days; an answer that the oracle gives counts as right."""
    before = joined(_labels(config, episodes, "train")[:10]).rows
    order = stream(config.seed, "selector days").permutation(len(test.rows))
    chosen, best = chances.argmax(axis=1)[order], test.costs.argmin(axis=1)[order]
    day = np.arange(len(order)) * 10 // max(1, len(order))
    right = (chosen == best).astype(np.float64)
    return Watched(_inputs(config), before, test.rows[order], day, np.ones(len(order)), right)


TASK: Final = Task(
    "selector",
    "Compression selector",
    "Which codec does the one-step oracle take, from what a sender can measure?",
    train,
    evaluate,
    p99_ms=1.0,
)
