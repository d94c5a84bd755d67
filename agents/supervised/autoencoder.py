"""A recurrent autoencoder: windows that it cannot write down shortly and read back are unusual."""

from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agents.supervised.model import Part, Rows
from agents.supervised.sequences import SequenceModel

PEAK: Final = 5
"""Steps in a row whose error counts."""
LEAST_SPREAD: Final = 0.25
"""Smallest scale of an input: one that hardly moved in training must not drown the others when it does."""
LATEST: Final = 2
"""Last steps whose error counts where it is asked what is wrong now."""


def robust_scaling(rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Median and scale of each feature, (F,): the quartile distance, or the deviation where that is 0."""
    flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
    low, middle, high = np.quantile(flat, (0.25, 0.5, 0.75), axis=0)
    spread = np.where(high > low, (high - low) / 1.349, flat.std(axis=0))
    return middle, np.maximum(spread, LEAST_SPREAD)


class Autoencoder(SequenceModel):
    """The error with which a window comes back through a narrow layer; trained on quiet windows only.

    One long short-term memory reads the window into ``latent`` numbers, another writes it out again. Features
    are brought to median 0 and quartile distance 1, so that rare peaks do not set the scale. The score of a
    window is the largest mean squared error of `PEAK` steps in a row: the published mean over all steps
    drowns events that are shorter than a window.
    """

    kind: ClassVar[str] = "autoencoder"

    def core(self) -> nn.Module:
        """Encoder, narrow layer, decoder."""
        return _Narrow(len(self.inputs), self.config.units, self.config.latent)

    def loss(self, said: torch.Tensor, rows: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Mean squared error of what comes back."""
        return nn.functional.mse_loss(said, rows)

    def reading(self, said: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The largest mean squared error of a few steps in a row."""
        of_steps = (said - rows).square().mean(dim=2).unsqueeze(1)
        return nn.functional.avg_pool1d(of_steps, min(PEAK, self.config.steps), 1).amax(dim=2)

    def used(self, part: Part) -> Part:
        """Windows without an event; where only few are known to hold none, all."""
        quiet = part.truth[:, 0] == 0
        return Part(part.rows[quiet], part.truth[quiet]) if quiet.any() else part

    def scaling(self, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Median and quartile distance; where that is 0, the deviation; at least `LEAST_SPREAD`."""
        return robust_scaling(rows)


class LatestAutoencoder(Autoencoder):
    """The same, scored by the error of the last steps alone: whether something is wrong now."""

    kind: ClassVar[str] = "latest_autoencoder"

    def reading(self, said: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The mean squared error of the last few steps."""
        return (said - rows)[:, -LATEST:].square().mean(dim=(1, 2)).unsqueeze(1)


class _Narrow(nn.Module):
    def __init__(self, features: int, units: int, latent: int) -> None:
        super().__init__()
        self.read = nn.LSTM(features, units, batch_first=True)
        self.narrow = nn.Linear(units, latent)
        self.write = nn.LSTM(latent, units, batch_first=True)
        self.out = nn.Linear(units, features)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        _, (last, _) = self.read(rows)
        short = self.narrow(last[-1]).unsqueeze(1).expand(-1, rows.shape[1], -1)
        written, _ = self.write(short)
        return self.out(written)
