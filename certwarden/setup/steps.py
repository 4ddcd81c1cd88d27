"""The way from an installed configuration to a certificate that is seen in use.

Each step looks first whether it is done, so that an interrupted set-up goes on where it stopped.
What a command does anyway is left to that command (`commands`); here is their order, and what only
root can do: Node-RED's settings.js and its one restart.
"""

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from certwarden.clock import SystemClock
from certwarden.config import Config
from certwarden.errors import Error, UsageError
from certwarden.files import read_file
from certwarden.model import Address, Secret, TargetSpec
from certwarden.pki.certificate import MAX_CHAIN_BYTES
from certwarden.setup import unfinished
from certwarden.setup.answers import FirstClient
from certwarden.setup.commands import Certwarden, CommandError
from certwarden.setup.find import NodeRed
from certwarden.setup.install import Ground
from certwarden.setup.outline import SERVICE, targets
from certwarden.targets.node_red.apply import Proposal, propose_removal, put

Tell = Callable[[str], None]

AGAIN = "correct that and run `sudo certwarden setup` again: it goes on from here"
_IN_USE = "in-use"
_CODE = """\
It is made. Write its recovery code down, and keep it away from this machine:
with that code and a backup the CA can be opened when all else is lost."""
_DEPLOY = "Then run `sudo certwarden deploy`: there is no service that would do it."
_PATIENCE = 120.0  # seconds that Node-RED may take to start, on the slowest Raspberry Pi
_POLL = 0.5


class SetupError(Error):
    """A step came to nothing; what was done before it stands."""


