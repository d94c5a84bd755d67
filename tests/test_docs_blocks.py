"""Blocks of the pages that are no sessions: Python that is run as it stands, YAML that is read."""

import re
import time
from pathlib import Path

import typer.main
import yaml

from experiments.cli import app
from experiments.config import CompositionConfig
from experiments.shadow.log_map import LogMap
from experiments.shadow.single_file import write_single_file
from experiments.shadow.store import Store

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of every block in a language, sessions apart: those are doctests."""
    return [
        (page.relative_to(ROOT / "docs").as_posix(), found[2])
        for page in PAGES
        for found in BLOCK.finditer(page.read_text("utf-8"))
        if found[1] == language and not found[2].lstrip().startswith(">>>")
    ]


def test_yaml_of_the_pages_is_understood_by_what_reads_it():
    shown = {page: yaml.safe_load(text) for page, text in blocks("yaml")}
    assert [page for page, read in shown.items() if not isinstance(read, dict)] == []
    LogMap.model_validate(shown["shadow.md"])
    for composition in shown["joint.md"]["compositions"]:
        CompositionConfig.model_validate(composition)


def test_python_that_is_no_session_is_one_of_the_two_blocks_that_are_run_here():
    assert [page for page, _ in blocks("python")] == ["serving.md", "shadow.md"]


def test_the_bundle_of_the_page_answers_as_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_single_file(tmp_path / "dwcp_loader.py")
    words = ["bundle", "rule", "estimate", "ppo.zip", "--only", "wan", "--episodes", "2", "--rows", "100"]
    typer.main.get_command(app)(words, standalone_mode=False)
    told: dict[str, object] = {}
    exec(dict(blocks("python"))["shadow.md"], told)
    policy, row = told["policy"], told["row"]
    assert policy.actions[policy.act(row)] in ("none", "zstd", "hde", "amst")
    assert policy.outside(row).shape == (len(policy.features),)


def test_the_store_of_the_page_can_be_read_from_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store("rollout", time.time, create=True).close()
    told: dict[str, object] = {}
    exec(dict(blocks("python"))["serving.md"], told)
    assert len(told["read"]["candidate_action"]) == 0
