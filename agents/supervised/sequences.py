"""Networks over windows of steps (torch): standardised inside, trained with early stopping, one file."""

import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from agents.supervised.model import Model, Outputs, Part, Rows
from agents.supervised.model_file import Arrays
from agents.supervised.network import one_thread

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Of (what the core says, standardised rows, truth) the mean loss, a scalar."""


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """Shape and training of a network over windows.

    Attributes:
        steps: Length of a window.
        units: Of the recurrent layer.
        latent: Of the narrowest layer, where there is one.
        epochs: Passes over the training windows, at most.
        patience: Passes without a better validation loss after which training ends.
        batch: Windows in one update.
        rate: Step size of Adam.
        clip: Standardised inputs beyond this many deviations are cut off.
        span: Last steps that a detector speaks of, where it is shown more.
        readers: Networks whose answers are averaged, where a model has several.
        one_cycle: Whether the step size rises to ``rate`` over a tenth of the training and then falls to 0
            (Smith, Topin: Super-Convergence. arXiv:1708.07120, 2017).
    """

    steps: int = 30
    units: int = 64
    latent: int = 16
    epochs: int = 40
    patience: int = 5
    batch: int = 128
    rate: float = 2e-3
    clip: float = 20.0
    span: int = 30
    readers: int = 1
    one_cycle: bool = False


class Scaled(nn.Module):
    """A core between a scaling of its inputs and what becomes of its outputs; this is what is exported.

    Args:
        core: From standardised windows to numbers.
        mean: Of each feature.
        scale: Of each feature, above 0.
        clip: Beyond this, standardised inputs are cut off.
        reading: From the core's numbers and its windows to the model's outputs (n, outputs).
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        core: nn.Module,
        mean: npt.NDArray[Any],
        scale: npt.NDArray[Any],
        clip: float,
        reading: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.core, self.clip, self.reading = core, clip, reading
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float32))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs) of windows (n, steps, F)."""
        standard = torch.clamp((rows - self.mean) / self.scale, -self.clip, self.clip)
        return self.reading(self.core(standard), standard)


class SequenceModel(Model):
    """A network over windows. A subclass says what the core is, what it is trained for and what it answers.

    Args:
        inputs: Names of the features of a step.
        outputs: Names of what is said.
        config: Shape and training.
    """

    kind: ClassVar[str]

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], config: SequenceConfig) -> None:
        super().__init__(inputs, outputs)
        self.config = config
        self._net: Scaled | None = None

    @abstractmethod
    def core(self) -> nn.Module:
        """A fresh core, from standardised windows (n, steps, F)."""

    @abstractmethod
    def loss(self, said: torch.Tensor, rows: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Mean loss of what the core says; rows are standardised, truth is as it was given."""

    def reading(self, said: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs) of what the core says; the same, unless a subclass says otherwise."""
        return said

    def used(self, part: Part) -> Part:
        """What is trained on: all windows, unless a subclass leaves some out."""
        return part

    def scaling(self, rows: Rows) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Mean and deviation of each feature; robust against outliers where a subclass wants it."""
        flat = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
        spread = flat.std(axis=0)
        return flat.mean(axis=0), np.where(spread > 0, spread, 1.0)

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """Adam on the mean loss; the pass with the least validation loss is kept, as ``Model.fit``."""
        config, seed = self.config, int(rng.integers(2**31))
        train, validation = self.used(train), self.used(validation)
        mean, scale = self.scaling(self.check(train.rows, config.steps))

        def tensors(part: Part) -> tuple[torch.Tensor, torch.Tensor]:
            rows = (self.check(part.rows, config.steps) - mean) / scale
            rows = np.clip(rows, -config.clip, config.clip).astype(np.float32)
            return torch.from_numpy(rows), torch.from_numpy(np.asarray(part.truth, np.float32))

        with torch.random.fork_rng(devices=[]), one_thread():
            torch.manual_seed(seed)
            core = self.core()
            self._train(core, tensors(train), tensors(validation))
        self._net = Scaled(core.eval(), mean, scale, config.clip, self.reading).eval()

    def _train(self, core: nn.Module, train: Any, validation: Any) -> None:
        config = self.config
        optimiser = torch.optim.Adam(core.parameters(), lr=config.rate)
        rows, truth = train
        updates = max(1, len(rows) // config.batch)
        cycle = None
        if config.one_cycle:
            cycle = OneCycleLR(optimiser, config.rate, config.epochs * updates, pct_start=0.1)
        best, least, waited = deepcopy(core.state_dict()), float("inf"), 0
        for _ in range(config.epochs):
            core.train()
            for batch in torch.tensor_split(torch.randperm(len(rows)), updates):
                loss = self.loss(core(rows[batch]), rows[batch], truth[batch])
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(core.parameters(), 1.0)
                optimiser.step()
                if cycle is not None:
                    cycle.step()
            core.eval()
            with torch.inference_mode():
                sums = [
                    float(self.loss(core(some), some, true)) * len(some)
                    for some, true in zip(validation[0].split(1024), validation[1].split(1024), strict=True)
                ]
            missed = sum(sums) / len(validation[0])
            if missed < least:
                best, least, waited = deepcopy(core.state_dict()), missed, 0
            else:
                waited += 1
                if waited >= config.patience:
                    break
        core.load_state_dict(best)

    def predict(self, rows: Rows) -> Outputs:
        """As ``Model.predict``, of windows (n, steps, F)."""
        given = torch.from_numpy(self.check(rows, self.config.steps))
        with torch.inference_mode(), one_thread():
            said = [self.net()(some).numpy() for some in given.split(1024)]
        return np.concatenate(said).astype(np.float64) if said else np.zeros((0, len(self.outputs)))

    def net(self) -> Scaled:
        """What is exported: from raw windows to outputs.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if self._net is None:
            raise self.unfitted()
        return self._net

    def arrays(self) -> Arrays:
        """The parameters of the core, the scaling, and the config."""
        state = {name: value.numpy() for name, value in self.net().state_dict().items()}
        return {"config": np.array(json.dumps(asdict(self.config))), **state}

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The model that ``arrays`` took apart."""
        model = cls(inputs, outputs, SequenceConfig(**json.loads(str(arrays.pop("config")))))
        with torch.random.fork_rng(
            devices=[]
        ):  # first weights, that are overwritten, draw from no one's chance
            core = model.core()
        net = Scaled(core.eval(), arrays["mean"], arrays["scale"], model.config.clip, model.reading)
        net.load_state_dict({name: torch.as_tensor(values) for name, values in arrays.items()})
        model._net = net.eval()
        return model
