"""A house that certificates are had of, for tests of what stands before it: real keys, no book."""

from dataclasses import dataclass, field, replace

from certwarden.enrolment.front import Doors
from certwarden.errors import Error, InvitationError
from certwarden.lifecycle.issue import IssuedClient
from certwarden.model import KeyType, Secret
from certwarden.pki.authority import build_client
from certwarden.pki.csr import read_csr
from certwarden.pki.keys import generate_key_pair
from tests.builders_authority import a_client_certificate
from tests.pki.private_ca import PrivateCa, a_ca

TOKEN = "abcdefgh-abcdefghijklmnopqrstuvwxyz"
SHOWN = "0a"


@dataclass
class FakeDoors:
    """Lets in one TOKEN and one renewal of SHOWN, each once; or fails as `trouble` says."""

    ca: PrivateCa = field(default_factory=a_ca)
    trouble: Error | None = None
    issued: list[IssuedClient] = field(default_factory=list)
    reported: list[Error] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    renewals: set[str] = field(default_factory=lambda: {SHOWN})

    def as_doors(self) -> Doors:
        return Doors(self.redeem, self.reenrol, self.reported.append)

    def redeem(self, token: Secret, csr: bytes | None) -> IssuedClient:
        return self._issue(self.tokens, token.reveal().decode(), csr)

    def reenrol(self, serial: str, csr: bytes) -> IssuedClient:
        return self._issue(self.renewals, serial, csr)

    def _issue(self, invited: set[str], key: str, csr: bytes | None) -> IssuedClient:
        if self.trouble is not None:
            raise self.trouble
        if key not in invited:
            raise InvitationError("this invitation is not valid")
        invited.remove(key)
        if csr is None:
            key_pem, public_key = generate_key_pair(KeyType.ECDSA_P256)
        else:
            key_pem, public_key = None, read_csr(csr)
        certificate = a_client_certificate("0b", "alice.phone")
        pem = build_client(self.ca.root_pem, self.ca.key, certificate, public_key)
        self.issued.append(IssuedClient(replace(certificate, is_signed=True), pem, key_pem))
        return self.issued[-1]
