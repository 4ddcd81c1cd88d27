"""What has to be answered, and what goes with what."""

from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.config.syntax import UnfitError
from certwarden.errors import UsageError
from certwarden.model import Secret
from certwarden.setup.answers import (
    Answers,
    FirstClient,
    Place,
    backup_place,
    check,
    missing,
    proposed_domains,
)
from certwarden.setup.find import NodeRed

COMPLETE = Answers(
    domains=("example.org",),
    is_agreed=True,
    token=Secret(b"t"),
    place=Place.NODE_RED,
    node_red=NodeRed(Path("/home/pi/.node-red/settings.js"), "pi"),
)


def test_all_that_is_missing_is_named_at_once() -> None:
    """Nobody wants to learn of it one by one."""
    named = " ".join(missing(Answers(), is_configured=False))
    for option in ("--token-file", "--domain", "--accept-terms", "--target"):
        assert option in named
    assert missing(COMPLETE, is_configured=False) == ()


def test_a_configuration_leaves_only_secrets_to_be_said() -> None:
    """And none that are there already."""
    assert len(missing(Answers(), is_configured=True)) == 1
    assert missing(Answers(has_token=True), is_configured=True) == ()


@pytest.mark.parametrize(
    ("answers", "option"),
    [
        (replace(COMPLETE, client=FirstClient("anna")), "--client-password-file"),
        (replace(COMPLETE, backup_directory=Path("/b")), "--backup-passphrase-file"),
        (replace(COMPLETE, needs_urls=True), "--notify-urls-file"),
        (replace(COMPLETE, node_red=None), "--settings"),
    ],
)
def test_what_is_shown_once_needs_a_file_where_nobody_looks(answers: Answers, option: str) -> None:
    """Else nobody would ever learn it."""
    (named,) = missing(answers, is_configured=False)
    assert option in named


@pytest.mark.parametrize("is_configured", [True, False])
def test_the_recovery_code_needs_a_file_where_a_ca_is_made(*, is_configured: bool) -> None:
    """Whichever target asks for client certificates."""
    (named,) = missing(COMPLETE, is_configured=is_configured, is_founding=True)
    assert "--recovery-code-file" in named
    kept = replace(COMPLETE, recovery_code_file=Path("/c"))
    assert missing(kept, is_configured=is_configured, is_founding=True) == ()


@pytest.mark.parametrize(
    "answers",
    [
        replace(COMPLETE, domains=("https://example.org/",)),
        replace(COMPLETE, directory="http://ca.example.org/dir"),
        replace(COMPLETE, nameservers=("dns.example.org",)),
        replace(COMPLETE, client=FirstClient("anna")),
        replace(COMPLETE, client=FirstClient("Anna Phone"), client_auth=True),
        replace(COMPLETE, place=Place.FILES, client_auth=True),
        replace(COMPLETE, key_path=Path("/k")),
        replace(COMPLETE, group="x -\nm pi disk"),
        replace(COMPLETE, ca_bundle=b"no PEM"),
        replace(COMPLETE, token=Secret(b"CF_TOKEN = abc")),
        replace(COMPLETE, notify_urls=Secret(b"no URL")),
    ],
)
def test_answers_that_cannot_be_are_refused(answers: Answers) -> None:
    """Before anything is changed, with a sentence."""
    check(COMPLETE)
    with pytest.raises(UsageError):
        check(answers)


def test_the_wildcard_is_proposed_with_the_apex() -> None:
    """A name that has a star already gets no other."""
    assert proposed_domains("Example.org") == ("example.org", "*.example.org")
    assert proposed_domains("*.example.org") == ("*.example.org",)
    with pytest.raises(UnfitError):
        proposed_domains("localhost")


def test_backups_have_a_directory_of_their_own(tmp_path: Path) -> None:
    """For a disk's own belongs to somebody else; one that is not mounted is told."""
    assert backup_place(tmp_path) == tmp_path / "certwarden"
    assert backup_place(tmp_path / "certwarden") == tmp_path / "certwarden"
    with pytest.raises(UsageError, match="no directory"):
        backup_place(tmp_path / "usb")
