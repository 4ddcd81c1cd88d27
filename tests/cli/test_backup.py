"""`certwarden ca backup`, `restore`, `import`: what leaves a machine makes an empty one whole."""

import shutil
from pathlib import Path

import pytest

from certwarden.pki import sealing
from tests.cli.conftest import CONFIG, PASSPHRASE, TOKEN, Machine, Snapshot
from tests.world.predecessors import EasyRsa, OpensslCa

SEALED_UNDER = "what a backup is sealed under"


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seals quickly."""
    monkeypatch.setattr(sealing, "_COST", 2)
    monkeypatch.setattr(sealing, "_COSTS", {2})


@pytest.fixture(autouse=True)
def no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass at the end of a restore is left out: it would look for a CA that is not there."""
    from certwarden.lifecycle.reconcile import PassResult

    monkeypatch.setattr("certwarden.cli.backup.reconcile", lambda *_: PassResult(()))


def back_up(machine: Machine, name: str = "ca.backup") -> Path:
    machine.write("seal", SEALED_UNDER + "\n")
    machine.must("ca", "backup", name, "--password-file", "seal")
    return machine.directory / name


def lose(machine: Machine) -> None:
    """What a dead card takes with it: all but the backup, and what targets have elsewhere."""
    shutil.rmtree(machine.state)
    machine.passphrase_file.unlink(missing_ok=True)


def clients(machine: Machine) -> dict[str, str]:
    return {each["name"]: each["state"] for each in machine.must("client", "list", "--json").json}


# ── backup ────────────────────────────────────────────────────────────────────────────────────────


def test_a_backup_is_one_file_closed_to_others_and_is_remembered(machine: Machine) -> None:
    """No secret stands in it in clear; `ca show` knows when it was made."""
    file = back_up(machine)
    assert file.stat().st_mode & 0o777 == 0o600
    data = file.read_bytes()
    hidden = (machine.passphrase_file.read_text().strip(), TOKEN, SEALED_UNDER, "PRIVATE KEY")
    assert not any(each.encode() in data for each in hidden)
    assert machine.must("ca", "show", "--json").json["backed_up_at"] is not None


def test_nothing_is_overwritten(machine: Machine) -> None:
    """Exit 2, and the earlier file stays."""
    before = back_up(machine).read_bytes()
    run = machine.run("ca", "backup", "ca.backup", "--password-file", "seal")
    assert run.code == 2
    assert "exists already" in run.err
    assert (machine.directory / "ca.backup").read_bytes() == before


def test_a_backup_asks_twice_for_a_new_passphrase(machine: Machine) -> None:
    """Without --password-file, and without one in the configuration."""
    machine.sit_down(SEALED_UNDER, SEALED_UNDER)
    machine.must("ca", "backup", "ca.backup")
    lose(machine)
    machine.sit_down(SEALED_UNDER)
    machine.must("ca", "restore", "ca.backup")


def test_without_a_terminal_or_a_file_nothing_is_made(machine: Machine) -> None:
    """A backup under a passphrase that nobody knows would be none."""
    run = machine.run("ca", "backup", "ca.backup")
    assert run.code == 2
    assert "no terminal" in run.err
    assert machine.files() == set()
    assert machine.must("ca", "show", "--json").json["backed_up_at"] is None


def test_the_configured_passphrase_is_used(machine: Machine) -> None:
    """The one that automatic backups are sealed under."""
    machine.write("seal", SEALED_UNDER)
    (machine.directory / "backups").mkdir()
    section = '[backup]\ndirectory = "backups"\npassphrase_file = "seal"\n'
    machine.config.write_text(CONFIG.replace("[[certificate]]", f"{section}[[certificate]]"))
    machine.must("ca", "backup", "ca.backup")
    lose(machine)
    machine.must("ca", "restore", "ca.backup", "--password-file", "seal")


def test_before_init_there_is_nothing_to_back_up(bare: Machine) -> None:
    """Exit 2, and no file is left."""
    bare.write("seal", SEALED_UNDER)
    run = bare.run("ca", "backup", "ca.backup", "--password-file", "seal")
    assert run.code == 2
    assert "certwarden ca init" in run.err
    assert bare.files() == {"seal"}


# ── restore ───────────────────────────────────────────────────────────────────────────────────────


