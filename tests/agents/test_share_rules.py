"""Rules for shares: who is served first, and the order that no other can beat."""

import numpy as np
import pytest

from agents.catalogue import POLICIES, make_policy, static_policies
from agents.play import play
from agents.policy import Policy
from agents.share_rules import ShareRule, cmu, equal, room, stream_tilt
from envs.allocation import TILT, Allocation
from envs.allocation_features import prospects
from envs.compression import Compression
from sim.catalogue import find_scenario
from sim.decisions import HostView, PathView, Running, ShareQuestion
from sim.episode import draw_episode
from sim.hosts import Host
from sim.links import LinkModel
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import MB, MBIT, MINUTE, MS
from sim.workloads import Workload

RULES = [name for name, entry in POLICIES["allocation"].items() if entry.kind == "static"]
TUNERS = [
    name for name, entry in POLICIES["allocation"].items() if entry.kind == "rule" and entry.build is not None
]

ONE_MACHINE = Scenario(
    name="one-machine",
    summary="raw bytes on one link that any stream fills, cores to spare, all come at once, all alike",
    paths=(PathSpec(LinkModel(40 * MBIT, rtt_s=1 * MS), window_bytes=16 * MB, queue_bdp=1e4),),
    workload=Workload(
        interval_s=1e-3,
        one_off=1.0,
        size_scale=0.1,
        max_bytes=1e9,
        deadlines=0.0,
        priorities=(1.0,),
        priority_shares=(1.0,),
    ),
    host=Host(cores=16, background=0.0, background_sd=0.0),
    probe=Probe(period_s=10 * MINUTE, noise=0.0),
    requests=10,
    cpu_price=0.0,
)
LONG = find_scenario("lossy").with_(
    workload=Workload(interval_s=20.0, one_off=1.0, fixed_bytes=200e6, deadlines=0.0), requests=6
)


class Drawn(Policy):
    """Anything within the action space."""

    name = "drawn"

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng, self._size = rng, size

    def act(self, observation, mask=None):
        return self._rng.uniform(-1.0, 1.0, self._size).astype(np.float32)


@pytest.fixture(scope="module")
def rows():
    """Observations of a crowd under the plain rule."""
    env = Allocation("flash-crowd")
    seen = []
    episode = draw_episode(find_scenario("flash-crowd").with_(requests=48), 3)
    play(env, episode, make_policy("equal", env), watch=lambda _, row, __: seen.append(row))
    return np.array(seen)


def running(request: int, **others) -> Running:
    """A transfer of 100 MB at 1 byte a byte, on an encoder that outruns the wire."""
    of = {"kind": 0, "codec": 0, "path": 0, "priority": 1.0, "slack_s": np.inf, "size_bytes": 2e8}
    of |= {"remaining_bytes": 1e8, "ratio": 1.0, "rate": 1e6, "cores": 0.1, "elapsed_s": 5.0, "streams": 1}
    return Running(request=request, **(of | {"encode": 1e9, "parallel": 1.0} | others))


def shares(name: str, *transfers: Running) -> tuple[list[float], list[float]]:
    """Weights of link and cores that a rule gives on 10 MB/s, the largest of each 1."""
    path = PathView(2, 1e7, 1e-3, 0.0, 1e7, 0.0, 1.6e7, 1e7, 1e7, 1.0, len(transfers), len(transfers), 1e9)
    question = ShareQuestion(0.0, 0.0, transfers, (path,), HostView(4, 0.5, 1.0, 0.0), 0, 0.0)
    env = Allocation("wan")
    parts = make_policy(name, env).act(env.features.observe(question)).reshape(2, -1)
    slot = np.argsort([one.place for one in prospects(question)])
    weights = np.exp(TILT * parts[:, slot]) * [[one.streams for one in transfers], [1] * len(transfers)]
    link, cpu = (weights / weights.max(axis=1, keepdims=True)).tolist()
    return link, cpu


def first_of(name: str, *transfers: Running) -> int:
    """Who gets most of the link by far."""
    link, _ = shares(name, *transfers)
    assert sorted(link)[-2] < 0.05
    return transfers[int(np.argmax(link))].request


def test_the_shortest_is_first_by_srpt_and_the_dearest_for_its_length_by_wsrpt():
    short = running(1, remaining_bytes=5e7)
    dear = running(2, priority=3.0)
    assert first_of("srpt", running(0), short, dear) == 1
    assert first_of("wsrpt", running(0), short, dear) == 2
    assert first_of("priority", running(0), short, dear) == 2


def test_the_nearest_deadline_is_first_by_edf_and_the_one_with_least_to_spare_by_least_slack():
    near = running(1, slack_s=20.0, remaining_bytes=1e7)  # needs 1 s, has 19 to spare
    tight = running(2, slack_s=25.0, remaining_bytes=2e8)  # needs 20 s, has 5 to spare
    assert first_of("edf", running(0), near, tight) == 1
    assert first_of("least_slack", running(0), near, tight) == 2


def test_proportional_shares_follow_demand_on_wire_and_on_cores():
    link, cpu = shares("proportional", running(0), running(1, ratio=4.0, encode=5e8))
    assert link == pytest.approx([1.0, 0.25], rel=1e-3)
    assert cpu == pytest.approx([0.5, 1.0], rel=1e-3)


def test_published_shares_are_demand_times_two_one_and_a_half_by_tier():
    link, _ = shares("published", running(0, priority=3.0), running(1, priority=2.0), running(2))
    assert link == pytest.approx([1.0, 0.5, 0.25], rel=1e-3)


def test_the_plain_rule_weighs_streams_alike():
    link, cpu = shares("equal", running(0), running(1, streams=8))
    assert link == pytest.approx([0.125, 1.0], rel=1e-6) and cpu == [1.0, 1.0]


