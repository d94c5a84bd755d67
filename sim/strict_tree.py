"""Frozen dataclasses from plain trees, strictly: each wrong value is refused at its dotted key."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from sim.refusals import suggestion

T = TypeVar("T")

_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", NoneType: "null"}

_AS_IT_IS = (str, bool, NoneType)

_LARGEST = 1e300


class MisfitError(ValueError):
    """A value that does not fit.

    Attributes:
        key: The dotted key at which it stands; empty for the whole.
        problem: What was expected, what came, and the way out.
    """

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.problem = problem


def build(kind: type[T], tree: Any, key: str = "") -> T:
    """Dataclass from a map as YAML holds it; its own rules are checked by itself.

    ``1e5`` is a whole number too, but a truth value or a word is no number.

    Args:
        kind: A dataclass of text, truth values, numbers, literals, tuples, mappings, dataclasses and unions
            of them.
        tree: What was read.
        key: Dotted key at which the tree stands.

    Raises:
        MisfitError: If a key is unknown or missing, or a value is of the wrong type or breaks a rule.
    """
    if not isinstance(tree, Mapping):
        _refuse(key, "settings as 'key: value'", tree)
    known: dict[str, Field[Any]] = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in tree:
        if name not in known:
            guess = suggestion(str(name), list(known)) or f"; known here: {', '.join(known)}"
            raise MisfitError(_join(key, name), f"unknown key, with the value {_short(tree[name])}{guess}")
    hints = get_type_hints(kind)
    for name, field in known.items():
        if name not in tree and field.default is MISSING and field.default_factory is MISSING:
            raise MisfitError(_join(key, name), f"is missing; expected {_expected(hints[name])}")
    values = {name: _fit(hints[name], value, _join(key, name)) for name, value in tree.items()}
    try:
        return kind(**values)
    except MisfitError:
        raise
    except ValueError as error:
        raise MisfitError(key, str(error)) from error


def plain(value: Any) -> Any:
    """Maps, lists, words and numbers as YAML writes them; `build` reads an equal object back."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value


def _fit(hint: Any, value: Any, key: str) -> Any:
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        meant = [member for member in members if _is_meant(member, value)]
        return _fit(meant[0], value, key) if meant else _refuse(key, _expected(hint), value)
    if is_dataclass(hint):
        return build(hint, value, key)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in members:
            guess = suggestion(str(value), [str(member) for member in members])
            _refuse(key, _expected(hint), value, guess)
        return value
    if origin is tuple:
        return _fit_tuple(hint, value, key)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            _refuse(key, _expected(hint), value)
        return {name: _fit(members[1], one, _join(key, name)) for name, one in value.items()}
    return _fit_single(hint, value, key)


def _fit_single(hint: Any, value: Any, key: str) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and hint in (int, float):
        if not abs(value) < _LARGEST:
            _refuse(key, "a number of reasonable size", value)
        if hint is float or value == int(value):
            return hint(value)
    elif hint in _AS_IT_IS and isinstance(value, hint):
        return value
    _refuse(key, _expected(hint), value)


def _fit_tuple(hint: Any, value: Any, key: str) -> tuple[Any, ...]:
    members = get_args(hint)
    if not isinstance(value, list | tuple):
        _refuse(key, _expected(hint), value)
    each = [members[0]] * len(value) if members[-1] is Ellipsis else list(members)
    if len(each) != len(value):
        _refuse(key, _expected(hint), value)
    return tuple(
        _fit(one, item, _join(key, n)) for n, (one, item) in enumerate(zip(each, value, strict=True))
    )


def _is_meant(member: Any, value: Any) -> bool:
    """Whether a value of this form is meant for this member of a union."""
    if isinstance(value, Mapping):
        return is_dataclass(member) or _is_mapping(member)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return member in (int, float)
    return member in _AS_IT_IS and isinstance(value, member)


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _expected(hint: Any) -> str:
    """What fits, in words."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_expected(member) for member in members)
    if origin is Literal:
        return "one of " + ", ".join(str(member) for member in members)
    if origin is tuple:
        return "a list" if members[-1] is Ellipsis else f"a list of {len(members)}"
    return "settings as 'key: value'" if is_dataclass(hint) or _is_mapping(hint) else _WORDS[hint]


def _refuse(key: str, expected: str, got: Any, way_out: str = "") -> NoReturn:
    raise MisfitError(key, f"expected {expected}, got {_short(got)}{way_out}")


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
