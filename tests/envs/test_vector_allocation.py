"""Copies of Allocation on the compiled world do what the single environment does."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    "arguments",
    [
        {"scenario": ["wan", "flash-crowd", "two-links"]},
        {"scenario": ["lossy", "flash-crowd"], "codec": "amst", "streams": (1, 4, 16), "slots": 3},
        {"scenario": ["backup-window", "cpu-starved"], "codecs": ("zstd", "amst", "hde"), "control_s": 0.5},
    ],
    ids=["shortest", "streams", "other codecs"],
)
def test_copies_do_what_single_environments_do_side_by_side(check_beside_single_ones, mode, arguments):
    assert check_beside_single_ones("Allocation", arguments, mode) >= 1


@pytest.mark.parametrize("reward", ["published", "utility"])
def test_a_reward_that_copies_do_not_earn_is_refused_with_the_way_out(make_copies, reward):
    with pytest.raises(ValueError, match=f"reward 'cost', got '{reward}'; use the single environment"):
        make_copies("Allocation", 2, reward=reward)


@pytest.mark.parametrize("wrong", [np.zeros((2, 19)), np.zeros(20), np.full((2, 20), np.nan)])
def test_actions_that_do_not_fit_are_refused_in_words(make_copies, wrong):
    copies = make_copies("Allocation", 2)
    copies.reset(seed=0)
    with pytest.raises(ValueError, match="actions must be of"):
        copies.step(wrong)
