"""Installing on bare machines by what Debian has for it, one version upon another, and removing.

Nothing is fetched from a network in them: everything comes from a directory of wheels.
"""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import certwarden
from certwarden.store.schema import MIGRATIONS
from tests import guide
from tests.world import bare, tools
from tests.world.bare import CERTWARDEN, VENV, BareHouse
from tests.world.container import Container
from tests.world.debian import PROJECT, RELEASES, Debian

STATE = "/var/lib/certwarden"
CONFIG = "/etc/certwarden/config.toml"
OLDER = len(MIGRATIONS) - 1
RESOURCES = """
from importlib.resources import files
import sys
print((files("certwarden.setup") / "units" / sys.argv[1]).read_text(), end="")
"""
VERSION = """
import sqlite3, sys
with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True) as connection:
    print(*connection.execute("PRAGMA user_version").fetchone())
    print(*connection.execute("PRAGMA integrity_check").fetchone())
    print([text for text, in connection.execute("SELECT text FROM events ORDER BY id LIMIT 1")])
"""

pytestmark = pytest.mark.xdist_group("systemd")


@pytest.fixture(scope="module", params=RELEASES)
def house(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    installed_by_pipx: Callable[[str], Path],
) -> Iterator[BareHouse]:
    """A machine of each release, with certwarden as its pipx has installed it; the tests follow one
    another as they do in a machine's life.
    """
    installed = installed_by_pipx(request.param)
    directory = tmp_path_factory.mktemp("install")
    with BareHouse(directory, request.param, node_red="", installed=installed) as house:
        yield house


def ours(house: BareHouse) -> list[str]:
    """Every path with our name on it, but for what is in the environment itself."""
    others = (VENV, "/proc", "/sys", "/source", "/wheelhouse")
    prune = [word for path in others for word in ("-path", path, "-prune", "-o")]
    found = house.container.must("find", "/", *prune, "-iname", "*certwarden*", "-print")
    return sorted(found.splitlines())


def test_everybody_can_run_it(house: BareHouse) -> None:
    """By its name, as root and as a person who has no rights; it says which it is, and its help."""
    container = house.container
    for user in (None, "pi"):
        said = container.must("certwarden", "--version", user=user)
        assert said == f"certwarden {certwarden.__version__}\n"
        assert "exit codes:" in container.must("certwarden", "--help", user=user)
    assert "certwarden" in container.must("certwarden", "completion", "bash", user="pi")
    manual = f"{bare.MANUAL}/"
    assert [path for path in ours(house) if not path.startswith(manual)] == [CERTWARDEN]


def test_its_files_are_compiled_and_nobodys_but_roots(house: BareHouse) -> None:
    """Each of them, or every start on a Pi would take seconds more; others read and write not."""
    container = house.container
    sources = container.must("find", VENV, "-path", "*/certwarden/*", "-name", "*.py")
    compiled = container.must("find", VENV, "-path", "*/certwarden/*", "-name", "*.pyc")
    assert len(sources.splitlines()) == len(compiled.splitlines()) > 0
    assert container.must("find", VENV, "-name", "py.typed", "-path", "*/certwarden/*")
    strange = ("(", "!", "-user", "root", "-o", "-perm", "/022", "-o", "!", "-perm", "-004", ")")
    assert container.must("find", VENV, "!", "-type", "l", *strange) == ""


def test_the_manual_is_there(house: BareHouse) -> None:
    """Every page that there is, in the environment; pipx of Debian 13 has `man` find it.

    Libraries have pages there, too, which nobody is shown.
    """
    pages = sorted(page.name for page in (PROJECT / "docs" / "man").glob("*.1"))
    found = house.container.run("ls", f"{VENV}/share/man/man1").out.split()
    assert set(found) >= set(pages)
    if house.release != "bookworm":
        linked = house.container.must("ls", f"{bare.MANUAL}/man1").split()
        assert sorted(linked) == pages


