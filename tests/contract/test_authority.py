"""What the port Authority promises, held against the files and against their fake."""

from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.errors import MaterialError, StoreError, UsageError
from certwarden.model import Secret
from certwarden.pki.authority import extend_root, read_root
from certwarden.ports import Authority
from certwarden.store.authority import AuthorityStore
from tests.builders import NOW
from tests.builders_authority import a_private_authority
from tests.fakes_authority import FakeAuthority

KEY = Secret(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
CA = a_private_authority()


@pytest.fixture(params=["fake", "real"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    """An authority before it is created."""
    return FakeAuthority() if request.param == "fake" else AuthorityStore(tmp_path / "state")


@pytest.fixture
def founded(authority: Authority) -> Authority:
    """One that was just created."""
    authority.create(CA.root_pem, KEY, is_locked=False)
    return authority


def test_before_it_is_created(authority: Authority) -> None:
    """There is nothing yet, and only asking for the key is an error."""
    assert authority.root() is None
    assert authority.crl() is None
    assert authority.probe() is None
    assert not authority.is_locked()
    with pytest.raises(StoreError, match=r"root\.key"):
        authority.key()


@pytest.mark.parametrize("is_locked", [False, True])
def test_created(authority: Authority, *, is_locked: bool) -> None:
    """Root, key and whose the passphrase is are found as they were given; a list comes later."""
    authority.create(CA.root_pem, KEY, is_locked=is_locked)
    assert authority.root() == read_root(CA.root_pem)
    assert authority.key() == KEY
    assert authority.is_locked() == is_locked
    assert authority.crl() is None
    assert authority.probe() is None


def test_never_in_place_of_another(founded: Authority) -> None:
    """A second creation is refused with exit 2, and changes nothing."""
    other = a_private_authority("Other client CA")
    with pytest.raises(UsageError, match="there is a private CA already"):
        founded.create(other.root_pem, Secret(b"other"), is_locked=True)
    assert founded.root() == read_root(CA.root_pem)
    assert founded.key() == KEY
    assert not founded.is_locked()


def test_the_root_is_replaced(founded: Authority) -> None:
    """Key and list stay; what the old root has signed is good under the new one."""
    crl = CA.crl(1, "0a")
    founded.publish(crl)
    extended = extend_root(CA.root_pem, CA.key, NOW + timedelta(days=365))
    founded.replace_root(extended)
    assert founded.root() == read_root(extended)
    assert founded.key() == KEY
    assert founded.crl() == crl


def test_what_is_no_root_is_refused(authority: Authority) -> None:
    """Nothing unreadable takes the root's place, or is made one."""
    with pytest.raises(MaterialError):
        authority.create(b"no certificate", KEY, is_locked=False)
    assert authority.root() is None
    authority.create(CA.root_pem, KEY, is_locked=False)
    with pytest.raises(MaterialError):
        authority.replace_root(b"no certificate")
    assert authority.root() == read_root(CA.root_pem)


def test_lists_are_published(founded: Authority) -> None:
    """The newest one counts; the same once more does no harm."""
    for crl in (CA.crl(1), CA.crl(2, "0a", "0b")):
        for _ in range(2):
            founded.publish(crl)
            assert founded.crl() == crl


def test_no_older_list_is_published(founded: Authority) -> None:
    """One of a lower number is refused in a sentence, and the published one stays."""
    newer = CA.crl(7, "0a")
    founded.publish(newer)
    with pytest.raises(StoreError, match="older than the published one") as refused:
        founded.publish(CA.crl(6))
    assert refused.value.hint
    assert founded.crl() == newer


def test_the_last_probe_is_kept(founded: Authority) -> None:
    """With its key, to be refused by; another takes its place."""
    for serial in ("0a", "0b"):
        probe = CA.client(serial)
        founded.save_probe(probe)
        assert founded.probe() == probe
