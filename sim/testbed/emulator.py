"""The program that emulates a path, compiled once for this machine, and how it is started."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sim.errors import InputError
from sim.jit import first_writable

SOURCE: Final = Path(__file__).parent / "path_emulator.c"
DEVICE: Final = "wan"
"""Name of the network device at either end of an emulated path."""
_FLAGS: Final = ("-O2", "-Wall")
_PATIENCE_S: Final = 10.0


class Carried(NamedTuple):
    """What an emulated path did in one direction, in packets.

    Attributes:
        packets: Sent by the near end.
        dropped: Of these, found the queue full.
        lost: Of these, lost at random.
    """

    packets: int
    dropped: int
    lost: int


def compiler() -> str | None:
    """The C compiler: ``$CC``, else ``cc``; None where there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def emulator() -> Path:
    """The compiled program, kept in the user's cache under the hash of its source.

    Raises:
        InputError: If there is no C compiler, or it refuses the source, or no folder can be written.
    """
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    shared = Path(tempfile.gettempdir()) / f"dwcp-gym-{os.getuid()}"
    folder = first_writable([Path("~/.cache/dwcp-gym").expanduser(), shared], "path-emulator")
    if folder is None:
        raise InputError(
            SOURCE, "", "cannot be compiled: neither ~/.cache nor the temporary folder is writable"
        )
    program = folder / digest
    if program.exists():
        return program
    words = compiler()
    if words is None:
        raise InputError(SOURCE, "", "cannot be compiled: no C compiler; install gcc or clang, or set CC")
    built = folder / f"{digest}-{os.getpid()}"
    run = subprocess.run([words, *_FLAGS, "-o", built, SOURCE], capture_output=True, text=True, check=False)
    if run.returncode:
        raise InputError(SOURCE, "", f"cannot be compiled: {run.stderr.strip().splitlines()[0]}")
    built.replace(program)
    return program


class Emulator:
    """One running program. It ends when it is closed, or when the process that started it ends.

    Args:
        client: File of the namespace that sends what may be lost.
        server: File of the other.
        settings: Rate in bytes/s, RTT in seconds, loss, queue in bytes, jitter and grain in seconds, seed.
        steps: Times in seconds and rates in bytes/s from then on.

    Raises:
        InputError: If the kernel refuses, with what it says.
    """

    def __init__(
        self, client: Path, server: Path, settings: Sequence[float], steps: Sequence[tuple[float, float]]
    ) -> None:
        self._process = subprocess.Popen(
            [emulator(), client, server, DEVICE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for those who use the path
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        *numbers, seed = settings
        lines = [" ".join([*map(repr, map(float, numbers)), str(int(seed)), str(len(steps))])]
        lines += [f"{time_s!r} {rate!r}" for time_s, rate in steps]
        self._process.stdin.write("\n".join(lines) + "\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != "ready":
            said = self._process.communicate()[1].strip()
            raise InputError("path emulator", "", f"did not start: {said or 'no reason given'}")

    @property
    def cpu_s(self) -> float:
        """Core-seconds used until now."""
        words = Path(f"/proc/{self._process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> tuple[Carried, Carried] | None:
        """End it: what it did from client to server and back; None if it has died before."""
        if self._process.poll() is not None:
            return None
        try:
            said, _ = self._process.communicate(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None
        there, back = (Carried(*map(int, line.split())) for line in said.splitlines()[-2:])
        return there, back
