"""When a certificate is due: the CA's suggestion, else a share of the lifetime, never days."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from certwarden.lifecycle.renewal import in_words, renewal, suggested_instant
from certwarden.model import (
    KeyType,
    PendingRevocation,
    RenewalReason,
    RenewalWindow,
    RevocationReason,
)
from tests.builders import DIRECTORY, NOW
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND, a_leaf, a_version, failed, found

IN_THE_MIDDLE = RenewalWindow(NOW + 40 * DAY, NOW + 42 * DAY)


# ── by the lifetime ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("lifetime", "due_after", "words"),
    [
        (90 * DAY, 60 * DAY, "a third of its lifetime of 90 days is left"),
        (64 * DAY, 64 * DAY * 2 / 3, "a third of its lifetime of 64 days is left"),
        (45 * DAY, 30 * DAY, "a third of its lifetime of 45 days is left"),
        (10 * DAY, 10 * DAY * 2 / 3, "a third of its lifetime of 10 days is left"),
        (10 * DAY - SECOND, (10 * DAY - SECOND) / 2, "half of its lifetime of 10 days is left"),
        (6 * DAY, 3 * DAY, "half of its lifetime of 6 days is left"),
        (60 * SECOND, 30 * SECOND, "half of its lifetime of 60 seconds is left"),
    ],
)
def test_without_a_suggestion_a_share_of_the_lifetime_decides(
    lifetime: timedelta, due_after: timedelta, words: str
) -> None:
    """A third of the lifetime before the end, half of one under ten days."""
    due = renewal(found(a_version(lifetime)), NOW)
    assert due.at == NOW + due_after
    assert (due.reason, due.text) == (RenewalReason.LIFETIME, words)


def test_a_ca_without_suggestions_leaves_it_to_the_lifetime() -> None:
    """An answer without a window is as good as none."""
    seen = found(a_version(), window=IN_THE_MIDDLE)
    assert seen.info is not None
    seen = replace(seen, info=replace(seen.info, window=None))
    assert renewal(seen, NOW) == renewal(found(a_version()), NOW)


# ── what is due at once ───────────────────────────────────────────────────────────────────────────


def test_what_is_missing_is_due_now() -> None:
    """Whatever the time is."""
    due = renewal(found(None), NOW)
    assert (due.at, due.reason) == (NOW, RenewalReason.MISSING)
    assert due.text == "there is no certificate yet"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"domains": ("example.org",)}, "its domains have changed in the configuration"),
        ({"key_type": KeyType.RSA_2048}, "its key type is now rsa-2048, and was ecdsa-p256"),
        ({"profile": "shortlived"}, "its profile is now shortlived, and was the CA's default"),
        (
            {"directory_url": "https://other.example/"},
            f"it is to come from https://other.example/, and came from {DIRECTORY}",
        ),
    ],
)
def test_a_changed_wish_is_due_now_and_says_what_has_changed(
    change: dict[str, object], text: str
) -> None:
    """Domains, key type, CA and profile, each in words."""
    seen = found(a_version())
    seen = replace(seen, spec=replace(seen.spec, **change))  # type: ignore[arg-type]
    due = renewal(seen, NOW)
    assert (due.at, due.reason, due.text) == (NOW, RenewalReason.DOMAINS_CHANGED, text)


def test_a_profile_that_is_no_longer_wanted_is_a_change() -> None:
    """The other way round it is said as well."""
    due = renewal(found(replace(a_version(), profile="shortlived")), NOW)
    assert due.text == "its profile is now the CA's default, and was shortlived"


def test_the_order_of_the_domains_is_no_change() -> None:
    """Sorting a list costs no certificate."""
    stored = a_version()
    seen = found(replace(stored, domains=tuple(reversed(stored.domains))))
    assert renewal(seen, NOW).reason is RenewalReason.LIFETIME


def test_a_certificate_from_the_fallback_is_no_change() -> None:
    """It was got there for want of the first CA, under that CA's profile; its key type counts."""
    fallback = "https://fallback.example/"
    stored = replace(a_version(directory_url=fallback), profile="shortlived")
    seen = found(stored, fallback_urls=[fallback])
    assert renewal(seen, NOW).reason is RenewalReason.LIFETIME
    seen = replace(seen, spec=replace(seen.spec, key_type=KeyType.RSA_2048))
    assert renewal(seen, NOW).reason is RenewalReason.DOMAINS_CHANGED
    gone = replace(seen, spec=replace(seen.spec, fallback_urls=(), key_type=KeyType.ECDSA_P256))
    assert renewal(gone, NOW).reason is RenewalReason.DOMAINS_CHANGED


