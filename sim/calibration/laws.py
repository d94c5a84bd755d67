"""The fitted curves as plain figures, and the file they are kept in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from sim.errors import InputError

FITTED_FILE = Path(__file__).parent / "fitted.json"
_WAY_OUT: Final = "`dwcp-gym calibrate codecs` writes one"


class RatioLaw(NamedTuple):
    """Ratio of another codec from the zstd-3 ratio r: ``r**exponent * exp(gain * (1 - 1/r))``.

    Incompressible data stay incompressible: the law gives 1 at r = 1. ``log_sd`` is the residual.
    """

    exponent: float
    gain: float
    log_sd: float


class RateLaw(NamedTuple):
    """Bytes per core-second of one direction of one codec, from the zstd-3 ratio r and the size.

    ``scale * r**exponent * exp(lift * exp((1-r)/reach) + cache/(1+size/4 MiB) - call/(1+size/64 KiB))``:
    a power law for compressible data, lifted where the codec gives up on incompressible data, faster while
    the payload fits the caches, slower where the cost of a call shows. ``log_sd`` is the residual.
    """

    scale: float
    exponent: float
    lift: float
    reach: float
    cache: float
    call: float
    log_sd: float


class ShareLaw(NamedTuple):
    """Seconds a byte of a delta codec: ``1 / scan + changed / work``, rates in bytes per core-second."""

    scan: float
    work: float
    log_sd: float


class DeltaLaws(NamedTuple):
    """Sizes and speeds of the delta codecs.

    ``overhead`` is the compressed share of a payload in which nothing changed. XOR leaves
    ``xor_floor + (1 - xor_floor) * novelty`` of a block changed in place, ``r**-xor_exponent`` of shifted
    content.
    """

    overhead: float
    encode: ShareLaw
    decode: ShareLaw
    xor_overhead: float
    xor_floor: float
    xor_exponent: float
    xor_encode: ShareLaw
    xor_decode: ShareLaw


class DictionaryLaw(NamedTuple):
    """Bytes a codec needs to see before it reaches half of its saving, without and with a dictionary."""

    half_size: float
    half_size_dictionary: float


class ClassFigures(NamedTuple):
    """What was measured of one payload class.

    ``log_ratio3`` is of whole payloads, its spread over slices of at least 1 MiB, ``within_sd`` inside one
    payload. A sample of ratio3 r has entropy ``1 - entropy_slack * (1 - 1/r)`` (bits per byte over 8) and
    zstd-1 ratio ``r**sample_exponent``. ``repeated`` and ``zero`` are shares of 4 KiB blocks, ``novelty``
    is what block deltas must send of a changed block.
    """

    log_ratio3: float
    log_ratio3_sd: float
    within_sd: float
    entropy_slack: float
    sample_exponent: float
    repeated: float
    zero: float
    novelty: float


@dataclass(frozen=True)
class Fitted:
    """All that is fitted to the tables; what `sim.codecs` and `sim.payloads` compute with.

    Attributes:
        ratios: Ratio law of each method but zstd3, from which the others are told.
        encode: Encode rate law of each method.
        decode: Decode rate law of each method.
        memcpy: Bytes per core-second of a plain copy.
        delta: The delta codecs.
        dictionary: Small payloads with and without a dictionary.
        classes: Measured figures of each payload class.
        sample_exponent_sd: Spread of ``sample_exponent`` between payloads.
        entropy_slack_log_sd: Spread of ln ``entropy_slack`` between payloads.
        novelty_log_sd: Spread of ln novelty between payloads of a class.
    """

    ratios: dict[str, RatioLaw]
    encode: dict[str, RateLaw]
    decode: dict[str, RateLaw]
    memcpy: float
    delta: DeltaLaws
    dictionary: DictionaryLaw
    classes: dict[str, ClassFigures]
    sample_exponent_sd: float
    entropy_slack_log_sd: float
    novelty_log_sd: float

    def to_json(self) -> str:
        """Text of the file, figures by name and rounded to six digits."""
        return json.dumps(_named(self), indent=1, sort_keys=True) + "\n"


def load_fitted(path: Path = FITTED_FILE) -> Fitted:
    """A fit: the committed one, written by ``python -m sim.calibration.fit``, or one of the user's own.

    Raises:
        InputError: If the file cannot be read, or lacks a figure.
    """
    try:
        return _fitted(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror or error}; {_WAY_OUT}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(path, "", f"expected the figures of a calibration: {error}; {_WAY_OUT}") from error
    except KeyError as error:
        raise InputError(path, str(error.args[0]), f"is missing; {_WAY_OUT}") from error


def _fitted(fields: dict[str, Any]) -> Fitted:
    delta = fields["delta"]
    for name in ("encode", "decode", "xor_encode", "xor_decode"):
        delta[name] = ShareLaw(**delta[name])
    return Fitted(
        ratios={name: RatioLaw(**law) for name, law in fields["ratios"].items()},
        encode={name: RateLaw(**law) for name, law in fields["encode"].items()},
        decode={name: RateLaw(**law) for name, law in fields["decode"].items()},
        memcpy=fields["memcpy"],
        delta=DeltaLaws(**delta),
        dictionary=DictionaryLaw(**fields["dictionary"]),
        classes={name: ClassFigures(**figures) for name, figures in fields["classes"].items()},
        sample_exponent_sd=fields["sample_exponent_sd"],
        entropy_slack_log_sd=fields["entropy_slack_log_sd"],
        novelty_log_sd=fields["novelty_log_sd"],
    )


def _named(value: Any) -> Any:
    """Nested dictionaries of rounded figures, for JSON."""
    if isinstance(value, Fitted):
        return {name: _named(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {name: _named(part) for name, part in value.items()}
    if hasattr(value, "_asdict"):
        return _named(value._asdict())
    return float(f"{value:.6g}")
