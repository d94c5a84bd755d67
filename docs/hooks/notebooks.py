"""Shows notebooks as pages: their text, their code, and the outputs that are stored in them."""

import base64
import json
import posixpath
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ATTRIBUTES = re.compile(r"<style.*?</style>|(?<=<)(table|tr|th|td)[^>]*(?=>)", re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put a page beside each notebook; the notebook itself stays, to be downloaded."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        pictures: dict[str, bytes] = {}
        cells = json.loads(notebook.content_string)["cells"]
        parts = [_markdown(cell, posixpath.basename(notebook.src_uri), pictures) for cell in cells]
        folder, uri = posixpath.dirname(notebook.src_uri), notebook.src_uri.removesuffix("ipynb") + "md"
        files.append(File.generated(config, uri, content="\n\n".join(parts) + "\n"))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"{folder}/{name}", content=picture))
    return files


def _markdown(cell: dict[str, Any], name: str, pictures: dict[str, bytes]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        title, line, rest = source.partition("\n")
        download = (
            f"\n\nThis page is a notebook: [{name}]({name}) runs as it is.\n" if title[:2] == "# " else ""
        )
        return title + download + line + rest
    shown = [_output(output, name, pictures) for output in cell["outputs"]]
    return "\n\n".join([f"~~~~python\n{source}\n~~~~", *shown])


def _output(output: dict[str, Any], name: str, pictures: dict[str, bytes]) -> str:
    """An output as Markdown: a picture, a table, or text."""
    if output["output_type"] == "stream":
        return _text("".join(output["text"]))
    found = output["data"]
    if "image/png" in found:
        picture = f"{name.removesuffix('.ipynb')}-{len(pictures) + 1}.png"
        pictures[picture] = base64.b64decode(found["image/png"])
        return f"![{''.join(found.get('text/plain', ['figure']))}]({picture})"
    if "text/markdown" in found:
        return "".join(found["text/markdown"])
    if "text/html" in found:
        return ATTRIBUTES.sub(lambda tag: tag[1] or "", "".join(found["text/html"]))
    return _text("".join(found["text/plain"]))


def _text(text: str) -> str:
    return f"~~~~ {{ .text .output }}\n{text.rstrip()}\n~~~~"
