"""Cloudflare's rules for DNS records, and how it writes records, zones, lists and refusals.

Owns what may be stored, what a batch is, what a filter means, and the documents. It judges records,
not requests: who asks, how, and whether something is to go wrong is the emulator's business.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.world.zones import Record, Zone, new_id, now_text

BATCH_LIMIT = 200
COMMENT_LIMIT = 100
TTL_RANGE = range(60, 86401)

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"(?: +"(?:[^"\\]|\\.)*")*')
_LABEL_SHAPE = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)|\*")
_RECORD_TYPES = frozenset(
    {"A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NS", "PTR", "SRV", "SVCB", "TLSA", "TXT", "URI"}
)
_HOST_TYPES = frozenset({"A", "AAAA", "CNAME"})
ID_SHAPE = re.compile(r"[0-9a-f]{32}")


class Refused(Exception):
    """The request gets an error reply."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        chain: Sequence[tuple[int, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.error: dict[str, Any] = {"code": code, "message": message}
        if chain:
            self.error["error_chain"] = [{"code": c, "message": m} for c, m in chain]


@dataclass(slots=True)
class Reply:
    """What an operation that succeeded has to say."""

    result: Any
    result_info: dict[str, int] | None = None
    messages: list[dict[str, Any]] = field(default_factory=list)


def no_route(path: str, allowed: frozenset[str] = frozenset(), method: str = "") -> Refused:
    """The refusal of a path, or of a method where the path is known."""
    if allowed:
        headers = {"Allow": ", ".join(sorted(allowed))}
        return Refused(405, 7001, f"Method {method} not available for that URI.", headers=headers)
    text = f"Could not route to {path}, perhaps your object identifier is invalid?"
    return Refused(404, 7003, text, [(7000, "No route for that URI")])


class Change:
    """One transaction on a zone's records: an exception in it leaves the store as it was."""

    def __init__(self, zone: Zone, records: dict[str, Record]) -> None:
        self._zone = zone
        self._records = records
        self._messages: list[dict[str, Any]] = []

    def apply(self, operation: str, ids: Sequence[str], body: Any) -> Reply:
        """Carry out a changing operation; `ids` are those of its path."""
        result: Any
        match operation:
            case "records.create":
                result = self._create(body)
            case "records.replace":
                result = self._put(ids[1], body)
            case "records.edit":
                result = self._patch(ids[1], body)
            case "records.delete":
                result = self._delete(ids[1])
                result = {"id": result["id"]}
            case _:
                result = self._batch(body)
        return Reply(result, messages=self._messages)

    def _batch(self, body: Any) -> dict[str, Any]:
        parts: dict[str, list[Any]] = {}
        for part in ("deletes", "patches", "puts", "posts"):
            operations = _object(body).get(part)
            parts[part] = operations if isinstance(operations, list) else []
            if operations is not None and not isinstance(operations, list):
                raise Refused(400, 9207, f"Request body is invalid: {part} is not a list.")
        if unknown := set(body) - set(parts):
            raise Refused(400, 9207, f"Request body is invalid: {min(unknown)}.")
        total = sum(len(operations) for operations in parts.values())
        if not 0 < total <= BATCH_LIMIT:
            raise Refused(400, 9207, f"A batch takes 1 to {BATCH_LIMIT} operations, not {total}.")
        # This order is the documented one: room is made before it is taken.
        return {
            "deletes": [self._delete(_id_of(each)) for each in parts["deletes"]],
            "patches": [self._patch(_id_of(each), each) for each in parts["patches"]],
            "puts": [self._put(_id_of(each), each) for each in parts["puts"]],
            "posts": [self._create(each) for each in parts["posts"]],
        }

    def _create(self, body: Any) -> dict[str, Any]:
        if len(self._records) >= self._zone.record_quota:
            raise Refused(400, 81045, "Record quota exceeded.")
        return self._store(Record(self._zone.id, "", "", ""), body, complete=True)

    def _put(self, record_id: str, body: Any) -> dict[str, Any]:
        old = existing(self._records, record_id)
        blank = Record(old.zone_id, "", "", "", id=old.id, created_on=old.created_on)
        return self._store(blank, body, complete=True)

    def _patch(self, record_id: str, body: Any) -> dict[str, Any]:
        return self._store(existing(self._records, record_id), body, complete=False)

    def _delete(self, record_id: str) -> dict[str, Any]:
        record = existing(self._records, record_id)
        del self._records[record_id]
        return record_json(record)

    def _store(self, base: Record, body: Any, *, complete: bool) -> dict[str, Any]:
        sent = _object(body)
        if complete and not {"type", "name", "content"} <= set(sent):
            missing = min({"type", "name", "content"} - set(sent))
            raise _invalid(9207, f"{missing} is a required field.")
        record = replace(
            base,
            type=sent.get("type", base.type),
            name=self._full_name(sent.get("name", base.name)),
            content=sent.get("content", base.content),
            ttl=sent.get("ttl", base.ttl),
            comment=sent.get("comment", base.comment) or None,
            proxied=sent.get("proxied", base.proxied),
            priority=sent.get("priority", base.priority),
            modified_on=now_text(),
        )
        _check(record)
        self._check_neighbours(record)
        if record.type == "TXT" and not record.content.startswith('"'):
            text = "TXT content should be wrapped in quotation marks."
            self._messages.append({"code": 81082, "message": text})
        self._records[record.id] = record
        return record_json(record)

    def _full_name(self, sent: Any) -> str:
        if not isinstance(sent, str) or not sent:
            raise _invalid(9000, "DNS name is invalid.")
        name = sent.lower().rstrip(".")
        if name == "@":
            return self._zone.name
        # As at Cloudflare, a name that is not in the zone is taken as relative to it.
        if name != self._zone.name and not name.endswith("." + self._zone.name):
            name = f"{name}.{self._zone.name}"
        if len(name) > 253 or not all(_LABEL_SHAPE.fullmatch(label) for label in name.split(".")):
            raise _invalid(9000, "DNS name is invalid.")
        return name

    def _check_neighbours(self, record: Record) -> None:
        for other in self._records.values():
            if other.id == record.id or other.name != record.name:
                continue
            if other.type == record.type and other.bare_content == record.bare_content:
                raise Refused(400, 81058, "An identical record already exists.")
            # Only these three shut each other out; Cloudflare allows TXT beside a CNAME.
            if record.type == "CNAME" and other.type in _HOST_TYPES:
                raise Refused(
                    400, 81053, "An A, AAAA, or CNAME record with that host already exists."
                )
            if record.type in _HOST_TYPES and other.type == "CNAME":
                raise Refused(400, 81054, "A CNAME record with that host already exists.")


