"""The next step of a link from its last thirty: bandwidth, round trip, jitter, loss (LSTM with attention)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agents.supervised.model import Rows
from agents.supervised.sequences import SequenceConfig, SequenceModel
from sim.units import MBIT, MS

Floats = npt.NDArray[np.float64]

OUTPUTS: Final = ("bandwidth_mbps", "rtt_ms", "jitter_ms", "loss")
"""What is forecast, and what every step of a window says of itself first."""
INPUTS: Final = (*OUTPUTS, "utilisation", "hour_sin", "hour_cos")
"""What a step says, in these units; utilisation is 0 where it is not measured."""
STEPS: Final = 30
_LEAST: Final = (1e-3, 1e-3, 1e-3, 1e-7)
"""Added before logarithms are taken: below what probes can tell."""
_ANY: Final = 1e12
"""Where inputs are cut off: nowhere, for they are in their own units."""
_FLAT: Final = 1e-6
"""Added before the root of a variance is taken: at 0 it has no slope, and training would end in NaN."""


def steps_of(bandwidth: Floats, rtt_s: Floats, jitter_s: Floats, loss: Floats) -> Floats:
    """`OUTPUTS` of measurements in bytes/s, seconds and shares, shape (..., 4)."""
    return np.stack([bandwidth / MBIT, rtt_s / MS, jitter_s / MS, loss], axis=-1)


def windows(steps: Floats, length: int = STEPS) -> Rows:
    """Every window of so many steps, oldest first: float32 (n - length + 1, length, F), or none at all."""
    if len(steps) < length:
        return np.zeros((0, length, steps.shape[1]), np.float32)
    seen = np.lib.stride_tricks.sliding_window_view(steps.astype(np.float32), length, axis=0)
    return np.ascontiguousarray(seen.swapaxes(1, 2))


class Forecaster(SequenceModel):
    """What each quantity will be one step on, by a recurrent network that looks back at its whole window.

    Inside, quantities are logarithms over their mean in the window, so that a link of any size looks alike,
    and what is learned is by how much the next step departs from a mix of that mean and the last value: by a
    factor of e at most, so that a link unlike all before is not sent astray.

    Source:
        DWCP's bandwidth predictor (LSTM with attention, window 30, outputs for throughput, round trip, loss
        and jitter), with one layer of few units in place of three of 256, 192 and 128.
    """

    kind: ClassVar[str] = "forecaster"

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], config: SequenceConfig) -> None:
        super().__init__(inputs, outputs, replace(config, clip=_ANY))

    def core(self) -> nn.Module:
        """The network, from windows in their units to forecasts in theirs."""
        return _Attentive(len(self.inputs), self.config.units)

    def loss(self, said: torch.Tensor, rows: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Mean over windows and quantities of the absolute difference of logarithms.

        Medians are what makes it least, as they make the absolute error least; but a trouble that multiplies
        the loss by hundreds does not outweigh all else.
        """
        least = torch.tensor(_LEAST, dtype=rows.dtype)
        return (torch.log(said + least) - torch.log(truth + least)).abs().mean()

    def scaling(self, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """None: each window is its own measure."""
        return np.zeros(rows.shape[-1]), np.ones(rows.shape[-1])


class _Attentive(nn.Module):
    least: torch.Tensor

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        targets = len(OUTPUTS)
        self.read = nn.LSTM(features + targets, units, batch_first=True)
        self.score = nn.Sequential(nn.Linear(units, units), nn.Tanh(), nn.Linear(units, 1))
        self.out = nn.Linear(2 * units + targets, 2 * targets)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("least", torch.tensor(_LEAST))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        targets = len(OUTPUTS)
        logs = torch.log(rows[:, :, :targets].clamp_min(0.0) + self.least)
        middle = logs.mean(dim=1, keepdim=True)
        apart = logs - middle
        spread = (apart.square().mean(dim=1) + _FLAT).sqrt()
        size = middle.expand(-1, rows.shape[1], -1) / 10.0
        states, _ = self.read(torch.cat([apart, size, rows[:, :, targets:]], dim=2))
        weights = torch.softmax(self.score(states), dim=1)
        context = (weights * states).sum(dim=1)
        said = self.out(torch.cat([context, states[:, -1], spread], dim=1))
        shift, mix = torch.tanh(said[:, :targets]), torch.sigmoid(said[:, targets:])
        ahead = middle[:, 0] + mix * apart[:, -1] + shift
        return (torch.exp(ahead) - self.least).clamp_min(0.0)
