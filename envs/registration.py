"""Names under which Gymnasium finds the environments."""

import gymnasium as gym

IDS = {"dwcp/Compression-v0": "envs.compression:Compression"}


def register() -> None:
    """Make the environments known to Gymnasium; a second call changes nothing."""
    for name, entry_point in IDS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry_point)
