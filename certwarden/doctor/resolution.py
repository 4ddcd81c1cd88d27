"""How DNS answers about the zones: is it signed rightly, and does port 53 lead where it should?"""

from collections.abc import Iterable, Sequence
from functools import partial

from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.errors import Error
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.zone.resolving import OwnServer, Resolved

RESOLVERS = "see whether this machine may reach the resolvers of [dns] doh, which is https"


def look_at_dnssec(patient: Patient) -> Iterable[Finding]:
    """Do resolvers that check signatures answer about the names?"""
    resolve = patient.warden.dns_survey().resolve
    names = tops(patient.domains)
    looks = [partial(in_time, partial(resolve, name, "SOA")) for name in names]
    answers = side_by_side(looks, patient.warden.clock)
    return [judge_dnssec(name, each) for name, each in zip(names, answers, strict=True)]


def judge_dnssec(name: str, found: Resolved | Error | None) -> Finding:
    """By a resolver's answer with signatures checked and, where it fails, without."""
    if isinstance(found, Error):
        return skipped(name, f"no resolver tells: {found.what}", found.hint)
    if found is None:
        return skipped(name, "no resolver answers", RESOLVERS)
    if found.code != "SERVFAIL":
        return ok(name, f"{found.resolver} answers about it")
    if found.unchecked in ("NOERROR", "NXDOMAIN"):
        return error(
            name,
            f"its DNSSEC is broken: {found.resolver} answers only if signatures are not checked, "
            "and CAs check them",
            "at the domain's registrar, remove the DS records, or enter those that Cloudflare's "
            "dashboard shows under DNS > Settings > DNSSEC",
        )
    return error(
        name,
        f"{found.resolver} cannot resolve it (SERVFAIL): its name servers fail, or do not know it",
        "see that the domain's registrar names Cloudflare's servers, and that the zone is active "
        "in Cloudflare's dashboard",
    )


def look_at_port_53(patient: Patient) -> Iterable[Finding]:
    """Do the zones' own servers answer by port 53, or somebody else in their stead?"""
    survey = patient.warden.dns_survey()
    if survey.is_configured:
        return [skipped("", "the servers of [dns] nameservers are asked, and no others")]
    names = tops(patient.domains)
    looks = [partial(in_time, partial(survey.own_servers, name)) for name in names]
    answers = side_by_side(looks, patient.warden.clock)
    return [judge_port_53(name, each) for name, each in zip(names, answers, strict=True)]


def judge_port_53(name: str, servers: Sequence[OwnServer] | Error) -> Finding:
    """By how they answer: a server that does not answer with authority is not the one asked."""
    if isinstance(servers, Error):
        return skipped(name, f"its own name servers do not tell: {servers.what}", servers.hint)
    if not servers:
        return skipped(name, "nobody tells which servers hold it", RESOLVERS)
    heard = [server for server in servers if not server.silence]
    if not heard:
        first = servers[0]
        what = f"its servers do not tell by port 53: {first.label} {first.silence}"
        return ok(name, f"{what}; DNS over HTTPS serves")
    if all(server.is_authoritative for server in heard):
        return ok(name, f"{heard[0].label} answers by port 53")
    false = next(server for server in heard if not server.is_authoritative)
    return warning(
        name,
        f"port 53 is intercepted: in the stead of {false.label} the router or provider answers",
        "turn off DNS redirection in the router (names: DNS filter, advanced security, parental "
        "control); meanwhile records are looked for by DNS over HTTPS",
    )


def tops(domains: Iterable[str]) -> list[str]:
    """The names without stars, less those that lie below another one."""
    bases = list(dict.fromkeys(domain.removeprefix("*.") for domain in domains))
    return [base for base in bases if not any(base.endswith(f".{other}") for other in bases)]


CHECKS = {"dnssec": look_at_dnssec, "port-53": look_at_port_53}
