"""How a payload would be encoded now, on a lane, as `sim.transfers` has it."""

from sim.batch.layout import Lanes, Row
from sim.batch.network import piece_now
from sim.batch.sender import receiver_lost, usable_baseline
from sim.codecs import (
    STACK_CPU_S_PER_BYTE,
    STREAM_CPU_S,
    delta_decode_rate,
    delta_encode_rate,
    delta_fraction,
    dirty_share,
    xor_decode_rate,
    xor_encode_rate,
    xor_fraction,
)
from sim.jit import njit
from sim.paths import RTT
from sim.transfers import SMALLEST_CHANGE

_dirty_share = njit(dirty_share)
_delta_fraction = njit(delta_fraction)
_delta_encode_rate = njit(delta_encode_rate)
_delta_decode_rate = njit(delta_decode_rate)
_xor_fraction = njit(xor_fraction)
_xor_encode_rate = njit(xor_encode_rate)
_xor_decode_rate = njit(xor_decode_rate)


@njit
def estimated_change(row: Row, age_s: float) -> float:
    """Share of blocks of a request changed since its baseline, as a sender estimates it from a sample."""
    changed = _dirty_share(age_s, row["working_set"], row["tau_s"])
    return min(1.0, max(SMALLEST_CHANGE, changed * row["changed_noise"]))


@njit
def stage(w: Lanes, k: int, request: int, number: int) -> float:
    """Write how a transfer is encoded under a codec now: HDE sends a delta when there is a usable baseline.

    Returns:
        Seconds lost when the receiver turns out to have lost the baseline.
    """
    lane, transfer, codec = w.lanes[k], w.transfers[k, request], w.codecs[number]
    row = w.requests[lane["episode"], request]
    transfer["codec"] = number
    lost_s = 0.0
    if codec["keeps_baseline"] and usable_baseline(w, k, row["dataset"]):
        taken_s = w.datasets[k, row["dataset"]]["taken_s"]
        if not receiver_lost(w, k, row["dataset"], taken_s):
            _delta(row, transfer, codec["is_xor"], lane["now"] - taken_s)
            return 0.0
        lost_s = w.links[lane["episode"], piece_now(w, k), transfer["path"], RTT]
    plain = w.plain[lane["episode"], request, number]
    transfer["ratio"], transfer["encode"], transfer["decode"] = (
        plain["ratio"],
        plain["encode"],
        plain["decode"],
    )
    transfer["cpu_per_byte"] = plain["cpu_per_byte"]
    transfer["streams"] = transfer["cores_max"] = codec["streams"]
    transfer["setup_cpu_s"] = 2 * STREAM_CPU_S * codec["streams"]
    transfer["is_delta"], transfer["is_baseline"] = False, codec["keeps_baseline"]
    return lost_s


@njit
def _delta(row: Row, transfer: Row, is_xor: bool, age_s: float) -> None:
    """Write the stage of an HDE transfer against a baseline of that age."""
    changed = _dirty_share(age_s, row["working_set"], row["tau_s"])
    if is_xor:
        fraction = _xor_fraction(changed, row["novelty"], row["ratio3"], row["shifted"])
        encode, decode = _xor_encode_rate(changed), _xor_decode_rate(changed)
    else:
        fraction = _delta_fraction(changed, row["novelty"], row["ratio3"])
        encode, decode = _delta_encode_rate(changed), _delta_decode_rate(changed)
    stack = STACK_CPU_S_PER_BYTE * fraction
    encode_s = 1.0 / (encode * row["encode_noise"]) + stack
    decode_s = 1.0 / (decode * row["decode_noise"]) + stack
    transfer["ratio"], transfer["encode"], transfer["decode"] = 1.0 / fraction, 1.0 / encode_s, 1.0 / decode_s
    transfer["cores_max"] = transfer["streams"] = 1.0
    transfer["cpu_per_byte"], transfer["setup_cpu_s"] = encode_s + decode_s, 2 * STREAM_CPU_S
    transfer["is_delta"], transfer["is_baseline"] = True, False
