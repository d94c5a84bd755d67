"""Transfers on the clock: when they end, what is counted of them, and that looking on changes nothing."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import simpy

from sim.network import Flow, Network
from sim.physics import GOODPUT_SHARE

Done = Callable[[float], None]


def network(clock: simpy.Environment, pieces: Sequence[tuple[float, float]] = ((0.0, 2.0),)) -> Network[Done]:
    times = np.array([time for time, _ in pieces])
    conditions = np.array([[[rate / GOODPUT_SHARE, 1e-3, 0.0, 0.0]] for _, rate in pieces])
    return Network(
        lambda done, cpu_s: done(cpu_s),
        clock,
        times,
        conditions,
        np.array([[1e15, 1e15, 0.0]]),
        np.full(len(pieces), 8.0),
    )


def flow(size_bytes: float, *, streams: float = 1.0, ratio: float = 1.0, encode: float = 100.0) -> Flow:
    return Flow(
        path=0, size_bytes=size_bytes, ratio=ratio, streams=streams, weight=streams, loss_gain=1.0,
        encode=encode, cores_max=1.0, core_weight=1.0, decode=1e9, cpu_per_byte=0.25,
    )  # fmt: skip


def send(
    clock: simpy.Environment, wires: Network[Done], at_s: float, one: Flow, ends: dict[float, float]
) -> None:
    """Start a flow at ``at_s``; its end is written under its size."""

    def done(cpu_s: float) -> None:
        ends[one.size_bytes] = clock.now
        assert cpu_s == pytest.approx(0.25 * one.size_bytes)

    def process() -> simpy.events.ProcessGenerator:
        yield clock.timeout(at_s)
        wires.carry(one, done)

    clock.process(process())


def test_a_second_transfer_halves_the_first_until_it_is_gone() -> None:
    clock = simpy.Environment()
    wires, ends = network(clock), {}
    send(clock, wires, 0.0, flow(10.0), ends)
    send(clock, wires, 1.0, flow(3.0), ends)
    clock.run()
    # 2 moved alone, 3 beside the other (until 4 s), 5 alone again
    assert ends == {3.0: pytest.approx(4.0), 10.0: pytest.approx(6.5)}


def test_transfers_that_end_together_all_end() -> None:
    clock = simpy.Environment()
    wires, ends = network(clock), {}
    for copy in range(3):
        send(clock, wires, 0.0, flow(4.0 + 1e-12 * copy), ends)
    clock.run()
    assert list(ends.values()) == [pytest.approx(6.0)] * 3


def test_an_outage_is_waited_for_without_being_woken() -> None:
    clock = simpy.Environment()
    wires, ends = network(clock, [(0.0, 2.0), *((1.0 + k, 0.0) for k in range(1000)), (1001.0, 2.0)]), {}
    send(clock, wires, 0.0, flow(4.0), ends)
    steps = 0
    while clock.peek() < float("inf"):
        clock.step()
        steps += 1
    assert ends == {4.0: pytest.approx(1002.0)}
    assert steps < 10  # a thousand pieces, none of which changes who runs


def test_the_tally_counts_what_is_in_flight_now() -> None:
    clock = simpy.Environment()
    wires = network(clock)
    wires.carry(flow(10.0, streams=3.0, ratio=2.0, encode=5.0), lambda cpu_s: None)
    wires.carry(flow(10.0), lambda cpu_s: None)
    clock.run(until=1.0)
    found = wires.tally(0)
    # 1.5 of the wire carry 3 raw a second (0.6 cores), 0.5 carry 0.5
    assert found.running == 2
    assert found.streams == 4
    assert found.wire_bytes == pytest.approx(7.0 / 2 + 9.5)
    assert found.core_s == pytest.approx(7.0 / 5 + 9.5 / 100)
    assert found.cores == pytest.approx(3.0 / 5 + 0.5 / 100)
    assert found.cpu_s == pytest.approx(0.25 * 3.5)
    assert wires.cpu_s() == pytest.approx(0.25 * 3.5)
    clock.run()
    assert wires.tally(0) == (0, 0, 0, 0, 0, 0)
    assert wires.cpu_s() == pytest.approx(5.0)


def test_looking_on_moves_no_end() -> None:
    ends: list[dict[float, float]] = [{}, {}]
    for watched, found in enumerate(ends):
        clock = simpy.Environment()
        wires = network(clock, [(0.0, 2.0), (1.3, 0.7), (2.9, 3.1)])
        for at_s, size in ((0.0, 3.3), (0.7, 5.1), (1.9, 0.3)):
            send(clock, wires, at_s, flow(size), found)
        for moment in (0.3, 0.9, 1.4, 2.2) if watched else ():
            clock.run(until=moment)
            wires.tally(0)
        clock.run()
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)


def test_more_transfers_than_the_first_table_holds_are_carried() -> None:
    clock = simpy.Environment()
    wires, ends = network(clock), {}
    for number in range(100):
        send(clock, wires, 0.0, flow(1.0 + number), ends)
    clock.run()
    # served evenly: the k-th to end (size k) leaves when sum(min(size, k)) has moved, the last at 5050 / 2
    assert ends[100.0] == pytest.approx(2525.0)
    assert ends[1.0] == pytest.approx(50.0)


def test_a_path_at_zero_for_ever_is_refused() -> None:
    clock = simpy.Environment()
    with pytest.raises(RuntimeError, match="can never end"):
        network(clock, [(0.0, 0.0)]).carry(flow(1.0), lambda cpu_s: None)
