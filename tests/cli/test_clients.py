"""`certwarden client` at a real register: who gets what in which file, and who does not."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from certwarden.cli.outputs import Output
from certwarden.errors import Error
from certwarden.model import Enrolment, Invitation
from certwarden.store.ledger import Ledger
from tests.cli.conftest import Machine, Snapshot

CLIENT_FIELDS = {
    *("name", "email", "serial", "not_before", "not_after", "state", "revoked_at", "reason"),
}


def issue(machine: Machine, name: str = "alice", *options: str) -> None:
    machine.must("client", "issue", name, "--password-file", f"{name}.password", *options)


def listed(machine: Machine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = machine.must("client", "list", "--json").json
    return found


def a_request(directory: Path) -> x509.CertificateSigningRequest:
    """A client's own request, in the file `request.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "whatever")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, SHA256())
    (directory / "request.pem").write_bytes(request.public_bytes(Encoding.PEM))
    return request


# ── issue ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_bundle_opens_with_the_password_that_was_written_down(machine: Machine) -> None:
    """Both files are closed to others; the password is in neither stdout nor stderr."""
    run = machine.must("client", "issue", "alice", "--password-file", "pw")
    password = Path("pw").read_text().strip()
    bundle = load_pkcs12(Path("alice.p12").read_bytes(), password.encode())
    assert bundle.cert is not None
    assert bundle.cert.certificate.subject.rfc4514_string() == "CN=alice"
    assert (Path("pw").stat().st_mode | Path("alice.p12").stat().st_mode) & 0o777 == 0o600
    assert password not in run.out + run.err
    assert "Firefox" in run.out


def test_a_password_that_is_there_is_read(machine: Machine) -> None:
    """And its file stays as it is."""
    machine.write("pw", "chosen by a person\n")
    machine.must("client", "issue", "alice", "--password-file", "pw")
    assert load_pkcs12(Path("alice.p12").read_bytes(), b"chosen by a person").key is not None
    assert Path("pw").read_text() == "chosen by a person\n"


@pytest.mark.parametrize("text", ["", "\n", "tab\tbed\n"])
def test_a_password_that_nobody_can_type_is_refused_before(machine: Machine, text: str) -> None:
    """Exit 2, and nothing is issued."""
    machine.write("pw", text)
    assert machine.run("client", "issue", "alice", "--password-file", "pw").code == 2
    assert (listed(machine), machine.files()) == ([], {"pw"})


def test_without_a_file_the_password_is_shown_once(machine: Machine) -> None:
    """On the terminal itself, and in nothing that is printed."""
    terminal = machine.sit_down()
    run = machine.must("client", "issue", "alice")
    password = terminal.seen().rpartition(": ")[2].strip()
    assert load_pkcs12(Path("alice.p12").read_bytes(), password.encode()).key is not None
    assert password not in run.out + run.err


def test_where_nobody_would_learn_the_password_nothing_is_issued(machine: Machine) -> None:
    """No terminal and no file: exit 2."""
    run = machine.run("client", "issue", "alice")
    assert (run.code, run.out) == (2, "")
    assert "--password-file" in run.err
    assert (listed(machine), machine.files()) == ([], set())


def test_nothing_is_overwritten(machine: Machine) -> None:
    """A file in the way: exit 2, it stays as it is, and nothing is issued."""
    machine.write("alice.p12", "precious")
    run = machine.run("client", "issue", "alice", "--password-file", "pw")
    assert run.code == 2
    assert "alice.p12 exists already" in run.err
    assert Path("alice.p12").read_text() == "precious"
    assert (listed(machine), machine.files()) == ([], {"alice.p12"})


def test_a_name_with_a_valid_certificate_is_refused(machine: Machine) -> None:
    """`renew` is meant: exit 2; once it is revoked the name is free again."""
    issue(machine)
    run = machine.run("client", "issue", "alice", "--password-file", "pw", "--out", "second.p12")
    assert run.code == 2
    assert "client renew alice" in run.err
    assert machine.files() == {"alice.p12", "alice.password"}
    machine.must("client", "revoke", "alice")
    issue(machine, "alice", "--out", "second.p12")


@pytest.mark.parametrize(
    ("form", "name", "beginning"),
    [
        ("p12", "alice.p12", b"0"),
        ("p12-legacy", "alice.p12", b"0"),
        ("mobileconfig", "alice.mobileconfig", b"<?xml"),
        ("pem", "alice.pem", b"-----BEGIN CERTIFICATE-----"),
    ],
)
def test_each_form_has_its_file(machine: Machine, form: str, name: str, beginning: bytes) -> None:
    """Named after the client, with the ending that its device goes by."""
    issue(machine, "alice", "--format", form)
    assert Path(name).read_bytes().startswith(beginning)


