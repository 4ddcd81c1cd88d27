"""`report`: one page that is true, that nobody can write into, and that takes nobody's place."""

import json
import os
import pwd
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from certwarden.cli.chronicle import Chronicle, List, Span, gaps, known_lists
from certwarden.cli.markup import Markup, tag
from certwarden.cli.outlook import concerns
from certwarden.cli.outputs import Outputs
from certwarden.cli.report_page import MARKER, build_page
from certwarden.cli.timeline import Axis
from certwarden.errors import Error, StoreError
from certwarden.lifecycle.lists import publication
from certwarden.model import ClientTrust, Event, Rung
from tests.builders import NOW, an_installed
from tests.builders_authority import a_private_authority
from tests.cli.conftest import Machine
from tests.cli.houses import DAY, a_bad_chronicle, a_good_chronicle, a_list_event
from tests.world.chromium import Chromium
from tests.world.tools import Missing

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b]0;x\x07\u202e&lt;"


class Page(HTMLParser):
    """What is in a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if "style" not in self.open else ""


def hostile_chronicle() -> Chronicle:
    """Everything that a stranger may write is hostile."""
    chronicle = a_bad_chronicle()
    house = chronicle.house
    authority = house.authority
    assert authority is not None
    assert authority.root is not None
    stored = house.certificates[0].stored
    assert stored is not None
    leaf = replace(stored.certificate, issuer=HOSTILE)
    worse = replace(stored, pair=replace(stored.pair, certificate=leaf))
    seen = replace(house.certificates[0], stored=worse)
    garage = house.certificates[1]
    failed = replace(garage.failures[0], what=HOSTILE, hint=HOSTILE)
    return Chronicle(
        replace(
            house,
            certificates=(seen, replace(garage, failures=(failed,))),
            authority=replace(
                authority,
                root=replace(authority.root, name=HOSTILE),
                clients=tuple(replace(each, name=HOSTILE) for each in authority.clients),
            ),
        ),
        {"home": (worse,)},
        (Event(NOW, HOSTILE, "home", HOSTILE, HOSTILE),),
    )


# ── what is in the page ───────────────────────────────────────────────────────────────────────────


def test_the_page_says_what_status_says() -> None:
    """The same matters, with what to do, or that all is well."""
    page = Page(build_page(a_bad_chronicle()))
    for concern in concerns(a_bad_chronicle().house):
        assert concern.what in page.text
        assert f"→ {concern.hint}" in page.text
    assert "All is well." in Page(build_page(a_good_chronicle())).text


def test_all_that_is_drawn_stands_there_as_text() -> None:
    """Each picture has a label, each table a caption, and each column of a phone its name."""
    page = Page(build_page(a_bad_chronicle()))
    pictures = [found for name, found in page.elements if name == "svg" and "role" in found]
    assert len(pictures) == 3  # two certificates that have versions, and the lists
    assert all(found["aria-label"] for found in pictures)
    names = [name for name, _ in page.elements]
    assert names.count("caption") == names.count("table")
    assert all("data-label" in found for name, found in page.elements if name == "td")
    assert names.count("h1") == 1
    assert "no list was good from 2026-10-23 12:00 UTC to 2026-11-19 11:00 UTC" in page.text
    assert page.open == []


@pytest.mark.parametrize("chronicle", [a_good_chronicle(), a_bad_chronicle(), hostile_chronicle()])
def test_the_page_asks_for_nothing_and_runs_nothing(chronicle: Chronicle) -> None:
    """Neither a script nor a link, and a policy that forbids both in whatever got past us."""
    page = Page(build_page(chronicle))
    names = {name for name, _ in page.elements}
    assert not names & {"script", "img", "link", "iframe", "object", "a", "form", "use", "image"}
    policies = [found for name, found in page.elements if found.get("http-equiv")]
    assert "default-src 'none'" in str(policies[0]["content"])
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name in {"src", "href"} for name in attributes)


def test_what_strangers_write_stays_text() -> None:
    """It is shown as it is, but for what is invisible."""
    page = build_page(hostile_chronicle())
    assert "<script>alert(1)</script>\"'><img" in Page(page).text
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_only_markup_is_markup() -> None:
    """A string never is, wherever it stands."""
    assert tag("b", "<i>", Markup("<u>")) == "<b>&lt;i&gt;<u></b>"
    assert tag("b", title='"><i>', hidden=None) == '<b title="&quot;&gt;&lt;i&gt;"></b>'


def test_an_empty_house_has_a_page() -> None:
    """Before the first certificate, and without a private CA."""
    house = replace(
        a_bad_chronicle().house,
        certificates=a_bad_chronicle().house.certificates[2:],
        authority=None,
    )
    page = Page(build_page(Chronicle(house, {}, ())))
    assert "there is no certificate yet" in page.text
    assert "Nothing yet." in page.text
    authority = replace(a_bad_chronicle().house.authority, root=None)  # type: ignore[type-var] # there is one
    founded = Chronicle(replace(house, authority=authority), {}, ())
    assert "It is not made yet." in Page(build_page(founded)).text


# ── what happened ─────────────────────────────────────────────────────────────────────────────────


def test_lists_are_known_from_the_history_and_from_where_they_are() -> None:
    """The history has the day of their end; a list that is there has all; a ladder lies ahead."""
    chronicle = a_good_chronicle()
    authority = chronicle.house.authority
    assert authority is not None
    assert authority.crl is not None
    (home,) = chronicle.house.certificates
    (target,) = home.targets
    private = a_private_authority()
    installed = replace(
        an_installed(home.stored.pair) if home.stored else an_installed(None),  # type: ignore[arg-type] # there is one
        trust=ClientTrust(private.root_pem, private.crl(11, at=NOW - DAY)),
    )
    seen = replace(home, targets=(replace(target, installed=installed),))
    rung = Rung(13, NOW + 10 * DAY, NOW + 40 * DAY)
    house = replace(
        chronicle.house, certificates=(seen,), authority=replace(authority, ladder=(rung,))
    )
    found = known_lists(replace(chronicle, house=house))
    assert [each.number for each in found] == [9, 10, 11, 12, 13]
    assert found[0] == List(9, NOW - 3 * DAY - timedelta(hours=1), NOW + 27 * DAY, 2)
    assert found[2].entries == 0
    assert found[3].next_update == authority.crl.next_update
    assert found[4] == List(13, rung.at, rung.next_update)


def test_a_history_that_was_tampered_with_tells_of_no_lists() -> None:
    """A day that does not exist, an end before the beginning, other words."""
    texts = (
        "revocation list 1 (2 entries) until 2026-02-31",
        "revocation list 2 (2 entries) until 1999-01-01",
        "revocation list many (2 entries) until 2027-01-01",
    )
    events = [Event(NOW, "list-published", None, None, text) for text in texts]
    house = replace(a_good_chronicle().house, authority=None)
    assert known_lists(Chronicle(house, {}, events)) == ()


def test_gaps_lie_between_lists_and_before_now() -> None:
    """Lists that overlap leave none; the time ahead is none; after the last list there is one."""

    def a_list(number: int, start: float, end: float) -> List:
        return List(number, NOW + start * DAY, NOW + end * DAY)

    assert gaps((), NOW) == ()
    assert gaps((a_list(1, -20, 10), a_list(2, -10, 20)), NOW) == ()
    assert gaps((a_list(1, -40, -10), a_list(2, -30, -20), a_list(3, -5, 25)), NOW) == (
        Span(NOW - 10 * DAY, NOW - 5 * DAY),
    )
    assert gaps((a_list(1, -40, -10),), NOW) == (Span(NOW - 10 * DAY, NOW),)
    assert gaps((a_list(1, -40, -10), a_list(2, 5, 35)), NOW) == (Span(NOW - 10 * DAY, NOW),)
    assert gaps((a_list(1, -1, 10), a_list(2, 15, 35)), NOW) == ()


def test_what_passes_write_down_of_a_list_is_read() -> None:
    """By the very sentence of a publication."""
    crl = a_private_authority().crl(7, "0a", "0b")
    chronicle = a_good_chronicle()
    event = Event(NOW, "list-published", None, None, publication(crl))
    house = replace(chronicle.house, certificates=(), authority=None)
    (found,) = known_lists(Chronicle(house, {}, [event]))
    assert (found.number, found.entries) == (crl.number, len(crl.serials))
    assert found.next_update.date() == crl.next_update.date()


def test_now_is_drawn_where_it_is() -> None:
    """Also where the last list has ended long ago, and the line of now would lie at its end."""
    chronicle = a_good_chronicle()
    late = replace(chronicle.house, now=NOW + 300 * DAY)
    page = build_page(replace(chronicle, house=late))
    (coverage,) = re.findall(r'aria-label="Coverage.*?</svg>', page, re.DOTALL)
    (now,) = re.findall(r'x1="([\d.]+)%"[^>]*class="now"', coverage)
    ends = re.findall(r'<rect[^>]* x="([\d.]+)%"[^>]* width="([\d.]+)%"', coverage)
    assert max(float(start) + float(width) for start, width in ends) <= float(now) < 100


def test_everything_lies_on_the_axis() -> None:
    """What is beyond an end is drawn at that end, never outside."""
    axis = Axis.around([NOW, NOW + 80 * DAY])
    assert 0 < axis.percent(NOW) < 5
    assert (axis.percent(NOW - 99 * DAY), axis.percent(NOW + 999 * DAY)) == (0, 100)
    assert axis.percent(NOW + 40 * DAY) == 50
    assert Axis.around([NOW]).percent(NOW) == 50


def test_a_year_of_daily_lists_makes_a_page_of_bearable_size() -> None:
    """A phone opens it at once."""
    chronicle = a_good_chronicle()
    events = [a_list_event(3000 - days, days) for days in range(1, 366)]
    page = build_page(replace(chronicle, events=events))
    assert len(page) < 400_000


# ── the file ──────────────────────────────────────────────────────────────────────────────────────


def test_a_report_is_its_owners_and_replaces_the_one_before(machine: Machine) -> None:
    """0600, whole, again and again; nothing else is left behind."""
    path = machine.directory / "report.html"
    for _ in range(2):
        run = machine.must("report", "--out", str(path))
        assert str(path) in run.out
        assert path.read_text().startswith(MARKER)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert machine.files() == {"report.html"}
    assert "Home client CA" in path.read_text()


@pytest.mark.parametrize("kind", ["file", "empty", "link", "directory", "fifo"])
def test_nothing_else_is_overwritten(machine: Machine, kind: str) -> None:
    """A file that is no report, a link to one that is, and what is no file at all: exit 2."""
    path = machine.directory / "report.html"
    earlier = machine.directory / "earlier.html"
    earlier.write_text(MARKER)
    match kind:
        case "file":
            path.write_text(f"<p>mine</p>{MARKER}")
        case "empty":
            path.touch()
        case "link":
            path.symlink_to(earlier)
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
    before = path.lstat()
    run = machine.run("report", "--out", str(path))
    assert run.code == 2
    assert "report.html exists already" in run.err
    assert path.lstat().st_ino == before.st_ino
    assert earlier.read_text() == MARKER
    assert machine.files() == {"report.html", "earlier.html"}


def test_a_report_that_fails_leaves_the_earlier_one(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole or not at all."""

    def fail(_chronicle: Chronicle) -> str:
        raise StoreError("the disk is gone")

    path = machine.directory / "report.html"
    machine.must("report", "--out", str(path))
    before = path.read_bytes()
    monkeypatch.setattr("certwarden.cli.report.build_page", fail)
    assert machine.run("report", "--out", str(path)).code == 1
    assert path.read_bytes() == before
    assert machine.files() == {"report.html"}


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@as_root
def test_with_sudo_a_report_is_the_callers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And replaces one of the caller's, or of root's, but nobody else's."""
    caller, stranger = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    monkeypatch.setenv("SUDO_UID", str(caller.pw_uid))
    monkeypatch.setenv("SUDO_GID", str(caller.pw_gid))
    path = machine.directory / "report.html"
    for before in (0, caller.pw_uid):
        path.write_text(MARKER)
        os.chown(path, before, -1)
        machine.must("report", "--out", str(path))
        assert (path.stat().st_uid, path.stat().st_gid) == (caller.pw_uid, caller.pw_gid)
        assert path.stat().st_size > len(MARKER)
    path.write_text(MARKER)
    os.chown(path, stranger.pw_uid, -1)
    assert machine.run("report", "--out", str(path)).code == 2
    assert path.read_text() == MARKER


