"""The emulator judges as Cloudflare does, and fails as it is told."""

import http.client
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.world.cloudflare import (
    APPLIED_FIRST,
    DNS_EDIT,
    DNS_READ,
    FAULT_KINDS,
    ZONE_READ,
    CloudflareEmulator,
    Fault,
    Token,
)
from tests.world.zones import Zone, Zones

TXT = {"type": "TXT", "name": "_acme-challenge.example.org", "content": '"value"', "ttl": 60}


@dataclass
class Bench:
    """An emulator with one zone, and requests to it."""

    emulator: CloudflareEmulator
    store: Zones
    zone: Zone
    token: Token

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: Token | None = None,
        headers: dict[str, str] | None = None,
    ) -> requests.Response:
        given = {"Authorization": f"Bearer {(token or self.token).secret}"}
        url = self.emulator.base_url + path
        # A session of its own, so that a spoilt connection is never used again.
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, url, json=body, headers=given if headers is None else headers, timeout=10
            )

    def code(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, int]:
        reply = self.ask(method, path, body, **more)
        document = reply.json()
        assert document["success"] is False
        assert document["result"] is None
        return reply.status_code, document["errors"][0]["code"]

    @property
    def records(self) -> str:
        return f"/zones/{self.zone.id}/dns_records"

    def values(self) -> list[str]:
        return self.store.txt(TXT["name"])  # type: ignore[arg-type]


@pytest.fixture
def bench() -> Iterator[Bench]:
    store = Zones()
    zone = store.add_zone("example.org", record_quota=8)
    with CloudflareEmulator(store) as emulator:
        yield Bench(emulator, store, zone, emulator.add_token())
        assert emulator.errors == []


# ── who may come in ───────────────────────────────────────────────────────────────────────────────


def test_a_request_without_credentials_is_refused(bench: Bench) -> None:
    """9106 says that a header is missing."""
    assert bench.code("GET", "/zones", headers={}) == (400, 9106)


@pytest.mark.parametrize(
    "value", ["Bearer short", "Basic abc", "Bearer " + "0123456789abcdef0" * 2 + "abc"]
)
def test_a_malformed_authorization_is_told_from_a_dead_token(bench: Bench, value: str) -> None:
    """6003 with 6111: what was sent is no token at all, a Global API Key for example."""
    reply = bench.ask("GET", "/zones", headers={"Authorization": value})
    error = reply.json()["errors"][0]
    assert (reply.status_code, error["code"], error["error_chain"][0]["code"]) == (400, 6003, 6111)


@pytest.mark.parametrize("status", ["disabled", "expired"])
def test_a_dead_token_is_refused_but_verifies_as_what_it_is(bench: Bench, status: Any) -> None:
    """Verify names the status; every other call only says 9109."""
    token = bench.emulator.add_token(status=status)
    assert bench.code("GET", "/zones", token=token) == (403, 9109)
    verified = bench.ask("GET", "/user/tokens/verify", token=token).json()
    assert status == verified["result"]["status"]


def test_an_unknown_token_is_refused(bench: Bench) -> None:
    """9109 for a token that does not exist, 1000 where it asks to be verified."""
    headers = {"Authorization": "Bearer " + "x" * 40}
    assert bench.code("GET", "/zones", headers=headers) == (403, 9109)


def test_a_token_bound_to_another_address_is_refused(bench: Bench) -> None:
    """9109 names the address that the request came from."""
    token = bench.emulator.add_token(addresses=["192.0.2.0/24"])
    reply = bench.ask("GET", "/zones", token=token)
    assert "location: 127.0.0.1" in reply.json()["errors"][0]["message"]
    here = bench.emulator.add_token(addresses=["127.0.0.0/8"])
    assert bench.ask("GET", "/zones", token=here).ok


def test_an_account_token_is_verified_at_its_account_only(bench: Bench) -> None:
    """The user's verify does not know account-owned tokens, nor does another account's."""
    token = bench.emulator.add_token(kind="account", expires_on="2050-01-01T00:00:00Z")
    assert bench.code("GET", "/user/tokens/verify", token=token) == (401, 1000)
    own = f"/accounts/{bench.zone.account_id}/tokens/verify"
    result = bench.ask("GET", own, token=token).json()["result"]
    assert result["expires_on"] == "2050-01-01T00:00:00Z"
    assert bench.code("GET", own) == (401, 1000)
    assert bench.code("GET", f"/accounts/{'0' * 32}/tokens/verify", token=token) == (401, 1000)
    assert bench.code("GET", "/accounts/1/tokens/verify", token=token) == (404, 7003)


