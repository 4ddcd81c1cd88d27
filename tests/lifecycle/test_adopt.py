"""A CA of easy-rsa or `openssl ca` becomes ours: its clients are let in, revoked ones are not."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certwarden.errors import LockedError, MaterialError, UsageError
from certwarden.lifecycle.adopt import Adopted, adopt, examine
from certwarden.lifecycle.authority import renew_root
from certwarden.lifecycle.backup import sign_anew
from certwarden.lifecycle.invite import InvitationRequest, invite
from certwarden.model import KeyType, RevocationReason, Secret
from certwarden.pki.certificate import build_placeholder
from certwarden.store.predecessor import read_predecessor
from tests.lifecycle.machine import PASSPHRASE, Machine, is_let_in
from tests.world.clients import Client, Visitor
from tests.world.nginx import Nginx
from tests.world.predecessors import EasyRsa, OpensslCa
from tests.world.process import free_port

pytestmark = pytest.mark.world


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """An empty one, an hour from now: those programs go by the real clock, and take their time."""
    machine = Machine(tmp_path / "machine")
    machine.clock.instant = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    return machine


def lets_in(machine: Machine, pem: bytes, crl_pem: bytes) -> bool:
    """As servers judge; OpenSSL's strictest rules are not met by easy-rsa's own root."""
    return is_let_in(machine, pem, crl_pem, is_strict=False)


def take_over(machine: Machine, directory: Path, passphrase: str | None = None) -> Adopted:
    old = Secret(passphrase.encode()) if passphrase else None
    estate = examine(machine, read_predecessor(directory), old)
    return adopt(machine, estate, PASSPHRASE, is_locked=False)


def test_an_easy_rsa_directory_is_taken_over(machine: Machine, tmp_path: Path) -> None:
    """Encrypted key and all: old clients stay in, revoked ones out, and renewing the root too."""
    old = EasyRsa(tmp_path / "easy-rsa", "open sesame")
    alice, bob = old.client("alice"), old.client("Bob Müller").read_bytes()
    alice_pem = alice.read_bytes()
    old.run("build-server-full", "vpn", "nopass")
    old.run("revoke", "alice", "keyCompromise")
    old.run("gen-crl")
    carol = old.client("carol").read_bytes()
    old.run("revoke", "carol")  # and never put into a list, as easy-rsa's users do
    adopted = take_over(machine, tmp_path / "easy-rsa", "open sesame")
    (crl,) = sign_anew(machine)
    assert (adopted.valid, adopted.revoked) == (1, 2)
    assert lets_in(machine, bob, crl.pem)
    assert not lets_in(machine, alice_pem, crl.pem)
    assert not lets_in(machine, carol, crl.pem)
    names = {each.name: each for each in machine.register.clients()}
    assert set(names) == {"alice", "bob-muller", "carol"}
    assert names["alice"].reason is RevocationReason.KEY_COMPROMISE
    assert any("bob-muller" in remark for remark in adopted.remarks)
    assert any("vpn" in remark for remark in adopted.remarks)
    (dave,) = machine.issue("dave")
    assert lets_in(machine, dave.pem, crl.pem)
    renew_root(machine)
    assert lets_in(machine, bob, crl.pem)  # although it names its issuer's serial


def test_an_openssl_ca_directory_is_taken_over(machine: Machine, tmp_path: Path) -> None:
    """Numbers go on after the old list's, serials and reasons are kept, addresses too."""
    old = OpensslCa(tmp_path / "ca")
    alice = old.client("/CN=alice/emailAddress=alice@example.org", "alice")
    bob = old.client("/CN=bob", "bob")
    old.revoke(alice, "-crl_reason", "superseded")
    old.sign_list()
    take_over(machine, old.directory)
    (crl,) = sign_anew(machine)
    assert crl.number == 0x2A + 1
    assert lets_in(machine, bob.read_bytes(), crl.pem)
    assert not lets_in(machine, alice.read_bytes(), crl.pem)
    found = {each.name: each for each in machine.register.clients()}
    assert found["alice"].serial == "1000"
    assert found["alice"].email == "alice@example.org"
    assert found["alice"].reason is RevocationReason.SUPERSEDED
    assert found["bob"].revoked_at is None


def test_the_old_directory_is_only_read(machine: Machine, tmp_path: Path) -> None:
    """Not a byte of it changes."""
    old = OpensslCa(tmp_path / "ca")
    before = {path: path.read_bytes() for path in old.directory.rglob("*") if path.is_file()}
    take_over(machine, old.directory)
    after = {path: path.read_bytes() for path in old.directory.rglob("*") if path.is_file()}
    assert after == before


