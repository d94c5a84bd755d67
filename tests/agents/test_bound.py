"""The bound: met where a theorem says so, worked by hand, and never above what any policy costs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.bound import Bound, bound
from agents.bound_grid import densest_first, hats
from agents.bound_programme import Programme
from agents.bound_transport import capacity_for
from sim.catalogue import find_scenario
from sim.codecs import Codec, parse_codec
from sim.decisions import Answer, DispatchQuestion, Go, Question, Rules
from sim.episode import Conditions, Episode, draw_episode
from sim.fluid import FLOW, OFFERS, share
from sim.hosts import Host
from sim.links import LinkModel
from sim.physics import BBR, CUBIC, GOODPUT_SHARE
from sim.scenarios import PathSpec, Scenario
from sim.workloads import Workload
from sim.world import World

Answers = Callable[[Question], Answer]

START_S = 2 * 0.3e-3
"""Two of the shortest round trips: what a transfer loses at its start."""
WIDE = 1e12
"""Bytes of a queue or a window that never bind."""
ALL = tuple(parse_codec(name) for name in ("none", "zstd", "hde", "amst"))
NONE, ZSTD = (ALL[0],), (ALL[1],)


def lay(
    size_bytes: Sequence[float],
    *,
    arrival_s: Sequence[float] | None = None,
    carries: Sequence[float] = (1e6,),
    priority: Sequence[float] | None = None,
    deadline_s: Sequence[float] | None = None,
    host: Host | None = None,
    **scenario: float,
) -> Episode:
    """Transfers on the first of calm paths that carry so many payload bytes a second; no dataset twice."""
    count, sizes = len(size_bytes), np.asarray(size_bytes, np.float64)
    host = host or Host(cores=64, background=0.0, background_sd=0.0)
    paths = tuple(
        PathSpec(LinkModel(rate, rtt_s=3e-4), share=1 / len(carries), window_bytes=WIDE) for rate in carries
    )
    workload = Workload(datasets=1, one_off=1.0)
    drawn = draw_episode(
        Scenario("by-hand", "laid out by hand", paths, workload, host, count, count, **scenario),
        0,  # type: ignore[arg-type]
    )
    even = np.ones(count)
    links = np.array([[[rate / GOODPUT_SHARE, 3e-4, 0.0, 0.0] for rate in carries]])
    requests = drawn.requests._replace(
        arrival_s=np.zeros(count) if arrival_s is None else np.asarray(arrival_s, np.float64),
        size_bytes=sizes,
        priority=even if priority is None else np.asarray(priority, np.float64),
    )
    payloads = drawn.payloads._replace(
        size_bytes=sizes, ratio3=4 * even, encode_noise=even, decode_noise=even
    )
    return replace(
        drawn,
        requests=requests,
        path=np.zeros(count, np.int64),
        deadline_s=np.full(count, np.inf) if deadline_s is None else np.asarray(deadline_s, np.float64),
        payloads=payloads,
        conditions=Conditions(np.zeros(1), links, np.full(1, float(host.cores))),
        path_limits=np.array([[WIDE, WIDE, 0.0]] * len(carries)),
    )


def cost_of(episode: Episode, codecs: Sequence[Codec], codec: int = 0) -> float:
    world = World(episode, codecs, Rules(codec=lambda question: codec))
    assert world.next_question() is None
    return world.cost


def shortest_first_s(size_bytes: Sequence[float], carries: float) -> float:
    """Sum of the ends, by hand: all wait for the shortest, all but one for the next."""
    ends_s = START_S + np.cumsum(np.sort(np.asarray(size_bytes))) / carries
    return float(ends_s.sum())


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_shortest_first_meets_the_bound_on_one_path_when_all_are_there_at_once(count: int) -> None:
    # Schrage 1968: the shortest remaining first minimises the mean time; nothing else limits here
    size_bytes = np.random.default_rng(count).lognormal(15.0, 1.5, count).tolist()
    found = bound(lay(size_bytes, cpu_price=0.0), NONE)
    assert found.cost_s == pytest.approx(shortest_first_s(size_bytes, 1e6), rel=1e-6)


def test_the_world_meets_the_bound_when_it_sends_the_shortest_first() -> None:
    episode = lay([3e6, 1e6, 2e6, 8e6, 5e6], cpu_price=0.0)
    episode = replace(episode, scenario=episode.scenario.with_(slots=1))

    def shortest(question: DispatchQuestion) -> Go:
        return Go(min(range(len(question.waiting)), key=lambda at: question.waiting[at].size_bytes), 0)

    world = World(episode, NONE, Rules(codec=lambda question: 0, dispatch=shortest))
    assert world.next_question() is None
    found = bound(episode, NONE).cost_s
    assert found <= world.cost <= found + 15 * START_S  # one after another, each has a start of its own


def test_weights_and_arrivals_are_counted_as_by_hand() -> None:
    # 2 MB of priority 1 from 0, 1 MB of priority 4 from 1 s: the second goes at once and delays the first
    episode = lay([2e6, 1e6], arrival_s=[0.0, 1.0], priority=[1.0, 4.0], cpu_price=0.0)
    best_s = 3.0 + 4 * 1.0
    found = bound(episode, NONE).cost_s
    assert found <= best_s + 5 * START_S + 1e-9
    # the mean moment of the first is 1.5 s, its end in the relaxation a second after that
    assert found == pytest.approx(2.5 + 4 * 1.0, abs=6 * START_S)


def test_two_encoders_on_one_core_cost_three_times_one() -> None:
    host = Host(cores=1, background=0.0, background_sd=0.0)
    one, two = (lay([1e8] * count, carries=[1e12], host=host, cpu_price=0.0) for count in (1, 2))
    alone_s = cost_of(one, ZSTD)
    assert bound(one, ZSTD).cost_s == pytest.approx(alone_s, rel=1e-3)
    assert bound(two, ZSTD).cost_s == pytest.approx(3 * alone_s, rel=5e-3)  # start-up beside another


def test_lateness_and_cpu_are_counted_as_by_hand() -> None:
    prices = {"cpu_price": 0.5, "late_price": 10.0}
    episode = lay([5e6, 1e6], arrival_s=[0.0, 100.0], deadline_s=[2.0, 200.0], **prices)
    found = bound(episode, NONE)
    world_cost_s = cost_of(episode, NONE)
    assert found.late_s == pytest.approx(10 * (5.0 + START_S - 2.0), rel=1e-6)
    assert found.completion_s == pytest.approx(6.0 + 2 * START_S, rel=1e-6)
    assert found.cost_s == pytest.approx(world_cost_s, rel=1e-6)
    assert found.cpu_s == pytest.approx(world_cost_s - found.late_s - found.completion_s, rel=1e-3)


@pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.name)
@pytest.mark.parametrize("name", ["datacenter", "wan", "lossy", "diurnal"])
def test_a_large_transfer_alone_costs_about_its_bound(name: str, codec: Codec) -> None:
    scenario = find_scenario(name)
    workload = replace(scenario.workload, fixed_bytes=3e9, deadlines=0.0, arrivals="poisson")
    episode = draw_episode(scenario.with_(requests=1, workload=workload), 3)
    found, cost_s = (
        bound(episode, [codec], free_shares=False, free_streams=False).cost_s,
        cost_of(episode, [codec]),
    )
    assert 0.99 * cost_s <= found <= cost_s * (1 + 1e-9)


@pytest.mark.parametrize(
    "name",
    ["datacenter", "metro", "wan", "internet", "hybrid", "lossy", "constrained", "diurnal", "cpu-starved",
     "flash-crowd", "dwcp-cross-region"],
)  # fmt: skip
def test_no_policy_that_answers_everything_at_random_costs_less(
    name: str, random_answers: Callable[[int, int], Answers]
) -> None:
    scenario = find_scenario(name)
    scenario = scenario.with_(requests=24, slots=3, any_path=len(scenario.paths) > 1)
    for seed in range(2):
        episode, answers = draw_episode(scenario, seed), random_answers(seed, len(ALL))
        found = bound(episode, ALL).cost_s
        assert found > 0
        for _ in range(2):
            world = World(episode, ALL, Rules(share=None, dispatch=None, quantum_s=1.0))
            while (question := world.next_question()) is not None:
                world.answer(answers(question))
            assert found <= world.cost * (1 + 1e-9)


@pytest.mark.parametrize(
    "name", ["datacenter", "metro", "wan", "internet", "hybrid", "lossy", "diurnal", "flash-crowd"]
)
def test_no_choice_of_codecs_costs_less_when_streams_weigh_the_same(name: str) -> None:
    episode, rng = draw_episode(find_scenario(name).with_(requests=48), 5), np.random.default_rng(5)
    fixed = {"free_shares": False, "free_streams": False}
    for number, codec in enumerate(ALL):
        assert bound(episode, [codec], **fixed).cost_s <= cost_of(episode, ALL, number) * (1 + 1e-9)
    found = bound(episode, ALL, **fixed).cost_s
    for _ in range(3):
        world = World(episode, ALL)
        world.run(lambda question: int(rng.integers(len(ALL))))
        assert found <= world.cost * (1 + 1e-9)


def test_more_capacity_more_cores_more_codecs_and_more_freedom_lower_the_bound() -> None:
    episode = draw_episode(find_scenario("wan").with_(requests=48), 1)
    conditions = episode.conditions
    wider = conditions.links * np.array([2.0, 1.0, 1.0, 1.0])
    fixed = {"free_shares": False, "free_streams": False}

    def value(of: Episode, codecs: Sequence[Codec] = ALL, **freedom: bool) -> float:
        return bound(of, codecs, **(fixed | freedom)).cost_s

    here = value(episode)
    more = 1 + 1e-3  # nodes lie elsewhere
    assert value(replace(episode, conditions=conditions._replace(links=wider))) < here * more
    assert value(replace(episode, conditions=conditions._replace(cores=2 * conditions.cores))) < here * more
    assert here < value(episode, ALL[:3]) * more < value(episode, ZSTD) * more**2
    assert value(episode, free_shares=True) < here * more
    assert value(episode, free_shares=True, free_streams=True) < here * more


@pytest.mark.parametrize("control", [CUBIC, BBR])
def test_no_weights_take_more_of_a_path_than_our_streams_are_entitled_to(control: int) -> None:
    link, limits = np.array([[1e6, 0.02, 0.0, 3.0]]), np.array([[WIDE, 4e4, control]])  # a queue that crowds
    rng, most = np.random.default_rng(control), 24
    room = capacity_for(link[None], limits, np.array([float(most)])).item()
    taken = []
    for streams in [[1] * most, [8] * 3, *(rng.integers(1, 9, 3) for _ in range(100))]:
        flows = np.zeros(len(streams), FLOW)
        flows["streams"], flows["weight"] = streams, rng.random(len(streams)) ** 8
        for name in ("ratio", "loss_gain", "cores_max", "core_weight"):
            flows[name] = 1.0
        flows["encode"] = flows["decode"] = WIDE
        share(flows, len(flows), link, np.full(1, np.inf), limits, WIDE, np.empty((1, OFFERS)))
        taken.append(flows["rate"].sum())
    assert 0.9 * room < max(taken) <= room * (1 + 1e-9)


def test_a_free_path_takes_half_of_the_load() -> None:
    size_bytes, price = [4e6, 4e6], {"cpu_price": 0.0}
    held = lay(size_bytes, carries=[1e6, 1e6], **price)
    free = replace(held, scenario=held.scenario.with_(any_path=True))
    assert bound(held, NONE).cost_s == pytest.approx(4.0 + 8.0, rel=1e-3)
    assert bound(free, NONE).cost_s == pytest.approx(4.0 + 4.0, rel=1e-3)


def test_without_deltas_allowed_hde_is_bound_by_its_baselines() -> None:
    scenario = find_scenario("wan").with_(requests=48)
    host = replace(scenario.host, max_deltas=0)
    hde = [parse_codec("hde")]
    many = bound(draw_episode(scenario, 2), hde).cost_s
    none = draw_episode(scenario.with_(host=host), 2)
    assert many < bound(none, hde).cost_s <= cost_of(none, hde) * (1 + 1e-9)


def test_the_same_episode_has_the_same_bound_twice() -> None:
    episode = draw_episode(find_scenario("metro").with_(requests=32), 4)
    assert bound(episode, ALL) == bound(episode, ALL)
    assert isinstance(bound(episode, ALL), Bound)


def test_hats_hold_all_of_a_rate_and_its_mean_moment() -> None:
    times, nodes = np.array([0.0, 1.0, 2.5]), np.array([0.0, 0.7, 2.0, 4.0, 9.0])
    rates, from_s = np.array([[2.0, 0.0, 3.0], [1.0, 5.0, 0.0]]), np.array([0.5, 1.25])
    weights = hats(times, rates, nodes, from_s)[:, :-1]
    until_s = np.array([4.0])  # all of what follows belongs to hats of the last two nodes

    def by_sum(moment: int) -> NDArray[np.float64]:
        t = np.linspace(0.0, 4.0, 400_001)
        middle, step = (t[1:] + t[:-1]) / 2, t[1] - t[0]
        rate = rates[:, np.searchsorted(times, middle, side="right") - 1] * (middle > from_s[:, None])
        falls = np.interp(middle, nodes, [1.0, 1.0, 1.0, 0.0, 0.0])
        return (rate * falls * middle**moment).sum(axis=1) * step

    assert until_s[0] == nodes[3]
    assert weights[:, :3].sum(axis=1) == pytest.approx(by_sum(0), rel=1e-5)
    whole = np.where(np.array([0, 1, 2]) < 3, nodes[:3], 0.0)
    # below 2 s hats reproduce the line itself
    t = np.linspace(0.0, 2.0, 200_001)
    middle, step = (t[1:] + t[:-1]) / 2, t[1] - t[0]
    rate = rates[:, np.searchsorted(times, middle, side="right") - 1] * (middle > from_s[:, None])
    at_two = np.interp(middle, nodes[:3], [0.0, 0.0, 1.0])
    below = (weights[:, :2] * whole[:2]).sum(axis=1)
    assert below == pytest.approx((rate * (middle - 2.0 * at_two)).sum(axis=1) * step, rel=1e-4)


def test_the_densest_goes_first_and_gives_way_to_denser_ones() -> None:
    work, density, ready_s = np.array([3.0, 1.0]), np.array([1.0, 2.0]), np.array([0.0, 1.0])
    ends = densest_first(work, density, ready_s, np.array([0.0, 2.0]), np.array([1.0, 2.0]))
    assert ends.tolist() == [2.0, 3.0]  # 1 done, gives way for a second, then 2 more at twice the rate


def test_a_programme_is_the_same_whatever_columns_it_starts_with() -> None:
    rng = np.random.default_rng(0)
    cost, use = rng.random((30, 5)), rng.random((30, 5))
    values = []
    for started in (1.0, 0.0):
        programme = Programme()
        first = (rng.random(cost.size) < started) | (np.arange(cost.size) % 5 == 4)
        use[:, 4] = 0.0  # so that a start is possible
        columns = programme.columns(cost.ravel(), 1.0, first)
        programme.add_equal(np.repeat(np.arange(30), 5), columns)
        programme.add(programme.rows(np.full(5, 0.7))[np.tile(np.arange(5), 30)], columns, use.ravel())
        values.append(programme.solve().value)
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_a_programme_without_a_solution_is_refused() -> None:
    programme = Programme()
    column = programme.columns(np.ones(1), np.inf)
    programme.add_equal(np.zeros(1, np.int64), column)
    programme.add(programme.rows(np.full(1, 0.5)), column, 1.0)
    with pytest.raises(RuntimeError, match="not solved"):
        programme.solve()
