"""The order of the steps, and what is undone when one fails."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certwarden.errors import TargetError, UsageError
from certwarden.model import TargetSpec
from certwarden.setup import steps, unfinished
from certwarden.setup.answers import FirstClient
from certwarden.setup.commands import Certwarden
from certwarden.setup.find import NodeRed
from certwarden.setup.install import Ground, InstallError
from certwarden.setup.steps import Line, SetupError
from certwarden.targets.node_red.apply import Proposal
from tests.builders import a_target_spec
from tests.setup.configured import a_config

SETTINGS = Path("/home/pi/.node-red/settings.js")
UNIT = "nodered.service"


@dataclass
class Commands:
    """certwarden's commands, which do as they are told and note it."""

    codes: dict[str, int] = field(default_factory=dict)
    state: str = "stale"
    serial: str | None = None
    done: list[str] = field(default_factory=list)

    def run(self, *words: object, **_: object) -> int:
        command = " ".join(map(str, words))
        self.done.append(command)
        code = self.codes.get(command, 0)
        if command == "renew --no-deploy" and not code:
            self.serial = "01"
        if command == "deploy" and not code and self.state == "stale":
            self.state = "in-use"
        return code

    def told(self, *words: object) -> Any:
        if words[0] == "client":
            return [{"name": "anna", "state": "valid"}, {"name": "berta", "state": "revoked"}]
        target = {"name": "node-red", "state": self.state}
        return {"certificates": [{"serial": self.serial, "targets": [target]}]}


@dataclass
class House:
    """A Node-RED whose settings.js is a variable; `broken` texts keep it from starting."""

    text: bytes = b"before"
    broken: set[bytes] = field(default_factory=set)
    restarts: int = 0
    told: list[str] = field(default_factory=list)
    ground: Ground = field(default_factory=Ground)

    def put(self, proposal: Proposal) -> Path:
        assert self.text == proposal.original
        self.text = proposal.text
        return Path("settings.js.certwarden-1")

    def restart(self, *_: object) -> None:
        self.restarts += 1
        if self.text in self.broken:
            raise InstallError("the unit failed")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = House(ground=Ground(tmp_path))
    monkeypatch.setattr(steps, "put", house.put)
    monkeypatch.setattr(steps, "await_port", lambda _: True)
    monkeypatch.setattr(Ground, "command", house.restart)
    return house


class Gone(list[str]):
    """A terminal on which nothing can be said any more once there is a `failure`."""

    failure: Exception | None = None

    def append(self, text: str) -> None:
        if self.failure:
            raise self.failure
        super().append(text)


def put_to_use(
    house: House, commands: Commands, line: Line | None, *, is_service: bool = True
) -> None:
    certwarden: Certwarden = commands  # type: ignore[assignment]  # a fake
    steps.put_to_use(certwarden, line, house.ground, house.told.append, is_service=is_service)


def a_line(
    *, diff: str = "+line", unit: str = UNIT, is_active: bool = True, is_possible: bool = True
) -> Line:
    text = b"after" if diff else b"before"
    proposal = Proposal(SETTINGS, b"before", text, None, diff)
    node_red = NodeRed(SETTINGS, "pi", unit, is_active=is_active)
    spec: TargetSpec = a_target_spec()
    return Line(node_red, spec, proposal if is_possible else None, "it is odd", "paste: x")


def test_node_red_is_restarted_once_and_seen(house: House) -> None:
    """First the line, then the restart, then the certificate is put in and seen."""
    commands = Commands()
    put_to_use(house, commands, a_line())
    assert (house.text, house.restarts, commands.done) == (b"after", 1, ["deploy"])


def test_what_is_in_use_already_is_not_restarted(house: House) -> None:
    """Another run of setup costs nobody a connection."""
    put_to_use(house, Commands(state="in-use"), a_line(diff=""))
    assert house.restarts == 0


