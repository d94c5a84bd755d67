"""Rollouts end to end on the simulator: the good arrive, the bad go back, a moved world is learned."""

import pytest

from experiments.rollout.assignment import STAGES
from experiments.rollout.gates import read_gates
from experiments.rollout.rehearsal import Extent, Rehearsal

GATES = read_gates(
    None,
    [
        *(f"steps.{stage}.{key}" for stage in STAGES[1:-1] for key in ("days=1", "decisions=100")),
        *(f"steps.{stage}.accuracy=0.9" for stage in STAGES[1:-1]),
        *("guard.accuracy=0.9", "guard.drop=0.05", "retraining.history_days=3", "retraining.decisions=1000"),
        *("retraining.recent=500", "retraining.trees=20", "retraining.depth=5", "retraining.passes=4"),
    ],
)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    told = []
    extent = Extent(daily=300, crowd=150, regions=("eu",), explore=0.2, told=0.5, patience_days=60)
    rehearsal = Rehearsal(tmp_path_factory.mktemp("rehearsal"), GATES, extent, told.append)
    return rehearsal, rehearsal.play(short=True), told


def test_a_good_candidate_comes_to_answer_everything_by_evidence_alone(rehearsed):
    good = rehearsed[1][0]
    assert good.stages == {"eu": "full"}
    assert [step.target for step in good.steps] == list(STAGES[1:])
    assert {step.by for step in good.steps[1:]} == {"gate"}
    assert all(step.evidence["evidence"]["saved"]["p"] <= 0.01 for step in good.steps[2:])


def test_a_rule_that_is_often_wrong_is_taken_back_before_it_answers_anyone(rehearsed):
    rule = rehearsed[1][1]
    assert rule.stages == {"eu": "offline"}
    assert "accuracy" in rule.why
    assert [step.target for step in rule.steps] == ["shadow", "offline"]
    assert 0 < rule.decisions < 5000


def test_a_world_that_moves_is_noticed_and_its_successor_comes_to_answer_everything(rehearsed):
    _, acts, told = rehearsed
    drift = [line for line in told if "features have drifted" in line]
    assert len(drift) == 1
    assert "loss" in drift[0]
    assert acts[-1].stages == {"eu": "full"}
    assert acts[-1].candidate != acts[0].candidate


def test_the_store_tells_afterwards_what_happened(rehearsed):
    rehearsal, acts, _ = rehearsed
    steps = rehearsal.store.transitions()
    assert [step.candidate for step in steps] == [step.candidate for act in acts for step in act.steps]
    assert rehearsal.store.role("incumbent") == acts[0].candidate
    assert rehearsal.store.role("candidate") == acts[-1].candidate
