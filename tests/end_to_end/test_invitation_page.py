"""The page of an invitation in a real Chromium: what it looks like, does, and never does.

The server is a stand-in that says yes to everything; what is behind it has tests of its own.
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from certwarden.enrolment.page import (
    CONTENT_SECURITY_POLICY,
    choose_language,
    render_page,
    render_problem,
)
from certwarden.enrolment.texts import TEXTS, Problem
from tests.enrolment import agents
from tests.waiting import wait_until
from tests.world import tools
from tests.world.chromium import Chromium
from tests.world.tools import Missing

pytestmark = pytest.mark.world

TOKEN = "abcdefgh-abcdefghijklmnopqrstuvwxyz"
AUTHORITY = "Home client CA of <everybody> & others"
PASSWORD = re.compile(r"[a-hjkmnp-z]{6}(-[a-hjkmnp-z]{6}){2}")
DEVICES = {
    "iphone": agents.IPHONE,
    "iphone-chrome": agents.IPHONE_CHROME,
    "android": agents.ANDROID,
    "mac": agents.MAC,
    "windows": agents.WINDOWS,
    "chromebook": agents.CHROMEBOOK,
    "linux": agents.LINUX,
    "firefox": agents.LINUX_FIREFOX,
}
SCREENS = ((320, 568), (360, 640), (360, 800), (1280, 800))
# With all rules: also those for the best contrast, the size of what is tapped, and good practice.
AXE = """
axe.run({preload: false, resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa",
    "wcag2aaa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]})
  .then((found) => { window.found = JSON.stringify(found.violations.map((each) => [each.id,
    each.nodes.map((node) => node.html.slice(0, 200) + node.failureSummary)])); })
  .catch((error) => { window.found = JSON.stringify(String(error)); });
window.found = "";
"""


class Door(ThreadingHTTPServer):
    """Serves the page, takes what is redeemed, and remembers both."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.visits: list[str] = []
        self.redeemed: list[dict[str, str]] = []
        self.problem: Problem | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}/"


class _Visit(BaseHTTPRequestHandler):
    server: Door

    def do_GET(self) -> None:
        self.server.visits.append(self.path)
        language = choose_language(self.headers.get("Accept-Language", ""))
        if self.path == "/":
            page = render_page(language, self.headers["User-Agent"], AUTHORITY)
        else:
            page = render_problem(language, Problem.NOT_FOUND)
        self._reply(200, page)

    def do_POST(self) -> None:
        self.server.visits.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.server.problem is not None:
            self._reply(403, render_problem("en", self.server.problem))
            return
        self.server.redeemed.append({name: value for name, (value,) in parse_qs(body).items()})
        self._reply(200, b"a file", "application/x-pkcs12", 'attachment; filename="alice.p12"')

    def _reply(
        self, status: int, body: bytes, kind: str = "text/html; charset=utf-8", how: str = "inline"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Disposition", how)
        self.send_header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser keeps its files."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Chromium]:
    """A real Chromium."""
    try:
        chromium = Chromium(tmp_path_factory.mktemp("chromium") / "home")
    except Missing as missing:
        pytest.skip(str(missing))
    with chromium:
        chromium.keep_downloads(downloads)
        yield chromium


@pytest.fixture(scope="module")
def opened() -> Iterator[Door]:
    """The stand-in, for all tests."""
    with Door() as door:
        thread = threading.Thread(target=door.serve_forever, args=(0.05,))
        thread.start()
        yield door
        door.shutdown()
        thread.join()


@pytest.fixture
def door(opened: Door, browser: Chromium) -> Door:
    """It remembers nothing yet; the browser is one on Linux that reads English."""
    browser.visit("about:blank")
    browser.pretend(agents.LINUX)
    browser.resize(360, 640)
    browser.prefer("light")
    opened.visits.clear()
    opened.redeemed.clear()
    opened.problem = None
    return opened


def come(browser: Chromium, door: Door, fragment: str = f"#{TOKEN}") -> None:
    """Open the link anew: a fragment alone would not load anything."""
    browser.visit("about:blank")
    assert browser.visit(door.url + fragment) == ""


def choose(browser: Chromium, name: str, value: str) -> None:
    browser.evaluate(
        f"(each => {{ each.value = {value!r}; each.dispatchEvent(new Event('change')); }})"
        f"(document.getElementById({name!r}))"
    )


def seen(browser: Chromium, name: str) -> str | None:
    """The text of an element, None if nobody can see it."""
    found: str | None = browser.evaluate(
        "(each => each.checkVisibility() ? each.innerText : null)"
        f"(document.getElementById({name!r}))"
    )
    return found


def assert_fits(browser: Chromium) -> None:
    """On no screen is anything wider than it, nor with letters of twice the size."""
    fits = "document.documentElement.scrollWidth <= innerWidth"
    for width, height in SCREENS:
        browser.resize(width, height)
        assert browser.evaluate(fits) is True
    browser.resize(360, 640)
    browser.evaluate("document.documentElement.style.fontSize = '200%'")
    assert browser.evaluate(fits) is True
    browser.evaluate("document.documentElement.style.fontSize = ''")


def assert_accessible(browser: Chromium, scheme: str) -> None:
    """Nothing is wrong by any rule of axe-core."""
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    browser.evaluate(tools.axe().read_text())
    browser.prefer(scheme)
    browser.evaluate(AXE)
    browser.wait_for("Boolean(window.found)")
    assert json.loads(browser.evaluate("window.found")) == []


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("name", DEVICES)
def test_every_device_sees_a_page_that_fits_and_that_all_can_use(
    browser: Chromium, door: Door, name: str, language: str
) -> None:
    """Before and after the button, on all screens; and nothing is asked of anybody else."""
    browser.pretend(DEVICES[name])
    come(browser, door)
    if language == "de":
        browser.tap("switch")
    assert browser.evaluate("document.documentElement.lang") == language
    assert browser.evaluate("document.title") == TEXTS[language]["title"]
    assert_fits(browser)
    if seen(browser, "other-browser") is None:
        assert browser.evaluate("get.getBoundingClientRect().bottom < innerHeight") is True
    schemes = ("light", "dark") if language == "en" else ("dark", "light")
    assert_accessible(browser, schemes[0])
    assert door.visits == ["/"]
    browser.tap("get")
    if name == "iphone-chrome":
        assert seen(browser, "after") is None
    else:
        wait_until(lambda: door.redeemed, "the request")
        assert (seen(browser, "password") or "") == door.redeemed[0]["password"]
        assert_fits(browser)
        assert_accessible(browser, schemes[1])
    assert all(url.startswith(door.url) or url == "data:," for url in browser.requests())
    assert browser.complaints() == []


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_a_problem_fits_and_can_be_read_by_all(
    browser: Chromium, tmp_path: Path, language: str
) -> None:
    """It is held to the same as the page."""
    path = tmp_path / "problem.html"
    path.write_bytes(render_problem(language, Problem.INVITATION))
    assert browser.visit(path.as_uri()) == ""
    assert_fits(browser)
    for scheme in ("light", "dark"):
        assert_accessible(browser, scheme)


def test_the_button_fetches_the_certificate_once(
    browser: Chromium, door: Door, downloads: Path
) -> None:
    """It sends what the page shows, the file is saved, the page stays; nothing more is sent."""
    browser.pretend(agents.ANDROID_13)
    come(browser, door)
    browser.tap("get")
    (asked,) = wait_until(lambda: door.redeemed, "the request")
    wait_until((downloads / "alice.p12").exists, "the file")
    assert PASSWORD.fullmatch(asked.pop("password"))
    assert asked == {"token": TOKEN, "format": "p12-legacy", "language": "en"}
    assert browser.evaluate("document.activeElement.id") == "password-head"
    assert seen(browser, "told") == TEXTS["en"]["got"]
    assert browser.evaluate("get.disabled") is True
    assert browser.evaluate("form.elements.token.value + form.elements.password.value") == ""
    browser.tap("get")
    browser.evaluate("form.requestSubmit()")
    browser.tap("copy")
    browser.wait_for("document.getElementById('copied').textContent === 'Copied'")
    assert door.visits == ["/", "/redeem"]


def test_the_password_outlives_a_reload_and_the_token_does_not(
    browser: Chromium, door: Door
) -> None:
    """A phone may reload the page while its person is in the settings; a new link starts anew."""
    come(browser, door)
    in_a_moment = "window.setTimeout = (act => (each, after) => act(each, after / 50))(setTimeout)"
    browser.evaluate(in_a_moment)
    browser.tap("get")
    password = wait_until(lambda: door.redeemed, "the request")[0]["password"]
    browser.wait_for("location.hash === ''")
    browser.evaluate("location.reload()")
    browser.wait_for("document.readyState === 'complete'")
    browser.wait_for(f"document.getElementById('password').textContent === '{password}'")
    assert seen(browser, "incomplete") is None
    assert len(door.redeemed) == 1
    browser.evaluate(f"location.hash = '{TOKEN}'")
    browser.wait_for("document.getElementById('get').disabled === false")
    assert browser.evaluate("document.getElementById('password').textContent") == ""


def test_no_two_passwords_are_the_same(browser: Chromium, door: Door) -> None:
    """Each opening of the page makes its own."""
    shown = set()
    for _ in range(3):
        come(browser, door)
        browser.tap("get")
        shown.add(seen(browser, "password"))
    assert len(shown) == 3


def test_an_incomplete_link_cannot_be_redeemed(browser: Chromium, door: Door) -> None:
    """The page says so, and sends nothing that could only fail."""
    for fragment in ("", "#", f"#{TOKEN[:-1]}", f"#{TOKEN}a", "#" + TOKEN.replace("a", "1")):
        door.visits.clear()
        come(browser, door, fragment)
        assert seen(browser, "incomplete") == TEXTS["en"]["incomplete"]
        browser.tap("get")
        browser.evaluate("form.requestSubmit()")
        assert door.visits == ["/"]


@pytest.mark.parametrize(
    ("user_agent", "kept_in"),
    [
        (agents.IPHONE_CHROME, "Safari"),
        (agents.IPHONE_IN_AN_APP, "Safari"),
        (agents.ANDROID_IN_AN_APP, "Chrome"),
    ],
)
def test_a_browser_that_would_lose_the_key_is_not_given_it(
    browser: Chromium, door: Door, user_agent: str, kept_in: str
) -> None:
    """It is told which one to take, and copies the whole link; who knows better can say so."""
    browser.pretend(user_agent)
    come(browser, door)
    assert kept_in in (seen(browser, "other-browser") or "")
    browser.tap("get")
    browser.tap("copy-link")
    browser.wait_for("document.getElementById('copied-link').textContent === 'Copied'")
    assert door.visits == ["/"]
    choose(browser, "device", "linux")
    assert seen(browser, "other-browser") is None
    assert browser.evaluate("get.disabled") is False


def test_an_ipad_is_told_from_the_mac_that_it_claims_to_be(browser: Chromium, door: Door) -> None:
    """A Mac has no screen that takes several fingers."""
    browser.pretend(agents.MAC, touch_points=5)
    come(browser, door)
    assert browser.evaluate("device.value") == "ipad"
    assert browser.evaluate("format.value") == "mobileconfig"
    browser.pretend(agents.MAC)
    come(browser, door)
    assert browser.evaluate("device.value") == "mac"


def test_device_and_form_can_be_changed(browser: Chromium, door: Door) -> None:
    """The forms follow the device, the steps both; and what is shown is what is asked for."""
    browser.pretend(agents.WINDOWS)
    come(browser, door)
    assert seen(browser, "format-field") is None  # there is only one
    choose(browser, "device", "mac")
    assert (seen(browser, "format") or "").count("macOS") == 3
    choose(browser, "format", "p12-legacy")
    browser.tap("switch")
    assert browser.evaluate("format.value") == "p12-legacy"
    browser.tap("get")
    (asked,) = wait_until(lambda: door.redeemed, "the request")
    assert (asked["format"], asked["language"]) == ("p12-legacy", "de")
    assert "Schlüsselbundverwaltung" in (seen(browser, "steps") or "")


def test_whoever_comes_back_from_a_problem_can_try_again(browser: Chromium, door: Door) -> None:
    """A refusal takes the page's place, and the way back leads to a link that is still whole."""
    door.problem = Problem.BUSY
    come(browser, door)
    browser.tap("get")
    browser.wait_for(f"document.title === {TEXTS['en']['problem.busy']!r}")
    door.problem = None
    browser.evaluate("setTimeout(() => history.back(), 0)")
    browser.wait_for("document.getElementById('get') !== null && !get.disabled")
    browser.tap("get")
    (asked,) = wait_until(lambda: door.redeemed, "the request")
    assert asked["token"] == TOKEN


def test_the_name_of_the_authority_is_text(browser: Chromium, door: Door) -> None:
    """Whatever it holds is shown as it is, by the server and by the script."""
    come(browser, door)
    assert AUTHORITY in (seen(browser, "lead") or "")
    browser.tap("switch")
    assert AUTHORITY in (seen(browser, "lead") or "")
