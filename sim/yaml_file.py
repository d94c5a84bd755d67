"""YAML as configs use it: plain maps, lists and words, read strictly, with dotted ``key=value`` overrides."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from sim.errors import InputError

MOST_BYTES = 1 << 20
"""A config larger than 1 MiB is refused: it is some other file."""

COMMAND_LINE = "command line"

Tree = dict[str, Any]


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML 1.2 without aliases, tags and doubled keys: ``3e-4`` is a number, ``no`` is a word."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"alias '*{event.anchor}' is not used in configs; write its value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.MarkedYAMLError(problem="a key must be a word", problem_mark=key.start_mark)
            if key.value in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key.value}' stands here and in line {lines[key.value]}; keep one of them",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


_StrictLoader.yaml_implicit_resolvers = {
    letter: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith((":bool", ":timestamp", ":merge", ":value"))
    ]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Tree:
    """The map that a YAML file holds.

    Raises:
        InputError: If the file is missing, empty, too large, not UTF-8, not YAML (with line and column), not
            a map at the top, or uses an alias, a tag or the same key twice.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise InputError(path, "", f"cannot be read: {error.strerror}; name an existing YAML file") from error
    except UnicodeDecodeError as error:
        raise InputError(path, f"byte {error.start}", "expected UTF-8 text; is this a YAML file?") from error
    if len(raw) > MOST_BYTES:
        raise InputError(path, "", f"expected a config of at most {MOST_BYTES} bytes; is this another file?")
    tree = _parse(text, path)
    if tree is None:
        raise InputError(path, "", "the file is empty; expected settings as 'key: value'")
    if not isinstance(tree, dict):
        raise InputError(path, "", f"expected settings as 'key: value', got a {_kind(tree)}")
    return tree


def apply_override(tree: Tree, override: str) -> None:
    """Set one value of ``tree`` in place, as ``key=value``; the value is read as YAML.

    An item of a list is named by its number, from 0, or by its ``name``; one without a name by its ``kind``.

    Raises:
        InputError: If there is no ``=``, no key, no such item, or the value is not YAML.

    >>> tree = {"seed": 1, "learners": [{"name": "ppo", "rate": 0.1}]}
    >>> apply_override(tree, "learners.ppo.rate=3e-4")
    >>> apply_override(tree, "seed=7")
    >>> tree
    {'seed': 7, 'learners': [{'name': 'ppo', 'rate': 0.0003}]}
    """
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise InputError(
            COMMAND_LINE, f"'{override}'", "expected an override as key=value, such as learners.0.steps=1000"
        )
    here: Any = tree
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        at = ".".join(steps[:number])
        if isinstance(here, list):
            place: Any = _item(here, step, at)
        elif isinstance(here, dict):
            place = step
            if not last and here.get(step) is None:
                here[step] = {}
        else:
            raise InputError(
                COMMAND_LINE, key, f"'{at}' is the single value {here!r}; it has no '{step}' inside"
            )
        if last:
            here[place] = _parse(text, COMMAND_LINE, key)
        else:
            here = here[place]


def _item(items: list[Any], step: str, at: str) -> int:
    names = [item.get("name", item.get("kind")) if isinstance(item, dict) else None for item in items]
    if step in names:
        return names.index(step)
    if step.isascii() and step.isdecimal() and int(step) < len(items):
        return int(step)
    known = ", ".join([f"0 to {len(items) - 1}"] * bool(items) + [str(name) for name in names if name])
    raise InputError(
        COMMAND_LINE, f"{at}.{step}", f"expected an item of the list '{at}': {known or 'it is empty'}"
    )


def _parse(text: str, source: Path | str, place: str = "") -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = place or (f"line {mark.line + 1}, column {mark.column + 1}" if mark else "")
        problem = " ".join(filter(None, [error.problem, f"({error.context})" if error.context else ""]))
        raise InputError(source, where, problem) from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(source, place, "not YAML: " + " ".join(str(error).split())) from error
    except RecursionError as error:
        raise InputError(source, place, "nested too deeply for a config") from error


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else f"single value {value!r}"
