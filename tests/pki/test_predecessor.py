"""OpenSSL's index.txt and what lies beside it, as found in the wild, read with suspicion."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certwarden.errors import MaterialError
from certwarden.model import Crl, Predecessor, RevocationReason, Secret
from certwarden.pki.authority import check_identity
from certwarden.pki.predecessor import MAX_REMARKS, Inheritance, fit_name, inherit
from tests.builders import NOW
from tests.builders_authority import a_private_authority, a_revocation

END = "291231235959Z"


def line(
    serial: str = "0A", subject: str = "/CN=alice", *, revoked: str = "", end: str = END
) -> str:
    return f"{'R' if revoked else 'V'}\t{end}\t{revoked}\t{serial}\tunknown\t{subject}"


def read(
    *lines: str,
    certificates: Sequence[bytes] = (),
    crl: Crl | bytes | None = None,
    crl_number: bytes = b"",
) -> Inheritance:
    predecessor = Predecessor(
        root_pem=a_private_authority().root_pem,
        key_pem=Secret(b""),
        index="\n".join(lines).encode(),
        certificates=tuple(certificates),
        crl_pem=crl.pem if isinstance(crl, Crl) else crl,
        crl_number=crl_number,
    )
    return inherit(predecessor)


def names(inheritance: Inheritance) -> list[str]:
    return [each.certificate.name for each in inheritance.booked]


# ── index.txt ─────────────────────────────────────────────────────────────────────────────────────


def test_a_valid_line_is_a_client() -> None:
    """Without its certificate at hand its subject and its end are what is known."""
    (row,) = read(line()).booked
    assert (row.certificate.serial, row.certificate.name) == ("0a", "alice")
    assert row.certificate.not_after == datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert row.certificate.revoked_at is None
    assert row.pem is None


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", RevocationReason.UNSPECIFIED),
        (",unspecified", RevocationReason.UNSPECIFIED),
        (",keyCompromise", RevocationReason.KEY_COMPROMISE),
        (",KEYCOMPROMISE", RevocationReason.KEY_COMPROMISE),
        (",CACompromise", RevocationReason.KEY_COMPROMISE),
        (",keyTime,20260101000000Z", RevocationReason.KEY_COMPROMISE),
        (",superseded", RevocationReason.SUPERSEDED),
        (",cessationOfOperation", RevocationReason.CESSATION_OF_OPERATION),
        (",certificateHold", RevocationReason.UNSPECIFIED),
        (",holdInstruction,1.2.840.10040.2.1", RevocationReason.UNSPECIFIED),
        (",whatever", RevocationReason.UNSPECIFIED),
    ],
)
def test_a_revoked_line_is_revoked_whatever_the_reason(
    written: str, reason: RevocationReason
) -> None:
    """One that we have no word for is still a revocation."""
    (row,) = read(line(revoked=f"260102030405Z{written}")).booked
    assert row.certificate.revoked_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert row.certificate.reason is reason


@pytest.mark.parametrize(
    ("end", "year"), [("490101000000Z", 2049), ("500101000000Z", 1950), ("20510101000000Z", 2051)]
)
def test_both_kinds_of_dates_are_read(end: str, year: int) -> None:
    """UTCTime to 2049, GeneralizedTime from then on."""
    (row,) = read(line(end=end)).booked
    assert row.certificate.not_after is not None
    assert row.certificate.not_after.year == year


def test_expired_and_repeated_lines_and_the_root_itself(world_serial: str) -> None:
    """An expired client is known; a serial counts once; the root is no client."""
    expired = line("0B", "/CN=bob", end="200101000000Z").replace("V\t", "E\t")
    found = read(expired, line(), line(), line(world_serial, "/CN=the CA"))
    assert sorted(names(found)) == ["alice", "bob"]


@pytest.fixture
def world_serial() -> str:
    from certwarden.pki.authority import read_root

    return read_root(a_private_authority().root_pem).serial.upper()


@pytest.mark.parametrize(
    "odd",
    [
        "V",
        "V\t\t\t\t\t",
        "X\t291231235959Z\t\t0A\tunknown\t/CN=alice",
        line("not hex"),
        line("A" * 41),
        line(end="2029-12-31"),
        line(end="991399999999Z"),
        line(revoked="yesterday"),
        line(revoked=",keyCompromise"),
        "<html>",
        "\0\0\0\0",
        "\x1b[31mred",
    ],
)
def test_a_line_that_is_none_is_told_by_its_number(odd: str) -> None:
    """Nothing is passed over: it could have been a revocation."""
    with pytest.raises(MaterialError, match=re.escape("line 2 of index.txt")) as raised:
        read(line("0B"), odd)
    assert raised.value.what.isprintable()


def test_an_index_of_ten_megabytes_of_garbage_gets_a_sentence() -> None:
    """At its first line, whether or not there are any."""
    for garbage in ("x" * 10_000_000, "\n" * 10_000_000 + "x"):
        with pytest.raises(MaterialError, match=r"index\.txt"):
            read(garbage)


def test_comments_and_blank_lines_are_passed_over() -> None:
    """People edit it by hand."""
    assert names(read("# mine", "", line(), "   ")) == ["alice"]


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("common_name", "name"),
    [
        ("alice", "alice"),
        ("Alice's iPhone", "alice-s-iphone"),
        ("Bob Müller", "bob-muller"),
        ("bob@example.org", "bob-at-example.org"),
        ("../../etc/passwd", "etc-passwd"),
        ("-", "client"),
        ("日本", "client"),
        ("a..b", "a.b"),
        ("laptop-.home", "laptop.home"),
        ("x" * 80, "x" * 63),
    ],
)
def test_a_name_is_made_to_fit(common_name: str, name: str) -> None:
    """Recognisable, where that can be."""
    assert fit_name(common_name) == name


@given(st.text(max_size=100))
def test_every_fitted_name_is_one_that_a_client_can_have(common_name: str) -> None:
    """Whatever the common name is."""
    check_identity(fit_name(common_name), None)


def test_two_names_that_would_be_alike_are_told_apart() -> None:
    """Revoking one must not revoke the other; the one that fits as it is keeps its name."""
    found = read(line("0A", "/CN=Alice"), line("0B", "/CN=ALICE"), line("0C", "/CN=alice"))
    by_serial = {each.certificate.serial: each.certificate.name for each in found.booked}
    assert by_serial == {"0a": "alice-2", "0b": "alice-3", "0c": "alice"}
    assert any("'Alice' is called alice-2" in remark for remark in found.remarks)


def test_one_name_for_a_client_with_several_certificates() -> None:
    """That is what renewing it has made."""
    assert names(read(line("0A"), line("0B"))) == ["alice", "alice"]


def test_letters_in_hex_and_other_parts_of_a_subject() -> None:
    """As OpenSSL writes them into index.txt."""
    found = read(line(subject=r"/C=DE/CN=J\xC3\xBCrgen/emailAddress=j@example.org"))
    assert names(found) == ["jurgen"]
    assert names(read(line(subject="/O=nobody"))) == ["client"]


def test_many_remarks_of_a_kind_are_counted() -> None:
    """A thousand renamed clients are no reading matter."""
    found = read(*(line(f"{number:04X}", f"/CN=C {number}") for number in range(1, 101)))
    assert len(found.remarks) == MAX_REMARKS + 1
    assert "80 more" in found.remarks[-1]


# ── certificates and lists ────────────────────────────────────────────────────────────────────────


def test_a_certificate_that_the_index_has_forgotten_is_taken_over() -> None:
    """It lets somebody in, so that one must be able to revoke it."""
    alice = a_private_authority().client("0a").chain_pem[0]
    found = read(line("0B", "/CN=bob"), certificates=[alice])
    assert sorted(names(found)) == ["alice", "bob"]
    assert any("0a is not in index.txt" in remark for remark in found.remarks)


def test_certificates_of_another_ca_are_left_out() -> None:
    """Only what this root has signed is anybody's."""
    stranger = a_private_authority("Another CA").client("0a").chain_pem[0]
    found = read(certificates=[stranger, b"-----BEGIN CERTIFICATE-----\nrubbish"])
    assert not found.booked
    assert len(found.remarks) == 2


