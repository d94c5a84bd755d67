"""The scenarios: ten sites as they occur, five contended, five published tests, one uncoupled."""

import difflib
from dataclasses import replace
from typing import Final

from sim.contended import CONTENDED
from sim.faults import FaultModel
from sim.hosts import Host
from sim.links import LINKS, LinkModel
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import GBIT, GIB, HOUR, MB, MBIT, MINUTE, MS
from sim.workloads import Workload

_TENANT_WAN = replace(
    LINKS["wan"],
    capacity=1 * GBIT,
    capacity_log_sd=0.3,
    rtt_s=60 * MS,
    rtt_log_sd=0.4,
    loss=2e-5,
    loss_log_sd=1.5,
    loss_cap=5e-4,
    cross_streams=2.0,
    step_s=2.0,
)
"""One tenant's part of an inter-region path: measured RTTs of near regions, and random loss a tenth of the
measured retransmitted share, most of which streams cause themselves."""
_ACCESS = replace(LINKS["internet"], capacity_log_sd=0.4, step_s=2.0)
_SYNC = Workload(arrivals="sync", datasets=12, one_off=0.4)

SITES: Final = (
    Scenario(
        name="datacenter",
        summary="10 Gbit/s within a site: the wire outruns every encoder",
        paths=(PathSpec("datacenter", link_type="datacenter", window_bytes=16 * MB),),
        workload=Workload(interval_s=0.4, size_scale=0.25, max_bytes=2e9),
        host=Host(cores=4, background=0.2),
    ),
    Scenario(
        name="metro",
        summary="2.5 Gbit/s between near zones: state sync at about encoder speed",
        paths=(PathSpec(replace(LINKS["metro"], capacity=2.5 * GBIT, cross_streams=1.0), link_type="metro"),),
        workload=replace(_SYNC, interval_s=0.9, size_scale=0.12, max_bytes=8e8),
        host=Host(cores=2, background=0.3, baseline_memory=2 * GIB),
    ),
    Scenario(
        name="wan",
        summary="1 Gbit/s between regions: long round trips, some loss, others on the path",
        paths=(PathSpec(_TENANT_WAN),),
        workload=replace(_SYNC, interval_s=1.6, size_scale=0.1, max_bytes=5e8),
        host=Host(cores=2, background=0.3, baseline_memory=1 * GIB),
    ),
    Scenario(
        name="internet",
        summary="100 Mbit/s access with evening load and outages: bytes are dear, CPU is cheap",
        paths=(PathSpec(_ACCESS, link_type="internet"),),
        workload=Workload(interval_s=4.0, one_off=0.5, size_scale=0.02, max_bytes=1e8),
        host=Host(cores=2, background=0.2, baseline_memory=0.5 * GIB),
    ),
    Scenario(
        name="hybrid",
        summary="one sender, a near zone at 5 Gbit/s and a far one at 500 Mbit/s, one pool of cores",
        paths=(
            PathSpec("metro", name="near", link_type="metro", share=0.5),
            PathSpec(replace(_TENANT_WAN, capacity=500 * MBIT), name="far", share=0.5),
        ),
        workload=replace(_SYNC, arrivals="bursty", interval_s=0.7, size_scale=0.06, max_bytes=4e8),
        host=Host(cores=2, background=0.2, baseline_memory=2 * GIB),
    ),
    Scenario(
        name="lossy",
        summary="200 Mbit/s over 60 ms with 0.5 % loss and loss bursts: one stream cannot fill the path",
        paths=(
            PathSpec(
                LinkModel(
                    200 * MBIT,
                    capacity_log_sd=0.2,
                    sigma=0.1,
                    rtt_s=60 * MS,
                    rtt_log_sd=0.3,
                    rtt_jitter=0.05,
                    loss=5e-3,
                    loss_log_sd=0.7,
                    cross_streams=1.0,
                    step_s=2.0,
                ),
                link_type="internet",
            ),
        ),
        workload=replace(_SYNC, interval_s=2.5, size_scale=0.02, max_bytes=3e8),
        host=Host(cores=2, background=0.2),
        faults=FaultModel(bursts_per_hour=20, burst_s=5.0, burst_loss=0.05),
    ),
    Scenario(
        name="constrained",
        summary="20 Mbit/s branch office: every byte counts",
        paths=(PathSpec(replace(_ACCESS, capacity=20 * MBIT, cross_streams=1.0), link_type="internet"),),
        workload=Workload(mix="logs", interval_s=5.0, one_off=0.3, size_scale=0.15, max_bytes=3e7),
        host=Host(cores=1, background=0.2, baseline_memory=0.5 * GIB),
    ),
    Scenario(
        name="diurnal",
        summary="half a day on 500 Mbit/s whose evening takes half of the capacity",
        paths=(
            PathSpec(
                replace(
                    _ACCESS, capacity=500 * MBIT, diurnal=0.5, tau_s=600.0, outage_share=0.0, step_s=60.0
                ),
                link_type="internet",
            ),
        ),
        workload=Workload(
            arrivals="diurnal",
            interval_s=4 * MINUTE,
            one_off=0.4,
            datasets=8,
            size_scale=2.0,
            max_bytes=32e9,
        ),
        host=Host(cores=2, background=0.2, max_age_s=2 * HOUR, baseline_memory=64 * GIB),
        probe=Probe(period_s=60.0),
    ),
    Scenario(
        name="cpu-starved",
        summary="2.5 Gbit/s and one busy core: compression is what there is too little of",
        paths=(PathSpec(replace(LINKS["metro"], capacity=2.5 * GBIT, rtt_s=10 * MS), link_type="metro"),),
        workload=replace(_SYNC, interval_s=0.8, size_scale=0.1, max_bytes=6e8),
        host=Host(cores=1, background=0.4, background_sd=0.15, baseline_memory=2 * GIB),
        faults=FaultModel(core_losses_per_hour=10, core_loss_s=20.0),
    ),
    Scenario(
        name="flash-crowd",
        summary="1 Gbit/s, and in the middle third everybody comes at once",
        paths=(PathSpec(replace(_TENANT_WAN, rtt_s=40 * MS, cross_streams=1.0)),),
        workload=Workload(arrivals="flash", interval_s=1.8, one_off=0.5, size_scale=0.07, max_bytes=4e8),
        host=Host(cores=2, background=0.2, baseline_memory=2 * GIB),
    ),
)
"""Sites as they occur, from measured links and payloads; loads are assumptions, stated in each."""


