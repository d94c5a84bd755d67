"""Sockets for the tests of the mover, or the reason why there are none."""

import socket

import pytest


@pytest.fixture(scope="session")
def sockets():
    """Skips what needs TCP on the loopback where that is not allowed."""
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            one.listen()
    except OSError as error:
        pytest.skip(f"TCP on the loopback is not allowed here: {error}")
