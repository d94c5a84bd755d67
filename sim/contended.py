"""Scenarios in which order, waiting and shares matter: few slots, or many transfers at once, at high load."""

from dataclasses import replace
from typing import Final

from sim.faults import FaultModel
from sim.hosts import Host
from sim.links import LINKS
from sim.scenarios import PathSpec, Probe, Scenario
from sim.units import GBIT, GIB, HOUR, MBIT, MINUTE, MS
from sim.workloads import Workload

_LEASED: Final = replace(
    LINKS["wan"],
    capacity=1 * GBIT,
    capacity_log_sd=0.1,
    rtt_s=40 * MS,
    rtt_log_sd=0.3,
    loss=1e-5,
    loss_log_sd=1.0,
    loss_cap=2e-4,
    cross_streams=1.0,
    step_s=5.0,
)
"""A leased line: the measured spread from second to second; level, round trip, little loss and one other
stream, assumed."""
_OFFICE: Final = replace(
    LINKS["internet"],
    capacity_log_sd=0.2,
    outage_share=0.0,
    diurnal=0.0,
    loss=1e-5,
    cross_streams=1.0,
    step_s=5.0,
)
"""Business access: the measured spread from second to second; level, little loss and one other stream,
assumed."""

CONTENDED: Final = (
    # Bulk may wait for hours (Laoutaris et al., SIGMETRICS 2009), which DWCP's scheduler counts from 0 to 23;
    # what the busy hour takes, the sizes and the prices of the tiers are assumed.
    Scenario(
        name="night-shift",
        summary="a day on 100 Mbit/s, wide at night and narrow by day, urgent and bulk, two at a time",
        paths=(
            PathSpec(
                replace(
                    _OFFICE,
                    sigma=0.2,
                    tau_s=10 * MINUTE,
                    diurnal=0.6,
                    busy_hour=15.0,
                    rtt_jitter=0.05,
                    cross_tau_s=10 * MINUTE,
                    step_s=1 * MINUTE,
                ),
                link_type="internet",
            ),
        ),
        workload=Workload(
            arrivals="diurnal",
            interval_s=24 * HOUR / 128,
            one_off=0.5,
            size_scale=10.0,
            max_bytes=32e9,
            priorities=(10.0, 1.0),
            priority_shares=(0.2, 0.8),
            slack=(1.5, 12.0),
        ),
        host=Host(cores=2, background=0.2, background_sd=0.0, max_age_s=6 * HOUR, baseline_memory=64 * GIB),
        probe=Probe(period_s=1 * MINUTE),
        slots=2,
        start_hour=6.0,
    ),
    # Most failures of backbone links last less than 10 minutes (Iannaccone et al., IMW 2002). How many there
    # are is assumed, and far more than such a link has: an episode of 20 minutes is to meet some.
    Scenario(
        name="outages",
        summary="200 Mbit/s that breaks for minutes at a time, two slots: what has started is stuck",
        paths=(PathSpec(replace(_OFFICE, capacity=200 * MBIT), link_type="internet"),),
        workload=Workload(
            interval_s=10.0, one_off=0.6, size_scale=0.4, max_bytes=1e9, priorities=(10.0, 3.0, 1.0)
        ),
        host=Host(cores=2, background=0.2),
        faults=FaultModel(outages_per_hour=4, outage_s=3 * MINUTE),
        slots=2,
    ),
    # Slack from tight to bulk, 1.5 to 20 times the ideal (the custom of Amoeba, Tempus and Owan: 1.5 to 50).
    Scenario(
        name="deadline-mix",
        summary="500 Mbit/s, nine in ten have a deadline, tight or loose, and a second late costs five",
        paths=(PathSpec(replace(_LEASED, capacity=500 * MBIT)),),
        workload=Workload(
            arrivals="bursty",
            interval_s=6.0,
            one_off=0.6,
            size_scale=0.5,
            max_bytes=4e9,
            priorities=(1.0,),
            priority_shares=(1.0,),
            deadlines=0.9,
            slack=(1.5, 20.0),
        ),
        host=Host(cores=2, background=0.2),
        slots=3,
        late_price=5.0,
    ),
    # A site with a leased line and an access line beside it, as in a software-defined WAN; loads assumed.
    Scenario(
        name="two-links",
        summary="any transfer may take 500 Mbit/s over 10 ms or 100 Mbit/s over 60 ms, two at a time on each",
        paths=(
            PathSpec(replace(_LEASED, capacity=500 * MBIT, rtt_s=10 * MS), name="short", share=0.8, slots=2),
            PathSpec(replace(_OFFICE, rtt_s=60 * MS), name="long", link_type="internet", share=0.2, slots=2),
        ),
        workload=Workload(arrivals="bursty", interval_s=5.0, one_off=0.6, size_scale=0.5, max_bytes=2e9),
        host=Host(cores=2, background=0.2),
        slots=4,
        any_path=True,
    ),
    # Ten at once as in DWCP's replication test and its resource allocator; the nightly window is 22 to 6 h.
    Scenario(
        name="backup-window",
        summary="from ten at night backups, small and very large, ten at once on 1 Gbit/s and two cores",
        paths=(PathSpec(_LEASED),),
        workload=Workload(
            arrivals="bursty",
            interval_s=5.0,
            one_off=0.6,
            size_scale=0.9,
            max_bytes=8e9,
            priorities=(10.0, 3.0, 1.0),
        ),
        host=Host(cores=2, background=0.3),
        slots=10,
        start_hour=22.0,
    ),
)
"""Links and payloads from the same measurements as the sites; loads, slots and prices are assumptions.

Source:
    Iannaccone, Chuah, Mortier, Bhattacharyya, Diot: Analysis of Link Failures in an IP Backbone. IMW 2002.
    NovaCron, backend/core/network/dwcp/testing/scenarios.go; tiers as in B4 and SWAN (SIGCOMM 2013).
"""
