"""Result files: what a policy answered on every episode of a question, and what that cost."""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from experiments.evidence import KINDS
from experiments.splits import Split
from experiments.suite.playing import Answers, Played
from sim.errors import InputError
from sim.files import write_text

FORMAT: Final = "dwcp-bench result"
_SIGNIFICANT: Final = 10
"""Digits of a cost in a file."""
_MOST_BYTES: Final = 1 << 31
"""Of unpacked answers: a larger file is not what it says."""


class Told(NamedTuple):
    """Who has played.

    Attributes:
        suite: Hash of the suite.
        task: The question.
        policy: Name in the table.
        kind: One of `experiments.evidence.KINDS`.
        about: One line for people.
        source: Where it can be had again: ``{"catalogue": name}``, ``{"bundle": SHA-256 of its manifest}`` or
            ``{"run": digest of its config}``.
    """

    suite: str
    task: str
    policy: str
    kind: str
    about: str
    source: Mapping[str, str]


class Part(NamedTuple):
    """One training of a policy on the episodes of one scenario and split; seed -1 without training.

    Attributes:
        seed: Of the training.
        scenario: Which.
        split: Which.
        costs: Of each episode, in seconds.
        lengths: Answers in each episode.
        digest: SHA-256 of the answers.
        packed: The answers, packed; empty if they were left out.
    """

    seed: int
    scenario: str
    split: Split
    costs: tuple[float, ...]
    lengths: tuple[int, ...]
    digest: str
    packed: str = ""


class Result(NamedTuple):
    """A result file."""

    told: Told
    parts: tuple[Part, ...]


def part_of(seed: int, scenario: str, split: Split, played: Sequence[Played], *, keep: bool) -> Part:
    """What a result says of some episodes; the answers are kept or told by their hash alone."""
    answers = np.concatenate([one.answers for one in played])
    costs = tuple(float(f"{one.cost_s:.{_SIGNIFICANT}g}") for one in played)
    lengths = tuple(len(one.answers) for one in played)
    packed = pack(answers) if keep else ""
    return Part(seed, scenario, split, costs, lengths, answers_digest(answers), packed)


def answers_digest(answers: Answers) -> str:
    """Hash of answers one after the other."""
    return hashlib.sha256(_narrow(answers).tobytes()).hexdigest()


def pack(answers: Answers) -> str:
    """Answers of all episodes, (n, parts), as text: column by column, deflated, in base 64."""
    narrow = _narrow(answers)
    planes = narrow.T.copy().view(np.uint8).reshape(narrow.shape[1], len(narrow), -1)
    return base64.b64encode(zlib.compress(planes.transpose(0, 2, 1).tobytes(), 9)).decode()


def unpack(part: Part, parts: int, kind: type[np.generic]) -> list[Answers]:
    """Answers by episode.

    Args:
        part: With its answers.
        parts: Numbers in an answer.
        kind: Their type.

    Raises:
        ValueError: If they are torn or not those whose hash is told.
    """
    dtype = np.dtype("<f4") if kind is np.float32 else np.dtype("u1")
    total = sum(part.lengths)
    size = total * parts * dtype.itemsize
    if size > _MOST_BYTES:
        raise ValueError(f"more answers than a result has, {total}")
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(base64.b64decode(part.packed, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(f"torn answers: {error}") from error
    if len(content) != size:
        raise ValueError(f"answers of {len(content)} bytes, expected {size}")
    planes = np.frombuffer(content, np.uint8).reshape(parts, dtype.itemsize, total)
    narrow = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype).reshape(parts, total).T
    if hashlib.sha256(np.ascontiguousarray(narrow).tobytes()).hexdigest() != part.digest:
        raise ValueError("answers that are not those whose hash is told")
    return np.split(narrow.astype(kind), np.cumsum(part.lengths)[:-1])


def write_result(result: Result, path: Path) -> None:
    """Write a result file, whole or not at all: JSON, a line a scenario and split.

    Raises:
        InputError: If the file system refuses.
    """
    head = json.dumps({"format": FORMAT, **result.told._asdict()}, indent=2)
    lines = ",\n".join(f"    {json.dumps(part._asdict())}" for part in result.parts)
    write_text(path, f'{head[:-2]},\n  "parts": [\n{lines}\n  ]\n}}\n')


def read_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        InputError: If it is missing, torn or something else.
    """
    try:
        tree = json.loads(path.read_bytes())
        if tree.pop("format") != FORMAT:
            raise ValueError("another format")
        parts = tuple(_part(part) for part in tree.pop("parts"))
        told = Told(**tree)
        texts = (told.suite, told.task, told.policy, told.about)
        if told.kind not in KINDS or not all(isinstance(text, str) for text in texts) or not parts:
            raise ValueError(f"kind {told.kind!r}")
        return Result(told, parts)
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}; name a result file") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"expected a result of `dwcp-gym suite play`, got {type(error).__name__}: {error}"
        raise InputError(path, "", " ".join(problem.split())) from error


def _part(tree: dict[str, Any]) -> Part:
    costs = tuple(float(cost) for cost in tree.pop("costs"))
    lengths = tuple(int(length) for length in tree.pop("lengths"))
    part = Part(costs=costs, lengths=lengths, **tree)
    if len(costs) != len(lengths) or not costs or min(costs) <= 0 or min(lengths) < 1:
        raise ValueError(f"costs of {part.scenario} ({part.split}) that cannot be")
    return part


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """Results as the rows that `experiments.evidence.cells` takes, one an episode and training."""
    rows = [
        (result.told.policy, result.told.kind, part.seed, part.scenario, part.split, number, cost)
        for result in results
        for part in result.parts
        for number, cost in enumerate(part.costs)
    ]
    columns = ["policy", "kind", "training_seed", "scenario", "split", "episode", "cost_s"]
    return pd.DataFrame(rows, columns=columns)


def _narrow(answers: Answers) -> Answers:
    """In as few bytes as hold every answer: no choice here has more than 256."""
    if answers.dtype.kind == "f":
        return np.ascontiguousarray(answers, "<f4")
    if answers.size and (answers.min() < 0 or answers.max() > 255):
        raise ValueError(f"expected choices of 0 to 255, got {answers.min()} to {answers.max()}")
    return np.ascontiguousarray(answers, "u1")
