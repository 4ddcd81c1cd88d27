"""The page as it is sent: whole, harmless, and in the language that was asked for."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from certwarden.enrolment.devices import FORMATS, Device
from certwarden.enrolment.page import (
    CONTENT_SECURITY_POLICY,
    choose_language,
    render_page,
    render_problem,
)
from certwarden.enrolment.texts import TEXTS, Problem
from certwarden.pki.protection import generate_password
from tests.enrolment import agents

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e&lt;"
EMPTY = {"meta", "link", "input"}


class Read(HTMLParser):
    """What is in a page: its elements, and the text of each kind of them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.elements if each == tag]


@pytest.mark.parametrize(
    ("accept_language", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("DE", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "en"),
        ("fr, de;q=0.3", "de"),
        ("en;q=0.2, de;q=0.9", "de"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("*;q=0.1, de;q=0.2", "de"),
        ("en, de", "en"),
        ("de, en", "de"),
        ("fr", "en"),
        ("de;q=2", "en"),
        ("de;q=nan", "en"),
        ("den", "en"),
        (",,;q=1, de ;q=0.5 ,", "de"),
        ("x" * 100_000 + ",de", "en"),
    ],
)
def test_chooses_the_language(accept_language: str, language: str) -> None:
    """The weights count (RFC 9110, 12.5.4), then the order; what is malformed does not."""
    assert choose_language(accept_language) == language


def test_a_language_that_was_asked_for_comes_first() -> None:
    """What a person chose on the page counts more than the browser, if there is such a language."""
    assert choose_language("en", "de") == "de"
    assert choose_language("de", "tlh") == "de"


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("user_agent", [agents.IPHONE, agents.ANDROID, agents.LINUX, ""])
def test_the_page_is_whole(language: str, user_agent: str) -> None:
    """All elements are closed, no id is there twice, labels have fields, nothing is foreign."""
    page = Read(render_page(language, user_agent, "Home client CA"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(label["for"] in ids for label in page.attributes("label"))
    assert page.attributes("html") == [{"lang": language}]
    assert page.texts["title"] == [TEXTS[language]["title"]]
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "action", "data", "formaction")
    ]
    assert set(addresses) == {"/redeem", "data:,", "#draw-key"}
    assert not any("style" in attributes for _, attributes in page.elements)
    assert not any(name.startswith("on") for _, each in page.elements for name in each)


def test_the_form_has_what_is_redeemed() -> None:
    """It posts token, password, format and language; the server fills in only the language."""
    page = Read(render_page("de", agents.ANDROID_13, "Home client CA"))
    assert [(form["method"], form["action"]) for form in page.attributes("form")] == [
        ("post", "/redeem")
    ]
    fields = {each["name"]: each.get("value") for each in page.attributes("input")}
    assert fields == {"token": None, "password": None, "language": "de"}
    assert [each.get("name") for each in page.attributes("select")] == [None, "format"]
    chosen = [each["value"] for each in page.attributes("option") if "selected" in each]
    assert chosen == ["android", "p12-legacy"]


def test_the_policy_lets_the_page_work_and_nothing_else() -> None:
    """Only the one script and the one style are allowed, wherever they stand, by their digests."""
    for rendered in (
        render_page("en", agents.IPHONE, "Home"),
        render_problem("de", Problem.BUSY),
    ):
        page = Read(rendered)
        scripts = [each for each in page.texts.get("script", ()) if not each.startswith("{")]
        for kind, texts in (("script", scripts), ("style", page.texts["style"])):
            assert len(texts) <= 1
            for text in texts:
                digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
                assert f"{kind}-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    for rule in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"):
        assert rule in CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert CONTENT_SECURITY_POLICY.isascii()


def test_strangers_cannot_write_into_the_page() -> None:
    """Neither a CA's name nor a User-Agent becomes an element, a script, or turns a line round."""
    plain = Read(render_page("en", agents.IPHONE, "Home"))
    hostile = Read(render_page("en", agents.IPHONE + HOSTILE, HOSTILE))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in plain.elements]
    page = render_page("en", HOSTILE, HOSTILE).decode()
    assert "\u202e" not in page
    assert "alert(1)</script>" not in page


def test_the_data_of_the_script_are_whole() -> None:
    """Both languages, every device with its forms, and what the User-Agent tells of the browser."""
    page = Read(render_page("en", agents.IPHONE_CHROME, 'The "CA" <1>'))
    data = json.loads(page.texts["script"][0])
    assert data["texts"] == TEXTS
    assert data["authority"] == 'The "CA" <1>'
    assert {device: tuple(guide) for device, guide in data["guides"].items()} == FORMATS
    assert data["isSafari"] is False
    assert set(data["guides"]) == set(Device)


def test_the_script_makes_passwords_as_the_server_does() -> None:
    """The same letters, in as many groups of the same length."""
    script = Read(render_page("en", "", "Home")).texts["script"][1]
    told = re.search(r'LETTERS = "([a-z]+)", GROUPS = (\d), GROUP = (\d);', script)
    assert told is not None
    groups = generate_password().reveal().decode().split("-")
    assert [len(group) for group in groups] == [int(told[3])] * int(told[2])
    made = {letter for _ in range(100) for letter in generate_password().reveal().decode()}
    assert made - {"-"} == set(told[1])


@pytest.mark.parametrize("language", sorted(TEXTS))
@pytest.mark.parametrize("problem", list(Problem))
def test_a_problem_is_one_sentence_and_a_hint(language: str, problem: Problem) -> None:
    """Each has a page of its own in the right language, without a script or a form."""
    page = Read(render_problem(language, problem))
    assert page.attributes("html") == [{"lang": language}]
    assert page.texts["h1"] == [TEXTS[language][f"problem.{problem}"] + "."]
    assert TEXTS[language][f"hint.{problem}"] in page.texts["p"]
    assert not page.attributes("script")
    assert not page.attributes("form")
