"""Troubles: how often they come, which announce themselves, and how bad they are at a moment."""

import numpy as np
import pytest

from sim.monitoring.courses import (
    DOWN,
    HEALTHY,
    NONE,
    PRECURSOR,
    Courses,
    Kind,
    draw_courses,
    mean_length_s,
    state_at,
)
from sim.monitoring.nodes import HealthModel
from sim.units import DAY, HOUR


def test_troubles_come_as_often_as_renewal_theory_says() -> None:
    kinds = (Kind("slow", 1.0, precursor_s=2 * HOUR, down_s=HOUR), Kind("sudden", 1.0, 0.0, 2 * HOUR))
    courses = draw_courses(kinds, 3.0, 0.25, entities=40, duration_s=100 * DAY, rng=np.random.default_rng(1))
    cycle_s = DAY / 3 + np.mean([mean_length_s(kind, 0.25) for kind in kinds])
    expected = (
        40 * 100 * DAY / cycle_s
    )  # elementary renewal theorem; the count varies less than a Poisson one
    assert len(courses.entity) == pytest.approx(expected, abs=4 * np.sqrt(expected))
    healed = ~courses.failed
    assert np.mean(healed[courses.kind == 0]) == pytest.approx(0.25, abs=0.02)
    assert not healed[courses.kind == 1].any()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.36, 1.0])
def test_of_the_failures_as_many_are_sudden_as_was_asked(share: float) -> None:
    model = HealthModel(sudden_share=share, healing_share=0.2)
    courses = draw_courses(
        model.kinds, 2.0, 0.2, entities=50, duration_s=60 * DAY, rng=np.random.default_rng(2)
    )
    unannounced = ~courses.forewarned[courses.failed]
    spread = np.sqrt(share * (1 - share) / len(unannounced))
    assert np.mean(unannounced) == pytest.approx(share, abs=4 * spread + 1e-12)


def test_a_course_rises_by_its_bend_then_fails_and_is_over() -> None:
    kinds = (Kind("wear", 1.0, 1.0, 1.0, bend=2.0),)
    one = [np.array([value]) for value in (1, 0, 10.0, 20.0, 30.0, 1.0)]
    state = state_at(Courses(*one), kinds, 2, np.array([5.0, 10.0, 15.0, 20.0, 29.0, 30.0]))  # type: ignore[arg-type]
    assert state.severity[1].tolist() == [0.0, 0.0, 0.25, 1.0, 1.0, 0.0]
    assert state.phase[1].tolist() == [HEALTHY, PRECURSOR, PRECURSOR, DOWN, DOWN, HEALTHY]
    assert state.course[1].tolist() == [NONE, 0, 0, 0, 0, NONE]
    assert state.ahead_s[1].tolist() == [15.0, 10.0, 5.0, 0.0, 0.0, np.inf]
    assert state.severity[0].max() == 0
    assert np.isinf(state.ahead_s[0]).all()


def test_what_heals_by_itself_is_never_down_and_no_failure_ahead() -> None:
    kinds = (Kind("leak", 1.0, 1.0, 1.0),)
    one = [np.array([value]) for value in (0, 0, 10.0, 20.0, 20.0, 0.5)]
    state = state_at(Courses(*one), kinds, 1, np.array([5.0, 15.0, 19.0, 21.0]))  # type: ignore[arg-type]
    assert state.severity[0].tolist() == [0.0, 0.25, 0.45, 0.0]
    assert DOWN not in state.phase
    assert np.isinf(state.ahead_s).all()
