"""What is sent: payload classes with their measured distributions, and payloads drawn from them.

Source:
    Ratios, novelty and samples: own measurements (``sim/calibration/PROVENANCE.md``). Sizes, working sets
    outside virtual machines and the mixtures are assumptions in the range of the cited studies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.codecs import FITTED, ratio_at_size
from sim.units import GIB, HOUR, KIB, MIB, MINUTE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHIFTED_WORKING_SET: Final = (0.85, 0.97)
"""Share of blocks not in the baseline when content shifts (measured: package archives .82-.88, CSV .97)."""
SHIFTED_TAU_S: Final = 1.0
"""A new version differs at once, not by and by."""
NOVELTY_WITHIN_LOG_SD: Final = 0.2
"""Spread of ln novelty between transfers of one dataset: an assumption, less than between datasets."""
SHARE_CONCENTRATION: Final = 4.0
"""Beta concentration of the shares of repeated and zero blocks between payloads: an assumption."""


@dataclass(frozen=True, slots=True)
class PayloadClass:
    """Distributions of one class that the codec tables do not tell.

    Attributes:
        name: Class name, a key of the fitted figures.
        size_median: Bytes; sizes are lognormal around it.
        size_sigma: Standard deviation of ln size.
        size_range: Smallest and largest size in bytes; sizes outside are moved to the nearer end.
        working_set: Range of the share of blocks that changes in the long run, in place.
        tau_s: Range of the seconds in which the working set is dirtied.
        shifted: Probability that a dataset changes by insertion rather than in place.
    """

    name: str
    size_median: float
    size_sigma: float
    size_range: tuple[float, float]
    working_set: tuple[float, float] = SHIFTED_WORKING_SET
    tau_s: tuple[float, float] = (SHIFTED_TAU_S, SHIFTED_TAU_S)
    shifted: float = 0.0


# Working sets. RAM: QEMU guests with redis at 0 to 5 000 nominal writes a second have W .0015 to .26 and
# tau 6 to 28 s over all pages, and a heavily loaded 160 MiB window .59; heap: .055 after 60 s. Disk: .25
# after a package install, backups of 1-5 % a day; db: .165 after 0.5 % updates; logs grow by an append of
# 10 %. Sizes are assumptions: VMs of a few GiB, archives and logs as one meets them.
CLASSES: Final = (
    PayloadClass("pkg-binary", 30 * MIB, 1.5, (1 * MIB, 500 * MIB), shifted=1.0),
    PayloadClass("pkg-source", 10 * MIB, 1.5, (1 * MIB, 500 * MIB), shifted=1.0),
    PayloadClass("vm-ram", 768 * MIB, 1.5, (64 * MIB, 8 * GIB), (0.01, 0.6), (6.0, 30.0)),
    PayloadClass("vm-disk", 2 * GIB, 1.5, (256 * MIB, 32 * GIB), (0.01, 0.3), (10 * MINUTE, 4 * HOUR)),
    PayloadClass("heap", 128 * MIB, 1.5, (16 * MIB, 2 * GIB), (0.03, 0.3), (20.0, 120.0)),
    PayloadClass("db", 150 * MIB, 1.5, (4 * MIB, 4 * GIB), (0.02, 0.3), (1 * MINUTE, 1 * HOUR)),
    PayloadClass("columnar", 100 * MIB, 1.5, (4 * MIB, 4 * GIB), shifted=1.0),
    PayloadClass(
        "text-log", 2 * MIB, 2.0, (10 * KIB, 200 * MIB), (0.02, 0.3), (1 * MINUTE, 1 * HOUR), shifted=0.4
    ),
    PayloadClass("float", 300 * MIB, 1.5, (16 * MIB, 4 * GIB), shifted=1.0),
    PayloadClass("compressed", 50 * MIB, 1.7, (1 * MIB, 2 * GIB), shifted=1.0),
    PayloadClass("random", 50 * MIB, 1.7, (1 * MIB, 2 * GIB), shifted=1.0),
)
CLASS_NAMES: Final = tuple(payload_class.name for payload_class in CLASSES)
"""Class names; the index of a name is the ``kind`` of its payloads."""

MIXES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "default": {
            "vm-ram": 0.30,
            "vm-disk": 0.15,
            "pkg-binary": 0.10,
            "pkg-source": 0.05,
            "text-log": 0.15,
            "db": 0.05,
            "columnar": 0.05,
            "compressed": 0.10,
            "float": 0.05,
        },
        "vm-migration": {"vm-ram": 0.65, "vm-disk": 0.30, "heap": 0.05},
        "logs": {"text-log": 0.80, "columnar": 0.10, "db": 0.10},
        "artefacts": {"pkg-binary": 0.45, "pkg-source": 0.25, "compressed": 0.20, "float": 0.10},
        "databases": {"db": 0.60, "columnar": 0.30, "text-log": 0.10},
        "mixed-incompressible": {
            "compressed": 0.35,
            "random": 0.15,
            "float": 0.20,
            "vm-ram": 0.15,
            "text-log": 0.15,
        },
    }
)
"""Workload mixtures: share of the datasets by class. An assumption; "default" leans on published studies."""


class Content(NamedTuple):
    """Datasets: what stays the same from one transfer of a dataset to the next. One entry a dataset.

    ``ratio3`` is the zstd-3 ratio of a large piece, at least 1; ``working_set``, ``novelty`` and
    ``shifted`` are shares in [0, 1] as `sim.codecs.dirty_share`, `delta_fraction` and `xor_fraction` take
    them.
    """

    kind: Ints
    ratio3: Floats
    working_set: Floats
    tau_s: Floats
    novelty: Floats
    shifted: Floats


class Payloads(NamedTuple):
    """Payloads: one entry a transfer.

    ``entropy`` (bits per byte over 8), ``sample_ratio`` (zstd-1 ratio), ``repetition`` and
    ``zero_share`` (of 4 KiB blocks) are what a sender can measure on a scattered 64 KiB sample; ``ratio3``
    and ``novelty`` are the truth. The noises are factors around 1 on the fitted rates.
    """

    kind: Ints
    size_bytes: Floats
    ratio3: Floats
    novelty: Floats
    entropy: Floats
    sample_ratio: Floats
    repetition: Floats
    zero_share: Floats
    encode_noise: Floats
    decode_noise: Floats


def draw_sizes(kinds: Ints, rng: np.random.Generator) -> Floats:
    """Sizes in bytes of payloads of the given classes, whole numbers."""
    low, high = _ranges("size_range", kinds)
    median, sigma = (_of_class(name, kinds) for name in ("size_median", "size_sigma"))
    sizes = median * np.exp(sigma * rng.standard_normal(kinds.shape))
    return np.asarray(np.round(np.clip(sizes, low, high)), dtype=np.float64)


def draw_content(kinds: Ints, rng: np.random.Generator) -> Content:
    """One dataset for each entry of ``kinds``, independent of one another."""
    log_ratio3, sd, novelty = (_figure(name, kinds) for name in ("log_ratio3", "log_ratio3_sd", "novelty"))
    ratio3 = np.maximum(np.exp(log_ratio3 + sd * rng.standard_normal(kinds.shape)), 1.0)
    spread = np.exp(FITTED.novelty_log_sd * rng.standard_normal(kinds.shape))
    shifted = (rng.random(kinds.shape) < _of_class("shifted", kinds)).astype(np.float64)
    return Content(
        kind=kinds,
        ratio3=ratio3,
        working_set=np.where(
            shifted > 0,
            rng.uniform(*SHIFTED_WORKING_SET, size=kinds.shape),
            _log_uniform(*_ranges("working_set", kinds), rng),
        ),
        tau_s=np.where(shifted > 0, SHIFTED_TAU_S, _log_uniform(*_ranges("tau_s", kinds), rng)),
        # Content that is all new (novelty 1) has nothing to vary: the old blocks are of no use at all.
        novelty=np.where(novelty < 0.99, np.minimum(novelty * spread, 1.0), novelty),
        shifted=shifted,
    )


def draw_payloads(content: Content, dataset: Ints, size_bytes: Floats, rng: np.random.Generator) -> Payloads:
    """One payload for each entry of ``dataset`` (an index into ``content``) and ``size_bytes``.

    How far a sample misleads is a property of the dataset, as measured, and does not average out over its
    transfers.
    """
    kinds = content.kind[dataset]
    slack = _figure("entropy_slack", content.kind) * np.exp(
        FITTED.entropy_slack_log_sd * rng.standard_normal(content.kind.shape)
    )
    exponent = _figure("sample_exponent", content.kind) + FITTED.sample_exponent_sd * rng.standard_normal(
        content.kind.shape
    )
    within = _figure("within_sd", kinds) * rng.standard_normal(kinds.shape)
    large = np.maximum(content.ratio3[dataset] * np.exp(within), 1.0)
    ratio3 = ratio_at_size(large, size_bytes)
    novelty = content.novelty[dataset] * np.exp(NOVELTY_WITHIN_LOG_SD * rng.standard_normal(kinds.shape))
    fresh = content.novelty[dataset] >= 0.99
    repeated, zero = (np.maximum(_figure(name, kinds), 1e-4) for name in ("repeated", "zero"))
    repetition = rng.beta(SHARE_CONCENTRATION * repeated, SHARE_CONCENTRATION * (1 - repeated))
    return Payloads(
        kind=kinds,
        size_bytes=size_bytes,
        ratio3=ratio3,
        novelty=np.where(fresh, content.novelty[dataset], np.minimum(novelty, 1.0)),
        entropy=np.clip(1 - slack[dataset] * (1 - 1 / ratio3), 0.0, 1.0),
        sample_ratio=np.maximum(ratio3 ** exponent[dataset], 1.0),
        repetition=repetition,
        zero_share=repetition * np.minimum(zero / repeated, 1.0),
        encode_noise=_noise(FITTED.encode["zstd3"].log_sd, len(kinds), rng),
        decode_noise=_noise(FITTED.decode["zstd3"].log_sd, len(kinds), rng),
    )


def _noise(log_sd: float, count: int, rng: np.random.Generator) -> Floats:
    return np.exp(log_sd * rng.standard_normal(count))


def _log_uniform(low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    return low * (high / low) ** rng.random(low.shape)


def _figure(name: str, kinds: Ints) -> Floats:
    """A fitted figure of each entry's class."""
    return _figures(name)[kinds]


def _of_class(name: str, kinds: Ints) -> Floats:
    """An attribute of each entry's class."""
    return _attributes(name)[kinds]


def _ranges(name: str, kinds: Ints) -> tuple[Floats, Floats]:
    """Both ends of a range of each entry's class."""
    ends = _attributes(name)[kinds]
    return ends[..., 0], ends[..., 1]


@cache  # every draw of an episode asks for each of them
def _figures(name: str) -> Floats:
    return np.array([getattr(FITTED.classes[class_name], name) for class_name in CLASS_NAMES])


@cache
def _attributes(name: str) -> Floats:
    return np.array([getattr(payload_class, name) for payload_class in CLASSES], dtype=np.float64)
