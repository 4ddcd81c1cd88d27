"""EST with the programs that people have: curl and openssl at the command's own listener.

The lines are those of docs/invitations.md. What they bring is taken to a real nginx, which lets in
clients of the private CA and nobody else.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.end_to_end.guarded import DOMAIN, Door, Guarded, guarded
from tests.person import Person
from tests.world import World
from tests.world.clients import Client, Visitor

pytestmark = pytest.mark.xdist_group("est")  # the house is made once for all

REQUEST = """\
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pump \\
    -keyout pump.key -out pump.csr
"""
SIMPLE_ENROLL = """\
curl --fail --user pump --data-binary @pump.csr -H "Content-Type: application/pkcs10" \\
    "$EST/simpleenroll" |
    openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out pump.pem
"""
SIMPLE_ENROLL_BY_A_PROGRAM = """\
printf 'user = "pump:%s"' "$TOKEN" |
    curl --fail --config - --data-binary @pump.csr -H "Content-Type: application/pkcs10" \\
    "$EST/simpleenroll" |
    openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out pump.pem
"""
SIMPLE_REENROLL = """\
curl --fail --cert pump.pem --key pump.key \\
    --data-binary @pump.csr -H "Content-Type: application/pkcs10" "$EST/simplereenroll" |
    openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out renewed.pem
"""
CA_CERTIFICATES = """\
curl --fail "$EST/cacerts" | openssl base64 -d | openssl pkcs7 -inform DER -print_certs -out ca.pem
"""


@dataclass(frozen=True)
class Invited:
    """An open invitation: where to go with it, and its token."""

    est: str
    token: str
    process: "subprocess.Popen[str]"

    def ends(self) -> int:
        """Waits for the command's end; its exit code."""
        self.process.communicate(timeout=30)
        return self.process.returncode


@dataclass(frozen=True)
class Machine:
    """A place of its own, with a curl that finds the house and trusts its server."""

    home: Path
    door: Door

    def settle(self, port: int) -> None:
        """Tells curl where the house is."""
        (self.home / ".curlrc").write_text(
            f'resolve = "{DOMAIN}:{port}:127.0.0.1"\ncacert = "{self.door.server_ca}"\nsilent\n'
            "show-error\n"
        )

    def environment(self, invited: Invited | None) -> dict[str, str]:
        told = {} if invited is None else {"EST": invited.est, "TOKEN": invited.token}
        return {**os.environ, "HOME": str(self.home), **told}

    def run(self, line: str, invited: Invited | None = None) -> "subprocess.CompletedProcess[str]":
        """A line of the documentation, in a shell that ends at what fails in a pipe."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.home,
            env=self.environment(invited),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def has(self, name: str) -> Client:
        """The certificate in a file, with the machine's key."""
        path = self.home / name
        serial = x509.load_pem_x509_certificate(path.read_bytes()).serial_number
        return Client(path, self.home / "pump.key", serial)

    def gets_in(self, name: str) -> bool:
        """Whether nginx lets it in with the certificate in that file."""
        return self.door.lets_in(self.visitor(name))

    def visitor(self, name: str) -> Visitor:
        return self.door.visitor(self.has(name))


@pytest.fixture(scope="module")
def row(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A house with nginx before it, and alice."""
    with guarded(world, tmp_path_factory.mktemp("row"), ["nginx"]) as row:
        yield row


@pytest.fixture
def machine(row: Guarded, tmp_path: Path) -> Machine:
    """One with a key and a signing request."""
    machine = Machine(tmp_path, row.doors["nginx"])
    made = machine.run(REQUEST)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "pump.key").stat().st_mode & 0o777 == 0o600
    return machine


@contextmanager
def invited(row: Guarded, machine: Machine, name: str = "pump") -> Iterator[Invited]:
    """While the command serves an invitation for EST."""
    options = ("--est", "--json", "--listen", "127.0.0.1:0", "--host", DOMAIN)
    process = row.house.start("client", "invite", name, *options)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        url, _, token = json.loads(line)["url"].partition("#")
        machine.settle(int(url.rstrip("/").rpartition(":")[2]))
        yield Invited(f"{url}.well-known/est", token, process)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_program_gets_and_renews_its_certificate(row: Guarded, machine: Machine) -> None:
    """A person types the token once; from then on the certificate itself will do."""
    with invited(row, machine) as first:
        assert machine.run(CA_CERTIFICATES, first).returncode == 0
        # On a terminal of one's own, that is where curl's question goes.
        line = f"cd {machine.home} && exec 2>/dev/tty && {SIMPLE_ENROLL}"
        with Person(["/bin/bash", "-c", line], machine.environment(first)) as person:
            person.types(first.token, after="Enter host password for user 'pump':")
            assert person.leaves()[0] == 0, person.screen
            assert first.token not in person.screen
        assert first.ends() == 0
    assert machine.gets_in("pump.pem")
    assert "OK" in machine.run("openssl verify -CAfile ca.pem pump.pem").stdout

    with invited(row, machine) as second:
        renewed = machine.run(SIMPLE_REENROLL, second)
        assert renewed.returncode == 0, renewed.stderr
        assert second.ends() == 0
    assert machine.has("renewed.pem").serial != machine.has("pump.pem").serial
    assert machine.gets_in("renewed.pem")
    assert machine.gets_in("pump.pem"), "the one before stays good for two weeks"


def test_the_wrong_ones_get_nothing(row: Guarded, machine: Machine) -> None:
    """A wrong token, no certificate, and those of another client, another CA, or a revoked one."""
    row.issue("bob")
    revoked = row.run("client", "revoke", "bob")
    assert revoked.code == 0, revoked.err
    stranger = row.foreign.issue("alice")
    with invited(row, machine, "lamp") as open_one:

        def renewal_by(client: Client) -> "subprocess.CompletedProcess[str]":
            for file, source in (("pump.pem", client.certificate), ("pump.key", client.key)):
                shutil.copyfile(source, machine.home / file)
            return machine.run(SIMPLE_REENROLL, open_one)

        swapped = open_one.token.translate(str.maketrans("abcdefgh", "bcdefgha"))
        wrong = Invited(open_one.est, open_one.token[:9] + swapped[9:], open_one.process)
        assert "401" in machine.run(SIMPLE_ENROLL_BY_A_PROGRAM, wrong).stderr
        anonymous = SIMPLE_REENROLL.replace("--cert pump.pem --key pump.key", "")
        assert "403" in machine.run(anonymous, open_one).stderr
        key = (machine.home / "pump.key").read_bytes()
        assert "403" in renewal_by(row.people["alice"]).stderr
        for client in (row.people["bob"], stranger):
            refused = renewal_by(client)
            assert refused.returncode != 0
            assert "returned error" not in refused.stderr, "it got past the handshake"
        assert not (machine.home / "renewed.pem").exists()

        (machine.home / "pump.key").write_bytes(key)
        right = machine.run(SIMPLE_ENROLL_BY_A_PROGRAM, open_one)
        assert right.returncode == 0, right.stderr
        assert open_one.ends() == 0
    assert machine.gets_in("pump.pem")
    shown = row.run("client", "list", "--json").json()
    assert [each["name"] for each in shown].count("lamp") == 1
