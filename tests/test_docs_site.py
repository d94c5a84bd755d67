"""The site is built whole and without a warning, and shows nothing that comes from elsewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PATIENCE_S = 360
LOADED = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site that was built as `make docs` builds it, warnings being errors."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder


class Loaded(HTMLParser):
    """Gathers what a page makes a browser load, and the names of its anchors."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.anchors.add(found.get("id") or "")
        if tag in LOADED and found.get("rel") not in ("next", "prev", "canonical"):
            self.addresses.append(found.get(LOADED[tag]) or "")


def named(nav: list) -> Iterator[str]:
    for item in nav:
        for page in item.values() if isinstance(item, dict) else [item]:
            yield from named(page) if isinstance(page, list) else [page]


def test_every_page_of_the_documentation_is_on_the_site_and_in_its_menu(site):
    menu = set(named(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(page for page in pages if not (site / page).with_suffix(".html").exists()) == []
    front = (site / "index.html").read_text("utf-8")
    assert [page for page in pages - menu if page.removesuffix("md") + "html" not in front] == []


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    loaded = {address for page in pages for address in Loaded(page).addresses}
    assert [address for address in loaded if re.match(r"(https?:)?//", address)] == []
    styles = [style.read_text("utf-8") for style in site.rglob("*.css")]
    assert [
        found
        for style in styles
        for found in re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']*", style)
    ] == []


def test_what_pages_load_is_there(site):
    for page in site.rglob("*.html"):
        missing = [
            address
            for address in Loaded(page).addresses
            if address
            and not address.startswith("data:")
            and not (page.parent / address.split("?")[0].split("#")[0]).exists()
        ]
        assert missing == [] or page.name == "404.html", page


def test_links_of_the_readme_lead_to_files_and_headings_that_are_there(site):
    readme = re.sub(r"^```.*?^```", "", (ROOT / "README.md").read_text("utf-8"), flags=re.M | re.S)
    for path, anchor in re.findall(r"\]\(([^)#:\s]+)#?([^)\s]*)\)", readme):
        assert (ROOT / path).exists(), path
        if anchor:
            assert anchor in Loaded(site / path.removeprefix("docs/").replace(".md", ".html")).anchors, path


def test_pages_from_code_name_every_verb_and_every_key(site):
    commands = (site / "reference" / "commands.html").read_text("utf-8")
    assert [
        verb
        for verb in ("dwcp-gym run", "dwcp-gym shadow replay", "dwcp-gym testbed validate")
        if verb not in commands
    ] == []
    assert "learners" in (site / "reference" / "keys.html").read_text("utf-8")


def test_a_public_name_comes_with_what_its_docstring_says(site):
    page = (site / "api" / "agents.html").read_text("utf-8")
    assert 'id="agents.play.play"' in page
    assert "Run an episode to its end with a policy" in page


def test_a_notebook_is_shown_with_what_it_printed(site):
    page = (site / "notebooks" / "one-transfer.html").read_text("utf-8")
    assert 'href="one-transfer.ipynb"' in page
    assert re.search(r'<img [^>]*src="one-transfer-1.png"', page)
