"""The house keeps its plan: who may import whom, what explains itself, what stays quick."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toml_text import toml_text

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "certwarden").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

# Each of these costs a small Pi a noticeable part of a second, or much memory.
HEAVY = {
    "acme", "apprise", "asyncio", "cloudflare", "cryptography", "dns", "httpx", "josepy",
    "pydantic", "requests", "sqlite3", "ssl", "subprocess",
}  # fmt: skip
LOADED = """
import sys
from certwarden.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(code, *sys.modules, file=sys.stderr)
"""


def test_imports_run_downward_only() -> None:
    """The import rules in pyproject.toml are kept, and every module has its place in them."""
    checked = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_every_module_says_what_it_owns(module: Path) -> None:
    """A module begins with what it is for."""
    assert ast.get_docstring(ast.parse(module.read_text()))


@pytest.mark.parametrize("module", TESTS, ids=_name)
def test_every_test_says_what_it_protects(module: Path) -> None:
    """A test that fails tells by its docstring which behaviour is lost."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


# Each of these goes through a time_t, which ends in 2038 where it has 32 bits.
ENDS_IN_2038 = {"fromtimestamp", "utcfromtimestamp", "gmtime", "localtime", "mktime", "ctime"}


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_no_instant_goes_through_a_time_t(module: Path) -> None:
    """Dates beyond 2038 work on a Pi of 32 bits; the linter knows some of these by name only."""
    names = {
        getattr(node, "attr", getattr(node, "id", None))
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert names & ENDS_IN_2038 == set()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without a mistake."""
    token, path = tmp_path / "cloudflare.token", tmp_path / "config.toml"
    target = {"name": "node-red", "kind": "node-red", "reload": {"hot": True}}
    document = {
        "acme": {"terms_of_service_agreed": True},
        "cloudflare": {"api_token_file": str(token)},
        "certificate": [{"name": "home", "domains": ["example.org"], "target": [target]}],
    }
    for file, text in ((token, "c2VjcmV0\n"), (path, toml_text(document))):
        file.touch(mode=0o600)
        file.write_text(text)
    return path


@pytest.mark.parametrize(
    "command", ["--version", "--help", "completion bash", "config check", "config show"]
)
def test_a_quick_command_loads_nothing_heavy(command: str, config: Path) -> None:
    """What answers from the command tree or the configuration alone starts without libraries."""
    words = command.split()
    arguments = words if words[0].startswith("-") else ["--config", str(config), *words]
    ended = subprocess.run(
        [sys.executable, "-I", "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    code, *loaded = ended.stderr.split()
    assert code == "0"
    assert {module.partition(".")[0] for module in loaded} & HEAVY == set()