def test_an_account_token_opens_its_account_only(bench: Bench) -> None:
    """Zones of other accounts are as if they were not there."""
    bench.store.add_zone("elsewhere.test", account_id="0" * 32)
    token = bench.emulator.add_token(kind="account")
    zones = bench.ask("GET", "/zones", token=token).json()["result"]
    assert [zone["name"] for zone in zones] == ["example.org"]


def test_a_token_that_is_not_valid_yet(bench: Bench) -> None:
    """Before its first day a token opens nothing; verifying it tells which day that is."""
    token = bench.emulator.add_token(not_before="2050-01-01T00:00:00Z")
    assert bench.code("GET", "/zones", token=token) == (403, 9109)
    result = bench.ask("GET", "/user/tokens/verify", token=token).json()["result"]
    assert (result["status"], result["not_before"]) == ("active", "2050-01-01T00:00:00Z")


def test_a_deleted_zone(bench: Bench) -> None:
    """A zone that was deleted is unknown from then on, and its records are gone from DNS."""
    bench.store.add("TXT", "example.org", '"x"')
    bench.store.remove_zone(bench.zone.id)
    assert bench.code("GET", f"/zones/{bench.zone.id}/dns_records") == (404, 7003)
    assert bench.store.visible("example.org") == []


def test_a_global_key_comes_in_by_its_own_headers(bench: Bench) -> None:
    """X-Auth-Key with the right X-Auth-Email may do everything; a wrong one is 9103."""
    key = bench.emulator.add_global_key("me@example.org")
    right = {"X-Auth-Key": key, "X-Auth-Email": "me@example.org"}
    assert bench.ask("GET", "/zones", headers=right).ok
    wrong = {**right, "X-Auth-Email": "you@example.org"}
    assert bench.code("GET", "/zones", headers=wrong) == (403, 9103)
    assert bench.code("GET", "/zones", headers={**right, "X-Auth-Key": "?"}) == (400, 6003)


def test_permissions_hold_for_their_zone_only(bench: Bench) -> None:
    """A token for one zone neither sees nor edits another, and one for reading edits nothing."""
    other = bench.store.add_zone("example.net")
    token = bench.emulator.add_token(zones=[other])
    names = [zone["name"] for zone in bench.ask("GET", "/zones", token=token).json()["result"]]
    assert names == ["example.net"]
    assert bench.code("GET", f"/zones/{bench.zone.id}", token=token) == (403, 10000)
    assert bench.code("POST", bench.records, TXT, token=token) == (403, 10000)

    reader = bench.emulator.add_token(ZONE_READ, DNS_READ)
    assert bench.ask("GET", bench.records, token=reader).ok
    assert bench.code("POST", bench.records, TXT, token=reader) == (403, 10000)


def test_a_token_without_zone_read_finds_no_zone(bench: Bench) -> None:
    """The list is empty and nothing says why; by its id the zone can be edited."""
    token = bench.emulator.add_token(DNS_EDIT)
    assert bench.ask("GET", "/zones?name=example.org", token=token).json()["result"] == []
    assert bench.code("GET", f"/zones/{bench.zone.id}", token=token) == (403, 9109)
    assert bench.ask("POST", bench.records, TXT, token=token).ok


# ── what may be asked ─────────────────────────────────────────────────────────────────────────────


def test_unknown_places_and_methods_are_refused(bench: Bench) -> None:
    """7003 for a path or an identifier that is none, 7001 for a method that is not there."""
    assert bench.code("GET", "/nonsense") == (404, 7003)
    assert bench.code("GET", "/zones/nonsense/dns_records") == (404, 7003)
    assert bench.code("GET", f"/zones/{'0' * 32}") == (404, 7003)
    assert bench.code("DELETE", "/zones", headers=_bearer(bench)) == (405, 7001)
    assert bench.code("PURGE", bench.records) == (405, 7001)
    assert bench.code("GET", "/zones?nmae=example.org") == (400, 1004)


def _bearer(bench: Bench) -> dict[str, str]:
    return {"Authorization": f"Bearer {bench.token.secret}"}


def test_a_body_must_be_json_and_say_so(bench: Bench) -> None:
    """6003 with 6105 for another content type, 6007 for broken JSON, 9207 for another shape."""
    url = bench.emulator.base_url + bench.records
    for headers, body, code in (
        ({"Content-Type": "text/plain"}, b"{}", 6003),
        ({}, b"{}", 6003),
        ({"Content-Type": "application/json"}, b"{", 6007),
        ({"Content-Type": "application/json"}, b"[]", 9207),
    ):
        reply = requests.post(url, data=body, headers={**_bearer(bench), **headers}, timeout=10)
        assert (400, code) == (reply.status_code, reply.json()["errors"][0]["code"])


