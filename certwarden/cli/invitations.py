"""`certwarden client invite`: a certificate handed out by a QR code, by the command itself.

All that can be refused is refused before anything is written. The link goes to the terminal, or
with --json to whoever reads our output, and nowhere else. Who may have a certificate is
`lifecycle.invite`'s to say; how it is handed out, `enrolment`'s.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from certwarden.cli.authority import open_authority, open_key
from certwarden.cli.commands import DONE, FAILED, read_config
from certwarden.cli.render_clients import show_withdrawal
from certwarden.cli.shapes import date_text, show_line, time_text
from certwarden.cli.terminal import has_terminal, say, show_drawing
from certwarden.config import Config
from certwarden.config.syntax import UnfitError, duration, ip_address, unstarred_domain
from certwarden.enrolment.place import (
    DEFAULT_PORT,
    astray,
    choose_host,
    lan_address,
    open_door,
    reach,
)
from certwarden.enrolment.qr import draw
from certwarden.enrolment.reception import Reception
from certwarden.enrolment.tls import servable
from certwarden.errors import Error, UsageError
from certwarden.lifecycle.authority import trusted_now
from certwarden.lifecycle.invite import InvitationRequest, lost, withdraw_invitation
from certwarden.lifecycle.invite import invite as write_invitation
from certwarden.lifecycle.links import certificate_for, link, link_hosts
from certwarden.lifecycle.lists import SUPERSEDED_AFTER
from certwarden.lifecycle.withdraw import withdraw
from certwarden.model import Address, Enrolment, Invitation, RevocationReason, Secret
from certwarden.pki.authority import check_identity
from certwarden.ports import Level
from certwarden.targets.ways import own_addresses

if TYPE_CHECKING:
    from certwarden.wiring import Warden

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)


@dataclass(frozen=True)
class _Place:
    """Where people are to come: the name in the link, and the address that is listened at."""

    host: str
    address: Address
    is_fixed: bool
    warnings: tuple[str, ...]


def invite(arguments: Namespace) -> int:
    """Invites a client, and serves until it has its certificate, or the time is over."""
    request = _request(arguments)
    listen, host = _listen_address(arguments.listen), _host(arguments.host)
    config = read_config(arguments)
    with open_authority(arguments, config) as (warden, _):
        place = _place(warden, config, listen, host)
        reception = Reception(warden, config.certificates, place.host)
        if not (arguments.json or has_terminal()):
            raise UsageError(
                "there is no terminal to show the link on, so nobody was invited",
                "run it in a terminal, or let a program read the link: --json",
            )
        with open_door(place.address, is_fixed=place.is_fixed) as door:
            open_key(warden)
            warden.signing_key()  # a slip of the finger is told now, not to who has come
            is_good = _revoke_lost(warden, config, request.name, is_quiet=arguments.json)
            invitation, token = write_invitation(warden, request)
            with _withdrawn_in_the_end(warden, invitation, is_quiet=arguments.json):
                at = Address(place.address.host, door.getsockname()[1])
                _tell_where(warden, place, at, invitation)
                url = link(place.host, at.port, token)
                _show(invitation, url, at, is_json=arguments.json)
                reception.receive(door, lambda: _is_over(warden, invitation))
                _tell_end(warden, invitation, is_quiet=arguments.json)
    return DONE if is_good else FAILED


# ── what is asked for ─────────────────────────────────────────────────────────────────────────────


def _request(arguments: Namespace) -> InvitationRequest:
    check_identity(arguments.name, arguments.email)
    try:
        open_for = duration(SHORTEST, LONGEST)(arguments.open_for)
    except UnfitError as error:
        raise UsageError(f"--for {error}", "such as 10m, 2h or 3d") from None
    return InvitationRequest(
        arguments.name,
        email=arguments.email,
        lifetime=None if arguments.days is None else timedelta(days=arguments.days),
        enrolment=Enrolment.EST if arguments.est else Enrolment.PAGE,
        open_for=open_for,
    )


def _listen_address(text: str | None) -> Address | None:
    """What --listen says; its port may be 0 for any that is free."""
    if text is None:
        return None
    is_any = text.endswith(":0")
    try:
        address = ip_address(f"{text.removesuffix('0')}1" if is_any else text)
    except UnfitError as error:
        raise UsageError(f"--listen {error}", "such as 192.0.2.10:8443, or [::]:8443") from None
    return replace(address, port=0) if is_any else address


def _host(text: str | None) -> str | None:
    try:
        return None if text is None else unstarred_domain(text)
    except UnfitError as error:
        raise UsageError(f"--host {error}", "such as pi.example.org") from None


# ── where it is handed out ────────────────────────────────────────────────────────────────────────


def _place(warden: "Warden", config: Config, listen: Address | None, host: str | None) -> _Place:
    stored = servable(warden, config.certificates)
    if not stored:
        raise UsageError(
            "there is no valid server certificate in the store to serve by",
            "obtain one: certwarden renew",
        )
    if host is not None and certificate_for(host, stored) is None:
        names = {name for each in stored.values() for name in each.certificate.names}
        raise UsageError(
            f"no stored certificate is for {host}",
            f"there are those for {', '.join(sorted(names))}",
        )
    candidates = link_hosts(config.certificates, stored) if host is None else (host,)
    led, ours = warden.host_addresses().look_here(candidates), own_addresses()
    host = choose_host(candidates, led, ours)
    address = listen or (config.authority and config.authority.invite_listen)
    address = address or Address(lan_address(led[host], ours), DEFAULT_PORT)
    warnings = [] if address.is_loopback else [astray(host, led[host], ours)]
    warnings.append(reach(address.host, ours))
    is_fixed = listen is not None
    return _Place(host, address, is_fixed, tuple(each for each in warnings if each))


def _tell_where(warden: "Warden", place: _Place, at: Address, invitation: Invitation) -> None:
    event = warden.reporter.event
    event(Level.INFO, invitation.name, f"listening at {at} until {date_text(invitation.ends_at)}")
    for each in place.warnings:
        event(Level.WARNING, invitation.name, each)


# ── the link, and what came of it ─────────────────────────────────────────────────────────────────


def _show(invitation: Invitation, url: Secret, at: Address, *, is_json: bool) -> None:
    text = url.reveal().decode("ascii")
    if is_json:
        told = {
            "name": invitation.name,
            "url": text,
            "ends_at": time_text(invitation.ends_at),
            "listen": str(at),
        }
        show_line(json.dumps(told))
        sys.stdout.flush()  # whoever reads it is to come while we serve
        return
    if invitation.enrolment is Enrolment.EST:
        server, _, token = text.partition("#")
        say(f"For {invitation.name}, once: {server}.well-known/est\nIts password: {token}")
        return
    say(f"Scan this with {invitation.name}, or open the link there. It works once.\n{text}")
    if not show_drawing(draw(url)):
        say("This terminal is too small for the code; make it larger, or open the link.")


def _is_over(warden: "Warden", invitation: Invitation) -> bool:
    found = warden.invitations.find(invitation.id)
    return found is None or not found.is_open_at(warden.clock.now())


def _tell_end(warden: "Warden", invitation: Invitation, *, is_quiet: bool) -> None:
    """Says what was issued; raises Error where nothing was."""
    if _tell_issued(warden, invitation, is_quiet=is_quiet):
        return
    found = warden.invitations.find(invitation.id)
    why = "was used by nobody in time"
    if found and found.withdrawn_at is not None:
        why = "was withdrawn"
    elif found and found.tries_left == 0:
        why = "was tried too often with a wrong link"
    raise Error(
        f"the invitation of {invitation.name} {why}: no certificate was issued",
        f"make another: certwarden client invite {invitation.name}",
    )


def _tell_issued(warden: "Warden", invitation: Invitation, *, is_quiet: bool) -> bool:
    """Says which certificate it was redeemed for; False where it was for none."""
    found = warden.invitations.find(invitation.id)
    if found is None or found.serial is None:
        return False
    certificates, now = warden.register.named(invitation.name), warden.clock.now()
    issued = next(each for each in certificates if each.serial == found.serial)
    assert issued.not_after is not None  # noqa: S101 - we have just signed it
    text = f"issued, serial {issued.serial}, until {date_text(issued.not_after)}"
    if any(each.is_valid_at(now) for each in certificates if each is not issued):
        text += f"; the one before stays good for {SUPERSEDED_AFTER.days} days"
    if is_quiet:
        warden.reporter.event(Level.INFO, invitation.name, text)
    else:
        show_line(f"{invitation.name}: {text}")
    return True


@contextmanager
def _withdrawn_in_the_end(
    warden: "Warden", invitation: Invitation, *, is_quiet: bool
) -> Iterator[None]:
    """However it ends, what was not redeemed cannot be redeemed any more."""
    try:
        yield
    except KeyboardInterrupt:
        withdraw_invitation(warden, invitation.id)
        if not _tell_issued(warden, invitation, is_quiet=is_quiet):
            text = "the link is of no use any more"
            warden.reporter.event(Level.INFO, invitation.name, text)
        raise
    except BaseException:
        withdraw_invitation(warden, invitation.id)
        raise


def _revoke_lost(warden: "Warden", config: Config, name: str, *, is_quiet: bool) -> bool:
    """Whether all certificates of it that got lost on their way are seen to be refused by now."""
    is_good = True
    for serial in lost(warden, name, trusted_now(warden), config.certificates):
        text = f"serial {serial} was issued lately, and never used: it is taken to be lost"
        warden.reporter.event(Level.INFO, name, text)
        result = withdraw(warden, config.certificates, serial, RevocationReason.SUPERSEDED)
        is_good = is_good and result.is_good
        if not is_quiet:
            show_withdrawal(result)
    return is_good
