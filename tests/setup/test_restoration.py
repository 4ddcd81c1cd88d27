"""What is taken from a backup's configuration before it can be read as one."""

from pathlib import Path

import pytest

from certwarden.errors import UsageError
from certwarden.setup.configuration import House
from certwarden.setup.restoration import house_of, outlined

TEXT = b"""
[acme]
directory = "https://ca.example.org/dir"
[cloudflare]
api_token_file = "keys/token"
base_url = "http://127.0.0.1:1/v4"
[notify]
urls_file = "/etc/urls"
[backup]
directory = "/mnt"
passphrase_file = "/etc/passphrase"
[[certificate]]
domains = ["example.org", "*.example.org"]
[[certificate.target]]
group = "tls-a"
[[certificate.target]]
group = "tls-b"
settings = "/home/pi/.node-red/settings.js"
client_auth = true
probe = "[::1]:1881"
"""


def test_groups_names_and_settings_are_found() -> None:
    """Groups have to be there before the configuration can be loaded at all."""
    found = outlined(TEXT)
    assert found.groups == ("tls-a", "tls-b")
    assert found.domains == ("example.org", "*.example.org")
    assert found.settings == Path("/home/pi/.node-red/settings.js")
    assert (found.is_asking_clients, found.port, found.needs_urls) == (True, 1881, True)
    assert found.api_url == "http://127.0.0.1:1/v4"


def test_secrets_go_where_it_has_them() -> None:
    """Relative paths begin at the configuration; what it does not name stays."""
    house = House.at(Path("/etc/certwarden/config.toml"))
    moved = house_of(TEXT, house)
    assert moved.token == Path("/etc/certwarden/keys/token")
    assert moved.notify_urls == Path("/etc/urls")
    assert moved.backup_passphrase == Path("/etc/passphrase")
    assert moved.ca_bundle == house.ca_bundle


def test_odd_shapes_are_no_traceback() -> None:
    """A configuration may be anything; what is not understood is left out."""
    assert outlined(b"certificate = 1\nnotify = []").domains == ()
    with pytest.raises(UsageError):
        outlined(b"[")
    with pytest.raises(UsageError):
        outlined(b"\xff")
