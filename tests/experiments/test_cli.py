"""The command line: help for every verb, exit codes, and one clear line for whatever a user can get wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.config import ExperimentConfig
from sim.settings import digest, load

ROOT = Path(__file__).parents[2]
VERBS = ("run", "train", "evaluate", "compare", "report", "export", "scenarios", "label", "policies", "bench")


@pytest.fixture
def refused(say):
    """Runs the command line and expects one line of complaint and exit code 2."""

    def call(*words: object) -> str:
        code, _, complaints = say(*words)
        assert code == 2
        assert len(complaints) == 1
        assert complaints[0].startswith("dwcp-gym: ")
        assert "Traceback" not in complaints[0]
        return complaints[0]

    return call


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(say, verb):
    code, printed, complaints = say(verb, "--help")
    assert (code, complaints) == (0, [])
    assert f"dwcp-gym {verb}" in printed
    assert len(printed.split()) > 20


def test_the_command_alone_is_a_page_of_help(say):
    code, printed, complaints = say()
    assert complaints == []
    assert code in (0, 2)
    assert all(verb in printed for verb in VERBS)


def test_a_process_of_its_own_ends_with_0_for_help_and_2_for_what_cannot_be_used(dwcp_gym, tmp_path):
    listed = dwcp_gym("scenarios")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "datacenter" in listed.stdout
    broken = dwcp_gym("run", tmp_path / "absent.yaml")
    assert (broken.returncode, broken.stdout) == (2, "")
    assert re.fullmatch(r"dwcp-gym: .*absent\.yaml: cannot be read: .*\n", broken.stderr)


def test_an_unknown_scenario_in_a_process_of_its_own_is_one_line(dwcp_gym, tiny_config, tmp_path):
    broken = dwcp_gym("run", tiny_config, "environment.scenarios=[metrro]", "--results", tmp_path)
    assert broken.returncode == 2
    assert re.fullmatch(r"dwcp-gym: .*unknown name 'metrro'; did you mean 'metro'\?\n", broken.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rum"], "No such command 'rum'.*see dwcp-gym --help"),
        (["run"], "Missing argument.*see dwcp-gym run --help"),
        (["compare"], "Missing argument.*see dwcp-gym compare --help"),
        (["run", "x.yaml", "--bogus"], "No such option: --bogus"),
        (
            ["scenarios", "--episodes", "many"],
            "'--episodes': Input should be a valid integer.*see dwcp-gym scenarios --help",
        ),
        (["scenarios", "--episodes", "0"], "'--episodes': Input should be greater than or equal to 1"),
        (["scenarios", "--only", "wann"], "unknown scenario 'wann'; did you mean 'wan'"),
        (["scenarios", "--only", "absent.yaml"], r"absent\.yaml: cannot be read"),
    ],
)
def test_words_that_mean_nothing_are_refused_with_where_to_read_on(refused, words, complaint):
    assert re.search(complaint, refused(*words))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("evaluation.test_episodez=3", "unknown key.*did you mean 'evaluation.test_episodes'"),
        ("evaluation.test_episodes=none", "evaluation.test_episodes: expected a whole number, got 'none'"),
        ("evaluation.test_episodes=1", "expected a value of at least 2, got 1"),
        ("learners.pppo.steps=1", "expected an item of the list 'learners'"),
        ("steps", "expected an override as key=value"),
        ("seed=[1", "command line: seed: "),
        ("policies=[zstdd, one_step_oracle]", "unknown name 'zstdd'; did you mean 'zstd'"),
        ("policies=[estimatee, one_step_oracle]", "unknown name 'estimatee'; did you mean 'estimate'"),
        ("environment.codecs=[none, hdee]", "unknown name 'hdee'; did you mean 'hde'"),
        ("environment.held_out=[bogus-place]", "unknown name 'bogus-place'"),
        ("environment.traces=no-such-folder", "no-such-folder"),
    ],
)
def test_an_override_that_cannot_be_is_refused_by_key_value_and_expectation(
    refused, tiny_config, tmp_path, override, complaint
):
    assert re.search(complaint, refused("train", tiny_config, override, "--results", tmp_path / "results"))
    assert not (tmp_path / "results").exists()


def test_several_faults_are_a_line_each(say, tiny_config):
    code, _, complaints = say("run", tiny_config, "sede=1", "evaluation.level=7")
    assert code == 2
    assert len(complaints) == 2
    assert all(line.startswith("dwcp-gym: ") for line in complaints)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read"),
        (b"", "the file is empty"),
        (b"\x00\x01\x02\xff\xfe" * 50, "byte 3|not YAML"),
        (b"- a\n- b\n", "got a list"),
        (b"name: [x\n", r"line \d+"),
        (b"name: x\nname: y\n", "stands here and in line 1"),
        (b"name: x\n" + b"#" * (2 << 20), "at most"),
    ],
    ids=["directory", "empty", "binary", "list", "torn", "doubled", "huge"],
)
def test_a_file_that_is_no_config_is_refused(refused, tmp_path, content, complaint):
    path = tmp_path / "config.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert re.search(rf"config\.yaml.*({complaint})", refused("run", path))


def test_a_quick_run_sets_what_its_config_says_and_the_command_line_has_the_last_word(
    refused, tiny_config, tmp_path
):
    path = tmp_path / "quick.yaml"
    path.write_text(tiny_config.read_text() + 'quick: ["environment.scenarios=[metrro]"]\n')
    assert "unknown name 'metrro'" in refused("run", path, "--quick", "--results", tmp_path / "results")
    words = ["--quick", "environment.scenarios=[wam]", "--results", tmp_path / "results"]
    assert "unknown name 'wam'" in refused("run", path, *words)
    path.write_text(tiny_config.read_text() + "quick: [learners.poo.steps=7]\n")
    assert re.search(r"quick\.yaml.*quick.*poo", refused("run", path, "--quick"))
    assert "leave --quick out" in refused("run", tiny_config, "--quick")
    assert not (tmp_path / "results").exists()


def test_the_quick_run_of_the_main_comparison_is_one_of_another_name():
    path = ROOT / "experiments" / "configs" / "compression.yaml"
    whole = load(path, ExperimentConfig)
    quick = load(path, ExperimentConfig, whole.quick or ())
    assert (whole.name, quick.name) == ("compression", "compression-quick")
    assert quick.environment == whole.environment and quick.policies == whole.policies
    assert [one.name for one in quick.learners] == [one.name for one in whole.learners]
    assert digest(whole) == digest(whole.model_copy(update={"quick": None}))


def test_brackets_in_a_path_are_printed_as_they_are(refused, tmp_path):
    assert "[/red]x[bold].yaml" in refused("run", tmp_path / "[/red]x[bold].yaml")


def test_a_results_folder_that_cannot_be_written_is_refused(refused, tiny_config, tmp_path):
    (tmp_path / "results").write_text("a file stands here")
    complaint = refused("train", tiny_config, "--results", tmp_path / "results")
    assert re.search("results/tiny: cannot be written: .*; free room or name another folder", complaint)


@pytest.mark.parametrize("verb", ["evaluate", "compare", "report", "export"])
def test_a_folder_that_is_no_run_is_refused(refused, tmp_path, verb):
    assert "expected the folder of a run" in refused(verb, tmp_path)
    assert "expected the folder of a run" in refused(verb, tmp_path / "absent")


@pytest.mark.parametrize("verb", ["evaluate", "compare", "report", "export"])
def test_a_run_with_a_torn_config_is_refused(refused, finished_run, verb):
    (finished_run / "config.yaml").write_bytes((finished_run / "config.yaml").read_bytes()[:300])
    assert "config.yaml" in refused(verb, finished_run)


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"{}", b'{"rows": 3}', b'{"rows": [{}]}', b"\xff", b""],
)
def test_a_torn_summary_is_refused_with_the_verb_that_mends_it(refused, finished_run, content):
    (finished_run / "summary.json").write_bytes(content)
    assert "is torn or foreign; `dwcp-gym report` writes it anew" in refused("compare", finished_run)
    (finished_run / "summary.json").unlink()
    assert "is missing; `dwcp-gym report` writes it" in refused("compare", finished_run)


@pytest.mark.parametrize(
    ("verb", "name", "complaint"),
    [
        ("report", "episodes.parquet", "expected a table"),
        ("report", "decisions.parquet", "expected a table"),
        ("report", "models.json", "`dwcp-gym export` writes it anew"),
        ("report", "versions.json", "versions.json"),
        ("report", "learners/ppo-0/curves.csv", "curves.csv"),
        ("export", "learners/ppo-1/curves.csv", "expected the curve of a training"),
        ("export", "episodes.parquet", "expected a table"),
    ],
)
def test_a_torn_file_of_a_run_is_refused_by_its_name(refused, finished_run, verb, name, complaint):
    path = finished_run / name
    path.write_bytes(path.read_bytes()[:10] if path.suffix != ".csv" else b"")
    told = refused(verb, finished_run)
    assert Path(name).name in told
    assert complaint in told


def test_torn_models_are_refused_by_their_name(refused, finished_run):
    for path in finished_run.glob("learners/*/best.zip"):
        path.write_bytes(path.read_bytes()[:-40])
    assert "best.zip: expected a saved PPO model" in refused("export", finished_run)
    assert "best.zip: expected a saved PPO model" in refused("report", finished_run)


def test_torn_references_met_in_a_worker_are_one_line(dwcp_gym, finished_run, tiny_config):
    for name in ("training", "evaluation", "search", "finished"):
        (finished_run / "stages" / name).unlink()
    (finished_run / "references.npz").write_bytes(b"torn")
    broken = dwcp_gym("train", tiny_config, "workers=1", "--results", finished_run.parents[1])
    assert broken.returncode == 2
    assert re.fullmatch(r"dwcp-gym: .*references\.npz: expected the reference runs .*\n", broken.stderr)


def test_a_run_that_was_not_trained_is_not_evaluated(refused, finished_run):
    (finished_run / "stages" / "training").unlink()
    assert "is not trained yet" in refused("evaluate", finished_run)


def test_a_run_at_work_is_left_alone(finished_run, dwcp_gym):
    hold = "import sys, time, experiments.run_folder as f, pathlib\n"
    hold += (
        "run = f.RunFolder(pathlib.Path(sys.argv[1])); run.lock(); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(finished_run)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        busy = dwcp_gym("report", finished_run)
        assert busy.returncode == 2
        assert re.fullmatch(rf"dwcp-gym: .*process {holder.pid} works on this run.*\n", busy.stderr)
        assert dwcp_gym("compare", finished_run).returncode == 0
    finally:
        holder.kill()
        holder.communicate()


def test_the_folder_of_an_experiment_stands_for_its_latest_run(say, finished):
    code, printed, _ = say("compare", finished / "tiny")
    assert code == 0
    assert "Does a run hold together?" in printed
    assert "one_step_oracle" in printed


def test_report_writes_the_report_of_a_run_again(say, finished_run):
    before = (finished_run / "report.md").read_text()
    (finished_run / "report.md").unlink()
    code, printed, complaints = say("report", finished_run)
    assert (code, complaints) == (0, [])
    assert f"report       {finished_run}/report.md" in printed.splitlines()
    assert f"tensorboard  tensorboard --logdir {finished_run}/tensorboard" in printed.splitlines()
    assert (finished_run / "report.md").read_text() == before


def test_export_writes_bundles_over_torn_ones_and_says_how_large_and_fast_they_are(say, finished_run):
    (finished_run / "bundles" / "ppo" / "policy.onnx").write_bytes(b"torn")
    code, printed, complaints = say("export", finished_run)
    assert (code, complaints) == (0, [])
    lines = [line for line in printed.splitlines() if line.startswith("bundle")]
    assert len(lines) == 2
    assert all(
        re.search(r"bundles/(ppo|dqn)  \d+ kB, one decision \d+ us \(p99 \d+ us\)$", line) for line in lines
    )
    manifest = json.loads((finished_run / "bundles" / "ppo" / "manifest.json").read_text())
    assert manifest["training"]["seeds"]["training"] in (0, 1)


def test_run_prints_where_everything_lies_on_lines_of_their_own(finished):
    printed = (finished / "printed.txt").read_text().splitlines()
    for name in ("report", "tensorboard", "bundle"):
        assert any(line.startswith(f"{name} ") for line in printed)
    assert any("best static policy" in line for line in printed)


def test_policies_are_listed_with_their_kind(say):
    code, printed, _ = say("policies")
    assert code == 0
    for name, kind in (
        ("zstd", "static"),
        ("ppo", "learner"),
        ("ensemble", "supervised"),
        ("best_found", "search"),
    ):
        assert re.search(rf"^{name} +{kind} ", printed, re.M)


def test_headroom_is_measured_on_a_scenario_of_ones_own(say, tmp_path):
    (tmp_path / "office.yaml").write_text("base: constrained\nrequests: 6\n")
    words = ("--only", tmp_path / "office.yaml", "--episodes", 1, "--searched", 1, "--workers", 1)
    code, printed, complaints = say("scenarios", "--headroom", *words)
    assert (code, complaints) == (0, [])
    assert re.search(r"^ ?office( +\d+){6} +[\d.]+ +\d+ % *$", printed, re.M)
