"""Anomalies of links as a task: isolation forest and autoencoder, thresholds by the false alarms allowed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.supervised.autoencoder import LatestAutoencoder
from agents.supervised.forest import IsolationForest
from agents.supervised.matched import recall_at, strengths
from agents.supervised.model import Part
from agents.supervised.sequences import SequenceConfig
from agents.supervised.thresholds import area, detection, for_false_positives
from agents.supervised.trailing import usual
from experiments.supervised.config import ModelsConfig
from experiments.supervised.figures import curve, operating_curves, scores_by_truth
from experiments.supervised.task import Evaluation, Measure, Shipped, Task, Tell, Watched
from experiments.supervised.telemetry import PartName, days, estate, grid, seed, telemetry
from experiments.supervised.windows import HABIT, Windows, against_habit
from sim.files import write_json
from sim.monitoring.telemetry import Monitoring, draw_monitoring
from sim.monitoring.wires import LINK_KINDS
from sim.randomness import stream
from sim.units import DAY

LINK: Final = (
    "utilisation",
    "rtt_s",
    "loss",
    "throughput",
    "bandwidth",
    "bandwidth_min",
    "retransmits",
    "streams",
)
HOST: Final = ("cpu_load", "memory_pressure")
FEATURES: Final = (*LINK, *HOST)
"""Nearest to the published ones; success and error are retransmits, chunk and ratio the bandwidths."""
_LEVELS: Final = ("utilisation", "streams", "cpu_load", "memory_pressure")
"""Of the others logarithms are taken."""
_FLOORS: Final = np.array(
    [{"memory_pressure": 0.3}.get(name, 0.02 if name in _LEVELS else 0.05) for name in FEATURES]
)
"""Smallest deviation that counts as one."""
_SPARE: Final = 0.8
"""Share of the false alarms allowed that thresholds may use on validation: other links may have more."""
_SEVERE: Final = 0.5
THRESHOLDS_FILE: Final = "thresholds.json"
_KINDS: Final = tuple(kind.name for kind in LINK_KINDS)


class Links(NamedTuple):
    """A part: windows, and the kind (-1: none) and severity of each step's trouble, (links, times)."""

    windows: Windows
    kind: NDArray[np.int64]
    severity: NDArray[np.float64]
    time_s: NDArray[np.float64]


def train(config: ModelsConfig, folder: Path, tell: Tell) -> None:
    """Fit to one estate without labels (the network leaves out its known events), thresholds on another."""
    settings, rng = config.anomaly, stream(config.seed, "anomaly")
    known, held = (_links(config, folder, part, tell) for part in ("train", "validation"))
    forest = IsolationForest(FEATURES, settings.forest.trees, settings.forest.sample)
    tell("forest")
    steps = known.windows.steps.reshape(-1, len(FEATURES))
    forest.fit(Part(steps, np.zeros((len(steps), 1))), Part(steps[:2], np.zeros((2, 1))), rng)
    forest.save(folder / "forest.npz")
    tell("autoencoder")
    size = settings.network
    shape = SequenceConfig(size.steps, size.units, size.latent, size.epochs)
    network = LatestAutoencoder(FEATURES, ["error"], shape)
    learned, stopped = (one.windows.sample(size.windows, rng, every=3) for one in (known, held))
    network.fit(learned, stopped, rng)
    network.save(folder / "autoencoder.npz")
    tell("thresholds")
    allowed = _SPARE * settings.false_positives
    judged = _judged(held, forest, network)
    calm = {name: for_false_positives(scores, truth, allowed) for name, (scores, truth) in judged.items()}
    either = _either(judged, calm, allowed)
    write_json(folder / THRESHOLDS_FILE, {**calm, "either": either})


