"""The oracle of one step: true ratios, true rates, the path as it is now, and blind to all that follows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.policy import Actions, Mask, Observation, Policy, best_allowed
from sim.codecs import Codec
from sim.world import World


class OneStepOracle(Policy):
    """Takes the codec under which this transfer, with path and cores to itself, would cost least.

    It knows what no sender can (the true ratio, the true path, which packets will be lost) and ignores what
    matters between transfers: that others share wire and cores, and that a baseline repays later.

    Args:
        codecs: What the actions stand for.
    """

    name = "one_step_oracle"
    needs_world = True

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._count = len(codecs)
        self._world: World | None = None

    def bind(self, world: World) -> None:
        """Look into this world from now on."""
        self._world = world

    def act(self, observation: Observation, mask: Mask | None = None) -> int | Actions:
        """The cheapest codec for the transfer whose question is open; the observation is not used."""
        return best_allowed(-self.costs(), mask)

    def costs(self) -> NDArray[np.float64]:
        """Cost of every answer to the open question, in seconds, shape (codecs,).

        Raises:
            RuntimeError: If no world was bound.
        """
        world = self._world
        if world is None:
            raise RuntimeError("an oracle needs bind(world) before act()")
        return np.array([self._cost(world, codec) for codec in range(self._count)])

    def _cost(self, world: World, codec: int) -> float:
        outlook = world.outlook(codec)
        scenario = world.episode.scenario
        priority, left_s = world.open_stakes()
        late_s = max(0.0, outlook.seconds - left_s)
        return priority * outlook.seconds + scenario.cpu_price * outlook.cpu_s + scenario.late_price * late_s


class PublishedOracle(OneStepOracle):
    """The published label: ``compressed size / effective bandwidth + cpu_price * compression time``.

    Args:
        codecs: What the actions stand for.
        cpu_price: Cost of a second of compression; 0.001 as published makes HDE win nearly always.
    """

    def __init__(self, codecs: Sequence[Codec], cpu_price: float = 0.001) -> None:
        super().__init__(codecs)
        self.name = f"published_oracle_{cpu_price:g}"
        self._cpu_price = cpu_price

    def _cost(self, world: World, codec: int) -> float:
        outlook = world.outlook(codec)
        return outlook.wire_bytes / outlook.wire_rate + self._cpu_price * outlook.encode_s
