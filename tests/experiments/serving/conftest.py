"""A service in a process of its own, and two bundles that answer the other way round."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
PATIENCE_S = 60.0
JSON = {"content-type": "application/json"}
QUESTION = {"features": {"rtt_ms": 5, "loss": 1, "size_mb": 0}}
"""Scores 5 and 1: the incumbent says zstd, the candidate, whose weights are turned, hde."""


class Running:
    """A service in a process of its own."""

    patience_s, json, question = PATIENCE_S, JSON, QUESTION

    def __init__(self, store, *words, **environment):
        command = [sys.executable, "-m", "experiments", "serve", "--store", str(store), "--port", "0"]
        self.store, self.errors = store, store.with_suffix(".err")
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, *map(str, words)],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        timer = threading.Timer(PATIENCE_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        assert line.startswith("serving"), self.errors.read_text()
        self.address = line.split()[1]
        self.port = int(self.address.rsplit(":", 1)[1])

    def ask(self, method, path, body=None, headers=JSON):
        """Status, document (or text), headers."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            content = body if isinstance(body, bytes | None) else json.dumps(body)
            line.request(method, path, content, headers)
            answer = line.getresponse()
            text = answer.read().decode()
        finally:
            line.close()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text, answer.headers

    def post(self, path, body):
        """Status and document."""
        return self.ask("POST", path, body)[:2]

    def until(self, path, true):
        """Look at a path until what it says is so."""
        end = time.monotonic() + PATIENCE_S
        while not true(found := self.ask("GET", path)[1]):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    def end(self, how=signal.SIGTERM):
        """End it, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.stdout.close()
        return code


@pytest.fixture(scope="session")
def pair(once, linear):
    """Two bundles that answer the other way round: ``zstd`` and ``hde`` where the first feature is larger."""

    def make(folder):
        turned = np.ascontiguousarray(linear.weights[:, ::-1])
        linear.write(folder / "one", name="one")
        answers = (linear.rows @ turned).argmax(axis=1)
        linear.write(folder / "two", graph=linear.graph(turned), answers=answers, name="two")

    folder = once("pair", make)
    return folder / "one", folder / "two"


@pytest.fixture(scope="session")
def running():
    """Starts a service: ``running(folder of its store, *words of the command line)``."""
    return Running
