"""When a certificate is due, and why then: pure functions of what was observed.

The CA's own suggestion comes first (RFC 9773), else a fraction of the lifetime; never a number of
days. Knows nothing of failures: when a due certificate may be tried for is `retry`'s business.
"""

import hashlib
from datetime import datetime, timedelta

from certwarden.model import (
    Certificate,
    Observed,
    Renewal,
    RenewalReason,
    RenewalWindow,
    Stored,
)

SHORT_LIFETIME = timedelta(days=10)
LAST_RESORT = 20  # below the twentieth part of the lifetime no suggestion counts any more
LONGEST_REST = timedelta(hours=6)  # after an issuance; a twentieth of the lifetime, if that is less


def renewal(seen: Observed, now: datetime) -> Renewal:
    """When the certificate is due, and why then.

    At once when there is none, when what is wanted is no longer what is stored, or when it is to be
    revoked; else when the CA suggests it; else at a third of the lifetime before its end (half of
    a lifetime under ten days).
    """
    stored = seen.stored
    if stored is None:
        return Renewal(now, RenewalReason.MISSING, "there is no certificate yet")
    if change := _change(seen, stored):
        return Renewal(now, RenewalReason.DOMAINS_CHANGED, change)
    for revocation in seen.revocations:
        if revocation.fingerprint == stored.certificate.fingerprint:
            verb = "has been" if revocation.is_revoked else "is to be"
            return Renewal(now, RenewalReason.LIFETIME, f"it {verb} revoked, so it is replaced")
    due = _by_lifetime(stored)
    if seen.info is not None and seen.info.window is not None:
        due = _by_suggestion(stored, seen.info.window)
    if seen.failures and due.at <= now:
        return Renewal(due.at, RenewalReason.RETRY, due.text)
    return due


def suggested_instant(leaf: Certificate, window: RenewalWindow) -> datetime:
    """An instant in the window, uniform over certificates and always the same for one of them.

    RFC 9773 section 4.2 asks for a random one; drawn from the certificate and the window it stays
    put across runs, and moves only when the CA moves the window. Of a window that reaches beyond
    the certificate's life only the part within counts.
    """
    start = max(window.start, leaf.not_before)
    end = min(window.end, _last_resort(leaf))
    if end <= start:
        return min(window.start, _last_resort(leaf))
    seed = f"{leaf.fingerprint} {window.start.isoformat()} {window.end.isoformat()}"
    fraction = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) / 2**32
    return start + (end - start) * fraction


def in_words(duration: timedelta) -> str:
    """A duration for people: in days, hours, minutes or seconds, whichever says it best."""
    for unit, word in (
        (timedelta(days=1), "days"),
        (timedelta(hours=1), "hours"),
        (timedelta(minutes=1), "minutes"),
    ):
        if duration >= 2 * unit:
            return f"{round(duration / unit)} {word}"
    return f"{round(duration.total_seconds())} seconds"


def _by_lifetime(stored: Stored) -> Renewal:
    leaf = stored.certificate
    is_short = leaf.lifetime < SHORT_LIFETIME
    remainder, words = (leaf.lifetime / 2, "half") if is_short else (leaf.lifetime / 3, "a third")
    text = f"{words} of its lifetime of {in_words(leaf.lifetime)} is left"
    # A short lifetime may be half over at issuance, for CAs date back by up to an hour.
    at = min(max(leaf.not_after - remainder, _rested(stored)), _last_resort(leaf))
    return Renewal(at, RenewalReason.LIFETIME, text)


def _by_suggestion(stored: Stored, window: RenewalWindow) -> Renewal:
    leaf = stored.certificate
    last_resort = _last_resort(leaf)
    # A CA whose suggestions always lie in the past must not keep us renewing in every pass.
    at = max(suggested_instant(leaf, window), _rested(stored))
    if at >= last_resort:
        text = "a twentieth of its lifetime is left, which overrules the CA's suggestion"
        return Renewal(last_resort, RenewalReason.LIFETIME, text)
    text = "the CA suggests it"
    if window.explanation_url:
        text += f" (see {window.explanation_url})"
    return Renewal(at, RenewalReason.ARI, text)


def _last_resort(leaf: Certificate) -> datetime:
    return leaf.not_after - leaf.lifetime / LAST_RESORT


def _rested(stored: Stored) -> datetime:
    return stored.obtained_at + min(LONGEST_REST, stored.certificate.lifetime / LAST_RESORT)


def _change(seen: Observed, stored: Stored) -> str | None:
    spec = seen.spec
    if set(spec.domains) != set(stored.domains):
        return "its domains have changed in the configuration"
    if spec.key_type != stored.key_type:
        return f"its key type is now {spec.key_type}, and was {stored.key_type}"
    if stored.directory_url in spec.fallback_urls:
        return None  # got elsewhere for want of the first; its profile is that CA's
    if spec.directory_url != stored.directory_url:
        return f"it is to come from {spec.directory_url}, and came from {stored.directory_url}"
    if spec.profile != stored.profile:
        before, after = stored.profile or "the CA's default", spec.profile or "the CA's default"
        return f"its profile is now {after}, and was {before}"
    return None
