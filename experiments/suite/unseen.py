"""Traces of links that no link model here makes: what a policy meets that was trained on models alone."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.links import LinkModel
from sim.traces import Trace

TRACES: Final = 5
"""Of each scenario that runs on made traces."""
_LASTS_S: Final = 1800.0
_HANDOVER_S: Final = 15.0
"""Between two assignments of a satellite, for all terminals at once, as measured."""
_LEAST_RTT_S: Final = 0.03
"""Median round trip over a satellite nearby; assumed."""
_GAP_S: Final = 0.3
"""Part of it in which next to nothing passes; assumed, as all levels below."""

Floats = NDArray[np.float64]


def handover(model: LinkModel, rng: np.random.Generator) -> Trace:
    """A satellite path: capacity, round trip and loss are dealt anew every 15 s, after a short gap.

    Source:
        Mohan et al.: A Multifaceted Look at Starlink Performance. The Web Conference 2024 (the 15 s).
    """
    count = int(_LASTS_S / _HANDOVER_S)
    starts = np.arange(count) * _HANDOVER_S
    capacity = model.capacity * np.exp(rng.normal(0.0, 0.5, count) - 0.125)
    rtt_s = max(model.rtt_s, _LEAST_RTT_S) * rng.uniform(0.7, 1.8, count)
    loss = 10.0 ** rng.uniform(-5.0, -2.5, count)
    time_s = np.column_stack([starts, starts + _GAP_S]).ravel()
    gaps = np.column_stack([0.05 * capacity, capacity]).ravel()
    return Trace(time_s, gaps, np.repeat(rtt_s, 2), np.repeat(loss, 2), np.zeros(2 * count))


def token_bucket(model: LinkModel, rng: np.random.Generator) -> Trace:
    """Full speed while tokens last, then a tenth of it until there are enough again; others come and go.

    Source:
        Uta et al.: Is Big Data Performance Reproducible in Modern Cloud Networks? NSDI 2020 (10 to 1 Gbit/s).
    """
    lengths = np.empty(2 * int(_LASTS_S / 60.0))
    lengths[::2] = rng.uniform(40.0, 160.0, len(lengths) // 2)
    lengths[1::2] = rng.uniform(20.0, 80.0, len(lengths) // 2)
    time_s = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    capacity = model.capacity * np.where(np.arange(len(lengths)) % 2 == 0, 1.0, 0.1)
    others = rng.poisson(1.0, len(lengths)).astype(np.float64)
    steady = np.full(len(lengths), 1.0)
    return Trace(
        np.append(time_s, time_s[-1] + 20.0),
        np.append(capacity, model.capacity),
        np.append(model.rtt_s * steady, model.rtt_s),
        np.append(1e-5 * steady, 1e-5),
        np.append(others, 0.0),
    )


MAKERS: Final[Mapping[str, Callable[[LinkModel, np.random.Generator], Trace]]] = MappingProxyType(
    {"handover": handover, "token-bucket": token_bucket}
)
"""Makers of traces by the name that a suite calls them by."""
