"""Certificates, revocation lists and generations for the tests, made with `cryptography`."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey
HOUR = dt.timedelta(hours=1)
_serials = itertools.count(0x0A)  # small ones too: Node prints them with an even length, "0A"


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def serial(self) -> str:
        digits = f"{self.certificate.serial_number:X}"
        return digits.zfill(len(digits) + len(digits) % 2)

    def write(self, directory: Path, name: str) -> Path:
        """Certificate and key in one file, as Python's ssl likes it."""
        file = directory / f"{name}.pem"
        file.write_bytes(self.pem + self.key_pem)
        return file


def _sign(
    name: str, issuer: Pair | None, extensions: list[tuple[x509.ExtensionType, bool]]
) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(next(_serials))
        .not_valid_before(now - HOUR)
        .not_valid_after(now + 100 * HOUR)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Pair(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def authority(name: str = "Home client CA") -> Pair:
    return _sign(name, None, [(x509.BasicConstraints(ca=True, path_length=0), True)])


def server(name: str = "home.example.org") -> Pair:
    return _sign(name, None, [(x509.SubjectAlternativeName([x509.DNSName(name)]), False)])


def client(name: str, issuer: Pair, names: list[x509.GeneralName] | None = None) -> Pair:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    ]
    if names:
        extensions.append((x509.SubjectAlternativeName(names), False))
    return _sign(name, issuer, extensions)


def revocation_list(
    issuer: Pair, revoked: list[Pair], number: int, *, expired: bool = False
) -> bytes:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - 2 * HOUR)
        .next_update(now - HOUR if expired else now + 100 * HOUR)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(each.certificate.serial_number)
            .revocation_date(now - HOUR)
            .build()
        )
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass
class Live:
    """`live/TARGET` as certwarden publishes it: generations, and a `current` link."""

    directory: Path
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    crl_numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(10))

    @classmethod
    def make(cls, directory: Path) -> Live:
        (directory / "generations").mkdir(parents=True)
        (directory / "loaded").mkdir()
        (directory / "loaded").chmod(0o777)  # a group does this in the field
        return cls(directory)

    def files(
        self,
        pair: Pair,
        ca: Pair | None = None,
        revoked: list[Pair] | None = None,
    ) -> dict[str, bytes]:
        files = {"privkey.pem": pair.key_pem, "fullchain.pem": pair.pem}
        if ca is not None:
            number = next(self.crl_numbers)
            serials = [each.serial for each in revoked or []]
            files["client-ca.pem"] = ca.pem
            files["client-crl.pem"] = revocation_list(ca, revoked or [], number)
            files["revoked.json"] = json.dumps({"crl_number": number, "serials": serials}).encode()
        return files

    def publish(self, files: dict[str, bytes], *, current: bool = True) -> Path:
        generation = self.directory / "generations" / f"{next(self.numbers):04}"
        generation.mkdir()
        for name, content in files.items():
            (generation / name).write_bytes(content)
        if current:
            self.switch(generation.name)
        return generation

    def switch(self, name: str) -> None:
        link = self.directory / "current.new"
        link.symlink_to(f"generations/{name}")
        link.replace(self.directory / "current")

    def remove(self) -> None:
        shutil.rmtree(self.directory)

    def status(self) -> dict[str, object]:
        """The one status file, or nothing where there is none yet."""
        files = list((self.directory / "loaded").glob("*.json"))
        assert len(files) <= 1, files
        found: dict[str, object] = json.loads(files[0].read_text()) if files else {}
        return found
