"""The store: what was written is read again, outcomes are kept once, steps follow each other."""

import math
import sqlite3

import numpy as np
import pytest

from experiments.shadow.bundle import open_bundle
from experiments.shadow.store import FILE, StaleStageError, Store
from experiments.shadow.store_rows import EVERYWHERE, Decision, Outcome, Transition
from sim.errors import InputError


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store", lambda: 1000.0, create=True)
    yield made
    made.close()


def decision(name, time=0.0, values=(1.0, math.nan), names=("rtt_ms", "loss"), **changed):
    given = Decision(
        *(name, time, "eu", "key", "shadow", "incumbent", "zstd", 1.0, None),
        *(np.array(values, np.float32), names, None, "abc", "zstd", 0.1),
    )
    return given._replace(**changed)


def step(source, target, **changed):
    made = Transition(0, 5.0, "eu", "abc", source, target, "enough", "gate", {"p99_ms": 2.5})
    return made._replace(**changed)


def test_decisions_come_back_as_they_were_written(store):
    asked = {"candidate": "def", "candidate_action": "hde", "candidate_ms": 0.5, "allowed": ("zstd", "hde")}
    store.write([decision("a"), decision("b", 1.5, **asked), decision("c", 2.0, error="late")])
    read = store.decisions()
    assert list(read.seq) == [1, 2, 3]
    assert list(read["id"]) == ["a", "b", "c"]
    assert list(read["time"]) == [0.0, 1.5, 2.0]
    assert list(read["candidate_action"]) == [None, "hde", None]
    assert list(read["allowed"]) == [None, ("zstd", "hde"), None]
    assert list(read["error"]) == [None, None, "late"]
    assert np.isnan(read["confidence"]).all()
    assert read.names == ("rtt_ms", "loss")
    np.testing.assert_array_equal(read.features, np.array([[1, np.nan]] * 3, np.float32))


def test_features_of_different_lists_share_the_columns_of_one_name(store):
    store.write([decision("a", values=(1, 2)), decision("b", values=(3, 4), names=("loss", "size_mb"))])
    read = store.decisions()
    assert read.names == ("rtt_ms", "loss", "size_mb")
    np.testing.assert_array_equal(read.features, np.array([[1, 2, np.nan], [np.nan, 3, 4]], np.float32))


def test_decisions_are_found_by_number_region_time_and_candidate(store):
    store.write([decision(str(n), float(n), region="eu" if n % 2 else "us") for n in range(10)])
    assert list(store.decisions(after=8)["id"]) == ["8", "9"]
    assert list(store.decisions(region="us", since=4, until=8)["id"]) == ["4", "6"]
    assert list(store.decisions(limit=2)["id"]) == ["0", "1"]
    assert list(store.latest(3)["id"]) == ["7", "8", "9"]
    assert list(store.latest(2, region="eu")["id"]) == ["7", "9"]
    assert len(store.decisions(candidate="nobody")) == 0


def test_an_outcome_is_kept_once_and_stays_as_it_was_first(store):
    store.write([decision("a"), decision("b")])
    first = Outcome("b", 3.0, 2.5, "hde", {"zstd": 2.5, "hde": 2.0})
    sent = [first, first, first._replace(cost_s=9.0), first._replace(decision="nobody")]
    assert store.write([], sent) == ["stored", "repeated", "conflict", "unknown"]
    read = store.settled()
    assert (list(read["id"]), list(read.cost_s), list(read.best)) == (["b"], [2.5], ["hde"])
    assert (read.costs[0], read.known[0]) == ({"hde": 2.0, "zstd": 2.5}, 3.0)
    assert np.isnan(store.decisions().cost_s[0])
    assert len(store.settled(after=int(read.settled[-1]))) == 0


def test_an_outcome_may_come_in_the_batch_of_its_decision(store):
    assert store.write([decision("a")], [Outcome("a", 1.0, 1.0)]) == ["stored"]


def test_a_batch_is_written_whole_or_not_at_all(store):
    store.write([decision("a")])
    with pytest.raises(ValueError, match="ids must be new"):
        store.write([decision("b", names=("new", "names")), decision("a")])
    assert list(store.decisions()["id"]) == ["a"]
    store.write([decision("b", names=("new", "names"))])
    assert store.decisions().names == ("rtt_ms", "loss", "new", "names")


def test_a_step_from_a_stage_that_was_left_is_refused(store):
    assert store.record(step("offline", "shadow")).seq == 1
    store.record(step("shadow", "canary_5"))
    with pytest.raises(StaleStageError, match="canary_5"):
        store.record(step("shadow", "offline"))
    store.record(step("offline", "shadow", region=EVERYWHERE))
    assert store.stages("abc") == {"eu": "canary_5", EVERYWHERE: "shadow"}
    assert [one.evidence for one in store.transitions(region="eu")] == [{"p99_ms": 2.5}] * 2


def test_a_model_is_kept_with_its_bundle_and_may_take_a_role(store, intact):
    manifest = open_bundle(intact).manifest
    model = store.add_model(intact, manifest)
    assert store.add_model(intact, manifest) == model
    assert (model.name, model.actions, model.added) == ("linear", ("zstd", "hde"), 1000.0)
    assert open_bundle(store.bundle(model.version)).manifest == manifest
    store.set_role("candidate", model.version)
    assert (store.role("candidate"), store.role("incumbent")) == (model.version, None)
    with pytest.raises(ValueError, match="not in the store"):
        store.set_role("incumbent", "0" * 16)


def test_another_process_sees_what_was_written(store):
    other = Store(store.folder, lambda: 0.0)
    before = other.changes()
    store.set_setting("pause", True)
    assert (other.changes() != before, other.setting("pause")) == (True, True)
    assert [other.count("runs"), store.count("runs")] == [1, 2]
    other.close()


def test_what_is_old_is_forgotten_with_its_outcomes(store):
    store.write([decision("a", 1.0), decision("b", 2.0)], [Outcome("a", 9.0, 1.0), Outcome("b", 9.0, 2.0)])
    assert store.forget(before=2.0) == 1
    assert list(store.settled()["id"]) == ["b"]
    assert store.last_seq() == 2


def test_a_file_that_is_no_store_or_of_another_version_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="no store here"):
        Store(tmp_path / "nowhere", lambda: 0.0)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / FILE).write_text("not a database, but long enough to be taken for one" * 9)
    with pytest.raises(InputError, match="not a database"):
        Store(tmp_path / "text", lambda: 0.0)
    with sqlite3.connect(store.file) as base:
        base.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match=r"expected version 1 of the store, got 99"):
        Store(store.folder, lambda: 0.0)
    (tmp_path / "other").mkdir()
    with sqlite3.connect(tmp_path / "other" / FILE) as base:
        base.execute("CREATE TABLE mine (one)")
    with pytest.raises(InputError, match="no store; name another folder"):
        Store(tmp_path / "other", lambda: 0.0)
