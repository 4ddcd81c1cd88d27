"""Linters and other libraries judge root, clients and lists; what they refuse, they refuse.

The commands are those that a person would type; `-s NOTICE`, since below that a linter remarks on
what is as it should be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from certwarden.model import KeyType, RevocationReason, Revoked, Secret
from certwarden.pki.authority import extend_root, new_serial
from certwarden.pki.keys import load_key
from tests.pki.private_ca import PrivateCa, found
from tests.pki.programs import run

pytestmark = pytest.mark.world

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"

CLIENTS = {
    "dns": ("alice-iphone", None, KeyType.ECDSA_P256),
    "dns-longest": ("a" * 63, None, KeyType.ECDSA_P256),
    "dns-odd": ("1.work_phone--2.0", None, KeyType.ECDSA_P256),
    "email": ("bob", "o'hara+home@example.org", KeyType.ECDSA_P384),
    "rsa": ("old-tablet", None, KeyType.RSA_2048),
}
ROOTS = ("root", "extended")


@dataclass(frozen=True)
class Files:
    """Everything that is judged, in one directory; these programs know no other time than now."""

    directory: Path
    ca: PrivateCa

    def run(self, name: str, *arguments: str) -> tuple[int, str]:
        """Exit code and all that was said."""
        done = run(name, *arguments, cwd=self.directory)
        return done.returncode, done.stdout + done.stderr

    def write(self, name: str, pem: bytes) -> str:
        (self.directory / name).write_bytes(pem)
        return name


@pytest.fixture(scope="module", params=["ec", "rsa"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """By a CA as we make it, and by one with an RSA key as an imported one may have."""
    now = datetime.now(UTC)
    ca = found(
        ec.generate_private_key(ec.SECP256R1())
        if request.param == "ec"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048),
        now=now,
    )
    made = Files(tmp_path_factory.mktemp("judged"), ca)
    made.write("root.pem", ca.root_pem)
    made.write("extended.pem", extend_root(ca.root_pem, ca.key, now))
    clients = {file: ca.client(*what) for file, what in CLIENTS.items()}
    for file, client in clients.items():
        made.write(f"{file}.pem", client.pem)
    others = [Revoked(new_serial(), now, reason) for reason in RevocationReason]
    ours = [
        Revoked(each.certificate.serial, now, RevocationReason.UNSPECIFIED)
        for each in clients.values()
    ]
    made.write("empty.pem", ca.crl(number=1).pem)
    made.write("others.pem", ca.crl(others, number=2).pem)
    made.write("revoked.pem", ca.crl([*others, *ours], number=2**159 - 1).pem)
    return made


# ── accepted ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [*ROOTS, *CLIENTS])
def test_pkilint_finds_nothing_in_a_certificate(files: Files, name: str) -> None:
    """Root, extended root, and every kind of client."""
    assert files.run("lint_pkix_cert", "lint", "-s", "NOTICE", f"{name}.pem") == (0, "\n")


@pytest.mark.parametrize(
    ("root", "client"), [("root", "dns"), ("root", "email"), ("extended", "rsa")]
)
def test_pkilint_finds_nothing_between_two(files: Files, root: str, client: str) -> None:
    """Signer and signed fit together."""
    chain = (f"{root}.pem", f"{client}.pem")
    name = "lint_pkix_signer_signee_cert_chain"
    assert files.run(name, "lint", "-s", "NOTICE", *chain) == (0, "\n")


@pytest.mark.parametrize("name", ["empty", "others", "revoked"])
def test_pkilint_finds_nothing_in_a_list(files: Files, name: str) -> None:
    """Empty, with every reason, with the greatest number."""
    command = ("lint", "-t", "CRL", "-p", "PKIX", "-s", "NOTICE", f"{name}.pem")
    assert files.run("lint_crl", *command) == (0, "\n")


def verify(files: Files, root: str, crl: str, client: str) -> tuple[int, str]:
    """By OpenSSL, as strictly as it can."""
    strictly = ("-x509_strict", "-purpose", "sslclient")
    trust = ("-CAfile", f"{root}.pem", "-CRLfile", f"{crl}.pem", "-crl_check_all")
    return files.run("openssl", "verify", *strictly, *trust, f"{client}.pem")


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("crl", ["empty", "others"])
def test_openssl_verifies_a_client(files: Files, root: str, crl: str, client: str) -> None:
    """By the root, and by the extended one with the list of before."""
    assert verify(files, root, crl, client) == (0, f"{client}.pem: OK\n")


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", ["empty", "others", "revoked"])
def test_openssl_verifies_a_list(files: Files, root: str, name: str) -> None:
    """Its signature, by either certificate of the root."""
    command = ("crl", "-in", f"{name}.pem", "-noout", "-CAfile", f"{root}.pem")
    code, said = files.run("openssl", *command)
    assert (code, said.strip()) == (0, "verify OK")


def certtool_verify(files: Files, root: str, crl: str, client: str) -> tuple[int, str]:
    trust = ("--load-ca-certificate", f"{root}.pem", "--load-crl", f"{crl}.pem")
    purpose = ("--verify-purpose", CLIENT_AUTH)
    return files.run("certtool", "--verify", *trust, *purpose, "--infile", f"{client}.pem")


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_gnutls_verifies_a_client(files: Files, root: str, client: str) -> None:
    """A second opinion."""
    code, said = certtool_verify(files, root, "others", client)
    assert code == 0
    assert "The certificate is trusted" in said


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("name", ["empty", "others", "revoked"])
def test_gnutls_verifies_a_list(files: Files, root: str, name: str) -> None:
    """The same of lists."""
    trust = ("--load-ca-certificate", f"{root}.pem")
    code, said = files.run("certtool", "--verify-crl", *trust, "--infile", f"{name}.pem")
    assert code == 0
    assert "Verified" in said


# ── refused ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_revoked_client_is_refused(files: Files, root: str, client: str) -> None:
    """By OpenSSL with error 23, and by GnuTLS."""
    code, said = verify(files, root, "revoked", client)
    assert code == 2
    assert "error 23" in said
    assert "certificate revoked" in said
    _, said = certtool_verify(files, root, "revoked", client)
    assert "The certificate is NOT trusted. The certificate chain is revoked" in said


@pytest.mark.parametrize(
    ("at", "error"),
    [(-31 * DAY, "CRL has expired"), (2 * HOUR, "CRL is not yet valid")],
)
def test_a_list_of_another_time_lets_nobody_in(files: Files, at: timedelta, error: str) -> None:
    """Why the lists must never lapse, and are dated back."""
    when = files.ca.now + at
    files.write("ill-dated.pem", files.ca.crl(at=when, number=9).pem)
    code, said = verify(files, "root", "ill-dated", "dns")
    assert code == 2
    assert error in said


def test_a_strangers_list_and_client_are_refused(files: Files) -> None:
    """The same names by another key do not count."""
    stranger = found(ec.generate_private_key(ec.SECP256R1()), now=files.ca.now)
    files.write("stranger.pem", stranger.client().pem)
    files.write("strange-list.pem", stranger.crl().pem)
    assert verify(files, "root", "empty", "stranger")[0] == 2
    code, said = verify(files, "root", "strange-list", "dns")
    assert code == 2
    assert "unable to get certificate CRL" in said


def odd_certificate(
    files: Files, *values: tuple[x509.ExtensionType, bool], root: bool = False
) -> bytes:
    """By the CA, of these extensions (and whether they are critical) alone."""
    ca = x509.load_pem_x509_certificate(files.ca.root_pem)
    key = files.ca.key
    client_key = load_key(files.ca.client().key_pem)
    subject = ca.subject if root else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.subject)
        .public_key(key.public_key() if root else client_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(files.ca.now - HOUR)
        .not_valid_after(files.ca.now + DAY)
    )
    for value, is_critical in values:
        builder = builder.add_extension(value, critical=is_critical)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def values_of(pem: bytes) -> list[tuple[x509.ExtensionType, bool]]:
    certificate = x509.load_pem_x509_certificate(pem)
    return [(each.value, each.critical) for each in certificate.extensions]


def without(
    kind: type, values: Sequence[tuple[x509.ExtensionType, bool]]
) -> list[tuple[x509.ExtensionType, bool]]:
    return [each for each in values if not isinstance(each[0], kind)]


def test_the_linter_bites(files: Files) -> None:
    """A client without AKI, a root whose constraints are not critical, a list with neither."""
    client = without(
        x509.AuthorityKeyIdentifier, values_of((files.directory / "dns.pem").read_bytes())
    )
    files.write("odd.pem", odd_certificate(files, *client))
    code, said = files.run("lint_pkix_cert", "lint", "-s", "NOTICE", "odd.pem")
    assert code > 0
    assert "authority_key_identifier" in said
    chain = ("root.pem", "odd.pem")
    assert files.run("lint_pkix_signer_signee_cert_chain", "lint", "-s", "NOTICE", *chain)[0] > 0

    root = [
        (value, is_critical and not isinstance(value, x509.BasicConstraints))
        for value, is_critical in values_of(files.ca.root_pem)
    ]
    files.write("odd-root.pem", odd_certificate(files, *root, root=True))
    assert files.run("lint_pkix_cert", "lint", "-s", "NOTICE", "odd-root.pem")[0] > 0
    code, said = verify(files, "odd-root", "empty", "dns")
    assert code == 2
    assert "error 89" in said

    ca = x509.load_pem_x509_certificate(files.ca.root_pem)
    bare = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.subject)
        .last_update(files.ca.now)
        .next_update(files.ca.now + DAY)
        .sign(files.ca.key, SHA256())
    )
    files.write("odd-list.pem", bare.public_bytes(Encoding.PEM))
    command = ("lint", "-t", "CRL", "-p", "PKIX", "-s", "NOTICE", "odd-list.pem")
    assert files.run("lint_crl", *command)[0] == 2


def test_a_client_for_servers_is_refused(files: Files) -> None:
    """The purpose is asked for, so that a web server's certificate of this CA lets nobody in."""
    values = without(x509.ExtendedKeyUsage, values_of((files.directory / "dns.pem").read_bytes()))
    usage = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
    files.write("server.pem", odd_certificate(files, *values, (usage, False)))
    assert verify(files, "root", "empty", "server")[0] == 2
    _, said = certtool_verify(files, "root", "empty", "server")
    assert "NOT trusted" in said


