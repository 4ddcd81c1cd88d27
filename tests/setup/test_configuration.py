"""The configuration that setup writes loads, and says what was answered."""

import grp
import os
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.config import Config, load
from certwarden.model import Address, HotReload, Secret
from certwarden.setup.answers import Answers, Place
from certwarden.setup.configuration import House, configuration
from certwarden.setup.find import NodeRed

SETTINGS = Path('/home/pi/.node-red/"odd" ü/settings.js')


@pytest.fixture
def house(tmp_path: Path) -> House:
    """All secrets are there."""
    house = House.at(tmp_path / "config.toml")
    house.secrets.mkdir()
    secrets = {
        house.token: "cfut_" + "0" * 40,
        house.notify_urls: "ntfy://ntfy.sh/topic",
        house.backup_passphrase: "five random words",
        house.ca_bundle: "-----BEGIN CERTIFICATE-----\n",
    }
    for path, text in secrets.items():
        path.touch(mode=0o600)
        path.write_text(text)
    return house


def loaded(answers: Answers, house: House) -> Config:
    house.config_file.touch(mode=0o600)
    house.config_file.write_text(configuration(answers, house))
    return load(house.config_file, {})


def test_every_answer_is_in_force(house: House) -> None:
    """The fullest configuration, with a path that has to be quoted."""
    group = grp.getgrgid(os.getegid()).gr_name
    config = loaded(
        Answers(
            domains=("example.org", "*.example.org"),
            directory="https://ca.example.org/dir",
            staging_directory="https://staging.example.org/dir",
            ca_bundle=b"-----BEGIN CERTIFICATE-----",
            api_url="http://127.0.0.1:1/v4",
            nameservers=("192.0.2.53",),
            place=Place.NODE_RED,
            node_red=NodeRed(SETTINGS, "pi"),
            port=1881,
            group=group,
            client_auth=True,
            notify_urls=Secret(b"ntfy://ntfy.sh/topic"),
            backup_directory=Path("/mnt/usb/certwarden"),
            backup_passphrase=Secret(b"five random words"),
        ),
        house,
    )
    (certificate,) = config.certificates
    (target,) = certificate.targets
    assert certificate.domains == ("example.org", "*.example.org")
    assert (target.reload, target.probe) == (HotReload(), Address("127.0.0.1", 1881))
    assert (target.settings, target.group, target.client_auth) == (SETTINGS, group, True)
    assert config.acme.staging_directory_url == "https://staging.example.org/dir"
    assert config.acme.ca_bundle == house.ca_bundle
    assert config.dns.nameservers == (Address("192.0.2.53", 53),)
    assert config.cloudflare.api_token_file == house.token
    assert config.notify.urls_file == house.notify_urls
    assert config.authority is not None
    assert config.authority.passphrase_file == house.ca_passphrase
    assert config.backup is not None
    assert config.backup.directory == Path("/mnt/usb/certwarden")


def test_the_least_is_short(house: House) -> None:
    """What was not asked for is not there, as is what is a default anyway."""
    config = loaded(Answers(domains=("example.org",), place=Place.NONE), house)
    assert config.certificates[0].targets == ()
    assert (config.authority, config.backup, config.notify.urls_file) == (None, None, None)
    assert config.acme.directory_url.startswith("https://acme-v02.api.letsencrypt.org/")


def test_files_are_copied_where_they_are_wanted(house: House) -> None:
    """As for Home Assistant's add-ons, which follow no links."""
    answers = Answers(
        domains=("example.org",),
        place=Place.FILES,
        key_path=Path("/ssl/privkey.pem"),
        certificate_path=Path("/ssl/fullchain.pem"),
    )
    (target,) = loaded(answers, house).certificates[0].targets
    assert (target.copy, target.key_path, target.group) == (True, Path("/ssl/privkey.pem"), None)
    group = grp.getgrgid(os.getegid()).gr_name
    bare = replace(answers, key_path=None, certificate_path=None, group=group)
    (target,) = loaded(bare, house).certificates[0].targets
    assert (target.copy, target.group, target.probe) == (False, group, None)