def test_what_is_asked_for_stands_in_the_certificate(machine: Machine) -> None:
    """Address, days and kind of key; and the file is where it was wanted."""
    Path("deep").mkdir()
    options = ("--email", "alice@example.org", "--days", "30", "--key-type", "rsa-2048")
    issue(machine, "alice", *options, "--format", "pem", "--out", "deep/mine.pem")
    data = Path("deep/mine.pem").read_bytes()
    key = load_pem_private_key(data, Path("alice.password").read_bytes().strip())
    assert isinstance(key, rsa.RSAPrivateKey)
    certificate = x509.load_pem_x509_certificate(data)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.RFC822Name) == ["alice@example.org"]
    length = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert length == timedelta(days=30, hours=1)


def test_a_clients_own_key_stays_with_it(machine: Machine) -> None:
    """By --csr only a certificate is written, for that key and under our name; no password."""
    request = a_request(machine.directory)
    machine.must("client", "issue", "alice", "--csr", "request.pem")
    data = Path("alice.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(data)
    assert certificate.public_key() == request.public_key()
    assert certificate.subject.rfc4514_string() == "CN=alice"
    assert b"PRIVATE" not in data


@pytest.mark.parametrize("option", [("--format", "pem"), ("--password-file", "pw")])
def test_a_request_needs_no_password(machine: Machine, option: tuple[str, str]) -> None:
    """What would be passed over in silence is refused: exit 2."""
    a_request(machine.directory)
    run = machine.run("client", "issue", "alice", "--csr", "request.pem", *option)
    assert run.code == 2
    assert f"leave {option[0]} out" in run.err


@pytest.mark.parametrize("data", [b"", b"no request", b"\0" * (10 << 20)], ids=len)
def test_what_is_no_request_is_refused(machine: Machine, data: bytes) -> None:
    """A sentence, and nothing stays behind."""
    Path("request.pem").write_bytes(data)
    run = machine.run("client", "issue", "alice", "--csr", "request.pem")
    assert run.code in {1, 2}
    assert "Traceback" not in run.err
    assert (listed(machine), machine.files()) == ([], {"request.pem"})


@pytest.mark.parametrize("name", ["../alice", "Alice", "a" * 64, "a b", "", "alice\0"])
def test_a_name_that_will_not_do_is_refused(machine: Machine, name: str) -> None:
    """Exit 2, and no file is made for it anywhere."""
    run = machine.run("client", "issue", name, "--password-file", "pw")
    assert (run.code, run.out) == (2, "")
    assert (listed(machine), machine.files()) == ([], set())


def test_what_cannot_be_handed_over_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is issued, its key is lost: exit 1, and how to come by another."""
    machine.write("pw", "chosen by a person\n")

    def fail(*_: object) -> None:
        raise Error("alice.p12 could not be written: No space left on device")

    monkeypatch.setattr(Output, "write", fail)
    run = machine.run("client", "issue", "alice", "--password-file", "pw")
    assert run.code == 1
    assert "issued, but not handed over: alice.p12" in run.err
    assert "--replace" in run.err
    assert machine.files() == {"pw"}


# ── many at once ──────────────────────────────────────────────────────────────────────────────────


def test_many_names_are_many_files(machine: Machine) -> None:
    """Each opens with its own password, which stands beside its name."""
    machine.write("names", "alice\n\n# the children\nbob # and his phone\ncarol\n")
    many = ("--from", "names", "--out", "clients", "--password-file", "passwords")
    machine.must("client", "issue", *many)
    passwords = dict(line.split("\t") for line in Path("passwords").read_text().splitlines())
    assert sorted(passwords) == ["alice", "bob", "carol"]
    assert len(set(passwords.values())) == 3
    for name, password in passwords.items():
        path = Path("clients") / f"{name}.p12"
        assert path.stat().st_mode & 0o777 == 0o600
        assert load_pkcs12(path.read_bytes(), password.encode()).key is not None
    assert [each["name"] for each in listed(machine)] == ["alice", "bob", "carol"]


def test_one_bad_name_spoils_them_all(machine: Machine) -> None:
    """Every bad line is told at once; nothing is issued, and nothing stays behind."""
    machine.write("names", "alice\nBob\nalice\n../carol\n")
    many = ("--from", "names", "--out", "clients", "--password-file", "passwords")
    run = machine.run("client", "issue", *many)
    assert run.code == 2
    for line in ("line 2", "line 3", "line 4"):
        assert line in run.err
    assert (listed(machine), machine.files()) == ([], {"names"})


def test_one_known_name_spoils_them_all(machine: Machine) -> None:
    """One of them has a valid certificate: exit 2, and nothing stays behind."""
    issue(machine, "bob")
    machine.write("names", "alice\nbob\n")
    many = ("--from", "names", "--out", "clients", "--password-file", "passwords")
    assert machine.run("client", "issue", *many).code == 2
    assert machine.files() == {"names", "bob.p12", "bob.password"}


@pytest.mark.parametrize(
    "options",
    [
        "--out clients",
        "--password-file passwords",
        "--out clients --password-file passwords alice",
        "--out clients --password-file passwords --csr names",
        "--out clients --password-file passwords --email alice@example.org",
    ],
)
def test_many_names_need_to_be_said_in_full(machine: Machine, options: str) -> None:
    """Where the files and passwords go, and nothing that is for one client: exit 2."""
    machine.write("names", "alice\nbob\n")
    run = machine.run("client", "issue", "--from", "names", *options.split())
    assert (run.code, run.out) == (2, "")
    assert (listed(machine), machine.files()) == ([], {"names"})


# ── looking ───────────────────────────────────────────────────────────────────────────────────────


def test_list_has_every_field_of_the_contract(machine: Machine) -> None:
    """One object for each certificate, what is absent null."""
    issue(machine, "alice", "--email", "alice@example.org")
    issue(machine, "bob")
    machine.must("client", "revoke", "bob", "--reason", "keyCompromise")
    alice, bob = listed(machine)
    assert set(alice) >= CLIENT_FIELDS
    assert (alice["state"], alice["email"], alice["reason"]) == ("valid", "alice@example.org", None)
    assert (bob["state"], bob["email"], bob["reason"]) == ("revoked", None, "keyCompromise")
    text = machine.must("client", "list").out
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [
        ["alice", "valid"],
        ["bob", "revoked"],
    ]


def test_who_was_seen_when_stands_in_list_and_show(machine: Machine) -> None:
    """As the register has it; nothing is called odd as long as nobody has watched for a week."""
    issue(machine)
    (before,) = listed(machine)
    assert (before["seen_at"], before["usage"]) == (None, None)
    at = datetime.now(UTC).replace(microsecond=0)
    with closing(Ledger(machine.state / "certwarden.db")) as ledger:
        ledger.register.saw({before["serial"]: at})
        ledger.register.set_watched_since(at)
    (after,) = listed(machine)
    assert (after["seen_at"], after["usage"]) == (f"{at:%Y-%m-%dT%H:%M:%SZ}", None)
    assert f"last seen {at:%Y-%m-%d %H:%M} UTC" in machine.must("client", "show", "alice").out
    shown = machine.must("client", "show", "alice", "--json").json
    assert shown["certificates"] == [after]


def test_show_tells_how_chrome_chooses_it(machine: Machine) -> None:
    """Where a target asks for certificates: the policy, for its names and for this client."""
    issue(machine)
    shown = machine.must("client", "show", "alice", "--json").json
    assert (shown["name"], shown["chrome_policy"]) == ("alice", None)
    assert [each["state"] for each in shown["certificates"]] == ["valid"]
    guard(machine)
    (pattern,) = machine.must("client", "show", "alice", "--json").json["chrome_policy"].values()
    assert "https://[*.]example.org" in pattern[0]
    assert '"CN": "alice"' in pattern[0]
    assert "AutoSelectCertificateForUrls" in machine.must("client", "show", "alice").out


def guard(machine: Machine) -> None:
    """A target that asks for certificates; nobody is there."""
    machine.config.write_text(
        machine.config.read_text()
        + '[[certificate.target]]\nname = "node-red"\nkind = "node-red"\nclient_auth = true\n'
        'reload = { hot = true }\nprobe = "127.0.0.1:1"\nprobe_timeout = "1s"\n'
    )


def test_export_prints_the_certificate_in_force(machine: Machine, snapshot: Snapshot) -> None:
    """After a renewal the new one; on stdout and nothing else there, and nothing is changed."""
    issue(machine)
    machine.must("client", "renew", "alice", "--password-file", "pw", "--out", "new.p12")
    before = snapshot()
    certificate = x509.load_pem_x509_certificate(
        machine.must("client", "export", "alice").out.encode()
    )
    newest = machine.must("client", "show", "alice", "--json").json["certificates"][0]
    assert f"{certificate.serial_number:x}".zfill(len(newest["serial"])) == newest["serial"]
    assert snapshot() == before
    machine.must("client", "revoke", "alice")
    assert machine.run("client", "export", "alice").code == 2


@pytest.mark.parametrize("command", ["show", "export", "renew", "revoke"])
def test_an_unknown_name_gets_a_suggestion(machine: Machine, command: str) -> None:
    """Exit 2, nothing on stdout, and nothing stays behind."""
    issue(machine, "laptop")
    options = ["--password-file", "pw"] if command == "renew" else []
    run = machine.run("client", command, "labtop", *options)
    assert (run.code, run.out) == (2, "")
    assert "did you mean `laptop`?" in run.err
    assert machine.files() == {"laptop.p12", "laptop.password"}


# ── renew, revoke ─────────────────────────────────────────────────────────────────────────────────


def test_a_renewal_keeps_the_identity_and_overlaps(machine: Machine) -> None:
    """Same name and address; the one before stays good for two weeks, and is revoked then."""
    issue(machine, "alice", "--email", "alice@example.org")
    machine.must("client", "renew", "alice", "--password-file", "pw", "--out", "new.p12")
    old, new = listed(machine)
    assert (new["email"], new["state"], old["state"]) == ("alice@example.org", "valid", "valid")
    assert new["supersede_at"] is None
    end = datetime.fromisoformat(old["supersede_at"]) - datetime.fromisoformat(new["not_before"])
    assert end == timedelta(days=14, hours=1)


def test_a_replaced_certificate_is_revoked_at_once(machine: Machine) -> None:
    """As superseded; the new one is not."""
    issue(machine)
    run = machine.must(
        "client", "renew", "alice", "--replace", "--password-file", "pw", "--out", "new.p12"
    )
    old, new = listed(machine)
    assert (old["state"], old["reason"], new["state"]) == ("revoked", "superseded", "valid")
    assert f"serial {old['serial']} is revoked" in run.out


def test_a_serial_is_taken_as_other_programs_print_it(machine: Machine) -> None:
    """In capitals, with colons: only that certificate is revoked."""
    issue(machine)
    machine.must("client", "renew", "alice", "--password-file", "pw", "--out", "new.p12")
    serial = listed(machine)[0]["serial"].upper()
    octets = [serial[start : start + 2] for start in range(0, len(serial), 2)]
    machine.must("client", "revoke", ":".join(octets))
    assert [each["state"] for each in listed(machine)] == ["revoked", "valid"]
    revoked = x509.load_pem_x509_crl(machine.must("ca", "crl").out.encode())
    assert revoked.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None


def test_what_could_not_be_proven_is_no_success(machine: Machine) -> None:
    """Nobody answers at the target: exit 1, said of it by name; what is signed stands."""
    issue(machine)
    guard(machine)
    run = machine.run("client", "revoke", "alice")
    assert run.code == 1
    assert "node-red: NOT PROVEN" in run.out
    assert listed(machine)[0]["state"] == "revoked"


def test_who_was_only_invited_is_uninvited(machine: Machine) -> None:
    """A client without a certificate can be revoked as long as one is promised to it, and once."""
    now = datetime.now(UTC)
    invitation = Invitation(
        *("aaaaaaaa", "5e" * 32, "bob", None, None, Enrolment.PAGE, now, now + timedelta(days=1), 5)
    )
    with closing(Ledger(machine.state / "certwarden.db")) as ledger:
        ledger.invitations.add(invitation)
        assert "bob: the invitation is withdrawn" in machine.must("client", "revoke", "bob").out
        assert ledger.invitations.open(datetime.now(UTC)) == ()
    assert machine.run("client", "revoke", "bob").code == 2


@pytest.mark.parametrize("subject", ["", "0a", "alice "])
def test_a_subject_that_does_not_exist_revokes_nothing(machine: Machine, subject: str) -> None:
    """Neither a name nor a serial: exit 2."""
    issue(machine)
    assert machine.run("client", "revoke", subject).code == 2
    assert listed(machine)[0]["state"] == "valid"


def test_no_secret_is_printed(machine: Machine) -> None:
    """Passphrase, passwords and keys are in nothing that any of these commands says."""
    issue(machine, "alice", "--format", "pem")
    said = [
        machine.must("client", "renew", "alice", "--password-file", "pw", "--out", "new.p12"),
        machine.must("client", "show", "alice"),
        machine.must("client", "list", "--json"),
        machine.must("client", "export", "alice"),
        machine.must("client", "revoke", "alice"),
        machine.must("ca", "show"),
        machine.must("ca", "show", "--json"),
        machine.must("--verbose", "ca", "renew-root"),
    ]
    password = Path("alice.password").read_bytes().strip()
    key = load_pem_private_key(Path("alice.pem").read_bytes(), password)
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    secrets = {password.decode(), plain.splitlines()[1], Path("pw").read_text().strip()}
    secrets.add(machine.passphrase_file.read_text().strip())
    text = "".join(run.out + run.err for run in said)
    assert [secret for secret in secrets if secret in text] == []
