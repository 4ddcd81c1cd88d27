"""A house with a private CA: targets that ask their clients for certificates, all fakes in reach.

The register and the signatures are real; nothing touches the disk.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from certwarden.lifecycle.authority import observe_authority, rotate_probe, sign_lists
from certwarden.lifecycle.issue import ClientRequest, IssuedClient, issue
from certwarden.lifecycle.withdraw import Withdrawal, withdraw
from certwarden.model import (
    Admission,
    AuthoritySpec,
    Crl,
    HotReload,
    ObservedAuthority,
    Pair,
    Reload,
    RevocationReason,
    Root,
    Secret,
    TargetSpec,
)
from certwarden.pki.authority import build_root
from certwarden.pki.certificate import read_pair
from certwarden.pki.keys import load_key
from certwarden.pki.protection import generate_authority_key
from tests.builders import a_certificate_spec, a_stored, a_target_spec
from tests.fakes import FakeTarget
from tests.lifecycle.house import House


class ClientHouse(House):
    """A house whose targets ask for client certificates; in use, with the first list in place."""

    def __init__(
        self,
        *names: str,
        reload: Reload = HotReload(),  # noqa: B008 - a frozen value
        is_locked: bool = False,
        crl_days: int = 30,
        lifetime: timedelta = timedelta(days=90),
    ) -> None:
        targets = [a_client_target(name, reload) for name in names or ("node-red",)]
        super().__init__(a_certificate_spec(targets=targets), lifetime=lifetime)
        for target in self.world.targets.values():
            target.program.is_unit = not isinstance(reload, HotReload)
        self.world.authority_spec = AuthoritySpec(
            "Home", Path("/nowhere/ca.passphrase"), crl_lifetime=timedelta(days=crl_days)
        )
        self.key = self.world.key = generate_authority_key()
        authority = self.world.authority
        root_pem = build_root("Home", self.key, self.now)
        authority.create(root_pem, Secret(b"encrypted"), is_locked=is_locked)
        rotate_probe(self.world, self.root, self.key, self.now)
        sign_lists(self.world, self.root, self.key, self.now)
        if is_locked:
            self.world.key = None
        stored = a_stored()
        self.world.certificates.versions.setdefault(stored.name, []).append(stored)
        assert self.run().is_good or is_locked

    @property
    def root(self) -> Root:
        root = self.world.authority.root()
        assert root is not None
        return root

    @property
    def crl(self) -> Crl:
        """The published list."""
        crl = self.world.authority.crl()
        assert crl is not None
        return crl

    @property
    def authority(self) -> ObservedAuthority:
        seen = observe_authority(self.world)
        assert seen is not None
        assert seen.trouble is None
        return seen

    @property
    def target(self) -> FakeTarget:
        """The first target."""
        return next(iter(self.world.targets.values()))

    def client(self, name: str = "alice") -> IssuedClient:
        """A new client's certificate and key."""
        (issued,) = issue(self.world, [ClientRequest(name)])
        return issued

    def withdraw(
        self, name: str = "alice", reason: RevocationReason = RevocationReason.UNSPECIFIED
    ) -> Withdrawal:
        return withdraw(self.world, self.specs, name, reason)

    def admission(self, client: IssuedClient, target: str | None = None) -> Admission:
        """What befalls the client at the target, or at the first one."""
        fake = self.world.targets[target] if target else self.target
        return fake.clients.receive(as_pair(client)).admission


def a_client_target(name: str, reload: Reload) -> TargetSpec:
    return replace(a_target_spec(name, reload=reload), client_auth=True)


def as_pair(client: IssuedClient) -> Pair:
    """What the client shows."""
    assert client.key_pem is not None
    load_key(client.key_pem)
    return read_pair(client.key_pem, client.pem)
