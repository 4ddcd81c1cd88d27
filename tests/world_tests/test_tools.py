"""Fetching is whole or not at all, and takes its addresses from the machine."""

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.world import tools
from tests.world.tools import Missing, apt_sources

ONE_LINE = """
# deb http://off.example/debian bookworm main
deb [arch=arm64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib
deb http://mirror.example/debian-security/ bookworm-security main
deb http://vendor.example/debian/ bookworm ui
deb-src http://mirror.example/source/ bookworm main
"""
DEB822 = """# comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main non-free
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://vendor.example/node
Suites: nodistro
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
"""


def test_archives_are_found_in_both_styles(tmp_path: Path) -> None:
    """Only those that serve this release's main section, with their keys; nothing that is off."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (found,) = apt_sources(tmp_path, "bookworm")
    assert (found.uri, found.suite) == ("http://mirror.example/debian/", "bookworm")
    assert "Suites: forky\n" in found.stanza("forky")
    assert "Signed-By: /k.gpg\n" in found.stanza("forky")

    (tmp_path / "sources.list").unlink()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (found,) = apt_sources(tmp_path, "bookworm")
    assert found.uri == "http://mirror.example/debian"
    assert "\n .\n abc\n" in found.stanza("sid")


def test_a_fetch_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does what an interrupted one left stay; the next succeeds, and is not repeated."""
    monkeypatch.setenv("CERTWARDEN_WORLD", str(tmp_path))
    proof = tmp_path / "thing" / "program"
    (tmp_path / ".thing~interrupted").mkdir()

    def broken(into: Path) -> None:
        (into / "half").write_text("x")
        raise Missing("npm failed")

    with pytest.raises(Missing):
        tools._once("thing", proof, broken)
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]
    with pytest.raises(Missing, match="holds no program"):
        tools._once("thing", proof, lambda _: None)

    def good(into: Path) -> None:
        (into / "program").write_text("x")

    tools._once("thing", proof, good)
    assert proof.exists()
    tools._once("thing", proof, broken)
    assert capsys.readouterr().err.count("fetching thing\n") == 3


def test_several_things_are_fetched_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waits for nobody that fetches another; what is fetched already is not fetched again."""
    monkeypatch.setenv("CERTWARDEN_WORLD", str(tmp_path))
    together = threading.Barrier(2, timeout=10)
    times: list[str] = []

    def fetch(name: str) -> None:
        def once(into: Path) -> None:
            times.append(name)
            together.wait()
            (into / "program").write_text("x")

        tools._once(name, tmp_path / name / "program", once)

    with ThreadPoolExecutor() as several:
        for each in [several.submit(fetch, name) for name in ("one", "other", "one", "other")]:
            each.result()
    assert sorted(times) == ["one", "other"]


def test_what_is_missing_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package to install."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Missing, match=r"^The system package npm is missing: run `[^`]*`\.$"):
        tools._need("npm", "npm")


def test_a_node_that_matches_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system's own Node.js is not fetched again."""
    program = tmp_path / "node"
    program.write_text("#!/bin/sh\necho v20.1.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert program == tools.node(20)
    with pytest.raises(Missing, match=r"Node\.js 21 "):
        tools.node(21)


def test_a_program_that_is_installed_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where only root has its folder in the PATH."""
    installed = tmp_path / "sbin" / "nginx"
    installed.parent.mkdir()
    installed.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(tools, "_SYSTEM", (str(installed.parent),))
    assert tools.program("nginx") == installed


def test_a_program_that_is_not_is_unpacked_with_its_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is started where it lies, under its own process id, and nobody's rights come with it."""

    def unpack(packages: tuple[str, ...], into: Path, _: str, *, installed: Path) -> None:
        assert (packages, installed) == (("nobodys",), Path("/var/lib/dpkg/status"))
        program = into / "usr" / "sbin" / "nobodys-server"
        library = into / "usr" / "lib" / "x-linux-gnu" / "nss" / "lib.so.1"
        for path in (program, library):
            path.parent.mkdir(parents=True)
        library.touch()
        program.write_text('#!/bin/sh\necho "$1 $$ $LD_LIBRARY_PATH"\n')
        program.chmod(0o4755)

    monkeypatch.setenv("CERTWARDEN_WORLD", str(tmp_path))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(tools, "_unpack", unpack)
    monkeypatch.setitem(tools.PROGRAMS, "nobodys-server", ("nobodys", "usr/sbin/nobodys-server"))
    start = tools.program("nobodys-server")
    with subprocess.Popen([start, "-t"], stdout=subprocess.PIPE, text=True) as process:
        said, _ = process.communicate()
    home = start.parents[1]
    assert said == f"-t {process.pid} {home}/usr/lib/x-linux-gnu/nss\n"
    assert (home / "usr" / "sbin" / "nobodys-server").stat().st_mode & 0o7777 == 0o755


def test_without_apt_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody with another kind of machine installs it by its own means."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(tools.PROGRAMS, "nobodys-server", ("nobodys", "usr/sbin/nobodys-server"))
    with pytest.raises(Missing, match=r"^nobodys-server is not installed here"):
        tools.program("nobodys-server")
