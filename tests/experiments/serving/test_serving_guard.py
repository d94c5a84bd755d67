"""What stands before the application: rate, size, time; and no trace behind it."""

import asyncio
import json

import pytest

from experiments.serving.guard import Guard
from experiments.serving.limits import Limits

JSON = ((b"content-type", b"application/json"), (b"host", b"localhost"))


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


async def broken(scope, receive, send):
    raise RuntimeError("the secret of line 7")


def asked(app, limits=None, parts=(b"{}",), times=1, headers=JSON, token=None):
    """Status, headers and body of the last answer; a body is sent in parts, None is a client that waits."""
    guard = Guard(app, limits or Limits(), token)

    async def once():
        sent, waiting = [], list(parts)

        async def receive():
            part = waiting.pop(0)
            if part is None:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": part, "more_body": bool(waiting)}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/outcomes", "client": ("10.0.0.1", 1)}
        await guard({**scope, "headers": list(headers)}, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def all_of_them():
        for _ in range(times):
            last = await once()
        return last

    return asyncio.run(asyncio.wait_for(all_of_them(), 30))


def test_a_body_in_parts_reaches_the_application_whole():
    assert asked(echo, parts=(b'{"a":', b" 1", b"}"))[::2] == (200, b'{"a": 1}')


def test_more_than_the_rate_is_refused_with_the_time_to_wait():
    limits = Limits(rate_per_s=0.001, burst=3)
    assert asked(echo, limits, times=3)[0] == 200
    status, headers, _ = asked(echo, limits, times=4)
    assert (status, headers[b"retry-after"]) == (429, b"1")


def test_a_body_that_grows_beyond_the_limit_is_cut_off():
    status, _, body = asked(echo, Limits(body_bytes=10), parts=(b"123456", b"123456", None))
    assert (status, json.loads(body)) == (413, {"detail": "expected at most 10 bytes"})


def test_a_body_that_does_not_come_is_not_waited_for():
    status, _, body = asked(echo, Limits(body_s=0.05), parts=(b"{", None))
    assert (status, json.loads(body)) == (408, {"detail": "the body took longer than 0.05 s"})


def test_an_error_inside_leaves_no_trace_outside(capsys):
    status, _, body = asked(broken)
    assert (status, json.loads(body)) == (500, {"detail": "internal error; the service's log has it"})
    assert "the secret of line 7" in capsys.readouterr().err


@pytest.mark.parametrize("authorization", [b"", b"Bearer ", b"Bearer \xff\xfe", b"bearer right"])
def test_a_wrong_token_is_refused(authorization):
    headers = (*JSON, (b"authorization", authorization))
    assert asked(echo, headers=headers, token="right")[0] == 401
    assert asked(echo, headers=(*JSON, (b"authorization", b"Bearer right")), token="right")[0] == 200
