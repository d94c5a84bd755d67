"""A recurrent detector: it reads a window step by step and says whether an event was in its last part."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as surprise
from torch.nn.functional import max_pool1d

from agents.supervised.autoencoder import robust_scaling
from agents.supervised.model import Rows
from agents.supervised.sequences import SequenceModel


class RecurrentDetector(SequenceModel):
    """The chance that one of the last ``config.span`` steps of a window is of an event.

    What came before them is seen, too: an event that is about to leave them is plain to who saw it come. The
    network learns to say that chance at every step with so many behind it, not at the last one alone, and
    beside it the chance that this very step is of an event. So truth has the shape of a window, (n, steps):
    1 where a step is of an event. ``config.readers`` networks learn this side by side, each from first
    weights of its own, and the chance is the mean of theirs.

    Source:
        Gated recurrent units: Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder for
        Statistical Machine Translation. EMNLP 2014. Means of several: Lakshminarayanan, Pritzel, Blundell:
        Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles. NeurIPS 2017.
    """

    kind: ClassVar[str] = "recurrent_detector"

    def core(self) -> nn.Module:
        """Of each reader: layers for each step, gated units that remember, two logits of what they hold."""
        return _Readers(_Reader(len(self.inputs), self.config.units) for _ in range(self.config.readers))

    def loss(self, said: torch.Tensor, rows: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Mean surprise at what was in the last steps, and half of that at the step itself."""
        of_late = max_pool1d(truth.unsqueeze(1), self.config.span, 1).squeeze(1)
        now, said = truth[:, self.config.span - 1 :], said[:, :, self.config.span - 1 :]
        late_surprise = surprise(said[..., 0], of_late.expand(len(said), *of_late.shape))
        return late_surprise + 0.5 * surprise(said[..., 1], now.expand(len(said), *now.shape))

    def reading(self, said: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """The chance at the last step, mean of the readers."""
        return torch.sigmoid(said[:, :, -1, :1]).mean(dim=0)

    def scaling(self, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Median and quartile distance: rare peaks do not set the scale."""
        return robust_scaling(rows)


class _Readers(nn.Module):
    def __init__(self, readers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.readers = nn.ModuleList(readers)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([reader(rows) for reader in self.readers])


class _Reader(nn.Module):
    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Linear(features, units), nn.SiLU(), nn.Linear(units, units))
        self.remember = nn.GRU(units, units, batch_first=True)
        self.say = nn.Sequential(nn.Linear(units, units), nn.SiLU(), nn.Linear(units, 2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        held, _ = self.remember(self.see(torch.asinh(rows)))
        return self.say(held)
