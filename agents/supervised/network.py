"""The networks of the supervised selectors: from observations to the probability of every action (torch)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agents.supervised.examples import Examples

Floats = npt.NDArray[np.floating[Any]]


class Layer(NamedTuple):
    """One hidden layer: its units, the share dropped after it, and whether it is batch-normalised."""

    units: int
    dropout: float = 0.0
    normalised: bool = True


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape and training of one selector network.

    Attributes:
        layers: The hidden layers, in order.
        l2: Factor of the squared weights in the loss, at least 0.
        epochs: Passes over the training rows, at most.
        patience: Passes without a better validation loss after which training ends.
        batch: Least number of rows in one update, at least 2 (batch normalisation needs two).
        rate: Step size of Adam.
    """

    layers: tuple[Layer, ...]
    l2: float = 0.0
    epochs: int = 100
    patience: int = 10
    batch: int = 64
    rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.batch < 2:
            raise ValueError(
                f"batch must be at least 2 rows, got {self.batch}; batch normalisation needs two to compare"
            )
        if self.epochs < 1 or self.patience < 1:
            raise ValueError(
                f"epochs and patience must be at least 1, got {self.epochs} and {self.patience}; write 1"
            )


class SelectorNetwork(nn.Module):
    """Observations in, probabilities of all actions out; in float64, so that runtimes agree on the best.

    The network sees the columns it was built for, standardised; its classes are placed into the full set of
    actions, and actions it has no class for get exactly 0.

    Args:
        layers: From standardised columns to one logit a class; turned to float64 and to evaluation.
        features: Number of features F of an observation, those it does not read included.
        columns: Which features of the observation the network reads, in its order.
        mean: Of the training rows, shape (len(columns),).
        scale: Standard deviation of the training rows, above 0, same shape.
        placement: 1 where class (row) is action (column), shape (classes, actions).
    """

    columns: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor
    placement: torch.Tensor

    def __init__(
        self,
        layers: nn.Module,
        *,
        features: int,
        columns: Sequence[int],
        mean: Floats,
        scale: Floats,
        placement: Floats,
    ) -> None:
        super().__init__()
        self.features, self.actions = features, placement.shape[1]
        self.layers = layers.double().eval()
        self.register_buffer("columns", torch.as_tensor(list(columns), dtype=torch.int64))
        for name, values in (("mean", mean), ("scale", scale), ("placement", placement)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64))

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Probabilities, float64 (N, A), of float32 observations (N, F)."""
        standard = (torch.index_select(obs, 1, self.columns).double() - self.mean) / self.scale
        return torch.softmax(self.layers(standard), dim=1) @ self.placement

    def probabilities(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The same for arrays.

        Raises:
            ValueError: If the observations are not of F features.
        """
        if observations.ndim != 2 or observations.shape[1] != self.features:
            raise ValueError(
                f"expected observations (n, {self.features}), got {observations.shape}; train it on these"
            )
        with torch.inference_mode(), one_thread():
            rows = torch.from_numpy(np.ascontiguousarray(observations, dtype=np.float32))
            return np.asarray(self(rows).numpy(), dtype=np.float64)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The parameters by name; the layers as the float32 they were trained in."""
        state = {name: value.numpy() for name, value in self.state_dict().items()}
        kept = {
            name: value.astype(np.float32) if value.dtype == np.float64 else value
            for name, value in state.items()
        }
        shape = {"hidden": _hidden(self.layers), "features": np.array(self.features)}
        return {**kept, "mean": state["mean"], "scale": state["scale"], **shape}


def build_layers(inputs: int, classes: int, hidden: Sequence[Layer]) -> nn.Sequential:
    """Dense, ReLU, batch normalisation where asked, dropout for each hidden layer; then one logit a class."""
    layers: list[nn.Module] = []
    width = inputs
    for layer in hidden:
        layers += [nn.Linear(width, layer.units), nn.ReLU()]
        layers += [nn.BatchNorm1d(layer.units)] if layer.normalised else []
        layers += [nn.Dropout(layer.dropout)]
        width = layer.units
    return nn.Sequential(*layers, nn.Linear(width, classes))


def network_from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> SelectorNetwork:
    """Rebuild what ``SelectorNetwork.arrays`` took apart.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: If the arrays are not of such a network.
    """
    state = {
        name: torch.as_tensor(values) for name, values in arrays.items() if name not in ("hidden", "features")
    }
    hidden = [Layer(int(units), normalised=bool(normalised)) for units, normalised in arrays["hidden"]]
    layers = build_layers(len(state["columns"]), len(state["placement"]), hidden)
    network = SelectorNetwork(
        layers,
        features=int(arrays["features"]),
        columns=[int(column) for column in arrays["columns"]],
        mean=arrays["mean"],
        scale=arrays["scale"],
        placement=arrays["placement"],
    )
    network.load_state_dict(state)
    return network


def train_network(
    train: Examples,
    validation: Examples,
    *,
    columns: Sequence[int],
    placement: Floats,
    config: NetworkConfig,
    seed: int,
) -> SelectorNetwork:
    """Standardise on the training rows alone, train, and return the network that reads raw observations.

    Args:
        train: Raw observations; the labels are rows of ``placement``.
        validation: The same from other episodes; the pass with the least loss on it is kept.
        columns: Which features the network reads.
        placement: 1 where class (row) is action (column).
        config: Shape and training.
        seed: Of first weights, dropout and order; the same seed gives the same bits.
    """
    raw = train.rows[:, list(columns)].astype(np.float64)
    mean, spread = raw.mean(axis=0), raw.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)

    def standard(part: Examples) -> Examples:
        rows = (part.rows[:, list(columns)] - mean) / scale
        return Examples(rows.astype(np.float32), part.labels, part.weights)

    layers = train_layers(standard(train), standard(validation), len(placement), config, seed)
    features = train.rows.shape[1]
    return SelectorNetwork(
        layers, features=features, columns=columns, mean=mean, scale=scale, placement=placement
    )


def train_layers(
    train: Examples, validation: Examples, classes: int, config: NetworkConfig, seed: int
) -> nn.Sequential:
    """Adam on the weighted cross-entropy; keeps the parameters of the pass with the least validation loss.

    Args:
        train: Standardised rows.
        validation: Rows standardised with the *training* mean and scale, from other episodes.
        classes: Number of logits.
        config: Shape and training.
        seed: Of the first weights, the dropout and the order of rows; the same seed gives the same bits.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        layers = build_layers(train.rows.shape[1], classes, config.layers)
        optimiser = torch.optim.Adam(layers.parameters(), lr=config.rate)
        decayed = [p for name, p in layers.named_parameters() if name.endswith("weight") and p.ndim == 2]
        rows, labels, weights = _tensors(train)
        best, least, waited = deepcopy(layers.state_dict()), float("inf"), 0
        for _ in range(config.epochs):
            layers.train()
            for batch in torch.tensor_split(torch.randperm(len(rows)), max(1, len(rows) // config.batch)):
                loss = _loss(layers, rows[batch], labels[batch], weights[batch])
                if config.l2:
                    loss = loss + config.l2 * sum((p.square().sum() for p in decayed), torch.zeros(()))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            layers.eval()
            with torch.inference_mode():
                missed = float(_loss(layers, *_tensors(validation)))
            if missed < least:
                best, least, waited = deepcopy(layers.state_dict()), missed, 0
            else:
                waited += 1
                if waited >= config.patience:
                    break
        layers.load_state_dict(best)
        return layers


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: sums have one order, and nets this small run faster so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _hidden(layers: nn.Module) -> npt.NDArray[np.int64]:
    modules = list(layers.children())
    dense = [index for index, module in enumerate(modules) if isinstance(module, nn.Linear)]
    return np.array(
        [(modules[i].out_features, isinstance(modules[i + 2], nn.BatchNorm1d)) for i in dense[:-1]],
        dtype=np.int64,
    )


def _tensors(examples: Examples) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.from_numpy(examples.rows),
        torch.from_numpy(examples.labels),
        torch.from_numpy(examples.weights),
    )


def _loss(layers: nn.Module, rows: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    missed = nn.functional.cross_entropy(layers(rows), labels, reduction="none")
    return (missed * weights).sum() / weights.sum().clamp_min(1e-12)
