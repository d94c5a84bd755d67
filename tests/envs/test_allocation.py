"""`dwcp/Allocation-v0`: what is seen of those that move, and what an action does to them."""

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from envs.allocation import TILT, Allocation
from envs.allocation_features import SITE_FEATURES, SLOT_FEATURES, prospects, share_features
from envs.allocation_rewards import FALCON_K, published, utility
from envs.codec_rule import codec_rule
from sim.catalogue import SCENARIOS, find_scenario
from sim.decisions import HostView, PathView, Rules, Running, ShareQuestion
from sim.episode import draw_episode
from sim.telemetry import TransferRecord
from sim.world import World

CROWD = find_scenario("flash-crowd").with_(requests=48)
GOODPUT = 1448 / 1500


def running(request: int, **others) -> Running:
    """A raw transfer half of whose 200 MB have moved in 5 s."""
    of = {"kind": 0, "codec": 0, "path": 0, "priority": 1.0, "slack_s": np.inf, "size_bytes": 2e8}
    of |= {"remaining_bytes": 1e8, "ratio": 1.0, "rate": 1e6, "cores": 0.1, "elapsed_s": 5.0, "streams": 1}
    return Running(request=request, **(of | {"encode": 1e9, "parallel": 1.0} | others))


def question(*transfers: Running, bandwidth: float = 1e7) -> ShareQuestion:
    """Those on 10 MB/s over 1 ms, on four cores of which others use two."""
    streams = sum(one.streams for one in transfers)
    path = PathView(2, 1e7, 1e-3, 0.0, bandwidth, 0.0, 1.6e7, 1e7, 1e7, 1.0, len(transfers), streams, 1e8)
    return ShareQuestion(0.0, 0.0, transfers, (path,), HostView(4, 0.5, 1.0, 0.0), 3, 5e7)


def drawn(env: Allocation, seed: int) -> list[tuple[bytes, float]]:
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    steps, ended = [(observation.tobytes(), 0.0)], False
    while not ended:
        observation, reward, ended, _, _ = env.step(env.action_space.sample())
        steps.append((observation.tobytes(), reward))
    return steps


def cost_of(env: Allocation, action: np.ndarray, seed: int = 0) -> float:
    env.reset(options={"scenario": CROWD, "episode_seed": seed})
    ended = False
    while not ended:
        _, _, ended, _, info = env.step(action)
    return info["cost_s"]


