"""Consensus latency as a task: an autoencoder, and trees beside it, say when a group misbehaves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.supervised.autoencoder import Autoencoder
from agents.supervised.boosted import Boosted, BoostedConfig
from agents.supervised.matched import Bound, best_of_both, recall_at, strengths
from agents.supervised.model import Part
from agents.supervised.sequences import SequenceConfig
from agents.supervised.thresholds import Detection, area, detection, for_both
from agents.supervised.trailing import usual
from experiments.supervised.config import ModelsConfig
from experiments.supervised.figures import curve, operating_curves, scores_by_truth
from experiments.supervised.task import Evaluation, Measure, Shipped, Task, Tell, Watched
from experiments.supervised.telemetry import PartName, days, estate, grid, seed, telemetry
from experiments.supervised.windows import HABIT, Windows, against_habit
from sim.files import write_json
from sim.monitoring.consensus import ANOMALIES, draw_anomalies
from sim.monitoring.courses import NONE
from sim.monitoring.telemetry import draw_monitoring
from sim.randomness import stream
from sim.units import DAY

FEATURES: Final = (
    "queue_depth", "proposals_pending", "proposals_committed", "latency_p50_s", "latency_p95_s",
    "latency_p99_s", "leader_changes", "quorum_size", "active_nodes", "network_tier", "dwcp_mode",
    "consensus_type",
)  # fmt: skip
"""The 12 published ones, in their order."""
_HABITUAL: Final = 6
"""So many first ones are seen against the group's own habit, in logarithms; the others as they are."""
_FLOORS: Final = np.array([0.05, 0.05, 0.05, 0.02, 0.02, 0.02])
"""Smallest deviation of a logarithm that counts as one."""
_MOVING: Final = (0, 1, 2, 3, 4, 5, 6, 8)
"""Those that move: the others say what kind of group it is."""
_SCALES: Final = (1, 2, 4, 8, 12, 20)
"""Steps over which trees see means: an anomaly may stand anywhere in the window, or reach into it."""
SUMMARIES: Final = (
    *(f"{FEATURES[place]}" for place in range(len(FEATURES)) if place not in _MOVING),
    *(
        f"{name} {what}"
        for what in (
            "mean",
            *(f"{which} {steps}" for steps in _SCALES for which in ("last", "first", "largest", "smallest")),
        )
        for name in (*(FEATURES[place] for place in _MOVING), "latency")
    ),
)
"""Of each that moves, and of the mean of the three latencies: means over the window, its end, its start, and
where they are largest and smallest."""
_TREE_WINDOWS: Final = 16
"""So many times the windows of the network train the trees, which are quicker."""
THRESHOLDS_FILE: Final = "thresholds.json"
_KINDS: Final = tuple(kind.name for kind in ANOMALIES)
_OF_LINK: Final = len(_KINDS)
"""Number of a congestion that is a link's, not the group's own."""


class Rounds(NamedTuple):
    """A part: windows, and the kind (-1: none) and intensity of each step's anomaly, (groups, times)."""

    windows: Windows
    kind: NDArray[np.int64]
    intensity: NDArray[np.float64]
    time_s: NDArray[np.float64]


def train(config: ModelsConfig, folder: Path, tell: Tell) -> None:
    """Fit to quiet windows (the trees: to all) of one estate; thresholds where both are best on another."""
    settings, rng = config.consensus.network, stream(config.seed, "consensus")
    known, held = (_rounds(config, folder, part, tell) for part in ("train", "validation"))
    learned, stopped = (one.windows.sample(settings.windows, rng, every=3) for one in (known, held))
    more, judges = (one.windows.sample(_TREE_WINDOWS * settings.windows, rng) for one in (known, held))
    tell("autoencoder")
    shape = SequenceConfig(settings.steps, settings.units, settings.latent, settings.epochs)
    network = Autoencoder(FEATURES, ["error"], shape)
    network.fit(learned, stopped, rng)
    network.save(folder / "autoencoder.npz")
    tell("trees")
    trees = Boosted(SUMMARIES, ["chance"], BoostedConfig("event", rounds=300, depth=4, columns=0.3))
    trees.fit(_summed(more), _summed(judges), rng)
    trees.save(folder / "trees.npz")
    tell("thresholds")
    chosen = {}
    judged = _judged(held, network, trees)
    for name, (scores, truth) in judged.items():
        limit = for_both(scores, truth)
        found = detection(scores, truth, limit)
        chosen[name] = {"threshold": limit, "both": min(found.recall, found.precision)}
    write_json(folder / THRESHOLDS_FILE, chosen)


