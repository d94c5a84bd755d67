"""Names under which Gymnasium finds the environments."""

import gymnasium as gym

IDS = {
    "dwcp/Compression-v0": "envs.compression:Compression",
    "dwcp/Allocation-v0": "envs.allocation:Allocation",
    "dwcp/Scheduling-v0": "envs.scheduling:Scheduling",
    "dwcp/Joint-v0": "envs.joint:Joint",
}

VECTORS = {
    "dwcp/Compression-v0": "envs.vector:compression",
    "dwcp/Allocation-v0": "envs.vector:allocation",
    "dwcp/Scheduling-v0": "envs.vector:scheduling",
    "dwcp/Joint-v0": "envs.vector:joint",
}
"""Copies of them on the compiled world."""


def register() -> None:
    """Make the environments known to Gymnasium; a second call changes nothing.

    They check order and arguments themselves, so Gymnasium's wrappers that do are left out of every step.
    """
    for name, entry_point in IDS.items():
        if name not in gym.registry:
            gym.register(
                name,
                entry_point=entry_point,
                vector_entry_point=VECTORS[name],
                order_enforce=False,
                disable_env_checker=True,
            )
