"""Rules that plan by a predictor: its times, told in the observation, in place of the sender's estimates."""

from collections.abc import Sequence

from agents.heuristics import Contention, Estimate, Seen
from agents.policy import Observation
from envs.features import FeatureList
from sim.codecs import Codec


class Predicted(Estimate):
    """Take the codec whose predicted time and own CPU cost least.

    Args:
        codecs: What the actions stand for.
        features: Of the environment; the performance predictor's must be among them.
        cpu_price: Cost of a core-second, in seconds.

    Raises:
        ValueError: If no forecast of the time with a codec is seen.
    """

    name = "predictor"

    def __init__(self, codecs: Sequence[Codec], features: FeatureList, cpu_price: float = 0.1) -> None:
        super().__init__(codecs, cpu_price)
        self._features = _foretold(self.name, codecs, features)

    def _seen(self, observation: Observation) -> Seen:
        return Seen(observation, self._features)

    def _alone_s(self, codec: Codec, seen: Seen) -> float:
        return seen[f"predicted_{codec.name}_s"]


class PredictedContention(Contention):
    """The same, with the wait that a transfer causes to others; its own is in the prediction.

    Args and errors as of `Predicted`.
    """

    name = "predictor_contention"

    def __init__(self, codecs: Sequence[Codec], features: FeatureList, cpu_price: float = 0.1) -> None:
        super().__init__(codecs, cpu_price)
        self._features = _foretold(self.name, codecs, features)

    def _seen(self, observation: Observation) -> Seen:
        return Seen(observation, self._features)

    def _own_s(self, codec: Codec, seen: Seen, wire_s: float, cores_s: float) -> float:
        return seen[f"predicted_{codec.name}_s"]


def _foretold(name: str, codecs: Sequence[Codec], features: FeatureList) -> FeatureList:
    """The features, when the predictions of all codecs are among them."""
    missing = [codec.name for codec in codecs if f"predicted_{codec.name}_s" not in features.names]
    if missing:
        raise ValueError(
            f"{name} reads the predicted time with {', '.join(missing)}, which is not seen; add "
            "performance_forecast to environment.options.features, and a supervised run as models"
        )
    return features
