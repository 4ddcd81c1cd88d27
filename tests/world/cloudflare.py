"""Cloudflare's v4 API, emulated strictly: zones, DNS records, tokens, and its many ways to fail.

Owns judging requests as Cloudflare documents it, and failing on demand. The records live in a
`Zones` store, which DNS reads. What no client needs to tell apart is not emulated: plans, rules,
proxies, tags. Where a code is not documented the nearest documented one stands in.
"""

import ipaddress
import json
import re
import secrets
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.message import Message
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from tests.world.cloudflare_rules import (
    ID_SHAPE,
    Change,
    Refused,
    Reply,
    conditions,
    existing,
    no_route,
    page_of,
    record_json,
    zone_json,
)
from tests.world.faults import FaultyServer
from tests.world.server import Handler, LoopbackServer
from tests.world.zones import Record, Zone, Zones, new_id

PREFIX = "/client/v4"

ZONE_READ = "zone:read"
DNS_READ = "dns:read"
DNS_EDIT = "dns:edit"
FULL = (ZONE_READ, DNS_READ, DNS_EDIT)

OPERATIONS = (
    "tokens.verify",
    "account_tokens.verify",
    "zones.list",
    "zones.get",
    "records.list",
    "records.get",
    "records.create",
    "records.replace",
    "records.edit",
    "records.delete",
    "records.batch",
)

# What each kind does stands in `_Exchange.fail`; those in the second group apply the change first.
FAULT_KINDS = (
    "rate_limited",
    "rate_limited_html",
    "server_error",
    "bad_gateway",
    "unavailable",
    "drop_before",
    "success_false",
    "empty_body",
    "slow",
    "wrong_result",
    "auth_10000",
    "token_9109",
    "ip_9109",
    "not_found_7003",
    "exists_81058",
    "gone_81044",
    "huge_body",
    "drop_after",
    "timeout_after",
    "reset_mid_body",
    "truncated_json",
)
APPLIED_FIRST = frozenset({"drop_after", "timeout_after", "reset_mid_body", "truncated_json"})

_TOKEN_SHAPE = re.compile(r"(cfut_|cfat_)?[A-Za-z0-9_-]{40,64}")
_GLOBAL_KEY_SHAPE = re.compile(r"cfk_[A-Za-z0-9]{40,64}|[0-9a-f]{37}")
_TEXT_OPERATORS = ("exact", "contains", "startswith", "endswith")


