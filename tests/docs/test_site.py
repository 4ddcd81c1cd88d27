"""The documentation as a site: that it is whole, needs nobody else, and fits a phone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.world.chromium import Chromium

ROOT = Path(__file__).parent.parent.parent
PHONE, DESKTOP = (360, 740), (1280, 900)
LOOKED_AT = ("index", "first-ten-minutes", "reference")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads that."""


class _Needs(HTMLParser):
    """What a browser fetches for a page by itself."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "link"}:
            self.urls += [url for name in ("src", "href") if (url := given.get(name))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `script/docs` does; a link or an anchor that leads nowhere ends it."""
    directory = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(directory), strict=True))
    return directory


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The site at a port of loopback, as a web server would show it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=site))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_page_is_in_the_site(site: Path) -> None:
    """What stands in docs/ can be read on the site."""
    pages = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    built = {page.relative_to(site).with_suffix(".md") for page in site.rglob("*.html")}
    assert pages <= built


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    """No script, style, font or picture of another server's: it works without a network."""
    foreign = [
        (page.name, url)
        for page in site.rglob("*.html")
        for url in _Needs(page.read_text()).urls
        if url.startswith(("http:", "https:", "//"))
    ]
    styles = [sheet.read_text() for sheet in site.rglob("*.css")]
    assert foreign == []
    assert [text for text in styles if "url(http" in text or "url(//" in text] == []


@pytest.mark.world
def test_pages_fit_a_phone_and_a_desktop(site: Path, tmp_path: Path) -> None:
    """Nothing has to be scrolled sideways, everything that a page asks for comes, all from here."""
    with served(site) as origin, Chromium(tmp_path / "home") as browser:
        for width, height in (PHONE, DESKTOP):
            browser.resize(width, height)
            for page in LOOKED_AT:
                assert browser.visit(f"{origin}/{page}.html") == ""
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.failed_requests() == []
                assert [url for url in browser.requests() if not url.startswith(origin)] == []
                browser.screenshot(tmp_path / f"{page}-{width}.png")
