"""Scenario files: what is written reads back equal, and what is wrong is refused in one line."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sim.catalogue import SCENARIOS
from sim.errors import InputError
from sim.links import LINKS, LTE_CHAIN, LinkModel
from sim.scenario_file import load_scenario, resolve, save_scenario
from sim.scenarios import PathSpec, Scenario
from sim.workloads import Workload

WHOLE = """\
summary: branch office
paths:
  - {name: main, link: {capacity: 2.5e6, rtt_s: 0.03}, link_type: internet}
"""


@pytest.fixture
def read(tmp_path):
    def load(text: str, name: str = "branch.yaml") -> Scenario:
        path = tmp_path / name
        path.write_text(text)
        return load_scenario(path)

    return load


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda one: one.name)
def test_every_scenario_of_the_catalogue_reads_back_equal(scenario, tmp_path):
    save_scenario(scenario, tmp_path / "other.yaml")
    assert load_scenario(tmp_path / "other.yaml") == scenario


def test_a_chain_a_mix_by_class_and_an_hour_read_back_equal(tmp_path):
    scenario = Scenario(
        name="all",
        summary="ü: every kind of value",
        paths=(PathSpec(LinkModel(1e6, chain=LTE_CHAIN, loss=1e-7)),),
        workload=Workload(mix={"db": 1 / 3, "heap": 0.1}, fixed_bytes=1e9),
        start_hour=21.5,
    )
    save_scenario(scenario, tmp_path / "all.yaml")
    assert load_scenario(tmp_path / "all.yaml") == scenario


def test_a_scenario_without_base_has_the_defaults_and_the_name_of_its_file(read):
    assert read(WHOLE) == Scenario(
        name="branch",
        summary="branch office",
        paths=(PathSpec(LinkModel(2.5e6, rtt_s=0.03), link_type="internet"),),
    )


def test_a_base_keeps_what_is_not_said_and_maps_are_merged_key_by_key(read):
    wan = SCENARIOS["wan"]
    found = read("base: wan\nrequests: 1e2\nhost: {cores: 8}\nworkload: {slack: [2, 3]}\n")
    assert found == replace(
        wan,
        name="branch",
        requests=100,
        host=replace(wan.host, cores=8),
        workload=replace(wan.workload, slack=(2.0, 3.0)),
    )


def test_an_item_of_a_list_is_changed_by_its_name_even_where_the_base_names_a_link(read):
    near, far = read("base: hybrid\npaths: {near: {link: {loss: 0.001}}}\n").paths
    assert near == replace(SCENARIOS["hybrid"].paths[0], link=replace(LINKS["metro"], loss=0.001))
    assert far == SCENARIOS["hybrid"].paths[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "base: wna\n",
            "branch.yaml: base: expected the name of a catalogue scenario, got 'wna'; did you mean 'wan'?",
        ),
        ("base: [wan]\n", "branch.yaml: base: expected the name of a catalogue scenario, got ['wan']"),
        (
            "base: wan\nrequsts: 3\n",
            "branch.yaml: requsts: unknown key, with the value 3; did you mean 'requests'?",
        ),
        ("base: wan\nhost: {core: 3}\n", "host.core: unknown key, with the value 3; did you mean 'cores'?"),
        ("base: wan\nhost: {cores: 1.5}\n", "branch.yaml: host.cores: expected a whole number, got 1.5"),
        ("base: wan\nhost: {cores: true}\n", "branch.yaml: host.cores: expected a whole number, got True"),
        ("base: wan\nany_path: 1\n", "branch.yaml: any_path: expected true or false, got 1"),
        ("base: wan\nhost: {cores: 0}\n", "branch.yaml: host: host cores must be at least 1, got 0"),
        ("base: wan\nhost: 4\n", "branch.yaml: host: expected settings as 'key: value', got 4"),
        ("base: wan\ncpu_price: cheap\n", "branch.yaml: cpu_price: expected a number, got 'cheap'"),
        (
            "base: wan\ncpu_price: .inf\n",
            "branch.yaml: cpu_price: expected a number of reasonable size, got inf",
        ),
        (
            "base: wan\ncpu_price: 1" + 400 * "0",
            "branch.yaml: cpu_price: expected a number of reasonable size",
        ),
        ("base: wan\ncpu_price: -1\n", "branch.yaml: scenario branch: prices must be at least 0"),
        ("base: wan\nstart_hour: late\n", "branch.yaml: start_hour: expected a number or null, got 'late'"),
        ("base: wan\nname: 3\n", "branch.yaml: name: expected text, got 3"),
        ("base: wan\nworkload: {arrivals: flush}\n", "got 'flush'; did you mean 'flash'?"),
        ("base: wan\nworkload: {mix: {db: much}}\n", "workload.mix.db: expected a number, got 'much'"),
        ("base: wan\nworkload: {mix: {dbs: 1}}\n", "workload mix names unknown classes dbs"),
        ("base: wan\nworkload: {mix: 3}\n", "workload.mix: expected text or settings as 'key: value', got 3"),
        ("base: wan\nworkload: {slack: [1]}\n", "workload.slack: expected a list of 2, got [1]"),
        ("base: wan\nworkload: {slack: 1}\n", "workload.slack: expected a list of 2, got 1"),
        (
            "base: wan\nworkload: {priorities: []}\n",
            "branch.yaml: workload: workload priority_shares must have",
        ),
        (
            "base: wan\npaths: {man: {share: 1}}\n",
            "paths.man: expected the name of an item that the base has: main",
        ),
        ("base: wan\npaths: {main: {link: {rtt: 1}}}\n", "paths.0.link.rtt: unknown key"),
        ("base: wan\npaths: [{link: wann}]\n", "paths.0: path link must be one of"),
        ("base: wan\npaths: []\n", "branch.yaml: scenario branch needs at least one path"),
        (
            "base: wan\npaths: [{share: 1}]\n",
            "paths.0.link: is missing; expected settings as 'key: value' or text",
        ),
        ("base: wan\nfaults: {burst_loss: 5}\n", "write 1 % as 0.01"),
        ("summary: x\n", "branch.yaml: paths: is missing; expected a list"),
        ("- wan\n", "branch.yaml: expected settings as 'key: value', got a list"),
        ("", "branch.yaml: the file is empty"),
        ("base: [wan\n", "branch.yaml: line 2, column 1: expected ',' or ']'"),
    ],
)
def test_a_wrong_scenario_is_refused_in_one_line_at_its_key(refused, text, message):
    assert message in refused(text)


def test_a_name_is_resolved_in_the_catalogue_and_a_yaml_name_on_the_disk(read, tmp_path):
    assert resolve("wan") is SCENARIOS["wan"]
    read("base: wan\nrequests: 9\n")
    assert resolve(str(tmp_path / "branch.yaml")).requests == 9
    with pytest.raises(InputError, match=r"scenario: unknown scenario 'wna'; did you mean 'wan'"):
        resolve("wna")
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read: No such file"):
        resolve(str(tmp_path / "none.yaml"))


def test_a_file_may_bear_a_name_of_the_catalogue_only_if_it_is_that_scenario(read, tmp_path):
    save_scenario(SCENARIOS["wan"], tmp_path / "same.yaml")
    assert resolve(str(tmp_path / "same.yaml")) == SCENARIOS["wan"]
    read("base: wan\nrequests: 9\n", "wan.yaml")
    with pytest.raises(InputError, match=r"wan\.yaml: name: 'wan' is another scenario of the catalogue"):
        resolve(str(Path(tmp_path) / "wan.yaml"))


def test_the_world_runs_without_the_libraries_that_only_files_need():
    listed = "import sys, sim.world, sim.catalogue; print(*{name.split('.')[0] for name in sys.modules})"
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", listed], cwd=root, capture_output=True, text=True, check=True
    )
    assert {"pydantic", "pyarrow", "pandas"} & set(said.stdout.split()) == set()
