"""The figures: what is drawn where, and the same look for the same policy."""

import numpy as np
import pytest

from experiments.evidence import kinds
from experiments.figures import cost_by_scenario, headroom, learning_curves
from experiments.gallery import draw, searched_costs, validation_levels
from experiments.look import COLOURS, PAR, colour, save
from experiments.summary import Chance, build_summary


@pytest.fixture
def summary(evidence):
    return build_summary(evidence.episodes, evidence.decisions, rng=np.random.default_rng(0), resamples=100)


def texts(figure) -> str:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [
            text.get_text() for text in (*axes.texts, *axes.get_yticklabels(), axes.title, axes._right_title)
        ]
    return "\n".join(found)


def test_a_static_policy_is_grey_and_no_two_others_that_meet_in_a_chart_share_a_colour():
    assert colour("zstd", "static") == PAR
    apart = {shade for name, shade in COLOURS.items() if name != "planner"}
    assert len(apart) == len(COLOURS) - 1


def test_a_learner_with_a_name_of_its_own_has_a_colour_that_stays():
    assert colour("wide_net", "learner") == colour("wide_net", "learner") != PAR


def test_every_figure_is_written_for_a_whole_run(evidence, summary, tmp_path):
    drawn = draw(tmp_path, evidence, summary, Chance(0, 0.95, 100))
    names = ["learning_curves", "cost_by_scenario", "profiles", "improvement", "confusion", "headroom"]
    assert list(drawn) == names
    for path in drawn.values():
        width = int.from_bytes(path.read_bytes()[16:20], "big")
        assert width == 1170


def test_levels_beside_the_curves_are_the_mean_of_the_factors_on_validation(evidence):
    levels = validation_levels(evidence.episodes)
    assert levels["one_step_oracle"] == ("oracle", pytest.approx((0.8 + 1.0) / 2))
    assert levels["ensemble"] == ("supervised", pytest.approx((0.9 + 1.0) / 2))


def test_the_curve_of_a_learner_is_the_mean_of_its_seeds(evidence):
    figure = learning_curves(evidence.curves, {"one_step_oracle": ("oracle", 0.8)})
    (curve,) = [line for line in figure.axes[0].lines if line.get_color() == COLOURS["ppo"]]
    assert list(curve.get_ydata()) == pytest.approx([90.0, 80.0])
    assert "ppo (2 seeds)  80 %" in texts(figure)


def test_a_cost_beyond_the_edge_is_written_there(evidence, summary):
    from experiments.gallery import _costs

    costs = _costs(evidence, summary)
    costs.loc[costs["policy"] == "hde", "percent"] = 412.0
    assert "412 % ▸" in texts(cost_by_scenario(costs, "test"))


def test_headroom_is_sorted_and_names_the_dull_scenario(evidence, summary):
    costs = searched_costs(summary, kinds(evidence.episodes))
    found = costs[costs["kind"] == "search"].set_index("scenario")["percent"]
    assert found["wan"] == pytest.approx(50.0) and found["lan"] == pytest.approx(98.0)
    labels = [label.get_text() for label in headroom(costs).axes[0].get_yticklabels()]
    assert labels == ["wan", "lan\nnothing to learn here"]


def test_the_same_figure_gives_the_same_bytes(evidence, tmp_path):
    first, second = (
        save(learning_curves(evidence.curves, {}), tmp_path / name).read_bytes()
        for name in ("a.png", "b.png")
    )
    assert first == second
