"""`certwarden snippet`: what to paste into another program, so that it works with certwarden."""

from argparse import Namespace
from collections.abc import Callable

from certwarden.cli.commands import DONE, read_config, unknown
from certwarden.cli.shapes import show_line
from certwarden.config import Config
from certwarden.errors import UsageError
from certwarden.model import CertificateSpec, TargetSpec

_Place = tuple[CertificateSpec, TargetSpec]

# The kind of target that each program is; uibuilder's own server is made by Node-RED.
_KINDS = {
    "node-red": "node-red",
    "nginx": "nginx",
    "mosquitto": "mosquitto",
    "haproxy": "haproxy",
    "uibuilder": "node-red",
}


def snippet(arguments: Namespace) -> int:
    """Prints the text for the program, filled in for the target."""
    config = read_config(arguments)
    if arguments.program in {"polkit", "systemd", "systemd-socket"}:
        text = _for_all_targets(config, arguments.program, arguments.target)
    else:
        certificate, target = _place(config, arguments.program, arguments.target)
        text = _renderer(arguments.program)(certificate, target)
    show_line(text.rstrip())
    return DONE


def _for_all_targets(config: Config, program: str, target: str | None) -> str:
    if target is not None:
        raise UsageError(
            f"what is for {program} is for all targets together",
            f"leave the target out: certwarden snippet {program}",
        )
    if program == "polkit":
        from certwarden.setup.polkit import polkit_rule

        return polkit_rule(config)
    from certwarden.setup.service import service_drop_in, socket_drop_in

    return service_drop_in(config) if program == "systemd" else socket_drop_in(config)


def _renderer(program: str) -> Callable[[CertificateSpec, TargetSpec], str]:
    match program:
        case "nginx":
            from certwarden.setup.nginx import nginx_snippet

            return nginx_snippet
        case "mosquitto":
            from certwarden.setup.mosquitto import mosquitto_snippet

            return mosquitto_snippet
        case "haproxy":
            from certwarden.setup.haproxy import haproxy_snippet

            return haproxy_snippet
        case "uibuilder":
            from certwarden.setup.uibuilder import uibuilder_snippet

            return uibuilder_snippet
        case "dnsmasq":
            from certwarden.setup.dnsmasq import dnsmasq_snippet

            return dnsmasq_snippet
        case _:
            from certwarden.targets.node_red.settings import snippet as node_red_snippet

            return lambda _, target: node_red_snippet(target)


def _place(config: Config, program: str, name: str | None) -> _Place:
    """The target of that name, or the only one of the program's kind, and its certificate."""
    kind = _KINDS.get(program)
    what = f"{kind} target" if kind else "target"
    places = {
        target.name: (certificate, target)
        for certificate in config.certificates
        for target in certificate.targets
        if kind is None or target.kind.name == kind
    }
    if name is not None:
        if name not in places:
            raise unknown(what, name, list(places))
        return places[name]
    if len(places) != 1:
        raise UsageError(
            f"the configuration has {len(places)} targets" + (f" of kind {kind}" if kind else ""),
            f"say which is meant: {', '.join(places)}" if places else "configure one first",
        )
    (place,) = places.values()
    return place