def evaluate(config: ModelsConfig, folder: Path, tell: Tell) -> Evaluation:
    """False alarms and recall on the links of the test estate, beside the rule and the matched filter."""
    test = _links(config, folder, "test", tell)
    forest = IsolationForest.load(folder / "forest.npz")
    network = LatestAutoencoder.load(folder / "autoencoder.npz")
    limits = json.loads((folder / THRESHOLDS_FILE).read_text("utf-8"))
    tell("scores")
    judged = _judged(test, forest, network)
    tell("ceiling")
    squares = _squares(config, folder, test, tell)
    windows = test.windows
    last = windows.length - 1
    event = test.windows.event[:, last:]
    of_steps = squares[:, last:][event]
    judged["both"] = _both(judged, limits), judged["forest"][1]
    limits["both"] = limits["either"]
    found = {name: detection(scores, truth, limits[name]) for name, (scores, truth) in judged.items()}
    curves = {name: curve(scores, truth) for name, (scores, truth) in judged.items()}
    rates = curves["both"][0]
    curves["matched filter (ceiling)"] = rates, np.array([recall_at(of_steps, rate) for rate in rates])
    best = found["both"]
    ceiling = recall_at(of_steps, best.false_positive_rate)
    told = "utilisation, round trip, loss and throughput by the published fixed rule"
    bound = (
        "a matched filter that knows kind, strength and time of each trouble and what it adds in mean, "
        "of one step, "
        "at the same rate of false alarms"
    )
    measures = [
        Measure("false alarms, quiet steps", best.false_positive_rate, found["rule"].false_positive_rate,
                0.0, config.anomaly.false_positives, lower_is_better=True, baseline=told),
        Measure("recall of steps", best.recall, found["rule"].recall, ceiling, baseline=told, bound=bound),
        Measure("recall of troubles, any step", _events(test, judged["both"], limits["both"]),
                _events(test, judged["rule"], limits["rule"]), baseline=told),
        Measure("precision of steps", best.precision, found["rule"].precision, baseline=told),
        Measure("area under ROC", area(*judged["both"]), area(*judged["rule"]), baseline=told),
        *(
            Measure(f"{name}: {what}", getattr(found[name], field))
            for name in ("forest", "autoencoder")
            for what, field in (("recall", "recall"), ("false alarms", "false_positive_rate"))
        ),
        *(Measure(f"{name}: area under ROC", area(*judged[name])) for name in ("forest", "autoencoder")),
    ]  # fmt: skip
    parity = windows.sample(1000, stream(config.seed, "parity")).rows
    return Evaluation(
        measures=measures,
        figures={
            "operating": (
                operating_curves(
                    curves,
                    {name: (one.false_positive_rate, one.recall) for name, one in found.items()},
                    "How many minutes of trouble does each detector find, at what price?",
                    "Minutes of links never seen in training. Dots: thresholds from validation.",
                ),
                "Recall of minutes against false alarms",
            ),
            "scores": (
                scores_by_truth(
                    {name: (*judged[name], limits[name]) for name in ("forest", "autoencoder")},
                    "How far do scores part minutes of trouble from quiet ones?",
                    "Test minutes; each part's area is the same.",
                ),
                "Scores of quiet minutes and of those in trouble",
            ),
        },
        shipped={
            "forest": Shipped(forest, parity[:, -1]),
            "autoencoder": Shipped(network, parity),
        },
        notes=[
            f"{int(event.sum())} of {event.size} test minutes are in trouble: an outage, a drop, a burst "
            "of loss or a "
            f"congestion of severity {_SEVERE:g} or more. Precursors and what heals count neither way.",
            "The alarm stands when either score passes its threshold, as published; thresholds share the "
            "false alarms "
            "allowed. No contamination is assumed: the published 0.1 would fix false alarms near 10 %.",
        ],
        card={
            "Use": "Raises an alarm for a link from its last minutes and those of the host behind it.",
            "Data": "Simulated links of three estates: fitted to the first without labels, thresholds "
            "from the second, "
            "measured on the third. Everything is seen against the link's own last day.",
            "Limits": "A trouble that lasts longer than a day becomes a habit.",
        },
        watched=_watched(config, folder, test, judged["both"], limits["both"], tell),
        tables={"By kind of trouble": _by_kind(test, judged, limits, squares, best.false_positive_rate)},
    )


def _links(config: ModelsConfig, folder: Path, part: PartName, tell: Tell) -> Links:
    drawn = telemetry(config, folder.parent, part, tell)
    whole = grid(drawn.link_metrics, "link", (*LINK, "site", "severity", "incident"))
    steps = np.stack([against_habit(one, _FLOORS) for one in _logs(drawn)])
    memory = FEATURES.index("memory_pressure")
    steps[:, :, memory] = np.maximum(steps[:, :, memory], 0.0)  # a host with memory to spare is in no trouble
    tamed = np.arcsinh(steps).astype(np.float32)  # far out, factors count
    incident, severity = whole.column("incident").astype(np.int64), whole.column("severity")
    kinds = dict(
        zip(drawn.incidents["incident"].to_pylist(), drawn.incidents["kind"].to_pylist(), strict=True)
    )
    number = {key: _KINDS.index(kind) for key, kind in kinds.items() if kind in _KINDS}
    kind = np.full(incident.shape, -1, np.int64)
    for key, one in number.items():
        kind[incident == key] = one
    event = (kind >= 0) & (severity >= _SEVERE)
    return Links(
        Windows(tamed, event, (kind >= 0) & ~event, config.anomaly.network.steps),
        kind,
        severity,
        whole.time_s,
    )


def _logs(drawn: Monitoring) -> NDArray[np.float64]:
    """Features before they are seen against a habit, (links, times, F)."""
    links = grid(drawn.link_metrics, "link", (*LINK, "site"))
    hosts = grid(drawn.host_metrics, "site", HOST)
    of = links.column("site")[:, 0].astype(np.int64)
    values = np.concatenate([links.values[:, :, : len(LINK)], hosts.values[of]], axis=2)
    for place, name in enumerate(FEATURES):
        if name not in _LEVELS:
            least = {"loss": 1e-4, "retransmits": 1.0, "rtt_s": 1e-4}.get(name, 1e3)
            values[:, :, place] = np.log(values[:, :, place] + least)
    return values


