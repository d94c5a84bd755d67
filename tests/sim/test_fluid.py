"""Max-min sharing of wires and cores: sums on paper, its defining properties, time passed over pieces."""

from collections.abc import Sequence
from math import inf

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim.fluid import FLOW, OFFERS, Flows, advance, share
from sim.physics import BBR, CUBIC, GOODPUT_SHARE

Floats = NDArray[np.float64]
AMPLE = 1e9


def flow(
    *,
    path: int = 0,
    size: float = 1.0,
    ratio: float = 1.0,
    streams: float = 1.0,
    weight: float | None = None,
    encode: float = AMPLE,
    cores_max: float = 1.0,
    core_weight: float = 1.0,
    decode: float = AMPLE,
    cpu_per_byte: float = 0.0,
) -> tuple[float, ...]:
    weight = streams if weight is None else weight
    wire = (path, size, ratio, streams, weight, 1.0)
    return (*wire, encode, cores_max, core_weight, decode, cpu_per_byte, 0.0, 0.0, 0.0, False)


def table(rows: Sequence[tuple[float, ...]]) -> Flows:
    return np.array([tuple(row) for row in rows], dtype=FLOW)


def links(carries: Sequence[float], cross: float = 0.0) -> Floats:
    """Paths that carry so many bytes of payload a second, with a short round trip and no loss."""
    return np.array([[rate / GOODPUT_SHARE, 1e-3, 0.0, cross] for rate in carries])


def limits(count: int, control: int = CUBIC) -> Floats:
    return np.array([[1e15, 1e15, control]] * count, dtype=np.float64)


def rates(
    rows: Sequence[tuple[float, ...]],
    carries: Sequence[float],
    cross: float = 0.0,
    cores: float = AMPLE,
    control: int = CUBIC,
) -> list[float]:
    flows = table(rows)
    count = len(carries)
    there, lossless, scratch = links(carries, cross), np.full(count, inf), np.empty((count, OFFERS))
    share(flows, len(flows), there, lossless, limits(count, control), cores, scratch)
    return [float(rate) for rate in flows["rate"]]


def test_a_wire_is_shared_by_weight() -> None:
    assert rates([flow(weight=1), flow(weight=3)], [12.0]) == pytest.approx([3, 9])


def test_what_a_slow_receiver_leaves_goes_to_the_others() -> None:
    assert rates([flow(decode=1.0), flow(), flow()], [12.0]) == pytest.approx([1, 5.5, 5.5])


def test_cross_traffic_takes_its_fair_share_and_what_a_slow_one_leaves() -> None:
    assert rates([flow(), flow()], [12.0], cross=2) == pytest.approx([3, 3])
    assert rates([flow(decode=1.0), flow()], [12.0], cross=2) == pytest.approx([1, 11 / 3])


def test_an_encoder_that_cannot_fill_its_share_leaves_the_wire_to_others() -> None:
    # 2 raw a second at ratio 4 are 0.5 on the wire
    assert rates([flow(ratio=4, encode=2.0), flow()], [12.0]) == pytest.approx([2, 11.5])


def test_weights_divide_what_is_ours_and_leave_cross_traffic_what_it_had() -> None:
    # two streams against two of others: half is ours, 6, in threes to one
    assert rates([flow(weight=3), flow(weight=1)], [12.0], cross=2) == pytest.approx([4.5, 1.5])


def test_what_the_heaviest_cannot_use_goes_to_ours_and_not_to_cross_traffic() -> None:
    # by streams the second gets (12 - 1) / 3 beside two of others; its small weight takes none of that away
    assert rates([flow(weight=1e6, decode=1.0), flow(weight=1)], [12.0], cross=2) == pytest.approx(
        [1, 11 / 3]
    )


def test_compression_turns_a_share_of_the_wire_into_more_raw_bytes() -> None:
    assert rates([flow(ratio=4), flow()], [12.0]) == pytest.approx([24, 6])