@pytest.mark.parametrize("options", [{}, {"codec": "amst", "streams": (1, 4, 16), "slots": 4}])
def test_the_checkers_of_gymnasium_and_stable_baselines_find_nothing_to_warn_of(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("envs:dwcp/Allocation-v0", render_mode="rgb_array", **options).unwrapped
        gymnasium_check(env)
        sb3_check(env)


def test_the_same_seed_gives_the_same_bytes():
    assert drawn(Allocation(CROWD), 3) == drawn(Allocation(CROWD), 3) != drawn(Allocation(CROWD), 4)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_observations_stay_inside_their_space(scenario):
    env = Allocation(scenario, codecs=("zstd", "hde", "amst"), streams=(1, 8, 64), slots=4)
    env.action_space.seed(1)
    observation, _ = env.reset(seed=1)
    for _ in range(600):
        assert env.observation_space.contains(observation)
        observation, reward, ended, _, _ = env.step(env.action_space.sample())
        assert np.isfinite(reward)
        if ended:
            observation, _ = env.reset()


def test_zeros_are_the_plain_rule():
    episode = draw_episode(CROWD, 0)
    env = Allocation(CROWD)
    plain = World(episode, env.codecs, Rules(codec=codec_rule("shortest", env.codecs)))
    assert plain.next_question() is None
    assert cost_of(env, np.zeros(20, np.float32)) == pytest.approx(plain.cost, rel=1e-9)


def test_the_return_is_minus_the_cost():
    env = Allocation(CROWD)
    steps = drawn(env, 5)
    assert -sum(reward for _, reward in steps) == pytest.approx(env.world.cost, rel=1e-9)


def test_slots_run_from_the_highest_priority_over_time_alone_to_the_lowest():
    # At 10 MB/s of which 1448/1500 is payload: 10.4 s, 5.2 s, 31.1 s at priority 4, 2.1 s.
    asked = question(
        running(0),
        running(1, remaining_bytes=5e7),
        running(2, remaining_bytes=3e8, size_bytes=3e8, priority=4.0),
        running(3, remaining_bytes=2e7),
    )
    order = prospects(asked)
    assert [one.place for one in order] == [3, 1, 2, 0]
    assert [one.alone_s for one in order] == pytest.approx(
        [mb / (10 * GOODPUT) for mb in (20, 50, 300, 100)], rel=1e-9
    )


def test_who_is_alone_is_held_by_stream_window_or_encoder():
    far = question(running(0, encode=2e6))
    assert prospects(far)[0].alone_s == pytest.approx(50.0)
    held = far._replace(running=(running(0),), paths=(far.paths[0]._replace(rtt_s=4.0),))
    assert prospects(held)[0].wire_rate == pytest.approx(4e6)  # 16 MB once in 4 s
    shared = question(running(0), bandwidth=5e6)  # as much cross traffic as one stream
    assert prospects(shared)[0].wire_rate == pytest.approx(5e6 * GOODPUT)


def test_what_is_seen_of_a_slot_is_what_its_names_say():
    features = share_features(Allocation("wan").codecs, 2)
    seen = dict(zip(features.names, features.raw(question(running(0, slack_s=20.0, codec=3))), strict=True))
    alone_s = 100 / (10 * GOODPUT)
    by_hand = {
        "present_1": 1.0,
        "alone_s_1": alone_s,
        "share_1": 1.0,
        "pressure_1": 1.0,
        "slack_ratio_1": 20 / alone_s,
        "remaining_share_1": 0.5,
        "wire_s_1": 10.0,
        "core_s_1": 0.1,
        "encoder_lead_1": 100 / GOODPUT,
        "wire_reach_1": 1.0,
        "core_reach_1": 1 / 2.001,
        "wire_share_1": 0.1,
        "core_share_1": 0.025,
        "stretch_1": 5 / alone_s,
        "multi_stream_1": 1.0,
        "present_2": 0.0,
        "slack_s_2": 1e5,
        "waiting": 3.5,
        "waiting_s": 5.0,
        "unseen": 0.5,
    }
    assert {name: seen[name] for name in by_hand} == pytest.approx(by_hand, rel=1e-6)
    assert len(features) == len(SITE_FEATURES) + 2 * len(SLOT_FEATURES)


def test_an_action_reaches_the_transfers_in_the_order_of_the_slots():
    env = Allocation("wan", slots=2)
    env.reset(seed=0)
    asked = question(running(0), running(1, remaining_bytes=5e7, streams=8), running(2, remaining_bytes=9e7))
    shares = env._answer(asked, np.array([1.0, -1.0, 0.0, 0.5], np.float32))
    low, high = np.exp(-TILT), np.exp(TILT)
    assert shares.link == pytest.approx([low, 8 * high, low])  # the third weighs as the last slot
    assert shares.cpu == pytest.approx([np.exp(TILT / 2), 1.0, np.exp(TILT / 2)])
    assert shares.streams is None


def test_only_a_multi_stream_transfer_is_given_other_streams():
    env = Allocation("wan", ("zstd", "amst"), streams=(1, 4, 16), slots=2)
    env.reset(seed=0)
    asked = question(running(0, codec=1, streams=8), running(1))
    for tilt, count in ((-1.0, 1), (0.0, 4), (1.0, 16)):
        action = np.array([0, 0, 0, 0, tilt, tilt], np.float32)
        assert env._answer(asked, action).streams == [count, 1]


def test_entries_that_are_said_not_to_count_change_nothing():
    env = Allocation(CROWD, slots=4, streams=(1, 4, 16))
    rng = np.random.default_rng(0)

    def costs(drawn: bool) -> float:
        observation, _ = env.reset(options={"scenario": CROWD, "episode_seed": 0})
        ended = False
        while not ended:
            counts = observation[list(env.acting)] > 0
            other = rng.uniform(-1, 1, 12) if drawn else np.zeros(12)
            observation, _, ended, _, info = env.step(np.where(counts, 0.5, other))
        return info["cost_s"]

    assert costs(True) == costs(False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward": "profit"}, "reward must be one of cost, published, utility"),
        ({"streams": (0, 8)}, "streams must be counts from 1 to 64"),
        ({"codec": "lz4"}, "codec must be 'shortest' or one of none, zstd, hde, amst"),
        ({"slots": 0}, "at least 1 slot"),
        ({"control_s": 0.0}, "control_s must be"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        Allocation("wan", **options).reset(seed=0)


def test_the_published_reward_is_four_tenths_three_two_and_one():
    ended = TransferRecord(9, 0, "db", 0, "none", False, False, 0.0, 0.0, 8.0, 7.0, 1.0, 1e6, 1e6, 1, 0.1)
    # One ended late, three move, one of them late: completion 1/4, SLA 2/4. 4 of 10 MB/s is half of 80 %.
    # Rates 1, 1, 2: mean 4/3, deviation sqrt(2)/3.
    rates = (1e6, 1e6, 2e6)
    moving = [running(number, rate=rate) for number, rate in enumerate(rates)]
    moving[2] = moving[2]._replace(slack_s=-1.0)
    by_hand = 0.4 / 4 + 0.3 / 2 + 0.2 * 0.5 + 0.1 * (1 - np.sqrt(2) / 4)
    assert published([ended], question(*moving)) == pytest.approx(by_hand)
    assert published([ended._replace(end_s=6.0)], None) == pytest.approx(1.0)


def test_the_utility_is_throughput_over_k_to_the_streams():
    moving = question(running(0, rate=2e6, ratio=2.0), running(1, rate=4e6, streams=8))
    assert utility(moving) == pytest.approx(0.1 / FALCON_K + 0.4 / FALCON_K**8)
    assert utility(None) == 0.0


@pytest.mark.parametrize("reward", ["published", "utility"])
def test_another_reward_changes_what_is_earned_and_not_what_happens(reward):
    plain, other = Allocation(CROWD), Allocation(CROWD, reward=reward)
    first, second = drawn(plain, 2), drawn(other, 2)
    assert [seen for seen, _ in first] == [seen for seen, _ in second]
    assert all(0.0 <= earned <= 1.01 for _, earned in second[1:])
    assert plain.world.cost == other.world.cost


def test_the_page_prints_the_features_that_there_are():
    page = (Path(__file__).parents[2] / "docs" / "allocation.md").read_text("utf-8")
    features = share_features(Allocation("wan").codecs, 1).table()
    assert features in page