@dataclass(frozen=True)
class Line:
    """certwarden's line for a settings.js, as proposed, and the Node-RED that reads it.

    `proposal` is None where it cannot be put in by a program: `why` says why, `hint` what then.
    """

    node_red: NodeRed
    spec: TargetSpec
    proposal: Proposal | None
    why: str = ""
    hint: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the file has it already."""
        return self.proposal is not None and not self.proposal.diff


def has_certificate(certwarden: Certwarden) -> bool:
    """Whether each configured certificate is stored."""
    return all(each["serial"] for each in _certificates(certwarden, "--offline"))


def obtain(certwarden: Certwarden, config: Config, tell: Tell) -> None:
    """A rehearsal at the staging directory, where there is one; then the certificates, stored."""
    if has_certificate(certwarden):
        tell("\nThe certificate is there already.")
    elif config.acme.staging_directory_url:
        tell("\nA rehearsal at the CA's staging directory, whose certificates nobody trusts:")
        if certwarden.run("renew", "--dry-run"):
            raise SetupError("the rehearsal failed, and nothing was ordered", AGAIN)
        tell("\nNow in earnest:")
    if certwarden.run("renew", "--no-deploy"):
        raise SetupError("no certificate was obtained", AGAIN)


def restore_authority(
    certwarden: Certwarden, config: Config, backup: Path, passphrase: Secret, ground: Ground
) -> None:
    """The private CA from its backup, with the certificates obtained anew; nothing deployed."""
    if has_authority(config.state_directory, ground):
        return
    with os.fdopen(os.memfd_create("passphrase"), "w+b") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(passphrase.reveal())
        file.flush()
        lent = file.fileno()
        words = ("ca", "restore", backup, "--no-deploy", "--password-file", f"/dev/fd/{lent}")
        if certwarden.run(*words, descriptor=lent) and not has_authority(
            config.state_directory, ground
        ):
            raise SetupError("the private CA could not be brought back", AGAIN)


def found_authority(certwarden: Certwarden, config: Config, ground: Ground, tell: Tell) -> None:
    """The private CA, if it is configured and not there yet."""
    if config.authority is None or has_authority(config.state_directory, ground):
        return
    tell("\nThe private CA:")
    if certwarden.run("ca", "init", is_silent=True):
        raise SetupError("the private CA could not be made", AGAIN)
    tell(_CODE)


def put_to_use(
    certwarden: Certwarden, line: Line | None, ground: Ground, tell: Tell, *, is_service: bool
) -> None:
    """Node-RED gets its line and is restarted, once; then the certificate is seen to be served.

    Where it is not, settings.js is put back as it was, and Node-RED with it; raises SetupError. So
    it is where we are interrupted; what kills us is made good by the next run. `is_service`: the
    service is started afterwards.
    """
    if line is None:
        _deploy(certwarden)
        return
    if line.proposal is None or not line.node_red.unit:
        tell(_put(line))
        tell(_by_hand(line))  # and what is published then is the service's first pass
        if not is_service:
            tell(_DEPLOY)
        return
    if not line.node_red.is_active:
        tell(_put(line))
        _deploy(certwarden)
        tell(_by_hand(line))
        return
    earlier = unfinished.noted(ground)
    is_ours = not line.is_there or (earlier is not None and earlier.is_about(line.node_red))
    if not line.is_there or not _is_served(certwarden, line.spec):
        if is_ours:
            unfinished.note(ground, line.node_red)
        _restart_with(certwarden, line, ground, tell, is_ours=is_ours)
    unfinished.forget(ground)


def _restart_with(
    certwarden: Certwarden, line: Line, ground: Ground, tell: Tell, *, is_ours: bool
) -> None:
    """The restart with the line; one that `is_ours`, put in now or by an earlier run, is taken out
    again where Node-RED does not serve the certificate with it.
    """
    unit, is_put = line.node_red.unit, False
    try:
        said = _put(line)
        is_put = True
        tell(said)
        tell(f"{unit} is restarted …")
        _restart(ground, line)
        _deploy(certwarden)
        _see(certwarden, line)
    except Error as failure:
        if not is_put:  # and so nothing was stopped
            unfinished.forget(ground)
            raise
        if is_ours:
            became = _put_back(line, ground)
            raise SetupError(f"{failure.what}; {became}", _log(unit)) from None
        raise SetupError(f"{failure.what}", failure.hint or _log(unit)) from None
    except BaseException:
        if is_ours:
            became = _put_back(line, ground)
            with suppress(Error, OSError):  # of a terminal that may be gone
                tell(f"Interrupted; {became}.")
        raise


def has_clients(certwarden: Certwarden) -> bool:
    """Whether somebody has a valid client certificate; not so where there is no CA yet."""
    try:
        known = certwarden.told("client", "list", "--json")
    except CommandError:
        return False
    return any(each["state"] == "valid" for each in known)


def has_authority(state_directory: Path, ground: Ground) -> bool:
    """Whether the private CA is there."""
    return ground.has(state_directory / "authority" / "root.pem")


def refuse_other_authority(state_directory: Path, root_pem: bytes, ground: Ground) -> None:
    """Raises UsageError where there is a private CA already, and it is another one than this."""
    if not has_authority(state_directory, ground):
        return
    place = state_directory / "authority"
    try:
        found = read_file(ground.place(place / "root.pem"), MAX_CHAIN_BYTES)
    except OSError:
        found = b""
    if found != root_pem:
        raise UsageError(
            f"there is a private CA already, in {place}, and it is not the backup's",
            "nothing was changed; leave --restore out, or see `certwarden ca show` and move that "
            "directory away if that CA is no longer wanted",
        )


def issue_first(certwarden: Certwarden, client: FirstClient, tell: Tell) -> None:
    """The first client's certificate, unless it has one."""
    known = certwarden.told("client", "list", "--json")
    if any(each["name"] == client.name and each["state"] == "valid" for each in known):
        tell(f"{client.name} has a certificate already.")
        return
    words: list[str | Path] = ["client", "issue", client.name, "--format", client.form]
    if client.out:
        words += ["--out", client.out]
    if client.password_file:
        words += ["--password-file", client.password_file]
    tell(f"\nA certificate for {client.name}:")
    if certwarden.run(*words):
        raise SetupError(f"no certificate for {client.name} was made", AGAIN)