def test_cores_are_shared_by_weight_and_what_one_cannot_use_goes_to_the_others() -> None:
    encoders = [flow(encode=1.0, core_weight=1), flow(encode=1.0, core_weight=3, cores_max=9)]
    assert rates(encoders, [AMPLE], cores=1.0) == pytest.approx([0.25, 0.75])
    assert rates([*encoders, flow(encode=1.0, decode=0.1)], [AMPLE], cores=1.1) == pytest.approx(
        [0.25, 0.75, 0.1]
    )


def test_wire_and_cores_together_come_to_the_fixed_point_found_by_hand() -> None:
    # A is held by the cores at level L, B (ratio 2) and C by the wire at level w, 3 on the wire, 1 core:
    # L + 2 w = 3 on the wire (A sends 4 L raw at ratio 4), L + 2 w / 6 + w / 100 = 1 in cores
    w = 600 / 497
    core_level = 3 - 2 * w
    found = rates(
        [flow(ratio=4, encode=4.0), flow(ratio=2, encode=6.0), flow(encode=100.0)], [3.0], cores=1.0
    )
    assert found == pytest.approx([4 * core_level, 2 * w, w], rel=1e-10)


def test_paths_share_nothing_but_the_cores() -> None:
    pair = [flow(path=0), flow(path=1)]
    assert rates(pair, [5.0, 7.0]) == pytest.approx([5, 7])
    # 1 core at 4 raw a second each: 4 on the first path would need all of it
    assert rates(
        [flow(path=0, encode=4.0), flow(path=1, encode=4.0)], [5.0, 1.0], cores=1.0
    ) == pytest.approx([3, 1])


def test_one_bbr_stream_keeps_seven_tenths_against_three_of_cubic() -> None:
    assert rates([flow()], [10.0], cross=3, control=BBR) == pytest.approx([7.0])
    assert rates([flow()], [10.0], cross=3, control=CUBIC) == pytest.approx([2.5])


def test_eight_streams_against_two_of_others_get_four_fifths() -> None:
    assert rates([flow(streams=8)], [10.0], cross=2) == pytest.approx([8.0])


@st.composite
def crowds(draw: st.DrawFn) -> tuple[list[tuple[float, ...]], list[float], float, float]:
    """Flows on two paths, what the paths carry, cross streams, cores."""
    some = st.floats(0.1, 10.0)
    rows = [
        flow(
            path=draw(st.integers(0, 1)),
            ratio=draw(st.floats(1.0, 20.0)),
            streams=draw(st.sampled_from([1.0, 4.0, 8.0])),
            weight=draw(some),
            encode=draw(some),
            cores_max=draw(st.sampled_from([0.5, 1.0, 8.0])),
            core_weight=draw(some),
            decode=draw(some),
        )
        for _ in range(draw(st.integers(1, 7)))
    ]
    return rows, [draw(some), draw(some)], draw(st.sampled_from([0.0, 1.0, 3.5])), draw(st.floats(0.1, 5.0))


@given(crowds())
def test_no_wire_no_core_and_no_flow_is_overdrawn(
    crowd: tuple[list[tuple[float, ...]], list[float], float, float],
) -> None:
    rows, carries, cross, cores = crowd
    flows, found = table(rows), np.array(rates(rows, carries, cross, cores))
    demand = np.minimum(flows["cores_max"] * flows["encode"], flows["decode"])
    assert (found <= demand * (1 + 1e-9)).all()
    assert (found / flows["encode"]).sum() <= cores * (1 + 1e-9)
    for path, rate in enumerate(carries):
        assert (found / flows["ratio"])[flows["path"] == path].sum() <= rate * (1 + 1e-9)


CROWDED = ([flow(decode=0.5), flow(weight=2, decode=1.0)], [3.0, 1.0], 3.5, 1.0)
"""By streams the first would be content; by weight it is not."""
SPARE = (
    [
        flow(ratio=1.125, weight=2, encode=6.0, decode=3.0, cores_max=0.5),
        flow(ratio=1.5, encode=3.0, decode=1.0, cores_max=0.5),
        flow(encode=2.0, decode=1.0, cores_max=0.5),
        flow(ratio=2, weight=0.125, encode=1.0, decode=1.0),
    ],
    [6.0, 1.0],
    1.0,
    1.53125,
)
"""By streams the cores hold the last; by weight the wire does, and cores are left for the first."""


