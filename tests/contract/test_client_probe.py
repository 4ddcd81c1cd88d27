"""What the lifecycle may rely on when it visits as a client: kept by the fake and the real one."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from certwarden.model import TARGET_KINDS, Admission, ClientTrust
from certwarden.ports import ClientProbe
from certwarden.targets.client_probe import TlsClientProbe
from tests.builders import a_pair
from tests.fakes_clients import FakeClientProbe
from tests.fakes_targets import FakeReloader, FakeShelf
from tests.targets.clients import VERSIONS, Secured, an_authority, demanding, take_up
from tests.targets.servers import serving


class Program(Protocol):
    """A program that asks its clients for certificates, and a visitor."""

    @property
    def probe(self) -> ClientProbe: ...

    def take_up(self, trust: ClientTrust, *, keeps_sessions: bool = False) -> None: ...
    def stop(self) -> None: ...


class FakeProgram:
    """All in memory."""

    def __init__(self, trust: ClientTrust) -> None:
        self._shelf = FakeShelf(client_auth=True)
        self._reloader = FakeReloader(self._shelf, is_unit=False)
        self.probe = FakeClientProbe(self._reloader)
        self.take_up(trust)

    def take_up(self, trust: ClientTrust, *, keeps_sessions: bool = False) -> None:
        self._shelf.publish(a_pair(), trust)
        self._reloader.reload()
        self.probe.keeps_sessions = keeps_sessions

    def stop(self) -> None:
        self._reloader.is_running = False


class RealProgram:
    """A TLS server; it forgets its sessions where it gets another context."""

    def __init__(
        self, trust: ClientTrust, directory: Path, version: ssl.TLSVersion, stack: ExitStack
    ) -> None:
        self._directory = directory
        self._version = version
        self._server = Secured(demanding(trust, directory, version))
        self._serving = stack.enter_context(ExitStack())
        address = self._serving.enter_context(serving(self._server))
        self.probe = TlsClientProbe(address, "localhost", TARGET_KINDS["files"], timeout=30)

    def take_up(self, trust: ClientTrust, *, keeps_sessions: bool = False) -> None:
        if keeps_sessions:
            take_up(self._server.context, trust, self._directory)
        else:
            self._server.context = demanding(trust, self._directory, self._version)

    def stop(self) -> None:
        self._serving.close()


AUTHORITY = an_authority()
GOOD, REVOKED = AUTHORITY.client("good"), AUTHORITY.client("revoked")
BEFORE = AUTHORITY.trust(1)
AFTER = AUTHORITY.trust(2, [REVOKED.certificate.serial])


@pytest.fixture(params=["fake", *VERSIONS], ids=str)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    """One that runs, with a list in which nobody is."""
    with ExitStack() as stack:
        if request.param == "fake":
            yield FakeProgram(BEFORE)
        else:
            yield RealProgram(BEFORE, tmp_path, request.param, stack)


def test_a_client_of_the_authority_is_let_in(program: Program) -> None:
    """Also with the session that it was given."""
    visit = program.probe.visit(GOOD)

    assert visit.answer.admission is Admission.LET_IN
    assert visit.again().admission is Admission.LET_IN


def test_without_a_certificate_nobody_is_let_in(program: Program) -> None:
    """That a certificate is asked for at all is what this tells."""
    assert program.probe.visit(None).answer.admission is Admission.REFUSED


def test_a_client_of_another_authority_is_refused(program: Program) -> None:
    """Even if that has the same name."""
    foreigner = an_authority().client("good")

    assert program.probe.visit(foreigner).answer.admission is Admission.REFUSED


def test_a_revoked_client_is_refused_once_the_list_is_taken_up(program: Program) -> None:
    """And so it is with a session from before; the others still get in."""
    visit = program.probe.visit(REVOKED)
    assert visit.answer.admission is Admission.LET_IN

    program.take_up(AFTER)

    assert program.probe.visit(REVOKED).answer.admission is Admission.REFUSED
    assert visit.again().admission is Admission.REFUSED
    assert program.probe.visit(GOOD).answer.admission is Admission.LET_IN


def test_a_session_that_outlives_the_revocation_is_found_out(program: Program) -> None:
    """A full handshake shows nothing of it; and it lets in for as often as it is used."""
    visit = program.probe.visit(REVOKED)

    program.take_up(AFTER, keeps_sessions=True)

    assert program.probe.visit(REVOKED).answer.admission is Admission.REFUSED
    for _ in range(3):
        assert visit.again().admission is Admission.LET_IN


def test_nothing_is_known_of_a_program_that_does_not_run(program: Program) -> None:
    """Nobody gets in there; but that is not what is to be proven."""
    visit = program.probe.visit(REVOKED)

    program.stop()

    assert program.probe.visit(REVOKED).answer.admission is Admission.UNKNOWN
    assert visit.again().admission is Admission.UNKNOWN
