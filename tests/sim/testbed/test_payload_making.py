"""Made payloads have the size, ratio, staleness and bytes that the episode says."""

from dataclasses import replace

import numpy as np
import pytest
from backports import zstd

from sim.catalogue import find_scenario
from sim.codecs import delta_fraction, dirty_share
from sim.errors import InputError
from sim.randomness import stream
from sim.testbed.coding import ZstdCodec
from sim.testbed.delta_coding import HdeCodec
from sim.testbed.measuring import as_measured, sample
from sim.testbed.paths import PathSettings
from sim.testbed.payload_making import Made, make_payloads
from sim.testbed.staging import staged_episode, staged_scenario

PATH = PathSettings(12.5e6, 0.02)


def episode(mix, transfers=12, **workload):
    wan = find_scenario("wan")
    given = {"mix": mix, "datasets": 3, "one_off": 0.2, "max_bytes": 6e6, "interval_s": 5.0, **workload}
    scenario = replace(wan, workload=replace(wan.workload, **given))
    return staged_episode(staged_scenario(scenario, PATH, cores=2, transfers=transfers), 3)


@pytest.mark.parametrize("ratio", [1.0, 1.15, 1.6, 2.5, 4.0, 5.5, 9.0, 30.0])
def test_made_content_has_the_wanted_ratio(ratio):
    content = Made(ratio, stream(1, "made")).fresh(4 << 20).tobytes()
    assert len(content) / len(zstd.compress(content, 3)) == pytest.approx(ratio, rel=0.06)


def test_a_staged_episode_has_one_steady_path_and_versions_of_one_size():
    staged = episode("vm-migration")
    assert np.unique(staged.conditions.links[:, 0, 0]) == pytest.approx([12.5e6])
    assert not staged.conditions.links[:, 0, 3].any()
    for dataset in np.unique(staged.requests.dataset):
        assert len(np.unique(staged.requests.size_bytes[staged.requests.dataset == dataset])) == 1


def test_files_have_the_sizes_of_the_episode_and_are_the_same_for_the_same_seed(tmp_path):
    staged = episode("default")
    made = make_payloads(staged, tmp_path)
    assert [one.path.stat().st_size for one in made] == staged.requests.size_bytes.tolist()
    (tmp_path / "again").mkdir()
    assert [one.digest for one in make_payloads(staged, tmp_path / "again")] == [one.digest for one in made]


def test_a_new_version_differs_in_as_many_blocks_as_time_has_dirtied(tmp_path):
    staged = episode("vm-migration", transfers=8, datasets=1, one_off=0.0)
    made = make_payloads(staged, tmp_path)
    first, last = (np.fromfile(made[place].path, np.uint8) for place in (0, -1))
    whole = len(first) // 4096 * 4096
    changed = (first[:whole] != last[:whole]).reshape(-1, 4096).any(axis=1).mean()
    age_s = staged.requests.arrival_s[-1] - staged.requests.arrival_s[0]
    wanted = dirty_share(age_s, staged.content.working_set[0], staged.content.tau_s[0])
    assert changed == pytest.approx(wanted, rel=0.25, abs=0.01)


def test_what_was_measured_takes_the_place_of_what_was_drawn(tmp_path):
    staged = episode("databases", datasets=1, one_off=0.0)
    made = make_payloads(staged, tmp_path)
    measured = as_measured(staged, made, ZstdCodec(), HdeCodec())
    raw = made[-1].path.read_bytes()
    ratio = len(raw) / sum(map(len, ZstdCodec().encode(raw)))
    assert measured.payloads.ratio3[-1] == pytest.approx(ratio)
    before = made[-2].path.read_bytes()
    fraction = sum(map(len, HdeCodec().encode(raw, before))) / len(raw)
    age_s = staged.requests.arrival_s[-1] - staged.requests.arrival_s[-2]
    changed = dirty_share(age_s, staged.content.working_set[0], staged.content.tau_s[0])
    told = delta_fraction(changed, measured.payloads.novelty[-1], measured.payloads.ratio3[-1])
    assert told == pytest.approx(fraction, rel=0.02) or measured.payloads.novelty[-1] in (1e-3, 1.0)
    assert (staged.payloads.ratio3 != measured.payloads.ratio3).any()  # the drawn one stays as it was


def test_a_sample_of_zeros_of_noise_and_of_one_byte_values():
    rng = stream(2, "sample")
    zeros = sample(np.zeros(1 << 20, np.uint8), rng)
    assert (zeros.entropy, zeros.repetition, zeros.zero_share) == (0.0, 15 / 16, 1.0)
    noise = sample(rng.integers(0, 256, 1 << 20, dtype=np.uint8), rng)
    assert noise.entropy > 0.99 and noise.ratio == pytest.approx(1.0, abs=0.01) and noise.repetition == 0
    halves = sample(rng.integers(0, 16, 1 << 20, dtype=np.uint8), rng)
    assert halves.entropy == pytest.approx(0.5, abs=0.01)


def test_a_users_own_files_are_cut_to_size(tmp_path):
    own = tmp_path / "own.txt"
    own.write_bytes(b"a line of a log, and a number\n" * 300_000)
    staged = episode("logs", transfers=4, one_off=0.0, datasets=1)
    made = make_payloads(staged, tmp_path, files=[own])
    assert made[0].path.read_bytes() == own.read_bytes()[: int(staged.requests.size_bytes[0])]


def test_more_than_the_disk_budget_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"disk budget is 0\.0 GB; take fewer transfers"):
        make_payloads(episode("default"), tmp_path, most_bytes=1e6)
    assert list(tmp_path.iterdir()) == []