def conditions(query: Mapping[str, str]) -> Iterator[Callable[[Record], bool]]:
    """The conditions that a list's query sets."""
    for name, wanted in query.items():
        attribute, _, operator = name.partition(".")
        match attribute, operator:
            case "type", "":
                yield _equals("type", wanted.upper())
            case "proxied", "":
                yield _equals("proxied", wanted == "true")
            case "comment", "present" | "absent":
                yield _has_comment if operator == "present" else _has_no_comment
            case "name" | "content" | "comment", _:
                yield _text_condition(attribute, operator or "exact", wanted.lower())


def _equals(attribute: str, wanted: object) -> Callable[[Record], bool]:
    return lambda record: bool(getattr(record, attribute) == wanted)


def _has_comment(record: Record) -> bool:
    return record.comment is not None


def _has_no_comment(record: Record) -> bool:
    return record.comment is None


def _text_condition(attribute: str, operator: str, wanted: str) -> Callable[[Record], bool]:
    def holds(record: Record) -> bool:
        text = (getattr(record, attribute) or "").lower()
        match operator:
            case "contains":
                return wanted in text
            case "startswith":
                return bool(text.startswith(wanted))
            case "endswith":
                return bool(text.endswith(wanted))
            case _:
                return bool(text == wanted)

    return holds


