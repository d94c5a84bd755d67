"""Copies of Joint on the compiled world do what the single environment does, whatever is asked of each."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from sim.catalogue import find_scenario

BACKUP, DEADLINES, OUTAGES, TWO_LINKS = (
    find_scenario(name).with_(requests=24)
    for name in ("backup-window", "deadline-mix", "outages", "two-links")
)
ANY_PATH = find_scenario("hybrid").with_(requests=24, slots=3, any_path=True)
CASES = {
    "backup-window": {"scenario": BACKUP},
    "deadline-mix": {"scenario": DEADLINES, "control_s": 3.0},
    "outages": {"scenario": [OUTAGES, BACKUP], "codecs": ("zstd", "hde", "amst-16"), "candidates": 3},
    "two-links": {"scenario": TWO_LINKS, "slots": 2, "levels": 3, "quantum_s": 2.0},
    "any-path": {"scenario": [ANY_PATH, TWO_LINKS], "candidates": 4},
}
STEPS = 600


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
def test_copies_do_what_single_environments_do_side_by_side(check_beside_single_ones, mode, arguments):
    assert check_beside_single_ones("Joint", arguments, mode, STEPS) >= 3


def test_what_is_not_asked_of_a_copy_is_not_read(make_copies, draw_actions):
    one, two = (make_copies("Joint", 4, scenario=[OUTAGES, TWO_LINKS]) for _ in range(2))
    (seen, infos), (other, _), rng = one.reset(seed=2), two.reset(seed=2), np.random.default_rng(0)
    for _ in range(100):
        np.testing.assert_array_equal(seen, other)
        actions = draw_actions(one, infos, rng)
        asked = seen[:, :3] > 0
        unread = ~np.repeat(asked, [1, 1, actions.shape[1] - 2], axis=1)
        others = np.where(unread, rng.integers(one.single_action_space.nvec, size=actions.shape), actions)
        (seen, *_, infos), (other, *_) = one.step(actions), two.step(others)
