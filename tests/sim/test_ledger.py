"""The cost as it accrues, against the sum that defines it."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.ledger import Ledger


def test_two_transfers_by_hand() -> None:
    ledger = Ledger(cpu_price=0.1, late_price=10.0)
    ledger.arrive(0, 0.0, priority=2.0, deadline_s=inf)
    ledger.arrive(1, 1.0, priority=1.0, deadline_s=2.5)
    assert ledger.accrued(2.0, cpu_s=0.0) == pytest.approx(2 * 2 + 1)
    assert ledger.accrued(3.0, cpu_s=0.0) == pytest.approx(2 * 3 + 2 + 10 * 0.5)
    ledger.complete(0, 3.0)
    ledger.complete(1, 4.0)
    assert ledger.accrued(9.0, cpu_s=20.0) == pytest.approx(2 * 3 + 3 + 10 * 1.5 + 0.1 * 20)
    assert ledger.late_s == pytest.approx(1.5)


def test_who_is_done_at_the_deadline_is_not_late() -> None:
    ledger = Ledger(cpu_price=0.0, late_price=1.0)
    ledger.arrive(0, 0.0, priority=1.0, deadline_s=5.0)
    ledger.complete(0, 5.0)
    assert ledger.late_s == 0.0
    assert ledger.accrued(100.0, 0.0) == pytest.approx(5.0)


transfers = st.lists(
    st.tuples(
        st.floats(0, 100), st.floats(0, 50), st.floats(0.5, 4), st.one_of(st.just(inf), st.floats(0.1, 60))
    ),
    min_size=1,
    max_size=12,
)


@given(transfers, st.floats(0, 200))
def test_at_every_moment_the_cost_is_the_sum_over_all_that_have_come(
    rows: list[tuple[float, float, float, float]], now_s: float
) -> None:
    ledger = Ledger(cpu_price=0.5, late_price=3.0)
    events = sorted(
        [(at, 0, i) for i, (at, _, _, _) in enumerate(rows)]
        + [(at + stay, 1, i) for i, (at, stay, _, _) in enumerate(rows)]
    )
    for at_s, leaves, i in events:
        if at_s > now_s:
            break
        arrival_s, _, priority, slack_s = rows[i]
        if leaves:
            ledger.complete(i, at_s)
        else:
            ledger.arrive(i, at_s, priority, arrival_s + slack_s)
    expected = 0.5 * 7.0
    for arrival_s, stay_s, priority, slack_s in rows:
        if arrival_s <= now_s:
            until_s = min(now_s, arrival_s + stay_s)
            expected += priority * (until_s - arrival_s) + 3.0 * max(0.0, until_s - arrival_s - slack_s)
    assert ledger.accrued(now_s, cpu_s=7.0) == pytest.approx(expected, rel=1e-9, abs=1e-9)
