"""Who answers at the moment: the incumbent, loaded; the candidate, in its process; stages of regions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from experiments.rollout.assignment import SHARES
from experiments.serving.channel import WORKER, Channel
from experiments.serving.limits import Limits
from experiments.shadow.bundle import open_bundle
from experiments.shadow.loader import Bundle
from experiments.shadow.store import Store
from experiments.shadow.store_rows import EVERYWHERE, Model
from sim.errors import InputError


@dataclass(frozen=True)
class Seat:
    """Where a model finds its inputs among all features, and what its actions are called."""

    model: Model
    features: NDArray[np.intp]
    places: Mapping[str, int]

    def mask(self, allowed: Sequence[str] | None) -> NDArray[np.bool_]:
        """Allowed actions (A,) in the model's order."""
        if allowed is None:
            return np.ones(len(self.places), np.bool_)
        mask = np.zeros(len(self.places), np.bool_)
        mask[[self.places[name] for name in allowed]] = True
        return mask


@dataclass(frozen=True)
class Deployment:
    """A snapshot; a request keeps the one it began with.

    Attributes:
        bundle: The incumbent, loaded.
        incumbent: Its seat.
        candidate: The candidate's, None without one.
        channel: To it.
        names: All features that a request may name: of every model in the store, so that a client outlives
            the model it was written for.
        places: Their places.
        fallback: Actions from the one that the incumbent takes most often on its parity rows downwards.
        stages: Of each region.
    """

    bundle: Bundle
    incumbent: Seat
    candidate: Seat | None
    channel: Channel | None
    names: tuple[str, ...]
    places: Mapping[str, int]
    fallback: tuple[str, ...]
    stages: Mapping[str, str] = field(default_factory=dict)

    def standing(self, region: str) -> tuple[str, str]:
        """The region whose stage counts, and that stage."""
        counted = region if region in self.stages else EVERYWHERE
        return counted, self.stages.get(counted, "offline")


def deploy(
    store: Store, limits: Limits, before: Deployment | None = None, worker: Sequence[str] = WORKER
) -> Deployment:
    """What the roles and stages of a store come to; parts of a deployment before it are kept where they fit.

    A channel is not started yet.

    Raises:
        InputError: If there is no incumbent, or a bundle cannot be used here.
    """
    models = store.models()
    first, second = store.role("incumbent"), store.role("candidate")
    if first is None:
        raise InputError(store.folder, "", "the store has no incumbent; name one: --incumbent BUNDLE")
    names = tuple(dict.fromkeys(name for model in models.values() for name in model.features))
    places = {name: place for place, name in enumerate(names)}
    stages = store.stages(second) if second else {}
    if unknown := set(stages.values()) - set(SHARES):
        raise InputError(store.file, "", f"unknown stage {unknown.pop()!r}; known: {', '.join(SHARES)}")
    same = before is not None and before.names == names and before.incumbent.model.version == first
    if before is not None and same and _version(before.candidate) == second:
        return replace(before, stages=stages)
    bundle = before.bundle if same and before else open_bundle(store.bundle(first))
    check_choice(bundle)
    candidate, channel = None, None
    if second is not None:
        candidate = _seat(models[second], places)
        kept = before is not None and _version(before.candidate) == second
        channel = before.channel if before is not None and kept else None
        channel = channel or Channel(models[second], store.bundle(second), limits, worker)
        if set(models[second].actions) != set(bundle.actions):
            problem = f"expected the incumbent's actions {', '.join(bundle.actions)}"
            raise InputError(
                store.bundle(second), "actions", f"{problem}, got {', '.join(models[second].actions)}"
            )
    counts = np.bincount(bundle.act(bundle.rows, bundle.masks), minlength=len(bundle.actions))
    fallback = tuple(bundle.actions[place] for place in np.argsort(-counts, kind="stable"))
    return Deployment(
        bundle, _seat(models[first], places), candidate, channel, names, places, fallback, stages
    )


def check_choice(bundle: Bundle) -> None:
    """Refuse policies that do not choose one action among several."""
    if len(bundle.face.sizes) != 1:
        problem = f"expected a policy with one choice, got the parts {list(bundle.face.sizes)}"
        raise InputError(bundle.name, "action_sizes", f"{problem}; only codecs and orders can be served")


def _seat(model: Model, places: Mapping[str, int]) -> Seat:
    features = np.array([places[name] for name in model.features], np.intp)
    return Seat(model, features, {name: place for place, name in enumerate(model.actions)})


def _version(seat: Seat | None) -> str | None:
    return None if seat is None else seat.model.version
