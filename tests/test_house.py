"""The rules of the house, asked of every file: what no formatter, type check or layer contract sees."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from experiments.config import ExperimentConfig
from sim.settings import load

ROOT = Path(__file__).parent.parent
PACKAGES = ("sim", "envs", "agents", "experiments")
MOST_LINES = 400
NO_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
HEAVY = {
    "torch",
    "stable_baselines3",
    "xgboost",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "tensorboard",
    "matplotlib",
}
FROM_A_SEED = {
    "Generator",
    "SeedSequence",
    "BitGenerator",
    "PCG64",
    "PCG64DXSM",
    "Philox",
    "SFC64",
    "default_rng",
}
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}

MACHINE_PATH = re.compile(
    rb"(?<![\w.\-$)}\]*/])/(work|opt|home|root|tmp|Users)(?=[/\s\"'`]|$)|\b[A-Z]:\\Users", re.M
)
REGISTRY = re.compile(rb"\b(pypi\.org|pythonhosted\.org)\b|\b(index-url|find-links)[ =]+\S*://|\bfile:///")


def tree() -> list[Path]:
    """Every file that git keeps or would keep; in a copy without git, all but what starts with a dot."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(git, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        paths: Iterable[Path] = (ROOT / name for name in listing.stdout.split("\0") if name)
    else:
        paths = (path for path in ROOT.rglob("*") if not path.relative_to(ROOT).parts[0].startswith("."))
    return sorted(path for path in set(paths) if path.is_file() and "__pycache__" not in path.parts)


FILES = tree()
MODULES = {path: ast.parse(path.read_text("utf-8")) for path in FILES if path.suffix == ".py"}


def inside(packages: Iterable[str]) -> Iterator[tuple[Path, ast.AST]]:
    """Each node of each module of these packages, with its file."""
    for path, module in MODULES.items():
        if path.relative_to(ROOT).parts[0] in packages:
            yield from ((path, node) for node in ast.walk(module))


def at(path: Path, node: ast.AST | None = None, found: str = "") -> str:
    """Where a rule is broken, in the form that editors jump to."""
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else ""
    return f"{path.relative_to(ROOT)}{line} {found}".strip()


def imported(path: Path, node: ast.AST) -> list[str]:
    """The full names of the modules that a statement imports, a relative one made absolute."""
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    start = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
    module = ".".join([*start, *([node.module] if node.module else [])])
    folder = ROOT.joinpath(*module.split("."))
    files = [
        name.name
        for name in node.names
        if (folder / f"{name.name}.py").exists() or (folder / name.name).is_dir()
    ]
    return [f"{module}.{name}" for name in files] + [module] * (len(files) < len(node.names))


def test_no_file_is_a_drawer_for_odds_and_ends():
    drawers = [
        at(path) for path in FILES for part in path.relative_to(ROOT).parts if Path(part).stem in NO_NAMES
    ]
    assert drawers == []


def test_every_module_opens_with_a_caption():
    assert [at(path) for path, module in MODULES.items() if not ast.get_docstring(module)] == []


def test_no_module_is_longer_than_400_lines():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert [at(path, found=f"{n} lines") for path, n in lengths.items() if n > MOST_LINES] == []


def test_chance_comes_only_from_generators_that_were_handed_in():
    broken = []
    for path, node in inside(PACKAGES):
        if any(name.split(".")[0] == "random" for name in imported(path, node)):
            broken.append(at(path, node, "import random"))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"np.random", "numpy.random"}:
            broken += [at(path, node, f"np.random.{node.attr}")] if node.attr not in FROM_A_SEED else []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("default_rng") and not node.args:
            broken.append(at(path, node, "default_rng without a seed"))
    assert broken == []


def test_no_wall_clock_stands_below_the_experiments():
    broken = []
    for path, node in inside(("sim", "envs", "agents")):
        if isinstance(node, ast.Attribute):
            name = ".".join(ast.unparse(node).split(".")[-2:])
            broken += [at(path, node, name)] if name in WALL_CLOCKS else []
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            broken += [at(path, node, "from time import time") for name in node.names if name.name == "time"]
    assert broken == []


def test_no_module_imports_the_face_of_its_own_package():
    broken = []
    for path, node in inside(PACKAGES):
        folders = path.relative_to(ROOT).parent.parts
        faces = {".".join(folders[: n + 1]) for n in range(len(folders))}
        if path.name != "__init__.py":
            broken += [at(path, node, f"imports {name}") for name in imported(path, node) if name in faces]
    assert broken == []


def test_the_network_and_its_environments_load_no_heavy_library():
    listed = "import sys, sim, envs; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", listed], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert HEAVY & set(loaded.stdout.split()) == set()


def test_no_file_names_a_folder_of_someones_machine_or_a_package_registry():
    broken = []
    for path in FILES:
        content = path.read_bytes()
        found = MACHINE_PATH.search(content) or REGISTRY.search(content)
        if found:
            line = content.count(b"\n", 0, found.start()) + 1
            broken.append(f"{path.relative_to(ROOT)}:{line} {found.group().decode(errors='replace')}")
    assert broken == []


def test_every_config_that_we_ship_loads_and_bears_the_name_of_its_file():
    configs = {
        path: load(path, ExperimentConfig) for path in (ROOT / "experiments" / "configs").glob("*.yaml")
    }
    assert [at(path) for path, config in configs.items() if config.name != path.stem] == []


def test_pyproject_the_citation_and_the_changelog_name_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    entry = re.search(r"^## (\S+) - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert entry is not None
    assert entry.groups() == (project["version"], citation["date-released"])
    assert citation["version"] == project["version"]


def pins() -> dict[str, str]:
    """What a run and its tests install: a version for each distribution."""
    locks = "".join(path.read_text("utf-8") for path in ROOT.glob("requirements*.lock"))
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", locks, re.M))


def test_the_locks_hold_a_version_that_pyproject_allows_for_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["dev"]]
    held = {need: pins().get(canonicalize_name(need.name)) for need in asked}
    assert [str(need) for need, pin in held.items() if pin is None or pin not in need.specifier] == []


def test_every_library_that_the_packages_import_stands_in_a_lock():
    sources, locked = packages_distributions(), set(pins())
    strangers = set()
    for path, node in inside(PACKAGES):
        for library in {name.split(".")[0] for name in imported(path, node)} - {
            *PACKAGES,
            *sys.stdlib_module_names,
        }:
            if not locked & {canonicalize_name(name) for name in sources.get(library, [])}:
                strangers.add(at(path, node, library))
    assert strangers == set()
