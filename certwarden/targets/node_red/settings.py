"""What a settings.js of Node-RED says about TLS, and the line that it should have.

settings.js is a program: it is run, by `inspect.js`, as the user that Node-RED runs as, with that
user's home as its working directory (as Node-RED's own systemd unit has it: relative names in it
resolve there). It may have side effects, and what comes back may be anything: every value is
checked here before it is believed to be of its type, and cleaned.
"""

import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, TypeVar

from certwarden.errors import TargetError, clean
from certwarden.model import TargetSpec
from certwarden.targets import foreign
from certwarden.targets.process import Finished, Identity, Limits, harmless_environment, run

INSPECTION_LIMITS = Limits(seconds=10, output=64 * 1024)
# Limits that a child sets upon itself hold whoever it runs as, and for all that it starts: of
# seconds of work, core dumps, and KiB of memory.
_ULIMITS = "{ ulimit -t 10; ulimit -c 0; ulimit -d 1048576; } 2>/dev/null"
_WITH_LIMITS = ("/bin/sh", "-c", f'{_ULIMITS}; exec "$@"', "sh")
_PACKAGE = "certwarden.targets.node_red"
_MAX_ITEMS = 50
_MODE = re.compile(r"[0-7]{4}", re.ASCII)
_T = TypeVar("_T")
_LOGINS = {"credentials", "strategy", "function"}
_KINDS = {"absent", "object", "function", "promise", "function-returning-promise", "invalid"}


@dataclass(frozen=True)
class MaterialFile:
    """A file that settings.js has read from; what is None could not be looked at."""

    path: str
    realpath: str | None
    mode: str | None  # octal, four digits
    uid: int | None


@dataclass(frozen=True)
class Leaf:
    """The certificate that Node-RED would serve, as Node reads it."""

    names: tuple[str, ...]
    not_before: str
    not_after: str
    fingerprint: str


@dataclass(frozen=True)
class Certwarden:
    """certwarden's own line in settings.js: what it watches, and why it does not work."""

    live: str
    client_auth: bool
    error: str | None


@dataclass(frozen=True)
class Https:
    """What `https` came out as; `error`: why it did not come out at all."""

    kind: str  # absent | object | function | promise | function-returning-promise | invalid
    error: str | None
    certwarden: Certwarden | None
    key_files: tuple[MaterialFile, ...]
    certificate_files: tuple[MaterialFile, ...]
    requests_client_certificates: bool
    is_usable: bool
    unusable_because: str | None
    leaf: Leaf | None
    refuses_strangers: bool = False  # those without a certificate that it asks for


@dataclass(frozen=True)
class Inspection:
    """What settings.js says; `error`: why it could not be run, and then there is nothing more."""

    settings: Path
    error: str | None
    node: str
    https: Https | None
    refresh_hours: float | None  # httpsRefreshInterval
    ui_host: str | None
    ui_port: str | None
    uibuilder_without_certificate: bool
    blocked: tuple[str, ...]  # what it tried to do beside answering
    is_editor_protected: bool  # by a login (adminAuth), or because there is none
    has_sample_password: bool  # the hash of "password" that settings.js shows as its example
    ticket_keys: bool  # sessions can be resumed, whatever the list of revoked ones says
    uibuilder_port: str | None
    is_editor_disabled: bool
    lets_everybody_edit: bool = False  # adminAuth gives those without a login every right
    exports: tuple[str, ...] = ()  # each setting's name and the type of its value


def inspect(
    settings: Path,
    *,
    node: Path | None = None,
    user: str | None = None,
    source: bytes | None = None,
) -> Inspection:
    """Runs settings.js and says what it exports; `node` is the program that runs Node-RED.

    `user` is who Node-RED runs as; without one, root runs it as whoever settings.js belongs to.
    `source` is run as if it stood in settings.js. Takes 10 s at most. Raises TargetError where it
    cannot be run at all; a mistake in settings.js itself is part of the answer.
    """
    program = _find_node(node)
    settings = settings.absolute()
    identity = _identity_for(settings, user)

    def evaluate() -> bytes:
        return json.dumps(_evaluate(settings, program, identity, source)).encode()

    # Only root can start what is somebody else; and we need not wait for what it cannot end.
    answer = evaluate() if identity is None else foreign.run_as(Identity(0, 0), [], evaluate)
    return read_inspection(settings, json.loads(answer))


def owner_of(settings: Path) -> Identity:
    """Who could have written it: see `foreign.owner_of`; raises TargetError."""
    try:
        return foreign.owner_of(settings)
    except OSError as error:
        raise TargetError(
            f"{name_of(settings)} cannot be read: {error.strerror}", "name Node-RED's settings.js"
        ) from None


