"""The wheel: all of the package, what setup reads from it, and nothing else."""

import csv
import hashlib
import os
import re
import subprocess
import sys
from base64 import urlsafe_b64decode
from email.parser import Parser
from importlib import resources
from pathlib import Path
from zipfile import ZipFile

import pytest

import certwarden
from tests.world.installed import build_wheel

PROJECT = Path(__file__).parents[1]
METADATA = f"certwarden-{certwarden.__version__}.dist-info"
DATA = f"certwarden-{certwarden.__version__}.data/data"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, without a network."""
    return build_wheel(tmp_path_factory.mktemp("wheel") / "built")


def test_all_of_the_package_is_in_it(wheel: Path) -> None:
    """Every module, Node-RED's part, units, the example, the mark of a typed package; no tests."""
    package = PROJECT / "certwarden"
    expected = {
        str(Path(folder, name).relative_to(PROJECT))
        for folder, _, names in os.walk(package, followlinks=True)
        for name in names
        if "__pycache__" not in folder
    }
    expected |= {f"{DATA}/share/man/man1/{page.name}" for page in (PROJECT / "docs/man").glob("*")}
    with ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if not name.startswith(f"{METADATA}/")}
    assert found == expected
    assert {"certwarden/py.typed", "certwarden/setup/units/certwarden.service"} <= found


def test_its_record_is_right(wheel: Path) -> None:
    """Every file is listed with the digest that it has; but for the list itself."""
    with ZipFile(wheel) as archive:
        record = archive.read(f"{METADATA}/RECORD").decode()
        listed = {name: digest for name, digest, _ in csv.reader(record.splitlines())}
        assert sorted(listed) == sorted(archive.namelist())
        assert listed.pop(f"{METADATA}/RECORD") == ""
        for name, digest in listed.items():
            algorithm, _, value = digest.partition("=")
            expected = urlsafe_b64decode(value + "=" * (-len(value) % 4))
            assert hashlib.new(algorithm, archive.read(name)).digest() == expected, name


def test_it_says_what_it_is(wheel: Path) -> None:
    """Its licence, the Pythons that it is for, what it needs, and its one command."""
    with ZipFile(wheel) as archive:
        said = Parser().parsestr(archive.read(f"{METADATA}/METADATA").decode())
        licence = archive.read(f"{METADATA}/licenses/LICENSE")
        commands = archive.read(f"{METADATA}/entry_points.txt").decode()
        tags = archive.read(f"{METADATA}/WHEEL").decode()
    assert (said["Version"], said["License-Expression"]) == (certwarden.__version__, "MIT")
    assert set(said["Requires-Python"].split(",")) == {">=3.11", "<3.14"}
    assert licence == (PROJECT / "LICENSE").read_bytes()
    assert commands.split() == ["[console_scripts]", "certwarden", "=", "certwarden.cli:main"]
    assert "Tag: py3-none-any\n" in tags
    locked = {
        re.split(r"[=\s]", line)[0]
        for line in (PROJECT / "requirements.txt").read_text().splitlines()
        if line[:1].isalnum()
    }
    needed = {
        re.split(r"[^a-z0-9-]", each)[0]
        for each in said.get_all("Requires-Dist", [])
        if "extra ==" not in each
    }
    assert needed <= locked


@pytest.mark.parametrize(
    ("inside", "outside"), [("units", "systemd"), ("config.example.toml", "config.example.toml")]
)
def test_setup_finds_the_same_in_the_wheel_and_in_a_checkout(
    wheel: Path, inside: str, outside: str
) -> None:
    """They are links in the checkout and files in the wheel; what they hold is the same."""
    place = PROJECT / outside
    own = resources.files("certwarden.setup") / inside
    pairs = [(own, place)] if place.is_file() else [
        (own / path.name, path) for path in sorted(place.iterdir())
    ]  # fmt: skip
    with ZipFile(wheel) as archive:
        for ours, path in pairs:
            relative = f"{inside}/{path.name}" if place.is_dir() else inside
            assert ours.read_bytes() == path.read_bytes()
            assert archive.read(f"certwarden/setup/{relative}") == path.read_bytes()


def test_it_runs_where_it_is_installed(wheel: Path, tmp_path: Path) -> None:
    """Without the checkout; its files are compiled, so that no later start has to."""
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    pip = (sys.executable, "-m", "pip", "install", *options)
    subprocess.run([*pip, "--target", tmp_path, wheel], check=True)
    script = "import certwarden.cli, sys; print(certwarden.__file__); certwarden.cli.main()"
    for option, expected in (("--version", certwarden.__version__), ("--help", "exit codes:")):
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, option],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        place, _, said = done.stdout.partition("\n")
        assert Path(place).is_relative_to(tmp_path)
        assert expected in said
    sources = list((tmp_path / "certwarden").rglob("*.py"))
    cached = {path.stem.partition(".")[0] for path in tmp_path.rglob("certwarden/**/*.pyc")}
    assert cached == {path.stem for path in sources}
