"""Small builders of the nouns, with real keys (EC P-256): say what matters, the rest is plausible.

`NOW` is the instant at which all of it is set; nothing here reads a clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certwarden.errors import Error
from certwarden.model import (
    TARGET_KINDS,
    Account,
    Address,
    Attempt,
    AttemptOutcome,
    Cause,
    CertificateSpec,
    Chains,
    DeployOutcome,
    DeployRecord,
    Draft,
    Event,
    HotReload,
    Installed,
    KeyType,
    Pair,
    Place,
    Reload,
    RenewalInfo,
    RenewalWindow,
    Secret,
    Stored,
    TargetSpec,
    TxtRecord,
)
from certwarden.pki.certificate import read_pair
from certwarden.pki.keys import generate_key, load_key, signature_hash

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DOMAINS = ("example.org", "*.example.org")
DIRECTORY = "https://acme.example/directory"


# ── certificates ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Issuer:
    """A small public CA: signs leaves by one intermediate, which `root` has signed."""

    name: str
    root: x509.Certificate
    intermediate: x509.Certificate
    key_pem: Secret

    def sign(
        self,
        key: CertificatePublicKeyTypes,
        domains: Sequence[str],
        not_before: datetime,
        not_after: datetime,
    ) -> bytes:
        """The PEM chain for the public key: leaf and intermediate."""
        builder = (
            _certificate(key, None, self.intermediate.subject, not_before, not_after)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in domains]),
                critical=False,
            )
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_authority_key_id(self.key_pem), critical=False)
        )
        leaf = builder.sign(load_key(self.key_pem), SHA256())
        return leaf.public_bytes(Encoding.PEM) + self.intermediate.public_bytes(Encoding.PEM)


def _authority_key_id(key_pem: Secret) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(load_key(key_pem).public_key())


@cache
def an_issuer(name: str = "Plausible", root_name: str = "Plausible Root") -> Issuer:
    """A CA of this name; the same call gives the same CA."""
    return _issuer(name, root_name, generate_key(KeyType.ECDSA_P256))


@cache
def an_alternate_issuer() -> Issuer:
    """`an_issuer()` as another root has signed it: the same intermediate key and name."""
    return _issuer("Plausible", "Other Root", an_issuer().key_pem)


def _issuer(name: str, root_name: str, key_pem: Secret) -> Issuer:
    start, end = NOW - timedelta(days=365), NOW + timedelta(days=3650)
    key, root_key = load_key(key_pem), load_key(generate_key(KeyType.ECDSA_P256))
    root_subject = _name(f"{root_name} X1")
    authority = x509.BasicConstraints(ca=True, path_length=None)
    root = (
        _certificate(root_key.public_key(), root_subject, root_subject, start, end)
        .add_extension(authority, critical=True)
        .sign(root_key, SHA256())
    )
    intermediate = (
        _certificate(key.public_key(), _name(f"{name} E7"), root_subject, start, end)
        .add_extension(authority, critical=True)
        .sign(root_key, SHA256())
    )
    return Issuer(name, root, intermediate, key_pem)


def a_key(key_type: KeyType = KeyType.ECDSA_P256) -> Secret:
    """A fresh private key as PKCS#8 PEM."""
    return generate_key(key_type)


def a_chain_pem(
    key_pem: Secret,
    domains: Sequence[str] = DOMAINS,
    *,
    days: float = 90,
    now: datetime = NOW,
    issuer: Issuer | None = None,
) -> bytes:
    """What a CA would answer for the key: leaf and intermediate, valid from now on."""
    start = now.replace(microsecond=0)
    signer = issuer or an_issuer()
    return signer.sign(load_key(key_pem).public_key(), domains, start, start + timedelta(days=days))


