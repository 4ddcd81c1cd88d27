"""The few lines of DER: what is written can be read, and rubbish is a ValueError."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certwarden.pki.der import INTEGER, OCTET_STRING, decode, encode, encode_integer, pem
from tests.pki.programs import run


@settings(deadline=None)
@given(st.binary(max_size=70_000))
def test_what_is_encoded_is_decoded(content: bytes) -> None:
    """With lengths of one octet, of two, and of three."""
    assert decode(encode(OCTET_STRING, content) * 2) == [(OCTET_STRING, content)] * 2


def test_lengths_are_as_short_as_they_can_be() -> None:
    """DER has one way to say each (X.690 section 10.1)."""
    assert encode(OCTET_STRING, b"x" * 127)[:2] == bytes([OCTET_STRING, 127])
    assert encode(OCTET_STRING, b"x" * 64, b"x" * 64)[:3] == bytes([OCTET_STRING, 0x81, 128])
    assert encode(OCTET_STRING, b"x" * 256)[:4] == bytes([OCTET_STRING, 0x82, 1, 0])


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**64))
def test_numbers_are_positive(number: int) -> None:
    """The first bit is the sign; and no octet more than is needed."""
    ((tag, content),) = decode(encode_integer(number))
    assert tag == INTEGER
    assert int.from_bytes(content, "big", signed=True) == number
    assert len(content) == 1 or content[0] != 0 or content[1] & 0x80


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_rubbish_is_a_value_error(data: bytes) -> None:
    """Or it happens to be values in a row, none of which is longer than all."""
    try:
        values = decode(data)
    except ValueError:
        return
    assert sum(len(content) for _, content in values) <= len(data)


@pytest.mark.world
def test_openssl_reads_it(tmp_path: Path) -> None:
    """As text with lines of 64 characters."""
    (tmp_path / "value.pem").write_bytes(pem("VALUE", encode(OCTET_STRING, b"x" * 100)))
    done = run("openssl", "asn1parse", "-in", "value.pem", cwd=tmp_path)
    assert "l= 100 prim: OCTET STRING" in done.stdout
