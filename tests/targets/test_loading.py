"""OpenSSL itself says whether a generation can be loaded."""

from collections.abc import Callable
from pathlib import Path

import pytest

from certwarden.errors import TargetError
from certwarden.model import TARGET_KINDS, GenerationFile, TargetKind
from certwarden.targets.generation import Material, data_of
from certwarden.targets.loading import check_loadable
from tests.builders import a_pair
from tests.targets.trust import SmallAuthority

AUTHORITY = SmallAuthority()
ALL = tuple(GenerationFile)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A generation with all its files."""
    for file, data in data_of(Material(a_pair(), AUTHORITY.trust())).items():
        (tmp_path / file).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("kind", TARGET_KINDS.values(), ids=TARGET_KINDS)
def test_a_whole_generation_is_loaded(whole: Path, kind: TargetKind) -> None:
    """Of every kind, and then there is nothing to say."""
    check_loadable(whole, kind.files)


FAULTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "another key": (
        "privkey.pem",
        lambda at: (at / "privkey.pem").write_bytes(a_pair().key_pem.reveal()),
    ),
    "no certificate": ("privkey.pem", lambda at: (at / "fullchain.pem").write_bytes(b"")),
    "no key in the combined file": (
        "combined.pem",
        lambda at: (at / "combined.pem").write_bytes(a_pair().fullchain_pem),
    ),
    "empty list": ("client-crl.pem", lambda at: (at / "client-crl.pem").write_bytes(b"")),
    "garbage list": (
        "client-crl.pem",
        lambda at: (at / "client-crl.pem").write_bytes(b"\x00garbage"),
    ),
    "empty CA": ("client-ca.pem", lambda at: (at / "client-ca.pem").write_bytes(b"")),
}


@pytest.mark.parametrize(("file", "damage"), FAULTS.values(), ids=FAULTS)
def test_what_openssl_refuses_is_told(
    whole: Path, file: str, damage: Callable[[Path], object]
) -> None:
    """By the name of the file, and without a piece of it."""
    damage(whole)

    with pytest.raises(TargetError, match=f"cannot load the new {file}") as caught:
        check_loadable(whole, ALL)

    assert "PRIVATE KEY" not in str(caught.value)
    assert caught.value.hint


def test_an_absent_file_is_no_verdict(whole: Path) -> None:
    """That is the disk's fault, not OpenSSL's."""
    (whole / "privkey.pem").unlink()

    with pytest.raises(FileNotFoundError):
        check_loadable(whole, ALL)
