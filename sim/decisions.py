"""The questions that arise while the network runs, and the plain rules that answer when no one else does.

A question carries what a sender could have measured by now, never what the transfer in question will achieve.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple


class CodecQuestion(NamedTuple):
    """A transfer is about to start: with which codec?

    The answer is the index of a codec in the world's list. Sizes in bytes, rates in bytes/s, times in
    seconds, shares in [0, 1]; averages are exponential over earlier transfers and start at the stated neutral
    value.
    """

    request: int  # row in the episode
    now_s: float
    hour: float  # local hour of day, [0, 24)
    # the payload, sampled
    kind: int  # row in payloads.CLASS_NAMES
    size_bytes: float
    entropy: float  # of a sample, bits per byte over 8
    sample_ratio: float  # zstd-1 ratio of a scattered sample
    repetition: float  # share of repeated 4 KiB blocks in the sample
    priority: float
    slack_s: float  # time to the deadline; inf without one
    waited_s: float
    # the dataset at this sender
    has_baseline: bool
    baseline_age_s: float  # 0 without a baseline
    deltas: int  # deltas sent against it
    changed: float  # estimated share of blocks changed since the baseline; 1 without one
    seen: int  # earlier transfers of this dataset
    interval_s: float  # average time between them; inf before the second
    delta_ratio: float  # average ratio of its deltas; the average of its kind before the first
    # the path, last probe
    path: int
    link_type: int  # row in scenarios.LINK_TYPES
    capacity: float  # as provisioned
    rtt_s: float
    jitter_s: float
    bandwidth: float  # available to a new stream bundle
    loss: float
    window_bytes: float  # largest window of one stream
    # sender and path now
    cores: int
    cpu_load: float  # share of the cores in use at the last sample
    memory_pressure: float  # share of the baseline store in use
    running: int  # transfers on this path
    waiting: int
    streams: int  # of running transfers on this path
    wire_backlog_bytes: float  # still to be sent on this path, at the ratios seen so far
    core_backlog_s: float  # core-seconds of encoding still to do
    # lagged averages of this path's and this kind's transfers
    zstd_ratio: float
    hde_ratio: float
    single_rate: float  # wire bytes/s of single-stream transfers
    amst_rate: float  # wire bytes/s of multi-stream transfers
    goodput_share: float  # achieved over probed


class PathView(NamedTuple):
    """A path as its sender sees it: last probe, lagged averages, and its own transfers on it.

    Bytes, seconds, bytes/s, shares in [0, 1].
    """

    link_type: int  # row in scenarios.LINK_TYPES
    capacity: float  # as provisioned
    rtt_s: float
    jitter_s: float
    bandwidth: float  # available to a new stream bundle
    loss: float
    window_bytes: float  # largest window of one stream
    single_rate: float  # wire bytes/s of earlier single-stream transfers
    amst_rate: float  # wire bytes/s of earlier multi-stream transfers
    goodput_share: float  # achieved over probed by earlier transfers
    running: int  # transfers on it
    streams: int  # their connections
    wire_backlog_bytes: float  # what they have still to send, at the ratios seen so far


class HostView(NamedTuple):
    """The sending host now."""

    cores: int
    cpu_load: float  # share of the cores in use at the last sample
    core_backlog_s: float  # core-seconds of encoding still to do
    memory_pressure: float  # share of the baseline store in use


class Running(NamedTuple):
    """A transfer that moves, as its sender meters it. Bytes, seconds, bytes/s."""

    request: int
    kind: int  # row in payloads.CLASS_NAMES
    codec: int  # row in the world's list
    path: int
    priority: float
    slack_s: float  # time to the deadline; inf without one
    size_bytes: float
    remaining_bytes: float  # raw, not yet decoded
    ratio: float  # raw bytes per byte on the wire so far
    rate: float  # raw bytes/s since the last share question, or since it began to move
    cores: float  # cores used on both ends in that time
    elapsed_s: float  # since its connections were opened
    streams: int
    encode: float  # raw bytes per core-second that its encoder has shown
    parallel: float  # cores that its encoder can use at once


class ShareQuestion(NamedTuple):
    """Transfers move: what share of link and CPU does each get until the next such question?"""

    now_s: float
    hour: float  # local hour of day, [0, 24)
    running: tuple[Running, ...]  # oldest request first
    paths: tuple[PathView, ...]
    host: HostView
    waiting: int
    waiting_bytes: float


class Shares(NamedTuple):
    """An answer to a `ShareQuestion`, in the order of its ``running``.

    Weights count relative to each other, on each path and on the host: what one cannot use, others of ours
    get. They divide what is ours: against cross traffic all count by their streams, whatever they weigh. A
    weight below a millionth of the sum counts as that: no transfer is stopped for ever.

    Attributes:
        link: Weights on the wire, at least 0.
        cpu: Weights on the cores, at least 0.
        streams: TCP connections of each from now on; None leaves them. Only multi-stream transfers have a
            choice; of the others what is here is ignored.
    """

    link: Sequence[float]
    cpu: Sequence[float]
    streams: Sequence[int] | None = None


class Waiting(NamedTuple):
    """A transfer that waits for a slot, or opens connections, with what is known of it before it moves."""

    request: int
    kind: int  # row in payloads.CLASS_NAMES
    dataset: int
    size_bytes: float
    sample_ratio: float  # zstd-1 ratio of a scattered sample
    priority: float
    slack_s: float  # time to the deadline; inf without one
    waited_s: float
    has_baseline: bool
    changed: float  # estimated share of blocks changed since the baseline; 1 without one
    delta_ratio: float  # average ratio of its deltas; the average of its kind before the first
    path: int  # the one that it was meant for
    paths: tuple[int, ...]  # paths on which it may go now; none while those it may take are full


class DispatchQuestion(NamedTuple):
    """A slot is free and something waits: which transfer goes next, on which path, or does all wait?"""

    now_s: float
    hour: float  # local hour of day, [0, 24)
    waiting: tuple[Waiting, ...]  # oldest first
    paths: tuple[PathView, ...]
    host: HostView
    free_slots: int
    interval_s: float  # average time between arrivals; inf before the second
    may_wait: bool  # whether time can bring anything: an arrival, an end, other conditions
    opening: tuple[Waiting, ...]  # have a slot and do not move yet, on the path of each
    running: tuple[Running, ...]  # move, oldest request first


class Go(NamedTuple):
    """An answer to a `DispatchQuestion`: this one goes."""

    position: int  # in ``waiting``
    path: int  # one of its ``paths``


WAIT = None
"""The other answer: nothing goes before the next arrival, the next end, or a quantum has passed."""

Dispatch = Go | None

CodecRule = Callable[[CodecQuestion], int]
ShareRule = Callable[[ShareQuestion], Shares]
DispatchRule = Callable[[DispatchQuestion], Dispatch]
Question = CodecQuestion | ShareQuestion | DispatchQuestion
Answer = int | Shares | Dispatch


def equal(question: ShareQuestion) -> Shares:
    """Every stream weighs the same, and so does every encoder: what happens when no one interferes."""
    return Shares([running.streams for running in question.running], [1.0] * len(question.running))


def first_come(question: DispatchQuestion) -> Dispatch:
    """The oldest that may go, on the first path that it may take."""
    position = next(place for place, waiting in enumerate(question.waiting) if waiting.paths)
    return Go(position, question.waiting[position].paths[0])


class Rules(NamedTuple):
    """Who answers: a rule, on the spot; a question whose rule is None is left open.

    Attributes:
        codec: With which codec a transfer goes.
        share: Who gets how much of link and CPU; `equal` is never asked, for it changes nothing.
        dispatch: Who goes next.
        control_s: Seconds between two share questions, above 0.
        quantum_s: Longest wait, in seconds, until the dispatch question is put again, above 0.
    """

    codec: CodecRule | None = None
    share: ShareRule | None = equal
    dispatch: DispatchRule | None = first_come
    control_s: float = 1.0
    quantum_s: float = float("inf")


BY_DEFAULT: Final = Rules()
"""Codec questions are open; all streams weigh the same; first come, first served."""
