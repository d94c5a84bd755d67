"""Rules of dispatch: who they let go in questions made by hand, and what theory says of their cost."""

from itertools import permutations
from math import inf

import numpy as np
import pytest

from agents.dispatch_rules import (
    DispatchRule,
    RandomDispatch,
    apparent_tardiness,
    business_hours,
    busy_for,
    highest_response_ratio,
    last_slot_for,
    least_to_spare,
    most_urgent,
    oldest,
    shortest,
    weighted_shortest,
)
from agents.play import play
from envs.scheduling import Scheduling
from envs.scheduling_features import dispatch_features
from envs.shortlist import Shortlister
from sim.catalogue import find_scenario
from sim.decisions import DispatchQuestion, HostView, PathView, Waiting
from sim.episode import draw_episode
from sim.hosts import Host
from sim.links import LinkModel
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import GBIT, MS
from sim.workloads import Workload

K = 4
WAIT = K
PATH = PathView(2, 1e9, 0.001, 0.0, 1e9, 0.0, 1e9, 1e9, 1e9, 1.0, 0, 0, 0.0)
FEATURES = dispatch_features(Shortlister(K, 1, False, ["none"]))
ORDERS = {
    "fifo": oldest,
    "sjf": shortest,
    "edf": most_urgent,
    "wspt": weighted_shortest,
    "atc": apparent_tardiness(1.0),
    "hrrn": highest_response_ratio,
    "least_slack": least_to_spare,
}


def waiting(request: int, megabytes: float, priority=1.0, slack_s=inf, waited_s=1.0, paths=(0,)) -> Waiting:
    """At 1 GB/s, so a gigabyte takes about a second; incompressible."""
    payload = (request, 0, request, megabytes * 1e6, 1.0)
    return Waiting(*payload, priority, slack_s, waited_s, False, 1.0, 10.0, 0, paths)


def question(*those: Waiting, hour=12.0, backlog_bytes=0.0, underway=0, free_slots=2) -> DispatchQuestion:
    path = PATH._replace(wire_backlog_bytes=backlog_bytes, running=underway)
    started = tuple(waiting(90 + number, 1e-3) for number in range(underway))
    host = HostView(8, 0.1, 0.0, 0.0)
    return DispatchQuestion(50.0, hour, those, (path,), host, free_slots, 1.0, True, started, ())


def goes(rule: DispatchRule, asked: DispatchQuestion) -> int | None:
    """Request of the transfer that goes; None when all wait."""
    answer = rule.act(FEATURES.observe(asked))
    positions = Shortlister(K, 1, False, ["none"])(asked).positions
    return None if answer == WAIT else asked.waiting[positions[answer]].request


OLD = waiting(0, 3000, waited_s=9.0)
SHORT = waiting(1, 100, waited_s=0.5)
DEAR = waiting(2, 600, priority=20.0, waited_s=0.4)
DUE = waiting(3, 4000, slack_s=4.5, waited_s=0.3)


@pytest.mark.parametrize(
    ("order", "first"),
    [("fifo", 0), ("sjf", 1), ("edf", 3), ("wspt", 2), ("atc", 2), ("hrrn", 1), ("least_slack", 3)],
)
def test_each_order_lets_its_own_transfer_go(order, first):
    assert goes(DispatchRule(order, FEATURES, ORDERS[order]), question(OLD, SHORT, DEAR, DUE)) == first


def test_of_two_that_are_late_the_earlier_deadline_goes_first():
    later, earlier = waiting(0, 100, slack_s=-1.0), waiting(1, 100, slack_s=-50.0)
    assert goes(DispatchRule("edf", FEATURES, most_urgent), question(later, earlier)) == 1


def test_a_deadline_that_comes_near_makes_a_transfer_dearer():
    rule = DispatchRule("atc", FEATURES, apparent_tardiness(1.0))
    free, due = waiting(0, 1000), waiting(1, 1100, slack_s=1.2)
    assert goes(rule, question(free, due)) == 1
    assert goes(rule, question(free, due._replace(slack_s=100.0))) == 0


def test_a_transfer_that_may_not_go_is_passed_over():
    blocked = OLD._replace(paths=())
    assert goes(DispatchRule("fifo", FEATURES, oldest), question(blocked, SHORT, DEAR, DUE)) == 1


def test_the_last_slot_is_kept_for_short_ones():
    rule = DispatchRule("wspt_reserve", FEATURES, weighted_shortest, last_slot_for(1.0, 2))
    bulk, brief = waiting(0, 5000), waiting(1, 500)  # one arrival a second
    assert goes(rule, question(bulk, underway=1, free_slots=1)) is None
    assert goes(rule, question(brief, underway=1, free_slots=1)) == 1
    assert goes(rule, question(bulk, underway=1, free_slots=2)) == 0
    assert goes(rule, question(bulk, underway=0, free_slots=1)) == 0
    assert goes(rule, question(bulk, bulk, bulk, underway=1, free_slots=1)) == 0


