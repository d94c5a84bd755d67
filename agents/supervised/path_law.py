"""The law of the path as inputs of a policy: what each codec would cost, alone, by what has been measured."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from agents.supervised.past import Past
from agents.supervised.prospects import coding, prospects
from envs.features import Feature
from sim.codecs import FITTED, STREAM_CPU_S, Codec, delta_fraction
from sim.decisions import CodecQuestion
from sim.episode import Episode
from sim.payloads import CLASS_NAMES

Floats = npt.NDArray[np.float64]


class PathLaw:
    """What each codec would cost this transfer, with path and cores to itself.

    Nothing is learned here: the formulas of the simulator, fed with probes, samples and averages. Costs of a
    codec are given over the least of all others, so that the cheapest one stands below 1.

    Args:
        codecs: The answers of the question.
    """

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = tuple(codecs)
        self._known: WeakKeyDictionary[Episode, Past] = WeakKeyDictionary()
        names = [codec.name for codec in codecs]
        self.features: tuple[Feature, ...] = (
            *(Feature(f"law_{name}_s", "s", 1e-3, 1e4, "log", f"time with {name} alone") for name in names),
            *(_edge(f"edge_{name}", f"cost of {name} over the least of the others") for name in names),
            *(_edge(f"steady_edge_{name}", f"the same by the mean of four probes, {name}") for name in names),
            *(_edge(f"class_edge_{name}", f"the same by the deltas of its class, {name}") for name in names),
        )

    def __call__(self, questions: Sequence[CodecQuestion], episodes: Sequence[Episode]) -> Floats:
        """The features of each question, as `envs.forecasts.Foresight`."""
        return np.stack([self._of(*pair) for pair in zip(questions, episodes, strict=True)])

    def _of(self, question: CodecQuestion, episode: Episode) -> Floats:
        if episode not in self._known:
            self._known[episode] = Past(episode)
        steady = question.bandwidth * np.exp(self._known[episode].path(question.now_s, question.path)[0])
        alone = question._replace(streams=0, running=0)
        seconds = prospects(alone, question.bandwidth, self._codecs)[:, 0]
        steady_s = prospects(alone, steady, self._codecs)[:, 0]
        usual = alone._replace(delta_ratio=usual_delta(question))
        usual_s = prospects(usual, question.bandwidth, self._codecs)[:, 0]
        prices = episode.scenario.cpu_price, episode.scenario.late_price
        edges = [
            edge(self._costs(asked, taken_s, *prices))
            for asked, taken_s in ((alone, seconds), (alone, steady_s), (usual, usual_s))
        ]
        return np.concatenate([seconds, *edges])

    def _costs(self, question: CodecQuestion, seconds: Floats, cpu_price: float, late_price: float) -> Floats:
        """Cost of each codec, as the one-step oracle counts it, when it takes so many seconds."""
        cpu_s = []
        for codec in self._codecs:
            made = coding(question, codec)
            both = 1.0 / made.encode + codec.streams / made.decode
            cpu_s.append(question.size_bytes * both + 2 * STREAM_CPU_S * codec.streams)
        late_s = np.maximum(seconds - question.slack_s, 0.0)
        costs: Floats = question.priority * seconds + cpu_price * np.array(cpu_s) + late_price * late_s
        return costs


def edge(costs: Floats) -> Floats:
    """Each cost over the least of the others; 1 where there are none.

    >>> edge(np.array([2.0, 4.0, 3.0])).round(2).tolist()
    [0.67, 2.0, 1.5]
    """
    if len(costs) < 2:
        return np.ones_like(costs)
    first, second = np.sort(costs)[:2]
    others = np.full_like(costs, first)
    others[np.argmin(costs)] = second
    return costs / others


def usual_delta(question: CodecQuestion) -> float:
    """Ratio of a delta of the blocks that changed, when they are as new as is usual for their class."""
    kind = FITTED.classes[CLASS_NAMES[question.kind]]
    ratio3 = max(question.sample_ratio, 1.0) ** (1.0 / kind.sample_exponent)
    return float(1.0 / delta_fraction(question.changed, kind.novelty, ratio3))


def _edge(name: str, about: str) -> Feature:
    return Feature(name, "x", 0.05, 20, "log", about)
