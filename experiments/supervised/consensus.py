"""Consensus latency as a task: an autoencoder and a detector with labels say when a group misbehaves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.supervised.autoencoder import Autoencoder
from agents.supervised.matched import Bound, best_of_both, recall_at, strengths
from agents.supervised.model import Part
from agents.supervised.recurrent import RecurrentDetector
from agents.supervised.sequences import SequenceConfig
from agents.supervised.thresholds import Detection, area, detection, for_both
from agents.supervised.trailing import usual
from experiments.supervised.config import ModelsConfig
from experiments.supervised.figures import curve, operating_curves, scores_by_truth
from experiments.supervised.task import Evaluation, Measure, Shipped, Task, Tell, Watched
from experiments.supervised.telemetry import PartName, days, estate, grid, more_rounds, seed, telemetry
from experiments.supervised.windows import HABIT, Windows, against_habit
from sim.errors import InputError
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
_DETECTORS: Final = ("detector", "autoencoder")
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
    """Fit to quiet windows (the detector: to all); thresholds where both are best on other estates."""
    settings, rng = config.consensus.network, stream(config.seed, "consensus")
    known, held = (_rounds(config, folder, part, tell) for part in ("train", "validation"))
    learned, stopped = (
        _judged_steps(one.windows.sample(settings.windows, rng, every=3), settings.steps)
        for one in (known, held)
    )
    tell("autoencoder")
    shape = SequenceConfig(settings.steps, settings.units, settings.latent, settings.epochs)
    network = Autoencoder(FEATURES, ["error"], shape)
    network.fit(learned, stopped, rng)
    network.save(folder / "autoencoder.npz")
    detector = _fitted(config, known, held, rng, tell)
    detector.save(folder / "detector.npz")
    _choose(config, folder, held, network, detector, tell)


def _choose(
    config: ModelsConfig, folder: Path, held: Rounds, network: Autoencoder, detector: RecurrentDetector,
    tell: Tell,
) -> None:  # fmt: skip
    """Write the thresholds; the few hundred events of a single estate would leave them to luck."""
    settings, length = config.consensus.detector, config.consensus.network.steps
    parts = [_judged(held, network, detector)]
    for number in range(settings.judges):
        tell(f"thresholds: draw one more estate, {number + 1} of {settings.judges}")
        table = more_rounds(config, settings.estates + number)
        parts.append(_judged(_prepared(table, length, settings.before), network, detector))
    chosen = {}
    for name in parts[0]:
        scores, truth = (np.concatenate([part[name][place] for part in parts]) for place in (0, 1))
        limit = for_both(scores, truth)
        found = detection(scores, truth, limit)
        chosen[name] = {"threshold": limit, "both": min(found.recall, found.precision)}
    write_json(folder / THRESHOLDS_FILE, chosen)


def _fitted(
    config: ModelsConfig, known: Rounds, held: Rounds, rng: np.random.Generator, tell: Tell
) -> RecurrentDetector:
    """The detector: of several estates, for what holds for any group has to be seen in many."""
    settings, watch, span = config.consensus.detector, config.watch, config.consensus.network.steps
    a_day = settings.windows / (watch.train_days + settings.estates * watch.validation_days)
    parts = [known.windows.stretches(round(a_day * watch.train_days), rng)]
    for number in range(settings.estates):
        tell(f"draw one more estate, {number + 1} of {settings.estates}")
        more = _prepared(more_rounds(config, number), span, settings.before).windows
        parts.append(more.stretches(round(a_day * watch.validation_days), rng))
    tell("detector")
    shape = SequenceConfig(
        settings.before + span,
        settings.units,
        epochs=settings.epochs,
        patience=settings.epochs,
        rate=4e-3,
        clip=1e3,
        span=span,
        readers=settings.readers,
        one_cycle=True,
    )
    detector = RecurrentDetector(FEATURES, ["chance"], shape)
    learned = Part(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    detector.fit(learned, held.windows.stretches(max(100, settings.windows // 8), rng), rng)
    return detector


def evaluate(config: ModelsConfig, folder: Path, tell: Tell) -> Evaluation:
    """Recall and precision of windows on the test estate, beside the rule and the matched filter."""
    test = _rounds(config, folder, "test", tell)
    network = Autoencoder.load(folder / "autoencoder.npz")
    detector = RecurrentDetector.load(folder / "detector.npz")
    chosen = json.loads((folder / THRESHOLDS_FILE).read_text("utf-8"))
    tell("scores")
    judged = _judged(test, network, detector)
    found = {name: detection(judged[name][0], judged[name][1], chosen[name]["threshold"]) for name in judged}
    tell("ceiling")
    causes = _causes(config, test)
    squares = _squares(config, folder, test, causes, tell)
    windows = test.windows
    events = windows.any_event & windows.counted
    quiet = int((windows.counted & ~events).sum())
    sums = windows.sums(squares)
    of_windows = sums[events]
    bound = best_of_both(of_windows, quiet)
    best = max(_DETECTORS, key=lambda name: chosen[name]["both"])
    curves = {name: curve(*pair) for name, pair in judged.items()}
    rates = curves[best][0]
    curves["matched filter (ceiling)"] = rates, np.array([recall_at(of_windows, rate) for rate in rates])
    shown = windows.sample(1000, stream(config.seed, "parity")).rows
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
                    {name: (*judged[name], chosen[name]["threshold"]) for name in _DETECTORS},
                    "How far do scores part windows with an anomaly from quiet ones?",
                    "Test windows; each part's area is the same.",
                ),
                "Scores of quiet windows and of those with an anomaly",
            ),
        },
        shipped={
            "detector": Shipped(detector, shown),
            "autoencoder": Shipped(network, shown[:, -windows.length :]),
        },
        notes=[
            f"{int(events.sum())} of {int(windows.counted.sum())} test windows hold an anomaly, of "
            f"{len(events)} groups over {len(test.time_s)} intervals. Windows overlap, as they do in use.",
            f"The detector sees {windows.before} intervals before the window, too, and, other than the "
            "autoencoder, labels, "
            f"of {1 + config.consensus.detector.estates} estates; that of the two is taken which is better "
            f"on validation: the {best}.",
            _by_habit(windows, judged[best], chosen[best]["threshold"]),
            "What is missed is the weakest congestion of groups within one site, some 2 ms beside 30 ms of "
            "logging, and anomalies of which a window holds a step or two.",
            "The published detection accuracy of 97.10 % is the mean of precision and recall at a "
            "threshold chosen on "
            "test labels.",
        ],
        card={
            "Use": "Raises an alarm for a consensus group from its last 30 intervals.",
            "Data": "Simulated groups: the autoencoder is fitted to those of one estate, the detector to "
            "others, too; stopped on another, thresholds chosen on that and more, measured on one of its "
            "own. Latency, queue and proposals are seen against the group's own last day.",
            "Limits": "Four published kinds of anomalies; what is none of them has not been tried.",
        },
        watched=_watched(config, folder, test, judged[best], chosen[best]["threshold"], tell),
        tables={"By kind of anomaly": _by_kind(test, causes, judged, chosen, best, sums, bound)},
    )


def _by_habit(windows: Windows, judged: Any, threshold: float) -> str:
    """A sentence on groups whose habit is not known yet, and on others."""
    scores, truth = judged
    known = np.nonzero(windows.counted)[1] + windows.length > HABIT[0]
    new, old = (detection(scores[some], truth[some], threshold) for some in (~known, known))
    return (
        f"In the first day of a group, whose habit is not known yet, recall is {new.recall:.3f} and "
        f"precision {new.precision:.3f}; later {old.recall:.3f} and {old.precision:.3f}."
    )


def _measures(best: str, found: dict[str, Detection], bound: Bound, judged: dict[str, Any]) -> list[Measure]:
    one, rule = found[best], found["rule"]
    told = "the 99th percentile of latency against the group's own last day"
    filter_ = (
        "a matched filter that knows kind, strength and time of each anomaly and what it adds in mean, "
        "at the "
        "rate of false alarms where recall and precision are as good as both can be"
    )
    other = next(name for name in _DETECTORS if name != best)
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
    settings = config.consensus
    table = telemetry(config, folder.parent, part, tell).consensus_rounds
    rounds = _prepared(table, settings.network.steps, settings.detector.before)
    if not rounds.windows.counted.any():
        problem = (
            f"leaves no window in {days(config, part):g} days of {part}; look back on less, or watch longer"
        )
        raise InputError("consensus.detector.before", "", problem)
    return rounds


def _prepared(table: pa.Table, length: int, before: int) -> Rounds:
    whole = grid(table, "group", (*FEATURES, "intensity"))
    groups, times = whole.values.shape[:2]
    kind = np.full((groups, times), -1, np.int64)
    place = np.searchsorted(whole.time_s, table["time_s"].to_numpy())
    names = np.asarray(table["anomaly"].to_numpy(zero_copy_only=False), str)
    number = np.array([_KINDS.index(name) if name else -1 for name in (*_KINDS, "")])
    kind[table["group"].to_numpy(), place] = number[[((*_KINDS, "")).index(name) for name in names]]
    steps = np.stack([_seen(one) for one in whole.values[:, :, : len(FEATURES)]])
    windows = Windows(steps, kind >= 0, np.zeros_like(kind, np.bool_), length, before)
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


def _judged_steps(part: Part, steps: int) -> Part:
    """Windows without what came before them."""
    return Part(part.rows[:, -steps:], part.truth)


def _judged(rounds: Rounds, network: Autoencoder, detector: RecurrentDetector) -> dict[str, Any]:
    """Scores and truth of all counted windows, by detector."""
    windows = rounds.windows
    entity, end = np.nonzero(windows.counted)
    scores: dict[str, list[NDArray[np.float64]]] = {"detector": [], "autoencoder": [], "rule": []}
    for some in np.array_split(np.arange(len(end)), max(1, len(end) // 4096)):
        rows = windows.at(entity[some], end[some])
        own = rows[:, -windows.length :]
        scores["detector"].append(detector.predict(rows)[:, 0])
        scores["autoencoder"].append(network.predict(own)[:, 0])
        scores["rule"].append(own[:, :, 5].max(axis=1).astype(np.float64))
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
    rows: list[list[Any]] = [["kind", "windows", "recall, detector", "recall, autoencoder", "ceiling"]]
    for number, name in enumerate((*_KINDS, "congestion of a link")):
        own = truth & (of == number)
        if own.any():
            shares = [float(np.mean(judged[one][0][own] >= chosen[one]["threshold"])) for one in _DETECTORS]
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
