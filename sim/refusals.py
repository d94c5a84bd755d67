"""What is wrong with a config, said in one line a fault: key, value, expectation, way out."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "greater_than": "a value above {gt:g}",
    "greater_than_equal": "a value of at least {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of reasonable size",
    "int_type": "a whole number",
    "less_than": "a value below {lt:g}",
    "less_than_equal": "a value of at most {le:g}",
    "literal_error": "{expected}",
    "model_attributes_type": "settings as 'key: value'",
    "model_type": "settings as 'key: value'",
    "string_pattern_mismatch": "text of the form {pattern}",
    "string_too_short": "text of at least {min_length} characters",
    "string_type": "text (in quotes, if it looks like a number)",
    "too_long": "a list with {max_length} or fewer items",
    "too_short": "a list with {min_length} or more items",
    "tuple_type": "a list",
}


class Fault(NamedTuple):
    """One thing that is wrong: the dotted key it stands at, and what to say about it."""

    key: str
    problem: str


def fault(error: ErrorDetails, model: type[BaseModel]) -> Fault:
    """One pydantic error about ``model`` in the words of this project."""
    path, owner = _place(error["loc"], model)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        value = _short(error["input"])
        return Fault(".".join(path), f"unknown key, with the value {value}{_guess(path, owner, model)}")
    if kind == "missing":
        meaning = owner.model_fields[path[-1]].description or ""
        return Fault(".".join(path), f"is missing; expected: {meaning[:1].lower()}{meaning[1:]}".rstrip("."))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = str(context["discriminator"]).strip("'")
        tags = [tag for member in _models(_annotation(path, model)) for tag in _tags(member, key)]
        came = error["input"].get(key) if isinstance(error["input"], Mapping) else None
        expected = f"expected one of {', '.join(tags)}, got {'nothing' if came is None else _short(came)}"
        return Fault(".".join([*path, key]), expected + suggestion(str(came), tags))
    if kind == "truth_value":
        key = context["key"]
        return Fault(
            ".".join([*path, key]), f"expected no truth value here, got {str(error['input'][key]).lower()}"
        )
    if kind in ("value_error", "assertion_error"):
        return Fault(".".join(path), str(context.get("error", error["msg"])))
    expected = (
        EXPECTED[kind].format(**context)
        if kind in EXPECTED
        else error["msg"].removeprefix("Input should be ")
    )
    options = expected.replace("'", "").replace(" or ", ", ").split(", ") if kind == "literal_error" else []
    guess = suggestion(str(error["input"]), options)
    return Fault(".".join(path), f"expected {expected}, got {_short(error['input'])}{guess}")


def suggestion(word: str, known: Sequence[str]) -> str:
    """The way out for a mistyped word: ``; did you mean …?``, or nothing when no known word is near.

    >>> suggestion("zstdd", ["none", "zstd", "hde"])
    "; did you mean 'zstd'?"
    >>> suggestion("bogus", ["none", "zstd", "hde"])
    ''
    """
    near = get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _place(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], type[BaseModel]]:
    """Path without the tags that pydantic adds for unions, and the model that owns its last step."""
    path: list[str] = []
    owner = model
    here: Any = model
    for step in location:
        members = _models(here)
        if isinstance(step, int):
            here = _inner(here)
        elif len(members) > 1:
            here = next((m for m in members if any(step in _tags(m, key) for key in m.model_fields)), here)
            continue
        elif members:
            owner = members[0]
            here = owner.model_fields[step].annotation if step in owner.model_fields else NoneType
        path.append(str(step))
    return path, owner


def _annotation(path: Sequence[str], model: type[BaseModel]) -> Any:
    here: Any = model
    for step in path:
        members = [m for m in _models(here) if step in m.model_fields]
        here = members[0].model_fields[step].annotation if members else _inner(here)
    return here


def _guess(path: Sequence[str], owner: type[BaseModel], model: type[BaseModel]) -> str:
    """Way out for an unknown key: a like key beside it, the same one elsewhere, or all that could stand."""
    beside = get_close_matches(path[-1], list(owner.model_fields), n=1)
    elsewhere = [key for key in dotted_keys(model) if key.split(".")[-1] == path[-1]]
    for key in [".".join([*path[:-1], *beside])] * bool(beside) + elsewhere:
        return f"; did you mean '{key}'?"
    return f"; known here: {', '.join(owner.model_fields)}"


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a config, dotted, without the ones inside lists."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [found for part in get_args(annotation) for found in _models(part)]
    return []


def _inner(annotation: Any) -> Any:
    return next(iter(get_args(annotation)), NoneType)


def _tags(model: type[BaseModel], key: str) -> tuple[str, ...]:
    field = model.model_fields.get(key)
    return get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