def test_revocations_of_the_list_are_taken_over_and_its_number_goes_on() -> None:
    """Also of those that the index does not know."""
    crl = a_private_authority().crl(7, "0a", "0f")
    found = read(line(), crl=crl, crl_number=b"03\n")
    assert {each.serial for each in found.revoked} == {"0a", "0f"}
    assert found.last_number == 7
    assert read(crl=crl, crl_number=b"FF\n").last_number == 0xFE


@pytest.mark.parametrize("crl_number", [b"", b"zz", b"\0", b"0", b"F" * 40])
def test_a_number_that_is_none_begins_anew(crl_number: bytes) -> None:
    """One too great leaves no room to count on."""
    assert read(crl_number=crl_number).last_number == 0


@pytest.mark.parametrize("pem", [b"", b"rubbish", b"another"])
def test_a_list_that_is_not_this_cas_is_not_believed(pem: bytes) -> None:
    """That is said, and what the index says holds."""
    if pem == b"another":
        pem = a_private_authority("Another CA").crl(3, "0a").pem
    found = read(line(revoked="260102030405Z"), crl=pem)
    assert found.revoked == ()
    assert len(found.booked) == 1
    assert any("only the revocations of index.txt" in remark for remark in found.remarks)


def test_a_revocation_date_of_the_list_is_kept() -> None:
    """And its reason."""
    entry = a_revocation("0f", NOW, RevocationReason.PRIVILEGE_WITHDRAWN)
    (found,) = read(crl=a_private_authority().sign_list(1, NOW, [entry])).revoked
    assert found == entry