_HALVINGS = 64
"""Of 1e6: what is left is 5e-14."""


def filled(want: Floats, weight: Floats, rate: float, cross: float) -> Floats:
    """Weighted max-min beside ``cross`` that want all they can get, by halving."""
    low, high = 0.0, 1e6
    for _ in range(_HALVINGS):
        level = (low + high) / 2
        used = np.minimum(want, level * weight).sum() + level * cross
        low, high = (low, level) if used > rate else (level, high)
    return np.minimum(want, low * weight)


@example(CROWDED)
@example(SPARE)
@given(crowds())
def test_who_gets_less_than_he_asks_for_is_held_by_a_full_resource_of_which_none_gets_more_a_weight(
    crowd: tuple[list[tuple[float, ...]], list[float], float, float],
) -> None:
    rows, carries, cross, cores = crowd
    flows, found = table(rows), np.array(rates(rows, carries, cross, cores))
    demand = np.minimum(flows["cores_max"] * flows["encode"], flows["decode"])
    content = found >= demand * (1 - 1e-6)
    core_share = found / flows["encode"] / flows["core_weight"]
    cores_full = (found / flows["encode"]).sum() >= cores * (1 - 1e-6)
    by_cores = cores_full & (core_share >= core_share.max() * (1 - 1e-6))
    core_level = core_share.max() if cores_full else np.inf
    want = np.minimum(demand, core_level * flows["core_weight"] * flows["encode"]) / flows["ratio"]
    for path, rate in enumerate(carries):
        here = flows["path"] == path
        if not here.any():
            continue
        wire = (found / flows["ratio"])[here]
        wire_share = wire / flows["weight"][here]
        # what is ours is what streams alone would give us; weights divide it
        full = wire.sum() >= filled(want[here], flows["streams"][here], rate, cross).sum() * (1 - 1e-6)
        by_wire = full & (wire_share >= wire_share.max() * (1 - 1e-6))
        assert (content[here] | by_cores[here] | by_wire).all()


@given(crowds(), st.randoms(use_true_random=False))
def test_the_order_of_flows_does_not_matter(
    crowd: tuple[list[tuple[float, ...]], list[float], float, float], random: np.random.Generator
) -> None:
    rows, carries, cross, cores = crowd
    order = list(range(len(rows)))
    random.shuffle(order)
    straight = np.array(rates(rows, carries, cross, cores))
    assert rates([rows[i] for i in order], carries, cross, cores) == pytest.approx(straight[order], rel=1e-8)


def bisected(
    rows: Sequence[tuple[float, ...]], carries: Sequence[float], cross: float, cores: float
) -> Floats:
    """The same by halving, for the wires and for the cores: slow, and beyond doubt."""
    flows = table(rows)
    demand = np.minimum(flows["cores_max"] * flows["encode"], flows["decode"])

    def at(core_level: float) -> Floats:
        cap = np.minimum(demand, core_level * flows["core_weight"] * flows["encode"])
        found = np.empty(len(flows))
        for path, rate in enumerate(carries):
            here = flows["path"] == path
            want = (cap / flows["ratio"])[here]
            ours = filled(want, flows["streams"][here], rate, cross).sum()
            found[here] = filled(want, flows["weight"][here], ours, 0.0) * flows["ratio"][here]
        return found

    low, high = 0.0, 1e6
    if (at(high) / flows["encode"]).sum() <= cores:
        return at(high)
    for _ in range(_HALVINGS):
        level = (low + high) / 2
        low, high = (low, level) if (at(level) / flows["encode"]).sum() > cores else (level, high)
    return at(low)


@given(crowds())
def test_false_position_and_bisection_agree(
    crowd: tuple[list[tuple[float, ...]], list[float], float, float],
) -> None:
    rows, carries, cross, cores = crowd
    # one weight for wire and cores: cores in use then rise with their level, so that there is one fixed point
    same = [(*row[:8], row[4], *row[9:]) for row in rows]
    assert rates(same, carries, cross, cores) == pytest.approx(
        bisected(same, carries, cross, cores), rel=1e-7
    )


