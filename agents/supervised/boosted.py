"""Boosted trees for numbers, quantiles and chances of an event (XGBoost); equal seeds give equal bits."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import xgboost

from agents.supervised.model import Model, Outputs, Part, Rows
from agents.supervised.model_file import Arrays
from agents.supervised.trees import booster_bytes, booster_from_bytes

Objective = Literal["squared", "absolute", "quantile", "event"]

_OBJECTIVES: Final = {
    "squared": "reg:squarederror",
    "absolute": "reg:absoluteerror",
    "quantile": "reg:quantileerror",
    "event": "binary:logistic",
}


@dataclass(frozen=True, slots=True)
class BoostedConfig:
    """Shape and training of boosted trees.

    Attributes:
        objective: ``squared`` says means, ``absolute`` medians, ``quantile`` the quantiles named, ``event``
            the chance of a truth of 1.
        quantiles: Which, in (0, 1), rising; one output each for every target.
        rounds: Rounds of boosting, at most.
        depth: Levels of a tree.
        rate: Share of each tree that counts.
        subsample: Share of the rows that each tree sees.
        columns: Share of the features that each tree sees.
        patience: Rounds without a better validation loss after which boosting ends.
        balanced: Whether the two truths of an event count alike, however rare one is. Chances are then of a
            world where they are equally frequent.
    """

    objective: Objective = "squared"
    quantiles: tuple[float, ...] = ()
    rounds: int = 300
    depth: int = 6
    rate: float = 0.1
    subsample: float = 0.8
    columns: float = 1.0
    patience: int = 20
    balanced: bool = False

    def __post_init__(self) -> None:
        if (self.objective == "quantile") != bool(self.quantiles):
            raise ValueError(
                f"quantiles belong to the objective quantile, got {self.objective} with {self.quantiles}"
            )


class Boosted(Model):
    """One set of trees a target; NaN is a value that was not measured.

    Args:
        inputs: Names of the features.
        outputs: Names of what is said: one a target, or one a target and quantile, target by target.
        config: Shape and training.
    """

    kind: ClassVar[str] = "boosted"

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], config: BoostedConfig) -> None:
        super().__init__(inputs, outputs)
        each = max(1, len(config.quantiles))
        if len(self.outputs) % each:
            raise ValueError(f"expected {each} outputs a target, got {len(self.outputs)} in all")
        self.config, self.targets = config, len(self.outputs) // each
        self._boosters: list[xgboost.Booster] = []

    def fit(self, train: Part, validation: Part, rng: np.random.Generator) -> None:
        """Boost on ``train`` until the loss on ``validation`` no longer falls, as ``Model.fit``."""
        config = self.config
        for part in (train, validation):
            if part.truth.shape != (len(part.rows), self.targets):
                raise ValueError(f"expected truth of {self.targets} targets, got shape {part.truth.shape}")
        parameters: dict[str, Any] = {
            "objective": _OBJECTIVES[config.objective],
            "max_depth": config.depth,
            "eta": config.rate,
            "subsample": config.subsample,
            "colsample_bytree": config.columns,
            "tree_method": "hist",
            "nthread": 1,
            "verbosity": 0,
        }
        if config.quantiles:
            parameters["quantile_alpha"] = list(config.quantiles)
        if config.objective == "event":
            parameters["eval_metric"] = ["logloss"]
        boosters = []
        for target in range(self.targets):
            if config.balanced:
                share = float(np.clip(train.truth[:, target].mean(), 1e-6, 1 - 1e-6))
                parameters["scale_pos_weight"] = (1 - share) / share
            seed = int(rng.integers(2**31))
            grown, held = (self._matrix(part, target) for part in (train, validation))
            booster = xgboost.train(
                {**parameters, "seed": seed},
                grown,
                config.rounds,
                evals=[(held, "validation")],
                early_stopping_rounds=config.patience,
                verbose_eval=False,
            )
            boosters.append(booster[: booster.best_iteration + 1])
        self._boosters = boosters

    def _matrix(self, part: Part, target: int) -> xgboost.DMatrix:
        return xgboost.DMatrix(self.check(part.rows), part.truth[:, target], nthread=1)

    def predict(self, rows: Rows) -> Outputs:
        """Means, medians, quantiles (sorted: they never cross) or chances, as ``Model.predict``."""
        given = self.check(rows)
        parts = []
        for booster in self.boosters():
            said = np.asarray(booster.inplace_predict(given, missing=np.nan), np.float64)
            parts.append(np.sort(said.reshape(len(given), -1), axis=1))
        return np.concatenate(parts, axis=1)

    def boosters(self) -> list[xgboost.Booster]:
        """The trees of each target.

        Raises:
            ValueError: Before ``fit`` or ``load``.
        """
        if not self._boosters:
            raise self.unfitted()
        return self._boosters

    def arrays(self) -> Arrays:
        """The trees of each target in XGBoost's own form, and the config."""
        trees = {f"trees{number}": booster_bytes(one) for number, one in enumerate(self.boosters())}
        return {"config": np.array(json.dumps(asdict(self.config))), **trees}

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], inputs: list[str], outputs: list[str]) -> Self:
        """The model that ``arrays`` took apart."""
        told = json.loads(str(arrays["config"]))
        model = cls(inputs, outputs, BoostedConfig(**{**told, "quantiles": tuple(told["quantiles"])}))
        model._boosters = [booster_from_bytes(arrays[f"trees{number}"]) for number in range(model.targets)]
        return model
