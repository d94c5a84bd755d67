"""Policies of one question each, from the catalogue or from bundles, as one for all three questions."""

from functools import lru_cache
from pathlib import Path

from agents.catalogue import make_policy, policies_of
from agents.joint_rules import Composed, MakePart
from agents.policy import Policy
from envs.base import WorldEnv
from experiments.actions import action_names
from experiments.config import CompositionConfig, ExperimentConfig
from experiments.shadow.bundle import BundlePolicy, open_bundle
from experiments.shadow.loader import Bundle
from sim.errors import InputError
from sim.refusals import suggestion


def composition_of(config: ExperimentConfig, name: str) -> CompositionConfig | None:
    """The composition of that name, if it is one."""
    return next((one for one in config.compositions if one.name == name), None)


def composed(config: CompositionConfig, env: WorldEnv) -> Composed:
    """The policy of a composition.

    Raises:
        InputError: If a policy is unknown or must be trained, or a bundle is torn or answers other questions.
    """

    def made(place: str, name: str) -> MakePart:
        return lambda part: policy_of(f"compositions.{config.name}.{place}", name, part)

    return Composed(
        config.name,
        env,
        codec=made("codec", config.codec),
        dispatch=made("dispatch", config.dispatch),
        share=made("share", config.share),
    )


def policy_of(place: str, name: str, env: WorldEnv) -> Policy:
    """The policy of that name, or of the bundle in that folder (with a /).

    Args:
        place: Where the name stands, for messages.
        name: Of a policy that comes ready made, or a folder.
        env: Whose question it answers.

    Raises:
        InputError: If it is unknown or must be trained, or the bundle is torn or answers other questions.
    """
    if "/" in name:
        bundle = _bundle(name, env.features.names)
        if bundle.actions != tuple(action_names(env)):
            problem = f"expected the actions {', '.join(action_names(env))}, got {', '.join(bundle.actions)}"
            raise InputError(name, "actions", f"{problem}; train it with the codecs and slots asked for here")
        return BundlePolicy(bundle, env.features)  # type: ignore[return-value]  # it has the face of a policy
    ready = [one for one, entry in policies_of(env.task).items() if entry.build is not None]
    ready += [codec.name for codec in env.codecs] if env.task == "compression" else []
    if name not in ready:
        known = suggestion(name, ready) or f"; known: {', '.join(ready)}"
        raise InputError(place, "", f"unknown policy '{name}' (a bundle's folder has a /){known}")
    return make_policy(name, env)


@lru_cache(maxsize=8)
def _bundle(folder: str, features: tuple[str, ...]) -> Bundle:
    return open_bundle(Path(folder), features)
