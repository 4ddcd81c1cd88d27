"""Facts about the private CA for the pure functions: plausible values without keys."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from certwarden.model import (
    AuthoritySpec,
    Certificate,
    ClientCertificate,
    ClientTrust,
    Crl,
    Installed,
    ObservedAuthority,
    ObservedTarget,
    Proof,
    ProofOutcome,
    Reload,
    Root,
    Rung,
)
from tests.builders import NOW, a_target_spec
from tests.lifecycle.facts import DAY, HOUR, a_leaf

CRL_LIFETIME = 30 * DAY
SPEC = AuthoritySpec("Home", Path("/etc/certwarden/ca.passphrase"), crl_lifetime=CRL_LIFETIME)
ROOT = Root(b"root", "Home 2026 ab12", "0b", "cd" * 32, NOW - 300 * DAY, NOW + 3350 * DAY)


def a_list(
    number: int = 7,
    signed_at: datetime = NOW,
    *,
    lifetime: timedelta = CRL_LIFETIME,
    serials: Collection[str] = (),
) -> Crl:
    pem = f"list {number}".encode()
    return Crl(pem, number, signed_at - HOUR, signed_at + lifetime, frozenset(serials))


def a_client(
    name: str = "alice",
    serial: str = "0c",
    *,
    until: datetime = NOW + 800 * DAY,
    revoked_at: datetime | None = None,
    supersede_at: datetime | None = None,
) -> ClientCertificate:
    return ClientCertificate(
        serial,
        name,
        None,
        NOW - DAY,
        until,
        revoked_at=revoked_at,
        supersede_at=supersede_at,
    )


def an_authority(
    crl: Crl | None,
    *clients: ClientCertificate,
    is_locked: bool = False,
    ladder: Sequence[Rung] = (),
    unlisted: Collection[str] = (),
    proofs: Sequence[Proof] = (),
    probe_until: datetime = NOW + 400 * DAY,
    root: Root | None = ROOT,
) -> ObservedAuthority:
    probe: Certificate = replace(a_leaf(), not_after=probe_until)
    return ObservedAuthority(
        SPEC,
        root,
        crl,
        is_locked=is_locked,
        clients=clients,
        probe=probe,
        ladder=tuple(ladder),
        last_number=crl.number if crl else 0,
        unlisted=frozenset(unlisted),
        proofs={proof.target: proof for proof in proofs},
    )


def a_proof(
    outcome: ProofOutcome = ProofOutcome.PROVEN,
    at: datetime = NOW,
    *,
    number: int = 7,
    failures: int = 0,
    since: datetime | None = None,
    target: str = "node-red",
) -> Proof:
    return Proof(target, number, at, outcome, "as it was seen", "", since, failures)


def a_client_target(
    installed: Crl | None,
    reload: Reload,
    *,
    root_pem: bytes = ROOT.pem,
) -> ObservedTarget:
    """A target that asks its clients for certificates, with that list installed."""
    spec = replace(a_target_spec(reload=reload), client_auth=True)
    trust = ClientTrust(root_pem, installed) if installed else None
    return ObservedTarget(spec, Installed(3, a_leaf(), trust=trust), None, None)
