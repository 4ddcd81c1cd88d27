"""The book's rows out and back in: nothing is lost, and no revocation is ever taken back."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import StoreError
from certwarden.model import Booked, ClientPurpose, RevocationReason
from certwarden.store.archive import RegisterArchive
from certwarden.store.database import Database
from certwarden.store.register import Register
from certwarden.store.schema import MIGRATIONS
from tests.builders import NOW
from tests.builders_authority import a_client_certificate, a_private_authority, a_revocation


class Book:
    """A register and its archive, over one database in memory."""

    def __init__(self) -> None:
        database = Database(Path("nowhere") / "certwarden.db", MIGRATIONS, create=False)
        self.register, self.archive = Register(database), RegisterArchive(database)


def row(serial: str = "0a", *, pem: bytes | None = b"PEM", is_revoked: bool = False) -> Booked:
    certificate = a_client_certificate(serial, is_signed=True)
    if is_revoked:
        certificate = replace(certificate, revoked_at=NOW, reason=RevocationReason.KEY_COMPROMISE)
    return Booked(certificate, pem)


def test_every_row_comes_out_and_goes_back_in() -> None:
    """Probes, revoked and taken-over ones, those that were never signed; in their order."""
    book, other = Book(), Book()
    book.register.add([a_client_certificate("0a", "zoe"), a_client_certificate("0b", "bob")])
    book.register.signed({"0a": b"PEM of zoe"})
    book.register.add([a_client_certificate("0c", purpose=ClientPurpose.PROBE)])
    book.register.revoke(["0a", "0c"], RevocationReason.SUPERSEDED, NOW)
    book.register.supersede(["0b"], NOW + timedelta(days=1))
    book.register.take_over([a_revocation("0d")], 5)
    rows = book.archive.rows()
    assert [each.certificate.serial for each in rows] == ["0a", "0b", "0c", "0d"]
    other.archive.put_back(rows)
    assert other.archive.rows() == rows
    assert other.register.unlisted(None) == book.register.unlisted(None)


def test_putting_back_twice_is_the_same_as_once() -> None:
    """A restore that was killed is run again."""
    book = Book()
    rows = (row("0a"), row("0b", is_revoked=True))
    book.archive.put_back(rows)
    book.archive.put_back(rows)
    assert book.archive.rows() == rows


@settings(deadline=None)
@given(there=st.booleans(), back=st.booleans())
def test_what_either_says_is_revoked_is_revoked(*, there: bool, back: bool) -> None:
    """An old backup must not let anybody in again, and a new one is believed."""
    book = Book()
    book.archive.put_back([row(is_revoked=there)])
    book.archive.put_back([row(is_revoked=back)])
    (found,) = book.register.clients()
    assert (found.revoked_at is not None) is (there or back)
    assert (book.register.unlisted(None) == {"0a"}) is (there or back)


def test_a_row_that_is_there_stays_as_it_is() -> None:
    """What is in the book now is newer than a backup."""
    book = Book()
    book.archive.put_back([row()])
    older = replace(row().certificate, name="another", not_after=NOW)
    book.archive.put_back([Booked(older, None)])
    assert book.archive.rows() == (row(),)


def test_a_row_of_which_only_the_serial_is_known_is_filled_in() -> None:
    """It was taken over from a list; when and why it was revoked stays."""
    book = Book()
    book.register.take_over([a_revocation("0a", reason=RevocationReason.SUPERSEDED)], 3)
    book.archive.put_back([row()])
    (found,) = book.archive.rows()
    assert found.pem == b"PEM"
    assert (found.certificate.name, found.certificate.revoked_at) == ("alice", NOW)
    assert found.certificate.reason is RevocationReason.SUPERSEDED


def test_revocations_that_come_back_are_in_the_next_list() -> None:
    """Also of certificates that have expired since: no list of ours may have told of them."""
    book = Book()
    authority = a_private_authority()
    book.register.sign_lists([NOW], NOW, authority.sign_list)
    book.archive.put_back([row(is_revoked=True)])
    (crl,) = book.register.sign_lists([NOW], NOW, authority.sign_list)
    assert crl.serials == {"0a"}


def test_none_is_put_back_where_one_cannot_be() -> None:
    """All or nothing."""
    book = Book()
    broken = Booked(replace(row("0b").certificate, name=None), None)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        book.archive.put_back([row("0a"), broken])
    assert book.archive.rows() == ()
