"""How long, how much and how often: the figures of the service, with their reasons."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Budgets and bounds.

    Attributes:
        canary_s: How long an answer waits for the candidate, where that is to answer; then the incumbent's is
            given. Half of the 10 ms that the published gates allow a decision at p99.
        shadow_s: How long the log waits for the candidate, where no answer does.
        hang_s: Silence with questions open after which the candidate's process is replaced.
        start_s: How long it may take to load.
        questions: Open questions to the candidate; more are not put to it.
        failures: In a row, that open the circuit.
        cooldown_s: How long it stays open; doubled each time, up to a minute.
        batch_s: How often decisions go to the disk; outcomes go at once.
        batch_rows: Most entries in one batch.
        backlog_rows: Entries that wait for a disk that refuses; decisions beyond are answered, not logged.
        body_bytes: Largest request.
        body_s: How long it may take to arrive.
        batch_decisions: Most decisions, or outcomes, in one request.
        rate_per_s: Requests a second from one address, on average.
        burst: Requests that it may save up.
        look_s: How often roles and stages are looked up in the store.
        keep_s: Age at which decisions are forgotten.
    """

    canary_s: float = 0.005
    shadow_s: float = 0.25
    hang_s: float = 1.0
    start_s: float = 60.0
    questions: int = 256
    failures: int = 5
    cooldown_s: float = 1.0
    batch_s: float = 0.05
    batch_rows: int = 1000
    backlog_rows: int = 100_000
    body_bytes: int = 1_000_000
    body_s: float = 10.0
    batch_decisions: int = 1000
    rate_per_s: float = 5000.0
    burst: float = 10_000.0
    look_s: float = 1.0
    keep_s: float = 30 * 86400.0
