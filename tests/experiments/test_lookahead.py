"""What a look ahead closes of the gap to the planner: by hand, by command, and refused in a line."""

import re

import pandas as pd
import pytest

from experiments.lookahead import AHEAD, COLUMNS, FOUND, KNOWING, POLICY, Question, gap_table, gaps
from sim.catalogue import find_scenario
from sim.links import LTE_CHAIN, LinkModel
from sim.scenario_file import save_scenario
from sim.scenarios import PathSpec


def test_shares_of_the_gap_are_those_of_the_sums_over_episodes():
    costs = {
        "zstd": (10.0, 30.0),
        "hde": (20.0, 10.0),
        POLICY: (12.0, 12.0),
        AHEAD: (9.0, 9.0),
        KNOWING: (7.0, 8.0),
        FOUND: (5.0, 5.0),
    }
    rows = [("site", number, name, cost) for name, two in costs.items() for number, cost in enumerate(two)]
    (gap,) = gaps(pd.DataFrame(rows, columns=list(COLUMNS)))
    assert (gap.policy, gap.ahead, gap.knowing, gap.found) == pytest.approx(
        (0.8, 0.6, 0.5, 1 / 3)
    )  # of 30 s with hde
    assert gap.policy_closed.value == pytest.approx(6 / 20)
    assert gap.ahead_closed.value == pytest.approx(12 / 20)
    assert gap.knowing_closed.value == pytest.approx(15 / 20)
    assert gap_table(Question("x", None, 3), [gap]).row_count == 1


def test_the_command_measures_a_rule_on_a_site_of_ones_own_and_keeps_every_cost(say, tmp_path):
    (tmp_path / "office.yaml").write_text("base: internet\nrequests: 8\n")
    words = ["--only", tmp_path / "office.yaml", "--episodes", 2, "--futures", 2, "--workers", 1]
    code, printed, complaints = say("lookahead", "estimate", *words, "--out", tmp_path / "costs.csv")
    assert (code, complaints) == (0, [])
    assert re.search(r"^ ?office( +\d+){4} ", printed, re.M)
    costs = pd.read_csv(tmp_path / "costs.csv")
    assert tuple(costs.columns) == COLUMNS
    assert set(costs["policy"]) == {"none", "zstd", "hde", "amst", POLICY, AHEAD, KNOWING, FOUND}
    least = costs.groupby(["episode", "policy"])["cost_s"].sum().unstack()
    assert (least[FOUND] <= least.min(axis=1) + 1e-9).all()


@pytest.mark.parametrize(
    ("policy", "site", "told"),
    [
        ("wspt", "night-shift", "name another policy of dwcp/Compression-v0"),
        ("one_step_oracle", "internet", "one_step_oracle looks into the running world"),
        ("estimate", "chained", "has links by chain"),
    ],
)
def test_what_cannot_look_ahead_is_refused_in_a_line(say, tmp_path, policy, site, told):
    spec = PathSpec(LinkModel(1e6, chain=LTE_CHAIN, loss=1e-7))
    save_scenario(find_scenario("internet").with_(name="chained", paths=(spec,)), tmp_path / "chained.yaml")
    where = tmp_path / "chained.yaml" if site == "chained" else site
    code, _, complaints = say("lookahead", policy, "--only", where, "--workers", 1)
    assert (code, len(complaints)) == (2, 1)
    assert told in complaints[0]
