"""Problem documents as our errors: one sentence, one piece of advice (RFC 8555 section 6.7). Pure.

Owns the table of what each type means to a person, and whether trying again can help. What a
server says is a stranger's text: it is cleaned and capped here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from certwarden.errors import ORDER_GONE, IssuerError, clean
from certwarden.http import MAX_RETRY_AFTER, is_secured

URN = "urn:ietf:params:acme:error:"
PAUSED_WAIT = timedelta(days=1)

_MAX_DETAIL = 300
_MAX_LINK = 2000
_MAX_SUBPROBLEMS = 5
_MAX_DEPTH = 2


@dataclass(frozen=True)
class Problem:
    """A problem document as read; `type` is without its urn prefix, absent texts are ""."""

    type: str
    detail: str
    identifier: str = ""
    instance: str = ""
    subproblems: tuple["Problem", ...] = ()


@dataclass(frozen=True)
class _Kind:
    """What a type says ("the CA …"), what to do, and whether that is up to us."""

    says: str
    hint: str
    permanent: bool = False


_LATER = "it is tried again later; if it lasts, look at the CA's status page"
_RUN_AGAIN = "run it again"
_REPORT = "please report this as a bug of certwarden, with this sentence"
_CHECK_ZONE = (
    "check from outside, for example at dnsviz.net, that the zone's name servers answer and its "
    "DNSSEC is sound"
)

# Types of RFC 8555 section 6.7, then those that other documents and Let's Encrypt have added.
_KINDS = {
    "accountDoesNotExist": _Kind("does not know our account", _RUN_AGAIN),
    "alreadyRevoked": _Kind("has revoked the certificate already", ""),
    "badCSR": _Kind(
        "refuses the certificate request",
        "choose another key_type, or correct the certificate's domains",
        permanent=True,
    ),
    "badNonce": _Kind("refused one nonce after the other", _LATER),
    "badPublicKey": _Kind(
        "does not accept the kind of key", "choose another key_type", permanent=True
    ),
    "badRevocationReason": _Kind(
        "does not accept the reason for the revocation", "give another --reason", permanent=True
    ),
    "badSignatureAlgorithm": _Kind(
        "does not accept ES256 signatures", "use another CA", permanent=True
    ),
    "caa": _Kind(
        "may not issue for {names} because of a CAA record in DNS",
        "allow {caa} in the CAA records of {names} or of the zone above, or remove them",
        permanent=True,
    ),
    "compound": _Kind("has several objections", "see each of them"),
    "connection": _Kind("could not connect to check {names}", _LATER),
    "dns": _Kind("could not query the DNS of {names}", _CHECK_ZONE),
    "externalAccountRequired": _Kind(
        "wants an account of its own kind to be bound",
        "set acme.eab to the key id and HMAC key that the CA gave you",
        permanent=True,
    ),
    "incorrectResponse": _Kind(
        "found another value than expected in the TXT record of {names}",
        "remove TXT records at _acme-challenge that are left from other programs",
    ),
    "invalidContact": _Kind("does not accept the contact", "correct acme.contact", permanent=True),
    "malformed": _Kind("finds our request malformed", _REPORT),
    "orderNotReady": _Kind("says that the order is not ready to be finalized", _RUN_AGAIN),
    "rateLimited": _Kind("limits how often we may ask", "it is tried again when the CA allows it"),
    "rejectedIdentifier": _Kind(
        "will not issue for {names}",
        "correct the certificate's domains, or use another CA",
        permanent=True,
    ),
    "serverInternal": _Kind("has an internal error", _LATER),
    "tls": _Kind("had a TLS error when it checked {names}", _LATER),
    "unauthorized": _Kind(
        "does not authorise our request",
        "if the account was deactivated, remove its file under accounts/ so that a new one is made",
    ),
    "unsupportedContact": _Kind(
        "does not support this kind of contact", "correct acme.contact", permanent=True
    ),
    "unsupportedIdentifier": _Kind(
        "does not support this kind of name",
        "correct the certificate's domains, or use another CA",
        permanent=True,
    ),
    "userActionRequired": _Kind(
        "wants a person to act first", "visit {instance}, then run it again", permanent=True
    ),
    # RFC 9773
    "alreadyReplaced": _Kind("has replaced that certificate already", _RUN_AGAIN),
    # draft-ietf-acme-profiles
    "invalidProfile": _Kind(
        "does not accept the profile", "set another acme.profile, or none", permanent=True
    ),
    # RFC 8739
    "autoRenewalCanceled": _Kind("has cancelled the order's renewals", _RUN_AGAIN),
    "autoRenewalExpired": _Kind("has ended the order's renewals", _RUN_AGAIN),
    "autoRenewalCancellationInvalid": _Kind("cannot cancel the order's renewals", _REPORT),
    "autoRenewalRevocationNotSupported": _Kind(
        "does not revoke certificates that it renews by itself", "", permanent=True
    ),
    # RFC 9799
    "onionCAARequired": _Kind(
        "wants the CAA records of {names} sent along", "use another CA", permanent=True
    ),
    # Boulder, Pebble and older servers
    "conflict": _Kind("sees a conflict with an earlier request", _RUN_AGAIN),
    "dnssec": _Kind("could not verify the DNSSEC signatures of {names}", _CHECK_ZONE),
    "invalidEmail": _Kind("does not accept the contact", "correct acme.contact", permanent=True),
    "unknownHost": _Kind("cannot find {names} in DNS", _CHECK_ZONE),
}
_UNKNOWN = _Kind("refuses our request", _LATER)

# `unauthorized` means something else where a dns-01 challenge ends by it: the wrong record.
_WRONG_RECORD_HINT = (
    "remove TXT records at _acme-challenge that are left from other programs, or raise dns.settle "
    "so that the record is seen all over the world"
)


def read_problem(document: object, depth: int = 0) -> Problem:
    """A problem document out of parsed JSON, whatever is wrong with it."""
    if not isinstance(document, Mapping):
        return Problem("", "")
    identifier = document.get("identifier")
    subproblems = document.get("subproblems")
    inner = subproblems if isinstance(subproblems, list) and depth < _MAX_DEPTH else []
    return Problem(
        type=_text(document, "type").removeprefix(URN).removeprefix("about:blank"),
        detail=_text(document, "detail") or _text(document, "title"),
        identifier=_text(identifier, "value") if isinstance(identifier, Mapping) else "",
        instance=_text(document, "instance"),
        subproblems=tuple(read_problem(each, depth + 1) for each in inner[:_MAX_SUBPROBLEMS]),
    )


def refusal(
    server: str,
    problem: Problem,
    *,
    status: int | None = None,
    retry_after: timedelta | None = None,
    caa_identity: str = "",
    now: datetime | None = None,
) -> IssuerError:
    """The error for a request that the server answered with a problem document.

    `caa_identity` is the domain name by which CAA records allow this CA, where it told us. `now`
    makes a wait of the instant that a limit's text names, where no Retry-After came with it.
    """
    problems = (problem, *problem.subproblems)
    kinds = [_KINDS.get(each.type, _UNKNOWN) for each in problems]
    # "compound" says nothing by itself: what to do depends on what it is made of.
    decisive = kinds[1] if problem.type == "compound" and len(kinds) > 1 else kinds[0]
    words = {
        "names": _names_of(problem),
        "caa": caa_identity or "this CA",
        "instance": link(problem.instance) or "the CA's web site",
    }
    detail, hint = problem.detail, decisive.hint.format(**words)
    unpause = _unpause_link(problem)
    if retry_after is None and now is not None and problem.type == "rateLimited":
        retry_after = _wait_told(problem.detail, now)
    if unpause:
        detail = detail.replace(unpause, "").removesuffix("Please visit: ")
        hint = f"visit {unpause} to have the pause lifted, then run it again"
    says = kinds[0].says.format(**words) if problem.type in _KINDS else _unknown_says(problem)
    return IssuerError(
        _sentence(f"{server} {says}", [detail, *map(_subproblem_text, problem.subproblems)]),
        hint,
        problem=clean(problem.type, 60),
        status=status,
        permanent=any(kind.permanent for kind in kinds),
        retry_after=PAUSED_WAIT if unpause and retry_after is None else retry_after,
    )


def reply_without_problem(
    server: str, status: int, *, location: str = "", retry_after: timedelta | None = None
) -> IssuerError:
    """The error for an HTTP status that came without a problem document."""
    permanent, problem = False, ""
    if status == 429:
        kind, problem = _KINDS["rateLimited"], "rateLimited"
        says, hint = kind.says, kind.hint
    elif status >= 500:
        says, hint = "is out of order", _LATER
    elif status == 404:
        says, hint = "has nothing at this address", "check acme.directory"
    elif 300 <= status < 400:
        says, hint = f"sends us on to {link(location) or 'nowhere'}", "set acme.directory to that"
        permanent = True
    else:
        says = "does not let us in" if status in (401, 403) else "cannot make sense of our request"
        hint = "check acme.directory, and what stands between this machine and the CA"
    return IssuerError(
        f"{server} {says} (HTTP {status})",
        hint,
        problem=problem,
        status=status,
        permanent=permanent,
        retry_after=retry_after,
    )


@dataclass(frozen=True)
class NotValidated:
    """An authorization that did not become valid: its name, final status, and problem, if any."""

    name: str
    status: str
    problem: Problem | None


def validation_failure(
    server: str, failures: Sequence[NotValidated], *, caa_identity: str = ""
) -> IssuerError:
    """The error for authorizations that ended in another state than valid, by name.

    Its `failed_names` are those of which the validation failed: a CA counts them, but not those
    that expired or were deactivated.
    """
    clauses, hints, types, permanent = [], [], [], False
    failed = [each.name.removeprefix("*.") for each in failures if each.status == "invalid"]
    for each in failures[:_MAX_SUBPROBLEMS]:
        if each.problem is None:
            clauses.append(f"{each.name} (its authorization is {clean(each.status, 30)})")
            continue
        kind = _KINDS.get(each.problem.type, _UNKNOWN)
        permanent = permanent or kind.permanent
        hint = _WRONG_RECORD_HINT if each.problem.type == "unauthorized" else kind.hint
        names = each.name.removeprefix("*.")
        hints.append(
            hint.format(names=names, caa=caa_identity or "this CA", instance="the CA's web site")
        )
        types.append(each.problem.type)
        clauses.append(f"{each.name} ({_trimmed(each.problem.detail) or each.problem.type})")
    types = sorted(set(types))
    return IssuerError(
        f"{server} did not validate {', '.join(clauses) or 'the order'}",
        hints[0] if hints else "it is tried again with a new order",
        problem=(types[0] if len(types) == 1 else "compound") if types else "",
        failed_names=tuple(dict.fromkeys(failed)),
        permanent=permanent,
    )


def order_gone(server: str, why: str) -> IssuerError:
    """The error for an order that cannot be picked up again."""
    return IssuerError(
        f"the order at {server} is gone: {why}", "a new one is placed", problem=ORDER_GONE
    )


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return value if isinstance(value, str) else ""


def _trimmed(text: str) -> str:
    return clean(text, _MAX_DETAIL).rstrip(" .:")


def _sentence(head: str, details: Sequence[str]) -> str:
    said = [text for text in map(_trimmed, details) if text]
    return f"{head}: {'; '.join(said)}" if said else head


def _unknown_says(problem: Problem) -> str:
    return f"refuses our request ({clean(problem.type, 60) or 'no reason given'})"


def _subproblem_text(problem: Problem) -> str:
    name, detail = clean(problem.identifier, 253), _trimmed(problem.detail) or problem.type
    return f"{name}: {detail}" if name else detail


def _names_of(problem: Problem) -> str:
    names = [clean(each.identifier, 253) for each in (problem, *problem.subproblems)]
    names += re.findall(r"CAA (?:record )?for ([a-z0-9.*_-]{1,253})", problem.detail)
    return (
        ", ".join(dict.fromkeys(name.removeprefix("*.").rstrip(".") for name in names if name))
        or "the names"
    )


def link(text: str) -> str:
    """The text if it is nothing but an https link that a person can be shown, else ""."""
    return text if re.fullmatch(r"https://[!-~]{1,2000}", text) and is_secured(text) else ""


def _wait_told(detail: str, now: datetime) -> timedelta | None:
    """What is left until the instant in "retry after 2026-11-24 10:00:00 UTC", as Boulder says."""
    told = re.search(r"retry after (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", detail)
    if told is None:
        return None
    try:
        until = datetime.fromisoformat(told[1]).replace(tzinfo=UTC)
    except ValueError:
        return None
    return min(max(until - now, timedelta()), MAX_RETRY_AFTER)


def _unpause_link(problem: Problem) -> str:
    if problem.type != "rateLimited":
        return ""
    links = re.findall(rf"https://[!-~]{{1,{_MAX_LINK}}}", problem.detail)
    return next((link for link in links if "unpause" in link), "")
