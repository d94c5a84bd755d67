"""The observation of a codec decision: worked values, extremes, scales, secrets, and its table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.compression import Compression
from envs.features import CODEC_FEATURES, Feature, FeatureList
from sim.catalogue import find_scenario
from sim.decisions import CodecQuestion
from sim.episode import draw_episode

PAGE = Path(__file__).parents[2] / "docs" / "compression.md"
QUESTION = CodecQuestion(
    request=3,
    now_s=100.0,
    hour=13.5,
    kind=2,
    size_bytes=10 * 2**20,
    entropy=0.7,
    sample_ratio=4.0,
    repetition=0.1,
    priority=3.0,
    slack_s=20.0,
    waited_s=0.5,
    has_baseline=True,
    baseline_age_s=60.0,
    deltas=2,
    changed=0.2,
    seen=5,
    interval_s=30.0,
    delta_ratio=25.0,
    path=1,
    link_type=2,
    capacity=125e6,
    rtt_s=0.08,
    jitter_s=0.002,
    bandwidth=50e6,
    loss=1e-4,
    window_bytes=3e6,
    cores=4,
    cpu_load=0.25,
    memory_pressure=0.4,
    running=6,
    waiting=2,
    streams=20,
    wire_backlog_bytes=200e6,
    core_backlog_s=10.0,
    zstd_ratio=3.5,
    hde_ratio=12.0,
    single_rate=10e6,
    amst_rate=40e6,
    goodput_share=0.6,
)
BY_HAND = {
    "rtt_ms": 80.0,
    "jitter_ms": 2.0,
    "bandwidth_mbps": 400.0,
    "loss": 1e-4,
    "link_type": 2.0,
    "region": 1.0,
    "size_mb": 10.0,
    "entropy": 0.7,
    "compressibility": 0.75,
    "delta_potential": 0.8,
    "data_type": 2.0,
    "cpu_usage": 0.25,
    "memory_pressure": 0.4,
    "active_transfers": 6.0,
    "time_of_day": 13.5,
    "recent_hde_ratio": 25.0,
    "recent_amst_rate_share": 0.8,
    "recent_zstd_ratio": 3.5,
    "has_baseline": 1.0,
    "baseline_age_s": 60.0,
    "deltas": 2.0,
    "changed": 0.2,
    "seen": 5.5,
    "interval_s": 30.0,
    "running_streams": 20.5,
    "waiting": 2.5,
    "wire_backlog_s": 4.0,
    "core_backlog_s": 2.5,
    "capacity_mbps": 1000.0,
    "cores": 4.0,
    "wire_time_s": 10 * 2**20 / 50e6,
    "window_share": 0.75,  # 3 MB / 80 ms = 37.5 MB/s of 50
    "loss_share": 1448 / 0.08 * 1.22 / 0.01 / 50e6,
    "recent_single_rate_share": 0.2,
    "goodput_share": 0.6,
    "priority": 3.0,
    "slack_s": 20.0,
    "waited_s": 0.5,
}
EXTREMES = {
    "outage": {"bandwidth": 0.0, "single_rate": 0.0, "amst_rate": 0.0, "goodput_share": 0.0},
    "lost": {"loss": 0.999, "rtt_s": 30.0, "jitter_s": 30.0},
    "ideal": {"loss": 0.0, "rtt_s": 1e-6, "jitter_s": 0.0, "bandwidth": 1e12, "capacity": 1e12},
    "tiny": {"size_bytes": 1.0, "sample_ratio": 1.0, "entropy": 0.0},
    "huge": {"size_bytes": 1e15, "sample_ratio": 1e5, "entropy": 1.0, "delta_ratio": 1e6},
    "free": {"slack_s": np.inf, "interval_s": np.inf, "seen": 0, "has_baseline": False, "changed": 1.0},
    "late": {"slack_s": -1e6, "waited_s": 1e7, "running": 10_000, "streams": 10_000, "waiting": 10_000},
    "idle": {"running": 0, "streams": 0, "waiting": 0, "wire_backlog_bytes": 0.0, "core_backlog_s": 0.0},
    "swamped": {"wire_backlog_bytes": 1e18, "core_backlog_s": 1e12, "bandwidth": 1.0, "cpu_load": 1.5},
}


def test_every_feature_but_the_estimates_is_what_was_worked_by_hand():
    raw = dict(zip(CODEC_FEATURES.names, CODEC_FEATURES.raw(QUESTION).tolist(), strict=True))
    estimates = {"none_time_s", "zstd_speedup", "hde_speedup", "amst_speedup"}
    assert set(raw) == set(BY_HAND) | estimates
    assert {name: raw[name] for name in BY_HAND} == pytest.approx(BY_HAND, rel=1e-12)


def test_on_a_clean_wide_path_raw_bytes_need_what_the_window_allows():
    clean = QUESTION._replace(loss=0.0, capacity=1e9, bandwidth=1e9, size_bytes=3e9)
    raw = dict(zip(CODEC_FEATURES.names, CODEC_FEATURES.raw(clean).tolist(), strict=True))
    assert raw["none_time_s"] == pytest.approx(3e9 / 37.5e6, rel=0.02)  # 37.5 MB/s: a 3 MB window in 80 ms
    assert raw["amst_speedup"] == pytest.approx(8.0, rel=0.12)  # eight windows, and a longer start


@pytest.mark.parametrize("changes", EXTREMES.values(), ids=EXTREMES.keys())
def test_every_feature_is_finite_and_inside_its_range_in_the_extreme(changes):
    question = QUESTION._replace(**changes)
    assert np.isfinite(CODEC_FEATURES.raw(question)).all()
    seen = CODEC_FEATURES.observe(question)
    assert seen.dtype == np.float32 and np.isfinite(seen).all() and np.abs(seen).max() <= 1.0


def test_the_ends_of_every_range_are_minus_one_and_plus_one():
    ends = np.array(
        [[one.low for one in CODEC_FEATURES.features], [one.high for one in CODEC_FEATURES.features]]
    )
    assert CODEC_FEATURES.scaled(ends) == pytest.approx(
        np.array([[-1.0], [1.0]]) * np.ones(len(CODEC_FEATURES))
    )


def test_the_middle_of_a_log_range_is_the_geometric_mean():
    features = FeatureList(
        [Feature("a", "x", 1, 100, "log", ""), Feature("b", "x", 0, 10, "linear", "")],
        lambda question: (10.0, 5.0),
    )
    assert features.observe(QUESTION) == pytest.approx([0.0, 0.0], abs=1e-7)


def test_logarithms_are_those_of_the_library_to_the_rounding_of_what_is_seen():
    features = FeatureList([Feature("wide", "", 1e-300, 1e300, "log", "")], lambda question: [question])
    values = np.exp(np.linspace(np.log(1e-300), np.log(1e300), 4001))
    values = np.concatenate([values, np.nextafter(values, 0.0), 2.0 ** np.arange(-990, 991)])
    expected = np.clip(np.log(values) / np.log(1e300), -1.0, 1.0)
    found = features.scaled(values[:, None])[:, 0]
    assert np.abs(found - expected).max() <= np.finfo(np.float32).eps / 2


def test_what_is_no_number_is_seen_as_none():
    features = FeatureList([Feature("size", "", 1, 100, "log", "")], lambda question: [question])
    assert np.isnan(features.observe(np.nan)).all()


def test_scaling_and_back_returns_what_lay_inside_the_range():
    rng = np.random.default_rng(0)
    low = np.array([one.low for one in CODEC_FEATURES.features])
    high = np.array([one.high for one in CODEC_FEATURES.features])
    raw = low + (high - low) * rng.random((500, len(CODEC_FEATURES)))
    error = np.abs(CODEC_FEATURES.unscaled(CODEC_FEATURES.scaled(raw)) - raw)
    logarithmic = np.array([one.scale == "log" for one in CODEC_FEATURES.features])
    assert (error / raw)[:, logarithmic].max() < 2e-6  # half a float32 step of a range of 16 powers of e
    assert (error / (high - low))[:, ~logarithmic].max() < 1e-7


def test_a_batch_is_scaled_like_its_rows():
    raw = np.abs(np.random.default_rng(1).normal(1.0, 3.0, (3, 4, len(CODEC_FEATURES))))
    batch = CODEC_FEATURES.scaled(raw)
    assert batch.shape == raw.shape
    assert all((batch[place] == CODEC_FEATURES.scaled(raw[place])).all() for place in np.ndindex(3, 4))


def test_observing_hands_out_a_new_array_each_time():
    first = CODEC_FEATURES.observe(QUESTION)
    second = CODEC_FEATURES.observe(QUESTION._replace(size_bytes=1.0))
    assert not np.shares_memory(first, second) and (first != second).any()


def test_what_a_sender_cannot_know_changes_nothing_that_is_seen():
    episode = draw_episode(find_scenario("wan").with_(requests=8), 3)
    payloads, content, conditions = episode.payloads, episode.content, episode.conditions
    other = replace(
        episode,
        payloads=payloads._replace(
            ratio3=payloads.ratio3 * 2,
            novelty=payloads.novelty / 2,
            encode_noise=payloads.encode_noise * 1.5,
            decode_noise=payloads.decode_noise / 1.5,
        ),
        content=content._replace(working_set=content.working_set / 2, tau_s=content.tau_s * 3),
        conditions=conditions._replace(links=conditions.links * np.array([0.5, 2.0, 1.0, 1.0])),
    )
    env = Compression()
    seen, _ = env.reset(options={"episode": episode})
    seen_too, _ = env.reset(options={"episode": other})
    assert seen.tobytes() == seen_too.tobytes()
    costs = []
    for one in (episode, other):
        env.reset(options={"episode": one})
        costs.append([env.step(1)[4] for _ in range(8)][-1]["cost_s"])
    assert costs[0] != costs[1]  # but it matters


def test_names_say_the_order_and_find_the_place():
    assert [CODEC_FEATURES.index(name) for name in CODEC_FEATURES.names] == list(range(len(CODEC_FEATURES)))
    with pytest.raises(ValueError, match="rtt"):
        CODEC_FEATURES.index("rtt")


def test_the_page_shows_the_table_as_it_is():
    assert CODEC_FEATURES.table() in PAGE.read_text("utf-8"), (
        "print it with envs.features.CODEC_FEATURES.table()"
    )


def test_a_feature_whose_range_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        Feature("a", "x", 1, 1, "linear", "")
    with pytest.raises(ValueError, match="above 0 on a log scale"):
        Feature("a", "x", 0, 1, "log", "")


def test_two_features_of_one_name_are_refused():
    with pytest.raises(ValueError, match="differ"):
        FeatureList([Feature("a", "x", 0, 1, "linear", "")] * 2, lambda question: (0.0, 0.0))


def test_a_list_that_reads_too_few_values_is_refused():
    features = FeatureList(
        [Feature("a", "x", 0, 1, "linear", ""), Feature("b", "x", 0, 1, "linear", "")], lambda q: (1.0,)
    )
    with pytest.raises(ValueError, match="2 features, got 1"):
        features.observe(QUESTION)