def test_a_delete_without_body_must_not_name_a_wrong_content_type(bench: Bench) -> None:
    """JSON is let pass, as Cloudflare's own library sends it, unless told not to."""
    made = bench.ask("POST", bench.records, TXT).json()["result"]["id"]
    url = f"{bench.records}/{made}"
    json_type = {**_bearer(bench), "Content-Type": "application/json"}
    form = {**_bearer(bench), "Content-Type": "application/x-www-form-urlencoded"}
    assert bench.code("DELETE", url, headers=form) == (400, 6003)
    bench.emulator.refuse_content_type_on_delete = True
    assert bench.code("DELETE", url, headers=json_type) == (400, 6003)
    bench.emulator.refuse_content_type_on_delete = False
    assert {"id": made} == bench.ask("DELETE", url, headers=json_type).json()["result"]


@pytest.mark.parametrize(
    ("changes", "code", "inner"),
    [
        ({"ttl": 59}, 9021, None),
        ({"ttl": 86401}, 9021, None),
        ({"ttl": "60"}, 9021, None),
        ({"comment": "x" * 101}, 1004, 9312),
        ({"type": "NONSENSE"}, 1004, 9004),
        ({"type": "A"}, 1004, 9005),
        ({"type": "CNAME", "content": "no name"}, 1004, 9007),
        ({"name": "-bad-"}, 1004, 9000),
        ({"name": "x" * 64}, 1004, 9000),
        ({"content": ""}, 1004, 9005),
        ({"content": '"open'}, 1004, 9051),
        ({"proxied": True}, 1004, 9003),
    ],
)
def test_what_cannot_be_stored_is_refused(
    bench: Bench, changes: dict[str, Any], code: int, inner: int | None
) -> None:
    """Each rule has its code, and nothing is stored."""
    reply = bench.ask("POST", bench.records, {**TXT, **changes})
    error = reply.json()["errors"][0]
    assert (400, code) == (reply.status_code, error["code"])
    assert inner is None or inner == error["error_chain"][0]["code"]
    assert bench.store.records() == []


def test_content_stands_as_sent_and_quotes_are_asked_for(bench: Bench) -> None:
    """TXT without quotes is taken, with a message; the same value in quotes is a duplicate."""
    reply = bench.ask("POST", bench.records, {**TXT, "content": "value"}).json()
    assert reply["result"]["content"] == "value"
    assert "quotation" in reply["messages"][0]["message"]
    assert bench.code("POST", bench.records, TXT) == (400, 81058)
    assert bench.ask("POST", bench.records, {**TXT, "content": '"v"'}).json()["messages"] == []


def test_an_alias_and_an_address_shut_each_other_out(bench: Bench) -> None:
    """81053 for a CNAME beside an address, 81054 the other way round; TXT may stand there."""
    bench.store.add("CNAME", "alias.example.org", "other.example.net")
    bench.store.add("A", "host.example.org", "192.0.2.2")
    alias = {"type": "CNAME", "name": "host", "content": "other.example.net"}
    assert bench.code("POST", bench.records, alias) == (400, 81053)
    assert bench.code(
        "POST", bench.records, {**alias, "name": "alias", "content": "z.example.net"}
    ) == (400, 81053)
    address = {"type": "A", "name": "alias", "content": "192.0.2.3"}
    assert bench.code("POST", bench.records, address) == (400, 81054)
    assert bench.ask("POST", bench.records, {**TXT, "name": "alias"}).ok


def test_a_full_zone_takes_no_more(bench: Bench) -> None:
    """81045 at the zone's quota."""
    for number in range(8):
        bench.store.add("TXT", f"n{number}.example.org", '"x"')
    assert bench.code("POST", bench.records, TXT) == (400, 81045)


