"""Several processes at the private CA at the same moment: nothing is lost, and numbers rise."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from certwarden.model import RevocationReason, Secret
from certwarden.pki.crl import read_crl
from certwarden.store.authority import AuthorityStore
from certwarden.store.ledger import Ledger
from certwarden.store.locks import FileLocks
from tests import crash
from tests.builders import NOW
from tests.builders_authority import a_client_certificate, a_private_authority
from tests.fakes_store import RecordingReporter
from tests.waiting import wait_until

CA = a_private_authority()
ROUNDS = 5


class Process:
    """What a process of ours has at hand."""

    def __init__(self, state: Path, purpose: str) -> None:
        self._ledger = Ledger(state / "certwarden.db")
        self.register = self._ledger.register
        self.authority = AuthorityStore(state)
        self.locks = FileLocks(state, RecordingReporter(), purpose)

    def sign(self) -> None:
        """Signs a list and publishes it."""
        (crl,) = self.register.sign_lists([NOW], NOW, CA.sign_list)
        self.authority.publish(crl)


def serials_of(person: int) -> list[str]:
    return [f"{person}{each}" for each in range(ROUNDS)]


def test_two_revoke_while_one_signs(tmp_path: Path) -> None:
    """Each revocation is in the list once its process is done, and no number was given twice."""
    mine = Process(tmp_path, "issue")
    mine.authority.create(CA.root_pem, Secret(b"key"), is_locked=False)
    everybody = [*serials_of(1), *serials_of(2)]
    mine.register.add([a_client_certificate(serial) for serial in everybody])
    mine.sign()
    mine.register._database.close()  # a child must not use its parent's connection
    go = tmp_path / "locks" / "go"

    def revoke(serials: list[str]) -> None:
        process = Process(tmp_path, "revoke")
        wait_until(go.exists)
        for serial in serials:
            with process.locks.authority():
                process.register.revoke([serial], RevocationReason.UNSPECIFIED, NOW)
                process.sign()
            published = process.authority.crl()
            assert published is not None
            assert serial in published.serials

    def sign() -> None:
        process = Process(tmp_path, "run")
        wait_until(go.exists)
        for _ in range(ROUNDS):
            with process.locks.authority():
                before = process.register.last_number()
                process.sign()
                assert process.register.last_number() == before + 1

    works: list[Callable[[], None]] = [
        partial(revoke, serials_of(1)),
        partial(revoke, serials_of(2)),
        sign,
    ]
    with ThreadPoolExecutor(len(works)) as pool:
        children = [pool.submit(crash.in_child, work) for work in works]
        go.parent.mkdir(exist_ok=True)
        go.touch()
        assert [child.result() for child in children] == [0] * len(works)
    published = mine.authority.crl()
    assert published is not None
    assert published.serials == set(everybody)
    assert published.number == mine.register.last_number() == 1 + 3 * ROUNDS
    assert read_crl(published.pem, CA.root_pem) == published


def test_without_the_lock_nothing_is_lost_either(tmp_path: Path) -> None:
    """The register's own transactions keep numbers apart, whatever else goes wrong."""
    mine = Process(tmp_path, "issue")
    mine.register.add([a_client_certificate(serial) for serial in serials_of(1)])
    mine.register._database.close()

    def revoke_and_sign(serial: str) -> None:
        register = Process(tmp_path, "revoke").register
        register.revoke([serial], RevocationReason.UNSPECIFIED, NOW)
        (crl,) = register.sign_lists([NOW], NOW, CA.sign_list)
        assert serial in crl.serials

    with ThreadPoolExecutor(ROUNDS) as pool:
        children = [
            pool.submit(crash.in_child, partial(revoke_and_sign, serial))
            for serial in serials_of(1)
        ]
        assert [child.result() for child in children] == [0] * ROUNDS
    assert mine.register.last_number() == ROUNDS
    assert mine.register.unlisted(None) == set(serials_of(1))