def test_a_restore_makes_an_empty_machine_whole(machine: Machine) -> None:
    """Authority, clients, passphrase and configuration: all of it from one file."""
    machine.must("client", "issue", "alice", "--password-file", "pw")
    before = machine.must("ca", "export").out
    passphrase = machine.passphrase_file.read_text()
    back_up(machine)
    lose(machine)
    machine.config.unlink()
    run = machine.must("ca", "restore", "ca.backup", "--password-file", "seal")
    assert machine.must("ca", "export").out == before
    assert clients(machine) == {"alice": "valid"}
    assert machine.config.read_text() == CONFIG
    assert machine.passphrase_file.read_text() == passphrase
    assert machine.passphrase_file.stat().st_mode & 0o777 == 0o600
    assert passphrase.strip() not in run.out + run.err
    assert "BEGIN X509 CRL" in machine.must("ca", "crl").out
    machine.must("client", "issue", "bob", "--password-file", "pw2")


def test_a_revocation_after_the_backup_is_not_forgotten(machine: Machine) -> None:
    """The list that is installed at a target has it; the book says whose it was."""
    machine.must("client", "issue", "alice", "--password-file", "pw")
    back_up(machine)
    (serial,) = (each["serial"] for each in machine.must("client", "list", "--json").json)
    machine.run("client", "revoke", "alice")
    newest = machine.must("ca", "crl").out
    number = machine.must("ca", "show", "--json").json["crl"]["number"]
    lose(machine)
    generation = machine.state / "live" / "nginx" / "generations" / "0001"
    generation.mkdir(parents=True)
    (generation / "client-crl.pem").write_text(newest)
    (machine.state / "live" / "nginx" / "current").symlink_to("generations/0001")
    machine.must("ca", "restore", "ca.backup", "--password-file", "seal")
    assert clients(machine)["alice"] == "revoked"
    assert machine.must("ca", "show", "--json").json["crl"]["number"] > number
    assert int(serial, 16) in revoked_serials(machine)


def revoked_serials(machine: Machine) -> set[int]:
    from cryptography import x509

    crl = x509.load_pem_x509_crl(machine.must("ca", "crl").out.encode())
    return {each.serial_number for each in crl}


def test_it_is_said_that_revocations_may_be_missing(machine: Machine) -> None:
    """Where no list was found that is newer than the backup."""
    back_up(machine)
    lose(machine)
    run = machine.must("ca", "restore", "ca.backup", "--password-file", "seal")
    assert "Revoke them once more" in run.out


def test_a_restore_over_a_ca_is_refused(machine: Machine, snapshot: Snapshot) -> None:
    """Exit 2, and not a byte of the state is changed."""
    back_up(machine)
    before = snapshot()
    run = machine.run("ca", "restore", "ca.backup", "--password-file", "seal")
    assert run.code == 2
    assert "there is a private CA already" in run.err
    assert snapshot() == before


def test_another_configuration_is_left_alone(machine: Machine) -> None:
    """It is used, and it is said that the backup has another one."""
    back_up(machine)
    lose(machine)
    machine.config.write_text(CONFIG + "# mine\n")
    run = machine.must("ca", "restore", "ca.backup", "--password-file", "seal")
    assert machine.config.read_text().endswith("# mine\n")
    assert "is another one" in run.out


def test_what_the_configuration_lacks_is_told_and_restored_then(machine: Machine) -> None:
    """The token is in no backup: exit 2 names its file, nothing of STATE is made, and again."""
    back_up(machine)
    lose(machine)
    machine.config.unlink()
    (machine.directory / "token").unlink()
    run = machine.run("ca", "restore", "ca.backup", "--password-file", "seal")
    assert run.code == 2
    assert "token" in run.err
    assert "restore again" in run.err
    assert not machine.state.exists()
    machine.write("token", TOKEN)
    machine.must("ca", "restore", "ca.backup", "--password-file", "seal")


def test_another_kept_passphrase_is_told(machine: Machine) -> None:
    """The CA's key could not be opened with it; nothing is put back."""
    back_up(machine)
    lose(machine)
    machine.write("ca.passphrase", "of another CA\n")
    run = machine.run("ca", "restore", "ca.backup", "--password-file", "seal")
    assert run.code == 2
    assert "holds another passphrase" in run.err
    assert machine.passphrase_file.read_text() == "of another CA\n"
    assert not (machine.state / "authority" / "root.pem").exists()


