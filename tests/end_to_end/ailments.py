"""What can be wrong in a house, one thing each, and how the doctor is to name it.

Owns the table of faults, and which of them cannot be there together. How a thing is made wrong is
the business of `ailing`.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations

from certwarden.errors import IssuerError
from certwarden.store.ledger import Ledger
from tests.end_to_end.ailing import CHALLENGE, PASS, SERVICE, TIMER, Ailing
from tests.end_to_end.guarded import AUTHORITY_NAME, DOMAIN
from tests.world.cloudflare import DNS_READ, ZONE_READ
from tests.world.dns import DnsFault

SEED, PAIRS = 5, 60

_HOT, _NGINX = "node-red-4-hot", "nginx"
_TOKEN = "Cloudflare API token"
_REQUIRED = "ssl_verify_client      on;"


@dataclass(frozen=True)
class Fault:
    """`check` names it, by `says`, about the subject (a pattern of `Ailing.places`).

    `also` are the checks that may rightly complain as well. Faults that share one of the `marks`
    are made at the same place, and cannot be there together; `hides` are the checks that see
    nothing meanwhile.
    """

    name: str
    check: str
    subject: str
    says: str
    plant: Callable[[Ailing], AbstractContextManager[object]]
    also: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    hides: frozenset[str] = frozenset()


_FAULTS: list[Fault] = []


def _fault(
    name: str,
    check: str,
    subject: str,
    says: str,
    plant: Callable[[Ailing], AbstractContextManager[object]],
    *,
    also: str = "",
    marks: str = "",
    hides: str = "",
) -> None:
    _FAULTS.append(
        Fault(
            name,
            check,
            subject,
            says,
            plant,
            *(frozenset(words.split()) for words in (also, marks, hides)),
        )
    )


def _ago(**period: float) -> str:
    return (datetime.now(UTC) - timedelta(**period)).isoformat()


def _ahead(**period: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**period):%Y-%m-%dT%H:%M:%SZ}"


# ── files and their modes ─────────────────────────────────────────────────────────────────────────

_fault(
    "anybody may replace the configuration",
    "configuration",
    "{directory}",
    "everybody may put another configuration into it",
    lambda house: house.moded(house.directory, 0o777),
)
_fault(
    "a passphrase that lies with what it protects",
    "passphrases",
    "{directory}/ca.passphrase",
    "lies in the state directory",
    lambda house: house.copied_into(house.directory / "ca.passphrase", house.state),
    marks="passphrase",
)
_fault(
    "an account key that all may read",
    "state",
    "{state}/accounts",
    "is open to others",
    lambda house: house.moded(house.account_key(), 0o644),
)
_fault(
    "a state directory that targets cannot pass",
    "state",
    "{state}",
    "targets cannot pass through it",
    lambda house: house.moded(house.state, 0o700),
    marks="state-mode",
)

# ── the clock, the disk, the database ─────────────────────────────────────────────────────────────

_fault(
    "a clock that runs before the last pass",
    "clock",
    "",
    "is dated 2040-01-01",
    lambda house: house.told("UPDATE clock_floor SET at = '2040-01-01T00:00:00+00:00'"),
)
_fault(
    "a damaged database",
    "version",
    "database",
    "is damaged",
    lambda house: house.damaged(),
    marks="database",
    hides="passes attempts limits client-admission client-backup client-certificates"
    " client-authority revocation-list installed-list clock client-refusal",
)
_fault(
    "a backup disk that is not mounted",
    "disk",
    "backup",
    "it may be a disk that is not mounted",
    lambda house: house.away(house.directory / "safe"),
    also="client-backup",
    marks="safe",
)

# ── the token ─────────────────────────────────────────────────────────────────────────────────────

_BLIND = "token-zones zone-active delegation stale-txt"


def _token(
    name: str, says: str, secret: Callable[[Ailing], str], hides: str = _BLIND, also: str = ""
) -> None:
    _fault(
        name,
        "token",
        _TOKEN,
        says,
        lambda house: house.token(secret(house)),
        also=also,
        marks="token-file token",
        hides=hides,
    )


_token(
    "a token that Cloudflare does not know",
    "does not accept the API token any more",
    lambda _: f"cfut_{'a' * 48}",
)
_token(
    "a token that has expired",
    "expired on",
    lambda house: house.world.emulator.add_token(expires_on=_ahead(days=-2)).secret,
)
_token(
    "a token that is about to expire",
    "it expires on",
    lambda house: house.world.emulator.add_token(expires_on=_ahead(days=10)).secret,
    hides="",
)
_token(
    "a token that is bound to another address",
    "does not accept the API token from this machine's address",
    lambda house: house.world.emulator.add_token(addresses=["198.51.100.7"]).secret,
)
_token(
    "a Global API Key",
    "is a Global API Key",
    lambda house: house.world.emulator.add_global_key("a@example.org"),
)
_fault(
    "an API that is out of order",
    "token",
    _TOKEN,
    "whether it is good cannot be told",
    lambda house: house.api_down(),
    marks="token",
    hides=_BLIND,
)
_fault(
    "a token that may only read",
    "token-zones",
    DOMAIN,
    "does not let the API token change records",
    lambda house: house.token(house.world.emulator.add_token(ZONE_READ, DNS_READ).secret),
    marks="token-file token",
)
_fault(
    "a token for other zones",
    "token-zones",
    DOMAIN,
    "sees no zone",
    lambda house: house.token(house.world.emulator.add_token(zones=[house.another_zone]).secret),
    marks="token-file token",
    hides="zone-active delegation stale-txt",
)

# ── the zone ──────────────────────────────────────────────────────────────────────────────────────

_fault(
    "a domain whose registrar names others",
    "zone-active",
    DOMAIN,
    "which are not Cloudflare's servers",
    lambda house: house.zone(delegated_to=["ns1.isp.test"]),
    marks="zone",
)
_fault(
    "a challenge that leads out of the account",
    "delegation",
    CHALLENGE,
    "x.elsewhere.test",
    lambda house: house.recorded("CNAME", CHALLENGE, "x.elsewhere.test"),
    marks="challenge",
)
_fault(
    "a challenge that is handed to other servers",
    "delegation",
    CHALLENGE,
    "hand it over to ns1.isp.test",
    lambda house: house.recorded("NS", CHALLENGE, "ns1.isp.test"),
    marks="challenge",
)
_fault(
    "what other programs have left",
    "stale-txt",
    CHALLENGE,
    "12 TXT records",
    lambda house: house.recorded("TXT", CHALLENGE, *(f'"old-{n}"' for n in range(12))),
    marks="challenge",
)


def _caa(name: str, subject: str, says: str, content: str) -> None:
    _fault(
        name,
        "caa",
        subject,
        says,
        lambda house: house.recorded("CAA", DOMAIN, content),
        marks="caa",
    )


_caa("CAA that lets nobody issue", DOMAIN, "do not let", '0 issue ";"')
_caa("CAA that forbids wildcards", f"*.{DOMAIN}", "do not let", '0 issuewild ";"')
_caa(
    "CAA for another way to validate",
    DOMAIN,
    "validate by dns-01",
    '0 issue "pebble.letsencrypt.org; validationmethods=http-01"',
)
_caa(
    "CAA for another account",
    DOMAIN,
    "another ACME account",
    '0 issue "pebble.letsencrypt.org; accounturi=https://x.test/1"',
)
_fault(
    "broken DNSSEC",
    "dnssec",
    DOMAIN,
    "its DNSSEC is broken",
    lambda house: house.resolved_by(DnsFault("bogus")),
    also="caa",
    marks="dns",
    hides="caa zone-active name-resolution delegation",
)

# ── the CA of the certificates ────────────────────────────────────────────────────────────────────

_fault(
    "a CA that is away",
    "directory",
    "https://127.0.0.1:9/dir",
    "cannot be reached",
    lambda house: house.configured(house.world.directory_url, "https://127.0.0.1:9/dir"),
    marks="acme",
)
_fault(
    "a CA with a certificate that nobody vouches for",
    "directory",
    "{acme}",
    "is not to be trusted",
    lambda house: house.configured("ca_bundle =", "# ca_bundle ="),
    marks="acme",
)


def _issue_too_often(ledger: Ledger, url: str) -> None:
    for number in range(5):
        at = datetime.now(UTC) - timedelta(hours=number)
        ledger.limits.issuing(url, f"{url}/order/{number}", [DOMAIN, f"*.{DOMAIN}"], at)


def _fail(ledger: Ledger, url: str) -> None:
    for _ in range(2):
        at = datetime.now(UTC)
        attempt = ledger.begin_attempt("home", url, [DOMAIN, f"*.{DOMAIN}"], at)
        ledger.end_attempt(attempt, at, IssuerError("the CA is out of order"))


@contextmanager
def _limited(house: Ailing) -> Iterator[None]:
    with (
        house.set("[acme]", 'limits = "letsencrypt"'),
        house.written(lambda ledger: _issue_too_often(ledger, house.world.directory_url)),
    ):
        yield


_fault(
    "limits that are used up",
    "limits",
    "home",
    "hold back every attempt",
    _limited,
    marks="acme",
)
_fault(
    "attempts that have failed",
    "attempts",
    "home",
    "the CA is out of order",
    lambda house: house.written(lambda ledger: _fail(ledger, house.world.directory_url)),
)

# ── certificates and targets ──────────────────────────────────────────────────────────────────────

_fault(
    "a certificate that is gone",
    "certificate",
    "home",
    "there is no certificate yet",
    lambda house: house.away(house.state / "certificates" / "home"),
    marks="certificate",
    hides="target-served target-chain target-files",
)
_fault(
    "a key that others may read",
    "target-files",
    _NGINX,
    "privkey.pem has the mode 0644",
    lambda house: house.moded(house.current(_NGINX) / "privkey.pem", 0o644),
    marks="nginx-files",
)
_fault(
    "a target without its current generation",
    "target-files",
    _NGINX,  # which does not look by itself, as certwarden's module in Node-RED does
    "there is no `current`",
    lambda house: house.away(house.current(_NGINX)),
    marks="nginx nginx-files",
)
_fault(
    "a key of another certificate",
    "target-files",
    _NGINX,
    "the private key does not belong",
    lambda house: house.key_swapped(_NGINX),
    marks="nginx nginx-files",  # which does not start with it
)
_fault(
    "a name that is not in the certificate yet",
    "target-files",
    _HOT,
    "is not for more.example.org",
    lambda house: house.configured(f'"*.{DOMAIN}"]', f'"*.{DOMAIN}", "more.{DOMAIN}"]'),
)
_fault(
    "a program that does not run",
    "target-served",
    _NGINX,
    "nobody answers",
    lambda house: house.stopped(_NGINX),
    also="target-unit",
    marks="nginx",
    hides="target-unit target-chain client-refusal client-admission hairpin",
)
_fault(
    "a program without TLS",
    "target-served",
    _NGINX,
    "plain HTTP",
    lambda house: house.probed_at_plain_http(),
    marks="nginx",
    hides="target-chain client-refusal client-admission hairpin",
)
_fault(
    "a leaf without its chain",
    "target-chain",
    _NGINX,
    "it shows 1 of the 2",
    lambda house: house.leaf_alone(),
    marks="nginx",
)
_fault(
    "a unit of another name",
    "target-unit",
    _NGINX,
    "there is no unit ngnix.service",
    lambda house: house.configured("nginx.service", "ngnix.service"),
    also="service-rights",  # whose rule is not for that one
    marks="polkit nginx",
)
_fault(
    "a module that has not taken up the newest",
    "node-red-module",
    _HOT,
    "has loaded generation 0099",
    lambda house: house.reported(generation="0099"),
    marks="report",
)
_fault(
    "a module that is not loaded",
    "node-red-module",
    _HOT,
    "is not loaded",
    lambda house: house.away(house.report()),
    marks="report",
)

# ── the private CA and its clients ────────────────────────────────────────────────────────────────

_fault(
    "a proxy that only offers to look at certificates",
    "client-refusal",
    _NGINX,
    "no certificate gets in",
    lambda house: house.nginx(_REQUIRED, "ssl_verify_client optional;"),
    marks="nginx",
)
_fault(
    "a proxy that goes by no list",
    "client-refusal",
    _NGINX,
    "a revoked one gets in",
    lambda house: house.nginx("ssl_crl", "# ssl_crl"),
    marks="nginx nginx-files",  # a revoked client is sent where the list is whole
)
_fault(
    "a session from before that gets in",
    "client-admission",
    _NGINX,
    "by a session from before",
    lambda house: house.told("UPDATE proofs SET is_resumable = 1 WHERE target = 'nginx'"),
    marks="nginx-proof",
)
_fault(
    "a Node-RED beside its proxy",
    "around-proxy",
    _NGINX,
    "can be reached around it",
    lambda house: house.node_red_at_1880(),
)
_fault(
    "a passphrase that does not fit",
    "client-authority",
    AUTHORITY_NAME,
    "it can sign nothing",
    lambda house: house.passphrase("something else"),
    marks="passphrase",
)
_fault(
    "a root that is damaged",
    "client-authority",
    AUTHORITY_NAME,
    "cannot be read",
    lambda house: house.damaged_root(),
    marks="passphrase list",
    hides="client-refusal client-admission revocation-list installed-list client-certificates"
    " client-backup",
)
_fault(
    "a list that nobody has renewed",
    "revocation-list",
    AUTHORITY_NAME,
    "has not been renewed",
    lambda house: house.aged_list(days=20),
    marks="list passphrase",  # which opens the key that signs it
)
_fault(
    "a revoked client who is not in the list",
    "revocation-list",
    AUTHORITY_NAME,
    "not in the published list",
    lambda house: house.told(
        "UPDATE client_certificates SET revoked_at = :at, reason = 'unspecified', "
        "revoked_under = 1 WHERE name = 'alice'",
        at=_ago(hours=2),
    ),
    marks="list alice",
)
_fault(
    "a client whose certificate ends soon",
    "client-certificates",
    AUTHORITY_NAME,
    "alice",
    lambda house: house.told(
        "UPDATE client_certificates SET not_after = :at WHERE name = 'alice'", at=_ago(days=-9)
    ),
    marks="alice",
)
_fault(
    "no backups of the CA",
    "client-backup",
    AUTHORITY_NAME,
    "there is no backup",
    lambda house: house.without_backup(),
    marks="safe",
)

# ── names and ways ────────────────────────────────────────────────────────────────────────────────

_fault(
    "a resolver that drops addresses at home",
    "name-resolution",
    DOMAIN,
    "it protects against DNS rebinding",
    lambda house: house.address("192.168.77.10"),
    marks="address",
)
_fault(
    "an IPv6 address that was forgotten",
    "name-resolution",
    DOMAIN,
    "but AAAA elsewhere",
    lambda house: house.address(
        "203.0.113.5", "2001:db8:5::5", here=["127.0.0.1", "2001:db8:5::5"]
    ),
    marks="address",
)
_fault(
    "a program that only this machine can reach",
    "hairpin",
    _NGINX,
    "only this machine can reach it",
    lambda house: house.reached_at("127.0.0.2"),
)
_fault(
    "a router that answers in the place of the house",
    "hairpin",
    _NGINX,
    "router.box",
    lambda house: house.routers_page(),
    marks="address",
)

# ── the service ───────────────────────────────────────────────────────────────────────────────────

_fault(
    "a service that has failed",
    "service",
    SERVICE,
    "the configuration is wrong",
    lambda house: house.unit(
        SERVICE, ActiveState="failed", Result="exit-code", ExecMainStatus="2", MainPID="0"
    ),
    marks="unit",
)
_fault(
    "a service that is not installed",
    "service",
    "",
    "certwarden is not installed as a service",
    lambda house: house.unit_gone(SERVICE, TIMER, PASS),
    marks="unit",
    hides="service-rights service-files",
)
_fault(
    "passes that have ceased",
    "passes",
    "",
    "there was no pass for 3 days",
    lambda house: house.traces_old(days=3),
    marks="traces",
)
_fault(
    "a unit without what the configuration needs",
    "service-files",
    SERVICE,
    "it lacks what the configuration needs",
    lambda house: house.unit(SERVICE, DropInPaths=""),
    marks="unit",
)
_fault(
    "a rule that allows nothing",
    "service-rights",
    "polkit",
    "does not allow",
    lambda house: house.rule("var allowed = [];"),
    marks="polkit",
)

FAULTS = {fault.name: fault for fault in _FAULTS}
assert len(FAULTS) == len(_FAULTS)


def can_be_together(one: Fault, other: Fault) -> bool:
    """Whether both can be made, and both be seen."""
    return not (one.marks & other.marks or one.check in other.hides or other.check in one.hides)


def pairs() -> Sequence[tuple[Fault, Fault]]:
    """PAIRS pairs by lot, the same each time, always of those that were seen least."""
    lot = random.Random(SEED)
    candidates = [pair for pair in combinations(FAULTS.values(), 2) if can_be_together(*pair)]
    lot.shuffle(candidates)
    seen = dict.fromkeys(FAULTS, 0)
    chosen: list[tuple[Fault, Fault]] = []
    while len(chosen) < PAIRS:
        rarest = min(candidates, key=lambda pair: sum(seen[each.name] for each in pair))
        candidates.remove(rarest)
        chosen.append(rarest)
        for each in rarest:
            seen[each.name] += 1
    return chosen
