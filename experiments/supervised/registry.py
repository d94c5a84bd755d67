"""The registry: every trained version of every model, what it was trained on, and its figures."""

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from sim.errors import InputError
from sim.files import write_json

REGISTRY_FILE: Final = "registry.json"
_SCHEMA: Final = 1


def version_of(files: list[Path]) -> str:
    """Eight hexadecimal digits of what a model's files hold: equal parameters, equal version."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


def read_registry(path: Path) -> list[dict[str, Any]]:
    """All versions, the oldest first; none where there is no file yet.

    Raises:
        InputError: If the file is torn, foreign or of another schema.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
        if told["schema"] != _SCHEMA:
            raise InputError(path, "schema", f"expected {_SCHEMA}, got {told['schema']}; move the file away")
        versions: list[dict[str, Any]] = told["versions"]
        return versions
    except FileNotFoundError:
        return []
    except (OSError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, "", "is torn or foreign; move it away, and report the runs again") from error


def register(path: Path, entry: dict[str, Any]) -> None:
    """Write a version down, in place of what the same run said of the same model before.

    Args:
        path: The registry.
        entry: At least ``model``, ``version``, ``run`` and ``measures``.

    Raises:
        InputError: If the file is torn, or the file system refuses.
    """
    key = ("model", "run")
    others = [one for one in read_registry(path) if any(one.get(name) != entry[name] for name in key)]
    write_json(path, {"schema": _SCHEMA, "versions": [*others, entry]})


def earlier(path: Path, model: str, run: str) -> dict[str, Any] | None:
    """The newest version of a model that another run trained; None if there is none."""
    others = [one for one in read_registry(path) if one["model"] == model and one["run"] != run]
    return others[-1] if others else None
