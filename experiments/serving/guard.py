"""Before a request is looked at: who asks, how often, how much; after it: no error leaves with its trace."""

import asyncio
import hmac
import json
import sys
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from experiments.serving.limits import Limits

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN: Final = frozenset(
    {"/", "/page.js", "/page.css", "/api", "/api.js", "/openapi.json", "/healthz", "/readyz"}
)
"""Asked without a token: they hold no decision."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_MOST_CLIENTS: Final = 10_000
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class RefusedError(Exception):
    """A request that is not let in: status and reason."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


class Rates:
    """A bucket of tokens for each client, filled at a steady rate."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> bool:
        """Take one token, if there is one; now in seconds.

        >>> rates = Rates(per_s=1.0, burst=2.0)
        >>> [rates.take("a", 0.0), rates.take("a", 0.0), rates.take("a", 0.5), rates.take("a", 1.5)]
        [True, True, False, True]
        """
        left, before = self._clients.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - before) * self._per_s)
        enough = left >= 1.0
        self._clients[client] = (left - enough, now)
        if len(self._clients) > _MOST_CLIENTS:
            self._clients.popitem(last=False)
        return enough


class Guard:
    """Lets requests through to an application.

    Args:
        app: The application.
        limits: Of size, time and rate.
        token: That every request must bear, but for the open pages; None on loopback, where the name of the
            host is looked at instead, so that no page of the internet can ask through a browser.
    """

    def __init__(self, app: App, limits: Limits, token: str | None) -> None:
        self._app, self._limits, self._token = app, limits, token
        self._rates = Rates(limits.rate_per_s, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def answer(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            body = await self._admit(scope, receive)
            await self._app(scope, _replay(body, receive), answer)
        except RefusedError as refused:
            await _refuse(answer, refused)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            if not begun:
                await _refuse(answer, RefusedError(500, "internal error; the service's log has it"))

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope["client"][0] if scope.get("client") else ""
        if not self._rates.take(client, asyncio.get_running_loop().time()):
            raise RefusedError(429, "too many requests; try again in a second", **{"retry-after": "1"})
        self._check_who(scope["path"], headers)
        if scope["method"] in ("GET", "HEAD"):
            return b""
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise RefusedError(415, "expected content-type application/json")
        try:
            async with asyncio.timeout(self._limits.body_s):
                return await self._body(headers, receive)
        except TimeoutError as error:
            raise RefusedError(408, f"the body took longer than {self._limits.body_s:g} s") from error

    def _check_who(self, path: str, headers: Mapping[str, str]) -> None:
        if self._token is None:
            host = headers.get("host", "").lower()
            if host.rsplit(":", 1)[0] not in _LOOPBACK and host not in _LOOPBACK:
                raise RefusedError(403, "expected the host to be 127.0.0.1 or localhost")
        elif path not in OPEN:
            given = headers.get("authorization", "")
            wanted = f"Bearer {self._token}"
            if not hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode()):
                raise RefusedError(
                    401, "expected the header Authorization: Bearer TOKEN", **{"www-authenticate": "Bearer"}
                )

    async def _body(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        most = self._limits.body_bytes
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise RefusedError(413, f"expected at most {most} bytes")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the client left")
            body += message.get("body", b"")
            if len(body) > most:
                raise RefusedError(413, f"expected at most {most} bytes")
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A body that was read, once more; then what the client does next."""
    told = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, refused: RefusedError) -> None:
    content = json.dumps({"detail": refused.reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *((name.encode(), value.encode()) for name, value in refused.headers.items()),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
