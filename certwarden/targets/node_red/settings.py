"""What a settings.js of Node-RED says about TLS, and the line that it should have.

settings.js is a program: it is run, by `inspect.js`, as the user that Node-RED runs as, with that
user's home as its working directory (as Node-RED's own systemd unit has it: relative names in it
resolve there). It may have side effects, and what comes back may be anything: every value is
checked here before it is believed to be of its type, and cleaned.
"""

import json
import os
import pwd
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, TypeVar

from certwarden.errors import TargetError, clean
from certwarden.model import TargetSpec
from certwarden.targets import foreign
from certwarden.targets.process import Finished, Identity, Limits, harmless_environment, run

INSPECTION_LIMITS = Limits(seconds=10, output=64 * 1024)
# Limits that a child sets upon itself hold whoever it runs as, and for all that it starts.
_WITH_LIMITS = ("/bin/sh", "-c", 'ulimit -t 10; ulimit -c 0; exec "$@"', "sh")
_PACKAGE = "certwarden.targets.node_red"
_MAX_ITEMS = 50
_T = TypeVar("_T")
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


def inspect(settings: Path, *, node: Path | None = None) -> Inspection:
    """Runs settings.js and says what it exports; `node` is the program that runs Node-RED.

    Takes 10 s at most. As root it runs as whoever settings.js belongs to. Raises TargetError where
    it cannot be run at all; a mistake in settings.js itself is part of the answer.
    """
    program = _find_node(node)
    settings = settings.absolute()
    identity = _identity_for(settings)
    home = _home_of(os.geteuid() if identity is None else identity.uid, settings)
    script = resources(_PACKAGE) / "inspect.js"
    try:
        finished = run(
            (*_WITH_LIMITS, program, str(script), str(settings)),
            INSPECTION_LIMITS,
            environment={**harmless_environment(), "HOME": str(home)},
            directory=home,
            identity=identity,
        )
    except OSError as error:
        raise TargetError(
            f"{program} cannot be started in {home}: {clean(error.strerror or str(error))}",
            "see whether Node-RED's user may enter that directory",
        ) from None
    return read_inspection(settings, _answer(finished, settings))


def read_inspection(settings: Path, answer: Mapping[str, Any]) -> Inspection:
    """The answer of `inspect.js` with every value checked; what is not of its type is left out."""
    https, uibuilder = _mapping(answer.get("https")), _mapping(answer.get("uibuilder"))
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
    )


def snippet(spec: TargetSpec) -> str:
    """The lines for settings.js that have Node-RED take up what is published for this target.

    Where it asks its clients for certificates, flows learn whose they are as well.
    """
    live = json.dumps(str(spec.directory))
    options = f"live: {live}, clientAuth: true" if spec.client_auth else f"live: {live}"
    lines = [
        "// certwarden: HTTPS by certificates that are taken up without a restart.",
        "// It belongs inside module.exports = { … }, in place of any other `https`.",
        f"https: require({_module('hot.js')})({{ {options} }}),",
    ]
    if spec.client_auth:
        identity = _module("identity.js")
        lines += [
            "// Whose certificate it was: msg.req.certwarden.name after an http-in node.",
            f"httpNodeMiddleware: require({identity}),",
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


def _identity_for(settings: Path) -> Identity | None:
    """Whom to run it as: whoever could have written it; None where those are we.

    What another user has written is never run with our rights, unless that user is root.
    """
    try:
        owner = foreign.owner_of(settings)
    except OSError as error:
        raise TargetError(
            f"{settings} cannot be read: {error.strerror}", "name Node-RED's settings.js"
        ) from None
    if os.geteuid() != 0:
        if owner.uid in (0, os.geteuid()):
            return None
        raise TargetError(
            f"{settings} is a program, and belongs to another user",
            f"have it run as that user: sudo certwarden nodered inspect {settings}",
        )
    if owner.uid == 0:
        raise TargetError(
            f"{settings} is a program, it belongs to root, and it is not run as root",
            f"run it as Node-RED's user: sudo -u USER certwarden nodered inspect {settings}",
        )
    return owner


def _home_of(uid: int, settings: Path) -> Path:
    try:
        home = Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return settings.parent
    return home if home.is_dir() else settings.parent


def _answer(finished: Finished, settings: Path) -> Mapping[str, Any]:
    if finished.status is None:
        raise TargetError(
            f"{settings} did not come to an end within {INSPECTION_LIMITS.seconds:.0f} s",
            "see what it waits for when it is loaded",
        )
    try:
        answer = json.loads(finished.output)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise TargetError(
            f"the inspection of {settings} came to nothing (exit status {finished.status})",
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
    )


def _file(value: object) -> MaterialFile | None:
    found = _mapping(value)
    path, uid = _text(found.get("path")), found.get("uid")
    if path is None:
        return None
    return MaterialFile(
        path=path,
        realpath=_text(found.get("realpath")),
        mode=_text(found.get("mode")),
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
