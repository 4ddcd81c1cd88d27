"""The configuration that the answers come to, as text with its comments.

Owns what setup writes into config.toml: what was answered, in the words of config.example.toml, and
nothing that is a default anyway. Writes it nowhere.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from certwarden.frozen import frozen
from certwarden.model import TARGET_KINDS, Address
from certwarden.setup.answers import Answers, Place

AUTHORITY_NAME = "Home client CA"
TARGET = "node-red"
CERTIFICATE = "home"


@frozen
class House:
    """Where the configuration is, and what it names: secrets, and whom to trust."""

    config_file: Path
    token: Path  # Cloudflare's API token
    notify_urls: Path
    ca_passphrase: Path  # `ca init` makes it
    backup_passphrase: Path
    ca_bundle: Path  # whom to trust for the directory's own TLS

    @classmethod
    def at(cls, config_file: Path) -> "House":
        """All of it beside the configuration."""
        secrets = config_file.parent / "secrets"
        return cls(
            config_file,
            token=secrets / "cloudflare.token",
            notify_urls=secrets / "notify.urls",
            ca_passphrase=secrets / "ca.passphrase",
            backup_passphrase=secrets / "backup.passphrase",
            ca_bundle=config_file.parent / "acme-ca.pem",
        )

    @property
    def secrets(self) -> Path:
        """The directory of secrets."""
        return self.config_file.parent / "secrets"


def configuration(answers: Answers, house: House) -> str:
    """The text of config.toml; `answers` are complete."""
    parts = [
        _HEAD,
        _acme(answers, house),
        _cloudflare(answers, house),
        _dns(answers),
        _notify(answers, house),
        _authority(answers, house),
        _backup(answers, house),
        _certificate(answers),
    ]
    return "\n".join(part for part in parts if part)


_HEAD = """\
# certwarden's configuration, made by `certwarden setup`; it is yours now. `certwarden config check`
# names every mistake at once, `certwarden config show` prints what is in force, defaults included.
# All that can be said here: config.example.toml, or docs/reference.md.
"""


def _acme(answers: Answers, house: House) -> str:
    lines = [
        "# The public CA, and that you have read its terms and agree.",
        "[acme]",
        f"directory = {_text(answers.directory)}",
        *_if("staging_directory", answers.staging_directory),
        *_if("ca_bundle", house.ca_bundle if answers.ca_bundle is not None else None),
        "terms_of_service_agreed = true",
    ]
    return _lines(lines)


def _cloudflare(answers: Answers, house: House) -> str:
    lines = [
        "# Where the domain is hosted: a file with nothing but an API token that has Zone:Read and",
        "# DNS:Edit.",
        "[cloudflare]",
        f"api_token_file = {_text(house.token)}",
        *_if("base_url", answers.api_url),
    ]
    return _lines(lines)


def _dns(answers: Answers) -> str:
    if not answers.nameservers:
        return ""
    servers = ", ".join(map(_text, answers.nameservers))
    return _lines(
        ["# Whom to ask whether a record is to be seen.", "[dns]", f"nameservers = [{servers}]"]
    )


def _notify(answers: Answers, house: House) -> str:
    if answers.notify_urls is None:
        return ""
    return _lines(
        [
            "# By which you are told what goes wrong; `certwarden notify test` tries them.",
            "[notify]",
            f"urls_file = {_text(house.notify_urls)}",
        ]
    )


def _authority(answers: Answers, house: House) -> str:
    if not answers.needs_client_auth:
        return ""
    return _lines(
        [
            "# The private CA: only devices with a certificate of it get in.",
            "[authority]",
            f"name = {_text(AUTHORITY_NAME)}",
            f"passphrase_file = {_text(house.ca_passphrase)}",
        ]
    )


def _backup(answers: Answers, house: House) -> str:
    if answers.backup_directory is None:
        return ""
    return _lines(
        [
            "# One encrypted file after each change. Keep its passphrase elsewhere, too.",
            "[backup]",
            f"directory = {_text(answers.backup_directory)}",
            f"passphrase_file = {_text(house.backup_passphrase)}",
        ]
    )


def _certificate(answers: Answers) -> str:
    names = ", ".join(map(_text, answers.domains))
    lines = [
        "# A star stands for one label: *.example.org is not example.org itself.",
        "[[certificate]]",
        f"name = {_text(CERTIFICATE)}",
        f"domains = [{names}]",
        *_target(answers),
    ]
    return _lines(lines)


def _target(answers: Answers) -> Iterator[str]:
    if answers.place in (None, Place.NONE):
        return
    yield ""
    yield "[[certificate.target]]"
    is_for_node_red = answers.place is Place.NODE_RED or answers.container
    yield f"name = {_text(TARGET if is_for_node_red else str(Place.FILES))}"
    yield f"kind = {_text(TARGET_KINDS[str(answers.place)].name)}"
    if answers.place is Place.FILES:
        if answers.key_path and answers.certificate_path:
            yield f"key = {_text(answers.key_path)}"
            yield f"certificate = {_text(answers.certificate_path)}"
            yield "copy = true"
        else:
            yield "# Who may read the key: this group."
            yield f"group = {_text(answers.group)}"
        return
    yield "# Who may read the key: this group, which Node-RED's user is in."
    yield f"group = {_text(answers.group)}"
    if answers.needs_client_auth:
        yield "client_auth = true"
    yield "# By certwarden's line in settings.js, without a restart."
    yield "reload = { hot = true }"
    yield f"probe = {_text(str(Address(answers.host, answers.port)))}"
    if answers.node_red:
        yield f"settings = {_text(answers.node_red.settings)}"


def _if(key: str, value: str | Path | None) -> list[str]:
    return [] if value is None else [f"{key} = {_text(value)}"]


def _text(value: str | Path) -> str:
    """A basic string of TOML, which JSON's are but for what is beyond the first plane."""
    return json.dumps(str(value), ensure_ascii=False)


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
