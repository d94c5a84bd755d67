"""The page in a real browser: Chromium, without a window."""

import re
import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_S = 120.0
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; `apt install chromium` brings it")


def rendered(url, folder, *words):
    """The page's document after its scripts have run, and what the browser complained about."""
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions")
    quiet = ("--no-first-run", "--disable-background-networking", "--enable-logging=stderr", "--log-level=1")
    command = [CHROMIUM, *flags, *quiet, f"--user-data-dir={folder}", "--virtual-time-budget=6000", *words]
    done = subprocess.run(
        [*command, "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def service(tmp_path_factory, pair, running):
    """A service that has decided: the two differ on every question, and hde is always best."""
    folder = tmp_path_factory.mktemp("page")
    one = running(folder / "store", "--incumbent", pair[0], "--candidate", pair[1])
    try:
        one.until("/v1/models", lambda found: found["models"][1]["state"] == "ready")
        for number in range(20):
            question = {
                "features": {"rtt_ms": 5 + number, "loss": 1, "size_mb": 0},
                "key": f"<b>{number}</b>",
            }
            id_ = one.post("/v1/decisions", question)[1]["id"]
            one.post("/v1/outcomes", {"id": id_, "best": "hde", "costs": {"zstd": 2.0, "hde": 1.0}})
        one.until("/v1/summary", lambda found: found.get("decisions") == 20 and found.get("gain"))
        yield one
    finally:
        one.end()


def text_of(document):
    return " ".join(re.sub(r"<[^>]*>", " ", document).split())


def test_the_page_shows_the_figures_of_the_store(service, tmp_path):
    document, complaints = rendered(service.address, tmp_path)
    assert complaints == []
    text = text_of(document)
    assert "incumbent one" in text
    assert "candidate two" in text
    assert "candidate answers" in text
    assert "Decisions in the log 20" in text
    assert "Agreement 0.0 % of 20 answers" in text
    assert "Accuracy, a day 100.0 % incumbent 0.0 %" in text
    # Each answer of the incumbent costs 2, each of the candidate 1: twice the throughput.
    assert "Gain +100.0 %" in text
    assert "offline → shadow" in text
    assert 'aria-current="step">shadow<' in document
    assert document.count("<path") >= 3
    assert "rtt_ms" in text


def test_the_page_asks_for_the_token_where_one_is_needed(running, tmp_path, intact):
    token = "a token of some length"
    one = running(tmp_path / "store", "--incumbent", intact, DWCP_GYM_TOKEN=token)
    try:
        document, _ = rendered(one.address, tmp_path / "browser")
        assert "a token is needed" in text_of(document)
        assert not re.search(r'<form id="entry"[^>]*hidden', document)
    finally:
        one.end()


def test_the_api_page_lists_what_can_be_asked(service, tmp_path):
    document, complaints = rendered(f"{service.address}/api", tmp_path)
    assert complaints == []
    text = text_of(document)
    for words in ("POST /v1/decisions Decide", "POST /v1/outcomes", "GET /metrics", "answeredBy"):
        assert words in text
