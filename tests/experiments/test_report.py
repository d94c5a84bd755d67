"""The report: true sentences, whole tables, links that hold."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.headline import HeadlineRow
from experiments.report import Extras, sentence, write_report
from experiments.sections import Model
from experiments.summary import build_summary


def line(percent: float, low: float, high: float) -> HeadlineRow:
    return HeadlineRow("ppo", "wan", "test", percent, low, high, "zstd")


@pytest.fixture
def report(evidence, tmp_path) -> Path:
    summary = build_summary(
        evidence.episodes, evidence.decisions, rng=np.random.default_rng(0), resamples=200
    )
    extras = Extras("Does it pay?", "seed: 0", {"numpy": "2.4"}, None, (Model("ppo", 20_000, 8e-6, 3e-5),))
    return write_report(tmp_path, evidence, summary, extras)


def test_a_gain_beyond_chance_is_stated_with_its_interval():
    assert sentence(line(87.7, 85.3, 90.2)).startswith("ppo costs 12.3 % (9.8 to 14.7) less than zstd")


def test_a_loss_beyond_chance_is_called_more():
    assert sentence(line(104.0, 102.0, 106.0)).startswith("ppo costs 4.0 % (2.0 to 6.0) more than zstd")


def test_a_gain_within_chance_says_that_the_interval_includes_zero():
    assert sentence(line(99.0, 97.0, 101.5)).endswith("the interval (-1.5 to 3.0) includes zero.")


def test_a_single_figure_without_interval_says_so():
    assert sentence(line(90.0, np.nan, np.nan)).endswith("there is no interval.")


def test_the_answer_stays_true_when_the_learner_loses_somewhere(report):
    text = report.read_text("utf-8")
    assert "ppo costs 30.0 % (" in text and "less than zstd, the best static policy, on wan." in text
    assert re.search(r"ppo costs 10\.0 % .*more than hde, the best static policy, on lan", text)


def test_the_headroom_table_labels_what_cannot_be_learnt(report):
    (row,) = [row for row in report.read_text("utf-8").splitlines() if "nothing to learn here" in row]
    assert row.startswith("| lan | 2 ") and row.endswith("| – | – | – |")


def test_every_link_is_relative_and_leads_to_a_file(report):
    links = re.findall(r"\]\(([^)]+)\)", report.read_text("utf-8"))
    assert len(links) == 6
    assert all(not Path(link).is_absolute() and (report.parent / link).is_file() for link in links)


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head(report):
    tables = re.findall(r"(?:^\|.*\n)+", report.read_text("utf-8"), re.M)
    assert len(tables) >= 7
    for table in tables:
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_a_claim_on_too_few_training_seeds_is_flagged(report):
    flag = "Training seeds of ppo: 0, 1. A claim about the algorithm needs 5"
    assert flag in report.read_text("utf-8")


def test_writing_it_again_changes_no_byte(report, evidence):
    before = {path: path.read_bytes() for path in report.parent.rglob("*.*")}
    summary = build_summary(
        evidence.episodes, evidence.decisions, rng=np.random.default_rng(0), resamples=200
    )
    extras = Extras("Does it pay?", "seed: 0", {"numpy": "2.4"}, None, (Model("ppo", 20_000, 8e-6, 3e-5),))
    write_report(report.parent, evidence, summary, extras)
    assert {path: path.read_bytes() for path in report.parent.rglob("*.*")} == before


def test_the_goodput_is_told_beside_what_happens_when_no_one_chooses(evidence, tmp_path):
    frame = pd.concat(
        [evidence.episodes, evidence.episodes[evidence.episodes["policy"] == "hde"].assign(policy="plain")]
    )
    goodput = {"plain": 100.0, "hde": 110.0, "zstd": 130.0, "ppo": 126.0}
    frame["goodput_mbps"] = frame["policy"].map(goodput).fillna(100.0)
    given = evidence._replace(episodes=frame)
    summary = build_summary(
        frame, given.decisions, rng=np.random.default_rng(0), resamples=100, against=["best_static", "plain"]
    )
    text = write_report(tmp_path, given, summary).read_text("utf-8")
    told = [line for line in text.splitlines() if line.startswith("* Goodput of")]
    hde, ppo = (
        f"{gain} % ({gain} to {gain}) above that of plain over all scenarios "
        f"({gain} % ({gain} to {gain}) on wan; {gain} % ({gain} to {gain}) on lan)"
        for gain in ("10.0", "26.0")
    )
    assert told == [  # hde is the rule of least cost
        f"* Goodput of **hde** is {hde}: it misses the 20 % aimed at.",
        f"* Goodput of **ppo** is {ppo}: it reaches the 20 % aimed at.",
    ]


def test_a_run_without_learners_decisions_or_search_has_a_report_too(evidence, tmp_path):
    frame = evidence.episodes[evidence.episodes["kind"].isin(["static", "oracle"])]
    bare = evidence._replace(episodes=frame, decisions=evidence.decisions[:0], curves=evidence.curves[:0])
    summary = build_summary(frame, bare.decisions, rng=np.random.default_rng(0), resamples=100)
    text = write_report(tmp_path, bare, summary).read_text("utf-8")
    assert "cost_by_scenario.png" in text and "headroom" not in text.split("## Limits")[0]