def test_a_record_is_replaced_changed_and_deleted(bench: Bench) -> None:
    """PUT takes the whole, PATCH a part, DELETE only what is there; the id stays."""
    made = bench.ask("POST", bench.records, {**TXT, "comment": "mine"}).json()["result"]
    url = f"{bench.records}/{made['id']}"
    changed = bench.ask("PATCH", url, {"content": '"other"'}).json()["result"]
    assert (made["id"], "mine", '"other"') == (
        changed["id"],
        changed["comment"],
        changed["content"],
    )
    assert bench.code("PUT", url, {"content": '"third"'}) == (400, 1004)
    replaced = bench.ask("PUT", url, {**TXT, "content": '"third"'}).json()["result"]
    assert (made["id"], None) == (replaced["id"], replaced["comment"])
    assert bench.ask("GET", url).ok
    assert bench.ask("DELETE", url).ok
    assert bench.code("DELETE", url) == (404, 81044)
    assert bench.code("GET", url) == (404, 81044)


def test_a_batch_is_all_or_nothing_in_its_documented_order(bench: Bench) -> None:
    """Deletes make room for posts; one bad operation undoes the rest."""
    first = bench.ask("POST", bench.records, TXT).json()["result"]["id"]
    url = f"{bench.records}/batch"
    bad = {"posts": [{**TXT, "content": '"a"'}, {**TXT, "ttl": 2}]}
    assert bench.code("POST", url, bad) == (400, 9021)
    gone = {"deletes": [{"id": first}, {"id": "0" * 32}]}
    assert bench.code("POST", url, gone) == (404, 81044)
    assert bench.values() == ["value"]
    reply = bench.ask("POST", url, {"posts": [TXT], "deletes": [{"id": first}]}).json()["result"]
    assert first == reply["deletes"][0]["id"]
    assert first != reply["posts"][0]["id"]
    assert [] == reply["puts"] == reply["patches"]
    assert bench.values() == ["value"]


def test_a_batch_has_a_limit(bench: Bench) -> None:
    """200 operations and no more, and none is too few."""
    url = f"{bench.records}/batch"
    many = {"deletes": [{"id": "0" * 32}] * 201}
    assert bench.code("POST", url, many) == (400, 9207)
    assert bench.code("POST", url, {}) == (400, 9207)
    assert bench.code("POST", url, {"creates": []}) == (400, 9207)


def test_lists_come_in_pages(bench: Bench) -> None:
    """result_info counts; zones come 20 to a page and at most 50."""
    for number in range(24):
        bench.store.add_zone(f"z{number}.example.net")
    first = bench.ask("GET", "/zones").json()
    assert len(first["result"]) == 20
    expected = {"page": 1, "per_page": 20, "count": 20, "total_count": 25, "total_pages": 2}
    assert expected == first["result_info"]
    assert len(bench.ask("GET", "/zones?page=2").json()["result"]) == 5
    assert bench.ask("GET", "/zones?page=3").json()["result"] == []
    for query in ("per_page=51", "page=0", "page=x"):
        assert bench.code("GET", f"/zones?{query}") == (400, 1004)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("type=TXT", ["a", "b"]),
        ("name=A.example.org", ["a"]),
        ("name.exact=b.example.org", ["b"]),
        ("name.endswith=example.org&type=A", ["h"]),
        ("content=192.0.2.9", ["h"]),
        ("content.contains=tw", ["b"]),
        ("comment=certwarden 1 x", ["a"]),
        ("comment.startswith=CERTWARDEN", ["a", "b"]),
        ("comment.exact=certwarden 1 y", ["b"]),
        ("comment.contains=1 x", ["a"]),
        ("comment.present=true", ["a", "b"]),
        ("comment.absent=true", ["h"]),
        ("type=A&comment.contains=1 x&match=any", ["a", "h"]),
        ("type=A&comment.contains=1 x", []),
    ],
)
def test_records_are_found_by_what_they_hold(bench: Bench, query: str, names: list[str]) -> None:
    """Every filter that certwarden may use, alone and together."""
    bench.store.add("TXT", "a.example.org", '"one"', comment="certwarden 1 x")
    bench.store.add("TXT", "b.example.org", '"two"', comment="certwarden 1 y")
    bench.store.add("A", "h.example.org", "192.0.2.9")
    found = bench.ask("GET", f"{bench.records}?{query}").json()["result"]
    assert [f"{name}.example.org" for name in names] == [record["name"] for record in found]


def test_zones_are_found_by_name_and_status(bench: Bench) -> None:
    """A pending zone is there, and can be told from an active one."""
    bench.store.add_zone("pending.example", status="pending")
    assert bench.ask("GET", "/zones?name=pending.example&status=active").json()["result"] == []
    found = bench.ask("GET", "/zones?name=pending.example").json()["result"]
    assert [zone["status"] for zone in found] == ["pending"]


