"""A machine with a private CA on its disk: the real store, and fakes for all the rest.

machine = Machine(tmp_path)
machine.found()
alice = machine.issue("alice")
"""

import subprocess
from pathlib import Path

from certwarden.errors import LockedError
from certwarden.lifecycle.authority import create_authority, sign_lists
from certwarden.lifecycle.backup import back_up, restore, sign_anew
from certwarden.lifecycle.issue import ClientRequest, IssuedClient, issue
from certwarden.model import (
    AuthoritySpec,
    Backup,
    CertificateSpec,
    Crl,
    RevocationReason,
    Secret,
)
from certwarden.pki.keys import PrivateKey
from certwarden.pki.protection import decrypt_key
from certwarden.store.archive import RegisterArchive
from certwarden.store.authority import AuthorityStore
from certwarden.store.backup import BackupDirectory, StateBelongings
from certwarden.store.ledger import Ledger
from tests.fakes import FakeWorld

PASSPHRASE = Secret(b"kept-beside-the-machine")
SEALED_UNDER = Secret(b"correct horse battery staple")
CONFIG = b'[authority]\nname = "Home client CA"\n'


class Machine(FakeWorld):
    """`ports.Neighbours` over a directory; what is on its disk outlives it."""

    def __init__(
        self, directory: Path, *specs: CertificateSpec, is_passphrase_kept: bool = True
    ) -> None:
        super().__init__(*specs)
        self.directory = directory
        self.state = directory / "state"
        self.backups = directory / "backups"
        passphrase_file = directory / "ca.passphrase"
        backups_passphrase_file = directory / "backups.passphrase"
        directory.mkdir(exist_ok=True)
        if is_passphrase_kept:
            passphrase_file.write_bytes(PASSPHRASE.reveal() + b"\n")
        backups_passphrase_file.write_bytes(SEALED_UNDER.reveal() + b"\n")
        (directory / "config.toml").write_bytes(CONFIG)
        self.real_ledger = Ledger(self.state / "certwarden.db")
        self.register, self.proofs = self.real_ledger.register, self.real_ledger.proofs
        self.invitations = self.real_ledger.invitations
        self.archive = RegisterArchive(self.real_ledger._database)
        self.authority = AuthorityStore(self.state)  # type: ignore[assignment]  # the real one
        self.authority_spec = AuthoritySpec("Home client CA", passphrase_file)
        self.belongings = StateBelongings(
            self.state,
            config_file=directory / "config.toml",
            passphrase_file=passphrase_file,
            target_directories=[target.directory for spec in specs for target in spec.targets],
        )
        self.has_safe = True
        self.passphrase: Secret | None = None

    def safe(self) -> BackupDirectory | None:
        if not self.has_safe:
            return None
        return BackupDirectory(self.backups, self.directory / "backups.passphrase")

    def signing_key(self) -> PrivateKey:
        passphrase = self.passphrase or self.belongings.passphrase()
        if passphrase is None:
            raise LockedError("the private CA is locked", "run it on a terminal")
        return decrypt_key(self.authority.key(), passphrase)

    def found(self, *, is_locked: bool = False) -> None:
        """Makes the CA."""
        self.passphrase = PASSPHRASE
        create_authority(self, passphrase=PASSPHRASE, is_locked=is_locked)

    def issue(self, *names: str) -> tuple[IssuedClient, ...]:
        return issue(self, [ClientRequest(name) for name in names])

    def revoke(self, issued: IssuedClient) -> Crl:
        """Revokes it, signs and publishes; the new list."""
        now = self.clock.now()
        serials = [issued.certificate.serial]
        self.register.revoke(serials, RevocationReason.KEY_COMPROMISE, now)
        return self.sign()

    def sign(self) -> Crl:
        root = self.authority.root()
        assert root is not None
        return sign_lists(self, root, self.signing_key(), self.clock.now())[0]

    def install(self, crl: Crl, target: str = "nginx") -> None:
        """Puts the list where a target reads it."""
        generation = self.state / "live" / target / "generations" / "0001"
        generation.mkdir(parents=True)
        (generation / "client-crl.pem").write_bytes(crl.pem)
        (generation.parent.parent / "current").symlink_to("generations/0001")

    def back_up(self) -> bytes:
        """A sealed backup."""
        made: list[bytes] = []
        back_up(self, SEALED_UNDER, made.append)
        (sealed,) = made
        return sealed

    def put_back(self, backup: Backup) -> Crl:
        """Restores it and signs anew; the new list."""
        restore(self, backup)
        return sign_anew(self)[0]


def is_let_in(machine: Machine, pem: bytes, crl_pem: bytes, *, is_strict: bool = True) -> bool:
    """What OpenSSL says of the client, by the CA's certificate and the list."""
    place = machine.directory / "verify"
    place.mkdir(exist_ok=True)
    root = machine.authority.root()
    assert root is not None
    for name, data in (("root.pem", root.pem), ("crl.pem", crl_pem), ("client.pem", pem)):
        (place / name).write_bytes(data)
    at = str(int(machine.clock.now().timestamp()))
    options = ["-purpose", "sslclient", "-crl_check_all", "-attime", at]
    options += ["-x509_strict"] if is_strict else []
    found = subprocess.run(
        ["openssl", "verify", *options, "-CAfile", "root.pem", "-CRLfile", "crl.pem", "client.pem"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0 or "certificate revoked" in found.stderr + found.stdout
    return found.returncode == 0
