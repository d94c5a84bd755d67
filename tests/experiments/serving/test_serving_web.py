"""The service over HTTP, as a process of its own: shapes, refusals, reload, what it leaves behind."""

import http.client
import json
import signal
import socket
import sys
import threading
import time

import pytest

from experiments.shadow.store import Store

PATIENCE_S = 60.0
JSON = {"content-type": "application/json"}
QUESTION = {"features": {"rtt_ms": 5, "loss": 1, "size_mb": 0}}
"""Scores 5 and 1: the incumbent says zstd, the candidate, whose weights are turned, hde."""


@pytest.fixture(scope="module")
def service(tmp_path_factory, pair, running):
    """One service for all that leave it as it was."""
    folder = tmp_path_factory.mktemp("serving")
    one = running(folder / "store", "--incumbent", pair[0], "--candidate", pair[1])
    try:
        one.until("/v1/models", lambda found: found["models"][1]["state"] == "ready")
        yield one
    finally:
        one.end()


@pytest.fixture
def another(tmp_path, pair, running):
    """Starts a service of one's own."""
    started = []

    def start(*words, **environment):
        store = tmp_path / "store"
        given = () if store.exists() else ("--incumbent", pair[0])
        started.append(running(store, *given, *words, **environment))
        return started[-1]

    yield start
    for one in started:
        one.end(signal.SIGKILL)


def test_a_decision_has_the_published_shape(service):
    status, answer = service.post("/v1/decisions", QUESTION)
    assert status == 200
    assert set(answer) == {
        *("choice", "confidence", "probabilities", "latencyMs"),
        *("id", "model", "answeredBy"),
    }
    assert (answer["choice"], answer["answeredBy"], answer["confidence"]) == ("zstd", "incumbent", None)
    assert 0 < answer["latencyMs"] < 1e3 * PATIENCE_S


def test_several_questions_get_their_answers_in_order(service):
    other = {"features": {"rtt_ms": 1, "loss": 5}, "key": "vm-1", "region": "eu"}
    published = {"networkState": {"rttMs": 9, "region": "eu"}, "dataChars": {"sizeBytes": 0}}
    status, answer = service.post("/v1/decisions", {"decisions": [QUESTION, other, published]})
    assert status == 200
    assert [one["choice"] for one in answer["decisions"]] == ["zstd", "hde", "zstd"]
    assert len({one["id"] for one in answer["decisions"]}) == 3


def test_an_outcome_is_stored_once(service):
    id_ = service.post("/v1/decisions", QUESTION)[1]["id"]
    outcome = {"id": id_, "costS": 2.5, "best": "hde", "costs": {"zstd": 2.5, "hde": 2.0}}
    assert service.post("/v1/outcomes", outcome) == (200, {"id": id_, "status": "stored"})
    assert service.post("/v1/outcomes", outcome) == (200, {"id": id_, "status": "repeated"})
    assert service.post("/v1/outcomes", outcome | {"costS": 9.0})[0] == 409
    assert service.post("/v1/outcomes", outcome | {"id": "0-0"})[0] == 404
    several = {"outcomes": [outcome, outcome | {"id": "0-0"}, outcome | {"best": "zstd"}]}
    status, answer = service.post("/v1/outcomes", several)
    assert status == 200
    assert [one["status"] for one in answer["outcomes"]] == ["repeated", "unknown", "conflict"]
    store = Store(service.store, time.time)
    read = store.settled()
    store.close()
    assert (read["id"][-1], read.cost_s[-1], read.best[-1]) == (id_, 2.5, "hde")


def test_models_say_who_answers_and_where_the_rollout_is(service):
    status, found, _ = service.ask("GET", "/v1/models")
    assert status == 200
    assert [(one["name"], one["role"]) for one in found["models"]] == [
        ("one", "incumbent"),
        ("two", "candidate"),
    ]
    assert found["stages"] == {"*": "shadow"}


def test_the_meters_have_the_published_names(service):
    service.post("/v1/decisions", QUESTION)
    id_ = service.post("/v1/decisions", QUESTION)[1]["id"]
    service.post("/v1/outcomes", {"id": id_, "best": "zstd", "costs": {"zstd": 1, "hde": 2}})
    service.until("/v1/summary", lambda found: found.get("accuracy", {}).get("candidate") is not None)
    status, text, _ = service.ask("GET", "/metrics")
    assert status == 200
    for name in (
        'dwcp_ml_prediction_latency_ms_bucket{le="10.0"}',
        'dwcp_ml_predictions_total{answered_by="incumbent",choice="zstd",confidence_bucket="none"}',
        'dwcp_ml_accuracy_daily{role="candidate"}',
        "dwcp_ml_throughput_gain_pct",
        'dwcp_ml_rollout_share{region="*"} 0.0',
    ):
        assert name in text


