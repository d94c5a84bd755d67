"""What the actions of an environment are called, and what its answers look like, in words of JSON."""

from typing import Any

from gymnasium import spaces

from envs.allocation import Allocation
from envs.base import WorldEnv
from envs.joint import SHARE, Joint

_WEIGHTS = ("link", "cpu", "streams")


def action_sizes(env: WorldEnv) -> list[int]:
    """Actions of each part of an answer, one number a choice; empty for answers of numbers.

    Raises:
        ValueError: If the space is of another kind.
    """
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(size) for size in space.nvec]
    if isinstance(space, spaces.Box):
        return []
    raise ValueError(f"expected Discrete, MultiDiscrete or Box actions, got {space}")


def described(env: WorldEnv) -> dict[str, Any]:
    """The action space: its kind, with sizes or ranges."""
    space = env.action_space
    if isinstance(space, spaces.Box):
        ends = {"low": space.low.tolist(), "high": space.high.tolist()}
        return {"kind": "Box", **ends}
    return {"kind": type(space).__name__, "sizes": action_sizes(env)}


def action_names(env: WorldEnv) -> list[str]:
    """Names of the actions, those of all parts side by side; of answers of numbers, names of the numbers."""
    if env.task == "compression":
        return [codec.name for codec in env.codecs]
    if isinstance(env, Joint):
        parts = [name for part in env.parts[:SHARE] for name in action_names(part.env)]
        return parts + [f"{slot}: {tilt:+.2g}" for slot in range(env.slots) for tilt in env.tilts]
    sizes = action_sizes(env)
    if not sizes:
        assert env.action_space.shape is not None  # of a Box
        slots = env.slots if isinstance(env, Allocation) else env.action_space.shape[0]
        places = (divmod(number, slots) for number in range(env.action_space.shape[0]))
        return [f"{_WEIGHTS[part]} {slot}" for part, slot in places]
    if len(sizes) == 1:
        return [*(str(candidate) for candidate in range(sizes[0] - 1)), "wait"]
    return [f"{part}: {number}" for part, size in enumerate(sizes) for number in range(size)]