TokenStatus = Literal["active", "disabled", "expired"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to go wrong: `times` matching requests after the first `skip` fail as `kind`.

    A request matches if every condition given does: `operation` (one of OPERATIONS), `method`, and
    `path`, a regular expression searched in the path below `/client/v4`.
    """

    kind: str
    operation: str | None = None
    method: str | None = None
    path: str | None = None
    times: int = 1
    skip: int = 0
    retry_after: int | str = 1
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            message = f"no fault is called {self.kind!r}"
            raise ValueError(message)
        if self.operation is not None and self.operation not in OPERATIONS:
            message = f"no operation is called {self.operation!r}"
            raise ValueError(message)

    def matches(self, method: str, path: str, operation: str | None) -> bool:
        """Whether it is meant for such a request."""
        return (
            self.operation in (None, operation)
            and self.method in (None, method)
            and (self.path is None or re.search(self.path, path) is not None)
        )


@dataclass(frozen=True, slots=True)
class Token:
    """An API token: its secret, and what it may do in which zone (`*`: in all).

    An account's token sees that account's zones only; `not_before` and `expires_on` are RFC 3339.
    """

    secret: str = field(repr=False)
    id: str
    permissions: Mapping[str, frozenset[str]]
    status: TokenStatus = "active"
    account_id: str | None = None  # None: a user's
    addresses: tuple[str, ...] = ()
    not_before: str | None = None
    expires_on: str | None = None

    def reaches(self, zone: Zone) -> bool:
        """Whether it has anything to do with this zone."""
        return self.account_id in (None, zone.account_id) and bool(
            {zone.id, "*"} & set(self.permissions)
        )

    def is_good(self) -> bool:
        """Whether it opens anything now."""
        return self.status == "active" and (
            self.not_before is None or datetime.fromisoformat(self.not_before) <= datetime.now(UTC)
        )

    def may(self, permission: str, zone: Zone) -> bool:
        """Whether it allows this in this zone; who may edit may read."""
        if not self.reaches(zone):
            return False
        granted = self.permissions.get(zone.id, frozenset()) | self.permissions.get(
            "*", frozenset()
        )
        return permission in granted or (permission == DNS_READ and DNS_EDIT in granted)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was answered; status 0 means that the connection ended instead."""

    method: str
    path: str
    query: str
    operation: str | None
    status: int
    token_id: str | None
    fault: str | None
    at: float


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that has found its operation."""

    operation: str
    ids: tuple[str, ...]
    query: Mapping[str, str]
    body: Any
    token: Token | None  # None: a Global API Key, which may do everything


_ROUTES: tuple[tuple[str, re.Pattern[str], str], ...] = tuple(
    (method, re.compile(pattern), operation)
    for method, pattern, operation in (
        ("GET", r"/user/tokens/verify", "tokens.verify"),
        ("GET", r"/accounts/([^/]+)/tokens/verify", "account_tokens.verify"),
        ("GET", r"/zones", "zones.list"),
        ("GET", r"/zones/([^/]+)", "zones.get"),
        ("GET", r"/zones/([^/]+)/dns_records", "records.list"),
        ("POST", r"/zones/([^/]+)/dns_records", "records.create"),
        ("POST", r"/zones/([^/]+)/dns_records/batch", "records.batch"),
        ("GET", r"/zones/([^/]+)/dns_records/([^/]+)", "records.get"),
        ("PUT", r"/zones/([^/]+)/dns_records/([^/]+)", "records.replace"),
        ("PATCH", r"/zones/([^/]+)/dns_records/([^/]+)", "records.edit"),
        ("DELETE", r"/zones/([^/]+)/dns_records/([^/]+)", "records.delete"),
    )
)

_QUERIES: dict[str, frozenset[str]] = {
    "zones.list": frozenset(
        {"name", "status", "account.id", "account.name", "page", "per_page", "order", "direction"}
        | {"match"}
    ),
    "records.list": frozenset(
        {"type", "match", "page", "per_page", "order", "direction", "proxied", "search"}
        | {"comment.present", "comment.absent", "include_shadow_metadata"}
        | {"name", "content", "comment"}
        | {f"{name}.{op}" for name in ("name", "content", "comment") for op in _TEXT_OPERATORS}
    ),
}


class CloudflareEmulator(FaultyServer[Fault, Request]):
    """The emulated API over one store; a context manager that serves while it is open."""

    def __init__(
        self,
        store: Zones,
        *,
        port: int = 0,
        context: ssl.SSLContext | None = None,
        rate_limit: tuple[int, float] = (1200, 300.0),
        refuse_content_type_on_delete: bool = False,
    ) -> None:
        """Serve `store`.

        `refuse_content_type_on_delete` refuses a `Content-Type: application/json` on a DELETE
        without a body, as some clients were (NginxProxyGuard#99). It is off because the
        Python library of Cloudflare itself sends just that.
        """
        self.store = store
        self.rate_limit = rate_limit
        self.refuse_content_type_on_delete = refuse_content_type_on_delete
        self._tokens: dict[str, Token] = {}
        self._global_keys: dict[str, str] = {}
        self._spent: dict[str, deque[float]] = {}
        self._blocked_until: dict[str, float] = {}

        emulator = self

        class Exchange(_Exchange):
            world = emulator

        super().__init__(LoopbackServer(Exchange, port=port, context=context))

    @property
    def base_url(self) -> str:
        """What a client takes for the API's address, ending in `/client/v4`."""
        return self._server.origin + PREFIX

    # Who may come in.

    def add_token(
        self,
        *permissions: str,
        zones: Sequence[Zone] | None = None,
        status: TokenStatus = "active",
        kind: Literal["user", "account"] = "user",
        addresses: Sequence[str] = (),
        not_before: str | None = None,
        expires_on: str | None = None,
        secret: str | None = None,
    ) -> Token:
        """Make a token with `permissions` (default: all three) in `zones` (default: everywhere).

        One of the kind "account" belongs to the store's account.
        """
        prefix = "cfut_" if kind == "user" else "cfat_"
        secret = secret or prefix + secrets.token_hex(24)
        if not _TOKEN_SHAPE.fullmatch(secret):
            message = "Cloudflare's tokens have at least 40 letters"
            raise ValueError(message)
        granted = frozenset(permissions or FULL)
        where = ["*"] if zones is None else [zone.id for zone in zones]
        token = Token(
            secret=secret,
            id=new_id(),
            permissions=dict.fromkeys(where, granted),
            status=status,
            account_id=self.store.account_id if kind == "account" else None,
            addresses=tuple(addresses),
            not_before=not_before,
            expires_on=expires_on,
        )
        with self._lock:
            self._tokens[secret] = token
        return token

    def change_token(self, token: Token, *, status: TokenStatus) -> None:
        """Let a token die, or live again."""
        with self._lock:
            self._tokens[token.secret] = replace(token, status=status)

    def add_global_key(self, email: str) -> str:
        """Make a Global API Key, which is sent as X-Auth-Key with X-Auth-Email."""
        key = secrets.token_hex(19)[:37]
        with self._lock:
            self._global_keys[key] = email
        return key

    def calls(self, operation: str | None = None) -> int:
        """How many requests there were, of one operation or of all."""
        return sum(1 for request in self.requests if operation in (None, request.operation))

    # Judging.

    def authenticate(self, headers: Message, client: str) -> Token | None:
        """The token of a request, or None for a Global API Key; anything else is refused."""
        authorization = headers.get("Authorization")
        if authorization is None:
            self._authenticate_by_key(headers)
            return None
        scheme, _, secret = authorization.partition(" ")
        if (
            scheme.lower() != "bearer"
            or not _TOKEN_SHAPE.fullmatch(secret)
            or _GLOBAL_KEY_SHAPE.fullmatch(secret)
        ):
            raise Refused(
                400,
                6003,
                "Invalid request headers",
                [(6111, "Invalid format for Authorization header")],
            )
        with self._lock:
            token = self._tokens.get(secret)
        if token is None:
            raise Refused(403, 9109, "Invalid access token")
        if token.addresses and not any(
            ipaddress.ip_address(client) in ipaddress.ip_network(allowed)
            for allowed in token.addresses
        ):
            raise Refused(403, 9109, f"Cannot use the access token from location: {client}")
        return token

    def _authenticate_by_key(self, headers: Message) -> None:
        key, email = headers.get("X-Auth-Key"), headers.get("X-Auth-Email")
        if key is None and email is None:
            raise Refused(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers")
        if key is None or email is None:
            raise Refused(400, 9106, "Missing X-Auth-Key or X-Auth-Email header")
        if not _GLOBAL_KEY_SHAPE.fullmatch(key):
            raise Refused(
                400,
                6003,
                "Invalid request headers",
                [(6103, "Invalid format for X-Auth-Key header")],
            )
        with self._lock:
            known = self._global_keys.get(key)
        if known != email:
            raise Refused(403, 9103, "Unknown X-Auth-Key or X-Auth-Email")

    def spend(self, who: str) -> dict[str, str]:
        """Count one request against the rate limit; return the headers that tell of it."""
        quota, window = self.rate_limit
        now = time.monotonic()
        with self._lock:
            blocked = self._blocked_until.get(who, 0.0)
            spent = self._spent.setdefault(who, deque())
            while spent and spent[0] <= now - window:
                spent.popleft()
            if now >= blocked and len(spent) >= quota:
                # Over the limit every call is blocked for a whole window.
                blocked = self._blocked_until[who] = now + window
            if now < blocked:
                wait = str(int(blocked - now) + 1)
                raise Refused(
                    429,
                    971,
                    "Please wait and consider throttling your request speed",
                    headers={"Retry-After": wait, "Ratelimit": f'"default";r=0;t={wait}'},
                )
            spent.append(now)
            left = quota - len(spent)
        return {
            "Ratelimit": f'"default";r={left};t={int(window)}',
            "Ratelimit-Policy": f'"default";q={quota};w={int(window)}',
        }

    def carry_out(self, call: _Call) -> Reply:
        """Do what a request asks for."""
        known = _QUERIES.get(call.operation, frozenset())
        for name in call.query:
            if name not in known:
                # Cloudflare ignores what it does not know; here it is a mistake to be found.
                raise Refused(400, 1004, f"Unknown query parameter: {name}")
        if call.operation in ("tokens.verify", "account_tokens.verify"):
            return self._verify(call)
        if call.token is not None and not call.token.is_good():
            raise Refused(403, 9109, "Invalid access token")
        if call.operation == "zones.list":
            return self._list_zones(call)
        zone = self._zone(call)
        self._require_permission(call, zone)
        match call.operation:
            case "zones.get":
                return Reply(zone_json(zone))
            case "records.list":
                return self._list_records(call, zone)
            case "records.get":
                return Reply(record_json(existing(self._by_id(zone), call.ids[1])))
            case _:
                with self.store.change(zone.id) as records:
                    return Change(zone, records).apply(call.operation, call.ids, call.body)

    def _require_permission(self, call: _Call, zone: Zone) -> None:
        if call.token is None:
            return
        if call.operation == "zones.get":
            if not call.token.may(ZONE_READ, zone):
                raise Refused(403, 9109, "Unauthorized to access requested resource")
            return
        reads = call.operation in ("records.list", "records.get")
        if not call.token.may(DNS_READ if reads else DNS_EDIT, zone):
            raise Refused(403, 10000, "Authentication error")

    def _by_id(self, zone: Zone) -> dict[str, Record]:
        return {record.id: record for record in self.store.records(zone.id)}

    def _zone(self, call: _Call) -> Zone:
        zone = self.store.zone(call.ids[0]) if ID_SHAPE.fullmatch(call.ids[0]) else None
        if zone is None:
            raise no_route(f"/zones/{call.ids[0]}")
        # Another account's zone does not exist for a token that has nothing in it.
        if call.token and not call.token.reaches(zone):
            raise Refused(403, 10000, "Authentication error")
        return zone

    def _verify(self, call: _Call) -> Reply:
        token = call.token
        if call.ids and not ID_SHAPE.fullmatch(call.ids[0]):
            raise no_route(f"/accounts/{call.ids[0]}/tokens/verify")
        # A user's token at an account, an account's at the user or another account: no such token.
        if token is None or [token.account_id] != [*call.ids, None][:1]:
            raise Refused(401, 1000, "Invalid API Token")
        result = {"id": token.id, "status": token.status}
        if token.not_before:
            result["not_before"] = token.not_before
        if token.expires_on:
            result["expires_on"] = token.expires_on
        said = {"code": 10000, "message": "This API Token is valid and active", "type": None}
        return Reply(result, messages=[said] if token.status == "active" else [])

    def _list_zones(self, call: _Call) -> Reply:
        query = call.query
        zones = [
            zone
            for zone in self.store.zones()
            # A zone that the token may not read is left out, and nothing says so.
            if (call.token is None or call.token.may(ZONE_READ, zone))
            and query.get("name", zone.name).lower() == zone.name
            and query.get("status", zone.status) == zone.status
            and query.get("account.id", zone.account_id) == zone.account_id
        ]
        return page_of([zone_json(zone) for zone in zones], query, default=20, most=50)

    def _list_records(self, call: _Call, zone: Zone) -> Reply:
        wanted = list(conditions(call.query))
        combine = any if call.query.get("match") == "any" and wanted else all
        found = [
            record
            for record in self.store.records(zone.id)
            if combine(condition(record) for condition in wanted)
        ]
        if order := call.query.get("order"):
            found.sort(
                key=lambda record: str(getattr(record, order, "")),
                reverse=call.query.get("direction") == "desc",
            )
        return page_of(
            [record_json(record) for record in found], call.query, default=100, most=5000
        )


class _Exchange(Handler):
    """One request and its reply."""

    world: CloudflareEmulator

    def respond(self, body: bytes) -> None:
        """Answer one request, or fail as injected."""
        self._url = urlsplit(self.path)
        self._route = _route(self.command, self._url.path.removeprefix(PREFIX))
        self._body = body
        self._token_id: str | None = None
        path = self._url.path.removeprefix(PREFIX)
        self._fault = self.world.take_fault(
            lambda fault: fault.matches(self.command, path, self._route.operation)
        )
        if self._fault is None:
            self._send(*self._judge())
        else:
            self.fail(self._fault)

    def _log(self, status: int) -> None:
        """Put the request into the log: before the reply, so that who has that finds this."""
        self.world.log(
            Request(
                method=self.command,
                path=self._url.path.removeprefix(PREFIX),
                query=self._url.query,
                operation=self._route.operation,
                status=status,
                token_id=self._token_id,
                fault=self._fault.kind if self._fault else None,
                at=time.monotonic(),
            )
        )

    def _judge(self) -> tuple[int, bytes, dict[str, str]]:
        """Judge the request and carry it out; return status, body and headers of the reply."""
        headers: dict[str, str] = {}
        path, route = self._url.path, self._route
        try:
            if not path.startswith(PREFIX + "/"):
                raise no_route(path)
            token = self.world.authenticate(self.headers, self.client_address[0])
            self._token_id = token.id if token else None
            headers = self.world.spend(token.id if token else "global")
            if route.operation is None:
                raise no_route(path.removeprefix(PREFIX), route.allowed, self.command)
            reply = self.world.carry_out(
                _Call(
                    operation=route.operation,
                    ids=route.ids,
                    query=_query(self._url.query),
                    body=self._read_json(self._body),
                    token=token,
                )
            )
        except Refused as refused:
            document = envelope(None, errors=[refused.error])
            return refused.status, document, {**headers, **refused.headers}
        document = envelope(reply.result, messages=reply.messages, result_info=reply.result_info)
        return 200, document, headers

    def _read_json(self, body: bytes) -> Any:
        given = self.headers.get("Content-Type")
        content_type = (given or "").partition(";")[0].strip().lower()
        wrong = [(6105, "Invalid Content-Type header, valid values are application/json")]
        if self.command in ("GET", "DELETE") and not body:
            strict = self.world.refuse_content_type_on_delete or content_type != "application/json"
            if self.command == "DELETE" and given is not None and strict:
                raise Refused(400, 6003, "Invalid request headers", wrong)
            return None
        if content_type != "application/json":
            raise Refused(400, 6003, "Invalid request headers", wrong)
        try:
            return json.loads(body)
        except ValueError:
            raise Refused(400, 6007, "Malformed JSON in request body") from None

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._log(status)
        kind = {"Content-Type": "application/json; charset=UTF-8", "CF-Ray": secrets.token_hex(8)}
        self.send(status, body, {**kind, **headers})

    def _send_html(self, status: int, title: str, headers: Mapping[str, str] | None = None) -> None:
        self._log(status)
        page = (
            f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{title}</body></html>"
        )
        self.send(status, page.encode(), {"Content-Type": "text/html", **(headers or {})})

    def _send_error(self, status: int, code: int, message: str, **headers: str) -> None:
        document = envelope(None, errors=[{"code": code, "message": message}])
        self._send(status, document, headers)

    def fail(self, fault: Fault) -> None:  # noqa: C901, PLR0912, PLR0915 - one table, a row per kind
        """Fail as `fault` says."""
        judge = self._judge
        wait = str(fault.retry_after)
        match fault.kind:
            case "rate_limited":
                document = envelope(
                    None,
                    errors=[
                        {
                            "code": 971,
                            "message": "Please wait and consider throttling your request speed",
                        }
                    ],
                )
                self._send(429, document, {"Retry-After": wait})
            case "rate_limited_html":
                self._send_html(
                    429, "Error 1015: You are being rate limited", {"Retry-After": wait}
                )
            case "server_error":
                self._send_error(500, 10002, "Internal server error")
            case "bad_gateway":
                self._send_html(502, "502 Bad Gateway")
            case "unavailable":
                self._send_html(503, "503 Service Temporarily Unavailable", {"Retry-After": wait})
            case "drop_before":
                self._log(0)
                self.hang_up()
            case "success_false":
                self._send_error(200, 10002, "Internal error")
            case "empty_body":
                self._send(200, b"", {})
            case "slow":
                self.server.stopping.wait(fault.seconds)
                self._send(*judge())
            case "wrong_result":
                document = json.dumps({"success": True, "errors": [], "messages": []}).encode()
                self._send(200, document, {})
            case "auth_10000":
                self._send_error(403, 10000, "Authentication error")
            case "token_9109":
                self._send_error(403, 9109, "Invalid access token")
            case "ip_9109":
                self._send_error(403, 9109, "Cannot use the access token from location: 192.0.2.77")
            case "not_found_7003":
                text = "Could not route to the resource, perhaps your object identifier is invalid?"
                self._send_error(404, 7003, text)
            case "exists_81058":
                self._send_error(400, 81058, "An identical record already exists.")
            case "gone_81044":
                self._send_error(404, 81044, "Record does not exist.")
            case "huge_body":
                self._log(200)
                head = b'{"success":true,"errors":[],"messages":[],"result":["'
                endless = (head if n == 0 else b"A" * 65536 for n in range(16 * 1024))
                self.stream(200, {"Content-Type": "application/json"}, endless)
            case "drop_after":
                judge()
                self._log(0)
                self.hang_up()
            case "timeout_after":
                judge()
                self._send_html(504, "504 Gateway Time-out")
            case "reset_mid_body":
                _, body, _ = judge()
                self._log(200)
                self.send_head(
                    200, {"Content-Type": "application/json", "Content-Length": str(len(body))}
                )
                self.wfile.write(body[: len(body) // 2])
                self.hang_up(reset=True)
            case "truncated_json":
                status, body, headers = judge()
                self._send(status, body[: len(body) // 2], headers)


def envelope(
    result: Any,
    *,
    errors: Sequence[Mapping[str, Any]] = (),
    messages: Sequence[Mapping[str, Any]] = (),
    result_info: Mapping[str, int] | None = None,
) -> bytes:
    """The document that every reply of the API is."""
    document: dict[str, Any] = {
        "result": result,
        "success": not errors,
        "errors": list(errors),
        "messages": list(messages),
    }
    if result_info is not None:
        document["result_info"] = result_info
    return json.dumps(document).encode()


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a request leads: its operation if there is one, else the methods known there."""

    operation: str | None
    ids: tuple[str, ...] = ()
    allowed: frozenset[str] = frozenset()


def _route(method: str, path: str) -> _Route:
    allowed = set()
    for known, pattern, operation in _ROUTES:
        found = pattern.fullmatch(path)
        # `batch` stands where a record's identifier would.
        if found is None or found.groups()[1:] == ("batch",):
            continue
        if known == method:
            return _Route(operation, found.groups())
        allowed.add(known)
    return _Route(None, allowed=frozenset(allowed))


def _query(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs):
        raise Refused(400, 1004, "A query parameter is given twice")
    return query