@pytest.mark.parametrize(("is_revoked", "verb"), [(True, "has been"), (False, "is to be")])
def test_what_is_revoked_or_to_be_is_due_now(verb: str, *, is_revoked: bool) -> None:
    """It is replaced, before it is revoked or afterwards."""
    stored = a_version()
    pending = PendingRevocation(
        "home",
        1,
        stored.certificate.fingerprint,
        RevocationReason.KEY_COMPROMISE,
        NOW,
        is_revoked=is_revoked,
    )
    other = replace(pending, fingerprint="00" * 32)
    due = renewal(replace(found(stored), revocations=(other, pending)), NOW)
    assert (due.at, due.reason) == (NOW, RenewalReason.LIFETIME)
    assert due.text == f"it {verb} revoked, so it is replaced"
    assert renewal(replace(found(stored), revocations=(other,)), NOW).at > NOW


def test_a_due_renewal_that_failed_is_a_retry() -> None:
    """From its instant on; a failure before that (a forced one) changes nothing."""
    seen = found(a_version(), failures=failed(NOW))
    due = renewal(seen, NOW)
    assert due.reason is RenewalReason.LIFETIME
    assert renewal(seen, due.at - SECOND).reason is RenewalReason.LIFETIME
    again = renewal(seen, due.at)
    assert (again.at, again.reason, again.text) == (due.at, RenewalReason.RETRY, due.text)


# ── by the CA's suggestion (RFC 9773) ─────────────────────────────────────────────────────────────


def test_the_cas_suggestion_comes_first() -> None:
    """Within its window, and it says so."""
    due = renewal(found(a_version(), window=IN_THE_MIDDLE), NOW)
    assert IN_THE_MIDDLE.start <= due.at < IN_THE_MIDDLE.end
    assert (due.reason, due.text) == (RenewalReason.ARI, "the CA suggests it")


def test_the_cas_explanation_is_passed_on() -> None:
    """A mass revocation has a page that tells why."""
    window = replace(IN_THE_MIDDLE, explanation_url="https://ca.example/why")
    due = renewal(found(a_version(), window=window), NOW)
    assert due.text == "the CA suggests it (see https://ca.example/why)"


def test_the_instant_stays_put() -> None:
    """The same certificate and window give the same instant in every run, at every time."""
    seen = found(a_version(), window=IN_THE_MIDDLE)
    instants = {renewal(seen, NOW + hours * HOUR).at for hours in range(0, 24 * 40, 24)}
    assert len(instants) == 1
    assert suggested_instant(a_leaf(), IN_THE_MIDDLE) in instants


@pytest.mark.parametrize(
    "moved",
    [
        RenewalWindow(IN_THE_MIDDLE.start + SECOND, IN_THE_MIDDLE.end),
        RenewalWindow(IN_THE_MIDDLE.start, IN_THE_MIDDLE.end + SECOND),
    ],
)
def test_the_instant_moves_with_the_window(moved: RenewalWindow) -> None:
    """Another window is another draw; another page about the same one is not."""
    leaf = a_leaf()
    instant = suggested_instant(leaf, IN_THE_MIDDLE)
    assert suggested_instant(leaf, moved) != instant
    assert suggested_instant(leaf, replace(IN_THE_MIDDLE, explanation_url="https://x/")) == instant


