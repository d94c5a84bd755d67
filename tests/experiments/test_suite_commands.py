"""``dwcp-gym suite`` as its users call it: a cell, a row, a verified file, a page."""

import json
from pathlib import Path

import pytest

from experiments.suite.board_page import BEGIN, END, board_lines, write_board
from experiments.suite.definition import shipped
from experiments.suite.performance import cells, missing
from experiments.suite.result import Part, Result, Told, read_result, write_result
from experiments.suite.standings import board, read_results
from experiments.summary import Chance
from sim.errors import InputError

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "results" / "leaderboard"
FACTORS = {"zstd": 1.0, "hde": 0.8, "mine": 0.6}
"""What a made-up policy costs; on held-out episodes `mine` costs three times as much."""


def made_up(policy: str, **changed: object) -> Result:
    """A whole result of made-up costs: 100 s and more, times the policy's factor."""
    suite = shipped()
    told = Told(suite.digest, "compression", policy, "static", "made up", {"catalogue": policy})
    if policy == "mine":
        told = told._replace(kind="learner", source={"bundle": "0" * 64})
    parts = [
        Part(seed, scenario, split, tuple(costs), (1,) * len(costs), "")
        for seed, spread in ([(0, 0.98), (1, 1.02)] if policy == "mine" else [(-1, 1.0)])
        for _, scenario, split in cells(suite, "compression")
        for factor in [FACTORS[policy] * spread * (3 if (policy, split) == ("mine", "held-out") else 1)]
        for costs in [[(100.0 + number) * factor for number in range(suite.count(split))]]
    ]
    return Result(told._replace(**changed), tuple(parts))


@pytest.fixture(scope="module")
def standing():
    results = [made_up(policy) for policy in FACTORS]
    return board(shipped(), "compression", results, Chance(0, 0.95, 100))


def test_the_best_static_policy_is_par_and_the_others_stand_beside_it_by_their_factors(standing):
    lines = {line.policy: line for line in standing.standings}
    assert [line.policy for line in standing.standings] == ["mine", "hde", "zstd"]
    assert set(standing.statics.values()) == {"hde"}
    assert lines["mine"].test.value == pytest.approx(0.75)
    assert lines["mine"].trainings == 2 and lines["mine"].improvement.value == 1.0
    assert lines["zstd"].test.value == lines["zstd"].middle.value == pytest.approx(1.25)
    assert [one.value for one in lines["mine"].families.values()] == [pytest.approx(2.25)] * 5
    assert set(lines["mine"].families) == {family.name for family in shipped().task("compression").families}


def test_a_page_keeps_what_stands_around_the_tables_and_links_to_its_figures(standing, tmp_path):
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text(f"# Before\n\n{BEGIN}\nyesterday\n{END}\n\nAfter\n")
    written = write_board([standing], shipped(), page, tmp_path / "docs" / "drawn")
    text = page.read_text()
    assert text.startswith("# Before") and text.endswith("\nAfter\n") and "yesterday" not in text
    assert "| 1 | `mine` (2 trainings) | learner | **75 (" in text
    assert "![compression](drawn/compression.png)" in text and written[1].stat().st_size > 10_000
    again = write_board([standing], shipped(), page, tmp_path / "docs" / "drawn")
    assert again == written and page.read_text() == text


def test_a_page_without_marks_is_refused(standing, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    with pytest.raises(InputError, match="expected the lines"):
        write_board([standing], shipped(), page, tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r._replace(parts=r.parts[1:]), r"lacks episodes of datacenter \(validation\)"),
        (lambda r: r._replace(told=r.told._replace(suite="0" * 16)), "is of another suite, 0000"),
        (lambda r: r._replace(parts=(*r.parts, r.parts[0])), "twice"),
        (lambda r: r._replace(parts=(*r.parts, r.parts[0]._replace(scenario="moon"))), "has moon"),
    ],
    ids=["incomplete", "other-suite", "twice", "strange"],
)
def test_a_result_that_is_not_whole_is_not_set_beside_others(tmp_path, spoil, message):
    write_result(spoil(made_up("hde")), tmp_path / "hde.json")
    with pytest.raises(InputError, match=message):
        read_results(tmp_path, shipped())


