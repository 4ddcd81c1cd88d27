"""A certificate's targets: from their tables to TargetSpecs, and what must fit together.

A rule about one target is noted while it is read; `note_misplaced` is about all of them.
"""

import grp
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from certwarden.config import syntax
from certwarden.config.source import Surroundings, exists, plain
from certwarden.config.syntax import Syntax, UnfitError, shown
from certwarden.config.table import Table
from certwarden.model import (
    TARGET_KINDS,
    CommandReload,
    GenerationFile,
    HotReload,
    Reload,
    TargetKind,
    TargetSpec,
    UnitReload,
    UnitVerb,
    covers,
)

PROBE_TIMEOUT = timedelta(seconds=15)
RESTART_TIMEOUT = timedelta(seconds=60)

_WITHOUT_LISTS = {"caddy": "Caddy", "traefik": "Traefik"}
_RELOAD_SHAPE = (
    'one of { hot = true }, { unit = "…", verb = "restart" } and { command = ["…"] }, '
    "or be left out"
)
_RELOAD_FORMS = {"hot": "hot", "unit": "unit", "verb": "unit", "command": "command"}


def read_target(
    table: Table,
    certificate: str,
    domains: Sequence[str],
    state_directory: Path,
    surroundings: Surroundings,
) -> TargetSpec:
    """The target in the table; `domains` are its certificate's, or none where they are wrong."""
    name = table.require("name", syntax.name, "", '"node-red"')
    kind = table.require("kind", _kind, None, '"node-red"')
    reload = _reload(table, kind, surroundings)
    spec = TargetSpec(
        name=name,
        certificate=certificate,
        kind=kind or TARGET_KINDS["files"],
        directory=table.read("directory", surroundings.path, state_directory / "live" / name),
        key_path=table.read("key", surroundings.path, None),
        certificate_path=table.read("certificate", surroundings.path, None),
        copy=table.read("copy", syntax.boolean, default=False),
        group=table.read("group", syntax.group if surroundings.is_draft else _group, None),
        mode=table.read("mode", syntax.mode, TargetSpec.mode),
        reload=reload,
        probe=table.read("probe", syntax.address, None),
        probe_name=_probe_name(table, domains),
        probe_timeout=_probe_timeout(table, reload),
        settings=table.read("settings", surroundings.path, None),
        client_auth=table.read("client_auth", _client_auth, default=False),
    )
    _note_contradictions(table, spec, kind)
    return spec


def _probe_timeout(table: Table, reload: Reload) -> timedelta:
    # Nobody can tell what a command does; it may well restart the program.
    restarts = isinstance(reload, CommandReload) or (
        isinstance(reload, UnitReload) and reload.verb is UnitVerb.RESTART
    )
    bounds = syntax.duration(timedelta(seconds=1), timedelta(minutes=10))
    return table.read("probe_timeout", bounds, RESTART_TIMEOUT if restarts else PROBE_TIMEOUT)


def _kind(value: object) -> TargetKind:
    word = syntax.text(value)
    if program := _WITHOUT_LISTS.get(word):
        raise UnfitError(
            f'{shown(word)} is no kind of its own; write kind = "files". {program} knows no '
            "revocation lists: give its clients certificates of a few days, by client_days"
        )
    return syntax.choice(TARGET_KINDS)(word)


def _client_auth(value: object) -> bool:
    if isinstance(value, str):
        raise UnfitError(
            f"must be true or false, not {shown(value)}: where a client may come without a "
            "certificate, Node-RED leaves its editor and its websockets open to everybody; put "
            "nginx in front and let it decide for each path (`certwarden snippet nginx`)"
        )
    return syntax.boolean(value)


def _group(value: object) -> str:
    name = syntax.text(value)
    try:
        return grp.getgrnam(name).gr_name
    except KeyError:
        known = (each.gr_name for each in grp.getgrall())
        raise UnfitError(
            f"{shown(name)} is no group on this machine; make it with groupadd"
            f"{syntax.suggestion(name, known)}"
        ) from None


# ── how a target takes up new files ───────────────────────────────────────────────────────────────


def _reload(table: Table, kind: TargetKind | None, surroundings: Surroundings) -> Reload:
    if "reload" not in table:
        return None
    reload = table.table("reload", _RELOAD_SHAPE)
    forms = {_RELOAD_FORMS[key] for key in reload.values if key in _RELOAD_FORMS}
    if forms == {"hot"}:
        reload.read("hot", _hot(kind), default=True)
        return HotReload()
    if forms == {"unit"}:
        return UnitReload(
            unit=reload.require("unit", syntax.unit, "", '"nodered.service"'),
            verb=reload.require("verb", _verb(kind), UnitVerb.RESTART, '"restart"'),
        )
    if forms == {"command"}:
        return CommandReload(_command(reload, surroundings))
    if table.is_sound("reload"):
        table.note("reload", f"must be {_RELOAD_SHAPE}")
    return None


