"""Boosted trees that give the probability of every action (XGBoost); the same seed gives the same bits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost

from agents.supervised.examples import Examples


@dataclass(frozen=True, slots=True)
class TreesConfig:
    """Shape and training of the trees; the defaults are the published ones.

    Attributes:
        rounds: Rounds of boosting, one tree an action in each, at most.
        depth: Levels of a tree.
        rate: Share of each tree that counts.
        subsample: Share of the rows that each tree sees.
        patience: Rounds without a better validation loss after which boosting ends.

    Source:
        DWCP compression selector v2: 200 trees, depth 8, rate 0.05, subsample 0.8. Early stopping is ours.
    """

    rounds: int = 200
    depth: int = 8
    rate: float = 0.05
    subsample: float = 0.8
    patience: int = 20


def train_trees(
    train: Examples, validation: Examples, actions: int, config: TreesConfig, seed: int
) -> xgboost.Booster:
    """Boost on raw rows until the validation loss no longer falls, and keep the trees up to its least.

    Actions that no row is labelled with are pushed towards 0 in every round; the intercept is 0 for all, so
    that none begins at minus infinity.
    """
    parameters: dict[str, Any] = {
        "objective": "multi:softprob",
        "num_class": actions,
        "base_score": 0.0,
        "max_depth": config.depth,
        "eta": config.rate,
        "subsample": config.subsample,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    booster = xgboost.train(
        parameters,
        xgboost.DMatrix(train.rows, train.labels, weight=train.weights, nthread=1),
        config.rounds,
        evals=[
            (
                xgboost.DMatrix(validation.rows, validation.labels, weight=validation.weights, nthread=1),
                "validation",
            )
        ],
        early_stopping_rounds=config.patience,
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def tree_probabilities(booster: xgboost.Booster, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Softmax in float64 of the float32 sums of leaves, (N, A): what the exported graph computes."""
    margins = np.asarray(booster.inplace_predict(rows, predict_type="margin"), dtype=np.float64)
    powers = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def booster_bytes(booster: xgboost.Booster) -> npt.NDArray[np.uint8]:
    """The trees in XGBoost's own binary form."""
    return np.frombuffer(bytes(booster.save_raw("ubj")), dtype=np.uint8)


def booster_from_bytes(raw: npt.NDArray[np.uint8]) -> xgboost.Booster:
    """Rebuild what ``booster_bytes`` wrote.

    Raises:
        xgboost.core.XGBoostError: If the bytes are not a model.
    """
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(raw.tobytes()))
    return booster
