"""A backup as bytes: JSON lines, sealed. The first has the CA, each further one a row of the book.

Independent of the tables of the database: what is written here must be read by every certwarden
from now on. What comes back is judged line by line, though only who knew the passphrase can have
written it. Knows no files.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import cast

from certwarden.errors import MaterialError
from certwarden.model import (
    Account,
    Backup,
    Booked,
    ClientCertificate,
    ClientPurpose,
    Pair,
    RevocationReason,
    Secret,
)
from certwarden.pki.certificate import read_pair
from certwarden.pki.sealing import Label, read_label, seal, unseal

_FORMAT = 1
_SERIAL = re.compile(r"(?:[0-9a-f]{2}){1,20}")
_Fields = Mapping[str, object]


def build_backup(backup: Backup, passphrase: Secret) -> bytes:
    """The backup, sealed under the passphrase; raises MaterialError where it is too large."""
    head = {
        "format": _FORMAT,
        "root": backup.root_pem.decode(),
        "key": _shown(backup.key_pem),
        "is_locked": backup.is_locked,
        "passphrase": backup.passphrase and _shown(backup.passphrase),
        "crl": backup.crl_pem and backup.crl_pem.decode(),
        "probe": backup.probe
        and {"key": _shown(backup.probe.key_pem), "chain": backup.probe.fullchain_pem.decode()},
        "last_number": backup.last_number,
        "accounts": [
            {"directory_url": each.directory_url, "key": _shown(each.key_pem), "url": each.url}
            for each in backup.accounts
        ],
        "config": backup.config_text.decode(),
    }
    lines = [json.dumps(head), *(json.dumps(_row(each)) for each in backup.booked)]
    content = "\n".join(lines).encode()
    mark = content_mark(backup.root_pem, (each.certificate for each in backup.booked))
    return seal(content, passphrase, Label(backup.made_at, mark))


def read_backup(sealed: bytes, passphrase: Secret) -> Backup:
    """The backup; raises MaterialError where it cannot be read, LockedError for the passphrase."""
    content = unseal(sealed, passphrase)
    first, *rows = content.split(b"\n")
    try:
        head = _object(json.loads(first))
        if head["format"] != _FORMAT:
            raise MaterialError("the backup was written by a newer certwarden", "install that one")
        return Backup(
            made_at=read_label(sealed).made_at,
            root_pem=_text(head, "root").encode(),
            key_pem=Secret(_text(head, "key").encode()),
            is_locked=bool(head["is_locked"]),
            passphrase=_secret(head["passphrase"]),
            crl_pem=_bytes(head["crl"]),
            probe=_probe(head["probe"]),
            booked=tuple(_booked(_object(json.loads(row))) for row in rows),
            last_number=_number(head, "last_number"),
            accounts=tuple(_account(_object(each)) for each in _list(head["accounts"])),
            config_text=_text(head, "config").encode(),
        )
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
        raise MaterialError(
            "what is in the backup is not as it was written", "take another backup"
        ) from None


def content_mark(root_pem: bytes, certificates: Iterable[ClientCertificate]) -> str:
    """What tells whether root and clients have changed since a backup.

    The probes come and go by themselves: they are left out.
    """
    digest = hashlib.sha256(root_pem)
    rows = sorted(
        json.dumps(_fields(each)) for each in certificates if each.purpose is ClientPurpose.CLIENT
    )
    for row in rows:
        digest.update(row.encode())
    return digest.hexdigest()


def _row(booked: Booked) -> dict[str, object]:
    # When it was last seen is no part of what tells whether anything has changed.
    seen_at = _instant_text(booked.certificate.seen_at)
    pem = booked.pem and booked.pem.decode()
    return {**_fields(booked.certificate), "seen_at": seen_at, "pem": pem}


def _fields(certificate: ClientCertificate) -> dict[str, object]:
    return {
        "serial": certificate.serial,
        "name": certificate.name,
        "email": certificate.email,
        "not_before": _instant_text(certificate.not_before),
        "not_after": _instant_text(certificate.not_after),
        "purpose": certificate.purpose.value,
        "is_signed": certificate.is_signed,
        "revoked_at": _instant_text(certificate.revoked_at),
        "reason": certificate.reason and certificate.reason.value,
        "supersede_at": _instant_text(certificate.supersede_at),
    }


def _booked(fields: _Fields) -> Booked:
    email, reason = fields["email"], fields["reason"]
    certificate = ClientCertificate(
        serial=_serial(fields),
        name=_text(fields, "name"),
        email=None if email is None else _text(fields, "email"),
        not_before=_instant(fields["not_before"]),
        not_after=_instant(fields["not_after"]),
        purpose=ClientPurpose(_text(fields, "purpose")),
        is_signed=bool(fields["is_signed"]),
        revoked_at=_instant(fields["revoked_at"]),
        reason=None if reason is None else RevocationReason(_text(fields, "reason")),
        supersede_at=_instant(fields["supersede_at"]),
        seen_at=_instant(fields.get("seen_at")),  # not in backups from before it was known
    )
    return Booked(certificate, _bytes(fields["pem"]))


def _account(fields: _Fields) -> Account:
    key = Secret(_text(fields, "key").encode())
    return Account(_text(fields, "directory_url"), key, _text(fields, "url"))


def _probe(value: object) -> Pair | None:
    if value is None:
        return None
    fields = _object(value)
    key = Secret(_text(fields, "key").encode())
    return read_pair(key, _text(fields, "chain").encode())


def _object(value: object) -> _Fields:
    if not isinstance(value, dict):
        raise TypeError
    return cast("_Fields", value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _text(fields: _Fields, name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _serial(fields: _Fields) -> str:
    serial = _text(fields, "serial")
    if not _SERIAL.fullmatch(serial):
        raise ValueError("serial")
    return serial


def _number(fields: _Fields, name: str) -> int:
    value = fields[name]
    if not isinstance(value, int) or value < 0:
        raise TypeError(name)
    return value


def _bytes(value: object) -> bytes | None:
    return None if value is None else str(value).encode()


def _secret(value: object) -> Secret | None:
    return None if value is None else Secret(str(value).encode())


def _shown(secret: Secret) -> str:
    return secret.reveal().decode()


def _instant_text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()


def _instant(value: object) -> datetime | None:
    if value is None:
        return None
    instant = datetime.fromisoformat(str(value))
    if instant.tzinfo is None:
        raise ValueError("not in UTC")
    return instant