def a_self_signed_pem(
    key_pem: Secret, domains: Sequence[str] = DOMAINS, *, days: float = 90, now: datetime = NOW
) -> bytes:
    """A chain of one."""
    key, start = load_key(key_pem), now.replace(microsecond=0)
    name = _name("self-signed")
    return (
        _certificate(key.public_key(), name, name, start, start + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in domains]), critical=False
        )
        .sign(key, signature_hash(key))
        .public_bytes(Encoding.PEM)
    )


def a_pair(
    domains: Sequence[str] = DOMAINS,
    *,
    days: float = 90,
    now: datetime = NOW,
    issuer: Issuer | None = None,
    key_type: KeyType = KeyType.ECDSA_P256,
) -> Pair:
    """A fresh key and its chain, issued now."""
    key_pem = a_key(key_type)
    return read_pair(key_pem, a_chain_pem(key_pem, domains, days=days, now=now, issuer=issuer))


def a_stored(
    name: str = "home",
    *,
    domains: Sequence[str] = DOMAINS,
    version: int = 1,
    days: float = 90,
    obtained_at: datetime = NOW,
    profile: str | None = None,
    directory_url: str = DIRECTORY,
    account_url: str = "",
    issuer: Issuer | None = None,
) -> Stored:
    """A version in the store, obtained at that instant."""
    return Stored(
        name=name,
        version=version,
        pair=a_pair(domains, days=days, now=obtained_at, issuer=issuer),
        domains=tuple(domains),
        key_type=KeyType.ECDSA_P256,
        profile=profile,
        directory_url=directory_url,
        obtained_at=obtained_at,
        account_url=account_url,
    )


def a_draft(
    name: str = "home",
    *,
    domains: Sequence[str] = DOMAINS,
    key_type: KeyType = KeyType.ECDSA_P256,
    profile: str | None = None,
    directory_url: str = DIRECTORY,
    order_url: str = "",
    account_url: str = "",
    created_at: datetime = NOW,
) -> Draft:
    """An order on its way, with a fresh key."""
    return Draft(
        name=name,
        domains=tuple(domains),
        key_type=key_type,
        profile=profile,
        directory_url=directory_url,
        key_pem=a_key(key_type),
        order_url=order_url,
        created_at=created_at,
        account_url=account_url,
    )


def chains_for(
    draft: Draft,
    *,
    domains: Sequence[str] | None = None,
    days: float = 90,
    now: datetime = NOW,
    alternates: Sequence[bytes] = (),
) -> Chains:
    """What a CA would let us download for the draft."""
    wanted = draft.domains if domains is None else domains
    return Chains(a_chain_pem(draft.key_pem, wanted, days=days, now=now), tuple(alternates))


def an_account(directory_url: str = DIRECTORY, url: str = "") -> Account:
    """An ACME account with a fresh key."""
    return Account(directory_url, a_key(), url)


# ── what is configured ────────────────────────────────────────────────────────────────────────────


def a_target_spec(
    name: str = "node-red",
    *,
    certificate: str = "home",
    kind: str = "node-red",
    directory: Path | None = None,
    key_path: Path | None = None,
    certificate_path: Path | None = None,
    copy: bool = False,
    group: str | None = None,
    reload: Reload = HotReload(),  # noqa: B008  a frozen value
    probe: Address | None = Address("127.0.0.1", 1880),  # noqa: B008  a frozen value
    probe_name: str = "example.org",
) -> TargetSpec:
    """A Node-RED with the hot module and a probe, unless said otherwise."""
    return TargetSpec(
        name=name,
        certificate=certificate,
        kind=TARGET_KINDS[kind],
        directory=directory or Path("/var/lib/certwarden/live") / name,
        key_path=key_path,
        certificate_path=certificate_path,
        copy=copy,
        group=group,
        reload=reload,
        probe=probe,
        probe_name=probe_name,
    )


