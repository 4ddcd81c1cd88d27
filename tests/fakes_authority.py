"""The private CA in memory: a stand-in for what is on disk, and the real books without a file.

The contract tests run the fake beside the real one; the register needs no fake, as a database in
memory is quick enough.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from certwarden.errors import Error, StoreError, UsageError
from certwarden.model import Crl, Pair, Root, Secret
from certwarden.pki.authority import read_root
from certwarden.store.backup import StateBelongings
from certwarden.store.database import Database
from certwarden.store.invitations import InvitationBook
from certwarden.store.proofs import ProofBook
from certwarden.store.register import Register
from certwarden.store.schema import MIGRATIONS

NOWHERE = Path("nowhere")


class FakeAuthority:
    """The authority's files in memory. Set `failure` to make every call raise it."""

    def __init__(self) -> None:
        self.root_pem: bytes | None = None
        self.key_pem: Secret | None = None
        self.locked = False
        self.published: list[Crl] = []  # every one ever published, in order
        self.probes: list[Pair] = []  # every one ever saved, in order
        self.failure: Error | None = None

    def root(self) -> Root | None:
        self._fail()
        return read_root(self.root_pem) if self.root_pem is not None else None

    def key(self) -> Secret:
        self._fail()
        if self.key_pem is None:
            raise StoreError("the private CA's key, root.key, is not there", "run `ca restore`")
        return self.key_pem

    def is_locked(self) -> bool:
        self._fail()
        return self.locked

    def create(self, root_pem: bytes, key_pem: Secret, *, is_locked: bool) -> None:
        self._fail()
        read_root(root_pem)
        if self.root_pem is not None:
            raise UsageError("there is a private CA already", "run `certwarden ca show`")
        self.root_pem, self.key_pem, self.locked = root_pem, key_pem, is_locked

    def replace_root(self, root_pem: bytes) -> None:
        self._fail()
        read_root(root_pem)
        self.root_pem = root_pem

    def crl(self) -> Crl | None:
        self._fail()
        return self.published[-1] if self.published else None

    def publish(self, crl: Crl) -> None:
        self._fail()
        if self.published and self.published[-1].number > crl.number:
            raise StoreError("the list is older than the published one", "sign a new one")
        self.published.append(crl)

    def probe(self) -> Pair | None:
        self._fail()
        return self.probes[-1] if self.probes else None

    def save_probe(self, probe: Pair) -> None:
        self._fail()
        self.probes.append(probe)

    def _fail(self) -> None:
        if self.failure:
            raise self.failure


class FakeBelongings(StateBelongings):
    """Those of a machine without files; the lists are told. Set `failure` to have them raise it."""

    def __init__(self, lists: Callable[[], Iterable[bytes]]) -> None:
        super().__init__(NOWHERE, config_file=NOWHERE / "config.toml", passphrase_file=None)
        self.failure: Error | None = None
        self._told = lists

    def lists(self) -> tuple[bytes, ...]:
        if self.failure:
            raise self.failure
        return tuple(self._told())


def a_register() -> Register:
    """The real register over a database in memory, empty."""
    return Register(_in_memory())


def the_books() -> tuple[Register, InvitationBook]:
    """The real register, and the invitations beside it in one database in memory."""
    database = _in_memory()
    return Register(database), InvitationBook(database)


def a_proof_book() -> ProofBook:
    """The real book of proofs over a database in memory, empty."""
    return ProofBook(_in_memory())


def _in_memory() -> Database:
    return Database(NOWHERE / "certwarden.db", MIGRATIONS, create=False)
