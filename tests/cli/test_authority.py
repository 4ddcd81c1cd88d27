"""`certwarden ca` at a real register and a real key: what it makes, shows, asks for and refuses."""

import pytest
from cryptography import x509

from tests.cli.conftest import CONFIG, PASSPHRASE, Machine, Snapshot

AUTHORITY_FIELDS = {
    *("name", "serial", "fingerprint_sha256", "not_before", "not_after", "locked"),
    *("backed_up_at", "crl", "unlisted", "ladder", "clients", "targets", "error"),
}


def test_init_makes_the_ca_its_passphrase_and_its_first_list(bare: Machine) -> None:
    """The passphrase is in its file, closed to others, and in nothing that is printed."""
    run = bare.must("ca", "init")
    passphrase = bare.passphrase_file.read_text().strip()
    assert len(passphrase) >= 30
    assert bare.passphrase_file.stat().st_mode & 0o777 == 0o600
    assert "Home client CA" in run.out
    assert str(bare.passphrase_file) in run.out  # where the recovery code is, as nobody can see it
    assert passphrase not in run.out + run.err
    assert bare.must("ca", "show", "--json").json["crl"]["number"] == 1


def test_the_recovery_code_is_shown_on_the_terminal_only(bare: Machine) -> None:
    """It is the passphrase that is kept; a log of what was printed does not have it."""
    terminal = bare.sit_down()
    run = bare.must("ca", "init")
    passphrase = bare.passphrase_file.read_text().strip()
    assert passphrase in terminal.seen()
    assert passphrase not in run.out + run.err


def test_a_passphrase_that_is_kept_already_is_used(bare: Machine) -> None:
    """What a person, or an `init` that was cut short, has put there is not overwritten."""
    bare.write("ca.passphrase", "chosen long beforehand\n")
    bare.must("ca", "init")
    assert bare.passphrase_file.read_text() == "chosen long beforehand\n"
    bare.must("client", "issue", "alice", "--password-file", "pw")


def test_init_refuses_to_take_the_place_of_a_ca(machine: Machine) -> None:
    """Exit 2, and nothing is changed; a passphrase that was made for nothing is gone again."""
    machine.passphrase_file.rename(machine.directory / "moved")
    before = machine.must("ca", "show", "--json").json
    run = machine.run("ca", "init")
    assert (run.code, run.out) == (2, "")
    assert "there is a private CA already" in run.err
    assert machine.must("ca", "show", "--json").json == before
    assert not machine.passphrase_file.exists()


def test_nobody_is_asked_for_a_passphrase_in_vain(machine: Machine) -> None:
    """Where there is a CA already, `ca init --locked` says so before it asks anything."""
    machine.sit_down()
    run = machine.run("ca", "init", "--locked")
    assert run.code == 2
    assert "there is a private CA already" in run.err


def test_without_a_section_nothing_is_made(bare: Machine) -> None:
    """Exit 2, and what to write into the configuration."""
    before, _, after = CONFIG.partition("[authority]")
    bare.config.write_text(before + after[after.index("[[certificate]]") :])
    for arguments in (("ca", "init"), ("ca", "show"), ("client", "list")):
        run = bare.run(*arguments)
        assert (run.code, run.out) == (2, "")
        assert "add the section [authority]" in run.err
    assert not bare.state.exists()
    assert not bare.passphrase_file.exists()


@pytest.mark.parametrize(
    "arguments",
    ["ca show", "ca crl", "ca export", "client list", "client show alice", "client export alice"],
)
def test_before_init_there_is_nothing_to_look_at(bare: Machine, arguments: str) -> None:
    """Exit 2, what to do, and nothing written."""
    run = bare.run(*arguments.split())
    assert (run.code, run.out) == (2, "")
    assert "certwarden ca init" in run.err
    assert not bare.state.exists()


@pytest.mark.parametrize("command", ["issue", "renew"])
def test_before_init_nobody_gets_a_certificate(bare: Machine, command: str) -> None:
    """Exit 2, and neither bundle nor password stays behind."""
    run = bare.run("client", command, "alice", "--password-file", "pw")
    assert run.code == 2
    assert "certwarden ca init" in run.err
    assert bare.files() == set()


def test_a_password_file_is_for_a_locked_ca(bare: Machine) -> None:
    """Without --locked the passphrase is kept where the configuration says."""
    bare.write("secret", PASSPHRASE)
    run = bare.run("ca", "init", "--password-file", "secret")
    assert run.code == 2
    assert str(bare.passphrase_file) in run.err
    assert not bare.passphrase_file.exists()


def test_crl_and_export_print_pem_and_sign_nothing(machine: Machine, snapshot: Snapshot) -> None:
    """On stdout and nothing else there; not a byte of the state is changed."""
    before = snapshot()
    root = x509.load_pem_x509_certificate(machine.must("ca", "export").out.encode())
    crl = x509.load_pem_x509_crl(machine.must("ca", "crl").out.encode())
    assert crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]  # it is P-256
    assert snapshot() == before


