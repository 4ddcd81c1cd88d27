"""The Cloudflare API token: is it good, for how long, and for the zones that are needed?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from certwarden.doctor.finding import Finding, day, error, ok, skipped, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.errors import ConfigError, Error, ZoneError
from certwarden.lifecycle.alarms import TOKEN_NOTICE
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import TokenHealth
from certwarden.zone.survey import SurveyedZone

_TOKEN = "Cloudflare API token"  # noqa: S105 - what findings are about
_KEY = "[cloudflare] api_token_file"  # as remedies name where the token is kept
PERMISSIONS = (
    "at Cloudflare, under My Profile > API Tokens, give the token Zone / DNS / Edit and "
    "Zone / Zone / Read for this zone"
)
RENEW = (
    "make a new token at Cloudflare, under My Profile > API Tokens > Create Token, with "
    f"Zone / DNS / Edit and Zone / Zone / Read for your zone only, and write it to {_KEY}"
)
_CONNECTION = (
    "see whether this machine reaches the internet (`ping 1.1.1.1`) and finds names (`getent hosts "
    "api.cloudflare.com`), then at https://www.cloudflarestatus.com"
)

Permits = Mapping[SurveyedZone, Error | None]


def look_at_token(patient: Patient) -> Iterable[Finding]:
    """Is it accepted, from here, and until when?"""
    found = in_time(lambda: patient.warden.zone_survey().verify())
    return [_with_file(judge_token(found, patient.now), patient)]


def judge_token(found: TokenHealth | Error, now: datetime) -> Finding:
    """By what Cloudflare says when it is asked to verify the token."""
    if isinstance(found, ConfigError):
        return error(_TOKEN, found.what, "see what `secrets` says of that file")
    if isinstance(found, ZoneError) and found.permanent:
        return error(_TOKEN, found.what, found.hint or RENEW)
    if isinstance(found, Error):
        return error(_TOKEN, f"whether it is good cannot be told: {found.what}", _CONNECTION)
    if found.expires_at is None:
        return ok(_TOKEN, "Cloudflare accepts it")
    return _judge_end(found.expires_at, now)


def _judge_end(expires_at: datetime, now: datetime) -> Finding:
    until = day(expires_at)
    if expires_at <= now:
        return error(_TOKEN, f"it expired on {until}", RENEW)
    if expires_at - now <= TOKEN_NOTICE:
        return warning(_TOKEN, f"it expires on {until}, in {_days(expires_at - now)}", RENEW)
    return ok(_TOKEN, f"Cloudflare accepts it, until {until}")


def look_at_zones(patient: Patient) -> Iterable[Finding]:
    """Does it see the zones, and may it change their records?"""
    zones = in_time(lambda: zones_of(patient), 2.5)
    if isinstance(zones, Error):
        return [skipped("", f"the zones are not told: {zones.what}", "see what `token` says")]
    seen = sorted(set(filter(None, zones.values())), key=lambda zone: zone.name)
    survey = patient.warden.zone_survey()

    def ask(zone: SurveyedZone) -> Error | None:
        return in_time(lambda: survey.may_edit(zone), 2.0)

    permits = side_by_side([partial(ask, zone) for zone in seen], patient.warden.clock)
    findings = judge_zones(zones, dict(zip(seen, permits, strict=True)))
    return [_with_file(finding, patient) for finding in findings]


def _with_file(finding: Finding, patient: Patient) -> Finding:
    """Whoever was asked for the token by `setup` has never seen the key that names its file."""
    file = str(patient.config.cloudflare.api_token_file)
    return replace(finding, remedy=finding.remedy.replace(_KEY, file))


def zones_of(patient: Patient) -> dict[str, SurveyedZone | None]:
    """The zone that holds each domain's challenge; None where the token sees none."""
    survey = patient.warden.zone_survey()
    return {domain: survey.zone_of(domain) for domain in patient.domains}


def judge_zones(zones: Mapping[str, SurveyedZone | None], permits: Permits) -> Iterator[Finding]:
    """By the zone of each domain, and by why the token may not change each zone, if so."""
    for domain, zone in zones.items():
        if zone is None:
            yield error(domain, "the API token sees no zone that holds it", PERMISSIONS)
    for zone, refusal in permits.items():
        if refusal is None:
            yield ok(zone.name, "the API token may change its records")
        elif not refusal.permanent:
            yield skipped(zone.name, f"permissions are not told: {refusal.what}", refusal.hint)
        else:
            yield error(zone.name, refusal.what, refusal.hint or PERMISSIONS)


def _days(period: timedelta) -> str:
    days = max(1, round(period / timedelta(days=1)))
    return f"{days} day{'s' if days != 1 else ''}"


CHECKS = {"token": look_at_token, "token-zones": look_at_zones}
