"""TensorBoard in a real browser: what a researcher sees of the runs, with a screenshot of every page."""

import base64
import contextlib
import fcntl
import json
import os
import queue
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.look import page, save
from experiments.tensorboard import write_tensorboard

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_S = 90.0
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium to look at TensorBoard with; apt-get install chromium"
)

DEEP_TEXT = """
(() => {
  const parts = [];
  const walk = node => {
    if (node.nodeType === 3) parts.push(node.textContent);
    if (['SCRIPT', 'STYLE', 'TEMPLATE'].includes(node.nodeName)) return;
    if (node.shadowRoot) walk(node.shadowRoot);
    if (node.nodeName === 'IFRAME' && node.contentDocument) walk(node.contentDocument);
    node.childNodes.forEach(walk);
  };
  walk(document);
  return parts.join(' ');
})()
"""
"""All text of a page, also inside of shadow roots and frames, where TensorBoard has most of it."""


class Browser:
    """A headless Chromium, driven by Chromium's own protocol over two pipes; no port, no driver."""

    def __init__(self, folder: Path) -> None:
        (down, write), (read, up) = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (down, up)]
        os.close(down)
        os.close(up)

        def hand_over() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        command = [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--no-first-run", "--hide-scrollbars",
            "--remote-debugging-pipe", f"--user-data-dir={folder}", "--window-size=1500,1000", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4, *ends),
            preexec_fn=hand_over,
            start_new_session=True,
        )
        for end in ends:
            os.close(end)
        self._write, self._read, self._rest, self._number = write, read, b"", 0
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]

    def _ask(self, method: str, parameters: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, until - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            assert chunk, "the browser says nothing more"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._ask(method, parameters, self._session)

    def text(self) -> str:
        found = self.ask("Runtime.evaluate", expression=DEEP_TEXT, returnByValue=True)
        return str(found["result"].get("value", ""))

    def look(self, address: str, words: list[str], picture: Path) -> str:
        """Open a page, wait until all words stand on it, and keep what it looks like."""
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=address)
        until, text = time.monotonic() + PATIENCE_S, ""
        while not all(word in text for word in words):
            missing = [word for word in words if word not in text]
            assert time.monotonic() < until, f"{address} never shows {missing}: {' '.join(text.split())}"
            time.sleep(0.3)
            text = self.text()
        time.sleep(1.5)  # until lines and images are drawn
        picture.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))
        return self.text()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE_S)
        os.close(self._write)
        os.close(self._read)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    one = Browser(tmp_path / "browser")
    yield one
    one.close()


@pytest.fixture
def served(evidence, tmp_path: Path) -> Iterator[str]:
    """Address of a TensorBoard that has read all runs."""
    image = save(page(2, "Who was sent when?", "A note.")[0], tmp_path / "figures" / "headroom.png")
    shown = {(name, seed): {"wan": image.read_bytes()} for name, seed in (("zstd", -1), ("ppo", 0))}
    told = {"settings": {"ppo": {"rate": 3e-4}}, "config": "seed: 0", "figures": [image], "timelines": shown}
    runs = write_tensorboard(tmp_path / "runs", evidence, **told)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path / "runs")]
    command += ["--port", "0", "--host", "127.0.0.1", "--load_fast", "false"]
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        address = _first_match(server, r"http://[\d.:]+/")
        names = {run.relative_to(tmp_path / "runs").as_posix() for run in runs}
        _wait_until(lambda: names <= set(json.loads(_get(f"{address}data/runs"))))
        yield address
    finally:
        server.kill()
        server.wait(PATIENCE_S)


def _first_match(process: "subprocess.Popen[str]", pattern: str) -> str:
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stderr or ():
            lines.put(line)

    threading.Thread(target=read, daemon=True).start()
    until, said = time.monotonic() + PATIENCE_S, ""
    while (found := re.search(pattern, said)) is None:
        try:
            said += lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"TensorBoard does not start: {said}") from None
    return found.group()


def _get(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.read()
    except OSError:
        return b"[]"


def _wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "TensorBoard does not read its runs"
        time.sleep(0.3)


def _ink(png: bytes) -> int:
    """How many different bytes the picture is made of: an empty page has a handful."""
    place, pixels = 8, b""
    while place < len(png):
        (length,), kind = struct.unpack(">I", png[place : place + 4]), png[place + 4 : place + 8]
        pixels += png[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    return len(set(zlib.decompress(pixels)))


def test_a_researcher_sees_policies_over_each_other_gaps_settings_and_episodes(served, browser, tmp_path):
    names = ["ppo/seed0", "zstd", "one_step_oracle"]
    pages = {  # a tag is shown under its group: eval, then /cost_relative
        "timeseries": ["eval", "/cost_relative", "/gap_to_oracle", *names],
        "custom_scalars": ["learning", "policies compared", "what is left to win", *names],
        "hparams": ["rate", "policy", "gap_closed", *names],
        "images": ["timeline", "report", *names],
    }
    for name, words in pages.items():
        picture = tmp_path / f"{name}.png"
        browser.look(f"{served}#{name}", words, picture)
        assert _ink(picture.read_bytes()) > 40, f"{name} is an empty page"
