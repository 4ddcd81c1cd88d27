"""Messages and the heartbeat arrive, and their addresses, which are secrets, show up nowhere."""

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from certwarden.errors import NotifyError
from certwarden.model import Secret
from certwarden.notify import MAX_TEXT, AppriseMessenger
from tests.world.postbox import TOKEN, Postbox


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    """Somebody who can be reached."""
    with Postbox() as box:
        yield box


def _lines(*urls: Secret | bytes) -> Secret:
    return Secret(b"\n".join(url.reveal() if isinstance(url, Secret) else url for url in urls))


def test_a_message_arrives(postbox: Postbox) -> None:
    """Title and text reach the address, with this machine's name."""
    urls = _lines(b"# at home", b"", postbox.url, b"")
    AppriseMessenger(urls, None).send("the token is refused", "Since: now\nTo do: mend it")
    (message,) = postbox.messages
    assert message["title"].startswith("certwarden on ")
    assert message["title"].endswith(": the token is refused")
    assert message["message"] == "Since: now\nTo do: mend it"


def test_a_message_goes_everywhere(postbox: Postbox) -> None:
    """Every address gets it."""
    with Postbox() as other:
        AppriseMessenger(_lines(postbox.url, other.url), None).send("title", "text")
        assert len(postbox.messages) == len(other.messages) == 1


def test_text_is_plain_clean_and_bounded(postbox: Postbox) -> None:
    """What a stranger's error holds neither steers a terminal nor floods a phone."""
    text = "<b>bold</b> *star* \x1b[31mred\u202e\\n\n" + "long\n" * 2000
    AppriseMessenger(postbox.url, None).send("title\x07\nsecond", text)
    (message,) = postbox.messages
    assert message["title"].endswith("title second")
    assert message["message"].startswith("<b>bold</b> *star* [31mred\\n\n")
    assert len(message["message"]) <= MAX_TEXT


def test_no_address_is_no_message(postbox: Postbox) -> None:
    """Where only a heartbeat is configured there is nobody to tell, and that can be known."""
    for urls in (None, Secret(b"# none yet\n")):
        messenger = AppriseMessenger(urls, postbox.heartbeat_url)
        messenger.send("title", "text")
        assert not messenger.has_readers
    assert postbox.calls == []
    assert AppriseMessenger(postbox.url, None).has_readers


@pytest.mark.parametrize("status", [401, 500])
def test_a_refusal_is_an_error(
    postbox: Postbox, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A service that does not take the message is told by line and scheme, and no more."""
    caplog.set_level(logging.DEBUG)
    postbox.status = status
    with pytest.raises(NotifyError) as failed:
        AppriseMessenger(_lines(b"", postbox.url), None).send("title", "text")
    assert "line 2 of notify.urls_file (json://…)" in failed.value.what
    assert not failed.value.is_partial
    _assert_silent(failed.value, caplog)


def test_one_dead_address_is_a_partial_failure(
    postbox: Postbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The others were reached, and the sentence says which was not."""
    caplog.set_level(logging.DEBUG)
    with Postbox() as dead:
        dead_url = dead.url
    with pytest.raises(NotifyError) as failed:
        AppriseMessenger(_lines(dead_url, postbox.url), None).send("title", "text")
    assert failed.value.is_partial
    assert "line 1" in failed.value.what
    assert len(postbox.messages) == 1
    _assert_silent(failed.value, caplog)


@pytest.mark.parametrize(
    "url", [f"nosuchthing://{TOKEN}", TOKEN, "json://", f"\udcff{TOKEN}", f"tgram://{TOKEN}"]
)
def test_an_address_that_nobody_understands(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A slip in the file is a sentence without what stands in it."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(NotifyError, match=r"line 1 .* is no address") as failed:
        AppriseMessenger(Secret(url.encode("utf-8", "surrogateescape")), None).send("t", "x")
    assert failed.value.permanent
    _assert_silent(failed.value, caplog)


def test_a_heartbeat_arrives(postbox: Postbox) -> None:
    """One GET of exactly that address; any 2xx will do."""
    postbox.status = 204
    AppriseMessenger(None, postbox.heartbeat_url).heartbeat()
    assert postbox.calls == [f"GET /{TOKEN}"]


def test_without_an_address_there_is_no_heartbeat(postbox: Postbox) -> None:
    """Only what is configured is called."""
    AppriseMessenger(postbox.url, None).heartbeat()
    assert postbox.calls == []


@pytest.mark.parametrize("status", [301, 404, 500])
def test_a_refused_heartbeat_is_an_error(
    postbox: Postbox, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not 2xx was not taken; a redirect is not followed to who knows where."""
    caplog.set_level(logging.DEBUG)
    postbox.status = status
    postbox.headers = {"Location": f"{postbox.origin}/elsewhere/{TOKEN}"}
    with pytest.raises(NotifyError, match=f"status {status}") as failed:
        AppriseMessenger(None, postbox.heartbeat_url).heartbeat()
    assert len(postbox.calls) == 1
    _assert_silent(failed.value, caplog)


def test_a_heartbeat_that_finds_nobody_is_an_error(
    postbox: Postbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The sentence says that, without the address."""
    caplog.set_level(logging.DEBUG)
    url = postbox.heartbeat_url
    postbox.stop()
    with pytest.raises(NotifyError, match="cannot be reached") as failed:
        AppriseMessenger(None, url).heartbeat()
    _assert_silent(failed.value, caplog)


@pytest.mark.parametrize(
    "url", [f"http://hc.example/{TOKEN}", f"https://user:{TOKEN}@hc.example/", TOKEN, "https://["]
)
def test_an_unsecured_heartbeat_is_refused(url: str) -> None:
    """The address is a secret: it does not travel in the clear."""
    with pytest.raises(NotifyError, match="https") as failed:
        AppriseMessenger(None, Secret(url.encode())).heartbeat()
    assert failed.value.permanent
    assert TOKEN not in failed.value.what + failed.value.hint


def test_its_addresses_are_not_shown(postbox: Postbox) -> None:
    """Not by accident of a debugger or a log, either."""
    messenger = AppriseMessenger(postbox.url, postbox.heartbeat_url)
    assert TOKEN not in repr(messenger)
    assert TOKEN not in str(vars(messenger))


def test_apprise_is_loaded_by_the_first_message_only() -> None:
    """A pass with nothing to tell pays neither for it nor for requests."""
    script = (
        "import sys; from certwarden.notify import AppriseMessenger; AppriseMessenger(None, None)"
        ".send('title', 'text'); print('apprise' in sys.modules, 'requests' in sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == ["False", "False"]


def _assert_silent(error: NotifyError, caplog: pytest.LogCaptureFixture) -> None:
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__) is not None:
        chain.append(inner)
    shown = " ".join(map(repr, chain)) + error.what + error.hint + caplog.text
    assert TOKEN not in shown
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
