"""The published two-class network: HDE or AMST from 19 features, nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from agents.supervised.examples import Examples, examples
from agents.supervised.network import (
    Layer,
    NetworkConfig,
    SelectorNetwork,
    network_from_arrays,
    train_network,
)
from agents.supervised.selector import Held, Selector, missing_fit, read_selector, torn, write_selector

NETWORK: Final = NetworkConfig(layers=(Layer(64, 0.3), Layer(32, 0.2), Layer(16, normalised=False)), l2=1e-3)
"""The network of DWCP selector v3: 64 and 32 batch-normalised, dropout 0.3 and 0.2, then 16; L2 0.001."""


class TwoClassNetwork(Selector):
    """Chooses between two actions only; every other action has probability 0.

    Where the mask allows neither, the first allowed action is taken.

    Args:
        actions: Number of actions A of the environment.
        columns: Which features of the observation stand for the published ones, in the published order.
        choices: The two actions it knows, HDE first.
        network: Shape and training.
    """

    name = "nn19"

    def __init__(
        self,
        actions: int,
        columns: Sequence[int],
        choices: tuple[int, int],
        network: NetworkConfig = NETWORK,
    ) -> None:
        super().__init__(actions)
        self._config = network
        if len(set(choices)) != 2 or not all(0 <= choice < actions for choice in choices):
            raise ValueError(f"choices must be two different actions below {actions}, got {choices}")
        if not columns or min(columns) < 0:
            raise ValueError(
                f"columns must name at least one feature, each by its index from 0, got {list(columns)}"
            )
        self.columns, self.choices = tuple(columns), choices
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
        """Learn as ``Selector.fit``; rows with another label than the two choices are left out.

        A caller that knows the cost of both choices can label every row with the cheaper one.
        """
        train, held = (
            self._two_classes(examples(rows, labels, weights)),
            self._two_classes(examples(*validation)),
        )
        if max(self.columns) >= train.rows.shape[1]:
            raise ValueError(
                f"columns must be below the {train.rows.shape[1]} features, got {max(self.columns)}"
            )
        placement = np.zeros((2, self.actions))
        placement[(0, 1), self.choices] = 1.0
        seed = int(rng.integers(2**31))
        self._network = train_network(
            train, held, columns=self.columns, placement=placement, config=self._config, seed=seed
        )

    def _two_classes(self, part: Examples) -> Examples:
        self._check_labels(part.labels)
        known = np.isin(part.labels, self.choices)
        if known.sum() < 2:
            raise ValueError(
                f"at least 2 labels must be of {self.choices}, got {known.sum()}; add episodes where they win"
            )
        kept = part.chosen(known)
        return Examples(kept.rows, (kept.labels == self.choices[1]).astype(np.int64), kept.weights)

    def probabilities(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probability of the two choices, 0 for all other actions, (n, A)."""
        return self.network().probabilities(observations)

    def network(self) -> SelectorNetwork:
        """The trained network, for the export.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if self._network is None:
            raise missing_fit(self.name)
        return self._network

    def save(self, path: Path) -> None:
        """Write the network as one file."""
        write_selector(path, self.name, self.network().arrays())

    @classmethod
    def load(cls, path: Path) -> "TwoClassNetwork":
        """Read what ``save`` wrote; it answers with the same bits."""
        arrays = read_selector(path, cls.name)
        try:
            network = network_from_arrays(arrays)
            hde, amst = (int(action) for action in np.argmax(arrays["placement"], axis=1))
            selector = cls(network.actions, arrays["columns"].tolist(), (hde, amst))
        except (KeyError, ValueError, TypeError, RuntimeError, IndexError) as error:
            raise torn(path, cls.name) from error
        selector._network = network
        return selector
