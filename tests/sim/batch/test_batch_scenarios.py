"""Both engines on scenarios that Hypothesis makes up, far outside the catalogue."""

import os
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim.codecs import parse_codec
from sim.episode import Episode, draw_episode
from sim.faults import FaultModel
from sim.hosts import Host
from sim.links import LINKS, LTE_CHAIN, LinkModel
from sim.payloads import MIXES
from sim.scenarios import CONTROLS, LINK_TYPES, PathSpec, Probe, Scenario
from sim.workloads import ARRIVALS, Workload

EXAMPLES = int(os.environ.get("EQUALITY_EPISODES", "0")) or 150
MOST_QUESTIONS = 300
"""Slow links and short control intervals make questions without end."""

CODEC_SETS = tuple(
    tuple(parse_codec(name) for name in names)
    for names in (
        ("none", "zstd", "hde", "amst", "hde_xor", "zstd-9", "amst-16-lz4"),
        ("hde", "hde_xor"),
        ("hde", "amst"),
        ("amst-64",),
    )
)


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    """Ten to the power of what lies between."""
    return st.floats(low, high).map(lambda exponent: float(10**exponent))


def one_of(*values):
    return st.sampled_from(values)


@st.composite
def link_models(draw, interval_s: float) -> LinkModel:
    chain = draw(one_of(None, None, LTE_CHAIN))
    varies = chain is None
    return LinkModel(
        capacity=draw(powers(5, 9.5)),
        capacity_log_sd=draw(one_of(0.0, 0.5)),
        sigma=draw(one_of(0.0, 0.3, 1.0)) if varies else 0.0,
        tau_s=draw(powers(-1, 3)),
        chain=chain,
        outage_share=draw(one_of(0.0, 0.0, 0.3)) if varies else 0.0,
        outage_s=draw(one_of(0.5, 3.0)) * interval_s,
        diurnal=draw(one_of(0.0, 0.6)),
        rtt_s=draw(powers(-5, -0.5)),
        rtt_jitter=draw(one_of(0.0, 0.2)),
        loss=draw(one_of(0.0, 1e-5, 1e-3, 3e-2)),
        loss_log_sd=draw(one_of(0.0, 1.0)),
        loss_zero_share=draw(one_of(0.0, 0.5)),
        cross_streams=draw(one_of(0.0, 1.0, 12.0)),
        step_s=draw(one_of(0.03, 0.5, 1.0, 10.0)) * interval_s if varies else 1.0,
    )


@st.composite
def fault_models(draw, duration_s: float) -> FaultModel:
    def per_hour():
        return draw(one_of(0.0, 0.0, 1.0, 8.0)) * 3600.0 / duration_s

    def length_s():
        return draw(one_of(0.01, 0.1, 0.5)) * duration_s

    return FaultModel(
        outages_per_hour=per_hour(),
        outage_s=length_s(),
        outage_capacity=draw(one_of(0.0, 0.02)),
        drops_per_hour=per_hour(),
        drop_s=length_s(),
        bursts_per_hour=per_hour(),
        burst_s=length_s(),
        burst_loss=draw(one_of(0.05, 0.5)),
        core_losses_per_hour=per_hour(),
        core_loss_s=length_s(),
        cores_left=draw(one_of(0.01, 0.5)),
        baseline_losses_per_hour=per_hour(),
        broken_share=draw(one_of(0.0, 0.3, 1.0)),
    )


@st.composite
def workloads(draw, interval_s: float) -> Workload:
    arrivals = draw(st.sampled_from(ARRIVALS))
    return Workload(
        mix=draw(st.sampled_from(sorted(MIXES))),
        arrivals=arrivals,
        interval_s=interval_s,
        datasets=12 if arrivals == "sync" else draw(st.integers(1, 6)),
        one_off=draw(one_of(0.0, 0.0, 0.3, 1.0)),
        size_scale=draw(powers(-5, 0)),
        fixed_bytes=draw(st.none() | powers(0, 9)),
        deadlines=draw(one_of(0.0, 0.5, 1.0)),
        slack=draw(one_of((1.5, 6.0), (0.01, 0.5), (1.0, 1.0))),
    )


