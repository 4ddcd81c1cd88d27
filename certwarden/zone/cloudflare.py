"""The port `Zone` at Cloudflare: where a challenge's TXT record belongs, making it, removing it.

Owns what certwarden believes about records: which are ours (those that bear our comment), which
zone holds a name, and what is there after a reply was lost. HTTP is the business of `client`.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os.path import commonprefix
from typing import Any, TypeVar
from urllib.parse import quote

from certwarden.errors import ZoneError, clean
from certwarden.model import Place, Secret, TokenHealth, TxtRecord
from certwarden.ports import Clock
from certwarden.zone.client import (
    PAGE_SIZE,
    PATIENCE,
    CloudflareClient,
    Page,
    Patience,
    ReplyLostError,
)
from certwarden.zone.names import ancestors, normalised
from certwarden.zone.once import Once
from certwarden.zone.refusals import NO_SUCH_PLACE, RefusedError, TokenError

TTL = 60
MOST_IN_A_BATCH = 200  # on the free plan
ZONES_IN_A_PAGE = 50  # the most that Cloudflare lists at once
LONGEST_CHAIN = 8
_INVALID_TOKEN = 1000  # also what a user's endpoint calls an account's token, and the other way
_VERIFYING = "verify the API token"

_T = TypeVar("_T")
_G = TypeVar("_G", bound=Hashable)
_Key = tuple[str, str]  # a TXT record's name and value: at most one of them can exist


@dataclass(frozen=True)
class _ZoneRef:
    """A zone as the API addresses it; `name` is "" where it was given by its id."""

    id: str
    name: str

    def __str__(self) -> str:
        return self.name or f"zone {clean(self.id, 40)}"


class CloudflareZone:
    """TXT records of all zones that one token may change; safe to be used by several threads.

    `zone_ids` maps names to the ids of the zones that hold them and everything below them: for
    those the token needs no Zone:Read. What was learnt of zones is kept as long as the instance;
    what is only read is tried again for `patience`.
    """

    def __init__(
        self,
        token: Secret,
        *,
        base_url: str | None,
        zone_ids: Mapping[str, str],
        clock: Clock,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._client = CloudflareClient(token, base_url=base_url, clock=clock, patience=patience)
        self._clock = clock
        self._zone_ids = {normalised(name): zone_id for name, zone_id in zone_ids.items()}
        self._first_zones = Once(self._list_zones)
        self._visible = Once(self._look_up)

    # ── the token ─────────────────────────────────────────────────────────────────────────────────

    def verify(self) -> TokenHealth:
        """Looks whether the token is good and when it ends; raises a permanent ZoneError if not.

        An account's token is verified at its account, whose id stands at the zones that the token
        sees. Where nobody can tell its end, the token is good if it may list zones.
        """
        if not self._client.is_account_owned:
            try:
                return _health(self._client.one("/user/tokens/verify", _VERIFYING))
            except ZoneError as error:
                if error.code not in {_INVALID_TOKEN, *NO_SUCH_PLACE}:
                    raise
        for account in self._accounts()[:1]:
            try:
                path = f"/accounts/{quote(account, safe='')}/tokens/verify"
                return _health(self._client.one(path, _VERIFYING))
            except ZoneError as error:
                if error.code is None:  # that is what we found, or no reply at all
                    raise
        return TokenHealth(None)

    def _accounts(self) -> list[str]:
        """The accounts of the zones that the token sees, if it sees any."""
        owners = [zone.get("account") for zone in self._first_zones(None)]
        ids = (_text(owner, "id") for owner in owners if isinstance(owner, dict))
        return list(filter(None, dict.fromkeys(ids)))

    # ── where ─────────────────────────────────────────────────────────────────────────────────────

    def locate(self, challenge_names: Sequence[str]) -> tuple[Place, ...]:
        """Where a record for each name must be written, in their order.

        Delegation by CNAME (RFC 8555 section 8.4 leaves it to DNS) is read from the zone itself:
        only there a wildcard CNAME cannot be mistaken for one at the very name, and nobody's cache
        learns that the name does not exist yet.
        """
        chains = {name: [normalised(name)] for name in challenge_names}
        zones: dict[str, _ZoneRef] = {}
        unfinished = list(chains)
        while unfinished:
            for name in unfinished:
                zones[name] = self._zone_of(chains[name])
            aliases: dict[str, str] = {}
            for zone, members in _grouped(unfinished, zones.__getitem__):
                aliases |= self._aliases(zone, {chains[name][-1] for name in members})
            unfinished = [name for name in unfinished if chains[name][-1] in aliases]
            for name in unfinished:
                chains[name].append(aliases[chains[name][-1]])
                _check_chain(chains[name])
        return tuple(
            Place(name, chains[name][-1], zones[name].id, zones[name].name)
            for name in challenge_names
        )

    def _zone_of(self, chain: Sequence[str]) -> _ZoneRef:
        """The zone that holds the end of the chain."""
        end = chain[-1]
        for suffix in (end, *ancestors(end)):
            if suffix in self._zone_ids:
                return _ZoneRef(self._zone_ids[suffix], "")
        for candidate in ancestors(end):
            if (zone := self._visible(candidate)) is not None:
                return zone
        if len(chain) > 1:
            raise ZoneError(
                f"{chain[0]} is delegated by CNAME to {end}, and the API token sees no zone that "
                "holds that name",
                "give the token Zone / Zone / Read and Zone / DNS / Edit for that zone too, or "
                "remove the CNAME",
                permanent=True,
            )
        raise ZoneError(
            f"the API token sees no zone at Cloudflare that holds {end}",
            "give it Zone / Zone / Read and Zone / DNS / Edit for that zone, or name the zone's id "
            "in [cloudflare] zone_ids",
            permanent=True,
        )

    def _look_up(self, name: str) -> _ZoneRef | None:
        """The active zone of exactly this name; None if the token sees none."""
        zones = self._first_zones(None)
        if len(zones) >= ZONES_IN_A_PAGE:
            zones = self._client.everything("/zones", {"name": name}, f"look for the zone {name}")
        found = [item for item in zones if _text(item, "name").lower() == name]
        # A domain that was moved between accounts is there twice: once active, once not.
        for item in found:
            if _text(item, "status") == "active":
                return _ZoneRef(_text(item, "id"), name)
        if found:
            status = clean(_text(found[0], "status"), 30) or "unknown"
            raise ZoneError(
                f"the zone {name} is {status} at Cloudflare, not active: the world does not see "
                "its records",
                "enter Cloudflare's name servers at the domain's registrar, and wait until the "
                "dashboard calls the zone active",
                permanent=True,
            )
        return None

    def _list_zones(self, _: None) -> tuple[Mapping[str, Any], ...]:
        """The zones that the token sees, all of them unless they fill a page: one call for many."""
        query = {"per_page": str(ZONES_IN_A_PAGE)}
        return self._client.some("/zones", query, "list the zones that the API token may see")

    def _aliases(self, zone: _ZoneRef, names: set[str]) -> dict[str, str]:
        """The CNAMEs that the zone holds, at least those at these names, by name; one call."""
        name_filter = {"name.exact": next(iter(names))} if len(names) == 1 else {}
        records = self._records(zone, {"type": "CNAME", **name_filter})
        return {
            _text(record, "name").lower(): normalised(clean(_text(record, "content")))
            for record in records
            if _text(record, "type") == "CNAME"
        }

    # ── making ────────────────────────────────────────────────────────────────────────────────────

    def create(self, records: Sequence[TxtRecord]) -> tuple[TxtRecord, ...]:
        """Creates the records, one batch per zone, and returns them with their ids.

        Where another record of the same name and value stands there already, which the CA will
        read as well as ours, the record comes back without an id: it is not ours to remove.
        """
        ids: dict[TxtRecord, str] = {}
        for zone, members in _grouped(records, _zone_ref):
            # The same name and value twice would be refused; the first one serves for both.
            wanted: dict[_Key, TxtRecord] = {}
            for record in members:
                wanted.setdefault(_key(record), record)
            made = self._create_in(zone, wanted)
            for record in members:
                if record.comment == wanted[_key(record)].comment:
                    ids[record] = made[_key(record)]
        return tuple(replace(record, record_id=ids.get(record, "")) for record in records)

    def _create_in(self, zone: _ZoneRef, wanted: Mapping[_Key, TxtRecord]) -> dict[_Key, str]:
        ids: dict[_Key, str] = {}
        patience = Patience(self._clock, f"create TXT records in {zone}")
        while missing := [record for key, record in wanted.items() if key not in ids]:
            try:
                ids |= self._post(zone, missing[:MOST_IN_A_BATCH])
            except (RefusedError, ReplyLostError) as error:
                patience.after(error)
                if isinstance(error, ReplyLostError) or error.already_exists:
                    ids |= self._present(zone, missing)
        return ids

    def _post(self, zone: _ZoneRef, records: Sequence[TxtRecord]) -> dict[_Key, str]:
        posts = [
            {
                "type": "TXT",
                "name": record.place.record_name,
                "content": f'"{record.value}"',
                "ttl": TTL,
                "comment": record.comment,
            }
            for record in records
        ]
        made = {
            _key_of(item): _text(item, "id")
            for item in self._client.batch(_quoted(zone), "posts", posts)
        }
        if not {_key(record) for record in records} <= made.keys():
            raise ReplyLostError("the reply does not name the records that were to be made")
        return {_key(record): made[_key(record)] for record in records}

    def _present(self, zone: _ZoneRef, wanted: Iterable[TxtRecord]) -> dict[_Key, str]:
        """Which of the wanted values stand there by now: with an id where they are ours."""
        wanted = tuple(wanted)
        present: dict[_Key, str] = {}
        for name in sorted({record.place.record_name for record in wanted}):
            found = self._records(zone, {"type": "TXT", "name.exact": name})
            for record in wanted:
                twins = [item for item in found if _key_of(item) == _key(record)]
                ours = [item for item in twins if item.get("comment") == record.comment]
                if twins:
                    present[_key(record)] = _text(ours[0], "id") if ours else ""
        return present

    # ── removing ──────────────────────────────────────────────────────────────────────────────────

    def remove(self, records: Sequence[TxtRecord]) -> None:
        """Removes the records: by id where known, else whatever bears exactly their comment.

        A zone that fails does not keep the others from being cleaned; its error comes last. The
        records of a zone that was deleted went with it.
        """
        failed: ZoneError | None = None
        for zone, members in _grouped(records, _zone_ref):
            try:
                self._remove_from(zone, members)
            except ZoneError as error:
                if not (error.code in NO_SUCH_PLACE and self._is_gone(zone)):
                    failed = failed or error
        if failed:
            raise failed

    def _is_gone(self, zone: _ZoneRef) -> bool:
        """Whether Cloudflare knows no such zone, though it is Cloudflare that we speak to.

        A token that may not see the zone gets another code; at a wrong address there is nothing.
        """
        try:
            self._client.one(f"/zones/{_quoted(zone)}", f"look for {zone}")
        except ZoneError as error:
            if error.code not in NO_SUCH_PLACE:
                return False
        else:
            return False
        try:
            return all(_text(item, "id") != zone.id for item in self._list_zones(None))
        except ZoneError:
            return False

    def _remove_from(self, zone: _ZoneRef, records: Sequence[TxtRecord]) -> None:
        doomed = {record.record_id for record in records if record.record_id}
        doomed |= self._ours(zone, [record for record in records if not record.record_id])
        patience = Patience(self._clock, f"remove TXT records from {zone}")
        while doomed:
            part = sorted(doomed)[:MOST_IN_A_BATCH]
            try:
                self._client.batch(_quoted(zone), "deletes", [{"id": each} for each in part])
            except (RefusedError, ReplyLostError) as error:
                patience.after(error)
                if isinstance(error, RefusedError) and error.does_not_exist:
                    # One record that is gone makes the whole batch fail, as does a batch whose
                    # reply was lost when it comes again: see what is left.
                    doomed &= self._ours(zone, records)
            else:
                doomed -= set(part)

    def _ours(self, zone: _ZoneRef, records: Iterable[TxtRecord]) -> set[str]:
        """The ids of those of these records that are there, told by comment, name and value."""
        # Without a comment nothing would tell ours from anybody else's.
        marked = [record for record in records if record.comment]
        if not marked:
            return set()
        keys = {(record.comment, _key(record)) for record in marked}
        known = {(record.comment, record.record_id) for record in marked}
        return {
            _text(item, "id")
            for item in self._records(zone, {"type": "TXT", **_filter(marked)})
            if _text(item, "type") == "TXT"
            # The API compares without regard to case.
            and (
                (item.get("comment"), _key_of(item)) in keys
                or (item.get("comment"), _text(item, "id")) in known
            )
        }

    def _records(self, zone: _ZoneRef, query: Mapping[str, str]) -> tuple[Mapping[str, Any], ...]:
        return self._client.everything(
            f"/zones/{_quoted(zone)}/dns_records",
            {**query, "per_page": str(PAGE_SIZE)},
            f"list the records of {zone}",
        )


def _filter(records: Iterable[TxtRecord]) -> dict[str, str]:
    """What narrows a listing to the comments of these records, at least: one call for them all."""
    comments = {record.comment for record in records}
    if len(comments) == 1:
        return {"comment.exact": comments.pop()}
    prefix = commonprefix(list(comments)).rstrip()  # noqa: RUF071 - of letters is what is meant
    return {"comment.startswith": prefix} if prefix else {}


def _health(page: Page) -> TokenHealth:
    """What a verification says (its status, and from when to when the token is valid)."""
    status, expires_at = _text(page.result, "status"), _instant(page.result, "expires_on")
    not_before = _instant(page.result, "not_before")
    if status == "disabled":
        raise TokenError(
            "the Cloudflare API token is disabled",
            "enable it at Cloudflare's dashboard, under API Tokens, or make a new one",
            permanent=True,
        )
    if status == "expired":
        since = f" on {expires_at:%Y-%m-%d}" if expires_at else ""
        raise TokenError(
            f"the Cloudflare API token expired{since}",
            "make a new token with Zone / DNS / Edit and write it to [cloudflare] api_token_file",
            permanent=True,
        )
    if not_before and not_before > page.sent_at:
        raise TokenError(
            f"the Cloudflare API token is not valid before {not_before:%Y-%m-%d %H:%M} UTC",
            "wait until then, or take the start date off the token at Cloudflare's dashboard",
            permanent=True,
        )
    return TokenHealth(expires_at)


def _instant(item: Mapping[str, Any], key: str) -> datetime | None:
    """An RFC 3339 instant; None where there is none that could be read."""
    try:
        instant = datetime.fromisoformat(_text(item, key))
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _key(record: TxtRecord) -> _Key:
    return normalised(record.place.record_name), record.value


def _key_of(item: Mapping[str, Any]) -> _Key:
    """The same of a record as the API tells it, whose content may be quoted or not."""
    content = _text(item, "content")
    if len(content) > 1 and content[0] == content[-1] == '"':
        content = content[1:-1]
    return normalised(_text(item, "name")), content


def _zone_ref(record: TxtRecord) -> _ZoneRef:
    return _ZoneRef(record.place.zone_id, record.place.zone_name)


def _check_chain(chain: Sequence[str]) -> None:
    """Raises ZoneError for a chain of CNAMEs that leads nowhere; the last name is the newest."""
    loops = chain[-1] in chain[:-1]
    if loops or len(chain) > LONGEST_CHAIN + 1:
        raise ZoneError(
            f"{chain[0]} is delegated by "
            + (
                f"CNAMEs that lead back to {chain[-1]}" if loops else f"over {LONGEST_CHAIN} CNAMEs"
            ),
            "let the CNAME at the first name point straight to where the TXT record belongs",
            permanent=True,
        )


def _grouped(items: Iterable[_T], group_of: Callable[[_T], _G]) -> Iterator[tuple[_G, list[_T]]]:
    """Groups in the order in which they first appear, each with its items in their order."""
    groups: dict[_G, list[_T]] = {}
    for item in items:
        groups.setdefault(group_of(item), []).append(item)
    yield from groups.items()


def _quoted(zone: _ZoneRef) -> str:
    return quote(zone.id, safe="")


def _text(item: Mapping[str, Any], key: str) -> str:
    value = item.get(key)
    return value if isinstance(value, str) else ""
