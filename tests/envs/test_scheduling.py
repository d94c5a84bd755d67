"""The dispatch decision as a game: who is shown, what is legal, what an action lets go."""

import warnings
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.codec_rule import codec_rule
from envs.scheduling import Scheduling
from envs.scheduling_features import dispatch_features
from envs.shortlist import Shortlister
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.decisions import DispatchQuestion, HostView, PathView, Rules, Running, Waiting, first_come
from sim.episode import draw_episode
from sim.estimates import estimate
from sim.world import World

SMALL = find_scenario("flash-crowd").with_(requests=40, slots=2)
ANY_PATH = find_scenario("hybrid").with_(requests=40, slots=3, any_path=True)
PATH = PathView(2, 1e8, 0.04, 0.001, 5e7, 0.0, 3e6, 5e7, 5e7, 1.0, 0, 0, 0.0)
HOST = HostView(4, 0.25, 2.0, 0.0)


def waiting(request: int, size: float = 1e6, *, paths: tuple[int, ...] = (0,), **others: float) -> Waiting:
    """A transfer of incompressible bytes that arrived ``request`` seconds after the first."""
    known = {"priority": 1.0, "slack_s": inf, "waited_s": 100.0 - request, **others}
    return Waiting(
        request,
        0,
        request,
        size,
        1.0,
        has_baseline=False,
        changed=1.0,
        delta_ratio=10.0,
        path=0,
        paths=paths,
        **known,
    )


def question(*those: Waiting, paths: tuple[PathView, ...] = (PATH,), **others) -> DispatchQuestion:
    """A question about these, with one slot free and nothing underway."""
    rest = {"free_slots": 1, "interval_s": 2.0, "may_wait": True, "opening": (), "running": (), **others}
    return DispatchQuestion(now_s=100.0, hour=6.0, waiting=those, paths=paths, host=HOST, **rest)


def lister(slots: int = 4, paths: int = 1, any_path: bool = False, families=("none",)) -> Shortlister:
    return Shortlister(slots, paths, any_path, families)


def seen(asked: DispatchQuestion, shortlister: Shortlister, name: str) -> float:
    features = dispatch_features(shortlister)
    return float(features.unscaled(features.observe(asked))[features.index(name)])