def evaluate(config: ModelsConfig, folder: Path, tell: Tell) -> Evaluation:
    """Recall and precision of windows on the test estate, beside the rule and the matched filter."""
    test = _rounds(config, folder, "test", tell)
    network = Autoencoder.load(folder / "autoencoder.npz")
    trees = Boosted.load(folder / "trees.npz")
    chosen = json.loads((folder / THRESHOLDS_FILE).read_text("utf-8"))
    tell("scores")
    judged = _judged(test, network, trees)
    found = {name: detection(judged[name][0], judged[name][1], chosen[name]["threshold"]) for name in judged}
    tell("ceiling")
    causes = _causes(config, test)
    squares = _squares(config, folder, test, causes, tell)
    windows = test.windows
    events = windows.any_event
    quiet = int((windows.counted & ~events).sum())
    sums = windows.sums(squares)
    of_windows = sums[events]
    bound = best_of_both(of_windows, quiet)
    best = max(("autoencoder", "trees"), key=lambda name: chosen[name]["both"])
    curves = {name: curve(*pair) for name, pair in judged.items()}
    rates = curves[best][0]
    curves["matched filter (ceiling)"] = rates, np.array([recall_at(of_windows, rate) for rate in rates])
    return Evaluation(
        measures=_measures(best, found, bound, judged),
        figures={
            "operating": (
                operating_curves(
                    curves,
                    {name: (one.false_positive_rate, one.recall) for name, one in found.items()},
                    "How many windows with an anomaly does each detector find, at what price?",
                    "Windows of 30 minutes of groups never seen in training. Dots: thresholds from "
                    "validation.",
                ),
                "Recall of windows against false alarms",
            ),
            "scores": (
                scores_by_truth(
                    {name: (*judged[name], chosen[name]["threshold"]) for name in ("autoencoder", "trees")},
                    "How far do scores part windows with an anomaly from quiet ones?",
                    "Test windows; each part's area is the same.",
                ),
                "Scores of quiet windows and of those with an anomaly",
            ),
        },
        shipped={
            "autoencoder": Shipped(network, windows.sample(1000, stream(config.seed, "parity")).rows),
            "trees": Shipped(trees, _summed(windows.sample(1000, stream(config.seed, "parity"))).rows),
        },
        notes=[
            f"{int(events.sum())} of {int(windows.counted.sum())} test windows hold an anomaly, of "
            f"{len(events)} groups over {len(test.time_s)} intervals. Windows overlap, as they do in use.",
            "The trees see means and peaks of the same windows and, other than the autoencoder, labels; "
            "that of the "
            f"two is the detector which is better on validation: the {best}.",
            "What is missed is the weakest congestion of groups within one site, some 2 ms beside 30 ms of "
            "logging, and anomalies of which a window holds a step or two.",
            "The published detection accuracy of 97.10 % is the mean of precision and recall at a "
            "threshold chosen on "
            "test labels.",
        ],
        card={
            "Use": "Raises an alarm for a consensus group from its last 30 intervals.",
            "Data": "Simulated groups of three estates: fitted to the first, stopped and thresholds "
            "chosen on the "
            "second, measured on the third. Latency, queue and proposals are seen against the group's "
            "own last day.",
            "Limits": "Four published kinds of anomalies; what is none of them has not been tried.",
        },
        watched=_watched(config, folder, test, judged[best], chosen[best]["threshold"], tell),
        tables={"By kind of anomaly": _by_kind(test, causes, judged, chosen, best, sums, bound)},
    )


def _measures(best: str, found: dict[str, Detection], bound: Bound, judged: dict[str, Any]) -> list[Measure]:
    one, rule = found[best], found["rule"]
    told = "the 99th percentile of latency against the group's own last day"
    filter_ = (
        "a matched filter that knows kind, strength and time of each anomaly and what it adds in mean, "
        "at the "
        "rate of false alarms where recall and precision are as good as both can be"
    )
    other = "trees" if best == "autoencoder" else "autoencoder"
    return [
        Measure("recall of windows", one.recall, rule.recall, bound.recall, 0.98, baseline=told,
                bound=filter_),
        Measure("precision of windows", one.precision, rule.precision, bound.precision, 0.98, baseline=told,
                bound=filter_),
        Measure("false alarms", one.false_positive_rate, rule.false_positive_rate, bound.false_positive_rate,
                lower_is_better=True, baseline=told),
        Measure("F1", one.f1, rule.f1, baseline=told),
        Measure("area under ROC", area(*judged[best]), area(*judged["rule"]), baseline=told),
        Measure(f"{other}: recall", found[other].recall, rule.recall, bound.recall),
        Measure(f"{other}: precision", found[other].precision, rule.precision, bound.precision),
        Measure(f"{other}: area under ROC", area(*judged[other]), area(*judged["rule"])),
    ]  # fmt: skip


