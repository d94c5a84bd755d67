"""Fills the pages that are printed from code: every verb of the command line, every key of a config."""

from collections.abc import Iterator
from typing import Any

import typer.main
from mkdocs.structure.pages import Page


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Put the tables where the page asks for them."""
    if "<!-- every verb -->" in markdown:
        from experiments.cli import app

        verbs = "\n\n".join(_verbs(typer.main.get_command(app), "dwcp-gym"))
        markdown = markdown.replace("<!-- every verb -->", verbs)
    if "<!-- every key -->" in markdown:
        from experiments.config import ExperimentConfig
        from sim.settings import key_help

        rows = [
            f"| `{one.key}` | {_cell(one.default)} | {_plain(one.meaning)} |"
            for one in key_help(ExperimentConfig)
        ]
        keys = "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])
        markdown = markdown.replace("<!-- every key -->", keys)
    return markdown


def _verbs(command: Any, name: str) -> Iterator[str]:
    if hasattr(command, "commands"):
        for word, under in sorted(command.commands.items()):
            yield from _verbs(under, f"{name} {word}")
        return
    words = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    usage = " ".join([name, *(one.name.upper() for one in words)])
    yield f"## `{name}`\n\n{command.help or ''}"
    yield f"```text\n{usage}{' [OPTIONS]' if options else ''}\n```"
    if words or options:
        yield "\n".join(
            ["| | default | |", "|---|---|---|"]
            + [f"| `{one.name.upper()}` | | {_plain(one.help or '')} |" for one in words]
            + [f"| {_names(one)} | {_default(one)} | {_plain(one.help or '')} |" for one in options]
        )


def _names(option: Any) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    if option.required:
        return "required"
    shown = None if callable(option.default) else option.default
    return "" if shown is None or shown is False else _cell(str(shown))


def _cell(text: str) -> str:
    return f"`{text}`" if text else ""


def _plain(text: str) -> str:
    """Text that fits a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")