@st.composite
def hosts(draw, interval_s: float) -> Host:
    return Host(
        cores=draw(one_of(1, 2, 16)),
        background=draw(one_of(0.0, 0.3, 0.95)),
        background_sd=draw(one_of(0.0, 0.2)),
        baseline_memory=draw(one_of(0.0, 1e5, 1e8, 1e9, 1e13)),
        max_age_s=draw(one_of(0.0, 4 * interval_s, 1e9)),
        max_deltas=draw(one_of(0, 1, 10)),
    )


@st.composite
def scenarios(draw) -> Scenario:
    requests, interval_s = draw(st.integers(1, 24)), draw(powers(-2, 2.5))
    models = link_models(interval_s) | st.sampled_from(sorted(LINKS))
    count = draw(st.integers(1, 3))
    paths = [
        PathSpec(
            link=draw(models),
            name=f"path {number}",
            link_type=draw(st.sampled_from(LINK_TYPES)),
            share=1 / count,
            window_bytes=draw(one_of(1448.0, 1e5, 3e6, 1e12)),
            queue_bdp=draw(one_of(0.1, 1.0, 5.0)),
            control=draw(st.sampled_from(CONTROLS)),
            slots=draw(one_of(None, None, 1, 3)),
        )
        for number in range(count)
    ]
    return Scenario(
        name="made up",
        summary="by Hypothesis",
        paths=tuple(paths),
        workload=draw(workloads(interval_s)),
        host=draw(hosts(interval_s)),
        requests=requests,
        slots=draw(one_of(1, 2, 5, 100)),
        any_path=draw(st.booleans()),
        cpu_price=draw(one_of(0.0, 0.1, 30.0)),
        late_price=draw(one_of(0.0, 1.0, 50.0)),
        probe=Probe(draw(one_of(0.05, 1.0, 20.0)) * interval_s, draw(one_of(0.0, 0.1, 1.0)), interval_s),
        faults=draw(fault_models(requests * interval_s) | st.just(FaultModel())),
    )


def in_step(episode: Episode, step_s: float) -> Episode:
    """The episode with arrivals at whole steps from 0 on, many of them at once."""
    arrival_s = np.floor(episode.requests.arrival_s / step_s) * step_s
    return replace(episode, requests=episode.requests._replace(arrival_s=arrival_s))


def alike(episode: Episode) -> Episode:
    """The episode with transfers that differ in nothing but size, so that equal ones end together."""
    even = np.ones(len(episode))
    payloads = episode.payloads._replace(
        ratio3=4 * even, novelty=even, encode_noise=even, decode_noise=even, kind=0 * episode.payloads.kind
    )
    return replace(episode, payloads=payloads)


@st.composite
def episodes(draw) -> Episode:
    scenario = draw(scenarios())
    episode = draw_episode(scenario, draw(st.integers(0, 2**31)))
    if draw(st.booleans()):
        episode = in_step(episode, draw(one_of(1.0, 4.0, 1000.0)) * scenario.workload.interval_s)
    return alike(episode) if draw(st.booleans()) else episode


@pytest.mark.filterwarnings("ignore:divide by zero")  # a path that is down all the time has no capacity
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(episode=episodes(), data=st.data())
def test_both_engines_ask_and_record_the_same_whatever_the_scenario(episode, data, twins, random_answers):
    interval_s = episode.scenario.workload.interval_s
    codecs = data.draw(st.sampled_from(CODEC_SETS), "codecs")
    pair = twins(
        episode,
        codecs,
        dispatch=data.draw(st.booleans(), "dispatch"),
        share=data.draw(st.booleans(), "share"),
        control_s=data.draw(one_of(0.3, 1.0, 2.5, 50.0), "control") * interval_s,
        quantum_s=data.draw(one_of(inf, 0.3, 1.0, 10.0), "quantum") * interval_s,
    )
    answers = random_answers(data.draw(st.integers(0, 2**31), "answers"), len(codecs))
    pair.play(answers, most=MOST_QUESTIONS)