def test_a_serial_rule_waits_for_a_path_that_is_busy():
    rule = DispatchRule("wspt_serial", FEATURES, weighted_shortest, busy_for(1.0))
    assert goes(rule, question(SHORT, backlog_bytes=2e9, underway=1)) is None
    assert goes(rule, question(SHORT, backlog_bytes=5e8, underway=1)) == 1


def test_what_is_not_critical_is_put_off_until_the_evening():
    rule = DispatchRule("off_peak", FEATURES, oldest, business_hours)
    assert goes(rule, question(OLD, hour=12.0)) is None
    assert goes(rule, question(OLD, hour=8.9)) == 0 and goes(rule, question(OLD, hour=17.1)) == 0
    assert goes(rule, question(OLD._replace(priority=3.0), hour=12.0)) == 0
    assert goes(rule, question(DUE, hour=12.0)) == 3


def test_where_waiting_is_not_allowed_the_best_goes():
    rule = DispatchRule("off_peak", FEATURES, oldest, business_hours)
    asked = question(OLD)._replace(may_wait=False)
    assert goes(rule, asked) == 0
    assert rule.act(FEATURES.observe(question(OLD)), np.array([True, False, False, False, False])) == 0


@pytest.mark.parametrize("order", ORDERS)
def test_a_batch_is_answered_like_its_rows(order):
    rule = DispatchRule(order, FEATURES, ORDERS[order], last_slot_for(1.0, 2))
    asked = [
        question(OLD, SHORT, DUE),
        question(DUE, SHORT, DEAR, OLD),
        question(OLD, underway=1, free_slots=1),
    ]
    batch = np.stack([FEATURES.observe(one) for one in asked])
    assert rule.act(batch).tolist() == [rule.act(row) for row in batch]


def test_random_dispatch_is_legal_and_the_same_in_every_episode():
    policy, rng = RandomDispatch(), np.random.default_rng(0)
    masks = rng.random((500, 9)) < 0.3
    masks[:, 4] = True
    row = np.zeros(5, np.float32)
    first = [policy.act(row, mask) for mask in masks]
    assert all(mask[action] for mask, action in zip(masks, first, strict=True)) and len(set(first)) == 9
    policy.reset()
    assert [policy.act(row, mask) for mask in masks] == first
    assert masks[np.arange(500), policy.act(np.zeros((500, 5), np.float32), masks)].all()
    with pytest.raises(ValueError, match="needs a mask"):
        policy.act(row)


def one_machine(requests: int) -> Scenario:
    """One slot on a clean path to which all come at once: each goes alone, at a known rate."""
    return Scenario(
        name="one-machine",
        summary="one at a time, released at once",
        paths=(PathSpec(LinkModel(1 * GBIT, rtt_s=1 * MS), window_bytes=1e8),),
        workload=Workload(mix={"random": 1.0}, interval_s=1e-6, one_off=1.0, max_bytes=1e9),
        host=Host(cores=8, background=0.0, background_sd=0.0),
        probe=Probe(noise=0.0),
        requests=requests,
        slots=1,
        cpu_price=0.0,
        late_price=0.0,
    )


@pytest.mark.parametrize("seed", range(3))
def test_on_one_machine_wspt_costs_least_of_all_orders(seed):
    """Smith's rule: exchanging two neighbours of another order never costs more."""
    scenario = one_machine(5)
    episode = draw_episode(scenario, seed)
    env = Scheduling(scenario, ["none"], codec="none")
    world = play(env, episode, DispatchRule("wspt", env.features, weighted_shortest))
    alone_s = {one.request: one.end_s - one.start_s for one in world.records}
    priority = {one.request: one.priority for one in world.records}
    first = min(world.records, key=lambda one: one.start_s).request  # has gone before the others came

    def cost(order: tuple[int, ...]) -> float:
        ends_s = np.cumsum([alone_s[request] for request in order])
        return float(sum(priority[request] * end_s for request, end_s in zip(order, ends_s, strict=True)))

    others = [request for request in alone_s if request != first]
    best = min(cost((first, *order)) for order in permutations(others))
    assert world.cost == pytest.approx(best, rel=1e-4)


def test_every_rule_plays_where_any_path_may_be_taken():
    scenario = find_scenario("hybrid").with_(requests=30, slots=2, any_path=True)
    env, episode = Scheduling(scenario, slots=3), draw_episode(scenario, 1)
    for name, order in ORDERS.items():
        world = play(env, episode, DispatchRule(name, env.features, order))
        assert len(world.records) == 30 and {one.path for one in world.records} == {0, 1}