def _judged(links: Links, forest: IsolationForest, network: LatestAutoencoder) -> dict[str, Any]:
    """Scores and truth of the last steps of all windows that count, by detector."""
    windows = links.windows
    last = windows.length - 1
    entity, end = np.nonzero(~windows.open_[:, last:])
    scores: dict[str, list[NDArray[np.float64]]] = {"forest": [], "autoencoder": [], "rule": []}
    for some in np.array_split(np.arange(len(end)), max(1, len(end) // 4096)):
        rows = windows.at(entity[some], end[some])
        scores["forest"].append(forest.predict(rows[:, -1])[:, 0])
        scores["autoencoder"].append(network.predict(rows)[:, 0])
        scores["rule"].append(_rule(rows[:, -1]))
    truth = windows.event[entity, end + last]
    return {name: (np.concatenate(parts), truth) for name, parts in scores.items()}


def _rule(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest departure of the four metrics of the published fixed rule, in deviations."""
    places = [FEATURES.index(name) for name in ("utilisation", "rtt_s", "loss", "throughput")]
    return np.asarray(np.abs(rows[:, places]).max(axis=1), np.float64)


def _both(judged: dict[str, Any], limits: dict[str, float]) -> NDArray[np.float64]:
    """The larger one of both scores, each over its own threshold."""
    parts = [judged[name][0] / limits[name] for name in ("forest", "autoencoder")]
    return np.maximum(*parts)


def _either(judged: dict[str, Any], limits: dict[str, float], allowed: float) -> float:
    """Threshold of `_both` under which both together give no more false alarms than are allowed."""
    return for_false_positives(_both(judged, limits), judged["forest"][1], allowed)


def _events(links: Links, judged: Any, limit: float) -> float:
    """Share of troubles with an alarm in any of their steps."""
    scores, _ = judged
    last = links.windows.length - 1
    alarm = np.zeros(links.windows.open_[:, last:].shape, np.bool_)
    alarm[~links.windows.open_[:, last:]] = scores >= limit
    found = []
    for own, row in zip(links.windows.event[:, last:], alarm, strict=True):
        edges = np.flatnonzero(np.diff(np.pad(own.astype(np.int8), 1)))
        found += [bool(row[start:stop].any()) for start, stop in edges.reshape(-1, 2)]
    return float(np.mean(found)) if found else float("nan")


def _squares(config: ModelsConfig, folder: Path, test: Links, tell: Tell) -> NDArray[np.float64]:
    """Squared distance over the noise of each step, from the same estate without trouble, (links, times)."""
    with_ = _logs(telemetry(config, folder.parent, "test", tell))
    calm = estate(config)
    calm = replace(calm, nodes=1, groups=1, links=replace(calm.links, incidents_per_day=0.0))
    tell("draw the same estate without trouble")
    without = _logs(draw_monitoring(calm, seed(config, "test"), days(config, "test") * DAY))
    found = np.zeros(test.kind.shape)
    for link, kind in enumerate(test.kind):
        event = test.windows.event[link]
        if event.any():
            noise = without[link] - usual(without[link], *HABIT)
            noise = noise + 0.01 * stream(config.seed, f"floor {link}").standard_normal(noise.shape)
            added = (with_ - without)[link, event]
            found[link, event] = strengths(added, test.severity[link, event], kind[event], noise)
    return found


def _by_kind(
    test: Links, judged: dict[str, Any], limits: dict[str, float], squares: NDArray[np.float64], rate: float
) -> list[list[Any]]:
    last = test.windows.length - 1
    counted = ~test.windows.open_[:, last:]
    of, strength = test.kind[:, last:][counted], squares[:, last:][counted]
    truth = judged["both"][1]
    rows: list[list[Any]] = [
        ["kind", "minutes", "recall", "recall, forest", "recall, autoencoder", "ceiling"]
    ]
    for number, name in enumerate(_KINDS):
        own = truth & (of == number)
        if own.any():
            shares = [
                float(np.mean(judged[one][0][own] >= limits[one]))
                for one in ("both", "forest", "autoencoder")
            ]
            rows.append([name, int(own.sum()), *shares, recall_at(strength[own], rate)])
    return rows


def _watched(
    config: ModelsConfig, folder: Path, test: Links, judged: Any, limit: float, tell: Tell
) -> Watched:
    """Steps in order of time; predicted is the alarm, actual whether there was trouble."""
    windows = test.windows
    last = windows.length - 1
    entity, end = np.nonzero(~windows.open_[:, last:])
    order = np.argsort(end, kind="stable")
    scores, truth = judged
    day = ((test.time_s[end + last] - 1) // 86_400).astype(np.int64)[order]
    known = _links(config, folder, "train", tell).windows
    before = known.steps[~known.event][:: max(1, known.event.size // 50_000)]
    alarm = (scores >= limit).astype(np.float64)[order]
    return Watched(
        FEATURES,
        before,
        windows.steps[entity, end + last][order],
        day,
        alarm,
        truth[order].astype(np.float64),
    )


TASK: Final = Task(
    "anomaly",
    "Anomaly detector",
    "When is a link in trouble, or the host behind it?",
    train,
    evaluate,
)
