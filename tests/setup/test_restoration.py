"""A backup's configuration is judged before root installs it, whoever made that backup."""

from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.config import Config
from certwarden.errors import UsageError
from certwarden.setup.configuration import House
from certwarden.setup.restoration import drafted, groups, house_of, powers, refuse_unsafe

API = "http://127.0.0.1:1/v4"
TEXT = f"""
[acme]
directory = "https://ca.example.org/dir"
ca_bundle = "ca.pem"
terms_of_service_agreed = true
[cloudflare]
api_token_file = "keys/token"
base_url = "{API}"
[notify]
urls_file = "/etc/certwarden/urls"
[authority]
name = "Home"
[backup]
directory = "/mnt"
passphrase_file = "/etc/certwarden/passphrase"
[[certificate]]
name = "home"
domains = ["example.org", "*.example.org"]
[[certificate.target]]
name = "a"
kind = "files"
group = "tls-a"
reload = {{ command = ["/bin/a", "\\u001b[2Jb"] }}
[[certificate.target]]
name = "b"
kind = "nginx"
group = "tls-b"
reload = {{ unit = "nginx.service", verb = "reload" }}
"""
HOUSE = House.at(Path("/etc/certwarden/config.toml"))


def read(text: str) -> Config:
    return drafted(text.encode(), HOUSE, "the backup")


def judge(text: str, *, api_url: str | None = API, gid: int | None = None) -> None:
    ours = frozenset({"tls-a"})
    refuse_unsafe(read(text), HOUSE, api_url=api_url, gid_of=lambda _: gid, ours=ours)


def test_it_is_read_before_its_secrets_and_groups_are_there() -> None:
    """They have to be made first, from what it says; relative paths begin at the configuration."""
    config = read(TEXT)
    assert groups(config) == ["tls-a", "tls-b"]
    moved = house_of(config, HOUSE)
    assert moved.token == Path("/etc/certwarden/keys/token")
    assert moved.notify_urls == Path("/etc/certwarden/urls")
    assert moved.backup_passphrase == Path("/etc/certwarden/passphrase")
    assert moved.ca_passphrase == Path("/etc/certwarden/secrets/ca.passphrase")
    assert moved.ca_bundle == Path("/etc/certwarden/ca.pem")


def test_what_is_in_order_passes() -> None:
    """A backup of one's own, on a machine that has none of it yet."""
    judge(TEXT)
    judge(TEXT.replace(f'base_url = "{API}"', ""), api_url=None)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("\n[acme]", 'state_directory = "/var/lib/evil"\n[acme]', "keeps the state"),
        ("/etc/certwarden/passphrase", "/etc/cron.d/zz", "/etc/cron.d/zz"),
        ("/etc/certwarden/passphrase", "../cron.d/zz", "cron.d/zz"),
        ("/etc/certwarden/urls", "/etc/certwarden/config.toml", "config.toml"),
        ('name = "Home"', 'name = "Home"\npassphrase_file = "/etc/profile.d/x.sh"', "/etc/profile"),
        ('"ca.pem"', '"/etc/ssl/x.pem"', "/etc/ssl"),
        (API, "https://evil.example.org/v4", "sent to https://evil.example.org/v4"),
    ],
)
def test_what_root_would_do_for_a_stranger_is_refused(before: str, after: str, why: str) -> None:
    """Its state, its secrets and where the token goes are nobody's choice but the person's."""
    with pytest.raises(UsageError, match=why):
        judge(TEXT.replace(before, after))


def test_a_group_of_the_machines_own_is_refused() -> None:
    """In `disk` certwarden could read every file; one that set-up has made is its own."""
    with pytest.raises(UsageError, match="tls-b, a group of this machine's own"):
        judge(TEXT, gid=6)
    judge(TEXT, gid=1001)
    judge(TEXT.replace("tls-b", "tls-a"), gid=996)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("certificate = 1\nnotify = []", "certificate"),
        (TEXT.replace('"tls-a"', '"x -\\nm pi disk"'), "line break"),
        (TEXT.replace('"tls-a"', '"x -"'), "not the name of a group"),
        (TEXT.replace('"tls-a"', '["a"]'), "string in quotes"),
        (TEXT.replace('["example.org", "*.example.org"]', "5"), "domains"),
        ("[", "not valid TOML"),
        ("a = " + "[" * 5000, "not valid TOML"),
    ],
)
def test_odd_shapes_are_sentences(text: str, why: str) -> None:
    """A configuration may be anything; a group is no line of sysusers.d."""
    with pytest.raises(UsageError, match=f"the backup: (?s:.*){why}"):
        read(text)
    with pytest.raises(UsageError):
        drafted(b"\xff", HOUSE, "the backup")


def test_what_it_has_run_is_told_apart() -> None:
    """In words that cannot move the cursor."""
    config = read(TEXT)
    assert list(powers(config)) == [
        "certwarden will run, for a: /bin/a '[2Jb'",
        "certwarden will reload nginx.service, for b",
    ]
    assert list(powers(replace(config, certificates=()))) == []