def page_of(items: list[Any], query: Mapping[str, str], *, default: int, most: int) -> Reply:
    """One page of a list, with its counts."""
    try:
        page, per_page = int(query.get("page", 1)), int(query.get("per_page", default))
    except ValueError:
        page = per_page = 0
    if page < 1 or not 1 <= per_page <= most:
        raise Refused(400, 1004, f"page must be at least 1 and per_page between 1 and {most}")
    shown = items[(page - 1) * per_page : page * per_page]
    return Reply(
        shown,
        {
            "page": page,
            "per_page": per_page,
            "count": len(shown),
            "total_count": len(items),
            "total_pages": -(-len(items) // per_page),
        },
    )


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise Refused(400, 9207, "Request body is invalid.")
    return body


def _id_of(body: Any) -> str:
    record_id = _object(body).get("id")
    if not isinstance(record_id, str) or not ID_SHAPE.fullmatch(record_id):
        raise Refused(400, 9207, "Request body is invalid: id is a required field.")
    return record_id


def existing(records: Mapping[str, Record], record_id: str) -> Record:
    """The record of this identifier; a wrong or unknown one is refused."""
    if not ID_SHAPE.fullmatch(record_id):
        raise no_route(f"/dns_records/{record_id}")
    record = records.get(record_id)
    if record is None:
        raise Refused(404, 81044, "Record does not exist.")
    return record


def _invalid(code: int, message: str) -> Refused:
    return Refused(400, 1004, "DNS Validation Error", [(code, message)])


def _check(record: Record) -> None:
    """Refuse what Cloudflare would not store."""
    # What was sent may be anything, whatever the types of Record say.
    content: Any = record.content
    ttl: Any = record.ttl
    comment: Any = record.comment
    proxied: Any = record.proxied
    if record.type not in _RECORD_TYPES:
        raise _invalid(9004, "DNS record type is invalid.")
    if not isinstance(content, str) or not content:
        raise _invalid(9005, f"Content for {record.type} record is invalid.")
    if type(ttl) is not int or (ttl != 1 and ttl not in TTL_RANGE):
        text = "Invalid TTL. Must be between 60 and 86,400 seconds, or 1 for Automatic."
        raise Refused(400, 9021, text)
    if comment is not None and (not isinstance(comment, str) or len(comment) > COMMENT_LIMIT):
        raise _invalid(9312, f"Comment is longer than {COMMENT_LIMIT} characters.")
    if not isinstance(proxied, bool) or (proxied and record.type not in _HOST_TYPES):
        raise _invalid(9003, "Invalid 'proxied' value for this record.")
    match record.type:
        case "A" | "AAAA":
            _check_address(record.type, content)
        case "CNAME" | "NS":
            labels = content.lower().rstrip(".").split(".")
            if len(labels) < 2 or not all(_LABEL_SHAPE.fullmatch(label) for label in labels):
                raise _invalid(9007, f"Content for {record.type} record is invalid.")
        case "TXT":
            _check_txt(content)
        case _:
            pass


def _check_address(record_type: str, content: str) -> None:
    wanted = 4 if record_type == "A" else 6
    try:
        right = ipaddress.ip_address(content).version == wanted
    except ValueError:
        right = False
    if not right:
        text = f"Content for {record_type} record must be a valid IPv{wanted} address."
        raise _invalid(9005, text)


def _check_txt(content: str) -> None:
    if any(ord(letter) < 32 for letter in content) or len(content) > 8192:
        raise _invalid(9051, "Invalid content for TXT record.")
    if content.startswith('"') and not _QUOTED.fullmatch(content):
        raise _invalid(9051, "Invalid quoting in the content of a TXT record.")


def record_json(record: Record) -> dict[str, Any]:
    """A record as the API shows it."""
    document: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "type": record.type,
        "content": record.content,
        "proxiable": record.type in _HOST_TYPES,
        "proxied": record.proxied,
        "ttl": record.ttl,
        "settings": {},
        "meta": {},
        "comment": record.comment,
        "tags": list(record.tags),
        "created_on": record.created_on,
        "modified_on": record.modified_on,
    }
    if record.comment is not None:
        document["comment_modified_on"] = record.modified_on
    if record.priority is not None:
        document["priority"] = record.priority
    return document


def zone_json(zone: Zone) -> dict[str, Any]:
    """A zone as the API shows it."""
    return {
        "id": zone.id,
        "name": zone.name,
        "status": zone.status,
        "paused": zone.paused,
        "type": "full",
        "development_mode": 0,
        "name_servers": list(zone.name_servers),
        "original_name_servers": None,
        "original_registrar": None,
        "original_dnshost": None,
        "created_on": zone.created_on,
        "modified_on": zone.created_on,
        "activated_on": zone.created_on if zone.status == "active" else None,
        "meta": {"step": 2, "page_rule_quota": 3, "phishing_detected": False},
        "owner": {"id": None, "type": "user", "email": None},
        "account": {"id": zone.account_id, "name": "World"},
        "permissions": [],
        "plan": {"id": new_id(), "name": "Free Website", "legacy_id": "free", "price": 0},
    }