def _dwcp(
    name: str,
    summary: str,
    links: tuple[str, ...],
    *,
    size_bytes: float,
    count: int,
    slots: int,
    round_s: float,
) -> Scenario:
    """A published DWCP test: VMs of one size, as many at once as allowed, in three rounds of ``round_s``."""
    return Scenario(
        name=name,
        summary=summary,
        paths=tuple(PathSpec(link, name=link, share=1 / len(links), control="bbr") for link in links),
        workload=Workload(
            mix="vm-migration",
            arrivals="sync",
            datasets=count,
            one_off=0.0,
            interval_s=round_s / count,
            fixed_bytes=size_bytes,
            deadlines=0.0,
            priorities=(1.0,),
            priority_shares=(1.0,),
        ),
        host=Host(cores=8, baseline_memory=256 * GIB),
        requests=3 * count,
        probe=Probe(period_s=10.0),
        slots=slots,
    )


PUBLISHED: Final = (
    _dwcp(
        "dwcp-cross-region",
        "10 VMs of 4 GB, two at once, over three continents",
        ("us_eu", "us_ap", "eu_ap"),
        size_bytes=4e9,
        count=10,
        slots=2,
        round_s=300,
    ),
    _dwcp(
        "dwcp-high-latency",
        "5 VMs of 8 GB over 300 ms, 1 Gbit/s, 1 % loss",
        ("high_latency",),
        size_bytes=8e9,
        count=5,
        slots=5,
        round_s=900,
    ),
    _dwcp(
        "dwcp-packet-loss",
        "20 VMs of 2 GB at 5 % loss",
        ("lossy",),
        size_bytes=2e9,
        count=20,
        slots=20,
        round_s=600,
    ),
    _dwcp(
        "dwcp-constrained",
        "10 VMs of 4 GB one after another over 100 Mbit/s",
        ("constrained",),
        size_bytes=4e9,
        count=10,
        slots=1,
        round_s=14400,
    ),
    _dwcp(
        "dwcp-replication",
        "50 VMs of 8 GB replicated for disaster recovery, ten at once",
        ("replication",),
        size_bytes=8e9,
        count=50,
        slots=10,
        round_s=600,
    ),
)
"""The test scenarios of DWCP: links, sizes and concurrency as published.

Source:
    NovaCron, backend/core/network/dwcp/testing/scenarios.go.
"""

UNCOUPLED: Final = Scenario(
    name="uncoupled",
    summary="no transfer meets another, nothing is sent twice: the check that learning works at all",
    paths=(
        PathSpec(
            LinkModel(10 * GBIT, rtt_s=0.5 * MS),
            name="near",
            link_type="datacenter",
            share=0.25,
            window_bytes=16 * MB,
        ),
        PathSpec(LinkModel(4 * GBIT, rtt_s=5 * MS), name="metro", link_type="metro", share=0.25),
        PathSpec(LinkModel(1 * GBIT, rtt_s=60 * MS), name="far", share=0.25),
        PathSpec(
            LinkModel(300 * MBIT, rtt_s=30 * MS, loss=1e-4), name="access", link_type="internet", share=0.25
        ),
    ),
    workload=Workload(interval_s=5 * MINUTE, one_off=1.0, size_scale=0.1, max_bytes=2e8, deadlines=0.0),
    host=Host(cores=4, background=0.0, background_sd=0.0),
    probe=Probe(period_s=1 * MINUTE, noise=0.02),
)

SCENARIOS: Final = {scenario.name: scenario for scenario in (*SITES, *CONTENDED, *PUBLISHED, UNCOUPLED)}
"""All scenarios by name."""


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
