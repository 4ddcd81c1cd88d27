"""Another CA's directory on disk: found as its tool lays it out, no link followed, all capped."""

import os
from pathlib import Path

import pytest

from certwarden.errors import UsageError
from certwarden.store import predecessor
from certwarden.store.predecessor import read_predecessor

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"


def lay_out(home: Path, **files: bytes) -> Path:
    """Writes the files that every CA has, and these."""
    contents = {"ca.crt": CERTIFICATE % b"root", "private/ca.key": b"key", "index.txt": b"V"}
    contents |= files
    for name, data in contents.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(data)
    return home


@pytest.mark.parametrize("named", ["", "..", "../.."])
def test_the_directory_or_the_one_above_may_be_named(tmp_path: Path, named: str) -> None:
    """easy-rsa's own directory has its files in `pki`; openssl's are where they are."""
    home = lay_out(tmp_path / "a" / "pki")
    if named == "../..":
        with pytest.raises(UsageError, match=r"has no index\.txt"):
            read_predecessor(home / named)
    else:
        assert read_predecessor((home / named).resolve()).index == b"V"


@pytest.mark.parametrize("root", ["ca.crt", "cacert.pem", "ca.pem", "certs/ca.cert.pem"])
@pytest.mark.parametrize("key", ["private/ca.key", "private/cakey.pem", "ca.key"])
def test_root_and_key_are_found_where_tools_put_them(tmp_path: Path, root: str, key: str) -> None:
    """Also where guides on the web have them."""
    lay_out(tmp_path)
    for old, new in (("ca.crt", root), ("private/ca.key", key)):
        (tmp_path / new).parent.mkdir(exist_ok=True)
        (tmp_path / old).rename(tmp_path / new)
    found = read_predecessor(tmp_path)
    assert b"root" in found.root_pem
    assert found.key_pem.reveal() == b"key"


def test_everything_is_read_and_each_certificate_once(tmp_path: Path) -> None:
    """Wherever a certificate lies, with or without its text before it."""
    alice, bob = CERTIFICATE % b"alice", CERTIFICATE % b"bob"
    lay_out(
        tmp_path,
        **{
            "issued/alice.crt": b"Certificate:\n  Data:\n" + alice,
            "certs_by_serial/0A.pem": alice,
            "revoked/certs_by_serial/0B.crt": bob,
            "issued/notes.txt": alice,
            "private/other.key": b"key of a client",
            "crl.pem": b"list",
            "crlnumber": b"2A\n",
        },
    )
    found = read_predecessor(tmp_path)
    assert sorted(each for each in found.certificates if b"root" not in each) == [alice, bob]
    assert found.crl_pem == b"list"
    assert found.crl_number == b"2A\n"


@pytest.mark.parametrize("gone", ["ca.crt", "private/ca.key", "index.txt"])
def test_what_is_missing_is_named(tmp_path: Path, gone: str) -> None:
    """With the places where it was looked for."""
    lay_out(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(UsageError) as raised:
        read_predecessor(tmp_path)
    assert gone in raised.value.what


def test_two_different_roots_are_not_guessed_between(tmp_path: Path) -> None:
    """Both are named; two copies of one are one."""
    lay_out(tmp_path, **{"cacert.pem": CERTIFICATE % b"root"})
    read_predecessor(tmp_path)
    (tmp_path / "cacert.pem").write_bytes(CERTIFICATE % b"another")
    with pytest.raises(UsageError, match=r"more than once: ca\.crt, cacert\.pem"):
        read_predecessor(tmp_path)


@pytest.mark.parametrize("name", ["ca.crt", "private/ca.key", "index.txt", "issued/alice.crt"])
def test_a_link_is_not_followed(tmp_path: Path, name: str) -> None:
    """A command that root runs must not read for others what only root may read."""
    home = lay_out(tmp_path / "pki", **{"issued/alice.crt": b""})
    secret = tmp_path / "secret"
    secret.write_bytes(CERTIFICATE % b"secret")
    (home / name).unlink(missing_ok=True)
    (home / name).symlink_to(secret)
    with pytest.raises(UsageError, match="is a link") as raised:
        read_predecessor(home)
    assert "secret" not in raised.value.what


def test_a_linked_directory_is_not_followed(tmp_path: Path) -> None:
    """Nor one among the parts of a path."""
    home = lay_out(tmp_path / "pki")
    (home / "private").rename(tmp_path / "private")
    (home / "private").symlink_to(tmp_path / "private")
    with pytest.raises(UsageError, match="is a link"):
        read_predecessor(home)


def test_a_pipe_does_not_hold_it_up(tmp_path: Path) -> None:
    """It is no file."""
    lay_out(tmp_path)
    (tmp_path / "index.txt").unlink()
    os.mkfifo(tmp_path / "index.txt")
    with pytest.raises(UsageError, match="is no file"):
        read_predecessor(tmp_path)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("index.txt", "MAX_INDEX_BYTES"),
        ("private/ca.key", "MAX_KEY_BYTES"),
        ("crl.pem", "MAX_LIST_BYTES"),
    ],
)
def test_a_file_beyond_all_measure_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str
) -> None:
    """Without being read to its end."""
    monkeypatch.setattr(predecessor, limit, 2048)
    lay_out(tmp_path, **{name: b"x" * 2049})
    with pytest.raises(UsageError, match="larger than 2 KiB"):
        read_predecessor(tmp_path)


def test_more_certificates_than_can_be_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory stays bounded."""
    monkeypatch.setattr(predecessor, "MAX_CERTIFICATES", 3)
    certificates = {f"newcerts/{n}.pem": CERTIFICATE % (b"%d" % n) for n in range(4)}
    lay_out(tmp_path, **certificates)
    with pytest.raises(UsageError, match="more certificates than"):
        read_predecessor(tmp_path)


def test_a_directory_that_is_none_gets_a_sentence(tmp_path: Path) -> None:
    """Missing, or a file."""
    (tmp_path / "file").write_bytes(b"")
    for name in ("missing", "file"):
        with pytest.raises(UsageError, match="cannot be read"):
            read_predecessor(tmp_path / name)
