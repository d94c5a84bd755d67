"""Copies on the compiled world do what the single environment does, and what Gymnasium asks of vectors."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from sim.catalogue import find_scenario

SCENARIOS = ["wan", "lossy", "two-links"]
NIGHT = find_scenario("night-shift").with_(requests=40)
OUTAGES = find_scenario("outages").with_(requests=40, slots=2)
ANY_PATH = find_scenario("hybrid").with_(requests=40, slots=3, any_path=True)
OWN_PATH = find_scenario("two-links").with_(requests=40, slots=2, any_path=False)
NEXT_STEP, SAME_STEP = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
@pytest.mark.parametrize("action", ["discrete", "multi"])
def test_copies_do_what_single_environments_do_side_by_side(check_beside_single_ones, mode, action):
    assert check_beside_single_ones("Compression", {"scenario": SCENARIOS, "action": action}, mode) >= 3


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        ({"scenario": NIGHT}, NEXT_STEP),
        ({"scenario": [OUTAGES, OWN_PATH], "slots": 4, "codec": "zstd"}, SAME_STEP),
        ({"scenario": [ANY_PATH, OWN_PATH], "slots": 3, "quantum_s": 20.0}, NEXT_STEP),
        ({"scenario": ["two-links", OUTAGES], "slots": 5}, SAME_STEP),
    ],
    ids=["night", "own-path", "any-path", "contended"],
)
def test_copies_that_dispatch_see_and_may_do_what_single_ones_do(check_beside_single_ones, arguments, mode):
    assert check_beside_single_ones("Scheduling", arguments, mode) >= 3


def test_what_was_handed_out_stays_as_it_was(make_copies):
    copies = make_copies("Compression", 2, scenario=SCENARIOS)
    first, _ = copies.reset(seed=0)
    kept = first.copy()
    for _ in range(5):
        copies.step(np.zeros(2, np.int64))
    np.testing.assert_array_equal(first, kept)


def test_actions_that_do_not_fit_are_refused_in_words(make_copies):
    copies = make_copies("Compression", 2)
    copies.reset(seed=0)
    for wrong in ([0, 4], [0], [-1, 0]):
        with pytest.raises(ValueError, match="actions must be of"):
            copies.step(np.array(wrong))
    with pytest.raises(ValueError, match="NextStep or SameStep"):
        make_copies("Compression", 2, autoreset_mode=AutoresetMode.DISABLED)
    with pytest.raises(ValueError, match="at least one"):
        make_copies("Compression", 0)
    with pytest.raises(ValueError, match="reset options"):
        copies.reset(options={"episode_seed": 3})


@pytest.mark.parametrize("name", ["Scheduling", "Joint"])
def test_an_action_that_a_copy_forbids_is_refused_and_moves_none(make_copies, draw_actions, name):
    shown = {"slots": 4} if name == "Scheduling" else {"candidates": 4}
    copies, other = (make_copies(name, 2, scenario=OUTAGES, **shown) for _ in range(2))
    (_, infos), _ = copies.reset(seed=0), other.reset(seed=0)
    actions = draw_actions(copies, infos, np.random.default_rng(0))
    wrong = actions.copy()
    mask = infos["action_mask"][1] if name == "Scheduling" else infos["action_mask"][1, 4:9]
    forbidden = int(np.argmin(mask))
    if name == "Scheduling":
        wrong[1] = forbidden
    else:
        wrong[1, 1] = forbidden
    with pytest.raises(ValueError, match=rf"copy 1 must be one that its mask allows, .* got {forbidden}"):
        copies.step(wrong)
    np.testing.assert_array_equal(copies.step(actions)[0], other.step(actions)[0])
