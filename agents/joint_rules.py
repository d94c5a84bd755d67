"""A policy for each question, together as one for `dwcp/Joint-v0`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.policy import Actions, Mask, Observation, Policy
from envs.base import WorldEnv
from envs.joint import CODEC, DISPATCH, SHARE, Joint

MakePart = Callable[[WorldEnv], Policy]
"""Makes a policy for an environment that puts one question alone."""


class Composed(Policy):
    """Answers each question as the policy made for it alone does, shown only its part of what is seen.

    The tilts of link and cores that a share policy gives each transfer become one, their mean, and that the
    nearest level there is.

    Args:
        name: Name in tables.
        env: Whose observations it is shown, of `envs.joint.Joint`.
        codec: Makes the policy for `dwcp/Compression-v0`.
        dispatch: Makes the policy for `dwcp/Scheduling-v0`.
        share: Makes the policy for `dwcp/Allocation-v0`, of two tilts a slot.

    Raises:
        ValueError: If the environment puts fewer questions.
    """

    def __init__(
        self, name: str, env: WorldEnv, *, codec: MakePart, dispatch: MakePart, share: MakePart
    ) -> None:
        if not isinstance(env, Joint):
            raise ValueError(f"a composition needs dwcp/Joint-v0, got {type(env).__name__}")
        self.name = name
        self._env = env
        makers = {CODEC: codec, DISPATCH: dispatch, SHARE: share}
        self._policies = {number: make(env.parts[number].env) for number, make in makers.items()}

    def reset(self) -> None:
        """Reset all three."""
        for policy in self._policies.values():
            policy.reset()

    def act(self, observation: Observation, mask: Mask | None = None) -> Actions:
        """A part of the action for the question that is put, 0 for the others; int64 (parts,) or (N, parts).

        Without a mask an empty slot may get a level; it counts for nothing.
        """
        rows = np.atleast_2d(observation)
        asked = rows[:, : len(self._policies)].argmax(axis=1)
        actions = np.zeros((len(rows), self._env.parts[-1].done.stop), np.int64)
        for number, policy in self._policies.items():
            mine = np.flatnonzero(asked == number)
            if len(mine):
                part = self._env.parts[number]
                legal = None if mask is None else np.atleast_2d(mask)[mine, part.allowed]
                seen = rows[mine, part.seen]
                if number == SHARE:
                    own = self._levels(policy.act(seen), legal)
                else:
                    own = np.asarray(policy.act(seen, legal))[:, None]
                actions[mine, part.done] = own
        return actions if observation.ndim == 2 else actions[0]

    def _levels(self, tilts: Any, legal: Mask | None) -> NDArray[np.int64]:
        levels = self._env.levels_of(np.asarray(tilts).reshape(len(tilts), 2, -1).mean(axis=1))
        if legal is None:
            return levels
        of_slots = legal.reshape(*levels.shape, -1)
        return np.where(np.take_along_axis(of_slots, levels[:, :, None], axis=2)[:, :, 0], levels, 0)
