"""Layers that treat every slot of an observation alike: one set of weights for all, as in Deep Sets.

A question shows several transfers side by side, each in a slot of the same features. What is learned of one
slot is then true of all, with as many weights as one needs. A hidden layer holds a group of units for each
slot: a group sees its own slot, the mean of the others, and all that belongs to no slot. Biases stay free, so
the place of a slot, which is its rank, can count. Layers are parametrised, their full weights computed: what
reads a `torch.nn.Linear` reads these.

Source:
    Zaheer, Kottur, Ravanbakhsh, Póczos, Salakhutdinov, Smola: Deep Sets. NeurIPS 2017 (lemma 3: the layers
    that commute with every permutation of the slots).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.nn.utils import parametrize

from envs.base import Slots

Groups = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of each unit, the slot that it belongs to, -1 for none, and its place there."""


class _Shared(nn.Module):
    """A full weight matrix from the weights that its entries share.

    Entries from and to the same slot share by their places in it; so do, as a mean, those from the other
    slots, and those from inputs of no slot. Outputs of no slot have weights of their own for every input.

    Args:
        rows: Groups of the outputs.
        columns: Groups of the inputs.
    """

    index: Tensor
    factor: Tensor

    def __init__(self, rows: Groups, columns: Groups) -> None:
        super().__init__()
        slot_out, place_out = (one[:, None] for one in rows)
        slot_in, place_in = (one[None, :] for one in columns)
        slots = int(slot_in.max()) + 1
        neither, own, other = (slot_out < 0) & (slot_in < 0), slot_out == slot_in, slots + 2
        kind = np.select(
            [neither, slot_in < 0, slot_out < 0, own], [other + 1, other + 2, slot_in, slots], other
        )
        entries = np.stack(np.broadcast_arrays(place_out, place_in, kind), axis=-1)
        _, index = np.unique(entries.reshape(-1, 3), axis=0, return_inverse=True)
        factor = np.where(kind == other, 1.0 / max(slots - 1, 1), 1.0)
        self.register_buffer("index", torch.as_tensor(index.reshape(kind.shape)))
        self.register_buffer("factor", torch.as_tensor(factor, dtype=torch.float32))

    def forward(self, shared: Tensor) -> Tensor:
        """The full weights."""
        return shared[self.index] * self.factor

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Shared weights from full ones: of each the last."""
        shared = torch.zeros(int(self.index.max()) + 1)
        shared[self.index.flatten()] = weight.detach().flatten()
        return shared


def widths(slots: Slots | None, layers: Sequence[int]) -> list[int]:
    """Widths of hidden layers with so many units a slot; without slots, so many units."""
    return [width * (len(slots.seen) if slots else 1) for width in layers]


def share(layers: Sequence[nn.Linear], slots: Slots) -> None:
    """Let the slots share the weights of a network.

    Args:
        layers: From the observation to the outputs; the hidden ones as wide as `widths` says.
        slots: Which entries of the observation, and which outputs, belong to which slot.
    """
    columns = _groups(slots.seen, layers[0].in_features)
    for layer in layers[:-1]:
        per_slot = layer.out_features // len(slots.seen)
        rows = (
            np.repeat(np.arange(len(slots.seen)), per_slot),
            np.tile(np.arange(per_slot), len(slots.seen)),
        )
        parametrize.register_parametrization(layer, "weight", _Shared(rows, columns))
        columns = rows
    rows = _groups(slots.done, layers[-1].out_features)
    parametrize.register_parametrization(layers[-1], "weight", _Shared(rows, columns))


def _groups(slots: Sequence[Sequence[int]], size: int) -> Groups:
    slot, place = np.full(size, -1), np.arange(size)
    for number, own in enumerate(slots):
        slot[list(own)] = number
        place[list(own)] = np.arange(len(own))
    return slot, place


class _SharedActor:
    """Policies of PPO whose actor shares its weights among slots; the critic sees the whole as it is."""

    def __init__(self, *args: Any, slots: Slots, **kwargs: Any) -> None:
        self._slots = slots
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]
        policy: Any = self
        share([*linear_layers(policy.mlp_extractor.policy_net), policy.action_net], self._slots)
        policy.optimizer = policy.optimizer_class(
            policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs
        )


class SharedPolicy(_SharedActor, ActorCriticPolicy):
    """Policy of PPO."""


class SharedMaskablePolicy(_SharedActor, MaskableActorCriticPolicy):
    """Policy of masked PPO."""


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The layers of a fully connected network that have weights, in order."""
    return [one for one in network.children() if isinstance(one, nn.Linear)]


def unrolled(network: nn.Module) -> nn.Module:
    """The network itself, its shared layers put in place by ordinary ones of the same full weights."""
    for name, child in network.named_children():
        if isinstance(child, nn.Linear) and parametrize.is_parametrized(child):
            plain = nn.Linear(child.in_features, child.out_features)
            plain.load_state_dict({"weight": child.weight.detach(), "bias": child.bias.detach()})
            setattr(network, name, plain)
        else:
            unrolled(child)
    return network