def name_of(settings: Path) -> str:
    """Its path as it may stand in a sentence: others choose the names on the way."""
    return clean(str(settings))


def read_inspection(settings: Path, answer: Mapping[str, Any]) -> Inspection:
    """The answer of `inspect.js` with every value checked; what is not of its type is left out."""
    https, uibuilder = _mapping(answer.get("https")), _mapping(answer.get("uibuilder"))
    login = _mapping(answer.get("admin_auth"))
    auths = (login, *(_mapping(answer.get(f"http_{kind}_auth")) for kind in ("node", "static")))
    has_no_editor = answer.get("disable_editor") is True or answer.get("http_admin_root") is False
    lets_everybody_edit = login.get("everyone_may_do_everything") is True
    error = _text(answer.get("error"))
    return Inspection(
        settings=settings,
        error=error,
        node=_text(answer.get("node")) or "",
        https=_https(https) if https and error is None else None,
        refresh_hours=_number(answer.get("https_refresh_interval")),
        ui_host=_text(answer.get("ui_host")),
        ui_port=_scalar(answer.get("ui_port")),
        uibuilder_without_certificate=uibuilder.get("without_certificate") is True,
        blocked=_each(answer.get("blocked"), _text),
        is_editor_protected=has_no_editor
        or (_text(login.get("kind")) in _LOGINS and not lets_everybody_edit),
        has_sample_password=any(each.get("sample_password") is True for each in auths),
        ticket_keys=https.get("ticket_keys") is True,
        uibuilder_port=_scalar(uibuilder.get("port")),
        is_editor_disabled=has_no_editor,
        lets_everybody_edit=lets_everybody_edit,
        exports=_each(answer.get("exports"), _text),
    )


def https_line(spec: TargetSpec) -> str:
    """The property that has Node-RED take up what is published for this target."""
    live = json.dumps(str(spec.directory))
    options = f"live: {live}, clientAuth: true" if spec.client_auth else f"live: {live}"
    return f"https: require({_module('hot.js')})({{ {options} }})"


def identity_line() -> str:
    """The property that tells flows whose certificate it was."""
    return f"httpNodeMiddleware: require({_module('identity.js')})"


def snippet(spec: TargetSpec) -> str:
    """The lines for settings.js that have Node-RED take up what is published for this target.

    Where it asks its clients for certificates, flows learn whose they are as well.
    """
    lines = [
        "// certwarden: HTTPS by certificates that are taken up without a restart.",
        "// It belongs inside module.exports = { … }, in place of any other `https`.",
        f"{https_line(spec)},",
    ]
    if spec.client_auth:
        identity = _module("identity.js")
        lines += [
            "// Whose certificate it was: msg.req.certwarden.name after an http-in node.",
            f"{identity_line()},",
            "// The same as msg._client.name in uibuilder; belongs inside its uibuilder: { … }.",
            f"// hooks: require({identity}).uibuilder,",
            "// The same as msg._client.certwarden.name in Dashboard 2.",
            f"// nodesDir: {json.dumps(str(resources(_PACKAGE)))},",
        ]
    return "\n".join(lines) + "\n"


def client_auth_contradiction(inspection: Inspection, spec: TargetSpec) -> str:
    """How settings.js and the configured target differ about client certificates, or ""."""
    https = inspection.https
    if https is None or https.kind == "absent":
        return ""
    asks = https.certwarden.client_auth if https.certwarden else https.requests_client_certificates
    if spec.client_auth and not asks:
        return f"settings.js asks nobody for a certificate, but {spec.name} has client_auth"
    if asks and https.certwarden and not spec.client_auth:
        return f"settings.js has clientAuth, but {spec.name} has no client_auth: nobody gets in"
    return ""


def _module(name: str) -> str:
    """A packaged module's path, as a string of JavaScript."""
    return json.dumps(str(resources(_PACKAGE) / name))


def _find_node(node: Path | None) -> str:
    found = shutil.which(node or "node")
    if found is None:
        raise TargetError(
            f"there is no {node or 'node'} to run settings.js with",
            "name the node that runs Node-RED",
        )
    return found


def _evaluate(
    settings: Path, program: str, identity: Identity | None, source: bytes | None
) -> Mapping[str, Any]:
    home = _home_of(os.geteuid() if identity is None else identity.uid, settings)
    script = resources(_PACKAGE) / "inspect.js"
    further = [] if source is None else ["-"]
    try:
        with _lent(source) as stdin:
            finished = run(
                (*_WITH_LIMITS, program, str(script), str(settings), *further),
                INSPECTION_LIMITS,
                environment={**harmless_environment(), "HOME": str(home)},
                directory=home,
                identity=identity,
                stdin=stdin,
            )
    except OSError as error:
        raise TargetError(
            f"{program} cannot be started in {clean(str(home))}: "
            f"{clean(error.strerror or str(error))}",
            "see whether Node-RED's user may enter that directory",
        ) from None
    return _answer(finished, settings)


