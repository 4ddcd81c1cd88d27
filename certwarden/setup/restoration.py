"""What a configuration asks of a machine that may have nothing of it yet.

Groups and secrets that a configuration names have to be there before it can be read as one; so it
is looked at here as plain TOML, for no more than that. Judges nothing of it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from certwarden.errors import UsageError
from certwarden.frozen import frozen
from certwarden.setup.answers import LETSENCRYPT
from certwarden.setup.configuration import House


@frozen
class Outlined:
    """A configuration as far as a new machine has to know of it beforehand."""

    domains: tuple[str, ...]
    groups: tuple[str, ...]
    settings: Path | None  # of the first target that has some
    is_asking_clients: bool  # that target
    port: int | None  # where it is probed
    api_url: str | None
    needs_urls: bool
    directory: str


def outlined(text: bytes) -> Outlined:
    """A backup's configuration, looked at; raises UsageError where it is no TOML."""
    document = _document(text)
    certificates = list(_tables(document, "certificate"))
    targets = [target for each in certificates for target in _tables(each, "target")]
    chosen = next((each for each in targets if isinstance(each.get("settings"), str)), {})
    port = str(chosen.get("probe", "")).rpartition(":")[2]
    url = _table(document, "cloudflare").get("base_url")
    return Outlined(
        domains=tuple(str(name) for each in certificates for name in each.get("domains", ())),
        groups=tuple(sorted({each["group"] for each in targets if each.get("group")})),
        settings=Path(chosen["settings"]) if chosen else None,
        is_asking_clients=chosen.get("client_auth") is True,
        port=int(port) if port.isdecimal() else None,
        api_url=url if isinstance(url, str) else None,
        needs_urls="urls_file" in _table(document, "notify"),
        directory=str(_table(document, "acme").get("directory", LETSENCRYPT)),
    )


def house_of(text: bytes, house: House) -> House:
    """Where this configuration has its secrets; what it does not say stays."""
    document = _document(text)
    named = {
        "token": _table(document, "cloudflare").get("api_token_file"),
        "notify_urls": _table(document, "notify").get("urls_file"),
        "backup_passphrase": _table(document, "backup").get("passphrase_file"),
        "ca_bundle": _table(document, "acme").get("ca_bundle"),
    }
    places = {
        name: house.config_file.parent / path
        for name, path in named.items()
        if isinstance(path, str)
    }
    return replace(house, **places)


def _document(text: bytes) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8-sig"))
    except ValueError:
        raise UsageError(
            "the configuration in the backup cannot be read", "write one, and restore again"
        ) from None


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _tables(document: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    found = document.get(name)
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict):
            yield each
