"""The documentation is held to the program: what it says that can be checked is checked here."""

import argparse
import ast
import contextlib
import grp
import io
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from certwarden import __version__
from certwarden.cli.arguments import EXIT_CODES, parse, parser
from certwarden.config import load
from certwarden.doctor.examination import checks

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
ADRS = sorted((ROOT / "docs" / "adr").iterdir())
README, OPERATIONS = PAGES[0], ROOT / "docs" / "operations.md"
REFERENCE, DOCTOR = ROOT / "docs" / "reference.md", ROOT / "docs" / "doctor.md"

# Where certwarden is the program that is run, and not a user, a group or a directory.
_CALL = re.compile(
    r"(?:^|^\$ |^sudo (?:-u \S+ )?(?:\S*/)?|/bin/)certwarden (?P<arguments>[^#|>&]+)"
)
_LINK = re.compile(r"\[[^]]*\]\((?P<target>[^)\s]+)\)")
# Whoever clones this has other registries, other paths and other tools than whoever wrote it.
_OF_ONE_MACHINE = (
    re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|piwheels\.org|deb\.debian\.org"),
    re.compile(re.escape(f"{ROOT}/")),
)
_NOT_OURS = {"__pycache__", "build", "node_modules"}
_RESULTS = {"ok", "WARNING", "ERROR", "skipped"}
_MOST_OPTIONS = 12  # a command with more has a table of its own for them


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.text.splitlines()[0]}"


def blocks(page: Path) -> list[Block]:
    """The page's code blocks, in their order."""
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(page, each[1], each[2]) for each in found]


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def rows(page: Path, under: str = "") -> Iterator[tuple[str, ...]]:
    """The cells of every row of the page's tables, heads and rules left out; of a part only."""
    parts = prose(page).split("\n## ")
    lines = "\n".join(each for each in parts if each.startswith(under)).splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_head = re.fullmatch(r"\|( --- \|)+", following)
        if line.startswith("| ") and "| --- |" not in line and not is_head:
            cells = re.split(r"(?<!\\)\|", line.strip("|"))
            yield tuple(cell.strip().replace("\\|", "|") for cell in cells)


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
TOML_BLOCKS = [block for block in ALL_BLOCKS if block.language == "toml"]


# ── the commands ──────────────────────────────────────────────────────────────────────────────────


def synopses(
    tree: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, str]]:
    """Every command that does something, and how it is written: `renew [NAME…] [--force]`."""
    groups = [act for act in tree._actions if isinstance(act, argparse._SubParsersAction)]
    if groups:
        for name, child in groups[0].choices.items():
            yield from synopses(child, (*words, name))
        return
    positional = [act for act in tree._actions if not act.option_strings]
    options = [
        act
        for act in tree._actions
        if act.option_strings and act.dest != "help" and act.help != argparse.SUPPRESS
    ]
    parts = [*map(_positional, positional), *map(_option, options)]
    if len(options) > _MOST_OPTIONS:
        parts = ["[OPTION…]"]
    yield " ".join(words), " ".join([*words, *parts])


def _positional(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest)
    return {None: name, "?": f"[{name}]", "*": f"[{name}…]"}[action.nargs]  # type: ignore[index]


def _option(action: argparse.Action) -> str:
    name = action.option_strings[-1]
    text = name if action.nargs == 0 else f"{name} {action.metavar}"
    return text if action.required else f"[{text}]"


@cache
def whole() -> argparse.ArgumentParser:
    """The real parser, which remembers nothing of what it has taken."""
    return parser()


def test_the_table_of_commands_is_the_parsers() -> None:
    """Every command and option is documented, and none that does not exist."""
    commands = dict(synopses(whole()))
    starts = {name.split()[0] for name in commands}
    documented = [
        row[0].strip("`")
        for row in rows(REFERENCE, under="Commands")
        if row[0].startswith("`") and row[0].strip("`").split(maxsplit=1)[0] in starts
    ]
    assert sorted(documented) == sorted(commands.values())


def test_the_options_of_setup_are_documented() -> None:
    """Setup has too many options for one line, so each has a row."""
    (groups,) = [act for act in whole()._actions if isinstance(act, argparse._SubParsersAction)]
    options = {
        _option(act).strip("[]")
        for act in groups.choices["setup"]._actions
        if act.dest != "help" and act.help != argparse.SUPPRESS
    }
    cells = [row[0] for row in rows(REFERENCE, under="Options of setup")]
    assert {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)} == options


def test_the_options_of_all_commands_are_documented() -> None:
    """What stands before the command is in the synopsis above the table."""
    options = [
        each
        for each in whole()._actions
        if each.option_strings and each.dest != "help" and each.help != argparse.SUPPRESS
    ]
    text = REFERENCE.read_text()
    listed = " ".join(_option(act) for act in options if act.dest != "version")
    assert f"`certwarden {listed} COMMAND`" in text
    assert "`--version`" in text


def test_the_exit_codes_are_documented() -> None:
    """Every exit code of `--help` has a row."""
    codes = set(re.findall(r"^  (\d)  ", EXIT_CODES, re.MULTILINE))
    assert codes <= {row[0] for row in rows(REFERENCE)}