def test_the_database_of_an_older_version_is_taken_over(house: BareHouse, tmp_path: Path) -> None:
    """A pass migrates it, and keeps a copy of it as it was; what was written there stays."""
    container = house.container
    older = tmp_path / "certwarden.db"
    with sqlite3.connect(older) as connection:
        for migration in MIGRATIONS[:OLDER]:
            for statement in migration:
                connection.execute(statement)
        row = "('2026-01-01T00:00:00+00:00', 'installed', 'from another time')"
        connection.execute(f"INSERT INTO events (at, kind, text) VALUES {row}")
        connection.execute(f"PRAGMA user_version = {OLDER}")
    connection.close()
    for name in ("sysusers", "tmpfiles"):
        text = container.must(f"{VENV}/bin/python", "-c", RESOURCES, f"certwarden.{name}.conf")
        container.write(f"/etc/{name}.d/certwarden.conf", text)
    container.must("systemd-sysusers")
    container.must("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/certwarden.conf")
    secret = "/etc/certwarden/secrets/cloudflare.token"
    container.write(secret, house.world["token"], mode="0640", owner="root:certwarden")
    container.write(CONFIG, configuration(house), mode="0640", owner="root:certwarden")
    place = f"{STATE}/certwarden.db"
    container.path("/root/older.db").write_bytes(older.read_bytes())
    own = ("-m", "0600", "-o", "certwarden", "-g", "certwarden")
    container.must("install", *own, "/root/older.db", place)

    container.must("sudo", "certwarden", "renew", user="pi")

    newest = len(MIGRATIONS)
    kept = f"{place}.before-{newest}"
    for path, version in ((place, newest), (kept, OLDER)):
        said = container.must("python3", "-c", VERSION, path).splitlines()
        assert said == [str(version), "ok", "['from another time']"]
        mode = container.must("stat", "--format=%U:%G %a", path)
        assert mode.strip() == "certwarden:certwarden 600"
    assert "from another time" in container.must("sudo", "certwarden", "history", user="pi")


def test_what_it_leaves_is_configuration_and_state(house: BareHouse) -> None:
    """`pipx uninstall` needs no script of ours; what a person has made there stays."""
    container = house.container
    (uninstall,) = guide.commands("Taking it out again")[-1:]
    bare.pipx(container, uninstall)
    assert container.run("test", "-e", VENV).code != 0
    left = [path for path in ours(house) if not path.startswith((f"{STATE}/", "/etc/certwarden/"))]
    assert left == [
        "/etc/certwarden",
        "/etc/sysusers.d/certwarden.conf",
        "/etc/tmpfiles.d/certwarden.conf",
        STATE,
    ]
    assert container.run("test", "-e", CONFIG).code == 0


def test_uv_installs_it_as_well(tmp_path: Path, installed_by_pipx: Callable[[str], Path]) -> None:
    """Into a place of its own, and takes it away again."""
    release = RELEASES[-1]
    wheels = installed_by_pipx(release).parent / "wheelhouse"
    (wheel,) = wheels.glob("certwarden-*.whl")
    binds = {"/usr/bin/uv": tools.uv(), "/wheelhouse": wheels}
    places = ("UV_TOOL_DIR=/opt/uv", "UV_TOOL_BIN_DIR=/usr/local/bin", "UV_OFFLINE=1")
    uv = ("env", *places, "uv", "tool")
    offline = ("--no-index", "--find-links=/wheelhouse")
    with Container(Debian.prepared(release), tmp_path, binds) as container:
        container.must(*uv, "install", *offline, f"/wheelhouse/{wheel.name}")
        said = container.must("certwarden", "--version", user="nobody:nogroup")
        assert said == f"certwarden {certwarden.__version__}\n"
        container.must(*uv, "uninstall", "certwarden")
        assert container.run("test", "-e", CERTWARDEN).code != 0


def configuration(house: BareHouse) -> str:
    """The least that a pass in this world needs."""
    world = house.world
    return f"""\
[acme]
directory = "{world["directory_url"]}"
terms_of_service_agreed = true
ca_bundle = "{bare.CA_BUNDLE}"

[cloudflare]
api_token_file = "/etc/certwarden/secrets/cloudflare.token"
base_url = "{world["api_base_url"]}"

[dns]
nameservers = ["{world["nameserver"]}"]
settle = "0s"

[[certificate]]
name = "home"
domains = ["example.org"]
"""
