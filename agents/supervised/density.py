"""How likely each factor is, and which is nearly right most often: a network that says a whole density."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agents.supervised.model import Part, Rows
from agents.supervised.model_file import Arrays
from agents.supervised.network import one_thread

Floats = npt.NDArray[np.float64]

WITHIN: Final = 0.2
"""Relative error up to which a prediction counts as right: the published accuracy, made definite."""
_BIN: Final = 0.03
_EDGES: Final = np.arange(-1.5, 2.0 + _BIN / 2, _BIN)
"""Between bins of the logarithm of the factor; the outermost bins are open."""
_SAID: Final = np.arange(-1.5, 2.0, 0.01)
"""Logarithms that may be said."""
_SPREAD: Final = 0.035
"""A truth counts for the bins around it, too: deviation of that kernel."""
_BLUR: Final = 9
"""What is said is judged by the mean over so many neighbours: a density from few rows is rough."""
_WIDTHS: Final = {WITHIN: 0.9, WITHIN / 2: 0.05, WITHIN / 8: 0.05}
"""What is said is judged by: mostly the share within `WITHIN`; the narrower ones choose between equals."""
_LARGEST: Final = 1e6
_FAR: Final = 6.0
_ASK: Final = 4096


@dataclass(frozen=True, slots=True)
class DensityConfig:
    """Shape and training.

    Attributes:
        units: Of each of the three hidden layers.
        dropout: Share dropped after each.
        epochs: Passes over the training rows.
        batch: Rows in one update, at most.
        rate: Greatest step size of AdamW; it rises to this and falls to 0 (one cycle).
        decay: Of the weights.
    """

    units: int = 256
    dropout: float = 0.1
    epochs: int = 6
    batch: int = 512
    rate: float = 3e-3
    decay: float = 1e-2


class DensityNetwork(nn.Module):
    """Rows (n, F) in, float32, NaN for what is not known; the logarithm of the likeliest factor out, (n, 1).

    The layers say a chance for each bin of the logarithm. Said is the value about which most of it lies
    within `WITHIN`, between the values of a fine grid by the parabola through the best and its neighbours.

    Args:
        layers: From standardised columns to one logit a bin; turned to float64 and to evaluation.
        mean: Of the columns that `columns` makes of rows, shape (2 F,).
        scale: Their standard deviation, above 0.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    worth: torch.Tensor

    def __init__(self, layers: nn.Module, mean: Floats, scale: Floats) -> None:
        super().__init__()
        self.layers = layers.double().eval()
        for name, values in (("mean", mean), ("scale", scale), ("worth", _worth())):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float64))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """The logarithm of the likeliest factor, float64 (n, 1)."""
        standard = (columns(rows.double()) - self.mean) / self.scale
        standard = torch.where(torch.isnan(standard), 0.0, standard).clamp(-_FAR, _FAR)
        worth = torch.softmax(self.layers(standard), dim=1) @ self.worth
        best = worth.argmax(dim=1, keepdim=True).clamp(1, len(_SAID) - 2)
        below, at, above = (torch.gather(worth, 1, best + step) for step in (-1, 0, 1))
        bend = (2 * at - below - above).clamp_min(1e-12)
        step = (0.5 * (above - below) / bend).clamp(-1.0, 1.0)
        return _SAID[0] + (best + step) * (_SAID[1] - _SAID[0])

    def likeliest(self, rows: Rows) -> Floats:
        """The same for arrays, (n,)."""
        with torch.inference_mode(), one_thread():
            said = [self(some)[:, 0].numpy() for some in torch.from_numpy(rows).split(_ASK)]
        return np.concatenate(said) if said else np.zeros(0)

    def arrays(self) -> Arrays:
        """Parameters by name; the layers as the float32 they were trained in."""
        state = {name: value.numpy() for name, value in self.state_dict().items() if name != "worth"}
        kept = {
            name: value.astype(np.float32) if name.startswith("layers") else value
            for name, value in state.items()
        }
        return {f"density.{name}": value for name, value in kept.items()}


def columns(rows: torch.Tensor) -> torch.Tensor:
    """Rows, and beside them signed logarithms: sizes and times range over many powers of ten."""
    bounded = rows.clamp(-_LARGEST, _LARGEST)
    return torch.cat([bounded.sign() * torch.log1p(100 * bounded.abs()), bounded], dim=1)