def test_the_rate_limit_blocks_for_a_whole_window(bench: Bench) -> None:
    """Headers count down; over the limit everything is 429 with a Retry-After."""
    bench.emulator.rate_limit = (2, 300.0)
    assert bench.ask("GET", "/zones").headers["Ratelimit"] == '"default";r=1;t=300'
    assert bench.ask("GET", "/zones").ok
    reply = bench.ask("GET", "/zones")
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (429, 971)
    assert 0 < int(reply.headers["Retry-After"]) <= 301


def test_the_log_names_the_token_and_never_its_secret(bench: Bench) -> None:
    """Requests are counted by operation, with status and query."""
    bench.ask("GET", "/zones?name=example.org")
    (request,) = bench.emulator.requests
    assert ("zones.list", 200, bench.token.id) == (
        request.operation,
        request.status,
        request.token_id,
    )
    assert bench.token.secret not in repr(bench.emulator.requests) + repr(bench.token)
    assert (bench.emulator.calls("zones.list"), bench.emulator.calls("records.list")) == (1, 0)


# ── failing on demand ─────────────────────────────────────────────────────────────────────────────

STATUSES = {
    "rate_limited": (429, 971),
    "rate_limited_html": (429, None),
    "server_error": (500, 10002),
    "bad_gateway": (502, None),
    "unavailable": (503, None),
    "success_false": (200, 10002),
    "auth_10000": (403, 10000),
    "token_9109": (403, 9109),
    "ip_9109": (403, 9109),
    "not_found_7003": (404, 7003),
    "exists_81058": (400, 81058),
    "gone_81044": (404, 81044),
    "timeout_after": (504, None),
}
ENDS = ("drop_before", "drop_after", "reset_mid_body")


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_each_kind_does_what_it_says_once(bench: Bench, kind: str) -> None:
    """The first request fails in its way, applied or not; the second succeeds."""
    injection = bench.emulator.inject(Fault(kind, operation="records.create", seconds=0.01))
    if kind in ENDS:
        with pytest.raises(requests.RequestException):
            bench.ask("POST", bench.records, TXT)
    elif kind == "huge_body":
        with requests.post(
            bench.emulator.base_url + bench.records,
            json=TXT,
            headers=_bearer(bench),
            stream=True,
            timeout=10,
        ) as reply:
            pieces = itertools.islice(reply.iter_content(100_000), 32)
            assert sum(map(len, pieces)) > 1_000_000
    else:
        reply = bench.ask("POST", bench.records, TXT)
        status, code = STATUSES.get(kind, (200, None))
        assert status == reply.status_code
        assert code is None or code == reply.json()["errors"][0]["code"]
        if kind in ("rate_limited", "rate_limited_html", "unavailable"):
            assert reply.headers["Retry-After"] == "1"
        if kind == "truncated_json":
            with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
                reply.json()
        if kind == "empty_body":
            assert reply.content == b""
        if kind == "wrong_result":
            assert "result" not in reply.json()
    applied = kind in APPLIED_FIRST or kind == "slow"
    assert (["value"] if applied else []) == bench.values()
    assert injection.fired == 1
    assert [kind] == [request.fault for request in bench.emulator.requests]
    assert bench.ask("POST", bench.records, {**TXT, "content": '"next"'}).ok


def test_faults_choose_their_requests(bench: Bench) -> None:
    """By operation, method, path and number; others pass."""
    bench.emulator.inject(Fault("server_error", method="GET", path="dns_records", times=2, skip=1))
    statuses = [bench.ask("GET", bench.records).status_code for _ in range(4)]
    assert statuses == [200, 500, 500, 200]
    bench.emulator.inject(Fault("server_error", operation="records.batch", times=9))
    assert bench.ask("GET", "/zones").ok
    bench.emulator.clear_faults()
    assert bench.ask("POST", f"{bench.records}/batch", {"posts": [TXT]}).ok


def test_a_fault_that_is_none_is_a_mistake() -> None:
    """A misspelt kind or operation does not go unnoticed."""
    with pytest.raises(ValueError, match="nonsense"):
        Fault("nonsense")
    with pytest.raises(ValueError, match="nonsense"):
        Fault("slow", operation="nonsense")


def test_connections_are_kept(bench: Bench) -> None:
    """One connection serves many requests, as clients count on."""
    connection = http.client.HTTPConnection(bench.emulator.base_url.split("/")[2])
    for _ in range(3):
        connection.request("GET", "/client/v4/zones", headers=_bearer(bench))
        assert json.loads(connection.getresponse().read())["success"]
        assert connection.sock is not None
    connection.close()
