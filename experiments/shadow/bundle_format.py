"""What a bundle consists of, and what its manifest must say."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

FORMAT: Final = "dwcp-bundle/1"
MANIFEST, GRAPH = "manifest.json", "policy.onnx"
FEATURE_ROWS, MASK_ROWS = "parity_features.npy", "parity_masks.npy"
ACTION_ROWS, SCORE_ROWS = "parity_actions.npy", "parity_scores.npy"
LARGEST: Final = {
    MANIFEST: 4_000_000,
    GRAPH: 5_000_000,
    **dict.fromkeys((FEATURE_ROWS, MASK_ROWS, ACTION_ROWS, SCORE_ROWS), 64_000_000),
}
"""The files that a bundle may have, and how many bytes each may hold, unpacked."""


def _record(**fields: Any) -> dict[str, Any]:
    required = [name for name, schema in fields.items() if not schema.get("optional")]
    kept = {
        name: {key: value for key, value in schema.items() if key != "optional"}
        for name, schema in fields.items()
    }
    return {"type": "object", "required": required, "properties": kept, "additionalProperties": False}


def _list(of: Any, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": least}


_TEXT, _WORD = {"type": "string"}, {"type": "string", "minLength": 1}
_NUMBER, _FREE, _END = {"type": "number"}, {"type": "object"}, {"type": ["number", "null"]}
_COUNT = {"type": "integer", "minimum": 1}
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Manifest of a policy bundle",
    **_record(
        format={"const": FORMAT},
        name=_WORD,
        kind={"enum": ["learner", "supervised", "rule", "static", "other"]},
        task=_WORD,
        licence=_WORD,
        features=_list(
            _record(
                name=_WORD,
                unit=_TEXT,
                about=_TEXT,
                low=_END,
                high=_END,
                scale={"enum": ["linear", "log", "none"]},
                default=_NUMBER,
                seen=_record(cuts=_list(_NUMBER, 1), below=_list(_NUMBER, 1), least=_NUMBER, most=_NUMBER)
                | {"optional": True},
            ),
            1,
        ),
        actions=_list(_WORD, 1),
        action_sizes=_list(_COUNT),
        action_space=_FREE,
        masked={"type": "boolean"},
        scores={"enum": ["probabilities", "action_values", "preferences", "numbers"]},
        training=_record(policy=_TEXT, config=_FREE, data=_FREE, seeds=_FREE, versions=_FREE),
        metrics=_FREE,
        opset={"type": "object", "additionalProperties": _COUNT},
        parity=_record(rows=_COUNT, ties={"type": "integer", "minimum": 0}),
        files={
            "type": "object",
            "additionalProperties": _record(
                sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"}, bytes=_COUNT
            ),
        },
        seal={"type": "string", "pattern": "^[0-9a-f]{64}$"},
    ),
}
"""JSON schema of ``manifest.json``; ``bundle.schema.json`` holds the same for other readers."""


class BundleError(ValueError):
    """A bundle that cannot be used: one line that names the file, the place and the way out."""

    def __init__(self, source: object, place: str, problem: str) -> None:
        line = ": ".join(part for part in (str(source), place, problem) if part)
        super().__init__(" ".join(line.split())[:500])


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest itself, without its own ``seal``, in one canonical form."""
    unsealed = {key: value for key, value in manifest.items() if key != "seal"}
    return digest(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode())


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "integer": (int,),
}


def faults(value: Any, schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """What in a JSON value breaks a schema: place and problem each, as far as `SCHEMA` uses the language."""
    named = schema.get("type", [])
    kinds = [named] if isinstance(named, str) else named
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield place, f"expected {' or '.join(kinds)}, got {_shown(value)}"
        return
    if "const" in schema and value != schema["const"]:
        yield place, f"expected {schema['const']}, got {_shown(value)}"
    if "enum" in schema and value not in schema["enum"]:
        yield place, f"expected {' or '.join(schema['enum'])}, got {_shown(value)}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0) or not re.search(schema.get("pattern", ""), value):
            yield place, f"expected text that fits {schema.get('pattern', 'a name')}, got {_shown(value)}"
    elif isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield place, f"expected at least {schema['minItems']} items, got {len(value)}"
        for number, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), f"{place}[{number}]")
    elif isinstance(value, dict):
        yield from _faults_of_object(value, schema, place)
    elif "minimum" in schema and value < schema["minimum"]:
        yield place, f"expected at least {schema['minimum']}, got {value}"


def _faults_of_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], place: str
) -> Iterator[tuple[str, str]]:
    start = f"{place}." if place else ""
    for name in schema.get("required", []):
        if name not in value:
            yield f"{start}{name}", "expected it, found nothing"
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, item in value.items():
        if name in known or others is not False:
            yield from faults(item, known.get(name, others), f"{start}{name[:60]}")
        else:
            yield f"{start}{name[:60]}", f"unknown key; known: {', '.join(known)}"


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind]) and (not isinstance(value, int | float) or abs(value) < 1e300)


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]
