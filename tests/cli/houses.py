"""Houses to be shown: one where all is well, and one where nearly everything is the matter."""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

from certwarden.cli.chronicle import Chronicle
from certwarden.cli.outlook import House
from certwarden.lifecycle.trust import Verdict
from certwarden.model import (
    AuthoritySpec,
    ClientCertificate,
    Event,
    Observed,
    ObservedAuthority,
    ObservedTarget,
    Policy,
    Proof,
    ProofOutcome,
    Served,
    Trust,
    Unreachable,
)
from certwarden.pki.authority import read_root
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)
from tests.builders_authority import a_private_authority

DAY = timedelta(days=1)
TRUSTED = Verdict(Trust.TRUSTED, synchronised=True)


def a_client(name: str, days: float, serial: str) -> ClientCertificate:
    return ClientCertificate(serial, name, None, NOW - 100 * DAY, NOW + days * DAY)


def a_list_event(number: int, days_ago: float) -> Event:
    at = NOW - days_ago * DAY
    text = f"revocation list {number} (2 entries) until {at + 30 * DAY:%Y-%m-%d}"
    return Event(at, "list-published", None, None, text)


@cache
def a_good_chronicle() -> Chronicle:
    """Four versions of a certificate, a failure long ago, a CA that never was without a list."""
    versions = [
        a_stored(version=version, obtained_at=NOW - days * DAY)
        for version, days in ((5, 30), (4, 90), (3, 150), (2, 210))
    ]
    pair = versions[0].pair
    target = ObservedTarget(
        a_target_spec(), an_installed(pair), Served(versions[0].certificate), None
    )
    home = Observed(a_certificate_spec(targets=[target.spec]), versions[0], None, (target,))
    house = House((home,), _authority(), TRUSTED, Policy(), NOW)
    events = (
        *(a_list_event(12 - days, days) for days in range(1, 4)),
        Event(NOW - 30 * DAY, "obtained", "home", None, "version 5, by Plausible E7"),
        Event(NOW - 95 * DAY, "obtain-failed", "home", None, "the CA could not be reached"),
    )
    return Chronicle(house, {"home": versions}, events)


@cache
def a_bad_chronicle() -> Chronicle:
    """A target that is away, a certificate that cannot be renewed, one that is missing, gaps."""
    good = a_good_chronicle()
    (home,) = good.house.certificates
    assert home.stored is not None
    away = ObservedTarget(
        a_target_spec("nginx", kind="nginx"),
        an_installed(home.stored.pair),
        Unreachable("nobody answers at 127.0.0.1:443"),
        None,
    )
    old = a_stored("garage", obtained_at=NOW - 80 * DAY, domains=("garage.example.org",))
    stale = ObservedTarget(
        a_target_spec("mosquitto", kind="mosquitto"),
        an_installed(old.pair),
        Served(a_pair(now=NOW - 100 * DAY).certificate),
        None,
    )
    long_names = ("garage.example.org", "*.a-rather-long-name.garage.example.org")
    garage = Observed(
        a_certificate_spec("garage", domains=long_names),
        old,
        None,
        (stale,),
        failures=(an_attempt("garage"),),
    )
    attic = Observed(a_certificate_spec("attic", domains=("attic.example.org",)), None, None, ())
    house = replace(
        good.house,
        certificates=(replace(home, targets=(*home.targets, away)), garage, attic),
        authority=replace(_authority(), backed_up_at=None),
    )
    events = (
        Event(NOW - DAY / 24, "obtain-failed", "garage", None, "the CA could not be reached"),
        *good.events,
        *(a_list_event(number, days) for number, days in ((4, 60), (3, 75), (2, 80))),
    )
    return Chronicle(house, {**good.versions, "garage": (old,)}, events)


@cache
def _authority() -> ObservedAuthority:
    private = a_private_authority()
    return ObservedAuthority(
        AuthoritySpec("Home client CA", Path("ca.passphrase")),
        read_root(private.root_pem),
        private.crl(12),
        clients=(
            a_client("alice-phone", 400, "0a"),
            a_client("bob-laptop", 12, "0b"),
            replace(a_client("carol", 50, "0c"), revoked_at=NOW - 3 * DAY),
            a_client("dave", -5, "0d"),
        ),
        proofs={"node-red": Proof("node-red", 12, NOW, ProofOutcome.PROVEN)},
        backed_up_at=NOW,
    )