def test_a_wrong_passphrase_and_none_are_told(machine: Machine, tmp_path: Path) -> None:
    """Nothing is taken over then."""
    EasyRsa(tmp_path / "easy-rsa", "open sesame")
    with pytest.raises(LockedError, match="is encrypted"):
        take_over(machine, tmp_path / "easy-rsa")
    with pytest.raises(LockedError):
        take_over(machine, tmp_path / "easy-rsa", "open barley")
    assert machine.authority.root() is None


def test_who_was_invited_by_another_one_is_not_any_more(machine: Machine, tmp_path: Path) -> None:
    """The token would be good for a certificate of a CA that has promised nothing."""
    machine.found()
    invitation, _ = invite(machine, InvitationRequest("alice"))
    shutil.rmtree(machine.state / "authority")
    take_over(machine, OpensslCa(tmp_path / "ca").directory)
    assert machine.invitations.open(machine.clock.now()) == ()
    assert machine.invitations.find(invitation.id) is not None


def test_a_ca_that_is_there_is_not_replaced(machine: Machine, tmp_path: Path) -> None:
    """Two cannot be had, and the one that is there stays."""
    machine.found()
    before = machine.authority.root()
    with pytest.raises(UsageError, match="there is a private CA already"):
        take_over(machine, OpensslCa(tmp_path / "ca").directory)
    assert machine.authority.root() == before


@pytest.mark.parametrize(
    ("extensions", "fault"),
    [
        ("basicConstraints = critical, CA:TRUE\nkeyUsage = keyCertSign", "cRLSign"),
        ("basicConstraints = critical, CA:TRUE\nkeyUsage = cRLSign", "keyCertSign"),
        ("basicConstraints = critical, CA:FALSE", "CA:TRUE"),
        ("subjectKeyIdentifier = hash", "CA:TRUE"),
    ],
)
def test_a_root_that_will_not_do_is_refused(
    machine: Machine, tmp_path: Path, extensions: str, fault: str
) -> None:
    """It is said what it may not do, and nothing is taken over."""
    old = OpensslCa(tmp_path / "ca")
    with (old.directory / "openssl.cnf").open("a") as file:
        file.write(f"[odd]\n{extensions}\n")
    old.run(
        *("req", "-x509", "-config", "openssl.cnf", "-extensions", "odd", "-days", "3650"),
        *("-key", "private/cakey.pem", "-subj", "/CN=Odd CA", "-out", "cacert.pem"),
    )
    with pytest.raises(MaterialError, match=fault):
        take_over(machine, old.directory)
    assert machine.authority.root() is None


def test_a_root_that_has_expired_is_refused(machine: Machine, tmp_path: Path) -> None:
    """Nobody would be let in by it."""
    old = OpensslCa(tmp_path / "ca")
    machine.clock.advance(timedelta(days=3651))
    with pytest.raises(MaterialError, match="has expired on"):
        take_over(machine, old.directory)


def test_a_real_server_lets_old_clients_in_and_refuses_revoked_ones(
    machine: Machine, tmp_path: Path
) -> None:
    """nginx, by the root and the list that we publish, and the clients' own keys."""
    old = EasyRsa(tmp_path / "easy-rsa")
    visitors = {}
    for name in ("alice", "bob"):
        files = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        files[0].write_bytes(old.client(name).read_bytes())
        files[1].write_bytes(old.key(name).read_bytes())
        visitors[name] = Client(*files, serial=0)
    old.run("revoke", "alice")
    adopted = take_over(machine, tmp_path / "easy-rsa")
    (crl,) = sign_anew(machine)
    server = build_placeholder(["localhost"], KeyType.ECDSA_P256, datetime.now(UTC))
    for name, data in (
        ("server.pem", server.fullchain_pem),
        ("server.key", server.key_pem.reveal()),
        ("client-ca.pem", adopted.root.pem),
        ("client-crl.pem", crl.pem),
    ):
        (tmp_path / name).write_bytes(data)
    port = free_port()
    text = f"""
        server {{
            listen {port} ssl;
            ssl_certificate {tmp_path}/server.pem;
            ssl_certificate_key {tmp_path}/server.key;
            ssl_client_certificate {tmp_path}/client-ca.pem;
            ssl_crl {tmp_path}/client-crl.pem;
            ssl_verify_client on;
            ssl_protocols TLSv1.2 TLSv1.3;
            location / {{ return 200 "welcome"; }}
        }}"""

    def visitor(client: Client) -> Visitor:
        return Visitor(port, ca_bundle=tmp_path / "server.pem", client=client)

    with Nginx(tmp_path / "nginx", text, port=port, backend_port=free_port()):
        assert visitor(visitors["bob"]).get().status == 200
        assert visitor(visitors["alice"]).is_refused()
