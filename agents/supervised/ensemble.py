"""The published selector: boosted trees with weight 0.7 and a network with weight 0.3 vote on the action."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xgboost

from agents.supervised.examples import examples
from agents.supervised.network import (
    Layer,
    NetworkConfig,
    SelectorNetwork,
    network_from_arrays,
    train_network,
)
from agents.supervised.selector import Held, Selector, missing_fit, read_selector, torn, write_selector
from agents.supervised.trees import (
    TreesConfig,
    booster_bytes,
    booster_from_bytes,
    train_trees,
    tree_probabilities,
)

TREE_SHARE: Final = 0.7
"""Weight of the trees in the vote; the network has the rest (DWCP compression selector v2)."""

NETWORK: Final = NetworkConfig(layers=(Layer(128, 0.3), Layer(64, 0.3), Layer(32, 0.2)))
"""The network of DWCP compression selector v2: batch normalisation, batches of 64, at most 100 passes."""


class Ensemble(Selector):
    """``0.7 * trees + 0.3 * network`` over all actions of the environment.

    Args:
        actions: Number of actions A of the environment.
        trees: Shape and training of the trees.
        network: Shape and training of the network.
    """

    name = "ensemble"

    def __init__(
        self, actions: int, trees: TreesConfig | None = None, network: NetworkConfig = NETWORK
    ) -> None:
        super().__init__(actions)
        self._tree_config = trees or TreesConfig()
        self._network_config = network
        self._booster: xgboost.Booster | None = None
        self._network: SelectorNetwork | None = None

    def fit(
        self,
        rows: npt.NDArray[np.float32],
        labels: npt.NDArray[np.int64],
        weights: npt.NDArray[np.floating[Any]] | None,
        *,
        validation: Held,
        rng: np.random.Generator,
    ) -> None:
        """Train the trees on raw rows and the network on standardised ones, as ``Selector.fit``."""
        train, held = examples(rows, labels, weights), examples(*validation)
        for part in (train, held):
            self._check_labels(part.labels)
        tree_seed, network_seed = (int(seed) for seed in rng.integers(2**31, size=2))
        self._booster = train_trees(train, held, self.actions, self._tree_config, tree_seed)
        self._network = train_network(
            train,
            held,
            columns=range(train.rows.shape[1]),
            placement=np.eye(self.actions),
            config=self._network_config,
            seed=network_seed,
        )

    def probabilities(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The weighted mean of both votes, (n, A)."""
        booster, network = self.parts()
        of_network = network.probabilities(observations)
        of_trees = tree_probabilities(booster, observations)
        return np.asarray(TREE_SHARE * of_trees + (1 - TREE_SHARE) * of_network, dtype=np.float64)

    def parts(self) -> tuple[xgboost.Booster, SelectorNetwork]:
        """The trees and the network, for the export.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if self._booster is None or self._network is None:
            raise missing_fit(self.name)
        return self._booster, self._network

    def save(self, path: Path) -> None:
        """Write trees and network as one file."""
        booster, network = self.parts()
        write_selector(path, self.name, {"trees": booster_bytes(booster), **network.arrays()})

    @classmethod
    def load(cls, path: Path) -> "Ensemble":
        """Read what ``save`` wrote; it answers with the same bits."""
        arrays = read_selector(path, cls.name)
        try:
            booster = booster_from_bytes(arrays.pop("trees"))
            network = network_from_arrays(arrays)
        except (KeyError, ValueError, TypeError, RuntimeError, xgboost.core.XGBoostError) as error:
            raise torn(path, cls.name) from error
        ensemble = cls(network.actions)
        ensemble._booster, ensemble._network = booster, network
        return ensemble
