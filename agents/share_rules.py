"""Rules that divide link and cores among running transfers, from what `dwcp/Allocation-v0` shows of them."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agents.policy import Mask, Observation, Policy
from envs.allocation import TILT, Allocation
from envs.allocation_features import SITE_FEATURES, SLOT_FEATURES
from envs.base import WorldEnv
from sim.physics import PACKET
from sim.units import MBIT, MS

Floats = NDArray[np.float64]
Tilts = NDArray[np.float32]
Slots = Mapping[str, Floats]
"""What is seen of each slot: by feature name, in the features' units, shape (N, slots)."""
Weigh = Callable[[Slots], tuple[Floats, Floats]]
"""From the slots, the tilts of link and of cores, shape (N, slots); what lies beyond ±1 is cut off."""
Count = Callable[[Slots, Slots], Floats]
"""From site and slots, the TCP connections that multi-stream transfers are to have, shape (N, slots)."""

_STRICT = 0.7
"""How far apart the tilts of neighbours in a strict order are: a factor of 33 in weight."""
_SOFT = 0.25
"""The same where strictness costs too much: a factor of 3.5; of 0.1 to 1 best on most sites."""
_LEAST = 1e-9
"""In place of 0 under a logarithm or a fraction."""
_PACKETS: Final = 6.0
"""In flight for each stream: with few they wait for timers (`sim.crowding.self_induced_loss`), and probes are
noisy. Of 4 to 12 best on training episodes of `internet` and `constrained`; elsewhere all did alike."""
_PLACES = {feature.name: place for place, feature in enumerate(SLOT_FEATURES)}


class ShareRule(Policy):
    """A rule that weighs slots by their features.

    Args:
        env: Whose observations it is shown.
        weigh: The rule.
        count: How many streams, where they may be chosen; without it they stay as they are.
        name: Name of the policy; without it that of the rule.
    """

    def __init__(
        self, env: WorldEnv, weigh: Weigh, count: Count | None = None, name: str | None = None
    ) -> None:
        self.name = name or weigh.__name__
        self._env = allocation(env)
        self._weigh = weigh
        self._count = count

    def act(self, observation: Observation, mask: Mask | None = None) -> Tilts:
        """Tilts in [-1, 1], float32, shape (size,) or (N, size)."""
        slots = seen_slots(observation, self._env)
        if self._count is not None and self._env.streams:
            count = self._count(seen_site(observation, self._env), slots)
            slots["streams"] = np.where(slots["multi_stream"] > 0.5, count, slots["streams"])
        tilts = [*self._weigh(slots)]
        if self._env.streams:
            tilts.append(stream_tilt(slots["streams"], self._env.streams))
        action = np.clip(np.concatenate(tilts, axis=1), -1.0, 1.0).astype(np.float32)
        return action if observation.ndim == 2 else action[0]