def _rounds(config: ModelsConfig, folder: Path, part: PartName, tell: Tell) -> Rounds:
    return _prepared(
        telemetry(config, folder.parent, part, tell).consensus_rounds, config.consensus.network.steps
    )


def _prepared(table: pa.Table, length: int) -> Rounds:
    whole = grid(table, "group", (*FEATURES, "intensity"))
    groups, times = whole.values.shape[:2]
    kind = np.full((groups, times), -1, np.int64)
    place = np.searchsorted(whole.time_s, table["time_s"].to_numpy())
    names = np.asarray(table["anomaly"].to_numpy(zero_copy_only=False), str)
    number = np.array([_KINDS.index(name) if name else -1 for name in (*_KINDS, "")])
    kind[table["group"].to_numpy(), place] = number[[((*_KINDS, "")).index(name) for name in names]]
    steps = np.stack([_seen(one) for one in whole.values[:, :, : len(FEATURES)]])
    windows = Windows(steps, kind >= 0, np.zeros_like(kind, np.bool_), length)
    return Rounds(windows, kind, whole.column("intensity"), whole.time_s)


def _logs(metrics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the first ones, and square roots of the changes of leaders; the others as they are."""
    seen = metrics.copy()
    seen[..., :2] = np.log(metrics[..., :2] + 0.02)
    seen[..., 2] = np.log(metrics[..., 2] + 1.0)
    seen[..., 3:6] = np.log(np.maximum(metrics[..., 3:6], 1e-4))
    seen[..., 6] = np.sqrt(metrics[..., 6])
    return seen


def _seen(metrics: NDArray[np.float64]) -> NDArray[np.float32]:
    """What a model sees of a group, (times, 12)."""
    seen = _logs(metrics)
    seen[:, :_HABITUAL] = against_habit(seen[:, :_HABITUAL], _FLOORS)
    seen[:, 8] -= usual(metrics[:, 8:9], *HABIT)[:, 0]  # nodes that are gone
    return np.clip(seen, -50, 50).astype(np.float32)


def _summed(part: Part) -> Part:
    """`SUMMARIES` of windows."""
    rows = part.rows
    moving = np.concatenate([rows[:, :, _MOVING], rows[:, :, 3:6].mean(axis=2, keepdims=True)], axis=2)
    total = np.cumsum(np.pad(moving, ((0, 0), (1, 0), (0, 0))), axis=1, dtype=np.float64)
    still = [place for place in range(len(FEATURES)) if place not in _MOVING]
    parts = [rows[:, -1, still], moving.mean(axis=1)]
    for steps in _SCALES:
        means = (total[:, steps:] - total[:, :-steps]) / steps
        parts += [means[:, -1], means[:, 0], means.max(axis=1), means.min(axis=1)]
    return Part(np.concatenate(parts, axis=1).astype(np.float32), part.truth)


def _judged(rounds: Rounds, network: Autoencoder, trees: Boosted) -> dict[str, Any]:
    """Scores and truth of all counted windows, by detector."""
    windows = rounds.windows
    entity, end = np.nonzero(windows.counted)
    scores: dict[str, list[NDArray[np.float64]]] = {"autoencoder": [], "trees": [], "rule": []}
    for some in np.array_split(np.arange(len(end)), max(1, len(end) // 4096)):
        rows = windows.at(entity[some], end[some])
        scores["autoencoder"].append(network.predict(rows)[:, 0])
        scores["trees"].append(trees.predict(_summed(Part(rows, np.zeros((len(rows), 1)))).rows)[:, 0])
        scores["rule"].append(rows[:, :, 5].max(axis=1).astype(np.float64))
    truth = windows.any_event[entity, end]
    return {name: (np.concatenate(parts), truth) for name, parts in scores.items()}


def _squares(
    config: ModelsConfig, folder: Path, test: Rounds, causes: NDArray[np.int64], tell: Tell
) -> NDArray[np.float64]:
    """Squared distance of each step from the same estate with nothing wrong, over noise, (groups, times)."""
    with_ = telemetry(config, folder.parent, "test", tell).consensus_rounds
    calm = estate(config)
    calm = replace(
        calm,
        nodes=1,
        consensus=replace(calm.consensus, anomalies_per_day=0.0),
        links=replace(calm.links, incidents_per_day=0.0),
    )
    tell("draw the same estate with nothing wrong")
    without = draw_monitoring(calm, seed(config, "test"), days(config, "test") * DAY).consensus_rounds
    one, other = (
        _logs(grid(table, "group", FEATURES).values)[:, :, list(_MOVING)] for table in (with_, without)
    )
    found = np.zeros(test.kind.shape)
    for group, kind in enumerate(causes):
        event = kind >= 0
        if not event.any():
            continue
        habit = np.stack([_daily(column) for column in other[group].T], axis=1)
        # What never moved in the quiet group (a change of leader, a node gone) has some noise all the same.
        noise = (
            other[group] - habit + 0.03 * stream(config.seed, f"floor {group}").standard_normal(habit.shape)
        )
        added = (one - other)[group, event]
        found[group, event] = strengths(added, test.intensity[group, event], kind[event], noise)
    return found


def _causes(config: ModelsConfig, test: Rounds) -> NDArray[np.int64]:
    """Kinds of steps, `_OF_LINK` where it is not the group's own trouble but a link's, (groups, times)."""
    model, duration_s = estate(config).consensus, days(config, "test") * DAY
    middle_s = test.time_s - 0.5 * (test.time_s[1] - test.time_s[0])
    causes = test.kind.copy()
    for number, kind in enumerate(causes):
        own = draw_anomalies(model, duration_s, seed(config, "test"), number)(middle_s)
        kind[(kind >= 0) & (own.kind == NONE)] = _OF_LINK
    return causes


def _daily(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The course of the day: two waves of 24 and 12 hours."""
    day = 2 * np.pi * np.arange(len(values)) / (24 * 60)
    waves = [np.ones(len(values)), *(f(n * day) for n in (1, 2) for f in (np.sin, np.cos))]
    basis = np.stack(waves, axis=1)
    return np.asarray(basis @ np.linalg.lstsq(basis, values, rcond=None)[0])


def _by_kind(
    test: Rounds,
    causes: NDArray[np.int64],
    judged: dict[str, Any],
    chosen: dict[str, Any],
    best: str,
    squares: NDArray[np.float64],
    bound: Bound,
) -> list[list[Any]]:
    """Recall by kind, over windows whose anomaly (the last one, of two) is of it."""
    windows = test.windows
    last = causes.copy()
    for step in range(1, last.shape[1]):
        last[:, step] = np.where(last[:, step] < 0, last[:, step - 1], last[:, step])
    of = last[:, windows.length - 1 :][windows.counted]
    truth = judged[best][1]
    rows: list[list[Any]] = [["kind", "windows", "recall, trees", "recall, autoencoder", "ceiling"]]
    for number, name in enumerate((*_KINDS, "congestion of a link")):
        own = truth & (of == number)
        if own.any():
            shares = [
                float(np.mean(judged[one][0][own] >= chosen[one]["threshold"]))
                for one in ("trees", "autoencoder")
            ]
            limit = recall_at(squares[windows.counted][own], bound.false_positive_rate)
            rows.append([name, int(own.sum()), *shares, limit])
    return rows


def _watched(
    config: ModelsConfig, folder: Path, test: Rounds, judged: Any, threshold: float, tell: Tell
) -> Watched:
    """Last steps of windows in order of time; predicted is the alarm, actual whether there was an anomaly."""
    windows = test.windows
    entity, end = np.nonzero(windows.counted)
    order = np.argsort(end, kind="stable")
    scores, truth = judged
    now = windows.steps[entity, end + windows.length - 1]
    day = ((test.time_s[end + windows.length - 1] - 1) // 86_400).astype(np.int64)
    known = _rounds(config, folder, "train", tell).windows
    before = known.steps[~known.event][:: max(1, known.steps[..., 0].size // 50_000)]
    alarm = (scores >= threshold).astype(np.float64)
    return Watched(FEATURES, before, now[order], day[order], alarm[order], truth[order].astype(np.float64))


TASK: Final = Task(
    "consensus",
    "Consensus latency",
    "When does a consensus group misbehave?",
    train,
    evaluate,
)
