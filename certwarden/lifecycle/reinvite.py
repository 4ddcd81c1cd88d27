"""Invitations that the service makes by itself, for clients whose last certificate ends soon.

Their links are in the message that goes to a person and nowhere else: they are secrets, and whoever
sends keeps them out of the records. What was not sent is taken back. How often is for `alarms`.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from certwarden.errors import Error
from certwarden.lifecycle.invite import InvitationRequest, invite, withdraw_invitation
from certwarden.lifecycle.links import link as as_url
from certwarden.lifecycle.links import link_hosts
from certwarden.model import (
    ClientCertificate,
    Enrolment,
    Invitation,
    Observed,
    ObservedAuthority,
    Secret,
)
from certwarden.ports import Level, Neighbours

OPEN_FOR = timedelta(days=7)  # whoever is away for a weekend still finds it good
MOST_LINKS = 10  # as many as surely fit: a link that is cut off is an invitation nobody has

SUBJECT = "invitations"


@dataclass(frozen=True)
class Link:
    """An invitation that was made, and the URL by which it is redeemed."""

    invitation: Invitation
    url: Secret


def make_links(
    world: Neighbours,
    ending: Sequence[ClientCertificate],
    observed: Sequence[Observed],
    authority: ObservedAuthority,
) -> tuple[Link, ...]:
    """A link for each client, where the service may invite: it listens, and may sign.

    Whom a person has just invited gets none, as that would withdraw the person's. What cannot be
    made is told as an event, and goes without.
    """
    listen = authority.spec.invite_listen
    if listen is None or authority.is_locked:
        return ()
    now = world.clock.now()
    stored = {
        seen.spec.name: seen.stored
        for seen in observed
        if seen.stored is not None and seen.stored.certificate.is_valid_at(now)
    }
    host = next(iter(link_hosts([seen.spec for seen in observed], stored)), None)
    if host is None:
        text = "no link can be made: each name of the stored certificates has a star"
        hint = "name a host by `probe_name` at a target with client_auth"
        world.reporter.event(Level.WARNING, SUBJECT, text, hint)
        return ()
    links = []
    for each in ending[:MOST_LINKS]:
        try:
            if _is_invited_by_a_person(world, each.name, now):
                continue
            enrolment = _enrolment(world, each)
            request = InvitationRequest(each.name, enrolment=enrolment, open_for=OPEN_FOR)
            invitation, token = invite(world, request)
        except Error as error:
            text = f"no invitation could be made for {each.name}: {error.what}"
            world.reporter.event(Level.WARNING, SUBJECT, text, error.hint)
            continue
        links.append(Link(invitation, as_url(host, listen.port, token)))
    return tuple(links)


def take_back(world: Neighbours, links: Iterable[Link]) -> None:
    """Nobody has got them; one that cannot be withdrawn is, once the next is made."""
    for each in links:
        with suppress(Error):
            withdraw_invitation(world, each.invitation.id)


def with_links(text: str, links: Sequence[Link]) -> str:
    """The message as it is sent: the links first, as long messages are cut at their end."""
    return "\n\n".join([*map(_paragraph, links), text])


def _paragraph(link: Link) -> str:
    invitation, url = link.invitation, link.url.reveal().decode("ascii")
    end = f"{invitation.ends_at:%Y-%m-%d %H:%M} UTC"
    if invitation.enrolment is Enrolment.PAGE:
        return f"For {invitation.name}, to be opened on that device until {end}, once:\n{url}"
    server, _, token = url.partition("#")
    return (
        f"For {invitation.name}, until {end}, once: {server}.well-known/est\n"
        f"It is let in by the certificate that ends, or by this password: {token}"
    )


def _is_invited_by_a_person(world: Neighbours, name: str, now: datetime) -> bool:
    """Those that are open for as long as ours are taken for ours, and make room for the next."""
    open_ones = (each for each in world.invitations.open(now) if each.name == name)
    return any(each.ends_at - each.made_at != OPEN_FOR for each in open_ones)


def _enrolment(world: Neighbours, ending: ClientCertificate) -> Enrolment:
    """The way that the certificate was fetched, where it was by an invitation."""
    before = (each for each in world.invitations.of(ending.name) if each.serial == ending.serial)
    return next((each.enrolment for each in before), Enrolment.PAGE)
