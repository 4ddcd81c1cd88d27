"""CAA: may the configured CAs issue for the names, by our account and by dns-01?

RFC 8659 for who may issue, RFC 8657 for by which account and method. Where a directory does not
say what its CA is called in such records, only what forbids every CA is a fault.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.doctor.resolution import RESOLVERS
from certwarden.errors import Error
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.zone.caa import CaaRecord, Found, Unknown, relevant

METHOD = "dns-01"
_KNOWN = {"acme-v02.api.letsencrypt.org": ("letsencrypt.org",)}  # for when it cannot be asked
_UNDERSTOOD = frozenset({"issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail"})
_CRITICAL = 128


@dataclass(frozen=True)
class Applicant:
    """Who is to issue, and for which account; `identities` are its names in CAA records.

    Empty is what is not known.
    """

    directory_url: str
    identities: tuple[str, ...]
    account_url: str
    is_first: bool = True  # not a CA for when the first one fails

    @property
    def name(self) -> str:
        """As a person knows it."""
        return next(iter(self.identities), "") or urlsplit(self.directory_url).netloc


def look_at_caa(patient: Patient) -> Iterable[Finding]:
    """Does a record keep one of the CAs from issuing?"""
    found = in_time(lambda: patient.warden.caa_survey().find(patient.domains))
    if isinstance(found, Error):
        return [skipped("", f"CAA records cannot be looked up: {found.what}", found.hint)]
    is_anybody_named = any(isinstance(each, tuple) and each for each in found.values())
    return [
        judge_caa(domain, found[domain], applicant)
        for applicant in _applicants(patient, is_asking=is_anybody_named)
        for domain in patient.domains
    ]


def _applicants(patient: Patient, *, is_asking: bool) -> Iterator[Applicant]:
    """The CA and those for when it has long failed; only the first where their names are no use."""
    warden, acme = patient.warden, patient.config.acme
    urls = [each.directory_url for each in (acme, *acme.fallbacks)]
    if not is_asking:
        yield Applicant(urls[0], (), "")
        return
    looks = [partial(in_time, partial(warden.directories().look, url), 2.5) for url in urls]
    for url, directory in zip(urls, side_by_side(looks, warden.clock), strict=True):
        told = () if isinstance(directory, Error) else directory.caa_identities
        identities = told or _KNOWN.get(urlsplit(url).netloc, ())
        yield Applicant(url, identities, warden.account_url(url), url == urls[0])


def judge_caa(domain: str, found: Found, applicant: Applicant) -> Finding:
    """By the records that were found for the domain."""
    if isinstance(found, Unknown):
        return _judge_unknown(domain, found)
    objection = objection_to(domain, found, applicant)
    if objection:
        fault = error if applicant.is_first else warning
        return fault(domain, objection, _remedy(domain, found, applicant))
    if not relevant(domain, found):
        return ok(domain, "no CAA record restricts who may issue")
    if not applicant.identities:
        return skipped(domain, f"{applicant.name} does not say its name in CAA records")
    return ok(domain, f"CAA records let {applicant.name} issue")


def objection_to(domain: str, records: Sequence[CaaRecord], applicant: Applicant) -> str:
    """Why the CA must not issue for the domain; "" if it may."""
    if strange := _strange(records):
        return f"a critical CAA record that no CA understands forbids every issuance: {strange[0]}"
    deciding = relevant(domain, records)
    if not deciding:
        return ""
    named = _naming(deciding, applicant)
    if not named:
        return f"CAA records do not let {applicant.name} issue: {deciding[0]}"
    by_method = [record for record in named if _allows_method(record)]
    if not by_method:
        return f"CAA records do not let {applicant.name} validate by {METHOD}: {named[0]}"
    if not any(_allows_account(record, applicant.account_url) for record in by_method):
        account = applicant.account_url or "we have none yet"
        return f"CAA records name another ACME account than ours ({account}): {by_method[0]}"
    return ""


def _naming(deciding: Sequence[CaaRecord], applicant: Applicant) -> list[CaaRecord]:
    """Those that name the CA; where its name is not known, those that name any."""
    ours = {each.lower().rstrip(".") for each in applicant.identities}
    return [each for each in deciding if each.issuer and (not ours or each.issuer in ours)]


def _strange(records: Sequence[CaaRecord]) -> list[CaaRecord]:
    """Critical ones that no CA understands: they forbid everything (RFC 8659 section 4.5)."""
    return [each for each in records if each.flags & _CRITICAL and each.tag not in _UNDERSTOOD]


def _allows_method(record: CaaRecord) -> bool:
    """RFC 8657 section 4."""
    methods = record.parameter("validationmethods")
    return not methods or (
        len(methods) == 1 and METHOD in (each.strip() for each in methods[0].split(","))
    )


def _allows_account(record: CaaRecord, account_url: str) -> bool:
    """RFC 8657 section 3: compared as they are written, and two of them match nobody."""
    accounts = record.parameter("accounturi")
    return not accounts or (len(accounts) == 1 and accounts[0] == account_url)


def _remedy(domain: str, records: Sequence[CaaRecord], applicant: Applicant) -> str:
    if strange := _strange(records):
        return f"in Cloudflare's dashboard, remove the record `{strange[0]}`"
    owner, deciding = records[0].owner, relevant(domain, records)
    tag = "issuewild" if any(each.tag == "issuewild" for each in deciding) else "issue"
    value = next(iter(applicant.identities), "the CA's name")
    # They are alternatives: one that binds less than those beside it would undo them.
    named = _naming(deciding, applicant)
    if any(each.parameter("accounturi") for each in named):
        value += "; accounturi=" + (applicant.account_url or "our account's URL")
    if any(each.parameter("validationmethods") for each in named):
        value += f"; validationmethods={METHOD}"
    return f'in Cloudflare\'s dashboard, add the record `{owner} CAA 0 {tag} "{value}"`'


def _judge_unknown(domain: str, found: Unknown) -> Finding:
    what = f"CAA records at {found.owner} cannot be looked up"
    if found.is_answered:
        remedy = (
            "see what `dnssec` says; where it has nothing to say, its name servers fail at this "
            "kind of record alone, and their operator has to put that right"
        )
        return error(domain, f"{what}: a resolver {found.why}, and so it will to the CA", remedy)
    return skipped(domain, f"{what}: no resolver answers", RESOLVERS)


CHECKS = {"caa": look_at_caa}
