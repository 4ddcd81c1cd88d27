"""In use at a real Node-RED: taken up without a restart, and put back when it cannot be."""

import json
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from certwarden.model import Pair
from tests.builders import a_pair
from tests.waiting import wait_until
from tests.world.house import TARGET, House
from tests.world.nodered import Load, NodeRed, OpenWebsocket, settings
from tests.world.process import free_port

NOBODY = 65534
VERSIONS = [("4.1", 18), ("4.1", 20), ("5.0", 22)]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def running() -> Iterator[Callable[[NodeRed], NodeRed]]:
    """Starts a Node-RED and ends it with the test."""
    with ExitStack() as stack:
        yield stack.enter_context


def own_pair() -> Pair:
    """A pair that somebody has had from elsewhere, and that is valid now."""
    return a_pair(now=datetime.now(UTC) - timedelta(hours=1))


def line(house: House) -> str:
    """What `snippet node-red` prints, with a quicker poll."""
    (found,) = [
        each for each in house.run("snippet", "node-red").out.splitlines() if "https:" in each
    ]
    return found.replace(" }),", ", pollSeconds: 0.2 }),")


def a_house(house: House, port: int) -> House:
    house.targets = TARGET.format(port=port, timeout="20s")
    house.write_config()
    return house


def served(port: int) -> str | None:
    """The fingerprint of the leaf that is served, or None where no handshake comes about."""
    try:
        pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
    except OSError:
        return None
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(SHA256()).hex()


