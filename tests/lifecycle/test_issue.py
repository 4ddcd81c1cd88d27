"""Client certificates: issued, renewed, and refused in a sentence."""

from datetime import timedelta

import pytest

from certwarden.errors import ClockError, LockedError, StoreError, UsageError
from certwarden.lifecycle.issue import ClientRequest, issue, renew_client
from certwarden.model import Admission, KeyType
from certwarden.pki.keys import build_csr, generate_key
from tests.lifecycle.client_house import ClientHouse, as_pair
from tests.lifecycle.facts import DAY, HOUR


@pytest.fixture
def house() -> ClientHouse:
    return ClientHouse()


def test_what_was_issued_gets_in(house: ClientHouse) -> None:
    """It is in the register, good from an hour ago on, for as long as configured."""
    alice = house.client()
    (entry,) = house.world.register.named("alice")
    assert entry == alice.certificate
    assert house.world.register.pem(entry.serial) == alice.pem
    assert house.admission(alice) is Admission.LET_IN
    leaf = as_pair(alice).certificate
    assert (leaf.not_before, leaf.not_after) == (house.now - HOUR, house.now + 825 * DAY)
    assert leaf.names == ("alice.clients.home.arpa",)


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P256])
def test_the_key_is_of_the_kind_asked_for(house: ClientHouse, key_type: KeyType) -> None:
    """Old devices want RSA."""
    (issued,) = issue(house.world, [ClientRequest("alice", key_type=key_type)])
    assert house.admission(issued) is Admission.LET_IN


def test_none_outlives_the_authority(house: ClientHouse) -> None:
    """A certificate that its CA cannot vouch for would be refused."""
    (issued,) = issue(house.world, [ClientRequest("alice", lifetime=5000 * DAY)])
    assert issued.certificate.not_after is not None
    assert issued.certificate.not_after <= house.root.not_after


def test_a_client_brings_its_own_key(house: ClientHouse) -> None:
    """Then no key is made here; what else the request asks for is passed over."""
    csr = build_csr(generate_key(KeyType.ECDSA_P256), ["evil.example"])
    (issued,) = issue(house.world, [ClientRequest("alice", csr=csr)])
    assert issued.key_pem is None
    assert b"evil" not in issued.pem


def test_who_has_a_valid_certificate_gets_no_second_first_one(house: ClientHouse) -> None:
    """Renewal is meant; once all are revoked or over, the name is free again."""
    house.client()
    with pytest.raises(UsageError, match="has a valid certificate"):
        house.client()
    house.withdraw()
    assert house.client().certificate.name == "alice"
    house.after(900 * DAY)
    house.run()
    assert house.client().certificate.name == "alice"


def test_many_are_issued_together_or_not_at_all(house: ClientHouse) -> None:
    """One bad line spoils the batch, before anything is written down."""
    house.client("bob")
    with pytest.raises(UsageError, match="bob"):
        issue(house.world, [ClientRequest("alice"), ClientRequest("bob")])
    with pytest.raises(UsageError, match="twice"):
        issue(house.world, [ClientRequest("carol"), ClientRequest("carol")])
    with pytest.raises(UsageError):
        issue(house.world, [ClientRequest("dave"), ClientRequest("../dave")])
    assert {each.name for each in house.authority.clients} == {"bob"}
    assert len(issue(house.world, [ClientRequest(f"c{n}") for n in range(20)])) == 20


@pytest.mark.parametrize(
    "csr", [b"", b"garbage", b"\0" * 100, b"-----BEGIN CERTIFICATE REQUEST-----"]
)
def test_a_request_that_is_none_is_refused(house: ClientHouse, csr: bytes) -> None:
    """In a sentence, with nothing written down."""
    with pytest.raises(UsageError):
        issue(house.world, [ClientRequest("alice", csr=csr)])
    assert not house.authority.clients


def test_nothing_is_signed_at_a_doubtful_hour(house: ClientHouse) -> None:
    """A certificate from the future would not let its client in."""
    house.world.time_sources.state = False
    with pytest.raises(ClockError):
        house.client()
    assert not house.authority.clients


def test_a_locked_authority_issues_nothing(house: ClientHouse) -> None:
    """And leaves no trace in the register."""
    house.world.key = None
    with pytest.raises(LockedError):
        house.client()
    assert not house.authority.clients


def test_a_serial_is_written_down_before_it_is_signed(
    house: ClientHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the register cannot be written, no signature exists that it does not know of."""

    def fail(*_: object, **__: object) -> bytes:
        raise AssertionError("signed before it was written down")

    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(house.world.register, "add", refuse)
    monkeypatch.setattr("certwarden.lifecycle.issue.build_client", fail)
    with pytest.raises(StoreError):
        house.client()


def test_a_renewal_keeps_the_identity(house: ClientHouse) -> None:
    """Name and address stay, so that flows see the same person; the key is another."""
    (old,) = issue(house.world, [ClientRequest("alice", email="alice@example.org")])
    new, before = renew_client(house.world, ClientRequest("alice"))
    assert new.certificate.email == "alice@example.org"
    assert new.key_pem != old.key_pem
    assert before == (old.certificate.serial,)
    entry = house.world.register.find(old.certificate.serial)
    assert entry is not None
    assert entry.supersede_at == house.now + timedelta(days=14)


def test_who_was_revoked_is_not_renewed(house: ClientHouse) -> None:
    """A revoked client does not come back by the side door; a new first certificate is meant."""
    house.client()
    house.withdraw()
    with pytest.raises(UsageError, match="has no certificate that is not revoked"):
        renew_client(house.world, ClientRequest("alice"))


def test_who_is_not_known_is_not_renewed(house: ClientHouse) -> None:
    """The hint says how a first one is issued."""
    with pytest.raises(UsageError, match="the client alice is not known"):
        renew_client(house.world, ClientRequest("alice"))