def test_what_takes_the_place_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """A file that somebody makes while the report is being made stays, and the report does not."""
    path = tmp_path / "report.html"
    with Outputs() as outputs:
        output = outputs.reserve_again(path, MARKER.encode())
        assert not path.exists()
        output.write(f"{MARKER}new".encode())
        path.write_text("somebody's")
        with pytest.raises(Error, match="could not be written"):
            outputs.keep()
    assert path.read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [path]


# ── in a browser ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A real Chromium."""
    try:
        chromium = Chromium(tmp_path_factory.mktemp("chromium") / "home")
    except Missing as missing:
        pytest.skip(str(missing))
    with chromium:
        yield chromium


@pytest.mark.world
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)], ids=["phone", "desktop"])
@pytest.mark.parametrize("name", ["good", "bad", "hostile"])
def test_a_browser_shows_it_without_a_complaint(
    browser: Chromium, tmp_path: Path, name: str, width: int, height: int, *, is_dark: bool
) -> None:
    """Nothing is asked for, nothing runs, nothing is wider than the screen, nothing invisible."""
    chronicles: dict[str, Callable[[], Chronicle]]
    chronicles = {"good": a_good_chronicle, "bad": a_bad_chronicle, "hostile": hostile_chronicle}
    path = tmp_path / "report.html"
    path.write_text(build_page(chronicles[name]()))
    browser.resize(width, height)
    browser.prefer("dark" if is_dark else "light")
    assert browser.visit(path.as_uri()) == ""
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth") is True
    assert browser.requests() == [path.as_uri()]
    assert browser.complaints() == []
    colours = browser.evaluate(
        "JSON.stringify(['color', 'backgroundColor'].map(n => getComputedStyle(document.body)[n]))"
    )
    ink, ground = (sum(map(int, each[4:-1].split(","))) for each in json.loads(colours))
    assert (ink > ground) is is_dark
    bars = "[...document.querySelectorAll('rect.bar')].every(b => b.getBoundingClientRect().width)"
    assert browser.evaluate(bars) is True
    browser.screenshot(tmp_path / f"{name}.png")
