"""A private CA as another program would have made it, and clients that hold its certificates.

Owns certificates and revocation lists made by hand, so that servers can be tested without
certwarden, and a visitor who tells what a server lets it see. Nothing here is certwarden's own.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.world.authority import key_pem, key_usage

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody's certificate and key, in files."""

    certificate: Path
    key: Path
    serial: int

    @property
    def pair(self) -> tuple[Path, Path]:
        """For `ssl.SSLContext.load_cert_chain`."""
        return self.certificate, self.key


class ClientAuthority:
    """A root, which signs client certificates and lists into one directory."""

    def __init__(self, directory: Path, name: str = "Test client CA") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(name)
        self._number = 0
        root = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = root.public_bytes(serialization.Encoding.PEM)

    def issue(self, name: str, *, subject: x509.Name | None = None) -> Client:
        """A certificate for a client of this name, or of the whole subject."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(subject or _common_name(name), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        paths = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(key_pem(key))
        return Client(*paths, certificate.serial_number)

    def crl(
        self,
        revoked: Sequence[Client] = (),
        *,
        this_update: datetime | None = None,
        lifetime: timedelta = timedelta(days=30),
    ) -> bytes:
        """A list, of a higher number than the one before (PEM); dated an hour back by default."""
        self._number += 1
        start = this_update or datetime.now(UTC) - HOUR
        entries = [
            x509.RevokedCertificateBuilder()
            .serial_number(client.serial)
            .revocation_date(start)
            .build()
            for client in revoked
        ]
        builder = x509.CertificateRevocationListBuilder(
            self._name, start, start + lifetime, revoked_certificates=entries
        )
        number = x509.CRLNumber(self._number)
        signed = builder.add_extension(number, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - HOUR)
            .not_valid_after(now + timedelta(days=30))
        )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered; `headers` are those that reached the program behind it."""

    status: int
    body: str
    was_resumed: bool

    @property
    def headers(self) -> dict[str, str]:
        """What `tests.world.backend` was asked with, names in lower case."""
        found: dict[str, str] = json.loads(self.body)
        return found


class Visitor:
    """A client that opens one connection for each request.

    With `resumes` it keeps the TLS session of the first and comes with it again ever after.
    """

    def __init__(
        self,
        port: int,
        *,
        ca_bundle: Path,
        server_name: str = "localhost",
        client: Client | None = None,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        resumes: bool = False,
    ) -> None:
        self._port = port
        self._resumes = resumes
        self._server_name = server_name
        self._context = ssl.create_default_context(cafile=str(ca_bundle))
        self._context.minimum_version = self._context.maximum_version = version
        if client is not None:
            self._context.load_cert_chain(*client.pair)
        self._session: ssl.SSLSession | None = None

    def connect(self) -> ssl.SSLSocket:
        """A connection after its handshake, by the session from before where one was kept."""
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        try:
            return self._context.wrap_socket(
                plain, server_hostname=self._server_name, session=self._session
            )
        except BaseException:
            plain.close()
            raise

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None) -> Reply:
        """Ask for a page; an OSError (an ssl.SSLError among them) is a refusal before HTTP."""
        with self.connect() as secured:
            lines = {"Host": self._server_name, "Connection": "close", **(headers or {})}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            secured.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            # Not by an HTTPConnection: that closes the socket, and its session is gone with it.
            reply = http.client.HTTPResponse(secured, method="GET")
            reply.begin()
            body = reply.read().decode()
            self.keep_session(secured)
            return Reply(reply.status, body, bool(secured.session_reused))

    def keep_session(self, secured: ssl.SSLSocket) -> None:
        """To be called once the server has answered: in TLS 1.3 there is no session before that."""
        if self._resumes:
            self._session = self._session or secured.session

    def is_refused(self, path: str = "/") -> bool:
        """Whether no application answers: by TLS, by an end without a word, or by 400 or 403."""
        try:
            return self.get(path).status in (400, 403)
        except (OSError, http.client.BadStatusLine):
            return True