def test_greedy_gives_the_second_what_the_first_cannot_use():
    slow = running(0, remaining_bytes=1e7, encode=2.5e6)  # its encoder makes a quarter of the wire's rate
    link, _ = shares("greedy", slow, running(1, remaining_bytes=9e8), running(2, remaining_bytes=2e9))
    goodput = 1448 / 1500
    assert link[0] / link[1] == pytest.approx(0.25 / (goodput - 0.25), rel=0.01) and link[2] < 1e-3


def test_wire_and_cores_each_go_to_who_needs_least_of_them_for_its_priority():
    plain = running(0, remaining_bytes=1e8, encode=1e9)  # 100 MB of wire, 0.1 s of cores
    packed = running(1, remaining_bytes=2e8, ratio=4.0, encode=1e8)  # 50 MB of wire, 2 s of cores
    path = PathView(2, 1e7, 1e-3, 0.0, 1e7, 0.0, 1.6e7, 1e7, 1e7, 1.0, 2, 2, 1e9)
    question = ShareQuestion(0.0, 0.0, (plain, packed), (path,), HostView(4, 0.5, 1.0, 0.0), 0, 0.0)
    env = Allocation("wan")
    rule = ShareRule(env, cmu)
    link, cpu = rule.act(env.features.observe(question)).reshape(2, -1)
    slot = np.argsort([one.place for one in prospects(question)])
    assert link[slot[1]] > link[slot[0]] + 0.5 and cpu[slot[0]] > cpu[slot[1]] + 0.5


def test_a_path_has_room_for_six_packets_a_stream_in_path_and_queue():
    site = {
        "bandwidth_mbps": 18.0,
        "cross_share": 0.1,
        "rtt_ms": 30.0,
    }  # of 20 Mbit/s: 75 kB, and as many queued
    site = {name: np.array([[value]]) for name, value in site.items()}
    slots = {"present": np.array([[1.0, 1.0, 1.0, 0.0]]), "multi_stream": np.array([[1.0, 0.0, 1.0, 0.0]])}
    others = 1 / 0.9 - 1  # one stream of ours finds 90 %
    assert room(site, slots) == pytest.approx((150_000 / 1500 / 6 - others) / 2)
    site["bandwidth_mbps"] /= 50  # an outage: none, but one must stay
    assert room(site, slots) == pytest.approx(1.0)


def test_a_rule_with_room_for_them_opens_streams_where_loss_holds_each():
    env = Allocation(LONG, ["amst"], codec="amst", streams=(1, 2, 4, 8, 16, 32))
    few, many = make_policy("wsrpt", env), make_policy("wsrpt_streams", env)
    episode = draw_episode(LONG, 0)
    assert play(env, episode, many).cost < 0.8 * play(env, episode, few).cost


def test_proportional_fair_shares_favour_who_has_had_less_than_it_could():
    link, _ = shares("proportional_fair", running(0, elapsed_s=40.0), running(1, elapsed_s=20.0))
    assert link == pytest.approx([1.0, 0.5], rel=1e-3)


def test_on_one_machine_the_shortest_first_has_the_least_sum_of_completion_times():
    env = Allocation(ONE_MACHINE, ["none"], codec="none")
    rate = 40 * MBIT * 1448 / 1500  # payload of a packet
    for seed in range(3):
        episode = draw_episode(ONE_MACHINE, seed)
        least = np.cumsum(np.sort(episode.requests.size_bytes)).sum() / rate
        costs = {policy.name: play(env, episode, policy).cost for policy in static_policies(env)}
        rng = np.random.default_rng(seed)
        drawn = [play(env, episode, Drawn(rng, 2 * env.slots)).cost for _ in range(5)]
        assert costs["srpt"] == min(*costs.values(), *drawn)
        assert least <= costs["srpt"] < 1.03 * least  # all share the first second


@pytest.mark.parametrize("name", TUNERS)
def test_tuning_finds_more_streams_where_loss_holds_each(name):
    env = Allocation(LONG, ["amst"], codec="amst", streams=(1, 2, 4, 8, 16, 32))
    tuner, plain = make_policy(name, env), make_policy("equal", env)
    for seed in range(2):
        episode = draw_episode(LONG, seed)
        tuned = play(env, episode, tuner).cost
        assert tuned < 0.8 * play(env, episode, plain).cost
        assert tuned == play(env, episode, tuner).cost  # it forgets between episodes


@pytest.mark.parametrize("name", TUNERS)
def test_a_tuner_without_numbers_to_choose_from_says_so(name):
    with pytest.raises(ValueError, match=r"streams=\(1, 2, 4, 8, 16\)"):
        make_policy(name, Allocation("lossy"))


def test_a_rule_for_shares_is_refused_elsewhere():
    with pytest.raises(ValueError, match="needs dwcp/Allocation-v0, got Compression"):
        ShareRule(Compression("wan"), equal)


def test_a_choice_of_streams_lies_in_the_middle_of_its_part():
    assert stream_tilt(np.array([1.0, 7.0, 60.0]), (1, 4, 8, 64)).tolist() == [-0.75, 0.25, 0.75]


@pytest.mark.parametrize("name", RULES)
def test_a_batch_gets_the_actions_that_its_rows_get(name, rows):
    env = Allocation("flash-crowd")
    policy = make_policy(name, env)
    batch = policy.act(rows)
    assert batch.shape == (len(rows), 20) and batch.dtype == np.float32
    np.testing.assert_array_equal(batch, [policy.act(row) for row in rows])
    assert all(env.action_space.contains(action) for action in batch)
