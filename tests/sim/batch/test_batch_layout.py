"""Where the compiled world keeps what: one block, cut at cache lines, no array in another's place."""

from itertools import pairwise

import pytest

from sim.batch.layout import Lanes, empty_lanes
from sim.jit import LINE_BYTES


def room(lanes: int, requests: int) -> Lanes:
    return empty_lanes(
        2,
        lanes,
        requests=requests,
        paths=3,
        codecs=5,
        pieces=7,
        probes=11,
        losses=1,
        slots=6,
        datasets=9,
        kinds=11,
    )


def start(array: object) -> int:
    return int(array.__array_interface__["data"][0])  # type: ignore[attr-defined]


@pytest.mark.parametrize("lanes", [1, 3, 200])
def test_every_array_starts_at_a_cache_line_and_ends_before_the_next(lanes):
    arrays = sorted(room(lanes, requests=100), key=start)
    assert all(start(array) % LINE_BYTES == 0 for array in arrays)
    assert all(start(one) + one.nbytes <= start(other) for one, other in pairwise(arrays))


@pytest.mark.parametrize("requests", [1, 127, 128, 200])
def test_the_transfers_of_two_lanes_lie_an_odd_number_of_cache_lines_apart(requests):
    transfers = room(2, requests).transfers
    assert transfers.shape[1] >= requests
    lines, rest = divmod(transfers.strides[0], LINE_BYTES)
    assert (lines % 2, rest) == (1, 0)


def test_what_a_lane_writes_stands_in_no_other_array():
    arrays = room(3, requests=10)
    before = {name: array.tobytes() for name, array in arrays._asdict().items()}
    arrays.transfers[1]["open_at"] = 7.0
    changed = [name for name, array in arrays._asdict().items() if array.tobytes() != before[name]]
    assert changed == ["transfers"]