def test_a_wrong_passphrase_changes_nothing(machine: Machine) -> None:
    """Exit 1, one sentence; neither configuration nor passphrase appears."""
    back_up(machine)
    lose(machine)
    machine.config.unlink()
    machine.write("wrong", "another one entirely")
    run = machine.run("ca", "restore", "ca.backup", "--password-file", "wrong")
    assert run.code == 1
    assert "another one entirely" not in run.err
    assert not machine.config.exists()
    assert not machine.passphrase_file.exists()
    assert not machine.state.exists()


@pytest.mark.parametrize("content", ["", "certwarden backup 1\n", "PK\x03\x04"])
def test_what_is_no_backup_gets_a_sentence(bare: Machine, content: str) -> None:
    """And nothing is made of it."""
    bare.write("seal", SEALED_UNDER)
    bare.write("odd", content)
    run = bare.run("ca", "restore", "odd", "--password-file", "seal")
    assert run.code == 1
    assert run.err.startswith("certwarden: ")
    assert "unforeseen" not in run.err
    assert not bare.state.exists()


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_is_none_gets_a_sentence(bare: Machine, name: str) -> None:
    """Exit 2."""
    bare.write("seal", SEALED_UNDER)
    run = bare.run("ca", "restore", name, "--password-file", "seal")
    assert run.code == 2
    assert "cannot be read" in run.err


def test_a_locked_ca_asks_for_its_passphrase(locked: Machine) -> None:
    """It is in no backup, and not kept afterwards either; the lists of a year are signed."""
    back_up(locked)
    lose(locked)
    locked.sit_down(PASSPHRASE)
    locked.must("ca", "restore", "ca.backup", "--password-file", "seal")
    shown = locked.must("ca", "show", "--json").json
    assert shown["locked"]
    assert len(shown["ladder"]) > 12
    assert not locked.passphrase_file.exists()


# ── import ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.world
def test_an_easy_rsa_directory_is_imported(bare: Machine) -> None:
    """Its clients are in the list, its key is under our passphrase; the old one can be put away."""
    old = EasyRsa(bare.directory / "easy-rsa", "open sesame")
    old.client("alice")
    old.client("Bob")
    old.run("revoke", "alice")
    terminal = bare.sit_down("open sesame")
    run = bare.must("ca", "import", "easy-rsa")
    assert clients(bare) == {"alice": "revoked", "bob": "valid"}
    assert "1 valid and 1 revoked" in run.out
    assert "bob" in run.out
    assert "move it" in run.out
    passphrase = bare.passphrase_file.read_text().strip()
    assert passphrase in terminal.seen()
    assert passphrase not in run.out + run.err
    assert "BEGIN X509 CRL" in bare.must("ca", "crl").out
    bare.must("client", "issue", "carol", "--password-file", "pw")


@pytest.mark.world
def test_an_import_over_a_ca_is_refused(machine: Machine, snapshot: Snapshot) -> None:
    """Exit 2, and not a byte of the state is changed."""
    OpensslCa(machine.directory / "old")
    before = snapshot()
    run = machine.run("ca", "import", "old")
    assert run.code == 2
    assert "there is a private CA already" in run.err
    assert snapshot() == before


@pytest.mark.world
def test_an_import_that_fails_leaves_no_passphrase(bare: Machine) -> None:
    """What was made for it is gone again."""
    old = OpensslCa(bare.directory / "old")
    (old.directory / "index.txt").write_text("rubbish\n")
    run = bare.run("ca", "import", "old")
    assert run.code == 1
    assert "line 1 of index.txt" in run.err
    assert not bare.passphrase_file.exists()
    assert not (bare.state / "authority" / "root.pem").exists()


@pytest.mark.world
def test_an_import_may_be_locked(bare: Machine) -> None:
    """Under a passphrase that is a person's, and not kept."""
    OpensslCa(bare.directory / "old")
    bare.sit_down(PASSPHRASE, PASSPHRASE)
    bare.must("ca", "import", "old", "--locked")
    assert bare.must("ca", "show", "--json").json["locked"]
    assert not bare.passphrase_file.exists()


def test_a_directory_that_is_no_ca_gets_a_sentence(bare: Machine) -> None:
    """Exit 2, and what was looked for."""
    (bare.directory / "old").mkdir()
    for directory in ("old", "missing"):
        run = bare.run("ca", "import", directory)
        assert run.code == 2
        assert run.err
    assert not bare.passphrase_file.exists()
