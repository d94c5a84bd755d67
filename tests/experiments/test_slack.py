"""Plan and bound side by side: ratios that stand in order, and the words of the command line."""

import io

import pytest
from rich.console import Console

from agents.bound_slack import Slack
from experiments.slack import measure_slack, slack_table
from experiments.work import Crew
from sim.catalogue import SCENARIOS


@pytest.mark.parametrize("question", ["compression", "scheduling"])
def test_each_answer_that_the_bound_is_told_brings_it_nearer_to_the_plan(question: str) -> None:
    chosen = [SCENARIOS["deadline-mix"].with_(requests=8)]
    with Crew(1, Console(quiet=True)) as crew:
        (row,) = measure_slack(question, chosen, 2, 64, crew)
    assert 0 < row.bound_s <= row.codecs_s <= row.starts_s <= row.plan_s * (1 + 1e-9)


def test_the_share_of_the_bound_is_what_stays_when_all_is_told() -> None:
    console = Console(file=(printed := io.StringIO()), width=120)
    console.print(slack_table("compression", [SCENARIOS["wan"]], [Slack(4.0, 1.0, 2.0, 2.0)]))
    console.print(slack_table("joint", [SCENARIOS["wan"]], [Slack(4.0, 1.0, 2.0, 2.0)]))
    # plan over bound 4, over the told bound 2: half of the ratio, in powers
    first, second = printed.getvalue().split("joint")
    assert "4.00" in first and "2.00" in first and "50 %" in first
    assert "%" not in second  # its shares are not told