def test_two_results_of_one_policy_are_refused(tmp_path):
    write_result(made_up("hde"), tmp_path / "one.json")
    write_result(made_up("hde"), tmp_path / "two.json")
    with pytest.raises(InputError, match=r"is in .*one\.json, too"):
        read_results(tmp_path, shipped())


def test_the_committed_results_are_whole_and_the_page_is_theirs():
    suite = shipped()
    results = read_results(COMMITTED, suite)
    assert {"compression", "scheduling"} <= {result.told.task for result in results} <= set(suite.tasks)
    assert not [problem for result in results for problem in missing(suite, result)]
    text = (ROOT / "docs" / "leaderboard.md").read_text("utf-8")
    found = board(suite, "scheduling", results)
    images = {"scheduling": "leaderboard/scheduling.png"}
    assert "\n".join(board_lines([found], suite, images)[1:]) in text


def test_a_cell_is_played_again_and_is_what_the_committed_file_says(dwcp_gym):
    words = ["compression", "--policy", "contention", "--scenario", "metro", "--split", "test"]
    done = dwcp_gym("suite", "play", *words, "--workers", 1, "--results", COMMITTED)
    assert done.returncode == 0, done.stderr
    assert "contention" in done.stdout and "≠" not in done.stdout


def test_a_file_whose_costs_are_not_those_of_its_answers_is_refused_with_its_place(dwcp_gym, tmp_path):
    result = read_result(COMMITTED / "compression" / "contention.json")
    keep = [part for part in result.parts if part.scenario in ("metro", "hybrid")]
    number = next(n for n, part in enumerate(keep) if part.split == "test")
    costs = list(keep[number].costs)
    costs[7] *= 0.99
    keep[number] = keep[number]._replace(costs=tuple(costs))
    from experiments.suite.performance import Cell, _at_hand, _Trial, _try

    known = _at_hand(result.told, ())
    cells_of = [Cell("compression", part.scenario, part.split) for part in keep]
    trials = [
        _Trial(cell, result.told, part, False, known) for cell, part in zip(cells_of, keep, strict=True)
    ]
    verdicts = [_try(trial) for trial in trials]
    assert [bool(verdict.problem) for verdict in verdicts] == [n == number for n in range(len(keep))]
    assert verdicts[number].problem.startswith("episode 7 costs 0.01")
    counts = [len(part.costs) for part in keep if part is not keep[number]]
    assert [verdict.replayed for verdict in verdicts if not verdict.problem] == counts


def test_unknown_names_are_refused_in_one_line(say, tmp_path):
    for words, message in (
        (["play", "compresion"], "did you mean 'compression'"),
        (["play", "compression", "--policy", "zst"], "did you mean 'zstd'"),
        (["play", "compression", "--policy", "zstd", "--scenario", "moon"], "compression has no 'moon'"),
        (["play", "compression", "--policy", "zstd", "--split", "train"], "expected one of validation"),
        (["play", "compression", "--policy", "fifo"], "no policy 'fifo'"),
        (["play", "--run", tmp_path], "expected the folder of a run"),
        (["play", "--as", "x"], "names one bundle"),
        (["verify", tmp_path], "expected result files"),
        (["board", "--results", tmp_path], "expected result files"),
    ):
        code, _, said = say("suite", *words)
        assert code == 2 and len(said) == 1 and message in said[0], said


def test_what_is_in_the_suite_is_listed(say):
    code, shown, _ = say("suite", "show", "joint")
    assert code == 0 and "two-links-handover" in shown and shipped().digest in shown
    stored = json.loads((ROOT / "experiments/suite/hashes.json").read_text())
    assert stored["version"] == shipped().config.version
