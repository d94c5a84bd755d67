"""Requests made up from the service's own OpenAPI, and bytes that follow none: no 5xx, nothing lost."""

import http.client
import json
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import positive_data_acceptance

from experiments.shadow.store import Store

PATIENCE_S = 60.0
COUNTED = settings(suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory, pair, running):
    """A service with a candidate; in the end it lives, and all that it has answered is in its store."""
    folder = tmp_path_factory.mktemp("fuzzed")
    one = running(folder / "store", "--incumbent", pair[0], "--candidate", pair[1])
    try:
        yield one
        status, answer = one.post("/v1/decisions", {"features": {"rtt_ms": 5}})
        assert status == 200
        assert one.post("/v1/outcomes", {"id": answer["id"], "costS": 1.0})[0] == 200
        store = Store(one.store, time.time)
        assert store.last_seq() == int(answer["id"].split("-")[1])
        store.close()
        assert one.errors.read_text() == ""
    finally:
        one.end()


def test_requests_from_its_openapi_are_answered_as_it_says(fuzzed):
    schema = schemathesis.openapi.from_url(f"{fuzzed.address}/openapi.json", timeout=PATIENCE_S)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {one.label for one in operations} >= {"POST /v1/decisions", "POST /v1/outcomes", "GET /metrics"}
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(COUNTED, max_examples=40 if operation.method == "post" else 3)
        def put(case):
            case.call_and_validate(timeout=PATIENCE_S, excluded_checks=[positive_data_acceptance])

        put()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["features", "decisions", "outcomes", "id", "costS", "costs", "allowed", "key", "rtt_ms"]
)
BODIES = st.binary(max_size=300) | (
    (JSON_VALUES | st.dictionaries(KEYS, JSON_VALUES | st.dictionaries(KEYS, JSON_VALUES))).map(
        lambda value: json.dumps(value).encode()
    )
)


NUMBERS = st.none() | st.floats(-1e30, 1e30) | st.integers(-(10**30), 10**30)
QUESTIONS = st.fixed_dictionaries(
    {"features": st.dictionaries(st.sampled_from(["rtt_ms", "loss", "size_mb"]), NUMBERS)},
    optional={
        "key": st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=128),
        "region": st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
        "allowed": st.lists(st.sampled_from(["zstd", "hde"]), min_size=1, max_size=4),
    },
)


@given(questions=st.lists(QUESTIONS, min_size=1, max_size=5))
@settings(COUNTED, max_examples=60)
def test_whatever_the_figures_are_there_is_an_allowed_answer(fuzzed, questions):
    status, answer = fuzzed.post("/v1/decisions", {"decisions": questions})
    assert status == 200
    for question, one in zip(questions, answer["decisions"], strict=True):
        assert one["choice"] in question.get("allowed", ["zstd", "hde"])


@given(
    path=st.sampled_from(["/v1/decisions", "/v1/outcomes"]),
    body=BODIES,
    kind=st.sampled_from(["application/json", "application/json; charset=utf-16", "text/plain", ""]),
)
@settings(COUNTED, max_examples=100)
def test_bodies_of_any_kind_are_answered_or_refused(fuzzed, path, body, kind):
    status, answer, _ = fuzzed.ask("POST", path, body, {"content-type": kind})
    assert status in (200, 400, 404, 409, 413, 415, 422)
    assert status == 200 or set(answer) <= {"detail", "id", "status"}


@given(junk=st.binary(max_size=400))
@settings(COUNTED, max_examples=60)
def test_bytes_that_are_no_request_end_their_connection_only(fuzzed, junk):
    line = http.client.HTTPConnection("127.0.0.1", fuzzed.port, timeout=PATIENCE_S)
    line.connect()
    try:
        line.sock.sendall(junk + b"\r\n\r\n")
        line.sock.shutdown(1)
        while line.sock.recv(4096):
            pass
    except OSError:
        pass
    finally:
        line.close()
    assert fuzzed.ask("GET", "/healthz")[0] == 200