def test_a_line_that_was_put_in_before_an_interruption_gets_its_restart(house: House) -> None:
    """The line is there, and Node-RED does not know it yet."""
    put_to_use(house, Commands(), a_line(diff=""))
    assert house.restarts == 1


def test_a_node_red_that_does_not_start_gets_its_settings_back(house: House) -> None:
    """And is restarted with them; that is said."""
    house.broken = {b"after"}
    with pytest.raises(SetupError, match="as it was before"):
        put_to_use(house, Commands(), a_line())
    assert (house.text, house.restarts) == (b"before", 2)


def test_a_certificate_that_is_not_served_is_undone_as_well(house: House) -> None:
    """Started is not in use."""
    for commands in (Commands(codes={"deploy": 1}), Commands(state="unreachable")):
        house.text = b"before"
        with pytest.raises(SetupError, match="as it was before"):
            put_to_use(house, commands, a_line())
        assert house.text == b"before"


def test_what_cannot_be_put_back_is_told(house: House) -> None:
    """The worst case has both reasons in its sentence."""
    house.broken = {b"after", b"before"}
    with pytest.raises(SetupError, match="could not be put back: the unit failed"):
        put_to_use(house, Commands(), a_line())


def test_an_interruption_puts_it_back_as_well(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while Node-RED starts leaves neither the line nor a Node-RED that is down."""
    waits = iter([KeyboardInterrupt()])

    def await_port(_: object) -> bool:
        for interruption in waits:
            raise interruption
        return True

    monkeypatch.setattr(steps, "await_port", await_port)
    with pytest.raises(KeyboardInterrupt):
        put_to_use(house, Commands(), a_line())
    assert (house.text, house.restarts) == (b"before", 2)
    assert unfinished.noted(house.ground) is None
    assert "as it was before" in house.told[-1]


@pytest.mark.parametrize("failure", [UsageError("there is no terminal"), BrokenPipeError()])
def test_it_is_put_back_whoever_has_hung_up(
    house: House, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Nobody can be told on a terminal that is gone; Node-RED comes first."""
    house.told = terminal = Gone()

    def hang_up(_: object) -> bool:
        terminal.failure = failure
        monkeypatch.setattr(steps, "await_port", lambda _: True)
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "await_port", hang_up)
    with pytest.raises(KeyboardInterrupt):
        put_to_use(house, Commands(), a_line())
    assert (house.text, house.restarts) == (b"before", 2)
    assert unfinished.noted(house.ground) is None


def test_a_line_that_nobody_was_told_of_is_put_back(house: House) -> None:
    """The terminal is gone when the line has just been put in."""
    house.told = terminal = Gone()
    terminal.failure = UsageError("there is no terminal")
    with pytest.raises(SetupError, match="as it was before"):
        put_to_use(house, Commands(), a_line())
    assert house.text == b"before"


