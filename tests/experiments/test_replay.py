"""A log is put to a candidate and its incumbent: figures worked by hand, logs of one's own, refusals."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from experiments.shadow.bundle import open_bundle
from experiments.shadow.decision_log import ELSE, read_log
from experiments.shadow.log_map import LogMap, read_map
from experiments.shadow.replay import as_json, replay
from experiments.shadow.writer import ParityRows, Told, write_bundle
from sim.errors import InputError

NAMES, ACTIONS = ("rtt_ms", "size_mb"), ["zstd", "hde"]


def made(path, linear, weights, name):
    """A bundle that takes zstd where ``weights * features`` is at most 0."""
    graph = linear.graph(np.column_stack([[0, 0], weights]).astype(np.float32))
    features = [{"name": one, "unit": "", "low": -10, "high": 10} for one in NAMES]
    told = Told(name, "other", "compression", features, ACTIONS, {"kind": "Discrete", "sizes": [2]})
    rows = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    checked = ParityRows(rows, (rows @ np.array(weights, np.float32) > 0).astype(int))
    return write_bundle(path, graph, told, checked, rows)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, linear):
    folder = tmp_path_factory.mktemp("bundles")
    made(folder / "rtt.zip", linear, [1, 0], "rtt")
    made(folder / "size.zip", linear, [0, 1], "size")
    return folder


@pytest.fixture
def candidate(bundles):
    return open_bundle(bundles / "rtt.zip")


def written(path, **columns):
    """A file of four decisions; ``rtt`` would do 1 0 1 0, ``size`` 1 1 0 0."""
    given = {
        "rtt_ms": [1.0, -1.0, 2.0, -2.0],
        "size_mb": [1.0, 1.0, -1.0, -1.0],
        "action": ["hde", "hde", "zstd", "zstd"],
    }
    table = pa.table({key: value for key, value in (given | columns).items() if value is not None})
    (pc.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)
    return path


def test_agreement_accuracy_and_confusion_are_counted(tmp_path, bundles, candidate):
    path = written(tmp_path / "log.parquet", oracle=["hde", "zstd", "zstd", "zstd"])
    found = replay(read_log(path, candidate, LogMap()), candidate, open_bundle(bundles / "size.zip"))
    assert (found.candidate.agreement, found.incumbent.agreement, found.agreement) == (0.5, 1.0, 0.5)
    assert (found.candidate.accuracy, found.incumbent.accuracy, found.log_accuracy) == (0.75, 0.75, 0.75)
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert found.candidate.actions.tolist() == [1, 0, 1, 0]
    assert "the log tells no costs: no gain can be estimated" in found.warnings


def test_where_the_log_knows_every_cost_the_true_saving_is_told(tmp_path, bundles, candidate):
    costs = {"continued_s_zstd": [4.0, 1.0, 3.0, 2.0], "continued_s_hde": [2.0, 2.0, 9.0, 8.0]}
    path = written(tmp_path / "log.parquet", **costs)
    log = read_log(path, candidate, LogMap(), "continued")
    assert log.costs.tolist() == [2.0, 2.0, 3.0, 2.0]
    found = replay(log, candidate)
    assert found.candidate.accuracy == 0.75 and found.log_accuracy == 0.75
    assert found.candidate.worth.actual.value == pytest.approx((2 + 1 + 9 + 2) / 4)
    assert found.gains["actual"].value == pytest.approx(1 - 14 / 9)
    ratio = (2 * 1 * 9 * 2 / (2 * 2 * 3 * 2)) ** 0.25
    assert found.typical_gains["actual"].value == pytest.approx(1 - ratio)
    against = replay(log, candidate, open_bundle(bundles / "size.zip"))
    assert against.gains["actual"].value == pytest.approx(1 - 14 / 9)


def exploring(path, count=6000, **columns):
    """Decisions by a coin, whose costs are 1 where ``rtt`` would do the same, else 2."""
    rng = np.random.default_rng(5)
    values = rng.normal(size=(count, 2))
    actions = rng.integers(2, size=count)
    costs = np.where(actions == (values[:, 0] > 0), 1.0, 2.0)
    given = {"action": np.array(ACTIONS)[actions], "propensity": np.full(count, 0.5), "cost_s": costs}
    return written(path, rtt_ms=values[:, 0], size_mb=values[:, 1], **(given | columns))


def test_an_exploring_log_tells_what_is_saved_against_log_and_incumbent(tmp_path, bundles, candidate):
    log = read_log(exploring(tmp_path / "log.parquet"), candidate, LogMap())
    found = replay(log, candidate)
    assert found.candidate.worth.snips.value == pytest.approx(1.0)
    for kind, saving in ((found.gains, 1 / 3), (found.typical_gains, 1 - 0.5**0.5)):  # from 1.5 and sqrt(2)
        for one in kind.values():
            assert one.low - 0.02 < saving < one.high + 0.02
    assert found.gains["dr"].high - found.gains["dr"].low < 0.03
    assert found.warnings == ()
    against = replay(log, candidate, open_bundle(bundles / "size.zip"))
    assert against.gains["snips"].low < 1 / 3 < against.gains["snips"].high
    document = json.loads(
        json.dumps(as_json(against, candidate, open_bundle(bundles / "size.zip")), default=str)
    )
    assert document["gains"]["dr"]["value"] == against.gains["dr"].value
    assert document["candidate"]["seal"] == candidate.manifest["seal"]


def test_a_log_that_never_explores_gives_no_estimate_and_says_so(tmp_path, candidate):
    path = exploring(tmp_path / "log.parquet", propensity=np.ones(6000))
    found = replay(read_log(path, candidate, LogMap()), candidate)
    assert found.gains == {} and "never explores" in " ".join(found.warnings)


def test_wrong_propensities_are_noticed_by_their_weights(tmp_path, candidate):
    path = exploring(tmp_path / "log.parquet", propensity=np.full(6000, 0.9))
    found = replay(read_log(path, candidate, LogMap()), candidate)
    assert "weights average 0.5" in " ".join(found.warnings)


def test_a_log_of_ones_own_is_read_by_its_map(tmp_path, candidate):
    path = written(
        tmp_path / "mine.csv",
        rtt_ms=None,
        ping_us=[1000.0, -1000.0, 2000.0, -2000.0],
        action=None,
        codec=["delta", "delta", "plain", "gzip"],
        gain=[-1.0, -2.0, -3.0, -4.0],
        day=["mo", "mo", "tu", "tu"],
    )
    (tmp_path / "map.yaml").write_text(
        "action: codec\nactions: {delta: hde, plain: zstd}\npropensity: {value: 0.5}\n"
        "cost: {column: gain, times: -1}\ngroups: [day]\n"
        "features:\n  rtt_ms: {column: ping_us, times: 0.001}\n"
    )
    log = read_log(path, candidate, read_map(tmp_path / "map.yaml"))
    assert log.features[:, 0].tolist() == [1, -1, 2, -2]
    assert log.actions.tolist() == [1, 1, 0, ELSE]
    assert log.costs.tolist() == [1, 2, 3, 4] and log.propensity.tolist() == [0.5] * 4
    assert log.groups.tolist() == [0, 0, 1, 1]
    found = replay(log, candidate)
    assert "1 of 4 decisions are of actions that the bundle does not know" in found.warnings


def test_features_that_are_missing_take_their_defaults_and_are_told(tmp_path, candidate):
    path = written(tmp_path / "log.csv", size_mb=None)
    log = read_log(path, candidate, LogMap())
    assert log.missing == ("size_mb",) and np.isnan(log.features[:, 1]).all()
    found = replay(log, candidate)
    assert found.candidate.actions.tolist() == [1, 0, 1, 0]
    assert "1 features are not in the log and take their defaults: size_mb" in found.warnings


def test_masks_of_the_log_are_heeded(tmp_path, candidate):
    path = written(tmp_path / "log.parquet", allowed_zstd=[True] * 4, allowed_hde=[True, True, False, True])
    log = read_log(path, candidate, LogMap())
    assert replay(log, candidate).candidate.actions.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(
    ("columns", "mapped", "message"),
    [
        ({"action": None}, {}, "expected a column action or answer"),
        ({"action": ["a", "b", "c", "d"]}, {}, "action: expected actions zstd, hde, got a, b"),
        ({"rtt_ms": None, "size_mb": None}, {}, "expected columns of the bundle's features"),
        ({"rtt_ms": ["a", "b", "c", "d"]}, {}, "rtt_ms: expected numbers"),
        ({"rtt_ms": [1.0, float("inf"), 1.0, 1.0]}, {}, "row 1: rtt_ms: expected a finite number"),
        ({"propensity": [0.5, 0.0, 1.0, 1.0]}, {}, "row 1: propensity: expected a chance above 0"),
        ({"propensity": [0.5, 0.5, 1.5, 1.0]}, {}, "row 2: propensity"),
        ({"allowed_zstd": [False] * 4, "allowed_hde": [False] * 4}, {}, "row 0: allowed: expected at least"),
        ({"allowed_zstd": ["x"] * 4}, {}, "allowed_zstd: expected true and false"),
        ({}, {"features": {"rt_ms": "rtt_ms"}}, r"features\.rt_ms: unknown feature; did you mean 'rtt_ms'"),
        ({}, {"oracle": "best"}, "best: no such column"),
    ],
)
def test_a_log_that_cannot_be_used_is_refused_in_one_line(tmp_path, candidate, columns, mapped, message):
    path = written(tmp_path / "log.parquet", **columns)
    with pytest.raises(InputError, match=message) as refused:
        read_log(path, candidate, LogMap.model_validate(mapped))
    assert "\n" not in str(refused.value) and str(refused.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"PAR1 torn", b"rtt_ms,action\n", b'a,b\n"1,2\n3'])
@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.xlsx", "nowhere.csv"])
def test_a_torn_log_is_refused_in_one_line(tmp_path, candidate, name, content):
    if name != "nowhere.csv":
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_log(tmp_path / name, candidate, LogMap())
    assert "\n" not in str(refused.value)


def test_a_policy_of_other_features_is_refused(tmp_path, candidate, bundles):
    log = read_log(written(tmp_path / "log.csv"), candidate, LogMap())
    other = open_bundle(bundles / "size.zip")
    other.actions = ("zstd", "amst")
    with pytest.raises(InputError, match="expected the features and actions of rtt, got others"):
        replay(log, candidate, other)
