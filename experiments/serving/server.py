"""Runs the service: sockets, signals, who may reach it."""

import gc
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import uvicorn

from experiments.serving.app import make_app
from experiments.serving.channel import WORKER
from experiments.serving.limits import Limits
from experiments.serving.service import Service
from experiments.shadow.store import Store
from sim.errors import InputError

TOKEN: Final = "DWCP_GYM_TOKEN"
"""Name of the environment variable with the token."""
_LEAST_TOKEN: Final = 16
_SWITCH_S: Final = 0.001
"""How long the thread that writes may keep the interpreter from one that answers; Python's own is 5 ms."""
_CONNECTIONS: Final = 1000
_COLLECT: Final = (20_000, 20, 100)
"""Collect garbage seldom: what loading has left is frozen, and a decision makes no circles."""


def token_for(host: str, file: Path | None) -> str | None:
    """The token that requests must bear; None where none is needed.

    Raises:
        InputError: If others could reach the service, and there is no token.
    """
    token = os.environ.get(TOKEN)
    if file is not None:
        try:
            token = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(file, "", f"cannot be read: {error}; write a token into it") from error
    if token is not None and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable()):
        source = TOKEN if file is None else file
        raise InputError(str(source), "", f"expected a token of at least {_LEAST_TOKEN} printable characters")
    if token is None and not on_loopback(host):
        problem = f"expected a token where others can reach the service: set {TOKEN} or give --token-file"
        raise InputError("--host", "", f"{host}: {problem}, or stay on 127.0.0.1")
    return token


def on_loopback(host: str) -> bool:
    """Whether nothing but this machine can reach a host's address.

    >>> [on_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        InputError: If the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(2048)
    except OSError as error:
        raise InputError(
            "--host", "", f"{host} port {port}: {error.strerror or error}; name another"
        ) from error
    return made


def serve(
    store: Store,
    made: socket.socket,
    token: str | None,
    *,
    limits: Limits | None = None,
    worker: Sequence[str] = WORKER,
    move: bool = True,
    started: Callable[[str], None] = print,
) -> None:
    """Serve until SIGINT or SIGTERM; SIGHUP looks at the store at once.

    Args:
        store: Of the rollout.
        made: A socket that listens.
        token: That requests must bear.
        limits: Budgets and bounds.
        worker: Command of the candidate's process.
        move: Whether the gates may move the candidate.
        started: Is told the address when requests are answered.
    """
    sys.setswitchinterval(_SWITCH_S)
    app = make_app(Service(store, limits or Limits(), worker, move=move), token)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)
    host, port = made.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                started(address)

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    Server(config).run(sockets=[made])
