"""Layers that treat every slot of an observation alike: one set of weights for all, as in Deep Sets.

A question shows several transfers side by side, each in a slot of the same features. What is learned of one
slot is then true of all, with as many weights as one needs. A hidden layer holds some units for each slot:
they see their own slot, the mean of the others, and all that belongs to no slot. Biases stay free, so the
place of a slot, which is its rank, can count. Layers are parametrised, their full weights computed: what
reads a `torch.nn.Linear` reads these.

Where slots of several kinds are shown, each kind is a group with weights of its own, which sees the mean of
each other group besides. A hidden layer then has units for the whole, too, as a group of one slot: they see
the means of all groups and what belongs to no slot, for what is asked about no slot.

Source:
    Zaheer, Kottur, Ravanbakhsh, Póczos, Salakhutdinov, Smola: Deep Sets. NeurIPS 2017 (lemma 3: the layers
    that commute with every permutation of the slots).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn
from torch.nn.utils import parametrize

from envs.base import Slots

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of each unit, the slot that it belongs to, -1 for none, and its place there."""


_OF_WHOLE: Final = 2
"""Hidden units for the whole, in multiples of those of one slot, where there are several groups."""


class _Shared(nn.Module):
    """A full weight matrix from the weights that its entries share.

    Entries from and to the same slot share by their places in it; so do, as a mean, those from the other
    slots, and those from inputs of no slot: each among the slots of a group. Outputs of no slot have weights
    of their own for every input.

    Args:
        rows: Places of the outputs.
        columns: Places of the inputs.
        sizes: How many slots each group has.
    """

    index: Tensor
    factor: Tensor

    def __init__(self, rows: Places, columns: Places, sizes: Sequence[int]) -> None:
        super().__init__()
        slot_out, place_out = (one[:, None] for one in rows)
        slot_in, place_in = (one[None, :] for one in columns)
        slots = sum(sizes)
        groups = np.append(np.repeat(np.arange(len(sizes)), sizes), 0)  # the last is that of no slot, -1
        group_out, group_in = groups[slot_out], groups[slot_in]
        neither, own, other = (slot_out < 0) & (slot_in < 0), slot_out == slot_in, slots + 2
        kind = np.select(
            [neither, slot_in < 0, slot_out < 0, own], [other + 1, other + 2, slot_in, slots], other
        )
        within = kind + (other + 3) * (len(sizes) * group_out + group_in)
        entries = np.stack(np.broadcast_arrays(place_out, place_in, within), axis=-1)
        _, index = np.unique(entries.reshape(-1, 3), axis=0, return_inverse=True)
        others = np.asarray(sizes)[group_in] - (group_out == group_in)
        factor = np.where(kind == other, 1.0 / np.maximum(others, 1), 1.0)
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
    return [width * (len(slots.seen) + _multiples_of_whole(slots) if slots else 1) for width in layers]


def _multiples_of_whole(slots: Slots) -> int:
    return _OF_WHOLE if len(slots.groups) > 1 else 0


def share(layers: Sequence[nn.Linear], slots: Slots) -> None:
    """Let the slots share the weights of a network.

    Args:
        layers: From the observation to the outputs; the hidden ones as wide as `widths` says.
        slots: Which entries of the observation, and which outputs, belong to which slot.
    """
    sizes = (*slots.groups, 1) if len(slots.groups) > 1 else (len(slots.seen),)
    columns = _places(slots.seen, layers[0].in_features)
    for layer in layers[:-1]:
        rows = _units(slots, layer.out_features)
        parametrize.register_parametrization(layer, "weight", _Shared(rows, columns, sizes))
        columns = rows
    rows = _places(slots.done, layers[-1].out_features)
    parametrize.register_parametrization(layers[-1], "weight", _Shared(rows, columns, sizes))


def _units(slots: Slots, size: int) -> Places:
    """Slot by slot, then those for the whole."""
    count, whole = len(slots.seen), _multiples_of_whole(slots)
    each = size // (count + whole)
    slot = np.append(np.repeat(np.arange(count), each), np.full(whole * each, count))
    return slot, np.append(np.tile(np.arange(each), count), np.arange(whole * each))


def _places(slots: Sequence[Sequence[int]], size: int) -> Places:
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