def stored(house: House) -> str:
    pem = (house.stored / "current" / "cert.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()


@pytest.mark.parametrize(("version", "node"), VERSIONS)
def test_a_renewal_under_load_drops_nothing(
    house: House,
    port: int,
    running: Callable[[NodeRed], NodeRed],
    tmp_path: Path,
    *,
    version: str,
    node: int,
) -> None:
    """None, one, then a forced renewal: no failure, the same process, the websocket open."""
    a_house(house, port)
    directory = tmp_path / "node-red"
    text = settings(line(house))
    node_red = running(NodeRed(directory, text, version=version, node=node, port=port))
    pid = node_red.pid
    assert served(port) is None
    assert house.run("renew").code == 0
    first = stored(house)
    assert served(port) == first

    with (
        OpenWebsocket(port, server_name="example.org") as websocket,
        Load(port, server_name="example.org") as load,
    ):
        assert load.wait_for(30)
        run = house.run("renew", "--force")
        assert run.code == 0, run.err
        assert load.wait_for(30)
        second = stored(house)
        assert second != first
        assert load.wait_for_certificate(second)
        assert websocket.is_open()
        assert load.failures == {}
    assert node_red.alive()
    assert node_red.pid == pid
    (certificate,) = house.run("status", "--json").json()["certificates"]
    assert certificate["targets"][0]["state"] == "in-use"
    assert certificate["targets"][0]["served"] == second


def test_the_module_says_what_it_has_loaded(
    house: House, port: int, running: Callable[[NodeRed], NodeRed], tmp_path: Path
) -> None:
    """`loaded/PID.json` names the generation and the fingerprint that Node-RED uses."""
    a_house(house, port)
    house.run("deploy")
    node_red = running(NodeRed(tmp_path / "node-red", settings(line(house)), port=port))
    assert house.run("renew").code == 0
    report = json.loads((house.live / "loaded" / f"{node_red.pid}.json").read_text())
    assert report["fingerprint_sha256"] == stored(house)
    assert report["error"] is None


def test_a_node_red_that_was_down_keeps_the_new_files(
    house: House, port: int, running: Callable[[NodeRed], NodeRed], tmp_path: Path
) -> None:
    """Nobody there: exit 0 with a warning; started later, it serves the new certificate."""
    a_house(house, port)
    run = house.run("renew")
    assert run.code == 0
    assert "warning" in run.err
    status = house.run("status", "--json")
    assert status.code == 3
    assert status.json()["certificates"][0]["targets"][0]["state"] == "unreachable"
    running(NodeRed(tmp_path / "node-red", settings(line(house)), port=port))
    assert served(port) == stored(house)
    assert house.run("renew").code == 0
    assert house.run("status").code == 0


def test_stored_but_not_served_is_deployed_without_an_order(
    house: House, port: int, running: Callable[[NodeRed], NodeRed], tmp_path: Path
) -> None:
    """After `--no-deploy`, the next pass only deploys."""
    a_house(house, port)
    running(NodeRed(tmp_path / "node-red", settings(line(house)), port=port))
    assert house.run("renew").code == 0
    assert house.run("renew", "--force", "--no-deploy").code == 0
    assert served(port) != stored(house)
    assert house.world.proxy is not None
    orders = house.world.proxy.calls("newOrder")
    assert house.run("renew").code == 0
    assert served(port) == stored(house)
    assert house.world.proxy.calls("newOrder") == orders


def test_a_reload_that_fails_puts_the_old_pair_back(
    house: House, port: int, running: Callable[[NodeRed], NodeRed], tmp_path: Path
) -> None:
    """A command that fails: the last good pair is back, exit 1, and no new order."""
    command = tmp_path / "reload"
    command.write_text("#!/bin/sh\nexit 0\n")
    command.chmod(0o755)
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    house.targets = fixed_target(fixed, port, str(command))
    house.write_config()
    # Node-RED reads the fixed paths once, as most people's settings.js does.
    pair = own_pair()
    (fixed / "key.pem").write_bytes(pair.key_pem.reveal())
    (fixed / "cert.pem").write_bytes(pair.fullchain_pem)
    https = (
        f'https: {{ key: require("fs").readFileSync("{fixed}/key.pem"), '
        f'cert: require("fs").readFileSync("{fixed}/cert.pem") }},'
    )
    node_red = running(NodeRed(tmp_path / "node-red", settings(https), port=port))
    before = served(port)

    command.write_text("#!/bin/sh\necho no such instance >&2\nexit 7\n")
    run = house.run("renew")
    assert run.code == 1
    assert "no such instance" in run.err
    assert "the last good certificate is back in use" in run.err  # it never was out of it
    assert (fixed / "cert.pem").read_bytes() == pair.fullchain_pem
    node_red.restart()
    assert served(port) == before

    assert house.world.proxy is not None
    orders = house.world.proxy.calls("newOrder")
    assert house.run("renew").code == 0  # skipped: its program is not restarted in every pass
    assert house.run("renew", "home").code == 1
    assert house.world.proxy.calls("newOrder") == orders
    assert (fixed / "cert.pem").read_bytes() == pair.fullchain_pem


def fixed_target(fixed: Path, port: int, command: str, extra: str = "") -> str:
    return f"""
  [[certificate.target]]
  name = "node-red"
  kind = "node-red"
  key = "{fixed}/key.pem"
  certificate = "{fixed}/cert.pem"
  reload = {{ command = ["{command}"] }}
  probe = "127.0.0.1:{port}"
  probe_timeout = "5s"
  {extra}
"""


class Restarts:
    """A command for `reload` that has this process restart a Node-RED and waits until it has."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "restart.sock"
        self.command = directory / "restart"
        self.node_red: NodeRed | None = None
        self.is_starting = True
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.socket))
        self._server.listen()
        self.command.write_text(
            "#!/usr/bin/env python3\n"
            "import socket\n"
            "s = socket.socket(socket.AF_UNIX)\n"
            f"s.connect({str(self.socket)!r})\n"
            "s.recv(1)\n"
        )
        self.command.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                assert self.node_red is not None
                self.node_red.stop()
                try:
                    self.node_red.restart()
                except RuntimeError:
                    pass  # it did not come up: certwarden's probe shall find that out
                connection.sendall(b"x")

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def restarts(tmp_path: Path) -> Iterator[Restarts]:
    made = Restarts(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("copy", [False, True], ids=["links", "copies"])
def test_fixed_paths_with_a_restart(
    house: House,
    port: int,
    running: Callable[[NodeRed], NodeRed],
    restarts: Restarts,
    tmp_path: Path,
    *,
    copy: bool,
) -> None:
    """Paths that settings.js names already get the new pair, and what stood there is kept."""
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    pair = own_pair()
    (fixed / "key.pem").write_bytes(pair.key_pem.reveal())
    (fixed / "cert.pem").write_bytes(pair.fullchain_pem)
    extra = "copy = true" if copy else ""
    house.targets = fixed_target(fixed, port, str(restarts.command), extra)
    house.write_config()
    https = (
        f'https: {{ key: require("fs").readFileSync("{fixed}/key.pem"), '
        f'cert: require("fs").readFileSync("{fixed}/cert.pem") }},'
    )
    restarts.node_red = running(NodeRed(tmp_path / "node-red", settings(https), port=port))
    run = house.run("renew")
    assert run.code == 0, run.err
    assert served(port) == stored(house)
    assert (fixed / "cert.pem").is_symlink() is not copy
    kept = fixed / "cert.pem.before-certwarden"
    assert kept.read_bytes() == pair.fullchain_pem

    # Somebody overwrites one of the two: a mismatched pair is repaired, without an order.
    (fixed / "cert.pem").unlink()
    (fixed / "cert.pem").write_bytes(own_pair().fullchain_pem)
    assert house.world.proxy is not None
    orders = house.world.proxy.calls("newOrder")
    run = house.run("renew")
    assert run.code == 0, run.err
    assert house.world.proxy.calls("newOrder") == orders
    assert served(port) == stored(house)
    wanted = (house.stored / "current" / "fullchain.pem").read_bytes()
    assert (fixed / "cert.pem").read_bytes() == wanted


def test_a_node_red_that_dies_of_the_new_pair_is_brought_back(
    house: House,
    port: int,
    running: Callable[[NodeRed], NodeRed],
    restarts: Restarts,
    tmp_path: Path,
) -> None:
    """It served before and does not afterwards: the last good pair serves again, exit 1."""
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    house.targets = fixed_target(fixed, port, str(restarts.command))
    house.write_config()
    pair = own_pair()
    (fixed / "key.pem").write_bytes(pair.key_pem.reveal())
    (fixed / "cert.pem").write_bytes(pair.fullchain_pem)
    # This settings.js accepts only the first certificate, as one that pins its content would.
    https = (
        f'https: (() => {{ const fs = require("fs"); const c = fs.readFileSync("{fixed}/cert.pem");'
        f'if (!c.equals(fs.readFileSync("{tmp_path}/pinned.pem"))) throw new Error("not mine");'
        f'return {{ key: fs.readFileSync("{fixed}/key.pem"), cert: c }}; }})(),'
    )
    shutil.copy(fixed / "cert.pem", tmp_path / "pinned.pem")
    restarts.node_red = running(NodeRed(tmp_path / "node-red", settings(https), port=port))
    before = served(port)
    run = house.run("renew")
    assert run.code == 1
    assert "the last good certificate is back in use" in run.err
    assert served(port) == before
    (certificate,) = house.run("status", "--json").json()["certificates"]
    assert certificate["targets"][0]["state"] == "failed"


def test_a_placeholder_lets_it_start_and_is_no_success(
    house: House, port: int, running: Callable[[NodeRed], NodeRed], tmp_path: Path
) -> None:
    """Before the first certificate `deploy` publishes a self-signed one and exits 1."""
    a_house(house, port)
    run = house.run("deploy")
    assert run.code == 1
    assert "placeholder" in run.err
    running(NodeRed(tmp_path / "node-red", settings(line(house)), port=port))
    assert served(port) is not None
    (certificate,) = house.run("status", "--json").json()["certificates"]
    assert certificate["targets"][0]["state"] == "placeholder"
    assert house.run("renew").code == 0
    assert served(port) == stored(house)


def test_a_mismatched_pair_in_the_generation_is_repaired(
    house: House, port: int, running: Callable[[NodeRed], NodeRed], tmp_path: Path
) -> None:
    """A key that was overwritten is never used, and the next pass publishes a whole generation."""
    a_house(house, port)
    running(NodeRed(tmp_path / "node-red", settings(line(house)), port=port))
    assert house.run("renew").code == 0
    good = served(port)
    key = (house.live / "current" / "privkey.pem").resolve()
    key.write_bytes(own_pair().key_pem.reveal())
    assert house.run("renew").code == 0
    wait_until(lambda: served(port) == good)
    assert (house.live / "current").readlink() == Path("generations/0002")


def test_inspect_runs_settings_as_its_owner(house: House, port: int, tmp_path: Path) -> None:
    """`nodered inspect` tells what settings.js does about TLS, and never runs it as root."""
    a_house(house, port)
    path = tmp_path / "settings.js"
    path.write_text(settings(line(house)))
    if os.geteuid() == 0:
        run = house.run("nodered", "inspect", str(path))
        assert run.code == 1
        assert "not run as root" in run.err
        os.chown(path, NOBODY, NOBODY)
        for each in (tmp_path, *tmp_path.parents):
            each.chmod(each.stat().st_mode | 0o011)
    run = house.run("nodered", "inspect", str(path))
    assert run.code == 0, run.err
    assert f"module   certwarden's, reading {house.live}" in run.out
    found = house.run("nodered", "inspect", str(path), "--json").json()
    assert found["https"]["certwarden"]["live"] == str(house.live)
