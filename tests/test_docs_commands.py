"""Every command that a page shows is one: verbs, options, files and keys of configs are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from experiments.cli import app
from experiments.config import ExperimentConfig
from sim.settings import load

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "agents" / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^ *(```+|~~~+)[^\n]*\n(.*?)^ *\1", re.M | re.S)
INLINE = re.compile(r"(?<![`\w])`(dwcp-gym [^`]+)`")
SHELL = {"|", ">", "&&", ";", "#"}
KEYS_OF_FILES = {"labels version", "labels codecs", "labels base", "telemetry version"}
"""No commands: names of entries in the metadata of Parquet files, as pages of schemas have them."""
CONFIGS = {path.stem for path in (ROOT / "experiments" / "configs").rglob("*.yaml")}


def in_blocks(text: str) -> Iterator[str]:
    """Commands that stand on lines of their own, in fenced blocks or indented ones."""
    blocks = [found[2] for found in FENCE.finditer(text)]
    outside = FENCE.sub("", text)
    blocks += re.findall(r"^(?: {4}.*\n)+", outside, re.M)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(r"\s*(?:\$ )?(dwcp-gym .*)", line):
                yield found[1]


def in_text(text: str) -> Iterator[str]:
    """Commands in the middle of a sentence, which need not be whole."""
    for found in INLINE.finditer(FENCE.sub("", text)):
        command = " ".join(found[1].split())
        if command.removeprefix("dwcp-gym ") not in KEYS_OF_FILES:
            yield command


def words_of(command: str) -> list[str]:
    words = shlex.split(command, comments=True)
    ends = [place for place, word in enumerate(words) if word in SHELL]
    return words[1 : min(ends, default=len(words))]


def verb_of(words: list[str]) -> tuple[typer.Context, list[str]]:
    """The verb that the first words name, and what is left; stops at a group whose verb is not named."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        name = words[0].split("|")[0]
        assert set(words[0].split("|")) <= set(command.commands), f"no verb {words[0]!r}"
        command, words = command.commands[name], words[1:]
    return typer.Context(command), words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_are_understood(page):
    text = page.read_text("utf-8")
    for command in in_blocks(text):
        context, words = verb_of(words_of(command))
        assert not hasattr(context.command, "commands"), f"{command}: which verb?"
        context.command.make_context("dwcp-gym", list(words))
    for command in in_text(text):
        context, words = verb_of(words_of(command))
        if words:
            context.command.make_parser(context).parse_args(list(words))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_files_and_runs_that_commands_of_a_page_name_are_there(page):
    text = page.read_text("utf-8")
    for command in [*in_blocks(text), *in_text(text)]:
        for word in words_of(command):
            if word.startswith(("experiments/", "results/reference/", "docs/")):
                assert (ROOT / word).exists(), command
            if run := re.match(r"results/([\w-]+)/latest", word):
                assert run[1].startswith(tuple(CONFIGS)), f"{command}: nothing makes that run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_keys_that_commands_of_a_page_set_are_keys(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = page.read_text("utf-8")
    for command in [*in_blocks(text), *in_text(text)]:
        words = words_of(command)
        if words[:1] in (["run"], ["train"]) and len(words) > 1 and Path(words[1]).exists():
            load(Path(words[1]), ExperimentConfig, [word for word in words[2:] if "=" in word])
