"""Killed with SIGKILL in the middle of its work: only the end of the log is lost, no acknowledged outcome is.

``DWCP_GYM_KILLS=100 pytest tests/experiments/serving/test_serving_kill.py`` kills a hundred times.
"""

import http.client
import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from experiments.shadow.store import Store

PATIENCE_S = 60.0
JSON = {"content-type": "application/json"}
KILLS = int(os.environ.get("DWCP_GYM_KILLS", "1"))


class Client(threading.Thread):
    """Asks, and says what came of every third answer, until the service is gone."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port = port
        self.answered: list[str] = []
        self.acknowledged: dict[str, int] = {}
        """By decision, how many decisions this client had been given when its outcome was acknowledged."""

    def run(self):
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            while True:
                id_ = self.post(line, "/v1/decisions", {"features": {"rtt_ms": 5}})["id"]
                self.answered.append(id_)
                if len(self.answered) % 3 == 0:
                    before = len(self.answered)
                    receipt = self.post(line, "/v1/outcomes", {"id": id_, "costS": float(before)})
                    assert receipt["status"] == "stored"
                    self.acknowledged[id_] = before
        except (OSError, http.client.HTTPException):
            pass
        finally:
            line.close()

    def post(self, line, path, body):
        line.request("POST", path, json.dumps(body), JSON)
        answer = line.getresponse()
        document = json.loads(answer.read())
        assert answer.status == 200, document
        return document


def number(id_):
    return int(id_.split("-")[1])


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_loses_the_end_of_the_log_and_no_acknowledged_outcome(tmp_path, running, intact, seed):
    rng = np.random.default_rng(seed)
    service = running(tmp_path / "store", "--incumbent", intact)
    try:
        clients = [Client(service.port) for _ in range(3)]
        for client in clients:
            client.start()
        end = time.monotonic() + PATIENCE_S
        while sum(len(one.acknowledged) for one in clients) < 5 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.5))
    finally:
        service.end(signal.SIGKILL)
    for client in clients:
        client.join(PATIENCE_S)
        assert not client.is_alive()
    store = Store(service.store, time.time)
    read = store.decisions()
    store.close()
    written = [number(one) for one in read["id"]]
    # What is there has no hole: the lost ones are the last.
    assert written == list(range(1, len(written) + 1))
    given = sorted(number(one) for client in clients for one in client.answered)
    print(f"answered {len(given)}, lost {sum(one > len(written) for one in given)}")
    costs = dict(zip(read["id"], read.cost_s, strict=True))
    for client in clients:
        assert client.acknowledged
        for id_, before in client.acknowledged.items():
            assert costs[id_] == before
            # All that this client was told before is there, too.
            assert max(number(one) for one in client.answered[:before]) <= len(written)
