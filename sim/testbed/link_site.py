"""A site as files: the scenario and the calibration that a fitted link comes to."""

from dataclasses import replace
from typing import Final

import numpy as np

from sim.calibration.laws import Fitted, RateLaw, ShareLaw
from sim.payloads import CLASS_NAMES, CLASSES
from sim.scenarios import Scenario
from sim.testbed.link_fit import LinkFit
from sim.testbed.link_log import LoggedTransfers
from sim.testbed.link_replay import fitted_scenario

_WORTH: Final = 0.02
"""A smaller change of the coders' speed is none."""


def site_scenario(name: str, base: Scenario, number: int, log: LoggedTransfers, fit: LinkFit) -> Scenario:
    """The base with the fitted path, and with what the log says of the workload.

    Transfers come as often as in the log; where it names payload classes, in its shares of them, and scaled
    to its sizes. All else (host, prices, slots) is the base's.

    Args:
        name: Name of the scenario.
        base: The scenario that the fit began from.
        number: The fitted path.
        log: The transfers.
        fit: The fitted path.
    """
    scenario = fitted_scenario(base, number, fit.values)
    share = base.paths[number].share
    interval_s = float(log.start_s[-1] / (len(log.start_s) - 1)) * share
    workload = replace(base.workload, interval_s=max(interval_s, 1e-3))
    known = log.kind >= 0
    if known.any() and len(base.paths) == 1:
        kinds = log.kind[known]
        counts = np.bincount(kinds, minlength=len(CLASS_NAMES))
        medians = np.array([CLASSES[kind].size_median for kind in kinds.tolist()])
        workload = replace(
            workload,
            mix={
                name: float(count / known.sum())
                for name, count in zip(CLASS_NAMES, counts.tolist(), strict=True)
                if count
            },
            size_scale=float(np.exp(np.mean(np.log(log.size_bytes[known] / medians)))),
            max_bytes=max(base.workload.max_bytes, float(log.size_bytes.max())),
        )
    summary = f"{base.name}, its path '{base.paths[number].name}' fitted to {len(log.start_s)} transfers"
    return replace(scenario, name=name, summary=summary, workload=workload)


def site_calibration(shipped: Fitted, fit: LinkFit) -> Fitted | None:
    """Figures whose coders are as fast as the log says; None if it does not say, or they are as shipped."""
    factor = fit.estimates[-1]
    if not factor.identified or abs(factor.value - 1) < _WORTH:
        return None
    delta = shipped.delta
    return replace(
        shipped,
        encode={name: _faster(law, factor.value) for name, law in shipped.encode.items()},
        decode={name: _faster(law, factor.value) for name, law in shipped.decode.items()},
        memcpy=shipped.memcpy * factor.value,
        delta=delta._replace(
            encode=_faster_share(delta.encode, factor.value),
            decode=_faster_share(delta.decode, factor.value),
            xor_encode=_faster_share(delta.xor_encode, factor.value),
            xor_decode=_faster_share(delta.xor_decode, factor.value),
        ),
    )


def _faster(law: RateLaw, factor: float) -> RateLaw:
    return law._replace(scale=law.scale * factor)


def _faster_share(law: ShareLaw, factor: float) -> ShareLaw:
    return law._replace(scan=law.scan * factor, work=law.work * factor)
