"""The container of a backup: what was put in comes out for the passphrase, and for nothing else."""

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.errors import LockedError, MaterialError
from certwarden.model import Secret
from certwarden.pki import sealing
from certwarden.pki.sealing import Label, read_label, seal, unseal
from tests.builders import NOW

LABEL = Label(NOW, "ab12")
PASSPHRASE = Secret(b"correct horse battery staple")
REAL_COST = sealing._COST


@pytest.fixture(autouse=True, scope="module")
def cheap_scrypt() -> Iterator[None]:
    """Seals quickly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "_COST", 2)
        patch.setattr(sealing, "_COSTS", {2, *sealing._COSTS})
        yield


def with_head(data: bytes, **changed: object) -> bytes:
    """The container with other fields in its second line."""
    first, second, rest = data.split(b"\n", 2)
    fields = json.loads(second) | changed
    return b"\n".join([first, json.dumps(fields).encode(), rest])


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=2000))
def test_what_was_sealed_comes_out_again(content: bytes) -> None:
    """Byte for byte."""
    assert unseal(seal(content, PASSPHRASE, LABEL), PASSPHRASE) == content


def test_the_label_is_read_without_the_passphrase() -> None:
    """From the first bytes of the file alone."""
    sealed = seal(b"x" * 10_000, PASSPHRASE, LABEL)
    assert read_label(sealed[: sealing.MAX_LABEL_BYTES]) == LABEL


def test_a_guess_at_the_passphrase_is_costly() -> None:
    """128 MiB of memory for each (scrypt's 128 n r)."""
    assert 128 * REAL_COST * sealing._BLOCK_SIZE == 128 * 1024 * 1024


@pytest.mark.parametrize("typed", ["cafe\u0301 creme brulee", " caf\u00e9 creme brulee\n"])
def test_the_same_passphrase_from_another_keyboard_opens_it(typed: str) -> None:
    """Composed or not, and whatever blanks a file has around it."""
    sealed = seal(b"content", Secret("caf\u00e9 creme brulee".encode()), LABEL)
    assert unseal(sealed, Secret(typed.encode())) == b"content"


def test_another_passphrase_opens_nothing() -> None:
    """The sentence does not quote it."""
    with pytest.raises(LockedError) as raised:
        unseal(seal(b"content", PASSPHRASE, LABEL), Secret(b"wrong"))
    assert "wrong" not in raised.value.what + raised.value.hint


def test_two_containers_of_one_content_have_nothing_in_common() -> None:
    """Salt and nonce are drawn afresh for each."""
    one, other = (seal(b"content", PASSPHRASE, LABEL) for _ in range(2))
    assert one.split(b"\n", 2)[2] != other.split(b"\n", 2)[2]


def test_a_change_anywhere_is_noticed() -> None:
    """Whichever byte it is: of what is sealed, and of what stands in clear."""
    sealed = seal(b"content" * 20, PASSPHRASE, LABEL)
    step = max(len(sealed) // 60, 1)
    for place in range(0, len(sealed), step):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises((LockedError, MaterialError)):
            unseal(bytes(changed), PASSPHRASE)


def test_another_label_is_noticed() -> None:
    """Its date and mark are sealed too."""
    sealed = seal(b"content", PASSPHRASE, LABEL)
    with pytest.raises(LockedError):
        unseal(with_head(sealed, made_at="2030-01-01T00:00:00Z"), PASSPHRASE)
    with pytest.raises(LockedError):
        unseal(with_head(sealed, mark="cd34"), PASSPHRASE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"certwarden backup 1\n",
        b"certwarden backup 1\n{}\n",
        b"certwarden backup 1\n[]\n",
        b"certwarden backup 1\n" + b"[" * 900 + b"\n",
        b"certwarden backup 1\nnull\nrest",
        b"PK\x03\x04" + b"\0" * 5000,
        b"\xff" * 5000,
        b"certwarden backup " + b"1" * 5000,
    ],
)
def test_what_is_no_backup_gets_a_sentence(data: bytes) -> None:
    """Whatever the file is."""
    with pytest.raises(MaterialError):
        unseal(data, PASSPHRASE)


@given(st.binary(max_size=1500))
def test_garbage_after_the_first_line_gets_a_sentence(rest: bytes) -> None:
    """And nothing but a sentence."""
    with pytest.raises((MaterialError, LockedError)):
        unseal(b"certwarden backup 1\n" + rest, PASSPHRASE)


@pytest.mark.parametrize(
    "changed",
    [
        {"scrypt": {"n": 2**30, "salt": "AAAAAAAAAAAAAAAAAAAAAA=="}},
        {"scrypt": {"n": 2**14 + 1, "salt": "AAAAAAAAAAAAAAAAAAAAAA=="}},
        {"scrypt": {"n": -1, "salt": "AAAAAAAAAAAAAAAAAAAAAA=="}},
        {"scrypt": {"n": 2**14, "salt": "AAAA"}},
        {"scrypt": {"n": 2**14, "salt": "not base64"}},
        {"nonce": "AAAA"},
        {"made_at": "yesterday"},
        {"made_at": None},
    ],
)
def test_a_head_that_asks_for_too_much_is_refused(changed: dict[str, object]) -> None:
    """Neither all memory nor a hang; nor a traceback."""
    with pytest.raises(MaterialError, match="first lines are damaged"):
        unseal(with_head(seal(b"", PASSPHRASE, LABEL), **changed), PASSPHRASE)


def test_a_newer_format_is_told() -> None:
    """Rather than called damaged."""
    sealed = seal(b"", PASSPHRASE, LABEL).replace(b"backup 1\n", b"backup 2\n", 1)
    with pytest.raises(MaterialError, match="newer certwarden"):
        unseal(sealed, PASSPHRASE)


def test_what_swells_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even from someone who knows the passphrase: memory stays within the limit."""
    sealed = seal(b"\0" * 50_000_000, PASSPHRASE, LABEL)
    monkeypatch.setattr(sealing, "MAX_SEALED_BYTES", 1024 * 1024)
    tracemalloc.start()
    with pytest.raises(MaterialError, match="larger than 1 MiB"):
        unseal(sealed, PASSPHRASE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_more_than_the_limit_is_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read again is not written."""
    monkeypatch.setattr(sealing, "MAX_SEALED_BYTES", 1000)
    with pytest.raises(MaterialError):
        seal(b"x" * 1001, PASSPHRASE, LABEL)
    with pytest.raises(MaterialError):
        unseal(b"certwarden backup 1\n" + b"x" * 1001, PASSPHRASE)


def test_the_instant_is_written_in_utc() -> None:
    """To the second, as everything that we write."""
    instant = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
    assert b"2026-11-22T01:30:00Z" in seal(b"", PASSPHRASE, Label(instant, ""))