def test_an_imported_root_is_extended_for_its_clients(tmp_path: Path) -> None:
    """easy-rsa's clients name their CA by its serial: with another one they are locked out."""
    for command in ("init-pki", "--req-cn=Easy build-ca nopass", "build-client-full alice nopass"):
        done = run("easyrsa", "--batch", *command.split(), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    key = load_key(Secret((tmp_path / "pki/private/ca.key").read_bytes()))
    old = PrivateCa((tmp_path / "pki/ca.crt").read_bytes(), key, datetime.now(UTC))
    files = Files(tmp_path, replace(old, root_pem=extend_root(old.root_pem, key, old.now)))
    files.write("extended.pem", files.ca.root_pem)
    files.write("list.pem", old.crl().pem)
    files.write("new.pem", files.ca.client().pem)
    assert verify(files, "extended", "list", "new") == (0, "new.pem: OK\n")

    plain = ("-purpose", "sslclient", "-CRLfile", "list.pem", "-crl_check_all")  # it is not strict
    client = "pki/issued/alice.crt"
    assert files.run("openssl", "verify", *plain, "-CAfile", "extended.pem", client)[0] == 0
    files.write("other.pem", odd_certificate(files, *values_of(files.ca.root_pem), root=True))
    code, said = files.run("openssl", "verify", *plain, "-CAfile", "other.pem", client)
    assert code == 2
    assert "unable to get local issuer certificate" in said
