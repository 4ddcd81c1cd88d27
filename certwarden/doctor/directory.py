"""The CAs: are their directories to be reached, is what we ask of them offered, and may we ask?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from certwarden.config import AcmeConfig
from certwarden.doctor.finding import Finding, error, minute, ok, skipped, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.errors import Error
from certwarden.issuer.resources import Directory
from certwarden.lifecycle.retry import counted, last_failure, limits_allow_at, next_try
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import Observed, Policy, Spent

# ── what the CA says of itself ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Role:
    """A directory, whose section of the configuration it stands in, and what it is for."""

    url: str
    acme: AcmeConfig
    is_first: bool = False
    is_staging: bool = False

    @property
    def section(self) -> str:
        """The configuration's name for it."""
        return "[acme]" if self.is_first or self.is_staging else "[[acme.fallback]]"


def look_at_directories(patient: Patient) -> Iterable[Finding]:
    """Does each directory answer, and does it offer what is configured?"""
    warden, roles = patient.warden, list(roles_of(patient.config.acme))
    looks = [partial(in_time, partial(warden.directories().look, role.url)) for role in roles]
    found = side_by_side(looks, warden.clock)
    return [judge_directory(role, each) for role, each in zip(roles, found, strict=True)]


def roles_of(acme: AcmeConfig) -> Iterator[Role]:
    """Every configured directory once, the first CA's first."""
    known = set()
    for each in (acme, *acme.fallbacks):
        for url in (each.directory_url, each.staging_directory_url):
            if url is not None and url not in known:
                known.add(url)
                is_staging = url != each.directory_url
                yield Role(url, each, each is acme and not is_staging, is_staging)


def judge_directory(role: Role, found: Directory | Error) -> Finding:
    """By what the directory says; one that is not the first CA's is missed only later."""
    fault = error if role.is_first else warning
    if isinstance(found, Error):
        return fault(role.url, found.what, found.hint or f"correct `directory` in {role.section}")
    profile = role.acme.profile
    if profile and profile not in found.profiles and not role.is_staging:
        offered = ", ".join(found.profiles) or "none"
        return fault(
            role.url,
            f"the CA does not offer the profile {profile}; it offers: {offered}",
            f"correct `profile` in {role.section}, or leave it out",
        )
    if found.external_account_required and role.acme.external_account is None:
        return fault(
            role.url,
            "the CA only takes accounts that are bound to one at its own site",
            f"get a key there, and write `eab = {{ kid, hmac_key_file }}` into {role.section}",
        )
    return ok(role.url, "it answers, and its terms of service are agreed to")


# ── what is left of its limits ────────────────────────────────────────────────────────────────────


def look_at_limits(patient: Patient) -> Iterable[Finding]:
    """Would the CA's limits, as we have counted them, hold back an attempt now?"""
    policy = patient.warden.policy
    return [
        finding for seen in patient.observed for finding in judge_limits(seen, policy, patient.now)
    ]


def judge_limits(seen: Observed, policy: Policy, now: datetime) -> Iterator[Finding]:
    """By our own count for the certificate, at each directory whose limits count."""
    name = seen.spec.name
    for url in (seen.spec.directory_url, *seen.spec.fallback_urls):
        if url not in policy.limited:
            continue
        spent = seen.spent.get(url, Spent())
        is_new = seen.draft is None or not seen.draft.order_url
        at, text = limits_allow_at(spent, seen.spec.domains, now, is_new_order=is_new)
        if at > now:
            yield warning(
                name,
                f"the CA's limits hold back every attempt until {minute(at)}: {text}",
                f"nothing: it goes on by itself then; do not delete the state directory, and see "
                f"`certwarden history {name}` for what used them up",
            )
        else:
            yield ok(name, "the CA's limits leave room for an attempt")
    if not {seen.spec.directory_url, *seen.spec.fallback_urls} & policy.limited:
        yield ok(name, "no limits are counted for its CA")


# ── what came of the last attempts ────────────────────────────────────────────────────────────────


def look_at_attempts(patient: Patient) -> Iterable[Finding]:
    """Did the last attempt to obtain each certificate succeed?"""
    policy = patient.warden.policy
    return [judge_attempts(seen, policy, patient.now) for seen in patient.observed]


def judge_attempts(seen: Observed, policy: Policy, now: datetime) -> Finding:
    """By the failures since the last success; what trying again cannot help is an error."""
    name = seen.spec.name
    if seen.trouble is not None:
        return skipped(name, f"its attempts cannot be read: {seen.trouble.what}", seen.trouble.hint)
    last = last_failure(seen)
    if last is None:
        if len(counted(seen.failures)) > 1:
            what = "attempts to obtain it are cut short again and again"
            return warning(name, what, "see what ends certwarden: `journalctl -u certwarden`")
        return ok(name, "no attempt to obtain it has failed since the last success")
    remedy = last.hint or f"see `certwarden history {name}`"
    if last.cause is not None:
        what = f"it cannot be obtained until something is put right: {last.what}"
        return error(name, what, f"{remedy}; then run `certwarden renew {name}`")
    at = next_try(seen, policy, now).at
    when = f"is made at {minute(at)}" if at > now else "is due now"
    fault = error if seen.stored is None or len(counted(seen.failures)) > 1 else warning
    return fault(name, f"the last attempt failed: {last.what}; the next one {when}", remedy)


CHECKS = {
    "directory": look_at_directories,
    "limits": look_at_limits,
    "attempts": look_at_attempts,
}
