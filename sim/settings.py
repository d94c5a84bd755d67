"""Strict settings: a frozen model read from YAML and ``key=value`` overrides, its digest, its schema."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sim.errors import InputError
from sim.files import write_text
from sim.refusals import Fault, fault
from sim.yaml_file import COMMAND_LINE, Tree, apply_override, read_yaml


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no NaN, and no ``true`` where a number is meant.

    Attributes:
        WITHOUT_EFFECT: Names of fields that cannot change a result; the digest leaves them out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    WITHOUT_EFFECT: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _no_truth_value_as_number(cls, given: Any) -> Any:
        for name, field in cls.model_fields.items():
            if isinstance(given, dict) and isinstance(given.get(name), bool) and field.annotation is not bool:
                raise PydanticCustomError("truth_value", "expected no truth value here", {"key": name})
        return given


AnySettings = TypeVar("AnySettings", bound=Settings)


def load(path: Path, model: type[AnySettings], overrides: Sequence[str] = ()) -> AnySettings:
    """Read settings from a YAML file, then set what the overrides say.

    Args:
        path: The YAML file.
        model: What the file must hold.
        overrides: ``key=value`` each, with dotted keys and values as in YAML; the last one wins. An item of a
            list is named by its number, from 0, or by its ``name``.

    Raises:
        InputError: If the file cannot be read or anything in it or in the overrides is wrong; one line a
            fault, with the file or "command line", the key, the value, what was expected and, for a misspelt
            key, the nearest known one.
    """
    tree = read_yaml(path)
    for override in overrides:
        apply_override(tree, override)
    faults = _faults(tree, model)
    if not faults:
        return model.model_validate(tree)
    own = _faults(read_yaml(path), model)
    lines = [str(InputError(path if one in own else COMMAND_LINE, one.key, one.problem)) for one in faults]
    raise InputError("\n".join(lines), "", "")


def _faults(tree: Tree, model: type[Settings]) -> list[Fault]:
    try:
        model.model_validate(tree)
    except ValidationError as error:
        return [fault(one, model) for one in error.errors()]
    return []


def as_yaml(settings: Settings) -> str:
    """All settings, defaults included, as YAML that ``load`` reads back to an equal object."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def dump(settings: Settings, path: Path) -> None:
    """Write ``as_yaml`` to a file that appears whole or not at all.

    Raises:
        InputError: If the file system refuses.
    """
    write_text(path, as_yaml(settings))


def digest(settings: Settings) -> str:
    """Eight hexadecimal digits that are equal when all settings with an effect on results are equal."""
    effective = settings.model_dump(mode="json", exclude=set(settings.WITHOUT_EFFECT))
    canonical = json.dumps(effective, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def schema(model: type[Settings]) -> str:
    """JSON schema of the settings: editors complete and check YAML with it."""
    return json.dumps(model.model_json_schema(), indent=2) + "\n"


class KeyHelp(NamedTuple):
    """One line of help: a dotted key, the value it has when left out, and what it means."""

    key: str
    default: str
    meaning: str


def key_help(model: type[BaseModel], prefix: str = "") -> Iterator[KeyHelp]:
    """Help on every key of a config in the order of the file; a key without a default says ``required``."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from key_help(field.annotation, f"{prefix}{name}.")
            continue
        default = field.get_default(call_default_factory=False)
        shown = "required" if field.is_required() else json.dumps(default)
        yield KeyHelp(prefix + name, shown, field.description or "")
