"""Where a candidate stands, what moves it, and the way back: verdicts by hand, and a store of sessions."""

import numpy as np
import pytest

from experiments.rollout.assignment import SHARES, STAGES, takes_candidate
from experiments.rollout.evidence import TESTS, Evidence, Saved
from experiments.rollout.gates import read_gates
from experiments.rollout.rollout import Rollout, gates_of, keep_gates, name_candidate
from experiments.rollout.verdict import decide
from experiments.shadow.store import Store
from experiments.shadow.store_rows import Decision, Outcome
from sim.errors import InputError
from sim.randomness import stream

DAY_S, NAMES = 86_400.0, ("size_mb",)
GATES = read_gates(
    None,
    [f"steps.{stage}.{key}" for stage in STAGES[1:-1] for key in ("days=1", "decisions=200")],
)
GOOD = Evidence(
    days=20.0,
    decisions={"candidate": 12_000, "incumbent": 50_000},
    sessions={"candidate": 3000, "incumbent": 12_000},
    judged=4000,
    accuracy=0.97,
    agreement=0.8,
    p99_ms=4.0,
    errors=0.0,
    saved=Saved(0.12, 0.08, 0.16, 1e-5),
    guards={"accuracy": 1.0, "drop": 1.0, "p99_ms": 1.0, "errors": 1.0, "regression": 1.0},
    before=0.97,
)


def with_(**changes):
    return Evidence(**{**GOOD.__dict__, **changes})


@pytest.mark.parametrize("stage", STAGES[1:-1])
def test_a_candidate_that_meets_every_published_condition_goes_on(stage):
    assert decide(stage, GOOD, read_gates(), validated=True).move == "advance"


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"days": 6.9}, "days 6.9 of 7"),
        ({"accuracy": 0.949}, "accuracy 0.949 of 0.95"),
        ({"accuracy": None}, "accuracy nothing known of 0.95"),
        ({"p99_ms": 10.0}, "p99_ms 10 of 10"),
        ({"errors": 0.002}, "errors 0.002 of 0.001"),
        ({"decisions": {"candidate": 9999, "incumbent": 50_000}}, "decisions 9999 of 10000"),
        ({"decisions": {"candidate": 50_000, "incumbent": 9999}}, "decisions beside 9999 of 10000"),
        ({"saved": Saved(0.06, 0.01, 0.1, 0.02)}, "p of a gain above 0.05 0.02 of 0.01"),
        ({"saved": None}, "p of a gain above 0.05 nothing known of 0.01"),
    ],
)
def test_a_candidate_waits_for_what_is_missing(changes, missing):
    verdict = decide("canary_25", with_(**changes), read_gates(), validated=True)
    assert verdict.move == "stay"
    assert verdict.why == missing


@pytest.mark.parametrize("guard", ["accuracy", "drop", "p99_ms", "errors", "regression"])
@pytest.mark.parametrize("stage", STAGES[1:])
def test_one_broken_guard_takes_a_candidate_back_from_every_stage_whatever_else_is_met(stage, guard):
    proven, almost = 0.01 / TESTS, 0.011 / TESTS
    assert decide(stage, with_(guards={guard: proven}), GATES, validated=True).move == "back"
    assert decide(stage, with_(guards={guard: almost}), GATES, validated=True).move != "back"


def test_offline_asks_for_a_validation_and_full_for_nothing():
    assert decide("offline", GOOD, GATES, validated=False).move == "stay"
    assert decide("offline", GOOD, GATES, validated=True).move == "advance"
    assert decide("full", GOOD, GATES, validated=True).move == "stay"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("steps.canary_5.share=1", "unknown key"),
        ("guard.p=0", "above 0"),
        ("steps.0.name=later", "offline"),
        ("steps=[]", "in this order"),
        ("steps.shadow.days=true", "truth value"),
    ],
)
def test_gates_that_cannot_be_meant_are_refused_in_one_line(override, told):
    with pytest.raises(InputError, match=told) as caught:
        read_gates(None, [override])
    assert "\n" not in str(caught.value)


