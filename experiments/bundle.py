"""A policy as three files that any runtime can read; this reader refuses what is torn, altered or misfits."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.graph_policy import GraphPolicy
from experiments.parity import Parity, compare, read_parity
from sim.errors import InputError

SCHEMA_VERSION: Final = 2
"""Of the manifest; a reader refuses any other."""

POLICY_FILE, MANIFEST_FILE, PARITY_FILE = "policy.onnx", "manifest.json", "parity.parquet"

SCORE_TOLERANCE: Final = 1e-4
"""By how much a score may differ, relative and absolute, between two runtimes; in float32 1e-6 is common."""


class BundleReport(NamedTuple):
    """What a bundle holds, once verified.

    Attributes:
        folder: Where it lies.
        task: The question that it answers.
        features: Names in the order of the input.
        actions: Names, those of all parts side by side.
        sizes: How many actions each part has; empty for answers of numbers.
        masked: Whether it takes a mask of the allowed actions.
        opset: Of the graph.
        size_bytes: Of the graph.
        parity: How it answers its own parity rows on this machine.
        provenance: How it was trained.
        evaluation: How it did.
    """

    folder: Path
    task: str
    features: tuple[str, ...]
    actions: tuple[str, ...]
    sizes: tuple[int, ...]
    masked: bool
    opset: int
    size_bytes: int
    parity: Parity
    provenance: dict[str, Any]
    evaluation: dict[str, Any]


class Latency(NamedTuple):
    """Microseconds of one decision: median and 99th percentile of the least disturbed round."""

    p50_us: float
    p99_us: float


def load_bundle(path: Path | str, features: Sequence[str] | None = None) -> GraphPolicy:
    """The policy of a bundle, after all of it was verified.

    Args:
        path: The bundle's folder.
        features: Names that the environment gives, in its order; None takes the bundle's word for it.

    Raises:
        InputError: If a file is missing or altered, or schema, order of features or an answer is another.
    """
    return _open(Path(path), features)[0]


def verify(path: Path | str, features: Sequence[str] | None = None) -> BundleReport:
    """Check hashes, schema, order of features and every parity row, as ``load_bundle`` does, and report.

    Raises:
        InputError: As ``load_bundle``.
    """
    return _open(Path(path), features)[1]


def measure_latency(
    policy: GraphPolicy,
    rows: npt.NDArray[np.float32],
    rounds: int = 5,
    masks: npt.NDArray[np.bool_] | None = None,
) -> Latency:
    """Time single decisions on rows (n, F) with their masks (n, A), one after the other, on this machine.

    Each round goes through all rows; that with the least 99th percentile counts: others' load only adds.
    """
    of_rows = [None] * len(rows) if masks is None else list(masks)
    for row, mask in zip(rows[:200], of_rows, strict=False):
        policy.act(row, mask)
    measured = []
    for _ in range(rounds):
        taken = np.empty(len(rows))
        for i, (row, mask) in enumerate(zip(rows, of_rows, strict=True)):
            start = time.perf_counter_ns()
            policy.act(row, mask)
            taken[i] = time.perf_counter_ns() - start
        measured.append(np.percentile(taken / 1e3, (50, 99)))
    p50, p99 = min(measured, key=lambda percentiles: float(percentiles[1]))
    return Latency(float(p50), float(p99))


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def seal(manifest: dict[str, Any]) -> str:
    """SHA-256 of the manifest itself, without its own ``seal``, in one canonical form."""
    unsealed = {key: value for key, value in manifest.items() if key != "seal"}
    return digest(json.dumps(unsealed, sort_keys=True, separators=(",", ":")).encode())


def _open(folder: Path, wanted: Sequence[str] | None) -> tuple[GraphPolicy, BundleReport]:
    manifest = _manifest(folder / MANIFEST_FILE)
    contents = {name: _hashed(folder / name, manifest["sha256"]) for name in (POLICY_FILE, PARITY_FILE)}
    names = [feature["name"] for feature in manifest["features"]]
    _same_order(folder / MANIFEST_FILE, names, wanted, "the environment")
    policy = GraphPolicy(
        contents[POLICY_FILE], folder / POLICY_FILE, str(manifest["provenance"].get("policy", "bundle"))
    )
    _same_order(folder / MANIFEST_FILE, names, policy.feature_names, POLICY_FILE)
    sizes, outputs, masked = policy.face
    if list(sizes) != manifest["action_sizes"] or outputs != len(manifest["actions"]):
        problem = f"expected the {list(sizes)} of {POLICY_FILE}, got {manifest['action_sizes']}; export again"
        raise InputError(folder / MANIFEST_FILE, "action_sizes", problem)
    if masked != manifest["masked"]:
        problem = f"expected {masked} as in {POLICY_FILE}, got {manifest['masked']}; export again"
        raise InputError(folder / MANIFEST_FILE, "masked", problem)
    rows = read_parity(folder / PARITY_FILE, names, policy.face)
    actions, scores = policy.run(rows.observations, rows.masks)
    parity = compare(rows.actions, actions, scores, sizes)
    if len(parity.wrong):
        row = parity.wrong[0]
        problem = f"expected action {rows.actions[row]}, got {actions[row]} ({len(parity.wrong)} such rows)"
        raise InputError(folder / PARITY_FILE, f"row {row}", f"{problem}; export again")
    if not np.allclose(scores, rows.scores, rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE):
        raise InputError(
            folder / PARITY_FILE,
            "",
            f"scores differ from the graph's by more than {SCORE_TOLERANCE:g}; export again",
        )
    return policy, BundleReport(
        folder,
        manifest["task"],
        tuple(names),
        tuple(manifest["actions"]),
        sizes,
        masked,
        manifest["opset"],
        len(contents[POLICY_FILE]),
        parity,
        manifest["provenance"],
        manifest["evaluation"],
    )


_FIELDS: Final[dict[str, type]] = {
    "task": str,
    "action_space": dict,
    "masked": bool,
    "features": list,
    "actions": list,
    "action_sizes": list,
    "provenance": dict,
    "evaluation": dict,
    "sha256": dict,
    "opset": int,
    "seal": str,
}


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except OSError as error:
        problem = f"expected a manifest, found none ({error.strerror}); name the folder that an export wrote"
        raise InputError(path, "", problem) from error
    except ValueError as error:
        raise InputError(path, "", f"expected JSON: {error}; export again") from error
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != SCHEMA_VERSION:
        problem = f"expected {SCHEMA_VERSION}, got {version}; export again with this version"
        raise InputError(path, "schema_version", problem)
    for key, kind in _FIELDS.items():
        if not isinstance(manifest.get(key), kind):
            problem = f"expected {kind.__name__}, got {type(manifest.get(key)).__name__}; export again"
            raise InputError(path, key, problem)
    if not all(
        isinstance(feature, dict) and isinstance(feature.get("name"), str) for feature in manifest["features"]
    ):
        raise InputError(path, "features", "expected objects with a name each; export again")
    if seal(manifest) != manifest["seal"]:
        raise InputError(
            path, "seal", "the manifest was changed after the export; export again or restore it"
        )
    return manifest


def _hashed(path: Path, hashes: dict[str, Any]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = f"expected it in the bundle, found none ({error.strerror}); copy the whole folder"
        raise InputError(path, "", problem) from error
    if digest(content) != hashes.get(path.name):
        problem = f"expected sha256 {str(hashes.get(path.name))[:12]}…, got {digest(content)[:12]}…"
        raise InputError(path, "", f"{problem}; the file was altered: export again or restore it")
    return content


def _same_order(path: Path, names: list[str], wanted: Sequence[str] | None, owner: str) -> None:
    if wanted is None or list(wanted) == names:
        return
    for place, (got, want) in enumerate(zip(names, wanted, strict=False)):
        if got != want:
            raise InputError(
                path,
                f"features[{place}]",
                f"expected {want!r} as in {owner}, got {got!r}; export for these features",
            )
    raise InputError(
        path, "features", f"expected {len(wanted)} as in {owner}, got {len(names)}; export for these features"
    )
