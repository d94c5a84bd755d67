"""Gives a page to everything in the repository that the site links to: sources, reports, figures, folders."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?P<open>\]\()(?P<to>[^()\s#:]+)(?P<end>#[^()\s]*\)|\))")
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2`*~* *$", re.M | re.S)
SOURCES = {".py": "python", ".yaml": "yaml", ".mjs": "javascript", ".c": "c", ".toml": "toml"}
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"

_origins: dict[str, str] = {}
"""Path in the repository of each page that stands elsewhere on the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Follow every link out of the documentation, and the links of what it leads to."""
    _origins.clear()
    known = {file.src_uri for file in files}
    waiting = [(f"docs/{page.src_uri}", page.content_string) for page in files.documentation_pages()]
    while waiting:
        origin, text = waiting.pop()
        for target in dict.fromkeys(_targets(origin, text)):
            uri = _uri(target)
            if target.startswith("docs/") or uri in known:
                continue
            known.add(uri)
            if not uri.endswith(".md"):
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
                continue
            content = _page(target)
            files.append(File.generated(config, uri, content=content))
            _origins[uri] = target
            waiting.append((target, content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links as they hold in the repository into links as they hold on the site."""
    uri = page.file.src_uri
    origin = _origins.get(uri, f"docs/{uri}")

    def moved(link: re.Match[str]) -> str:
        target = _target(origin, link["to"])
        if target is None:
            return link[0]
        return link["open"] + posixpath.relpath(_uri(target), posixpath.dirname(uri)) + link["end"]

    def outside_code(text: str) -> str:
        text = text.replace("<details>", "<details markdown>")  # GitHub reads Markdown in there unasked
        return re.sub(r"^  (?=[*-] )", "    ", LINK.sub(moved, text), flags=re.M)

    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [outside_code(markdown[end : fence.start()]), _as_session(fence[0])]
        end = fence.end()
    return "".join([*parts, outside_code(markdown[end:])])


def on_nav(nav: Navigation, files: Files, **_: object) -> Navigation:
    """Show pages of the documentation that `mkdocs.yml` does not name under *More*: none is ever lost."""
    unnamed = [
        file.page
        for file in files.documentation_pages()
        if file.page is not None and file.page not in nav.pages and file.src_uri not in _origins
    ]
    if unnamed:
        nav.items.append(Section("More", unnamed))
    return nav


def _as_session(fence: str) -> str:
    """A block of code; a session with prompts is called one, so that prompt and output look like it."""
    return re.sub(r"\A( *```+)python(?=\n *>>> )", r"\1pycon", fence)


def _targets(origin: str, text: str) -> Iterator[str]:
    for link in LINK.finditer(FENCE.sub("", text)):
        target = _target(origin, link["to"])
        if target is not None:
            yield target


def _target(origin: str, link: str) -> str | None:
    """The path in the repository that a link means; None for what is not there, which MkDocs then tells."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link))
    inside = not target.startswith("..") and not link.startswith("/")
    return target if inside and (ROOT / target).exists() else None


def _uri(target: str) -> str:
    """Where on the site a path of the repository stands."""
    path = ROOT / target
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if path.is_dir():
        return f"repository/{target}/index.md"
    if path.name == "README.md":  # to MkDocs that is the front page of a folder, which the menu hides
        return f"repository/{target.removesuffix('README.md')}readme.md"
    return f"repository/{target}" + (".md" if path.suffix in SOURCES else "")


def _page(target: str) -> str:
    """A file or folder of the repository as Markdown."""
    path = ROOT / target
    if path.suffix == ".md":
        return path.read_text("utf-8")
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix in {*SOURCES, ".md"})
        listed = "\n".join(f"* [{one.name}]({target.split('/')[-1]}/{one.name})" for one in files)
        return f"{UNSEARCHED}# {target}\n\n{listed}\n"
    code = path.read_text("utf-8")
    return f"{UNSEARCHED}# {target}\n\n~~~~~~~~{SOURCES[path.suffix]}\n{code}~~~~~~~~\n"