def test_it_lives_and_is_ready(service):
    assert service.ask("GET", "/healthz")[:2] == (200, {"status": "alive"})
    assert service.ask("GET", "/readyz")[:2] == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("status", "detail", "body", "headers"),
    [
        (422, "features.rtt_mss: no such feature; did you mean", {"features": {"rtt_mss": 1}}, JSON),
        (422, "features.rtt_ms: Input should be a valid number", {"features": {"rtt_ms": "80"}}, JSON),
        (422, "features.rtt_ms: Input should be", b'{"features": {"rtt_ms": NaN}}', JSON),
        (422, "nonsense: Extra inputs", {"nonsense": 1}, JSON),
        (422, "key: String should match", {"key": "two words"}, JSON),
        (422, "allowed: no such action 'gzip'; known: zstd, hde", {"allowed": ["gzip"]}, JSON),
        (422, "decisions: List should have at least 1 item", {"decisions": []}, JSON),
        (422, "Invalid JSON", b"{", JSON),
        (422, "Invalid JSON", b"[" * 100_000, JSON),
        (422, "Invalid JSON", b'{"key": "\xff\xfe"}', JSON),
        (415, "application/json", {}, {"content-type": "text/plain"}),
        (413, "at most 1000000 bytes", b" " * 1_000_001, JSON),
        (413, "at most 1000000 bytes", b"", JSON | {"content-length": "999999999999"}),
        (403, "127.0.0.1 or localhost", {}, JSON | {"host": "evil.example"}),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(service, status, detail, body, headers):
    found, answer, told = service.ask("POST", "/v1/decisions", body, headers)
    assert (found, list(answer)) == (status, ["detail"])
    assert detail in answer["detail"]
    assert "Traceback" not in answer["detail"]
    assert told["content-security-policy"].startswith("default-src 'none'")


def test_unknown_paths_and_methods_are_refused_as_usual(service):
    assert service.ask("GET", "/nowhere")[0] == 404
    assert service.ask("GET", "/v1/decisions")[0] == 405
    assert service.ask("GET", "/docs")[0] == 404


def test_the_pages_are_served_and_need_nothing_from_elsewhere(service):
    for path in ("/", "/page.js", "/page.css", "/api", "/api.js"):
        status, text, _ = service.ask("GET", path)
        assert status == 200
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", "")
    assert set(service.ask("GET", "/openapi.json")[1]["paths"]) == {
        *("/v1/decisions", "/v1/outcomes", "/v1/models", "/v1/summary", "/healthz", "/readyz", "/metrics")
    }


def test_what_was_answered_is_in_the_store_when_it_ends(another):
    running = another()
    ids = [running.post("/v1/decisions", QUESTION)[1]["id"] for _ in range(20)]
    assert running.end() == -signal.SIGTERM
    store = Store(running.store, time.time)
    assert list(store.decisions()["id"]) == ids
    store.close()
    assert running.errors.read_text() == ""


def test_a_reload_drops_no_request(another, pair):
    running = another("--candidate", pair[1])
    seen, failed, done = [], [], threading.Event()

    def ask():
        line = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
        while not done.is_set():
            line.request("POST", "/v1/decisions", json.dumps(QUESTION), JSON)
            answer = line.getresponse()
            document = json.loads(answer.read())
            (seen if answer.status == 200 else failed).append(document)
        line.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    store = Store(running.store, time.time)
    first, second = store.role("incumbent"), store.role("candidate")
    for thread in threads:
        thread.start()
    try:
        for version in (second, first, second):
            store.set_role("candidate", None)
            store.set_role("incumbent", version)
            running.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + PATIENCE_S
            while (not seen or seen[-1]["model"] != version) and time.monotonic() < end and not failed:
                time.sleep(0.01)
            assert seen[-1]["model"] == version
    finally:
        done.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert failed == []
    assert {(one["model"], one["choice"]) for one in seen} == {(first, "zstd"), (second, "hde")}
    assert running.end() == -signal.SIGTERM
    assert sorted(store.decisions()["id"]) == sorted(one["id"] for one in seen)
    store.close()


def test_a_token_is_asked_for_and_told_to_nobody(another, tmp_path):
    token = "a token of some length"
    (tmp_path / "token").write_text(f"{token}\n")
    running = another("--token-file", tmp_path / "token")
    bearer = {"authorization": f"Bearer {token}"}
    assert running.ask("POST", "/v1/decisions", QUESTION, JSON | bearer)[0] == 200
    for wrong in ({}, {"authorization": "Bearer another"}, {"authorization": f"Basic {token}"}):
        for path in ("/v1/models", "/v1/summary", "/metrics"):
            status, answer, told = running.ask("GET", path, None, wrong)
            assert (status, told["www-authenticate"]) == (401, "Bearer")
            assert token not in str(answer)
    for path in ("/", "/healthz", "/readyz", "/openapi.json"):
        assert running.ask("GET", path)[0] == 200


def test_it_refuses_to_be_reached_by_others_without_a_token(say, tmp_path, intact, monkeypatch):
    monkeypatch.delenv("DWCP_GYM_TOKEN", raising=False)
    words = ("serve", "--store", tmp_path / "store", "--incumbent", intact)
    code, _, errors = say(*words, "--host", "0.0.0.0")
    assert (code, len(errors)) == (2, 1)
    assert "expected a token where others can reach the service" in errors[0]
    monkeypatch.setenv("DWCP_GYM_TOKEN", "short")
    assert "at least 16" in say(*words, "--host", "0.0.0.0")[2][0]
    assert not (tmp_path / "store").exists()


def test_a_store_without_an_incumbent_and_a_port_that_is_taken_are_refused(say, tmp_path, intact):
    code, _, errors = say("serve", "--store", tmp_path / "store", "--port", "0")
    assert (code, len(errors)) == (2, 1)
    assert "name one: --incumbent BUNDLE" in errors[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, errors = say("serve", "--store", tmp_path / "s", "--incumbent", intact, "--port", port)
    assert code == 2
    assert f"127.0.0.1 port {port}: Address already in use; name another" in errors[0]


def test_an_install_without_the_extra_says_what_to_install(say, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "experiments.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, errors = say("serve", "--store", tmp_path / "store")
    assert (code, errors) == (2, ["dwcp-gym: dwcp-gym serve: needs uvicorn; pip install 'dwcp-gym[serve]'"])
