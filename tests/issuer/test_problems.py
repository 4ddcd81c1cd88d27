"""Problem documents as sentences."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certwarden.errors import IssuerError
from certwarden.http import MAX_RETRY_AFTER
from certwarden.issuer.problems import (
    _KINDS,
    PAUSED_WAIT,
    URN,
    NotValidated,
    Problem,
    link,
    read_problem,
    refusal,
    reply_without_problem,
    validation_failure,
)

RFC_8555 = (
    "accountDoesNotExist",
    "alreadyRevoked",
    "badCSR",
    "badNonce",
    "badPublicKey",
    "badRevocationReason",
    "badSignatureAlgorithm",
    "caa",
    "compound",
    "connection",
    "dns",
    "externalAccountRequired",
    "incorrectResponse",
    "invalidContact",
    "malformed",
    "orderNotReady",
    "rateLimited",
    "rejectedIdentifier",
    "serverInternal",
    "tls",
    "unauthorized",
    "unsupportedContact",
    "unsupportedIdentifier",
    "userActionRequired",
)


def explained(kind: str, detail: str = "a detail", **members: Any) -> IssuerError:
    document = {"type": URN + kind, "detail": detail, **members}
    return refusal("ca.example", read_problem(document), status=400)


@pytest.mark.parametrize("kind", [*RFC_8555, *_KINDS, "neverHeardOf"])
def test_every_type_is_a_sentence(kind: str) -> None:
    """Each type says who, what and the server's own detail, in one line without a gap left open."""
    error = explained(kind)
    assert error.what.startswith("ca.example ")
    assert error.what.endswith(": a detail")
    assert error.problem == kind
    assert not set("{}\n") & set(error.what + error.hint)
    assert not error.hint.endswith(".")


def test_table_knows_the_whole_of_rfc_8555() -> None:
    """No type of the RFC falls back to the general sentence."""
    assert set(RFC_8555) <= set(_KINDS)


@pytest.mark.parametrize(
    "kind",
    [
        "caa",
        "rejectedIdentifier",
        "badCSR",
        "invalidProfile",
        "unsupportedIdentifier",
        "userActionRequired",
        "externalAccountRequired",
        "unsupportedContact",
    ],
)
def test_what_only_a_person_can_change_is_permanent(kind: str) -> None:
    """Trying again is not worth it until something of ours was changed."""
    assert explained(kind).permanent


@pytest.mark.parametrize(
    "kind",
    [
        "rateLimited",
        "serverInternal",
        "dns",
        "connection",
        "badNonce",
        "malformed",
        "orderNotReady",
        "neverHeardOf",
    ],
)
def test_what_may_pass_is_not_permanent(kind: str) -> None:
    """These are tried again."""
    assert not explained(kind).permanent


def test_subproblems_appear_by_name() -> None:
    """Each name of a refusal is told with what is wrong with it."""
    error = explained(
        "compound",
        "several",
        subproblems=[
            {
                "type": URN + "caa",
                "detail": "CAA forbids",
                "identifier": {"type": "dns", "value": "a.example"},
            },
            {
                "type": URN + "dns",
                "detail": "no answer",
                "identifier": {"type": "dns", "value": "b.example"},
            },
        ],
    )
    assert "a.example: CAA forbids; b.example: no answer" in error.what
    assert error.permanent
    assert "CAA records of a.example" in error.hint


def test_caa_hint_names_record_and_ca() -> None:
    """The hint says whom to allow, and where."""
    problem = read_problem(
        {"type": URN + "caa", "detail": "CAA record for *.example.org prevents issuance"}
    )
    hint = refusal("ca.example", problem, caa_identity="letsencrypt.org").hint
    assert "letsencrypt.org" in hint
    assert "CAA records of example.org " in hint


def test_pause_puts_the_link_into_the_hint() -> None:
    """A paused account is told the link that lifts the pause, whole, and waits for a day."""
    unpause = "https://portal.example/sfe/v1/unpause?jwt=" + "x" * 900
    error = explained(
        "rateLimited", f"Your account is paused for a.example. Please visit: {unpause}"
    )
    assert unpause in error.hint
    assert unpause not in error.what
    assert "paused for a.example" in error.what
    assert error.retry_after == PAUSED_WAIT


def test_a_rate_limit_keeps_its_wait() -> None:
    """Retry-After is on the error."""
    wait = timedelta(hours=3)
    assert refusal("ca", Problem("rateLimited", "too many"), retry_after=wait).retry_after == wait


LIMIT = "too many certificates already issued, retry after 2026-11-24 10:00:00 UTC: see https://x"