def test_show_has_every_field_of_the_contract(machine: Machine) -> None:
    """The shape that `status --json` has as well."""
    document = machine.must("ca", "show", "--json").json
    assert set(document) >= AUTHORITY_FIELDS
    assert set(document["crl"]) >= {"number", "this_update", "next_update"}
    assert document["clients"] == {"valid": 0, "revoked": 0, "expired": 0, "expiring": 0}
    assert document["backed_up_at"] is None
    assert document["name"].startswith("Home client CA")


def test_an_extended_root_is_the_same_ca(machine: Machine) -> None:
    """Same name, same key; its clients and its list stay good."""
    before = x509.load_pem_x509_certificate(machine.must("ca", "export").out.encode())
    machine.must("ca", "renew-root")
    after = x509.load_pem_x509_certificate(machine.must("ca", "export").out.encode())
    assert after.serial_number != before.serial_number
    assert (after.subject, after.public_key()) == (before.subject, before.public_key())
    machine.must("client", "issue", "alice", "--password-file", "pw")


def test_unlock_is_for_a_locked_ca(machine: Machine) -> None:
    """A CA whose passphrase is kept signs by itself: exit 2, and that there is nothing to do."""
    machine.write("secret", PASSPHRASE)
    run = machine.run("ca", "unlock", "--password-file", "secret")
    assert run.code == 2
    assert "not locked" in run.err


# ── a locked CA ───────────────────────────────────────────────────────────────────────────────────


def test_a_locked_ca_keeps_no_passphrase(locked: Machine, snapshot: Snapshot) -> None:
    """It is nowhere in the state, nor where an open CA would keep it; lists are signed ahead."""
    assert not locked.passphrase_file.exists()
    assert not any(PASSPHRASE.encode() in data for data in snapshot().values())
    shown = locked.must("ca", "show", "--json").json
    assert shown["locked"] is True
    assert len(shown["ladder"]) > 10


def test_a_new_passphrase_is_typed_twice(bare: Machine) -> None:
    """Too short a one, and two different ones, are asked for again."""
    bare.sit_down("short", PASSPHRASE, "something else", PASSPHRASE, PASSPHRASE)
    run = bare.must("ca", "init", "--locked")
    assert "signed until" in run.out
    assert PASSPHRASE not in run.out + run.err


def test_issuing_asks_for_the_passphrase(locked: Machine) -> None:
    """On the terminal, and only there."""
    locked.sit_down(PASSPHRASE)
    locked.must("client", "issue", "alice", "--password-file", "pw")
    assert "alice.p12" in locked.files()


def test_without_a_terminal_a_locked_ca_issues_nothing(locked: Machine) -> None:
    """Exit 2, and neither bundle nor password stays behind."""
    run = locked.run("client", "issue", "alice", "--password-file", "pw")
    assert run.code == 2
    assert locked.files() == {"secret"}
    assert locked.must("client", "list", "--json").json == []


def test_a_wrong_passphrase_issues_nothing(locked: Machine) -> None:
    """Exit 1, a sentence that does not repeat it, and nothing stays behind."""
    locked.sit_down("wrong horse battery")
    run = locked.run("client", "issue", "alice", "--password-file", "pw")
    assert run.code == 1
    assert "passphrase" in run.err
    assert "wrong horse" not in run.err
    assert locked.files() == {"secret"}


def test_a_revocation_does_not_wait_for_the_passphrase(locked: Machine) -> None:
    """Without a terminal it is written down, and said to be open: exit 1; unlocking finishes it."""
    locked.sit_down(PASSPHRASE)
    locked.must("client", "issue", "alice", "--password-file", "pw")
    locked.get_up()
    run = locked.run("client", "revoke", "alice")
    assert run.code == 1
    assert "no list could be signed" in run.out
    assert locked.must("client", "list", "--json").json[0]["state"] == "revoked"
    assert locked.must("ca", "show", "--json").json["unlisted"] == 1
    unlocked = locked.must("ca", "unlock", "--password-file", "secret")
    assert "signed until" in unlocked.out
    assert locked.must("ca", "show", "--json").json["unlisted"] == 0


@pytest.mark.parametrize("typed", ["", "wrong horse battery"])
def test_whoever_has_forgotten_the_passphrase_revokes_all_the_same(
    locked: Machine, typed: str
) -> None:
    """It is written down, and waits for whoever knows it: exit 1."""
    locked.sit_down(PASSPHRASE)
    locked.must("client", "issue", "alice", "--password-file", "pw")
    locked.sit_down(typed)
    assert locked.run("client", "revoke", "alice").code == 1
    assert locked.must("ca", "show", "--json").json["unlisted"] == 1


def test_a_wrong_passphrase_unlocks_nothing(locked: Machine) -> None:
    """Exit 1, the lists stay as they are, and nobody is alarmed about revocations."""
    number = locked.must("ca", "show", "--json").json["crl"]["number"]
    locked.write("wrong", "wrong horse battery")
    run = locked.run("ca", "unlock", "--password-file", "wrong")
    assert (run.code, run.out) == (1, "")
    assert "the passphrase does not open" in run.err
    assert locked.must("ca", "show", "--json").json["crl"]["number"] == number
