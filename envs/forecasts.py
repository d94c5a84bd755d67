"""Forecasts as further inputs of a codec decision: what someone outside the world makes of what is known."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from envs.features import CODEC_FEATURES, Feature, FeatureList
from sim.decisions import CodecQuestion, DispatchQuestion, ShareQuestion
from sim.episode import Episode


class Foresight(Protocol):
    """Says something of questions from them and from the probes up to their moment, never from what follows.

    Attributes:
        features: What it says, in order.
    """

    features: tuple[Feature, ...]

    def __call__(
        self, questions: Sequence[CodecQuestion], episodes: Sequence[Episode]
    ) -> NDArray[np.float64]:
        """Its features in their units, shape (questions, features).

        Args:
            questions: What is asked.
            episodes: Of each question, the episode that it is of, for its probes.
        """


class Foretelling(Protocol):
    """Says how long transfers will take, to rules that plan; it is no part of an observation."""

    def __call__(self, question: DispatchQuestion | ShareQuestion, episode: Episode) -> NDArray[np.float64]:
        """Seconds of each that waits, or that is left of each that moves, in the order of the question.

        Args:
            question: What is asked.
            episode: That it is of, for the probes and arrivals up to its moment.
        """


class Foreseen:
    """Several forecasts as one: the features that follow those of the question.

    Attributes:
        features: Theirs together, scaled like all others.

    Args:
        parts: The forecasts, in order.
    """

    def __init__(self, parts: Sequence[Foresight]) -> None:
        self._parts = tuple(parts)
        self.features = FeatureList([one for part in self._parts for one in part.features], self._refused)

    def raw(self, questions: Sequence[CodecQuestion], episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """All features in their units, shape (questions, features)."""
        return np.concatenate([part(questions, episodes) for part in self._parts], axis=1)

    def scaled(self, questions: Sequence[CodecQuestion], episodes: Sequence[Episode]) -> NDArray[np.float32]:
        """The same between -1 and 1."""
        return self.features.scaled(np.ascontiguousarray(self.raw(questions, episodes)))

    def _refused(self, question: object) -> NDArray[np.float64]:
        raise ValueError("a forecast needs the episode of a question, too; ask the environment")


def with_forecasts(foreseen: Foreseen) -> FeatureList:
    """The features of a codec question with those forecast; only an environment can read the latter."""
    return FeatureList((*CODEC_FEATURES.features, *foreseen.features.features), foreseen.features.raw)