def a_certificate_spec(
    name: str = "home",
    *,
    domains: Sequence[str] = DOMAINS,
    key_type: KeyType = KeyType.ECDSA_P256,
    profile: str | None = None,
    directory_url: str = DIRECTORY,
    targets: Sequence[TargetSpec] = (),
    fallback_urls: Sequence[str] = (),
) -> CertificateSpec:
    """A certificate for apex and wildcard, in use nowhere unless said otherwise."""
    return CertificateSpec(
        name,
        tuple(domains),
        key_type,
        profile,
        directory_url,
        tuple(targets),
        tuple(fallback_urls),
    )


# ── what was seen and written down ────────────────────────────────────────────────────────────────


def an_installed(pair: Pair, number: int = 1, *, is_placeholder: bool = False) -> Installed:
    """The pair as a target's current generation."""
    return Installed(number, pair.certificate, is_placeholder=is_placeholder)


def an_attempt(
    certificate: str = "home",
    *,
    number: int = 1,
    outcome: AttemptOutcome = AttemptOutcome.FAILED,
    begun_at: datetime = NOW,
    directory_url: str = DIRECTORY,
    error: Error | None = None,
    cause: Cause | None = None,
    setup: str = "",
    evidence: str = "",
    looked_at: datetime | None = None,
) -> Attempt:
    """An attempt that took a second and failed, unless said otherwise."""
    shown = error or Error("the CA could not be reached", "check the network")
    failed = outcome is AttemptOutcome.FAILED
    return Attempt(
        id=number,
        certificate=certificate,
        directory_url=directory_url,
        domains=DOMAINS,
        begun_at=begun_at,
        outcome=outcome,
        ended_at=None if outcome is AttemptOutcome.BEGUN else begun_at + timedelta(seconds=1),
        what=shown.what if failed else "",
        hint=shown.hint if failed else "",
        cause=cause if failed else None,
        retry_after=shown.retry_after if failed else None,
        setup=setup,
        evidence=evidence,
        looked_at=looked_at,
    )


def a_deploy_record(
    target: str = "node-red",
    *,
    fingerprint: str = "00" * 32,
    outcome: DeployOutcome = DeployOutcome.IN_USE,
    begun_at: datetime = NOW,
    was_active: bool | None = None,
    served_before: str | None = None,
    what: str = "",
    hint: str = "",
    number: int = 1,
) -> DeployRecord:
    """A deploy that took a second and ended well, unless said otherwise."""
    return DeployRecord(
        id=number,
        target=target,
        fingerprint=fingerprint,
        begun_at=begun_at,
        was_active=was_active,
        served_before=served_before,
        outcome=outcome,
        what=what,
        hint=hint,
        ended_at=None if outcome is DeployOutcome.BEGUN else begun_at + timedelta(seconds=1),
    )


def a_renewal_info(
    fingerprint: str = "00" * 32,
    *,
    start: datetime = NOW + timedelta(days=60),
    end: datetime = NOW + timedelta(days=62),
    explanation_url: str = "",
    asked_at: datetime = NOW,
    ask_again_at: datetime = NOW + timedelta(hours=6),
) -> RenewalInfo:
    """A CA's suggestion, two days wide."""
    window = RenewalWindow(start, end, explanation_url)
    return RenewalInfo(fingerprint, window, asked_at, ask_again_at)


def an_event(
    kind: str = "obtained",
    *,
    certificate: str | None = "home",
    target: str | None = None,
    at: datetime = NOW,
    text: str = "a certificate was obtained",
) -> Event:
    """A line of the history."""
    return Event(at, kind, certificate, target, text)


def a_txt_record(
    value: str = "a" * 43,
    *,
    domain: str = "example.org",
    comment: str = "certwarden 0a1b2c3d order",
    record_id: str = "",
) -> TxtRecord:
    """A TXT record for the domain's challenge, wanted and not yet made."""
    name = f"_acme-challenge.{domain}"
    return TxtRecord(Place(name, name, "zone-1", domain), value, comment, record_id)


# ── plumbing ──────────────────────────────────────────────────────────────────────────────────────


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    key: CertificatePublicKeyTypes,
    subject: x509.Name | None,
    issuer: x509.Name,
    not_before: datetime,
    not_after: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name([]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