def test_instants_are_uniform_over_certificates() -> None:
    """A CA spreads its load by them: each tenth of the window gets its tenth of certificates."""
    width = IN_THE_MIDDLE.end - IN_THE_MIDDLE.start
    tenths = Counter(
        int(
            10
            * (
                (suggested_instant(a_leaf(fingerprint=f"{number:064x}"), IN_THE_MIDDLE))
                - IN_THE_MIDDLE.start
            )
            / width
        )
        for number in range(2000)
    )
    assert set(tenths) == set(range(10))
    assert all(140 <= count <= 260 for count in tenths.values())


def test_of_a_window_beyond_the_end_of_life_only_the_part_within_counts() -> None:
    """And of that only what lies before the last twentieth."""
    leaf = a_leaf()
    window = RenewalWindow(NOW + 80 * DAY, NOW + 180 * DAY)
    for number in range(50):
        instant = suggested_instant(replace(leaf, fingerprint=f"{number:064x}"), window)
        assert NOW + 80 * DAY <= instant <= NOW + 90 * DAY * 19 / 20


def test_of_a_window_that_began_before_the_certificate_only_the_rest_counts() -> None:
    """What lies before the certificate's life is no time to renew it."""
    window = RenewalWindow(NOW - 100 * DAY, NOW + DAY)
    for number in range(50):
        instant = suggested_instant(a_leaf(fingerprint=f"{number:064x}"), window)
        assert NOW <= instant <= NOW + DAY


def test_a_window_that_ended_as_the_certificate_began_lies_in_the_past() -> None:
    """Nothing of it is left to choose from: its start is as good as any other instant."""
    window = RenewalWindow(NOW - DAY, NOW)
    assert suggested_instant(a_leaf(), window) == window.start


def test_a_window_wholly_beyond_the_end_is_overruled() -> None:
    """No suggestion lets a certificate expire."""
    window = RenewalWindow(NOW + 88 * DAY, NOW + 95 * DAY)
    due = renewal(found(a_version(), window=window), NOW)
    assert due.at == NOW + 90 * DAY * 19 / 20
    assert due.reason is RenewalReason.LIFETIME
    assert due.text == "a twentieth of its lifetime is left, which overrules the CA's suggestion"


def test_a_window_in_the_past_means_now() -> None:
    """It is how a CA announces that it is going to revoke (RFC 9773 section 4.2)."""
    past = RenewalWindow(NOW + DAY, NOW + 2 * DAY)
    now = NOW + 10 * DAY
    due = renewal(found(a_version(), window=past), now)
    assert due.at < now
    assert due.reason is RenewalReason.ARI


@pytest.mark.parametrize(
    ("lifetime", "rest"),
    [
        (90 * DAY, 6 * HOUR),
        (6 * DAY, 6 * HOUR),
        (4 * DAY, 4 * DAY / 20),
        (60 * SECOND, 3 * SECOND),
    ],
)
def test_a_ca_whose_windows_always_lie_in_the_past_gets_no_order_every_pass(
    lifetime: timedelta, rest: timedelta
) -> None:
    """A new certificate rests six hours, or a twentieth of its life if that is less."""
    window = RenewalWindow(NOW - 30 * DAY, NOW - 29 * DAY)
    stored = a_version(lifetime, start=NOW - SECOND, obtained_at=NOW)
    due = renewal(found(stored, window=window), NOW)
    assert due.at == NOW + rest
    assert due.reason is RenewalReason.ARI


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (90 * DAY, "90 days"),
        (2 * DAY, "2 days"),
        (2 * DAY - HOUR, "47 hours"),
        (2 * HOUR, "2 hours"),
        (2 * HOUR - MINUTE, "119 minutes"),
        (2 * MINUTE, "2 minutes"),
        (2 * MINUTE - SECOND, "119 seconds"),
        (SECOND, "1 seconds"),
    ],
)
def test_durations_in_words(duration: timedelta, words: str) -> None:
    """In the greatest unit of which there are two."""
    assert in_words(duration) == words