def test_it_is_written_down_before_it_is_done(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kills us leaves a note for the next run; success leaves none."""
    notes = []

    def put(proposal: Proposal) -> Path:
        notes.append(unfinished.noted(house.ground))
        return house.put(proposal)

    monkeypatch.setattr(steps, "put", put)
    put_to_use(house, Commands(), a_line())
    assert notes == [unfinished.Unfinished(UNIT, SETTINGS)]
    assert unfinished.noted(house.ground) is None


def test_what_an_earlier_run_has_left_is_taken_out_where_it_does_not_work(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That run was killed with the line in place; nobody else would undo it."""
    line = a_line(diff="")
    removal = Proposal(SETTINGS, b"after", b"before", None, "-line")
    monkeypatch.setattr(steps, "propose_removal", lambda *_, **__: removal)
    house.text, house.broken = b"after", {b"after"}
    unfinished.note(house.ground, line.node_red)
    with pytest.raises(SetupError, match="as it was before"):
        put_to_use(house, Commands(), line)
    assert house.text == b"before"
    assert unfinished.noted(house.ground) is None


def test_what_could_not_be_put_in_has_stopped_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person has edited the file meanwhile: that is said, and nothing is undone."""

    def refuse(_: Proposal) -> Path:
        raise TargetError("it has been changed meanwhile")

    monkeypatch.setattr(steps, "put", refuse)
    with pytest.raises(TargetError, match="changed meanwhile"):
        put_to_use(house, Commands(), a_line())
    assert house.restarts == 0
    assert unfinished.noted(house.ground) is None


def test_a_line_that_a_person_has_put_in_stays(house: House) -> None:
    """Nobody has asked us to take it out."""
    house.text, house.broken = b"before", {b"before"}
    with pytest.raises(SetupError, match="the unit failed"):
        put_to_use(house, Commands(), a_line(diff=""))
    assert house.restarts == 1


def test_a_stopped_node_red_is_not_started(house: House) -> None:
    """A person has stopped it; it gets its line, and HTTPS with its next start."""
    put_to_use(house, Commands(state="unreachable"), a_line(is_active=False))
    assert (house.text, house.restarts) == (b"after", 0)
    assert "next time" in house.told[-1]


def test_without_a_unit_the_restart_is_asked_for(house: House) -> None:
    """Nobody knows how it is started."""
    commands = Commands()
    put_to_use(house, commands, a_line(unit=""))
    assert (house.text, house.restarts, commands.done) == (b"after", 0, [])
    assert "by hand" in house.told[-1]


def test_without_a_service_nothing_is_published_by_itself(house: House) -> None:
    """With the line and no certificate Node-RED refuses every handshake: what to do is said."""
    for line in (a_line(unit=""), a_line(is_possible=False)):
        house.text = b"before"
        put_to_use(house, Commands(), line, is_service=False)
        assert "sudo certwarden deploy" in house.told[-1]


def test_a_line_that_is_refused_is_printed(house: House) -> None:
    """With the reason, and what to paste; nothing is restarted."""
    put_to_use(house, Commands(), a_line(is_possible=False))
    assert (house.text, house.restarts) == (b"before", 0)
    assert "it is odd" in house.told[0]
    assert "paste: x" in house.told[0]


def test_nothing_is_ordered_where_the_rehearsal_fails(tmp_path: Path) -> None:
    """The CA's limits are for the real thing."""
    commands = Commands(codes={"renew --dry-run": 1})
    with pytest.raises(SetupError, match="nothing was ordered"):
        steps.obtain(commands, a_config(tmp_path), print)  # type: ignore[arg-type]  # a fake
    assert commands.done == ["renew --dry-run"]


def test_a_stored_certificate_is_not_rehearsed_again(tmp_path: Path) -> None:
    """A pass sees to it that it is not ordered again either."""
    commands = Commands(serial="01")
    steps.obtain(commands, a_config(tmp_path), print)  # type: ignore[arg-type]  # a fake
    assert commands.done == ["renew --no-deploy"]


def test_a_client_gets_a_certificate_unless_it_has_one() -> None:
    """A revoked one is none."""
    commands = Commands()
    for name in ("anna", "berta"):
        steps.issue_first(commands, FirstClient(name), print)  # type: ignore[arg-type]  # a fake
    assert commands.done == ["client issue berta --format p12"]


def test_another_ca_than_the_backups_is_not_taken_for_it(tmp_path: Path) -> None:
    """What would not be restored is refused; what an earlier run has restored is not."""
    ground, state = Ground(tmp_path), Path("/state")
    steps.refuse_other_authority(state, b"root", ground)
    (tmp_path / "state/authority").mkdir(parents=True)
    (tmp_path / "state/authority/root.pem").write_bytes(b"root")
    steps.refuse_other_authority(state, b"root", ground)
    with pytest.raises(UsageError, match="/state/authority, and it is not the backup's"):
        steps.refuse_other_authority(state, b"another", ground)
