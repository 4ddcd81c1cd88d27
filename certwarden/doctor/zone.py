"""The zones at Cloudflare: active, where challenges belong, and what stands there already."""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.doctor.token import zones_of
from certwarden.errors import Error, ZoneError
from certwarden.lifecycle.canary import COMMENT as CANARY
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import Place
from certwarden.zone.resolving import Resolved
from certwarden.zone.survey import SurveyedRecord, SurveyedZone, challenge_name, holds

MOST_TXT = 10  # strangers' values at one name; CAs refuse large sets
MOST_NAMED = 3
_ACTIVATE = (
    "enter the name servers that Cloudflare's dashboard names for this zone at the domain's "
    "registrar, and wait until the dashboard calls it active"
)


# ── active ────────────────────────────────────────────────────────────────────────────────────────


def look_at_status(patient: Patient) -> Iterable[Finding]:
    """Does Cloudflare call the zones active, and does the world ask Cloudflare about them?"""
    zones = in_time(lambda: zones_of(patient), 2.5)
    if isinstance(zones, Error):
        return [_not_to_be_had(zones)]
    seen = sorted(set(filter(None, zones.values())), key=lambda zone: zone.name)
    resolve = patient.warden.dns_survey().resolve
    looks = [partial(in_time, partial(resolve, zone.name, "NS"), 2.0) for zone in seen]
    shown = side_by_side(looks, patient.warden.clock)
    return [judge_status(zone, each) for zone, each in zip(seen, shown, strict=True)]


def judge_status(zone: SurveyedZone, shown: Resolved | Error | None) -> Finding:
    """By its status, and by the name servers that the world is sent to; a pause is no fault."""
    if zone.status not in ("", "active"):
        what = f"it is {zone.status} at Cloudflare, not active: the world does not see its records"
        return error(zone.name, what, _ACTIVATE)
    if not isinstance(shown, Resolved) or not shown.texts or not zone.name_servers:
        if zone.status:
            return ok(zone.name, "it is active at Cloudflare; its name servers were not looked at")
        return skipped(zone.name, "zone_ids names it, so that its status is not looked at")
    theirs = ", ".join(sorted(shown.texts))
    if not shown.texts & set(zone.name_servers):
        what = f"the world asks {theirs} about it, which are not Cloudflare's servers"
        return error(zone.name, what, _ACTIVATE)
    strangers = sorted(shown.texts - set(zone.name_servers))
    if strangers:
        what = f"the world also asks {', '.join(strangers)} about it, which knows nothing of ours"
        return warning(zone.name, what, f"{_ACTIVATE}; remove all others there")
    return ok(zone.name, "it is active, and the world asks Cloudflare's servers about it")


# ── where challenges belong ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Surrounded:
    """What the zone of a challenge's name holds that decides where the world looks for it.

    `end` is where the record is to be written, or why that is nowhere; `shown` is what the world
    gets where a CNAME stands at the name.
    """

    challenge: str
    zone: SurveyedZone
    records: Sequence[SurveyedRecord]
    end: Place | Error
    shown: Resolved | Error | None = None


def look_at_delegation(patient: Patient) -> Iterable[Finding]:
    """Does the world find the challenge where we write it?"""

    def gather() -> list[Surrounded]:
        domains = _by_challenge(patient.domains)
        work = [partial(_surroundings, patient, domain) for domain in domains]
        return [each for each in side_by_side(work, patient.warden.clock) if each is not None]

    gathered = in_time(gather)
    if isinstance(gathered, Error):
        return [_not_to_be_had(gathered)]
    return [finding for each in gathered for finding in judge_delegation(each)]


def _surroundings(patient: Patient, domain: str) -> Surrounded | None:
    """None where the token sees no zone, which another check tells."""
    survey, challenge = patient.warden.zone_survey(), challenge_name(domain)
    zone = survey.zone_of(domain)
    if zone is None or zone.status not in ("", "active"):
        return None
    records = survey.records(zone)
    shown: Resolved | Error | None = None
    try:
        end: Place | Error = survey.locate(domain)
    except ZoneError as failure:
        end = failure
    if _at(records, challenge, "CNAME"):  # else resolvers would remember that there is none
        shown = in_time(partial(patient.warden.dns_survey().resolve, challenge, "CNAME"), 2.0)
    return Surrounded(challenge, zone, records, end, shown)