def _hot(kind: TargetKind | None) -> Syntax[bool]:
    def parse(value: object) -> bool:
        if not syntax.boolean(value):
            raise UnfitError("must be true; leave reload out where nothing is to be reloaded")
        if kind and not kind.can_reload_hot:
            raise UnfitError(f'is for kind = "node-red"; {kind.name} cannot reload hot')
        return True

    return parse


def _verb(kind: TargetKind | None) -> Syntax[UnitVerb]:
    def parse(value: object) -> UnitVerb:
        verb = syntax.choice({each.value: each for each in UnitVerb})(value)
        if verb is UnitVerb.RELOAD and kind and kind.name == "node-red":
            raise UnfitError('must be "restart": Node-RED cannot reload, and a SIGHUP stops it')
        return verb

    return parse


def _command(reload: Table, surroundings: Surroundings) -> tuple[str, ...]:
    argv = reload.read_each("command", syntax.argument, distinct=False)
    if not reload.is_sound("command"):
        return ()
    if not argv or not argv[0].strip():
        reload.note("command", "names no program")
        return ()
    program, *arguments = argv
    program = surroundings.program(program)
    if not arguments and " " in program and not exists(Path(program)):
        words = ", ".join(shown(word) for word in argv[0].split())
        reload.note("command", f"is run without a shell; write each word for itself: [{words}]")
    return (program, *arguments)


# ── what must fit together ────────────────────────────────────────────────────────────────────────


def _note_contradictions(table: Table, target: TargetSpec, kind: TargetKind | None) -> None:
    """Notes what cannot both be said of one target."""
    has_paths = "key" in table or "certificate" in table
    if "key" in table and "certificate" not in table:
        table.note("certificate", "is missing; it goes together with key")
    if "certificate" in table and "key" not in table:
        table.note("key", "is missing; it goes together with certificate")
    if target.copy and not has_paths:
        table.note("copy", "is about key and certificate, which are missing")
    if has_paths and isinstance(target.reload, HotReload):
        table.note(
            "reload",
            "cannot be hot with key and certificate: the hot module reads the target's directory; "
            "leave them out",
        )
    if has_paths and kind and GenerationFile.PRIVKEY not in kind.files:
        table.note(
            "key" if "key" in table else "certificate",
            f"is not for {kind.name}, which reads key and chain from one file: let it read "
            f"{target.directory}/current/{GenerationFile.COMBINED}",
        )
    if target.copy and target.client_auth:
        table.note(
            "copy",
            "cannot be together with client_auth: only key and certificate are copied, not the "
            "CA and its revocation list; have the program read the target's directory",
        )
    if "settings" in table and kind and kind.name != "node-red":
        table.note("settings", 'is for kind = "node-red"')
    if target.group and not target.mode & 0o040:
        table.note("mode", f'"{target.mode:04o}" lets the group {target.group} read nothing')


def _probe_name(table: Table, domains: Sequence[str]) -> str:
    """The name to ask for in a handshake: as configured, else the first domain without a star."""
    name = table.read("probe_name", syntax.unstarred_domain, "")
    if name and domains and not covers(domains, name):
        table.note("probe_name", f"{shown(name)} is none of the certificate's domains")
    if "probe_name" in table:
        return name
    name = next((domain for domain in domains if not domain.startswith("*.")), "")
    if not name and domains and "probe" in table:
        example = shown(domains[0].replace("*", "www", 1))
        table.note(
            "probe_name", f"is missing: each domain has a star; write one name, as {example}"
        )
    return name


def note_misplaced(placed: Sequence[tuple[Table, TargetSpec]], state_directory: Path) -> None:
    """Notes every directory and fixed path that would have two writers."""
    state = plain(state_directory)
    directories: dict[Path, str] = {}
    for table, target in placed:
        directory = plain(target.directory)
        if not table.is_sound("name") or not table.is_sound("directory"):
            continue
        earlier = directories.setdefault(directory, table.path)
        if earlier != table.path:
            table.note("directory", f"{directory} is that of {earlier} too; they must differ")
        elif "directory" in table and not _keeps_clear(directory, state):
            table.note("directory", f"{directory} must keep clear of {state}, save its live/")
    for table, target in placed:
        if inside := [each for each in plain(target.directory).parents if each in directories]:
            table.note("directory", f"{inside[0]} is that of {directories[inside[0]]}, around it")
    _note_misplaced_paths(placed, {state, *directories})


def _note_misplaced_paths(placed: Sequence[tuple[Table, TargetSpec]], ours: set[Path]) -> None:
    paths: dict[Path, str] = {}
    for table, target in placed:
        for key, path in (("key", target.key_path), ("certificate", target.certificate_path)):
            if path is None:
                continue
            earlier = paths.setdefault(plain(path), table.path_of(key))
            if earlier != table.path_of(key):
                table.note(key, f"{path} is the same as {earlier}; they must differ")
            elif ours & set(plain(path).parents):
                table.note(
                    key,
                    f"{path} lies in a directory that certwarden fills by itself; where the "
                    "program reads that one already, leave key and certificate out",
                )


def _keeps_clear(directory: Path, state: Path) -> bool:
    if directory.is_relative_to(state):
        return state / "live" in directory.parents
    return not state.is_relative_to(directory)