def calls(page: Path) -> Iterator[str]:
    """The arguments of every call of certwarden that the page shows or speaks of."""
    whole_lines = (block.text.replace("\\\n", "") for block in blocks(page))
    lines = [line.strip() for text in whole_lines for line in text.splitlines()]
    names = dict(synopses(whole()))
    spoken = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose(page))]
    # A sentence may name a command without what it takes; above its table stands the synopsis.
    lines += [
        code
        for code in spoken
        if code.removeprefix("certwarden ") not in names and not code.endswith(" COMMAND")
    ]
    for line in lines:
        if found := _CALL.search(line):
            yield found["arguments"].strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_call_that_is_shown_is_one(page: Path) -> None:
    """Each `certwarden …` in the documentation is taken by the real parser."""
    assert [(call, said) for call in calls(page) if (said := complaint_about(call))] == []


def complaint_about(call: str) -> str:
    """What the real parser has to say against a call; "" if it takes it."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            whole().parse_args(shlex.split(call))
        except SystemExit as end:
            return said.getvalue() if end.code else ""
    return ""


def test_calls_are_found() -> None:
    """The look for calls sees those in blocks, in sentences, in units and in crontabs."""
    pages = (OPERATIONS, README, REFERENCE, ROOT / "docs" / "first-ten-minutes.md")
    seen = {call for page in pages for call in calls(page)}
    assert {"deploy", "config check", "--quiet renew", "setup", "setup --remove"} <= seen


# ── the examples ──────────────────────────────────────────────────────────────────────────────────


def test_a_newcomers_two_commands_come_first() -> None:
    """The first code blocks of README are the two scripts, which can be run."""
    assert [block.text for block in blocks(README)[:2]] == ["script/demo\n", "script/test\n"]
    for script in ("demo", "test"):
        assert os.access(ROOT / "script" / script, os.X_OK)


def configuration(block: Block, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration that is copied from a page, as a file; a part is put to README's."""
    ours = grp.getgrgid(os.getgid())
    monkeypatch.setattr(
        grp, "getgrnam", dict.fromkeys(("tls-nodered", "mosquitto"), ours).__getitem__
    )
    for name in ("cloudflare.token", "backup.passphrase"):
        secret = directory / name
        secret.touch(mode=0o600)
        secret.write_text("c2VjcmV0\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    text = block.text
    if "client_auth" in text and "[authority]" not in text:
        text += '[authority]\nname = "Home client CA"\n'
    if "[acme]" not in text:
        (whole,) = (each.text for each in TOML_BLOCKS if each.page == README)
        text = whole.partition("[[certificate.target]]")[0] + text
    config = directory / "config.toml"
    config.touch(mode=0o600)
    config.write_text(text)
    return config


@pytest.mark.parametrize("block", TOML_BLOCKS, ids=str)
def test_every_configuration_that_is_shown_loads(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that is copied from a page has no mistake."""
    config = configuration(block, tmp_path, monkeypatch)
    (certificate,) = load(config, os.environ).certificates
    assert len(certificate.targets) == config.read_text().count("[[certificate.target]]")


@pytest.mark.parametrize("block", TOML_BLOCKS, ids=str)
def test_every_snippet_that_is_shown_can_be_had(
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where a page shows a target and the call for its snippet, that call prints it."""
    config = configuration(block, tmp_path, monkeypatch)
    targets = {each.name: each for each in load(config, os.environ).certificates[0].targets}
    for call in {call for call in calls(block.page) if call.startswith("snippet ")}:
        _, program, *names = call.split()
        meant = [targets[name] for name in names if name in targets]
        if not names and len(targets) == 1:
            meant = [each for each in targets.values() if each.kind.name == program]
        for target in meant:
            arguments = parse(["--config", str(config), *call.split()])
            assert arguments.run(arguments) == 0
            assert str(target.directory) in capsys.readouterr().out


@cache
def sentences() -> str:
    """Every text in the program's source; what is filled in stands there as `…`."""
    found = []
    for path in (ROOT / "certwarden").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(map(_literal, node.values)))
            elif isinstance(node, ast.Constant):
                found.append(_literal(node))
    return "\n".join(found)


def _literal(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


@pytest.mark.parametrize("page", ["failures.md", "doctor.md"])
def test_every_sentence_of_failure_is_the_programs(page: str) -> None:
    """What is explained under failures is what the program says, word by word."""
    explained = [row[0] for row in rows(ROOT / "docs" / page) if row[0] not in _RESULTS]
    assert len(explained) > 20
    assert [sentence for sentence in explained if sentence not in sentences()] == []


def test_every_check_of_the_doctor_has_an_entry() -> None:
    """Each check is explained under its name, and none that does not exist."""
    explained = re.findall(r"^### (.+)$", prose(DOCTOR), re.MULTILINE)
    assert sorted(explained) == sorted(checks())


def test_every_page_that_the_program_names_is_there() -> None:
    """A hint that sends somebody to a page sends him to one that exists."""
    named = re.findall(r"docs/[\w/-]+\.md", sentences())
    assert [page for page in named if not (ROOT / page).exists()] == []


def test_every_key_of_the_configuration_is_documented() -> None:
    """The table of the configuration has each key that the example shows, and no other."""
    cells = [row[0] for row in rows(REFERENCE, under="Configuration")]
    documented = {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}
    assert documented == set(example_keys())


def example_keys() -> Iterator[str]:
    """Every key in the example, those in comments too, by its path; a section that may repeat."""
    section = ""
    for line in (ROOT / "config.example.toml").read_text().splitlines():
        if head := re.fullmatch(r"#?\[+([\w.]+)\]+", line):
            section = f"{head[1]}."
        elif key := re.match(r"#?(\w+) = (.*)", line):
            inner = re.findall(r"(\w+) = ", key[2]) if key[1] == "eab" else []
            names = [f"{key[1]}.{name}" for name in inner] or [key[1]]
            path = section.replace("acme.fallback.", "acme.")
            yield from (f"{path}{name}" for name in names)
    yield "acme.fallback"


def test_every_name_in_the_glossary_is_in_the_code() -> None:
    """The glossary explains names that a reader of the code will meet."""
    code = "\n".join(path.read_text() for path in (ROOT / "certwarden").rglob("*.py"))
    names = [
        name
        for row in rows(ROOT / "docs" / "glossary.md")
        for name in re.findall(r"`(\w+)`", row[0])
    ]
    assert len(names) > 20
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_every_room_is_on_the_map() -> None:
    """The map in architecture names each package and module of the house, and no other."""
    rooms = {
        entry.name + "/" if entry.is_dir() else entry.name
        for entry in (ROOT / "certwarden").iterdir()
        if entry.name not in {"__init__.py", "__main__.py", "__pycache__"}
    }
    map_of_rooms = blocks(ROOT / "docs" / "architecture.md")[0].text
    assert set(re.findall(r"^(\S+)", map_of_rooms, re.MULTILINE)) == rooms


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {each.replace(" ", "-") for each in words}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Where the page's relative links lead: a file, and a heading in it or ""."""
    for found in _LINK.finditer(prose(page)):
        if not re.match(r"https?://", found["target"]):
            path, _, anchor = found["target"].partition("#")
            yield ((page.parent / path).resolve() if path else page), anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link leads to a file that is there, and to a heading that is in it."""
    for target, anchor in links(page):
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), (target, anchor)


def test_every_page_can_be_found() -> None:
    """Whoever begins at README comes to every page by links."""
    found: set[Path] = set()
    to_read = [README]
    while to_read:
        page = to_read.pop()
        found.add(page)
        to_read += [each for each, _ in links(page) if each.suffix == ".md" and each not in found]
    assert set(PAGES) - found == set()


@pytest.mark.parametrize("page", ADRS, ids=lambda page: page.name)
def test_every_decision_is_a_page_of_three_parts(page: Path) -> None:
    """A decision says its context, what was decided, and what follows, on one page."""
    lines = page.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    assert lines[0].startswith(f"# {page.name[:4]}: ")
    headings = [line for line in lines if line.startswith("## ")]
    assert headings == ["## Context", "## Decision", "## Consequences"]
    assert len(lines) <= 60


def test_decisions_are_numbered_without_a_gap() -> None:
    """A decision's number is its own, and none is missing."""
    assert [int(page.name[:4]) for page in ADRS] == list(range(1, len(ADRS) + 1))


def test_the_changelog_knows_this_version() -> None:
    """The version that the program calls itself has a section, and it is the newest."""
    versions = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(version for version in versions if version != "Unreleased") == __version__


# ── the repository ────────────────────────────────────────────────────────────────────────────────


def files() -> Iterator[Path]:
    """Every file of ours, whether or not it is in git yet."""
    for entry in ROOT.iterdir():
        is_ours = not entry.name.startswith(".") or entry.name in {".ci", ".gitignore"}
        if is_ours and entry.name not in _NOT_OURS and entry.suffix != ".egg-info":
            yield from _below(entry)


def _below(entry: Path) -> Iterator[Path]:
    if entry.is_dir():
        for child in entry.iterdir():
            if child.name not in _NOT_OURS:
                yield from _below(child)
    else:
        yield entry


def test_nothing_in_the_repository_belongs_to_one_machine() -> None:
    """No file names a package registry, or a path of the machine that it was written on."""
    offending: Mapping[str, list[str]] = {
        str(path.relative_to(ROOT)): named
        for path in files()
        if (named := _names_of_one_machine(path.read_text(errors="replace")))
    }
    assert offending == {}


def _names_of_one_machine(text: str) -> list[str]:
    return [found[0] for pattern in _OF_ONE_MACHINE for found in pattern.finditer(text)]


def test_locked_requirements_name_no_index() -> None:
    """Where packages come from is the business of whoever installs; that they are these is ours."""
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-mutation.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        locked = re.findall(r"^[a-z].*\\\n +--hash=sha256:", text, re.MULTILINE)
        assert len(locked) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