def train_density(train: Part, config: DensityConfig, seed: int) -> DensityNetwork:
    """Fit to logarithms of factors. The rate has fallen to 0 by the last pass, so that one is kept.

    Args:
        train: Rows, and in the first column of truth the logarithm of the factor.
        config: Shape and training.
        seed: Of first weights, dropout and order; the same seed gives the same bits.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        seen = columns(torch.from_numpy(train.rows))
        mean, scale = _moments(seen.numpy())
        seen = seen.sub_(torch.as_tensor(mean, dtype=torch.float32))
        seen = seen.div_(torch.as_tensor(scale, dtype=torch.float32)).nan_to_num_(0.0).clamp_(-_FAR, _FAR)
        layers = _layers(len(mean), config)
        _descend(layers, seen, torch.as_tensor(train.truth[:, 0], dtype=torch.float32), config)
    return DensityNetwork(layers, mean, scale)


def density_from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> DensityNetwork:
    """Rebuild what `DensityNetwork.arrays` took apart; any error of a torn file may come out."""
    state = {name.removeprefix("density."): value for name, value in arrays.items() if "density." in name}
    units = len(state["layers.0.bias"])
    with torch.random.fork_rng(devices=[]):  # first weights, that are overwritten, draw from no one's chance
        network = DensityNetwork(
            _layers(len(state["mean"]), DensityConfig(units)), state["mean"], state["scale"]
        )
    network.load_state_dict({**{name: torch.as_tensor(value) for name, value in state.items()},
                             "worth": network.worth})  # fmt: skip
    return network


def _layers(width: int, config: DensityConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(width, config.units), nn.SiLU(), nn.Dropout(config.dropout)]
        width = config.units
    return nn.Sequential(*layers, nn.Linear(width, len(_EDGES) + 1))


def _moments(seen: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mean and deviation of each column over what is known of it; 0 and 1 where nothing varies."""
    known = np.maximum((~np.isnan(seen)).sum(axis=0), 1)
    mean = np.nansum(seen, axis=0, dtype=np.float64) / known
    spread = np.sqrt(np.nansum((seen - mean.astype(np.float32)) ** 2, axis=0, dtype=np.float64) / known)
    return mean, np.where(spread > 0, spread, 1.0)


def _descend(layers: nn.Module, rows: torch.Tensor, truth: torch.Tensor, config: DensityConfig) -> None:
    """AdamW on the cross-entropy of the bins around each truth."""
    batches = -(-len(rows) // config.batch)
    optimiser = torch.optim.AdamW(layers.parameters(), lr=config.rate, weight_decay=config.decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.rate, total_steps=config.epochs * batches + 1, pct_start=0.15
    )
    centres = torch.as_tensor(_centres(), dtype=torch.float32)
    truth = truth.clamp(float(centres[0]), float(centres[-1]))
    layers.train()
    for _ in range(config.epochs):
        for some in torch.randperm(len(rows)).split(config.batch):
            wanted = torch.softmax(-0.5 * ((truth[some, None] - centres) / _SPREAD) ** 2, dim=1)
            loss = nn.functional.cross_entropy(layers(rows[some]), wanted)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(layers.parameters(), 1.0)
            optimiser.step()
            cycle.step()


def _centres() -> Floats:
    return np.concatenate([_EDGES - _BIN / 2, [_EDGES[-1] + _BIN / 2]])


def _worth() -> Floats:
    """How much of each bin would be nearly right under each value that may be said, (bins, values)."""
    low, high = _EDGES[:-1, None], _EDGES[1:, None]
    said = np.pad(_SAID, _BLUR // 2, mode="reflect", reflect_type="odd")
    inside = np.zeros((len(low), len(said)))
    for width, weight in _WIDTHS.items():
        first, last = said - np.log1p(width), said - np.log1p(-width)
        inside += weight * np.clip(np.minimum(high, last) - np.maximum(low, first), 0.0, None) / _BIN
    total = np.cumsum(np.pad(inside, ((1, 1), (1, 0))), axis=1)  # what lies beyond all bins is nowhere near
    return np.asarray((total[:, _BLUR:] - total[:, :-_BLUR]) / _BLUR)