def enable(ground: Ground, *, is_changed: bool) -> None:
    """The service, from now on and after each start of the machine."""
    ground.command("systemctl", "enable", "--quiet", SERVICE)
    ground.command("systemctl", "restart" if is_changed else "start", SERVICE)


def restart(ground: Ground, unit: str) -> None:
    """Restarts a unit."""
    ground.command("systemctl", "restart", unit)


def served(certwarden: Certwarden, config: Config) -> list[str]:
    """What is served where, in a line each."""
    lines = []
    for each in _certificates(certwarden):
        lines.append(f"{', '.join(each['domains'])}")
        lines.append(f"  issuer       {each['issuer']}")
        lines.append(f"  until        {each['not_after']}")
        lines.append(f"  fingerprint  {each['fingerprint_sha256']}")
        places = {target.name: target.probe for target in targets(config)}
        for target in each["targets"]:
            where = places.get(target["name"])
            seen = f"served at {where}" if target["state"] == _IN_USE else target["state"]
            lines.append(f"  {target['name']:<12} {seen}")
    return lines


def await_port(address: Address, *, patience: float = _PATIENCE) -> bool:
    """Waits until somebody listens there; whether somebody does."""
    clock = SystemClock()
    deadline = clock.monotonic() + patience
    while clock.monotonic() < deadline:
        try:
            socket.create_connection((address.host, address.port), timeout=_POLL * 4).close()
        except OSError:
            clock.sleep(_POLL)
        else:
            return True
    return False


def _put(line: Line) -> str:
    """Puts the line in; says what became of the file."""
    settings = line.node_red.settings
    if line.proposal is None:
        return f"{settings} is left as it is: {line.why}.\n{line.hint}"
    if line.is_there:
        return f"\n{settings} has certwarden's line already."
    backup = put(line.proposal)
    return f"\n{settings} has certwarden's line now; as it was: {backup.name}"


def _restart(ground: Ground, line: Line) -> None:
    unit, address = line.node_red.unit, line.spec.probe
    restart(ground, unit)
    if address and not await_port(address):
        raise SetupError(f"{unit} does not listen at {address} after its restart", _log(unit))


def _see(certwarden: Certwarden, line: Line) -> None:
    if not _is_served(certwarden, line.spec):
        raise SetupError(f"{line.node_red.unit} does not serve the certificate")


def _put_back(line: Line, ground: Ground) -> str:
    """settings.js as it was before the line, and Node-RED with it; says what became of it."""
    settings, unit = line.node_red.settings, line.node_red.unit
    try:
        put(_taken_out(line))
        _restart(ground, line)
    except Error as error:
        return f"{settings} could not be put back: {error.what}"
    unfinished.forget(ground)
    return f"{settings} is as it was before, and {unit} runs with it again"


def _taken_out(line: Line) -> Proposal:
    """The line's removal, whoever of us has put it in."""
    proposal, node_red = line.proposal, line.node_red
    if proposal is None or line.is_there:
        return propose_removal(node_red.settings, node=node_red.node, user=node_red.user)
    return replace(proposal, text=proposal.original, original=proposal.text)


def _by_hand(line: Line) -> str:
    who = line.node_red.name
    if line.proposal is None:
        return f"When the lines are in, restart {who}."
    if line.node_red.unit:
        return f"{who} is not running, and is not started; the next time it serves HTTPS."
    return f"Restart {who} by hand, once; the next time it serves HTTPS."


def _deploy(certwarden: Certwarden) -> None:
    if certwarden.run("deploy"):
        raise SetupError("the certificate is not in use everywhere", AGAIN)


def _is_served(certwarden: Certwarden, spec: TargetSpec) -> bool:
    states = {
        target["name"]: target["state"]
        for each in _certificates(certwarden)
        for target in each["targets"]
    }
    return bool(states.get(spec.name) == _IN_USE)


def _certificates(certwarden: Certwarden, *options: str) -> list[Mapping[str, Any]]:
    return list(certwarden.told("status", "--json", *options)["certificates"])


def _log(unit: str) -> str:
    return f"see `journalctl -u {unit}`"
