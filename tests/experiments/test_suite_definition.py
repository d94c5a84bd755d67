"""The frozen episodes: what their hashes tell apart, and that the shipped ones are still what they were."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from experiments.splits import Episodes
from experiments.suite.definition import FOLDER, Suite, hashes_of, shipped
from experiments.suite.fingerprint import episode_hash
from experiments.suite.unseen import MAKERS
from sim.catalogue import find_scenario
from sim.episode import draw_episode
from sim.errors import InputError
from sim.links import LINKS


@pytest.fixture(scope="module")
def episode():
    return draw_episode(find_scenario("lossy"), 5)


def test_a_hash_stays_when_numbers_change_in_the_last_bits_only(episode):
    nudged = np.nextafter(episode.deadline_s, np.inf)
    assert episode_hash(replace(episode, deadline_s=nudged)) == episode_hash(episode)


@pytest.mark.parametrize("field", ["deadline_s", "changed_noise", "nominal", "path_limits"])
def test_a_hash_changes_with_any_number_that_changes_in_the_fifth_digit(episode, field):
    values = getattr(episode, field).copy()
    finite = np.flatnonzero(np.isfinite(values) & (values > 0))
    values.flat[finite[-1]] *= 1.0001
    assert episode_hash(replace(episode, **{field: values})) != episode_hash(episode)


def test_a_hash_changes_with_the_prices_of_the_scenario_and_not_with_its_name(episode):
    dear, renamed = episode.scenario.with_(cpu_price=0.2), replace(episode.scenario, name="other")
    assert episode_hash(replace(episode, scenario=dear)) != episode_hash(episode)
    assert episode_hash(replace(episode, scenario=renamed)) == episode_hash(episode)


def test_the_shipped_hashes_are_those_of_the_episodes_that_are_drawn_today():
    suite = shipped()
    for scenario, split in suite.all_splits():
        places = suite.places(scenario, split)
        for place in (places[0], places[-1]):
            assert episode_hash(suite.draw(place)) == suite.hashes[scenario][split][place.number], place


def test_no_two_episodes_of_the_suite_are_the_same():
    every = [one for splits in shipped().hashes.values() for own in splits.values() for one in own]
    assert len(every) == len(set(every)) > 2000


def test_training_and_test_episodes_are_those_of_the_reference_experiments():
    from experiments.config import ExperimentConfig
    from sim.settings import load

    for task, name in (("compression", "compression"), ("scheduling", "scheduling")):
        config = load(FOLDER.parent / "configs" / f"{name}.yaml", ExperimentConfig)
        reference, suite = Episodes(config), shipped()
        shared = set(config.environment.scenarios) & set(suite.task(task).scenarios)
        for split in ("train", "validation", "test"):
            place = suite.places(min(shared), split)[1]
            assert episode_hash(reference.draw(place)) == episode_hash(suite.draw(place))


def test_held_out_scenarios_are_in_no_training_set_of_their_question():
    suite = shipped()
    for task in suite.tasks.values():
        unseen = {name for family in task.families for name in family.scenarios}
        assert not unseen & set(task.scenarios)
        assert len(unseen) == sum(len(family.scenarios) for family in task.families)


def test_an_episode_that_is_drawn_otherwise_is_refused_with_its_place(tmp_path):
    shutil.copytree(FOLDER / "scenarios", tmp_path / "scenarios")
    for name in ("suite.yaml", "hashes.json"):
        shutil.copy(FOLDER / name, tmp_path / name)
    stored = json.loads((tmp_path / "hashes.json").read_text())
    hashes = stored["episodes"]["wan-far"]["held-out"].split()
    stored["episodes"]["wan-far"]["held-out"] = " ".join([*hashes[:3], "0" * 16, *hashes[4:]])
    (tmp_path / "hashes.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"wan-far \(held-out\): 3: is another episode than when"):
        Suite(tmp_path).episodes("wan-far", "held-out")
    assert Suite(tmp_path).digest != shipped().digest


def test_a_suite_without_hashes_says_who_writes_them(tmp_path):
    shutil.copytree(FOLDER / "scenarios", tmp_path / "scenarios")
    shutil.copy(FOLDER / "suite.yaml", tmp_path / "suite.yaml")
    with pytest.raises(InputError, match="suite freeze"):
        _ = Suite(tmp_path).digest
    suite = Suite(tmp_path)
    small = {("wan", "test"): hashes_of(suite, "wan", "test")[:2]}
    suite.freeze(small)
    with pytest.raises(InputError, match=r"expected 40 hashes of wan \(test\), got 2"):
        suite.episodes("wan", "test")


def test_made_traces_do_what_their_sources_measured():
    rng = np.random.default_rng(0)
    dealt = MAKERS["handover"](LINKS["wan"], rng)
    assert np.allclose(dealt.time_s[::2], 15.0 * np.arange(len(dealt.time_s) // 2))
    bucket = MAKERS["token-bucket"](LINKS["internet"], rng)
    levels = np.unique(bucket.capacity) / LINKS["internet"].capacity
    assert levels == pytest.approx([0.1, 1.0])
