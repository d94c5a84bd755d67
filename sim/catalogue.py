"""The scenarios: ten sites as they occur, the five published DWCP tests, and one without any coupling."""

import difflib
from dataclasses import replace
from typing import Final

from sim.faults import FaultModel
from sim.hosts import Host
from sim.links import LINKS, LinkModel
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import GBIT, GIB, MB, MBIT, MINUTE, MS
from sim.workloads import Workload

_TENANT_WAN = replace(LINKS["wan"], capacity=1 * GBIT, capacity_log_sd=0.3, cross_streams=3.0, step_s=2.0)
"""Inter-region path of one tenant: a share of the measured aggregate, with the measured RTT and loss."""


def _all_in_one(*scenarios: Scenario) -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in scenarios}


SCENARIOS: Final = _all_in_one(
    Scenario(
        name="datacenter",
        summary="10 Gbit/s within a site: the wire outruns every encoder",
        paths=(PathSpec("datacenter", link_type="datacenter", window_bytes=16 * MB),),
        workload=Workload(mix="default", interval_s=0.4, size_scale=0.25, max_bytes=4e9),
        host=Host(cores=8, background=0.2),
    ),
    Scenario(
        name="metro",
        summary="5 Gbit/s between near zones: state sync at encoder speed",
        paths=(PathSpec("metro", link_type="metro"),),
        workload=Workload(mix="default", arrivals="sync", interval_s=0.8, one_off=0.3, size_scale=0.3, max_bytes=4e9),
        host=Host(cores=4, background=0.2),
    ),
    Scenario(
        name="wan",
        summary="1 Gbit/s between regions, long round trips, some loss, others on the path",
        paths=(PathSpec(_TENANT_WAN),),
        workload=Workload(mix="default", arrivals="sync", interval_s=3.0, one_off=0.4, size_scale=0.3, max_bytes=4e9),
        host=Host(cores=2, background=0.3),
    ),
    Scenario(
        name="internet",
        summary="100 Mbit/s access with evening load and outages: bytes are dear, CPU is cheap",
        paths=(PathSpec(replace(LINKS["internet"], capacity_log_sd=0.5, step_s=2.0), link_type="internet"),),
        workload=Workload(mix="default", interval_s=6.0, one_off=0.4, size_scale=0.05, max_bytes=1e9),
        host=Host(cores=2, background=0.2),
    ),
)


def find_scenario(name: str) -> Scenario:
    """The scenario of that name.

    Raises:
        ValueError: If there is none, with the nearest name.
    """
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise ValueError(f"unknown scenario '{name}'; {guess}There are {', '.join(SCENARIOS)}")
