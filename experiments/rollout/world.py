"""Sessions of the simulator for rehearsals: what each decision sees, and what each answer really costs."""

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.supervised.counterfactual import NO_STRAY, Counterfactor, joined
from envs.compression import Compression
from experiments.shadow.played import finite
from sim.catalogue import UNCOUPLED
from sim.episode import draw_episode
from sim.links import LinkModel
from sim.randomness import stream
from sim.scenarios import Scenario

CODECS: Final = ("none", "zstd", "hde", "amst")
TRANSFERS: Final = 8
"""In a session."""
_STRAY: Final = 0.1
"""Share of answers at random while sessions are made: recent averages must have seen all codecs."""


class Sessions(NamedTuple):
    """A crowd of sessions of `TRANSFERS` decisions each, in which no transfer meets another.

    There, what a decision sees and costs does not hang on who answered before, so that each answer's cost
    belongs to it whoever gives it.

    Attributes:
        names: Of the features.
        features: In units, float32, shape (sessions * TRANSFERS, F).
        costs: Of each answer, in seconds, shape (sessions * TRANSFERS, A).
    """

    names: tuple[str, ...]
    features: NDArray[np.float32]
    costs: NDArray[np.float64]

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self.costs) // TRANSFERS


def usual() -> Scenario:
    """The scenario `uncoupled`, in sessions."""
    return replace(UNCOUPLED, requests=TRANSFERS)


def moved() -> Scenario:
    """The same site after a change of providers: paths of half the rate, twice as far, that lose packets."""
    paths = tuple(
        replace(path, link=_moved(path.link)) for path in UNCOUPLED.paths if isinstance(path.link, LinkModel)
    )
    return replace(UNCOUPLED, name="uncoupled-moved", requests=TRANSFERS, paths=paths)


def _moved(link: LinkModel) -> LinkModel:
    return replace(link, capacity=link.capacity / 2, rtt_s=2 * link.rtt_s, loss=2e-3)


def sessions_of(scenario: Scenario, seeds: range) -> Sessions:
    """Sessions of a scenario, an episode each."""
    env = Compression([scenario], CODECS)
    counterfactor = Counterfactor(env.codecs, "shortest")
    parts = []
    for seed in seeds:
        rng = stream(seed, "rehearsal")
        strays = rng.integers(len(CODECS), size=TRANSFERS)
        strays[rng.random(TRANSFERS) >= _STRAY] = NO_STRAY
        parts.append(counterfactor.label(draw_episode(scenario, seed), strays))
    found = joined(parts)
    features = finite(found.features, env.features).astype(np.float32)
    return Sessions(env.features.names, features, found.one_step_s)