@contextmanager
def _lent(source: bytes | None) -> Iterator[int]:
    """A descriptor to read the source from: it may hold secrets, and is on no disk."""
    if source is None:
        yield subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("settings.js"), "w+b") as file:
        file.write(source)
        file.seek(0)
        yield file.fileno()


def _identity_for(settings: Path, user: str | None = None) -> Identity | None:
    """Whom to run it as: Node-RED's user, else whoever could have written it; None for ourselves.

    What another user has written is never run with our rights, unless that user is root.
    """
    if user is not None and foreign.is_root():
        return _with_groups(_identity_of(user, settings))
    owner = owner_of(settings)
    if owner.uid == os.geteuid() != 0:
        return None
    again = f"certwarden nodered inspect {shlex.quote(name_of(settings))}"
    if not foreign.is_root():
        if owner.uid == 0:
            return None
        raise TargetError(
            f"{name_of(settings)} is a program, and belongs to another user",
            f"have it run as that user: sudo {again}",
        )
    if owner.uid == 0:
        raise TargetError(
            f"{name_of(settings)} is a program, it belongs to root, and it is not run as root",
            f"run it as Node-RED's user: sudo -u USER {again}",
        )
    return _with_groups(owner)


def _with_groups(identity: Identity) -> Identity:
    return replace(identity, groups=tuple(foreign.groups_of(identity)))


def _identity_of(user: str, settings: Path) -> Identity:
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise TargetError(
            f"there is no user {clean(user, 60)}, whom Node-RED is said to run as",
            "name another, or make that user",
        ) from None
    if found.pw_uid == 0:
        raise TargetError(
            f"Node-RED runs as root, and {name_of(settings)} is a program that is not run as root "
            "here",
            "have Node-RED run as a user of its own, or change settings.js by hand",
        )
    return Identity(found.pw_uid, found.pw_gid)


def _home_of(uid: int, settings: Path) -> Path:
    try:
        home = Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return settings.parent
    return home if home.is_dir() else settings.parent


def _answer(finished: Finished, settings: Path) -> Mapping[str, Any]:
    if finished.status is None:
        raise TargetError(
            f"{name_of(settings)} did not come to an end within {INSPECTION_LIMITS.seconds:.0f} s",
            "see what it waits for when it is loaded",
        )
    try:
        answer = json.loads(finished.output)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise TargetError(
            f"the inspection of {name_of(settings)} came to nothing "
            f"(exit status {finished.status})",
            "check that this user may read it, and that `node --version` is 18 or newer",
        )
    return answer


def _https(answer: Mapping[str, Any]) -> Https:
    items, mark, leaf = (_mapping(answer.get(name)) for name in ("items", "certwarden", "leaf"))
    kind = answer.get("kind")
    return Https(
        kind=kind if isinstance(kind, str) and kind in _KINDS else "invalid",
        error=_text(answer.get("error")),
        certwarden=Certwarden(
            live=_text(mark.get("live")) or "",
            client_auth=mark.get("client_auth") is True,
            error=_text(mark.get("error")),
        )
        if mark
        else None,
        key_files=_each(_mapping(items.get("key")).get("files"), _file),
        certificate_files=_each(_mapping(items.get("cert")).get("files"), _file),
        requests_client_certificates=answer.get("request_cert") is True,
        is_usable=answer.get("usable") is True,
        unusable_because=_text(answer.get("unusable_because")),
        leaf=Leaf(
            names=_each(leaf.get("names"), _text),
            not_before=_text(leaf.get("not_before")) or "",
            not_after=_text(leaf.get("not_after")) or "",
            fingerprint=_text(leaf.get("fingerprint_sha256")) or "",
        )
        if leaf
        else None,
        refuses_strangers=answer.get("request_cert") is True
        and answer.get("reject_unauthorized") is True,
    )


def _file(value: object) -> MaterialFile | None:
    found = _mapping(value)
    path, mode, uid = _text(found.get("path")), _text(found.get("mode")), found.get("uid")
    if path is None:
        return None
    return MaterialFile(
        path=path,
        realpath=_text(found.get("realpath")),
        mode=mode if mode and _MODE.fullmatch(mode) else None,
        uid=uid if type(uid) is int else None,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _each(value: object, read: Callable[[object], _T | None]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(item for each in value[:_MAX_ITEMS] if (item := read(each)) is not None)


def _text(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    """A finite one, of a size that makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e9 else None


def _scalar(value: object) -> str | None:
    return _text(str(value)) if type(value) in (int, float, str) else None