def judge_delegation(seen: Surrounded) -> Iterator[Finding]:
    """By the records in the zone: a cut above the name, a CNAME at it, a wildcard beside it."""
    name = seen.challenge
    cuts = [
        record
        for record in seen.records
        if record.type == "NS" and record.name != seen.zone.name and holds(record.name, name)
    ]
    if cuts:
        servers = ", ".join(sorted({record.content for record in cuts})[:MOST_NAMED])
        yield error(
            name,
            f"NS records at {cuts[0].name} hand it over to {servers}: what Cloudflare holds below "
            "that name is never seen",
            f"remove the NS records at {cuts[0].name}; if they are meant, have the servers that "
            "they name hold a CNAME there that leads to a zone of yours at Cloudflare",
        )
        return
    aliases = _at(seen.records, name, "CNAME")
    if isinstance(seen.end, Error):
        yield error(name, seen.end.what, seen.end.hint)
    elif aliases:
        yield _judge_alias(name, aliases[0], seen.end, seen.shown)
    else:
        wildcard = next((each for each in _wildcards(name) if _at(seen.records, each, "CNAME")), "")
        beside = f"; the CNAME at {wildcard} gives way to it" if wildcard else ""
        yield ok(name, f"its record belongs into the zone {seen.zone.name}{beside}")


def _judge_alias(
    name: str, alias: SurveyedRecord, end: Place, shown: Resolved | Error | None
) -> Finding:
    if alias.is_proxied:
        return error(
            name,
            "the CNAME there is proxied by Cloudflare: the world does not see where it leads",
            "set it to `DNS only` (the grey cloud) in Cloudflare's dashboard",
        )
    if isinstance(shown, Resolved) and shown.code in ("NOERROR", "NXDOMAIN") and not shown.texts:
        return error(
            name,
            f"Cloudflare holds a CNAME to {alias.content} there, and the world does not see it",
            "turn off CNAME flattening for this record in Cloudflare's dashboard, under DNS",
        )
    return ok(name, f"a CNAME leads to {end.record_name}, which the API token may reach")


def _wildcards(name: str) -> Iterator[str]:
    """The wildcards that could answer for the name."""
    while "." in name:
        name = name.partition(".")[2]
        yield f"*.{name}"


# ── what stands there ─────────────────────────────────────────────────────────────────────────────


def look_at_txt(patient: Patient) -> Iterable[Finding]:
    """Has anybody left TXT records where challenges belong? Asked of the API, never by DNS."""

    def gather() -> list[tuple[str, tuple[SurveyedRecord, ...]]]:
        survey = patient.warden.zone_survey()
        gathered = []
        for domain in _by_challenge(patient.domains):
            zone = survey.zone_of(domain)
            if zone is not None:
                found = _at(survey.records(zone), challenge_name(domain), "TXT")
                gathered.append((challenge_name(domain), tuple(found)))
        return gathered

    gathered = in_time(gather)
    if isinstance(gathered, Error):
        return [_not_to_be_had(gathered)]
    ours = {record.value for record in patient.warden.journal.leftovers()}
    return [judge_txt(name, found, ours) for name, found in gathered]


def judge_txt(name: str, found: Sequence[SurveyedRecord], ours: Container[str]) -> Finding:
    """By the values at the name; `ours` are those of which the journal knows."""
    own = [each for each in found if each.content in ours]
    of_setup = [each for each in found if each.comment == CANARY]
    strangers = len(found) - len(own) - len(of_setup)
    if strangers > MOST_TXT:
        return warning(
            name,
            f"other programs have left {strangers} TXT records there; CAs refuse a name with too "
            "many",
            f"delete the TXT records at {name} in Cloudflare's dashboard, unless a program is "
            "being validated right now",
        )
    if own:
        return ok(name, f"{_records(len(own))} of ours, for the next pass to remove")
    if of_setup:
        what = f"{_records(len(of_setup))} of a trial by `setup`, for the next one to remove"
        return ok(name, f"{what}; nobody is disturbed meanwhile")
    if strangers:
        return ok(name, f"{_records(strangers)} of other programs, which disturb nobody")
    return ok(name, "nothing is left over there")


def _records(count: int) -> str:
    return f"{count} TXT record{'s' if count != 1 else ''}"


# ── common ────────────────────────────────────────────────────────────────────────────────────────


def _by_challenge(domains: Iterable[str]) -> list[str]:
    """One of the domains for each challenge name."""
    return list({challenge_name(domain): domain for domain in domains}.values())


def _at(records: Iterable[SurveyedRecord], name: str, kind: str) -> list[SurveyedRecord]:
    return [record for record in records if record.type == kind and record.name == name]


def _not_to_be_had(failure: Error) -> Finding:
    return skipped("", f"Cloudflare does not tell: {failure.what}", "see what `token` says")


CHECKS = {
    "zone-active": look_at_status,
    "delegation": look_at_delegation,
    "stale-txt": look_at_txt,
}