def pass_time(
    flows: Flows, pieces: Sequence[tuple[float, float]], now: float, until: float, cores: float = AMPLE
) -> tuple[float, int]:
    """Move flows over one path; ``pieces`` are (time, payload bytes/s)."""
    times = np.array([time for time, _ in pieces])
    conditions = np.array([links([rate]) for _, rate in pieces])
    many = np.full(len(pieces), cores)
    site = (times, conditions, np.full((len(pieces), 1), inf), limits(1), many, np.empty((1, OFFERS)))
    return advance(flows, len(flows), site, now, until, -1)[:2]


PIECES = ((0.0, 2.0), (3.0, 0.0), (5.0, 1.0))
"""2 for 3 s, an outage of 2 s, then 1 for ever."""


def test_one_flow_meets_the_integral_solved_on_paper() -> None:
    # 6 in the first 3 s, nothing until 5 s, the last 4 at 1 a second
    assert pass_time(table([flow(size=10.0)]), PIECES, 0.0, inf) == (pytest.approx(9.0), 0)


def test_flows_end_in_the_order_and_at_the_times_solved_on_paper() -> None:
    # 1 a second each: 3 and 3 moved before the outage; at 0.5 each the first is done 2 s after it
    flows = table([flow(size=8.0), flow(size=4.0)])
    assert pass_time(flows, PIECES, 0.0, inf) == (pytest.approx(7.0), 1)
    assert flows["remaining"].tolist() == pytest.approx([4.0, 0.0])
    assert pass_time(flows[:1], PIECES, 7.0, inf) == (pytest.approx(11.0), 0)


def test_time_passes_to_the_moment_asked_for_when_nothing_ends_before() -> None:
    flows = table([flow(size=10.0, cpu_per_byte=0.5)])
    assert pass_time(flows, PIECES, 0.0, 4.0) == (4.0, -1)
    assert flows["remaining"][0] == pytest.approx(4.0)
    assert flows["cpu_s"][0] == pytest.approx(3.0)  # 6 moved, half a core-second each
    assert pass_time(flows, PIECES, 4.0, 5.5) == (5.5, -1)
    assert flows["remaining"][0] == pytest.approx(3.5)


def test_of_two_that_end_together_the_first_is_named_and_the_second_ends_at_once() -> None:
    flows = table([flow(size=3.0), flow(size=3.0)])
    assert pass_time(flows, [(0.0, 2.0)], 0.0, inf) == (pytest.approx(3.0), 0)
    ended_s, row = pass_time(flows[1:], [(0.0, 2.0)], 3.0, inf)
    assert (ended_s, row) == (pytest.approx(3.0, abs=1e-12), 0)


def test_a_transfer_whose_last_byte_arrives_as_an_outage_begins_has_ended() -> None:
    flows = table([flow(size=3.0), flow(size=3.0)])
    assert pass_time(flows, PIECES, 0.0, inf) == (3.0, 0)
    assert pass_time(flows[1:], PIECES, 3.0, inf) == (3.0, 0)


def test_where_nothing_can_ever_move_time_stands_still() -> None:
    flows = table([flow(size=3.0)])
    assert pass_time(flows, [(0.0, 0.0)], 1.0, inf) == (1.0, -1)
    assert pass_time(flows, [(0.0, 0.0)], 1.0, 8.0) == (8.0, -1)
    assert flows["remaining"][0] == 3.0


def test_cores_that_come_back_speed_an_encoder_up() -> None:
    flows = table([flow(size=10.0, encode=4.0, cores_max=2.0)])
    conditions = np.array([links([AMPLE])] * 2)
    times, cores = np.array([0.0, 2.0]), np.array([0.5, 4.0])
    # 2 a second for 2 s, then 8 a second for the other 6
    site = (times, conditions, np.full((2, 1), inf), limits(1), cores, np.empty((1, OFFERS)))
    found = advance(flows, 1, site, 0.0, inf, -1)
    assert found == (pytest.approx(2.75), 0, 1)