def random_steps(env: Scheduling, steps: int, seed: int) -> list[float]:
    """Rewards under random legal actions; every observation and mask is checked on the way."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    rewards = []
    while len(rewards) < steps:
        mask = info["action_mask"]
        assert mask.any() and mask.shape == (env.action_space.n,) and (mask == env.action_masks()).all()
        assert observation.dtype == np.float32 and env.observation_space.contains(observation)
        observation, reward, ended, _, info = env.step(rng.choice(np.flatnonzero(mask)))
        rewards.append(reward)
        if ended:
            assert np.isfinite(info["cost_s"])
            observation, info = env.reset()
    return rewards


class Legal(Scheduling):
    """Takes an illegal action for the first legal one: the checkers sample without a mask."""

    def step(self, action):
        mask = self.action_masks()
        return super().step(action if mask[action] else int(np.argmax(mask)))


@pytest.mark.parametrize("scenario", [SMALL, ANY_PATH])
def test_the_checkers_of_gymnasium_and_stable_baselines_find_nothing_to_warn_of(scenario):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check(Legal(scenario))
        gymnasium_check(Legal(scenario), skip_render_check=True)


@pytest.mark.parametrize(
    "name", ["wan", "hybrid", "flash-crowd", "diurnal", "dwcp-cross-region", "lossy", "constrained"]
)
def test_every_observation_is_inside_its_space_and_some_action_is_always_legal(name):
    scenario = find_scenario(name)
    random_steps(Scheduling(scenario.with_(slots=2), quantum_s=scenario.workload.interval_s), 300, seed=1)


def test_so_it_is_where_any_path_may_be_taken_and_paths_fill_up():
    near, far = ANY_PATH.paths
    narrow = ANY_PATH.with_(paths=(near, replace(far, slots=1)))
    random_steps(Scheduling(narrow, slots=5), 600, seed=2)
    random_steps(Scheduling(narrow.with_(any_path=False), slots=5), 600, seed=3)


def test_the_same_seed_and_actions_give_the_same_rewards():
    assert random_steps(Scheduling(SMALL), 100, seed=4) == random_steps(Scheduling(SMALL), 100, seed=4)
    assert random_steps(Scheduling(SMALL), 100, seed=4) != random_steps(Scheduling(SMALL), 100, seed=5)


def test_the_return_of_an_episode_is_minus_its_cost():
    env = Scheduling(SMALL)
    _, info = env.reset(seed=6)
    total, ended = 0.0, False
    while not ended:
        _, reward, ended, _, info = env.step(int(np.argmax(info["action_mask"])))
        total += reward
    assert info["cost_s"] == pytest.approx(-total, rel=1e-9)
    assert sorted(one.request for one in env.world.records) == list(range(40))


def test_letting_the_oldest_go_is_what_first_come_first_served_does():
    episode = draw_episode(SMALL, 7)
    env = Scheduling(SMALL, codec="zstd")
    env.reset(options={"episode": episode})
    ended = False
    while not ended:
        positions = env.shortlister(env.world.question).positions
        _, _, ended, _, _ = env.step(positions.index(0))
    rules = Rules(codec=codec_rule("zstd", env.codecs), dispatch=first_come)
    plain = World(episode, env.codecs, rules)
    assert plain.next_question() is None
    assert plain.records == env.world.records


def test_candidates_are_sorted_by_priority_over_estimated_time():
    asked = question(waiting(0, 9e6), waiting(1, 1e6), waiting(2, 9e6, priority=30.0), waiting(3, 2e6))
    assert lister()(asked).positions == [2, 1, 3, 0]


def test_the_older_of_equals_is_first():
    assert lister()(question(*(waiting(request) for request in range(4)))).positions == [0, 1, 2, 3]


def test_the_oldest_that_may_go_is_always_shown():
    asked = question(waiting(0, 9e8, paths=()), waiting(1, 8e8), waiting(2), waiting(3), waiting(4))
    assert lister(slots=3)(asked).positions == [2, 3, 1]


def test_those_that_may_not_go_come_after_those_that_may():
    asked = question(waiting(0, paths=()), waiting(1, 9e6))
    assert lister()(asked).positions == [1, 0]
    assert seen(asked, lister(), "c1_present") == 1 and seen(asked, lister(), "c1_may_go") == 0


def test_the_estimate_is_that_of_a_codec_question_about_the_same_transfer():
    env = Scheduling(find_scenario("wan").with_(requests=30, slots=1), codec="hde")
    episode = draw_episode(env.scenarios[0], 3)
    world = World(episode, env.codecs, Rules(dispatch=None, quantum_s=5.0))
    compared = 0
    while (asked := world.next_question()) is not None:
        if isinstance(asked, DispatchQuestion):
            shown = env.shortlister(asked)
            expected = shown.best_s[0]
            world.answer(first_come(asked))
            assert estimate(world.next_question()).hde_s == pytest.approx(expected, rel=1e-12)
            compared += 1
        world.answer(2)
    assert compared > 20


def test_a_codec_rule_that_chooses_is_estimated_by_its_best_choice():
    one = waiting(0, 5e7)._replace(sample_ratio=4.0)
    alone_s = {name: lister(families=[name])(question(one)).best_s[0] for name in ("none", "zstd", "amst")}
    assert lister(families=["none", "zstd", "amst"])(question(one)).best_s[0] == min(alone_s.values())


def test_what_is_underway_on_a_path_counts_as_its_backlog_and_its_stakes():
    running = Running(0, 0, 0, 0, 2.0, inf, 8e7, 2e7, 1.0, 1e7, 0.5, 3.0, 1, 1e9, 1.0)
    moving = PATH._replace(running=1, streams=1, wire_backlog_bytes=2e7)
    asked = question(waiting(3), paths=(moving,), running=(running,), opening=(waiting(1, 3e7, paths=()),))
    assert seen(asked, lister(), "p0_backlog_s") == pytest.approx((2e7 + 3e7) / 5e7, rel=1e-5)
    assert seen(asked, lister(), "c0_path_backlog_s") == pytest.approx(1.0, rel=1e-5)
    assert seen(asked, lister(), "p0_stakes") == pytest.approx(3.0, rel=1e-5)
    assert seen(asked, lister(), "p0_next_end_s") == pytest.approx(2.0, rel=1e-5)
    assert seen(asked, lister(), "underway") == pytest.approx(2.0, abs=1e-5)


def test_what_is_not_shown_is_summed_up():
    asked = question(*(waiting(request, 2 * 2**20, priority=2.0) for request in range(6)))
    assert seen(asked, lister(slots=4), "waiting") == pytest.approx(6, rel=1e-5)
    assert seen(asked, lister(slots=4), "unseen") == pytest.approx(2.5, rel=1e-5)
    assert seen(asked, lister(slots=4), "unseen_mb") == pytest.approx(4.0, rel=1e-5)
    assert seen(asked, lister(slots=4), "unseen_stakes") == pytest.approx(4.0, rel=1e-5)
    assert seen(asked, lister(slots=4), "waiting_stakes") == pytest.approx(12.0, rel=1e-5)


def test_a_transfer_that_has_its_slot_and_does_not_move_yet_is_told_of():
    env = Scheduling(SMALL.with_(slots=4))
    env.reset(seed=0)
    while len((before := env.world.question).waiting) < 3:
        env.step(env.action_space.n - 1)
    chosen = before.waiting[env.shortlister(before).positions[0]].request
    env.step(0)
    after = env.world.question
    assert after.now_s == before.now_s and not before.opening
    assert chosen in [one.request for one in after.opening]


def test_the_average_time_between_arrivals_is_a_lagged_one():
    env = Scheduling(SMALL)
    env.reset(seed=0)
    assert env.world.question.interval_s == inf
    arrival_s = env.world.episode.requests.arrival_s
    while len(env.world.question.waiting) + len(env.world.records) + len(env.world.moving) < 3:
        env.step(int(np.argmax(env.action_masks())))
    first, second = np.diff(arrival_s)[:2]
    assert env.world.question.interval_s == pytest.approx(first + 0.2 * (second - first))


def test_the_last_action_waits_until_the_next_arrival_the_next_end_or_a_quantum():
    alone = find_scenario("uncoupled").with_(requests=3)
    env = Scheduling(alone, quantum_s=7.0)
    env.reset(seed=0)
    start_s = env.world.question.now_s
    env.step(env.action_space.n - 1)
    assert env.world.question.now_s == pytest.approx(start_s + 7.0)
    second_s = env.world.episode.requests.arrival_s[1]
    env = Scheduling(alone, quantum_s=1e6)
    env.reset(seed=0)
    env.step(env.action_space.n - 1)
    assert env.world.question.now_s == pytest.approx(second_s) and len(env.world.question.waiting) == 2


def test_where_any_path_may_be_taken_the_action_names_it():
    env = Scheduling(ANY_PATH, slots=3)
    assert env.action_space == spaces.Discrete(3 * 2 + 1)
    for path in (0, 1):
        env.reset(seed=1)
        request = env.world.question.waiting[env.shortlister(env.world.question).positions[0]].request
        env.step(path)
        ended = False
        while not ended:
            _, _, ended, _, _ = env.step(int(np.argmax(env.action_masks())))
        assert next(one.path for one in env.world.records if one.request == request) == path


def test_the_room_for_paths_is_that_of_the_scenario_that_has_most():
    one, two = find_scenario("wan").with_(requests=5), find_scenario("hybrid").with_(requests=5)
    both = Scheduling([one, two])
    assert len(both.features) == len(Scheduling(two).features) > len(Scheduling(one).features)
    random_steps(both, 50, seed=0)
    with pytest.raises(ValueError, match="room for 1 paths, got 2; make the environment with all"):
        Scheduling(one).reset(seed=0, options={"scenario": two})


def test_an_illegal_action_is_refused():
    env = Scheduling(SMALL)
    env.reset(seed=0)
    for action in (-1, 5, 17):
        with pytest.raises(ValueError, match=rf"one that the mask allows, of \[0, 16\], got {action}"):
            env.step(action)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"slots": 0}, "slots must be at least 1, got 0"),
        ({"quantum_s": 0.0}, "quantum_s must be finite and above 0, got 0.0"),
        ({"quantum_s": inf}, "quantum_s must be finite and above 0, got inf"),
        ({"codec": "zst"}, "codec must be 'shortest' or one of none, zstd, hde, amst, got 'zst'"),
        ({"scenario": []}, "at least one scenario"),
    ],
)
def test_an_environment_that_cannot_be_is_refused(arguments, told):
    with pytest.raises(ValueError, match=told):
        Scheduling(**arguments)


def test_the_shortest_rule_takes_the_codec_with_the_shortest_estimate():
    codecs = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
    world = World(draw_episode(find_scenario("internet"), 5), codecs)
    while (asked := world.next_question()) is not None:
        seconds = estimate(asked)
        answer = codec_rule("shortest", codecs)(asked)
        assert seconds[answer] == min(seconds)
        world.answer(answer)


def test_the_page_shows_the_features_as_they_are():
    page = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text("utf-8")
    assert dispatch_features(Shortlister(1, 1, False, ["none"])).table() in page
