"""Scenarios as YAML files: written whole, read strictly, started from a catalogue one if wished."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from sim.catalogue import SCENARIOS, find_scenario
from sim.errors import InputError
from sim.files import write_text
from sim.links import LINKS
from sim.refusals import suggestion
from sim.scenarios import Scenario
from sim.strict_tree import MisfitError, build, plain
from sim.yaml_file import Tree, read_yaml

SUFFIXES: Final = (".yaml", ".yml")
"""Where a scenario is named, a name that ends so is the path of a file."""


def load_scenario(path: Path) -> Scenario:
    """Read a scenario.

    The keys are the attributes of `Scenario` and of what it is made of. With ``base: <catalogue name>`` only
    the changes need be said: maps are merged key by key, lists are replaced. An item of a list is changed in
    place when its list is written as a map from the item's name, as in
    ``paths: {main: {link: {capacity: 5e6}}}``. Without ``name`` the scenario is called as its file.

    Raises:
        InputError: If the file cannot be read or is no scenario, with the dotted key, in one line.
    """
    tree = read_yaml(path)
    try:
        if "base" in tree:
            tree = _on_base(tree)
        return build(Scenario, {"name": path.stem, **tree})
    except MisfitError as misfit:
        raise InputError(path, misfit.key, misfit.problem) from misfit


def save_scenario(scenario: Scenario, path: Path) -> None:
    """Write all of a scenario, defaults included; `load_scenario` reads an equal one back.

    Raises:
        InputError: If the file system refuses.
    """
    write_text(path, yaml.safe_dump(plain(scenario), sort_keys=False, allow_unicode=True, width=100))


def resolve(name: str) -> Scenario:
    """The scenario of a catalogue name, or of a file: a name that ends in ``.yaml`` or ``.yml`` is its path.

    Raises:
        InputError: If the name is unknown, or the file is no scenario or bears the name of another one of the
            catalogue, with which its results would be mixed.
    """
    if not name.endswith(SUFFIXES):
        try:
            return find_scenario(name)
        except ValueError as error:
            raise InputError("scenario", "", str(error)) from error
    scenario = load_scenario(Path(name))
    if scenario.name in SCENARIOS and scenario != SCENARIOS[scenario.name]:
        problem = f"'{scenario.name}' is another scenario of the catalogue; give this one a name of its own"
        raise InputError(name, "name", problem)
    return scenario


def _on_base(tree: Tree) -> Tree:
    name = tree["base"]
    if not isinstance(name, str) or name not in SCENARIOS:
        guess = suggestion(str(name), list(SCENARIOS)) or f"; there are {', '.join(SCENARIOS)}"
        raise MisfitError("base", f"expected the name of a catalogue scenario, got {name!r}{guess}")
    known = plain(SCENARIOS[name])
    del known["name"]
    changes = {key: value for key, value in tree.items() if key != "base"}
    merged: Tree = _merged(known, changes, "")
    return merged


def _merged(known: Any, changes: Any, key: str) -> Any:
    """What was known with the changes laid over it; new objects only."""
    if not isinstance(changes, Mapping):
        return changes
    if isinstance(known, list):
        return _merged_items(known, changes, key)
    if key.endswith(".link") and isinstance(known, str):
        known = plain(LINKS[known])
    if not isinstance(known, Mapping):
        return dict(changes)
    inside = {name: _merged(known.get(name), change, f"{key}.{name}") for name, change in changes.items()}
    return {**known, **inside}


def _merged_items(items: list[Any], changes: Mapping[str, Any], key: str) -> list[Any]:
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    merged = list(items)
    for name, change in changes.items():
        place = f"{key.removeprefix('.')}.{name}"
        if name not in names:
            known = ", ".join(str(one) for one in names if one)
            raise MisfitError(
                place, f"expected the name of an item that the base has: {known or 'it has no names'}"
            )
        at = names.index(name)
        merged[at] = _merged(items[at], change, f".{place}")
    return merged
