"""A backup as bytes: all of it comes back, nothing stands in clear, garbage gets a sentence."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import MaterialError
from certwarden.model import (
    Backup,
    Booked,
    ClientCertificate,
    ClientPurpose,
    RevocationReason,
    Secret,
)
from certwarden.pki import sealing
from certwarden.pki.backup import build_backup, content_mark, read_backup
from certwarden.pki.certificate import even_hex
from certwarden.pki.sealing import Label, read_label, seal, unseal
from tests.builders import NOW, an_account
from tests.builders_authority import a_client_certificate, a_private_authority

PASSPHRASE = Secret(b"correct horse battery staple")


@pytest.fixture(autouse=True, scope="module")
def cheap_scrypt() -> Iterator[None]:
    """Seals quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_COST", 2)
        patch.setattr(sealing, "_COSTS", {2})
        yield


def a_backup(*booked: Booked) -> Backup:
    authority = a_private_authority()
    return Backup(
        made_at=NOW,
        root_pem=authority.root_pem,
        key_pem=Secret(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
        is_locked=False,
        passphrase=Secret(b"kept-apart"),
        crl_pem=authority.crl(3).pem,
        probe=authority.client(),
        booked=booked or (Booked(a_client_certificate(is_signed=True), b"PEM"),),
        last_number=3,
        accounts=(an_account(),),
        config_text='[authority]\nname = "Zuhause \u2302"\n'.encode(),
    )


instants = st.none() | st.datetimes().map(lambda each: each.replace(tzinfo=NOW.tzinfo))
certificates = st.builds(
    ClientCertificate,
    serial=st.integers(1, 2**159).map(even_hex),
    name=st.text(max_size=30),
    email=st.none() | st.text(max_size=30),
    not_before=instants,
    not_after=instants,
    purpose=st.sampled_from(ClientPurpose),
    is_signed=st.booleans(),
    revoked_at=instants,
    reason=st.none() | st.sampled_from(RevocationReason),
    supersede_at=instants,
)


@settings(deadline=None)
@given(st.lists(st.builds(Booked, certificates, st.none() | st.just(b"PEM\n")), max_size=5))
def test_everything_comes_back(booked: list[Booked]) -> None:
    """Whatever the names of clients are, and whatever is absent."""
    backup = replace(a_backup(), booked=tuple(booked))
    assert read_backup(build_backup(backup, PASSPHRASE), PASSPHRASE) == backup


def test_what_may_be_absent_may_be_absent() -> None:
    """A locked CA before its first list."""
    backup = replace(
        a_backup(), is_locked=True, passphrase=None, crl_pem=None, probe=None, accounts=()
    )
    assert read_backup(build_backup(backup, PASSPHRASE), PASSPHRASE) == backup


def test_nothing_of_it_stands_in_clear() -> None:
    """Neither a secret nor a name: but the date, and a mark."""
    backup = a_backup()
    sealed = build_backup(backup, PASSPHRASE)
    for hidden in (b"kept-apart", b"alice", b"PRIVATE", b"authority", PASSPHRASE.reveal()):
        assert hidden not in sealed
    assert read_label(sealed).made_at == NOW
    assert "kept-apart" not in repr(backup)


def test_a_newer_format_is_told() -> None:
    """Rather than called damaged."""
    with pytest.raises(MaterialError, match="newer certwarden"):
        read_backup(seal(b'{"format": 2}', PASSPHRASE, Label(NOW, "")), PASSPHRASE)


def test_content_that_is_not_ours_gets_a_sentence() -> None:
    """Each field in turn of the wrong kind, or missing."""
    content = unseal(build_backup(a_backup(), PASSPHRASE), PASSPHRASE)
    head, row = (json.loads(line) for line in content.split(b"\n"))
    broken = [{**head, key: 3.5} for key in head if key not in {"is_locked", "crl", "passphrase"}]
    broken += [{key: head[key] for key in head if key != gone} for gone in head]
    for each in broken:
        refuse(json.dumps(each).encode())
    needed = row.keys() - {"seen_at"}
    broken = [{key: row[key] for key in row if key != gone} for gone in needed]
    odd_ones = ("serial", "not_before", "purpose", "reason", "seen_at")
    broken += [{**row, key: "\0"} for key in odd_ones]
    broken += [{**row, "serial": odd} for odd in ("abc", "0x12", "AB", "", "-1", "1_00")]
    for each in broken:
        refuse(json.dumps(head).encode() + b"\n" + json.dumps(each).encode())
    for garbage in (b"", b"[]", b"[" * 100_000, b"{", b"\xff", b"null\nnull"):
        refuse(garbage)


def refuse(content: bytes) -> None:
    with pytest.raises(MaterialError) as raised:
        read_backup(seal(content, PASSPHRASE, Label(NOW, "")), PASSPHRASE)
    assert "\n" not in raised.value.what


def test_when_a_client_was_seen_is_no_part_of_older_backups() -> None:
    """They are read all the same; in newer ones it is kept, and makes no backup due."""
    backup = a_backup()
    (booked,) = backup.booked
    seen = replace(booked, certificate=replace(booked.certificate, seen_at=NOW))
    kept = read_backup(build_backup(replace(backup, booked=(seen,)), PASSPHRASE), PASSPHRASE)
    assert kept.booked == (seen,)
    marks = {content_mark(backup.root_pem, [each.certificate]) for each in (booked, seen)}
    assert len(marks) == 1
    head, row = unseal(build_backup(backup, PASSPHRASE), PASSPHRASE).split(b"\n")
    fields = json.loads(row)
    del fields["seen_at"]
    older = seal(head + b"\n" + json.dumps(fields).encode(), PASSPHRASE, Label(NOW, ""))
    assert read_backup(older, PASSPHRASE).booked == (booked,)


def test_the_mark_changes_with_clients_and_root_alone() -> None:
    """Probes come and go in every pass: they are no reason for a backup."""
    root = a_private_authority().root_pem
    alice, bob = a_client_certificate("0a", "alice"), a_client_certificate("0b", "bob")
    probe = a_client_certificate("0c", "probe", purpose=ClientPurpose.PROBE)
    mark = content_mark(root, [alice, bob])
    assert content_mark(root, [bob, probe, alice]) == mark
    assert content_mark(root, [alice]) != mark
    assert content_mark(root + b"\n", [alice, bob]) != mark
    revoked = replace(bob, revoked_at=NOW, reason=RevocationReason.SUPERSEDED)
    assert content_mark(root, [alice, revoked]) != mark
    replaced = replace(bob, supersede_at=NOW + timedelta(days=14))
    assert content_mark(root, [alice, replaced]) != mark