def allocation(env: WorldEnv) -> Allocation:
    """The environment, if it is one whose shares are to be chosen.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(env, Allocation):
        raise ValueError(f"a rule for shares needs dwcp/Allocation-v0, got {type(env).__name__}")
    return env


def seen_slots(observation: Observation, env: Allocation) -> dict[str, Floats]:
    """What observations, shape (F,) or (N, F), say of each slot: by feature, shape (N, slots)."""
    values = env.features.unscaled(np.atleast_2d(observation))[:, len(SITE_FEATURES) :]
    table = values.reshape(len(values), env.slots, len(SLOT_FEATURES))
    return {name: table[:, :, place] for name, place in _PLACES.items()}


def seen_site(observation: Observation, env: Allocation) -> dict[str, Floats]:
    """What observations, shape (F,) or (N, F), say of the site: by feature, shape (N, 1)."""
    values = env.features.unscaled(np.atleast_2d(observation))
    return {feature.name: values[:, [place]] for place, feature in enumerate(SITE_FEATURES)}


def stream_tilt(streams: Floats, choices: tuple[int, ...]) -> Floats:
    """The actions that choose the counts nearest to these, in the middle of the part that means each."""
    nearest = np.argmin(np.abs(np.log(streams[..., None]) - np.log(choices)), axis=-1)
    return (2.0 * nearest + 1.0) / len(choices) - 1.0


def in_order(score: Floats, slots: Slots, step: float = _STRICT) -> tuple[Floats, Floats]:
    """Tilts that fall by a step from one slot to the next, lowest score first; those of equal score alike."""
    score = np.where(slots["present"] > 0.5, score, np.inf)
    ahead = (score[:, None, :] < score[:, :, None]).sum(axis=2)
    tilt: Floats = 1.0 - step * ahead
    return tilt - np.log(slots["streams"]) / TILT, tilt


def in_proportion(link: Floats, cpu: Floats, slots: Slots) -> tuple[Floats, Floats]:
    """Tilts that weigh slots in proportion to these values, above 0, around their geometric mean."""
    return _centred(link / slots["streams"], slots), _centred(cpu, slots)


def _centred(weight: Floats, slots: Slots) -> Floats:
    logs = np.log(np.maximum(weight, _LEAST))
    present = slots["present"] > 0.5
    mean = (logs * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    tilt: Floats = (logs - mean[:, None]) / TILT
    return tilt


def equal(slots: Slots) -> tuple[Floats, Floats]:
    """Every stream weighs the same, and so does every encoder: the plain rule."""
    nothing = np.zeros_like(slots["present"])
    return nothing, nothing


def proportional(slots: Slots) -> tuple[Floats, Floats]:
    """In proportion to demand: wire to bytes still to send, cores to encoding still to do."""
    return in_proportion(slots["wire_s"], slots["core_s"], slots)


def proportional_fair(slots: Slots) -> tuple[Floats, Floats]:
    """In proportion to the rate that each could have over the rate that it has had.

    Source:
        Jalali, Padovani, Pankaj: Data Throughput of CDMA-HDR. IEEE VTC 2000; the maximum of the sum of
        logarithms of Kelly, Maulloo, Tan: Rate control for communication networks. JORS 49(3), 1998.
    """
    return in_proportion(slots["stretch"], slots["stretch"], slots)


def priority(slots: Slots) -> tuple[Floats, Floats]:
    """Higher priorities first; alike within one."""
    return in_order(-np.round(slots["priority"], 3), slots)


def published(slots: Slots) -> tuple[Floats, Floats]:
    """Shares of the published resource allocator: demand, times 2, 1 or 0.5 by priority.

    Its demand is a rate that each transfer states; here what is still to be sent. Its tiers are high, medium
    and low; here the highest priority seen, the lowest, and what is between.

    Source:
        tcp-agent-platform, ai/models/resource_allocator.py: weights of the reward by priority.
    """
    seen = np.round(np.where(slots["present"] > 0.5, slots["priority"], np.nan), 3)
    high, low = np.nanmax(seen, axis=1, keepdims=True), np.nanmin(seen, axis=1, keepdims=True)
    tier = np.where(seen == high, 2.0, np.where(seen == low, 0.5, 1.0))
    return in_proportion(slots["wire_s"] * tier, slots["core_s"] * tier, slots)


def srpt(slots: Slots) -> tuple[Floats, Floats]:
    """Shortest remaining time first: the least sum of completion times on one machine.

    Source:
        Schrage: A Proof of the Optimality of the Shortest Remaining Processing Time Discipline. OR 16, 1968.
    """
    return in_order(slots["alone_s"], slots)


def wsrpt(slots: Slots) -> tuple[Floats, Floats]:
    """Highest priority over remaining time first: the order of the slots.

    Source:
        Smith: Various optimizers for single-stage production. Naval Research Logistics Quarterly 3, 1956.
    """
    return in_order(_place(slots), slots)


def wsrpt_soft(slots: Slots) -> tuple[Floats, Floats]:
    """In the order of the slots, but not to the last byte: estimates of who ends first may be wrong."""
    return in_order(_place(slots), slots, _SOFT)


def cmu(slots: Slots) -> tuple[Floats, Floats]:
    """Highest priority over remaining work first, on the wire by bytes to send, on the cores by encoding.

    Who needs little of a resource is soon out of the way there, however long the other keeps it.

    Source:
        Cox and Smith: Queues. Methuen 1961 (the c-mu rule), for each resource by itself.
    """
    value = np.maximum(slots["priority"], _LEAST)
    return in_order(slots["wire_s"] / value, slots)[0], in_order(slots["core_s"] / value, slots)[1]


def room(site: Slots, slots: Slots) -> Floats:
    """As many streams as path and queue have room for, divided evenly among those that may have several.

    More take a greater part from the streams of others, until too few packets are in flight for each. The
    queue is taken for one bandwidth-delay product, the others for so many as leave what the probe found, and
    every path for the one with the longest backlog.

    Source:
        Morris: TCP Behavior with Many Flows. ICNP 1997.
    """
    free = 1.0 - np.minimum(site["cross_share"], 0.99)
    capacity = site["bandwidth_mbps"] * MBIT / free
    others = 1.0 / free - 1.0
    packets = 2.0 * capacity * site["rtt_ms"] * MS / PACKET
    several = ((slots["multi_stream"] > 0.5) & (slots["present"] > 0.5)).sum(axis=1, keepdims=True)
    each = (packets / _PACKETS - others) / np.maximum(several, 1)
    return np.broadcast_to(np.maximum(each, 1.0), slots["present"].shape)


def _place(slots: Slots) -> Floats:
    return np.broadcast_to(np.arange(slots["present"].shape[1], dtype=float), slots["present"].shape)


def edf(slots: Slots) -> tuple[Floats, Floats]:
    """Earliest deadline first; those without one last and alike."""
    return in_order(slots["slack_s"], slots)


def least_slack(slots: Slots) -> tuple[Floats, Floats]:
    """Least time to the deadline beyond the time that it needs alone first; those without one last."""
    return in_order(slots["slack_s"] - slots["alone_s"], slots)


def greedy(slots: Slots) -> tuple[Floats, Floats]:
    """As `wsrpt`, but each is given what it can use by estimate and the next gets the rest.

    Strict order favours one and the same on wire and cores, and gives an encoder cores whose output the wire
    cannot take. Here the weights on both are those of the rates that are expected.
    """
    count, places = slots["present"].shape
    lead, path = slots["encoder_lead"], slots["path"].round()
    wire = np.maximum(slots["wire_reach"] * np.minimum(1.0, lead), _LEAST)
    cores = np.maximum(slots["core_reach"] * np.minimum(1.0, 1.0 / lead), _LEAST)
    link, cpu = np.zeros((count, places)), np.zeros((count, places))
    for place in range(places):
        sharing = (path[:, :place] == path[:, place : place + 1]) * link[:, :place]
        wire_left, cores_left = 1.0 - sharing.sum(axis=1), 1.0 - cpu.sum(axis=1)
        speed = np.minimum(wire_left / wire[:, place], cores_left / cores[:, place])
        speed = np.clip(speed, 0.0, 1.0) * (slots["present"][:, place] > 0.5)
        link[:, place], cpu[:, place] = speed * wire[:, place], speed * cores[:, place]
    return _from_most(link / slots["streams"]), _from_most(cpu)


def _from_most(weight: Floats) -> Floats:
    """Tilts in proportion to weights of at least 0, the largest at +1."""
    tilt: Floats = 1.0 + np.log(np.maximum(weight / weight.max(axis=1, keepdims=True), _LEAST)) / TILT
    return tilt
