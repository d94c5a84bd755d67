"""Run folders: nothing half-written, resumed when unfinished, one process at a time."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agents.learners.settings import PPOConfig
from experiments import run_folder
from experiments.config import EnvironmentConfig, ExperimentConfig
from experiments.run_folder import RunFolder, follow_latest
from sim.errors import InputError
from sim.settings import digest, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config():
    return ExperimentConfig(
        name="trial",
        title="Is it worth it?",
        seed=3,
        environment=EnvironmentConfig(scenarios=("wan",)),
        learners=(PPOConfig(kind="ppo", seeds=(4, 5)),),
    )


def in_another_process(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_new_run_holds_config_versions_and_seeds_without_machine_names(config, tmp_path):
    with RunFolder.create(config, tmp_path) as run:
        assert run.path == tmp_path / "trial" / f"{digest(config)}-1"
        assert load(run.file("config.yaml"), ExperimentConfig) == config
        assert json.loads(run.file("seeds.json").read_text()) == {"seed": 3, "learners": {"ppo": [4, 5]}}
        versions = json.loads(run.file("versions.json").read_text())
        assert versions["packages"].keys() >= {"numpy", "torch", "gymnasium"}
        assert os.uname().nodename not in json.dumps(versions)
        assert "/" not in json.dumps(versions)


def test_unfinished_run_is_resumed_with_its_stages_and_finished_one_is_left_alone(config, tmp_path):
    with RunFolder.create(config, tmp_path) as first:
        first.mark("train-ppo-4")
    with RunFolder.create(config, tmp_path) as resumed:
        assert resumed.path == first.path
        assert resumed.stage_done("train-ppo-4")
        assert not resumed.stage_done("train-ppo-5")
        resumed.finish()
    with RunFolder.create(config, tmp_path) as second:
        assert second.path.name == f"{digest(config)}-2"
        assert not second.stage_done("train-ppo-4")
    assert RunFolder.existing(first.path).finished


def test_other_config_or_other_versions_get_a_run_of_their_own(config, tmp_path, monkeypatch):
    with RunFolder.create(config, tmp_path) as first:
        pass
    with RunFolder.create(config.model_copy(update={"seed": 4}), tmp_path) as other:
        assert other.path != first.path
    monkeypatch.setattr(run_folder, "versions", lambda: {"python": "3.99"})
    with RunFolder.create(config, tmp_path) as upgraded:
        assert upgraded.path.name == f"{digest(config)}-2"


def test_tenth_run_comes_after_the_ninth(config, tmp_path):
    for number in range(1, 12):
        with RunFolder.create(config, tmp_path) as run:
            assert run.path.name.endswith(f"-{number}")
            run.finish()


def test_latest_points_to_the_newest_run_and_leads_to_it_from_everywhere(config, tmp_path):
    with RunFolder.create(config, tmp_path) as run:
        run.finish()
    with RunFolder.create(config, tmp_path) as second:
        pass
    latest = tmp_path / "trial" / "latest"
    assert str(latest.readlink()) == second.path.name
    for path in (latest, tmp_path / "trial", second.path):
        assert RunFolder.existing(path).path.resolve() == second.path.resolve()
    assert RunFolder.existing(run.path).path == run.path


def test_latest_is_a_text_file_where_links_are_not_possible(config, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with RunFolder.create(config, tmp_path) as run:
        pass
    latest = tmp_path / "trial" / "latest"
    assert latest.read_text() == f"{run.path.name}\n"
    assert follow_latest(latest) == follow_latest(tmp_path / "trial") == run.path


def test_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder of a run, with a config\.yaml"):
        RunFolder.existing(tmp_path)


def test_second_process_on_one_run_is_refused_with_the_first_ones_id(config, tmp_path):
    with RunFolder.create(config, tmp_path) as run:
        code = (
            "import sys, pathlib; from experiments.run_folder import *\n"
            "try: RunFolder.existing(pathlib.Path(sys.argv[1])).lock()\n"
            "except InputError as error: print(error)"
        )
        said, _ = in_another_process(code, run.path).communicate(timeout=60)
        assert f"process {os.getpid()} works on this run" in said
        with pytest.raises(InputError, match="works on this run"):
            RunFolder.create(config, tmp_path)
    with RunFolder.existing(run.path):
        pass


def test_lock_and_litter_of_a_killed_process_do_not_stand_in_the_way(config, tmp_path):
    code = (
        "import sys, time, pathlib; from experiments.run_folder import *; from sim.files import *\n"
        "run = RunFolder.existing(pathlib.Path(sys.argv[1])); run.lock(); run.mark('label')\n"
        "def fill(stream):\n"
        "    stream.write(b'half of it'); stream.flush(); print('writing', flush=True); time.sleep(60)\n"
        "write_whole(run.file('model', 'policy.bin'), fill)"
    )
    with RunFolder.create(config, tmp_path) as run:
        pass
    writer = in_another_process(code, run.path)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    writer.kill()
    assert writer.wait(60) == -signal.SIGKILL
    assert not run.file("model", "policy.bin").exists()
    assert len(list(run.path.rglob(".tmp-*"))) == 1
    with RunFolder.create(config, tmp_path) as resumed:
        assert resumed.path == run.path
        assert resumed.stage_done("label")
        assert not list(run.path.rglob(".tmp-*"))


def test_full_disk_and_missing_rights_are_input_errors_and_the_run_starts_later(
    config, tmp_path, monkeypatch
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder.create(config, blocked)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        RunFolder.create(config, tmp_path)
    monkeypatch.undo()
    with RunFolder.create(config, tmp_path) as run:
        assert run.file("seeds.json").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_stage_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="a stage name must be"):
        RunFolder(tmp_path).mark(name)
