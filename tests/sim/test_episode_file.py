"""Episode folders: what was saved runs again bit for bit, and what is torn, foreign or newer is refused."""

import json
import shutil
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.catalogue import SCENARIOS
from sim.codecs import CODECS
from sim.episode import Episode, draw_episode
from sim.episode_file import VERSION, load_episode, save_episode
from sim.errors import InputError
from sim.faults import FaultModel
from sim.payloads import CLASS_NAMES
from sim.world import World

ALL_FAULTS = FaultModel(
    outages_per_hour=60,
    drops_per_hour=30,
    bursts_per_hour=60,
    core_losses_per_hour=60,
    baseline_losses_per_hour=30,
    broken_share=0.2,
)


def arrays(value: Any) -> list[np.ndarray[Any, Any]]:
    """Every array and number of an episode but the scenario, in order."""
    if isinstance(value, Episode):
        return [part for field in fields(value)[1:] for part in arrays(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [part for one in value for part in arrays(one)]
    return [np.asarray(value)]


def records(episode: Episode) -> list[Any]:
    """What happens when codecs are chosen in turn."""
    world = World(episode, list(CODECS.values()))
    world.run(lambda question: question.request % len(CODECS))
    return [*world.records, world.cost]


def there_and_back(episode: Episode) -> Episode:
    with tempfile.TemporaryDirectory() as home:
        save_episode(episode, Path(home) / "episode")
        return load_episode(Path(home) / "episode")


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "episode"
    save_episode(draw_episode(SCENARIOS["wan"].with_(requests=8), 1), folder)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_episode(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder.parent}/", "")


@pytest.mark.parametrize("name", SCENARIOS)
@given(seed=st.integers(0, 2**63))
@settings(max_examples=3)
def test_an_episode_of_every_scenario_comes_back_bit_for_bit(name, seed):
    episode = draw_episode(SCENARIOS[name].with_(requests=24), seed)
    again = there_and_back(episode)
    assert again.scenario == episode.scenario
    for before, after in zip(arrays(episode), arrays(again), strict=True):
        assert (before.dtype, before.shape) == (after.dtype, after.shape)
        assert before.tobytes() == after.tobytes()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_world_writes_the_same_records_from_a_saved_episode(name):
    scenario = SCENARIOS[name]
    episode = draw_episode(scenario.with_(requests=24, faults=ALL_FAULTS), 7)
    assert records(there_and_back(episode)) == records(episode)


def test_a_saved_episode_does_not_depend_on_later_classes_standing_in_the_same_order(saved, monkeypatch):
    before = load_episode(saved)
    names = CLASS_NAMES[::-1]
    monkeypatch.setattr("sim.episode_file.CLASS_NAMES", names)
    assert load_episode(saved).payloads.kind.tolist() == [
        len(names) - 1 - kind for kind in before.payloads.kind
    ]


def test_an_existing_folder_is_never_overwritten_and_a_failed_save_leaves_nothing(saved, monkeypatch):
    episode = load_episode(saved)
    with pytest.raises(InputError, match="expected a new folder, but it is there already; name another one"):
        save_episode(episode, saved)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sim.files.os.fsync", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        save_episode(episode, saved.parent / "second")
    assert [path.name for path in saved.parent.iterdir()] == ["episode"]


def test_a_folder_that_is_no_episode_is_refused(saved, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty: expected the folder of an episode, with episode.json: No such file" in refused(
        tmp_path / "empty"
    )
    assert "none: expected the folder of an episode" in refused(tmp_path / "none")
    for text in ("", "[]", "{}", '{"format": "policy bundle", "version": 1}', "\x00"):
        (saved / "episode.json").write_text(text)
        assert refused(saved) == (
            "episode/episode.json: expected the manifest of a dwcp-gym episode; is this another file?"
        )


def test_an_episode_of_a_later_version_is_refused(saved):
    manifest = json.loads((saved / "episode.json").read_text())
    (saved / "episode.json").write_text(json.dumps({**manifest, "version": VERSION + 1}))
    assert (
        f"episode.json: version: is of version {VERSION + 1}, this program reads {VERSION}; take a newer one"
        in refused(saved)
    )


@pytest.mark.parametrize(
    "name",
    ["scenario.yaml", *(f"{t}.parquet" for t in ("requests", "datasets", "paths", "probes", "faults"))],
)
def test_a_missing_torn_or_changed_file_is_refused_by_its_name(saved, name):
    content = (saved / name).read_bytes()
    flipped = content[:40] + bytes([content[40] ^ 1]) + content[41:]
    for broken in (content[:-10], content + b" ", flipped, b""):
        (saved / name).write_bytes(broken)
        assert f"episode/{name}: is missing, torn or changed since the episode was saved" in refused(saved)
    (saved / name).unlink()
    assert f"episode/{name}: is missing" in refused(saved)


def test_a_forged_table_with_a_right_hash_is_refused_in_one_line(saved):
    manifest = json.loads((saved / "episode.json").read_text())
    shutil.copy(saved / "probes.parquet", saved / "requests.parquet")
    manifest["sha256"]["requests.parquet"] = manifest["sha256"]["probes.parquet"]
    (saved / "episode.json").write_text(json.dumps(manifest))
    assert f"episode: expected an episode as version {VERSION} has it, got KeyError: 'arrival_s'" in refused(
        saved
    )


def test_a_scenario_that_was_changed_by_hand_is_kept_with_its_episode(tmp_path):
    scenario = replace(SCENARIOS["metro"], name="mine", cpu_price=0.123456789012345678)
    assert (
        there_and_back(draw_episode(scenario.with_(requests=4), 3)).scenario.cpu_price == scenario.cpu_price
    )
