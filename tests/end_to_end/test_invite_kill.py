"""kill -9 of `client invite` at each step: nobody has what the book does not know, and no token
works twice.

Each run invites another client in one house, is asked for the certificate as soon as it has told
its link, and dies before one change on the disk. Then the token is tried once more.
"""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from certwarden.config import load
from certwarden.errors import InvitationError
from certwarden.lifecycle.invite import redeem
from certwarden.model import ClientCertificate, Secret
from certwarden.pki.certificate import even_hex
from certwarden.wiring import Warden
from tests.end_to_end.invited import PASSWORD, Guest
from tests.end_to_end.private_ca import a_house
from tests.fakes_store import RecordingReporter
from tests.waiting import wait_until
from tests.world import World, stepping
from tests.world.house import House
from tests.world.killing import Ended, Zygote, chosen_cuts
from tests.world.turnstile import Turnstile


@dataclass
class Outcome:
    """How the command ended, the token of its link, and the serial of what somebody got by it."""

    ended: Ended
    token: str = ""
    got: str = ""


@dataclass
class Stage:
    """A house in which clients are invited, one after the other, by commands that die."""

    house: House
    zygote: Zygote
    names: list[str] = field(default_factory=list)

    def invite(self, *, kill_before: int | None = None, is_first: bool = False) -> Outcome:
        """Another client is invited, and comes."""
        self.names.append(f"client{len(self.names)}")
        options = ("--listen=127.0.0.1:0", "--json", "--for=1m")
        arguments = ("client", "invite", self.names[-1], *options)
        told = self.house.directory / "output"
        visit = Visit(self.house, told, told.stat().st_size if told.exists() else 0)
        visit.start()
        if is_first:
            ended = self.zygote.learn(self.house, *arguments)
        else:
            ended = self.zygote.run_counted(self.house, *arguments, kill_before=kill_before)
        visit.ends()
        return Outcome(ended, visit.token, visit.got)

    def known(self) -> list[ClientCertificate]:
        """What the book knows of the last client."""
        with closing(warden_of(self.house)) as warden:
            return [each for each in warden.register.named(self.names[-1]) if each.is_signed]

    def works(self, token: str) -> bool:
        """Whether the token is good for another certificate."""
        with closing(warden_of(self.house)) as warden:
            try:
                redeem(warden, Secret(token.encode()))
            except InvitationError:
                return False
        return True


def warden_of(house: House) -> Warden:
    return Warden(load(house.config, {}), RecordingReporter(), purpose="test")


class Visit(threading.Thread):
    """Somebody who reads the link as soon as it is told, and comes at once."""

    def __init__(self, house: House, told: Path, offset: int) -> None:
        super().__init__()
        self._house, self._told, self._offset = house, told, offset
        self._is_over = threading.Event()
        self.token = self.got = ""

    def run(self) -> None:
        line = wait_until(lambda: self._line() or self._is_over.is_set(), "a link")
        if not isinstance(line, str):
            return
        guest = Guest(json.loads(line)["url"], self._house.world.pebble.root())
        self.token = guest.token
        try:
            reply = guest.redeem()
        except (OSError, http.client.HTTPException):
            return  # it was killed
        assert reply.status == 200
        _, certificate, _ = load_key_and_certificates(reply.body, PASSWORD.encode())
        assert certificate is not None
        self.got = even_hex(certificate.serial_number)

    def _line(self) -> str:
        if not self._told.exists():
            return ""
        with self._told.open() as file:
            file.seek(self._offset)
            lines = file.read().splitlines(keepends=True)
        return next((each for each in lines if each.startswith("{") and each.endswith("\n")), "")

    def ends(self) -> None:
        self._is_over.set()
        self.join()


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    if why_not := stepping.why_not():
        pytest.skip(why_not)
    with Turnstile() as door, Zygote() as zygote:
        house = a_house(world, tmp_path / "house", door)
        for command in (["ca", "init"], ["renew"]):
            assert house.run(*command).code == 0
        yield Stage(house, zygote)


def test_nobody_has_what_the_book_does_not_know(stage: Stage) -> None:
    """Whenever it dies: who got a certificate is in the book; a token gives one, or none."""
    assert stage.invite(is_first=True).got
    whole = stage.invite()
    assert (whole.ended.code, whole.got) == (0, stage.known()[0].serial)
    assert not stage.works(whole.token)
    seen: set[tuple[bool, bool]] = set()
    for cut in chosen_cuts(whole.ended.steps, lambda step: " locks/" in step):
        outcome = stage.invite(kill_before=cut)
        assert outcome.ended.was_killed, cut
        before = [each.serial for each in stage.known()]
        assert before == [outcome.got] if outcome.got else len(before) <= 1, cut
        if outcome.token:
            works = stage.works(outcome.token)
            assert works == (not before), cut
            assert not stage.works(outcome.token), cut
            assert len(stage.known()) == 1, cut
            seen.add((bool(outcome.got), works))
        else:
            assert before == [], cut
    # It was still open, or was burnt just before anybody got what it was burnt for.
    assert {(False, True), (False, False)} <= seen
