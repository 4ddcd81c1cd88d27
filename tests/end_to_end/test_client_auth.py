"""Who is let in by real programs, and who is not any more: the matrix of the private CA.

Every program is set up by what `certwarden snippet` prints and served by one house, so that one
`client revoke` is seen at all of them. Who is let in is asked by the tests' own clients.
"""

import math
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from tests.end_to_end.guarded import MODELS, SHUTDOWN_SECONDS, Door, Guarded, guarded
from tests.waiting import wait_until
from tests.world import World
from tests.world.clients import Visitor
from tests.world.house import Run
from tests.world.mosquitto import MqttConnection
from tests.world.nodered import OpenWebsocket
from tests.world.service import Service

pytestmark = pytest.mark.xdist_group("client-auth")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
HOT = [name for name, model in MODELS.items() if model.verb is None]
RESTARTED = [name for name, model in MODELS.items() if model.verb == "restart"]
PROXIES = ["nginx", "haproxy"]
REFUSE_EMPTY = [*RESTARTED, *PROXIES]  # they neither start nor reload with an empty list
POLL_SECONDS = 5  # what hot.js does by itself
SLACK_SECONDS = 3  # for a busy machine
WATCH_SECONDS = 45


@pytest.fixture(scope="module")
def row(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """All the programs in one house."""
    with guarded(world, tmp_path_factory.mktemp("row"), list(MODELS)) as row:
        row.issue("bob")
        yield row


# ── the usual ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", MODELS)
def test_only_clients_of_the_ca_get_in(row: Guarded, name: str) -> None:
    """A good certificate does; none does not, nor does one of another CA of the same name."""
    door, stranger = row.doors[name], row.foreign.issue("alice")
    for version in VERSIONS:
        assert door.lets_in(door.visitor(row.people["alice"], version=version))
        assert not door.lets_in(door.visitor(version=version))
        assert not door.lets_in(door.visitor(stranger, version=version))


# ── a revocation, and all that may outlive it ─────────────────────────────────────────────────────


def instant_when(look: Callable[[], bool]) -> float:
    """By the monotonic clock; infinite where it does not come about."""
    deadline = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < deadline:
        if look():
            return time.monotonic()
        time.sleep(0.02)
    return math.inf


class Watch:
    """Looks at a door while somebody is revoked: when the list is there, and when he is refused."""

    def __init__(self, door: Door, visitor: Visitor, websocket: OpenWebsocket) -> None:
        self._door = door
        self._visitor = visitor
        self._websocket = websocket
        self._before = door.installed.resolve()
        self.published_at = self.refused_at = self.cut_at = math.inf
        self._threads = [threading.Thread(target=act) for act in (self._look, self._hold)]
        for thread in self._threads:
            thread.start()

    def _look(self) -> None:
        self.published_at = instant_when(lambda: self._door.installed.resolve() != self._before)
        self.refused_at = instant_when(lambda: not self._door.lets_in(self._visitor))

    def _hold(self) -> None:
        # Not by pings: one that is never answered would take as long as it waits.
        self.cut_at = instant_when(lambda: self._websocket.wait_until_closed(1))

    def join(self) -> None:
        """Until everything was seen."""
        for thread in self._threads:
            thread.join()


@dataclass(frozen=True)
class Scene:
    """What stood open when bob was revoked, and how the command ended."""

    row: Guarded
    run: Run
    pids: dict[str, int]
    watches: dict[str, Watch]
    sessions: dict[tuple[str, ssl.TLSVersion], Visitor] = field(default_factory=dict)
    websockets: dict[tuple[str, str], OpenWebsocket] = field(default_factory=dict)
    mqtt: MqttConnection | None = None


@pytest.fixture(scope="module")
def scene(row: Guarded) -> Iterator[Scene]:
    """bob is revoked while he has sessions and connections everywhere, and alice has some, too."""
    bob = row.people["bob"]
    sessions, websockets = {}, {}
    with ExitStack() as stack:
        for name, door in row.doors.items():
            for version in VERSIONS:
                visitor = door.visitor(bob, version=version, resumes=True)
                assert door.lets_in(visitor), name
                sessions[name, version] = visitor
            if name != "mosquitto":
                for person in ("alice", "bob"):
                    opened = stack.enter_context(door.websocket(row.people[person]))
                    websockets[name, person] = opened
        mosquitto = row.doors["mosquitto"]
        mqtt = stack.enter_context(MqttConnection(mosquitto.visitor(bob)))
        watches = {
            name: Watch(row.doors[name], row.doors[name].visitor(bob), websockets[name, "bob"])
            for name in HOT
        }
        pids = {name: door.program.pid for name, door in row.doors.items()}
        run = row.run("client", "revoke", "bob")
        for watch in watches.values():
            watch.join()
        yield Scene(row, run, pids, watches, sessions, websockets, mqtt)


def test_revoke_succeeds_where_every_program_is_seen_to_refuse(scene: Scene) -> None:
    """Exit 0, and a line for each target; `ca show` says the same."""
    assert scene.run.code == 0, scene.run.err + scene.run.out
    for name in MODELS:
        assert f"{name}: refuses who is revoked, and lets others in" in scene.run.out
    assert set(scene.row.proofs().values()) == {"proven"}


@pytest.mark.parametrize("name", MODELS)
def test_who_is_revoked_is_out_and_nobody_else(scene: Scene, name: str) -> None:
    """As soon as the command has ended: bob is refused in a full handshake, alice is not."""
    door, people = scene.row.doors[name], scene.row.people
    for version in VERSIONS:
        assert not door.lets_in(door.visitor(people["bob"], version=version))
        assert door.lets_in(door.visitor(people["alice"], version=version))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("name", MODELS)
def test_a_saved_session_lets_nobody_in(scene: Scene, name: str, version: ssl.TLSVersion) -> None:
    """The session that bob was given when he was still good."""
    assert not scene.row.doors[name].lets_in(scene.sessions[name, version])


@pytest.mark.parametrize("name", HOT)
def test_hot_node_red_refuses_within_a_poll(scene: Scene, name: str) -> None:
    """It cuts the revoked client's websocket as well, and nobody else's; it is not restarted."""
    watch, program = scene.watches[name], scene.row.doors[name].program
    assert watch.refused_at - watch.published_at < POLL_SECONDS + SLACK_SECONDS
    assert watch.cut_at - watch.published_at < POLL_SECONDS + SLACK_SECONDS
    assert scene.websockets[name, "alice"].is_open()
    assert program.pid == scene.pids[name]


@pytest.mark.parametrize("name", RESTARTED)
def test_a_restart_leaves_no_websocket(scene: Scene, name: str) -> None:
    """Whoever had one open has to come in anew."""
    assert not scene.websockets[name, "bob"].is_open()
    assert scene.row.doors[name].program.pid != scene.pids[name]


@pytest.mark.parametrize("name", PROXIES)
def test_a_reload_ends_websockets_soon(scene: Scene, name: str) -> None:
    """The workers from before are given as long as the snippet's line says, and no longer."""
    assert scene.websockets[name, "bob"].wait_until_closed(SHUTDOWN_SECONDS + 10)
    assert scene.row.doors[name].program.pid == scene.pids[name]


def test_mosquitto_keeps_what_is_open(scene: Scene) -> None:
    """A reload leaves a revoked client's session alone; the snippet says so, and what does not."""
    assert scene.mqtt is not None
    assert scene.mqtt.is_open()
    said = scene.row.run("snippet", "mosquitto", "mosquitto").out
    assert "A reload leaves open connections alone, a revoked client's too" in said
    assert 'With verb = "restart" they are cut at once' in said
    with MqttConnection(scene.row.doors["mosquitto"].visitor(scene.row.people["alice"])) as good:
        assert good.is_open()


# ── lists that are not good now ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("signed_in_days", [-40, 2], ids=["expired", "future"])
def test_a_list_out_of_time_shuts_everybody_out_until_a_pass(
    scene: Scene, signed_in_days: int
) -> None:
    """As after forty days without power, or by a wrong clock: shut, and never open."""
    row = scene.row
    stale = row.resigned(datetime.now(UTC) + timedelta(days=signed_in_days))
    (row.authority / "crl.pem").write_bytes(stale)
    for door in row.doors.values():
        door.installed.write_bytes(stale)
    row.each(Door.take_up)
    people = row.people

    def is_shut(door: Door) -> None:
        wait_until(lambda: not door.lets_in(door.visitor(people["alice"])), door.model.name)
        assert not door.lets_in(door.visitor(people["bob"]))

    row.each(is_shut)
    run = row.run("renew")
    assert run.code == 0, run.err
    for door in row.doors.values():
        assert door.installed.read_bytes() != stale
        assert door.lets_in(door.visitor(people["alice"])), door.model.name
        assert not door.lets_in(door.visitor(people["bob"])), door.model.name


def test_an_emptied_list_is_repaired(scene: Scene) -> None:
    """Somebody empties the installed lists: only mosquitto lets everybody in then, until a pass."""
    row, people = scene.row, scene.row.people
    for door in row.doors.values():
        door.installed.write_bytes(b"")

    def take_up(door: Door) -> None:
        is_refused = door.model.name in REFUSE_EMPTY
        with pytest.raises(RuntimeError) if is_refused else nullcontext():
            door.take_up()

    row.each(take_up)
    mosquitto = row.doors["mosquitto"]
    wait_until(lambda: mosquitto.lets_in(mosquitto.visitor(people["bob"])), "the mistake")
    for name in HOT:
        wait_until(lambda name=name: row.has_complained(name), name)  # type: ignore[misc]
    for name, door in row.doors.items():
        if name != "mosquitto":
            assert not door.lets_in(door.visitor(people["bob"])), name
        if name not in (*RESTARTED, "mosquitto"):  # which do not start with it
            assert door.lets_in(door.visitor(people["alice"])), name
    run = row.run("renew")
    assert run.code == 0, run.err
    for name in RESTARTED:
        row.doors[name].program.restart()
    for name, door in row.doors.items():
        assert door.lets_in(door.visitor(people["alice"])), name
        assert not door.lets_in(door.visitor(people["bob"])), name


# ── what certwarden says where it cannot prove a refusal ──────────────────────────────────────────


@pytest.fixture(scope="module")
def pair(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A house with what is quick to reload."""
    with guarded(
        world, tmp_path_factory.mktemp("pair"), ["nginx", "mosquitto"], timeout="4s"
    ) as pair:
        yield pair


def test_a_program_that_is_stopped_proves_nothing_until_it_runs(pair: Guarded) -> None:
    """`client revoke` exits 1 and starts nothing; once it runs, the next look proves it."""
    pair.issue("carol")
    nginx, mosquitto = pair.doors["nginx"], pair.doors["mosquitto"]
    nginx.program.stop()
    run = pair.run("client", "revoke", "carol")
    assert run.code == 1
    assert "nginx: NOT PROVEN: " in run.out
    assert "mosquitto: refuses who is revoked" in run.out
    assert not nginx.program.alive()
    assert not mosquitto.lets_in(mosquitto.visitor(pair.people["carol"]))
    assert pair.proofs() == {"nginx": "unknown", "mosquitto": "proven"}
    nginx.program.start()
    assert not nginx.lets_in(nginx.visitor(pair.people["carol"]))
    pair.let_time_pass()
    run = pair.run("renew")
    assert run.code == 0
    assert pair.proofs() == {"nginx": "proven", "mosquitto": "proven"}


def test_a_shared_session_cache_is_found_out(pair: Guarded) -> None:
    """nginx as many pages show it: a session from before gets in, so exit 1 until it is mended."""
    pair.issue("dave")
    nginx = pair.doors["nginx"]
    assert isinstance(nginx.program, Service)
    good = nginx.program.config.read_text()
    shared = good.replace("ssl_session_cache   off;", "ssl_session_cache   shared:SSL:1m;")
    assert shared != good
    nginx.program.config.write_text(shared)
    nginx.program.restart()
    before = [nginx.visitor(pair.people["dave"], version=each, resumes=True) for each in VERSIONS]
    assert all(nginx.lets_in(each) for each in before)
    run = pair.run("client", "revoke", "dave")
    assert run.code == 1
    assert (
        "nginx: DOES NOT DO what it should: a revoked client gets in with a TLS session" in run.out
    )
    assert "mosquitto: refuses who is revoked" in run.out
    assert all(nginx.lets_in(each) for each in before)
    assert not nginx.lets_in(nginx.visitor(pair.people["dave"]))
    assert pair.proofs() == {"nginx": "refuted", "mosquitto": "proven"}

    nginx.program.config.write_text(good)
    nginx.program.restart()
    assert not any(nginx.lets_in(each) for each in before)
    pair.let_time_pass()
    run = pair.run("renew")
    assert run.code == 0, run.err
    assert pair.proofs() == {"nginx": "proven", "mosquitto": "proven"}


def test_a_broker_that_goes_by_no_list_is_found_out(pair: Guarded) -> None:
    """mosquitto was reloaded while its list was empty for a moment: the daily look notices it, and
    has it reloaded once more.
    """
    pair.issue("erin")
    mosquitto = pair.doors["mosquitto"]
    assert pair.run("client", "revoke", "erin").code == 0
    erin = mosquitto.visitor(pair.people["erin"])
    content = mosquitto.installed.read_bytes()
    mosquitto.installed.write_bytes(b"")
    mosquitto.take_up()
    wait_until(lambda: mosquitto.lets_in(erin), "the mistake")
    mosquitto.installed.write_bytes(content)

    pair.let_time_pass()
    run = pair.run("renew")
    assert run.code == 0  # it was told again, and looked at again
    assert "mosquitto: error: a revoked client gets in" in run.err
    assert not mosquitto.lets_in(erin)
    assert pair.proofs() == {"nginx": "proven", "mosquitto": "proven"}


# ── a published list that is unfit ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("unfit", ["expired", "future", "foreign", "empty", "rubbish"])
def test_a_list_that_is_not_good_is_never_installed(pair: Guarded, unfit: str) -> None:
    """The old set stays in use where the published list is unfit; a pass signs another."""
    published = unfit_list(pair, unfit)
    before = {name: door.installed.read_bytes() for name, door in pair.doors.items()}
    (pair.authority / "crl.pem").write_bytes(published)
    assert pair.run("deploy").code == 0
    assert {name: door.installed.read_bytes() for name, door in pair.doors.items()} == before
    for door in pair.doors.values():
        assert door.lets_in(door.visitor(pair.people["alice"]))
    run = pair.run("renew")
    assert run.code == 0, run.err
    assert "is published" in run.err
    assert (pair.authority / "crl.pem").read_bytes() != published


def unfit_list(pair: Guarded, unfit: str) -> bytes:
    """What lies where the published list should."""
    now = datetime.now(UTC)
    match unfit:
        case "expired":
            return pair.resigned(now - timedelta(days=40))
        case "future":
            return pair.resigned(now + timedelta(days=2))
        case "foreign":
            return pair.foreign.crl()
        case "empty":
            return b""
        case _:
            return b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"


def test_what_is_installed_stays_where_nothing_can_be_signed(pair: Guarded) -> None:
    """The published list has expired and the CA's key is away: exit 1, in a sentence, until it is
    back.
    """
    before = {name: door.installed.read_bytes() for name, door in pair.doors.items()}
    (pair.authority / "crl.pem").write_bytes(unfit_list(pair, "expired"))
    key = pair.authority / "root.key"
    away = key.rename(key.with_name("away"))
    run = pair.run("renew")
    assert run.code == 1
    assert "the revocation list could not be brought up to date: " in run.err
    assert pair.run("status").code == 3
    assert {name: door.installed.read_bytes() for name, door in pair.doors.items()} == before
    for door in pair.doors.values():
        assert door.lets_in(door.visitor(pair.people["alice"]))
    away.rename(key)
    pair.let_time_pass()
    assert pair.run("renew").code == 0
    assert pair.run("status").code == 0