@pytest.mark.parametrize(
    ("detail", "now", "wait"),
    [
        (LIMIT, datetime(2026, 11, 24, 9, tzinfo=UTC), timedelta(hours=1)),
        (LIMIT, datetime(2026, 11, 25, tzinfo=UTC), timedelta()),
        (LIMIT, datetime(2020, 1, 1, tzinfo=UTC), MAX_RETRY_AFTER),
        (LIMIT.replace("11-24", "13-41"), datetime(2026, 11, 24, tzinfo=UTC), None),
        ("too many certificates", datetime(2026, 11, 24, tzinfo=UTC), None),
    ],
)
def test_wait_may_be_told_in_the_text(detail: str, now: datetime, wait: timedelta | None) -> None:
    """A limit without Retry-After names the instant in its detail, as Let's Encrypt writes it."""
    assert refusal("ca", Problem("rateLimited", detail), now=now).retry_after == wait


def test_header_counts_before_the_text() -> None:
    """Retry-After is meant for programs; and other types than limits say nothing by their text."""
    now, wait = datetime(2026, 11, 24, 9, tzinfo=UTC), timedelta(minutes=5)
    limit = Problem("rateLimited", LIMIT)
    assert refusal("ca", limit, retry_after=wait, now=now).retry_after == wait
    assert refusal("ca", Problem("malformed", LIMIT), now=now).retry_after is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ca.example/why", True),
        ("http://ca.example/why", False),
        ("https://user@ca.example/", False),
        ("https://ca.example/a b", False),
        ("", False),
    ],
)
def test_link_is_shown_only_if_it_is_nothing_else(text: str, shown: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A person is sent nowhere in the clear, and not by a link that hides where it leads."""
    assert link(text) == (text if shown else "")


def test_foreign_text_is_cleaned_and_capped() -> None:
    """What a server says cannot forge lines, move the cursor or fill the log."""
    error = explained("\x1b[2Jodd\n", "one\ntwo\x1b[31m\u202e" + "x" * 100_000)
    assert "\n" not in error.what
    assert "\x1b" not in error.what + error.problem
    assert "\u202e" not in error.what
    assert len(error.what) < 600


@pytest.mark.parametrize(
    "document",
    [
        None,
        5,
        [],
        "text",
        {},
        {"type": 7, "detail": [], "subproblems": {"a": 1}, "identifier": 3},
        {"type": URN + "dns", "subproblems": [1, None, {"subproblems": [{"subproblems": [{}]}]}]},
    ],
)
def test_nonsense_is_read_without_an_exception(document: object) -> None:
    """Whatever a server sends as its problem, there is a sentence."""
    assert refusal("ca.example", read_problem(document)).what.startswith("ca.example ")


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 418, 429, 500, 502, 503])
def test_every_status_without_problem_document_is_a_sentence(status: int) -> None:
    """A bare HTTP status, as from something that stands between, is told with what to do."""
    error = reply_without_problem("ca.example", status, location="https://new.example/")
    assert f"(HTTP {status})" in error.what
    assert error.hint
    assert error.status == status


def test_validation_failure_has_a_clause_for_each_name() -> None:
    """Who has several names sees which of them failed, and why."""
    error = validation_failure(
        "ca.example",
        [
            NotValidated("example.org", "invalid", Problem("dns", "NXDOMAIN for the TXT record.")),
            NotValidated("*.example.org", "expired", None),
        ],
    )
    assert error.what == (
        "ca.example did not validate example.org (NXDOMAIN for the TXT record), "
        "*.example.org (its authorization is expired)"
    )
    assert error.problem == "dns"
    assert not error.permanent


def test_failed_names_are_those_that_were_looked_at_in_vain() -> None:
    """A CA counts failed validations by name; an authorization that expired is none."""
    wrong = Problem("dns", "NXDOMAIN")
    failures = [
        NotValidated("example.org", "invalid", wrong),
        NotValidated("*.example.org", "invalid", wrong),
        NotValidated("late.example.org", "expired", None),
    ]
    assert validation_failure("ca.example", failures).failed_names == ("example.org",)
    many = [NotValidated(f"n{number}.example", "invalid", wrong) for number in range(100)]
    assert len(validation_failure("ca.example", many).failed_names) == 100


def test_validation_by_a_wrong_record_points_at_stale_ones() -> None:
    """`unauthorized` means something else here than for a request."""
    failure = NotValidated("a.example", "invalid", Problem("unauthorized", "Incorrect TXT record"))
    assert "_acme-challenge" in validation_failure("ca.example", [failure]).hint
