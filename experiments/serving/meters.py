"""What Prometheus reads: the published names first, then those of the log and the candidate."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from experiments.serving.decider import Decided

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS_MS: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 25, 50, 100, 250)
_CONFIDENCE: Final = ((0.9, "0.9-1.0"), (0.8, "0.8-0.9"), (0.6, "0.6-0.8"), (0.0, "0.0-0.6"))
"""From 0.6 down the published selector fell back to rules."""


class Meters:
    """Counters of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = self.registry
        self.latency = Histogram(
            "dwcp_ml_prediction_latency_ms", "From question to answer.", buckets=_BUCKETS_MS, registry=to
        )
        self.predictions = Counter(
            "dwcp_ml_predictions",
            "Answers given.",
            ["choice", "confidence_bucket", "answered_by"],
            registry=to,
        )
        self.accuracy = Gauge(
            "dwcp_ml_accuracy_daily",
            "Share of the day's answers that were best, where known.",
            ["role"],
            registry=to,
        )
        self.gain = Gauge(
            "dwcp_ml_throughput_gain_pct",
            "Incumbent's typical cost over the candidate's, less 1.",
            registry=to,
        )
        self.candidate_latency = Histogram(
            "dwcp_ml_candidate_latency_ms",
            "Of the candidate, in its process.",
            buckets=_BUCKETS_MS,
            registry=to,
        )
        self.candidate = Counter(
            "dwcp_ml_candidate_answers", "What came of questions to the candidate.", ["result"], registry=to
        )
        self.fallbacks = Gauge(
            "dwcp_ml_incumbent_failures", "Answers that the fallback had to give.", registry=to
        )
        self.outcomes = Counter(
            "dwcp_ml_outcomes", "Outcomes, by what became of them.", ["status"], registry=to
        )
        self.waiting = Gauge("dwcp_ml_log_waiting", "Entries on their way to the disk.", registry=to)
        self.lost = Gauge("dwcp_ml_log_lost", "Decisions that a full disk kept out of the log.", registry=to)
        self.age = Gauge("dwcp_ml_model_age_seconds", "Since the model was added.", ["role"], registry=to)
        self.share = Gauge(
            "dwcp_ml_rollout_share", "Share of the keys that the candidate answers.", ["region"], registry=to
        )

    def count(self, decided: Decided) -> None:
        """An answer was given."""
        confidence = decided.confidence
        bucket = (
            "none" if confidence is None else next(name for low, name in _CONFIDENCE if confidence >= low)
        )
        self.latency.observe(decided.latency_ms)
        self.predictions.labels(decided.action, bucket, decided.arm).inc()

    def count_candidate(self, decided: Decided) -> None:
        """The candidate is done with a question."""
        asked = decided.asked
        if asked is None:
            return
        if asked.error is not None:
            self.candidate.labels(asked.error).inc()
            return
        self.candidate.labels("agrees" if asked.action == decided.incumbent_action else "differs").inc()
        if asked.took_ms is not None:
            self.candidate_latency.observe(asked.took_ms)

    def text(self) -> bytes:
        """For the scraper."""
        return generate_latest(self.registry)
