"""A target's directory as certwarden would have published it, made without certwarden.

Owns the files that a snippet names, and the people who come with certificates of the private CA.
"""

import json
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from certwarden.model import Address, CertificateSpec, TargetSpec
from tests.builders import a_certificate_spec, a_target_spec
from tests.world.authority import TestAuthority
from tests.world.clients import Client, ClientAuthority, Visitor
from tests.world.process import free_port


class Published:
    """The directory, what is in it, and visitors to whoever serves it."""

    def __init__(self, directory: Path, kind: str, *, client_auth: bool = True) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        live = directory / "live"
        self.current = live / "current"
        self._number = 1
        self.target: TargetSpec = replace(
            a_target_spec(
                "front",
                kind=kind,
                directory=live,
                reload=None,
                probe=Address("127.0.0.1", self.port),
            ),
            client_auth=client_auth,
        )
        self.certificate: CertificateSpec = a_certificate_spec(
            domains=("localhost", "*.localhost"), targets=(self.target,)
        )
        self.servers = TestAuthority(directory)
        self.clients = ClientAuthority(directory / "clients")
        self.foreign = ClientAuthority(directory / "foreign", "Another CA")
        self.alice = self.clients.issue("alice")
        self.bob = self.clients.issue("bob")
        self._generation().mkdir(parents=True)
        (live / "loaded").mkdir()
        self._make_current(self._generation())
        self._publish_server()
        if client_auth:
            (self.current / "client-ca.pem").write_bytes(self.clients.pem)
            self.revoke()

    def _publish_server(self) -> None:
        certificate, key = self.servers.issue("server")
        pem, key_pem = certificate.read_bytes(), key.read_bytes()
        files = {"fullchain": pem, "privkey": key_pem, "combined": pem + key_pem}
        for name, content in files.items():
            (self.current / f"{name}.pem").write_bytes(content)

    def revoke(self, *clients: Client) -> None:
        """Publish a list with these clients and no other."""
        self.publish_list(self.clients.crl(clients), clients)

    def publish_list(self, pem: bytes, clients: Sequence[Client] = ()) -> None:
        """Publish this as the list, in a generation of its own."""
        self._number += 1
        before, after = self.current.resolve(), self._generation()
        shutil.copytree(before, after)
        serials = [f"{client.serial:X}" for client in clients]
        revoked = [each.zfill(len(each) + len(each) % 2) for each in serials]
        document = {"crl_number": self._number, "serials": revoked}
        (after / "revoked.json").write_text(json.dumps(document))
        (after / "client-crl.pem").write_bytes(pem)
        self._make_current(after)

    def _generation(self) -> Path:
        return self.target.directory / "generations" / f"{self._number:04}"

    def _make_current(self, generation: Path) -> None:
        link = self.target.directory / "next"
        link.symlink_to(f"generations/{generation.name}")
        link.replace(self.current)

    def visitor(
        self,
        client: Client | None = None,
        *,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        resumes: bool = False,
    ) -> Visitor:
        """Somebody who comes with this client's certificate, or without any."""
        return Visitor(
            self.port,
            ca_bundle=self.servers.bundle,
            client=client,
            version=version,
            resumes=resumes,
        )
