"""What there is to say about a settings.js as it was inspected, and what to do about it. Pure."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from certwarden.frozen import frozen
from certwarden.model import TargetSpec
from certwarden.targets.node_red.settings import (
    Https,
    Inspection,
    MaterialFile,
    client_auth_contradiction,
)

_LONG_REFRESH_HOURS = 1
_OPEN_TO_ALL = 0o004
_LOOPBACK = ("127.", "::1", "localhost")
_HASH = (
    "run `node-red admin hash-pw`, and put what it prints into settings.js as the `password` of a "
    'user in `adminAuth: { type: "credentials", users: [{ username: "…", password: "…", '
    'permissions: "*" }] }`'
)
_APPLY = "run `certwarden nodered apply`, and restart Node-RED once"


@frozen
class Advice:
    """One sentence on what is wrong, and what to do; `is_grave`: it is not safe, or broken."""

    what: str
    remedy: str
    is_grave: bool


def advice(inspection: Inspection, spec: TargetSpec | None) -> tuple[Advice, ...]:
    """What a person should know about this settings.js, the gravest kinds of things first.

    `spec` is the configured target that it belongs to, if one does. Nothing, where all is well.
    """
    if inspection.error is not None:
        what = f"settings.js cannot be run: {inspection.error}"
        return (Advice(what, "correct it; Node-RED does not start with it either", is_grave=True),)
    found = (
        *_about_https(inspection, spec),
        *_about_logins(inspection),
        *_about_neighbours(inspection),
    )
    return tuple(sorted(found, key=lambda each: not each.is_grave))


def _about_https(inspection: Inspection, spec: TargetSpec | None) -> Iterator[Advice]:
    https = inspection.https
    if https is None or https.kind == "absent":
        if spec is not None and spec.kind.name == "node-red":
            yield Advice("Node-RED speaks plain HTTP: it has no `https`", _APPLY, is_grave=True)
        return
    if https.error is not None:
        yield Advice(f"`https` comes out as nothing: {https.error}", _APPLY, is_grave=True)
        return
    mark = https.certwarden
    if mark is not None and mark.error is not None:
        what = f"certwarden's line does not work: {mark.error}"
        yield Advice(what, _APPLY, is_grave=True)
        return
    if not https.is_usable:
        what = (
            f"Node-RED cannot serve with its `https`: {https.unusable_because or 'no certificate'}"
        )
        remedy = (
            f"run `certwarden deploy`, and see that Node-RED's user may read {mark.live}"
            if mark
            else _APPLY
        )
        yield Advice(what, remedy, is_grave=True)
    if spec is not None:
        yield from _about_the_target(inspection, https, spec)
    yield from _about_refreshing(inspection, https)
    for file in https.key_files:
        if file.mode is not None and int(file.mode, 8) & _OPEN_TO_ALL:
            name = file.realpath or file.path
            yield Advice(
                f"everybody on this machine may read the key {name} (mode {file.mode})",
                f"run `chmod o= {shlex.quote(name)}`, and have the certificate renewed with a new "
                "key",
                is_grave=True,
            )
    if inspection.ticket_keys and https.requests_client_certificates:
        yield Advice(
            "`ticketKeys` lets revoked clients resume their sessions",
            "take `ticketKeys` out of `https`",
            is_grave=True,
        )


def _about_the_target(inspection: Inspection, https: Https, spec: TargetSpec) -> Iterator[Advice]:
    mark = https.certwarden
    if mark is not None and mark.live and Path(mark.live) != spec.directory:
        yield Advice(
            f"settings.js reads {mark.live}, but {spec.name} is published to {spec.directory}",
            _APPLY,
            is_grave=True,
        )
    if mark is None:
        for file in (*https.key_files, *https.certificate_files):
            if not _is_kept(file, spec):
                yield Advice(
                    f"Node-RED reads {file.path}, which certwarden does not keep",
                    _APPLY,
                    is_grave=True,
                )
    if contradiction := client_auth_contradiction(inspection, spec):
        remedy = "run `certwarden nodered apply`, or correct `client_auth` in the configuration"
        yield Advice(contradiction, remedy, is_grave=True)


def _is_kept(file: MaterialFile, spec: TargetSpec) -> bool:
    fixed = {str(path) for path in (spec.key_path, spec.certificate_path) if path is not None}
    return any(
        name in fixed or Path(name).is_relative_to(spec.directory)
        for name in (file.path, file.realpath)
        if name is not None
    )


def _about_refreshing(inspection: Inspection, https: Https) -> Iterator[Advice]:
    hours = inspection.refresh_hours
    if not hours:
        return
    if not https.kind.startswith("function"):
        yield Advice(
            "`httpsRefreshInterval` does nothing: `https` is no function",
            "take `httpsRefreshInterval` out; certwarden's line needs none"
            if https.certwarden
            else _APPLY,
            is_grave=False,
        )
    elif hours > _LONG_REFRESH_HOURS and https.certwarden is None:
        yield Advice(
            f"Node-RED takes up a new certificate only every {hours:g} h",
            f"set `httpsRefreshInterval: {_LONG_REFRESH_HOURS}`, or {_APPLY}",
            is_grave=False,
        )


def _about_logins(inspection: Inspection) -> Iterator[Advice]:
    if inspection.has_sample_password:
        yield Advice(
            'a password in settings.js is the sample\'s, which is "password"', _HASH, is_grave=True
        )
    if inspection.is_editor_protected or _keeps_strangers_out(inspection):
        return
    if inspection.lets_everybody_edit:
        yield Advice(
            "`adminAuth` lets everybody do everything without a login",
            'take `"*"` out of `permissions` in the `default` of `adminAuth`',
            is_grave=True,
        )
    else:
        yield Advice(
            "everybody who reaches Node-RED may change its flows: the editor has no login",
            _HASH,
            is_grave=True,
        )


def _keeps_strangers_out(inspection: Inspection) -> bool:
    https = inspection.https
    if https is not None and https.refuses_strangers:
        return True
    return (inspection.ui_host or "").startswith(_LOOPBACK)


def _about_neighbours(inspection: Inspection) -> Iterator[Advice]:
    if inspection.uibuilder_without_certificate:
        where = f" at port {inspection.uibuilder_port}" if inspection.uibuilder_port else ""
        yield Advice(
            f"uibuilder's own server{where} gets no certificate: `https` is a function",
            f"{_APPLY}, or give uibuilder an `https` of its own",
            is_grave=True,
        )
