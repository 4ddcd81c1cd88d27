"""What Cloudflare's API tells about the token, the zones and their records, for who looks only.

Owns asking and reading; nothing here is ever changed. What it means is judged by whoever asks.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from certwarden.errors import ZoneError, clean
from certwarden.model import Place, Secret, TokenHealth
from certwarden.ports import Clock
from certwarden.zone.client import PAGE_SIZE, CloudflareClient, ReplyLostError
from certwarden.zone.cloudflare import ZONES_IN_A_PAGE, CloudflareZone
from certwarden.zone.names import CHALLENGE_LABEL, normalised
from certwarden.zone.once import Once
from certwarden.zone.refusals import NO_SUCH_PLACE, RefusedError, explain

PATIENCE = timedelta(seconds=2)  # somebody waits for the answer
_NEEDED = frozenset({"CNAME", "NS", "TXT"})


@dataclass(frozen=True)
class SurveyedZone:
    """A zone as the API shows it; `status` is "" where only its id is known, from zone_ids."""

    id: str
    name: str
    status: str = ""
    name_servers: tuple[str, ...] = ()


@dataclass(frozen=True)
class SurveyedRecord:
    """A record as the API shows it; names are in lower case, TXT contents without quotes."""

    id: str
    type: str
    name: str
    content: str
    comment: str = ""
    is_proxied: bool = False


class CloudflareSurvey:
    """Looks by one token; safe for threads, and asks for each thing once. Raises ZoneError.

    `zone_ids` maps names to the ids of zones that the token need not be able to list.
    """

    def __init__(
        self,
        token: Secret,
        *,
        base_url: str | None,
        zone_ids: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self._client = CloudflareClient(token, base_url=base_url, clock=clock, patience=PATIENCE)
        self._zone = CloudflareZone(
            token, base_url=base_url, zone_ids=zone_ids, clock=clock, patience=PATIENCE
        )
        self._zone_ids = {normalised(name): zone_id for name, zone_id in zone_ids.items()}
        self._listed = Once(self._list_zones)
        self._recorded = Once(self._list_records)

    def verify(self) -> TokenHealth:
        """Whether the token is good, and until when; raises a permanent error if it is not."""
        return self._zone.verify()

    def zone_of(self, domain: str) -> SurveyedZone | None:
        """The closest zone that holds the domain's challenge; None where the token sees none.

        Of several of the same name the active one: a domain that was moved is there twice.
        """
        challenge = challenge_name(domain)
        given = [
            SurveyedZone(zone_id, name)
            for name, zone_id in self._zone_ids.items()
            if holds(name, challenge)
        ]
        if given:
            return max(given, key=lambda zone: len(zone.name))
        seen = [zone for zone in self._listed(None) if holds(zone.name, challenge)]
        return max(seen, key=lambda zone: (len(zone.name), zone.status == "active"), default=None)

    def records(self, zone: SurveyedZone) -> tuple[SurveyedRecord, ...]:
        """The zone's CNAME, NS and TXT records."""
        return self._recorded(zone)

    def locate(self, domain: str) -> Place:
        """Where the domain's challenge must be written, after whatever CNAMEs."""
        (place,) = self._zone.locate([challenge_name(domain)])
        return place

    def may_edit(self, zone: SurveyedZone) -> ZoneError | None:
        """Why the token may not change records of the zone; None if it may.

        Nothing tells it that a token with these permissions may ask for. So a record is to be
        deleted whose random id no record has: that it is not there is told only to who might have
        removed it. Of a zone that was listed, NO_SUCH_PLACE is about the record.
        """
        missing = [{"id": secrets.token_hex(16)}]
        try:
            self._client.batch(quote(zone.id, safe=""), "deletes", missing)
        except RefusedError as refused:
            is_no_such_record = refused.does_not_exist or (
                zone.status and refused.codes & NO_SUCH_PLACE
            )
            if refused.status in (401, 403) or not is_no_such_record:
                return explain(refused, f"change records of {zone.name}")
        except ReplyLostError as lost:
            raise ZoneError(f"could not ask Cloudflare: {lost}") from None
        return None

    def _list_zones(self, _: None) -> tuple[SurveyedZone, ...]:
        found = self._client.everything(
            "/zones", {"per_page": str(ZONES_IN_A_PAGE)}, "list the zones that the token may see"
        )
        return tuple(
            SurveyedZone(
                item["id"],
                normalised(_text(item, "name")),
                clean(_text(item, "status"), 30) or "unknown",
                (*_names(item, "name_servers"), *_names(item, "vanity_name_servers")),
            )
            for item in found
        )

    def _list_records(self, zone: SurveyedZone) -> tuple[SurveyedRecord, ...]:
        found = self._client.everything(
            f"/zones/{quote(zone.id, safe='')}/dns_records",
            {"per_page": str(PAGE_SIZE)},
            f"list the records of {zone.name}",
        )
        return tuple(_record(item) for item in found if _text(item, "type") in _NEEDED)


def challenge_name(domain: str) -> str:
    """Where the world looks for the domain's challenge (RFC 8555 section 8.4)."""
    return CHALLENGE_LABEL + normalised(domain).removeprefix("*.")


def holds(zone_name: str, name: str) -> bool:
    """Whether the name is the zone's own or lies below it."""
    return name == zone_name or name.endswith(f".{zone_name}")


def _record(item: Mapping[str, Any]) -> SurveyedRecord:
    content = clean(_text(item, "content"))
    return SurveyedRecord(
        item["id"],
        _text(item, "type"),
        normalised(_text(item, "name")),
        normalised(content) if _text(item, "type") != "TXT" else content.strip('"'),
        clean(_text(item, "comment"), 100),
        item.get("proxied") is True,
    )


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""


def _names(item: Mapping[str, Any], key: str) -> Iterator[str]:
    value = item.get(key)
    for each in value if isinstance(value, list) else ():
        if isinstance(each, str):
            yield clean(normalised(each), 253)