class Clock:
    def __init__(self):
        self.now = 1.75e9

    def __call__(self):
        return self.now


class Service:
    """Writes sessions of 4 decisions whose costs are 1 on the incumbent's side and ``ratio`` on the other."""

    def __init__(self, store, clock):
        self.store, self.clock, self.rng, self.count = store, clock, stream(0, "service"), 0

    def day(self, sessions=200, *, ratio=1.0, wrong=0.0, slow=0.0, silent=0.0, region="eu", tell=True):
        candidate, rng = self.store.role("candidate"), self.rng
        stage = self.store.stages(candidate)[region]
        decisions, outcomes = [], []
        for begin in np.sort(rng.random(sessions)) * (DAY_S - 2000) + self.clock.now:
            self.count += 1
            key, scatter = f"s{self.count}", rng.normal(0, 0.3)
            mine = takes_candidate(key, region, candidate, SHARES[stage])
            for number in range(4):
                size, quiet = float(rng.uniform(1, 9)), rng.random() < silent
                right = "zstd" if rng.random() < wrong else "hde"
                own = mine and not quiet
                decisions.append(
                    Decision(
                        *(f"{key}-{number}", begin + number, region, key, stage),
                        *("candidate" if own else "incumbent", "hde" if own else "zstd", 1.0, None),
                        *(np.array([size], np.float32), NAMES, None, "i" * 16, "zstd", 0.1),
                        *(candidate, None if quiet else "hde"),
                        None if quiet else (20.0 if rng.random() < slow else 1.0),
                        "crashed" if quiet else None,
                    )
                )
                cost = size * np.exp(scatter) * (ratio if own else 1.0)
                outcomes.append(Outcome(decisions[-1].id, begin + number, cost, right))
        self.store.write(decisions, outcomes if tell else [])
        self.clock.now += DAY_S


@pytest.fixture
def site(tmp_path):
    clock = Clock()
    store = Store(tmp_path / "store", clock, create=True)
    store.set_setting("incumbent", "i" * 16)
    store.set_setting("candidate", "c" * 16)
    keep_gates(store, GATES)
    yield store, Service(store, clock), Rollout(store)
    store.close()


def days(rollout, service, most, **world):
    """Stages that the gates lead to, a look a day."""
    seen = []
    for _ in range(most):
        service.day(**world)
        seen += [(step.target, step.by) for step in rollout.tick()]
    return seen


def test_a_good_candidate_goes_through_every_stage_by_evidence_alone(site):
    store, service, rollout = site
    rollout.advance("eu", "let us begin")
    assert days(rollout, service, 14, ratio=0.75) == [(stage, "gate") for stage in STAGES[2:]]
    left = {step.source: step.evidence for step in store.transitions()}
    assert left["canary_5"]["evidence"]["saved"]["value"] == pytest.approx(0.25, abs=0.06)
    assert left["canary_50"]["evidence"]["saved"]["low"] > 0.05
    assert left["shadow"]["evidence"]["accuracy"] == 1.0
    assert left["shadow"]["expectation"]["names"] == list(NAMES)
    assert left["shadow"]["gates"] == left["canary_75"]["gates"]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"ratio": 1.4}, "cost more than 2.0%"),
        ({"wrong": 0.15}, "accuracy is below 95.0%"),
        ({"slow": 0.06}, "over 15 ms"),
        ({"silent": 0.04}, "no answer"),
    ],
)
def test_a_bad_candidate_is_taken_back_and_stays_offline(site, fault, told):
    store, service, rollout = site
    rollout.advance("eu", "let us begin")
    days(rollout, service, 1, ratio=0.75)
    assert store.stages("c" * 16) == {"eu": "canary_5"}
    assert ("offline", "gate") in days(rollout, service, 8, **fault)
    back = store.transitions()[-1]
    assert told in back.why
    assert days(rollout, service, 2, ratio=0.75) == []
    assert store.stages("c" * 16) == {"eu": "offline"}


