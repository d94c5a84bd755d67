"""The questions that arise while the network runs, and the plain rules that answer when no one else does.

A question carries what a sender could have measured by now, never what the transfer in question will achieve.
"""

from collections.abc import Callable
from typing import NamedTuple


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


class DispatchQuestion(NamedTuple):
    """A slot is free: which waiting transfer goes next? The answer is a position in ``waiting``."""

    now_s: float
    waiting: tuple[int, ...]  # requests, oldest first


CodecRule = Callable[[CodecQuestion], int]
DispatchRule = Callable[[DispatchQuestion], int]


def first_come(question: DispatchQuestion) -> int:
    """Take the oldest."""
    return 0
