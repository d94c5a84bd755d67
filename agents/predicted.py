"""Rules that plan by a predictor: its times, told in the observation, in place of the sender's estimates."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from agents import share_rules
from agents.dispatch_rules import DispatchRule
from agents.dispatch_rules import Seen as Candidates
from agents.heuristics import Contention, Estimate, Seen
from agents.policy import Observation
from agents.share_rules import ShareRule, Slots
from envs.allocation_features import prospects
from envs.base import WorldEnv
from envs.features import FeatureList
from envs.forecasts import Foretelling
from envs.scheduling import Scheduling
from sim.codecs import Codec
from sim.decisions import DispatchQuestion, ShareQuestion
from sim.world import World

Floats = NDArray[np.float64]


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


class PredictedOrder(DispatchRule):
    """The one goes next that is predicted to take least time, or to be worth most for it.

    It reads the open question, which says more of who waits than the observation does, and no more of the
    world than its episode's probes and arrivals so far.

    Args:
        name: Catalogue name.
        env: Whose questions it is asked.
        weighted: Whether the priority over the time counts, and not the time alone.

    Raises:
        ValueError: If nothing predicts times in that environment.
    """

    needs_world: ClassVar[bool] = True

    def __init__(self, name: str, env: WorldEnv, weighted: bool) -> None:
        if not isinstance(env, Scheduling):
            raise ValueError(f"{name} needs dwcp/Scheduling-v0, got {type(env).__name__}")
        super().__init__(name, env.features, self._foretold)
        self._foretelling = _foretelling(name, env)
        self._lister, self._weighted = env.shortlister, weighted
        self._world: World | None = None

    def bind(self, world: Any) -> None:
        """Look at the questions of this world from now on."""
        self._world = world

    def _foretold(self, seen: Candidates) -> Floats:
        question, seconds = _asked(self._world, self._foretelling)
        asked = cast(DispatchQuestion, question)
        scores = np.full((1, self._lister.slots), -np.inf)
        for slot, position in enumerate(self._lister(asked).positions):
            worth = asked.waiting[position].priority if self._weighted else 1.0
            scores[0, slot] = worth / seconds[position]
        return scores


class PredictedGreedy(ShareRule):
    """Greedy shares in the order of priority over the time that what is left is predicted to take.

    Args:
        env: Whose questions it is asked; what it reads is as of `PredictedOrder`.

    Raises:
        ValueError: If nothing predicts times in that environment.
    """

    needs_world: ClassVar[bool] = True

    def __init__(self, env: WorldEnv) -> None:
        super().__init__(env, self._foretold, name="predictor_greedy")
        self._foretelling = _foretelling(self.name, env)
        self._world: World | None = None

    def bind(self, world: Any) -> None:
        """Look at the questions of this world from now on."""
        self._world = world

    def _foretold(self, slots: Slots) -> tuple[Floats, Floats]:
        question, seconds = _asked(self._world, self._foretelling)
        asked = cast(ShareQuestion, question)
        shown = [one.place for one in prospects(asked)][: slots["present"].shape[1]]
        worth = np.array([asked.running[place].priority / seconds[place] for place in shown])
        order = np.arange(slots["present"].shape[1])
        order[: len(shown)] = np.argsort(-worth, kind="stable")
        back = np.argsort(order)
        link, cpu = share_rules.greedy({name: values[:, order] for name, values in slots.items()})
        return link[:, back], cpu[:, back]


def _asked(world: World | None, foretelling: Foretelling) -> tuple[DispatchQuestion | ShareQuestion, Floats]:
    """The open question, and what is predicted of those in it."""
    if world is None:
        raise RuntimeError("a rule that plans needs bind(world) before act()")
    question = world.question
    if not isinstance(question, DispatchQuestion | ShareQuestion):
        raise RuntimeError("a rule that plans answers dispatch and share questions; none is open")
    return question, foretelling(question, world.episode)


def _foretelling(name: str, env: WorldEnv) -> Foretelling:
    """What predicts times in an environment."""
    if env.foretelling is None:
        raise ValueError(
            f"{name} plans by predicted times, and nothing predicts them; add the folder of a supervised run "
            "as models to environment.options"
        )
    return env.foretelling


def _foretold(name: str, codecs: Sequence[Codec], features: FeatureList) -> FeatureList:
    """The features, when the predictions of all codecs are among them."""
    missing = [codec.name for codec in codecs if f"predicted_{codec.name}_s" not in features.names]
    if missing:
        raise ValueError(
            f"{name} reads the predicted time with {', '.join(missing)}, which is not seen; add "
            "performance_forecast to environment.options.features, and a supervised run as models"
        )
    return features
