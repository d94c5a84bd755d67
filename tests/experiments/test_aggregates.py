"""Whole distributions: profiles, matrices and means of the middle half, against sums done by hand."""

import numpy as np
import pytest

from experiments.aggregates import (
    LEVELS,
    Relative,
    geometric_mean,
    improvements,
    interquartile_rows,
    profiles,
    relative_scores,
)
from experiments.evidence import cells, kinds
from experiments.gallery import relative, shown
from experiments.profiles import improvement_figure, profile_figure
from experiments.resampling import Resampling
from experiments.stats import performance_profile
from experiments.summary import ALL, Chance, build_summary

CHANCE = Chance(0, 0.95, 200)


def test_a_profile_is_the_share_of_runs_and_episodes_at_or_below_each_level():
    scores = np.array([[1.0, 2.0, 3.0], [2.0, 2.0, 9.0]])
    share, low, high = performance_profile(
        [scores], np.array([0.5, 1.0, 2.0, 3.0, 9.0]), Resampling(np.random.default_rng(0))
    )
    assert share == pytest.approx([0, 1 / 6, 4 / 6, 5 / 6, 1])
    assert (low <= share + 1e-12).all() and (share <= high + 1e-12).all()


def test_in_a_profile_every_scenario_counts_alike_whatever_its_number_of_episodes():
    many, few = np.full((1, 30), 1.0), np.full((1, 2), 3.0)
    share, *_ = performance_profile([many, few], np.array([2.0]), Resampling(np.random.default_rng(0)))
    assert share == pytest.approx([0.5])


def test_the_band_of_a_profile_of_one_run_is_as_wide_as_the_binomial_law_says():
    scores = np.random.default_rng(1).random((1, 400))
    share, low, high = performance_profile(
        [scores], np.array([0.3]), Resampling(np.random.default_rng(0), resamples=20_000)
    )
    half = 1.96 * np.sqrt(share * (1 - share) / 399)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_scores_are_beside_the_best_static_policy_of_each_scenario(evidence):
    found = {one.policy: one for one in relative(evidence, "test")}
    wan, lan = found["ppo"].scores
    assert wan == pytest.approx(np.repeat([[0.69], [0.71]], 6, axis=1))  # zstd costs 1.0 on wan
    assert lan == pytest.approx(np.repeat([[1.09], [1.11]], 6, axis=1))  # hde costs 1.0 on lan
    assert geometric_mean(found["ppo"]) == pytest.approx((0.7 * 1.1) ** 0.5)
    assert "best_found" not in found


def test_a_policy_without_all_episodes_is_left_out(evidence):
    rows = evidence.episodes
    torn = rows[~((rows["policy"] == "ensemble") & (rows["scenario"] == "lan") & (rows["episode"] == 205))]
    statics = {"wan": "zstd", "lan": "hde"}
    found = relative_scores(cells(torn), statics, "test", kinds(torn))
    assert {one.policy for one in found} == {"zstd", "hde", "one_step_oracle", "ppo"}


def test_the_middle_half_of_all_scenarios_is_in_the_summary(evidence):
    summary = build_summary(
        evidence.episodes, evidence.decisions, rng=np.random.default_rng(0), resamples=100
    )
    rows = {r["policy"]: r for r in summary["rows"] if r["metric"] == "cost_relative_iqm"}
    # Of ppo's 24 scores 6 of 0.69 and 6 of 1.11 fall away: (6 * 0.71 + 6 * 1.09) / 12.
    assert rows["ppo"]["value"] == pytest.approx(0.9)
    assert rows["ppo"]["scenario"] == ALL and rows["ppo"]["split"] == "test"
    assert dict(interquartile_rows(relative(evidence, "test"), CHANCE.resampling, "test"))[
        "ppo"
    ].value == pytest.approx(0.9)


def test_the_matrix_has_each_chance_and_its_complement_the_best_policy_first(evidence):
    found = improvements(relative(evidence, "test"), CHANCE.resampling, "test")
    place = {name: number for number, name in enumerate(found.policies)}
    ppo, zstd, oracle = (place[name] for name in ("ppo", "zstd", "one_step_oracle"))
    assert found.chance[ppo, zstd] == pytest.approx(0.5)  # always on wan, never on lan
    assert found.chance[oracle, zstd] == pytest.approx(1.0)
    assert found.chance[zstd, oracle] == pytest.approx(0.0)
    assert found.sure[oracle, zstd] and not found.sure[ppo, zstd]
    assert np.isnan(np.diag(found.chance)).all()
    means = [geometric_mean(one) for one in relative(evidence, "test")]
    assert found.policies[0] == relative(evidence, "test")[int(np.argmin(means))].policy


def test_figures_name_every_policy_that_they_show(evidence):
    compared = relative(evidence, "test")
    curves = profiles(compared, CHANCE.resampling, "test")
    assert len(curves) == len(compared) * len(LEVELS)
    figure = profile_figure(curves, "test")
    legend = figure.axes[0].get_legend()
    assert {text.get_text() for text in legend.get_texts()} == {one.policy for one in compared}
    matrix = improvement_figure(improvements(compared, CHANCE.resampling, "test"), "test").axes[0]
    assert next(iter(matrix.get_yticklabels())).get_text() == "ppo"


def test_of_many_static_policies_only_the_best_are_drawn():
    many = [Relative(f"rule{n}", "static", [np.full((1, 2), 1.0 + n)]) for n in range(9)]
    learner = Relative("ppo", "learner", [np.full((2, 2), 0.9)])
    assert [one.policy for one in shown([*reversed(many), learner])] == [
        "rule3",
        "rule2",
        "rule1",
        "rule0",
        "ppo",
    ]
