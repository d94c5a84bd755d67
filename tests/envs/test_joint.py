"""All three questions to one agent: what is put, seen and allowed, and that each counts as it does alone."""

import re
import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.allocation import Allocation
from envs.compression import Compression
from envs.joint import CODEC, DISPATCH, SHARE, Joint
from envs.scheduling import Scheduling
from sim.catalogue import find_scenario
from sim.codecs import parse_codec
from sim.decisions import CodecQuestion, DispatchQuestion, Rules, ShareQuestion, equal
from sim.episode import draw_episode
from sim.world import World

SMALL = find_scenario("flash-crowd").with_(requests=40, slots=2)
ANY_PATH = find_scenario("hybrid").with_(requests=40, slots=3, any_path=True)
KINDS = (CodecQuestion, DispatchQuestion, ShareQuestion)


def heads(env: Joint) -> list[np.ndarray]:
    """The mask, a piece for each part of the action."""
    return np.split(env.action_masks(), np.cumsum(env.action_space.nvec)[:-1])


def random_steps(env: Joint, steps: int, seed: int) -> list[float]:
    """Rewards under random legal actions; observations and masks are checked on the way."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    rewards = []
    while len(rewards) < steps:
        assert observation.dtype == np.float32 and env.observation_space.contains(observation)
        assert (info["action_mask"] == env.action_masks()).all()
        action = np.array([rng.choice(np.flatnonzero(head)) for head in heads(env)])
        assert env.action_space.contains(action)
        observation, reward, ended, _, info = env.step(action)
        rewards.append(reward)
        if ended:
            assert np.isfinite(info["cost_s"])
            observation, info = env.reset()
    return rewards


class Legal(Joint):
    """Takes the first of each part for what is illegal: the checkers sample without a mask."""

    def step(self, action):
        legal = [head[one] for head, one in zip(heads(self), action, strict=True)]
        firsts = [int(np.argmax(head)) for head in heads(self)]
        return super().step(np.where(legal, action, firsts))


@pytest.mark.parametrize("scenario", [SMALL, ANY_PATH])
def test_the_checkers_of_gymnasium_and_stable_baselines_find_nothing_to_warn_of(scenario):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check(Legal(scenario))
        gymnasium_check(Legal(scenario), skip_render_check=True)


@pytest.mark.parametrize("name", ["wan", "hybrid", "flash-crowd", "two-links", "outages", "deadline-mix"])
def test_every_observation_is_inside_its_space_and_masks_allow_something_of_each_part(name):
    random_steps(Joint(find_scenario(name).with_(slots=3), slots=3), 300, seed=1)


def test_so_it_is_where_any_path_may_be_taken():
    random_steps(Joint(ANY_PATH), 400, seed=2)


def test_the_same_seed_and_actions_give_the_same_rewards():
    assert random_steps(Joint(SMALL), 150, seed=4) == random_steps(Joint(SMALL), 150, seed=4)
    assert random_steps(Joint(SMALL), 150, seed=4) != random_steps(Joint(SMALL), 150, seed=5)


def test_the_return_of_an_episode_is_minus_its_cost():
    env = Joint(SMALL)
    env.reset(seed=6)
    total, ended = 0.0, False
    while not ended:
        _, reward, ended, _, info = env.step([int(np.argmax(head)) for head in heads(env)])
        total += reward
    assert total == pytest.approx(-info["cost_s"], rel=1e-9)


def test_only_what_is_asked_for_is_seen_and_may_be_chosen():
    env = Joint(SMALL, candidates=3, slots=2)
    rng = np.random.default_rng(7)
    observation, _ = env.reset(seed=7)
    met, ended = set(), False
    while not ended:
        asked = KINDS.index(type(env.world.question))
        met.add(asked)
        assert observation[:3].tolist() == [1.0 if number == asked else -1.0 for number in range(3)]
        for number, part in enumerate(env.parts):
            alone = part.env.features.observe(env.world.question) if number == asked else -1.0
            assert (observation[part.seen] == alone).all()
            free = [head.sum() > 1 for head in heads(env)[part.done]]
            if number != asked:
                assert not any(free) and all(head[0] for head in heads(env)[part.done])
            elif number == SHARE:
                running = min(len(env.world.question.running), 2)
                assert free == [True] * running + [False] * (2 - running)
            elif number == CODEC:
                assert heads(env)[CODEC].all()
            else:
                assert (heads(env)[DISPATCH] == part.env._mask(env.world.question)).all()
        action = [int(rng.choice(np.flatnonzero(head))) for head in heads(env)]
        observation, _, ended, _, _ = env.step(action)
    assert met == {CODEC, DISPATCH, SHARE}


def test_always_the_oldest_zstd_and_one_level_for_all_are_the_world_of_the_plain_rules():
    episode = draw_episode(SMALL, 8)
    codecs = [parse_codec(name) for name in ("none", "zstd", "hde", "amst")]
    rules = Rules(codec=lambda _: 1, share=lambda question: equal(question), quantum_s=5.0)
    plain = World(episode, codecs, rules)
    assert plain.next_question() is None
    env = Joint(SMALL)
    env.reset(options={"episode": episode})
    ended = False
    while not ended:
        oldest = 0
        if isinstance(env.world.question, DispatchQuestion):
            shown = env.parts[DISPATCH].env.shortlister(env.world.question).positions
            may_go = [place for place in shown if env.world.question.waiting[place].paths]
            oldest = shown.index(min(may_go))
        _, _, ended, _, info = env.step([1, oldest, *[2] * 6])
    assert info["cost_s"] == pytest.approx(plain.cost, rel=1e-9)
    assert [one.request for one in env.world.records] == [one.request for one in plain.records]


def test_levels_are_tilts_of_link_and_cores_alike():
    env = Joint(SMALL, slots=3, levels=3)
    env.reset(seed=0)
    while not isinstance(env.world.question, ShareQuestion) or len(env.world.question.running) < 2:
        env.step([int(np.argmax(head)) for head in heads(env)])
    shares = env._answer(env.world.question, np.array([0, 0, 2, 0, 1]))
    alone = Allocation(SMALL, slots=3)._answer(env.world.question, np.array([1.0, -1.0, 0.0] * 2))
    assert shares == alone and env.tilts.tolist() == [-1.0, 0.0, 1.0]


def test_tilts_go_to_the_nearest_level():
    levels = Joint(SMALL, levels=4).levels_of(np.array([[-1.0, -0.7, -0.6, 0.0], [0.1, 0.6, 0.7, 9.0]]))
    assert levels.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]


def test_it_shows_what_the_three_show_alone_under_names_of_their_own():
    env = Joint(ANY_PATH, candidates=4, slots=3)
    alone = [Compression(ANY_PATH), Scheduling(ANY_PATH, slots=4), Allocation(ANY_PATH, slots=3)]
    assert [part.env.features.names for part in env.parts] == [one.features.names for one in alone]
    assert env.features.names[:4] == ("asked_codec", "asked_dispatch", "asked_share", "codec_rtt_ms")
    assert "dispatch_c3_index" in env.features.names and "share_pressure_3" in env.features.names
    assert env.action_space.nvec.tolist() == [4, 4 * 2 + 1, 4, 4, 4]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"levels": 1}, "levels must be at least 2, for there to be a choice, got 1"),
        ({"candidates": 0}, "candidates must be at least 1, got 0"),
        ({"slots": 0}, "at least 1 slot is needed, got 0"),
        ({"quantum_s": 0.0}, "quantum_s must be finite and above 0"),
        ({"render_mode": "human"}, "render_mode must be 'rgb_array' or None"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        Joint(SMALL, **options)


@pytest.mark.parametrize("scenario", [SMALL, ANY_PATH])
def test_each_slot_stands_with_what_is_seen_of_it_and_with_the_scores_of_its_choices(scenario):
    env = Joint(scenario, candidates=3, slots=2, levels=4)
    names, shown = env.features.names, env.shown
    assert shown.groups == (3, 2)
    for slot, seen in enumerate(shown.seen):
        start = f"dispatch_c{slot}_" if slot < 3 else "share_"
        mine = [names[place] for place in seen]
        assert all(name.startswith(start) for name in mine)
        assert all(name.endswith(f"_{slot - 2}") for name in mine) or slot < 3
    rest = set(range(len(names))) - {place for seen in shown.seen for place in seen}
    assert not any(re.match(r"dispatch_c\d|share_.*_\d$", names[place]) for place in rest)
    ways = env.action_space.nvec[1] // 3
    assert [len(done) for done in shown.done] == [ways] * 3 + [4] * 2
    # codecs, then candidates, then the wait, then the levels
    codecs, wait = 4, 4 + 3 * ways
    assert [place for done in shown.done for place in done] == [
        *range(codecs, wait), *range(wait + 1, wait + 1 + 8)
    ]  # fmt: skip


def test_what_is_not_asked_has_one_choice_and_no_part_in_the_probability_of_an_action():
    env = Joint(SMALL, candidates=3, slots=2)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(200):
        number = KINDS.index(type(env.world.question))
        own = env.parts[number].done
        for part, head in enumerate(heads(env)):
            assert own.start <= part < own.stop or head.tolist() == [True] + [False] * (len(head) - 1)
        if env.step(np.array([rng.choice(np.flatnonzero(head)) for head in heads(env)]))[2]:
            env.reset()