def test_regions_go_their_own_ways(site):
    store, service, rollout = site
    for region in ("eu", "us"):
        rollout.advance(region, "let us begin")
    service.day(region="us", wrong=0.2)
    rollout.tick()
    assert store.stages("c" * 16) == {"eu": "shadow", "us": "offline"}


def test_an_operator_needs_a_reason_to_go_on_early_and_may_go_back_at_any_time(site):
    store, service, rollout = site
    with pytest.raises(InputError, match="validated"):
        rollout.advance("eu")
    rollout.advance("eu", "let us begin")
    with pytest.raises(InputError, match=r"eu: shadow: days 0 of 1.*--because"):
        rollout.advance("eu")
    rollout.advance("eu", "a rehearsal")
    service.day()
    rollout.roll_back("eu", "a hunch")
    steps = [(one.target, one.why, one.by) for one in store.transitions()]
    assert steps[1:] == [("canary_5", "a rehearsal", "operator"), ("offline", "a hunch", "operator")]
    assert store.transitions()[-1].evidence["evidence"]["sessions"]["incumbent"] > 150
    with pytest.raises(InputError, match="nothing to take back"):
        rollout.roll_back("eu", "once more")


def test_a_look_bit_by_bit_finds_what_one_look_at_the_end_finds(site):
    store, service, rollout = site
    rollout.advance("eu", "let us begin")
    rollout.advance("eu", "straight on")
    for _ in range(3):
        service.day(100, ratio=0.9, wrong=0.01)
        often = rollout.standings()
    assert often == Rollout(store).standings()
    assert sum(often[0].evidence.sessions.values()) == 300


def test_a_session_counts_once_and_only_when_its_outcomes_were_waited_for(site):
    store, service, rollout = site
    rollout.advance("eu", "let us begin")
    start = service.clock.now
    service.day(50)
    begun = np.sort(store.decisions()["time"][::4])
    wait_s = GATES.sessions.length_s + GATES.sessions.wait_s
    for now in (start + 1e4, start + 5e4):
        service.clock.now = now
        seen = Rollout(store).standings()[0].evidence.sessions["incumbent"]
        assert seen == np.sum(begun + wait_s <= now)


def test_an_outcome_that_comes_after_its_session_has_closed_counts_for_nobody(site):
    store, service, rollout = site
    rollout.advance("eu", "let us begin")
    service.day(50, tell=False)
    watched = rollout.standings()[0]
    assert watched.evidence.judged == 0
    closes = float(store.decisions()["time"].max()) + GATES.sessions.length_s + GATES.sessions.wait_s
    store.write([], [Outcome(one, closes + 1.0, 5.0, "hde") for one in store.decisions()["id"]])
    assert rollout.standings()[0] == Rollout(store).standings()[0] == watched


def test_a_candidate_on_its_way_keeps_others_out_and_becomes_the_incumbent_in_the_end(site, monkeypatch):
    store, _, rollout = site
    monkeypatch.setattr(store, "models", lambda: dict.fromkeys(["c" * 16, "n" * 16]))
    for stage in STAGES[1:-1]:
        rollout.advance("eu", "on")
        with pytest.raises(InputError, match="is on its way in eu"):
            name_candidate(store, "n" * 16)
        assert store.stages("c" * 16) == {"eu": stage}
    rollout.advance("eu", "on")
    name_candidate(store, "n" * 16)
    assert (store.role("incumbent"), store.role("candidate")) == ("c" * 16, "n" * 16)


def test_gates_that_are_changed_hold_for_all_who_watch_already(site):
    store, service, rollout = site
    assert gates_of(store) == GATES
    rollout.advance("eu", "let us begin")
    service.day(100)
    assert rollout.standings()[0].verdict.move == "advance"
    keep_gates(store, read_gates(None, ["steps.shadow.days=1", "steps.shadow.decisions=401"]))
    (one,) = rollout.standings()
    assert (one.verdict.move, one.verdict.why) == ("stay", "decisions 400 of 401")
