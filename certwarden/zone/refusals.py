"""What Cloudflare's error codes mean: one sentence and one action for each. Touches nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from certwarden.errors import ZoneError, clean

ALREADY_EXISTS = frozenset({81057, 81058})
DOES_NOT_EXIST = frozenset({81044})
RATE_LIMITED = frozenset({971})
NO_SUCH_PLACE = frozenset({7000, 7003})


class RefusedError(Exception):
    """Cloudflare understood the request and did not carry it out."""

    def __init__(
        self,
        status: int,
        errors: Sequence[tuple[int, str]],
        retry_after: timedelta | None = None,
    ) -> None:
        self.codes = frozenset(code for code, _ in errors)
        self.message = clean("; ".join(message for _, message in errors if message))
        self.status = status
        self.retry_after = retry_after
        super().__init__(f"{status} {sorted(self.codes)} {self.message}")

    @property
    def already_exists(self) -> bool:
        """An identical record is there already."""
        return bool(self.codes & ALREADY_EXISTS)

    @property
    def does_not_exist(self) -> bool:
        """A record that was to be changed is gone."""
        return bool(self.codes & DOES_NOT_EXIST)

    @property
    def rate_limited(self) -> bool:
        """Too many requests: nothing was done, and it may be tried again after a while."""
        return self.status == 429 or bool(self.codes & RATE_LIMITED)


class TokenError(ZoneError):
    """The token is no good, whatever is asked with it; always permanent."""


@dataclass(frozen=True)
class _Meaning:
    """`what` may name {doing}, the work that failed; `hint` is what a person can do about it.

    All of them are permanent: trying again helps only after that person has done it.
    """

    what: str
    hint: str


_DEAD_TOKEN = _Meaning(
    "Cloudflare does not accept the API token any more: it was revoked, has expired or is unknown",
    "make a new token with Zone / DNS / Edit and write it to [cloudflare] api_token_file",
)
_ILLEGIBLE_TOKEN = _Meaning(
    "Cloudflare cannot read the API token: it does not have the form of one",
    "write the token alone to [cloudflare] api_token_file, on one line and without quotes",
)
_ANOTHER_ADDRESS = _Meaning(
    "Cloudflare does not accept the API token from this machine's address",
    "add the address to the token's client IP address filter, or remove the filter",
)
_NO_PERMISSION = _Meaning(
    "Cloudflare does not let the API token {doing}",
    "give the token Zone / DNS / Edit for this zone (Read is not enough), and Zone / Zone / Read "
    "unless [cloudflare] zone_ids names the zone",
)
_UNKNOWN_ZONE = _Meaning(
    "Cloudflare knows no such zone or record: it could not {doing}",
    "correct the id in [cloudflare] zone_ids, or leave it out and give the token "
    "Zone / Zone / Read",
)
_RECORD_IN_THE_WAY = _Meaning(
    "another record of the same name is in the way: Cloudflare could not {doing}",
    "remove the A, AAAA or CNAME record that stands at the _acme-challenge name",
)
_OUR_MISTAKE = _Meaning(
    "Cloudflare calls the record invalid: it could not {doing}",
    "this is a mistake in certwarden: please report it with this message",
)

_TOKEN_MEANINGS = (_DEAD_TOKEN, _ILLEGIBLE_TOKEN, _ANOTHER_ADDRESS)

_LOCATION = re.compile(r"location:? *([0-9A-Fa-f.:]{2,45})")

# By the code that says most: the first one that a reply bears decides.
_MEANINGS: dict[int, _Meaning] = {
    6003: _ILLEGIBLE_TOKEN,
    6111: _ILLEGIBLE_TOKEN,
    9103: _DEAD_TOKEN,
    9106: _DEAD_TOKEN,
    9107: _DEAD_TOKEN,
    1000: _DEAD_TOKEN,
    1038: _Meaning(
        "Cloudflare lets nobody change zones under .cf, .ga, .gq, .ml and .tk by its API",
        "use a name under another top-level domain, or delegate _acme-challenge to one by a CNAME",
    ),
    81045: _Meaning(
        "the zone has no room for another record: Cloudflare could not {doing}",
        "delete records that are not needed, or raise the zone's limit",
    ),
    81053: _RECORD_IN_THE_WAY,
    81054: _RECORD_IN_THE_WAY,
    9021: _OUR_MISTAKE,
    1004: _OUR_MISTAKE,
    7000: _UNKNOWN_ZONE,
    7003: _UNKNOWN_ZONE,
    10000: _NO_PERMISSION,
    1009: _NO_PERMISSION,
}


def explain(refused: RefusedError, doing: str) -> ZoneError:
    """A refusal as an error of ours; `doing` is the work as a verb: "list the records of a.org"."""
    if refused.rate_limited:
        return _explain_rate_limit(refused, doing)
    code = next((code for code in (9109, *_MEANINGS) if code in refused.codes), None)
    if code is None:
        return _explain_unknown(refused, doing)
    meaning = _meaning_of_9109(refused) if code == 9109 else _MEANINGS[code]
    what = meaning.what.format(doing=doing)
    if meaning is _ANOTHER_ADDRESS and (found := _LOCATION.search(refused.message)):
        what = f"{what} {found[1]}"
    if meaning is _OUR_MISTAKE and refused.message:
        what = f"{what}: {refused.message}"
    kind = TokenError if meaning in _TOKEN_MEANINGS else ZoneError
    return kind(f"{what} (code {code})", meaning.hint, code=code, permanent=True)


def _meaning_of_9109(refused: RefusedError) -> _Meaning:
    """9109 is used for three things, told apart by their wording alone."""
    message = refused.message.lower()
    if "location" in message:
        return _ANOTHER_ADDRESS
    return _NO_PERMISSION if "unauthorized" in message else _DEAD_TOKEN


def _explain_unknown(refused: RefusedError, doing: str) -> ZoneError:
    code = min(refused.codes, default=None)
    said = refused.message or "without a reason that could be read"
    return ZoneError(
        f"Cloudflare refused to {doing} (status {refused.status}, code {code or 'none'}): {said}",
        "it is tried again later; if it stays so, look at Cloudflare's dashboard and status page",
        code=code,
    )


def _explain_rate_limit(refused: RefusedError, doing: str) -> ZoneError:
    wait = refused.retry_after
    asked = f" and asks us to wait {wait.total_seconds():.0f} s" if wait else ""
    return ZoneError(
        f"Cloudflare limits how often it is asked{asked}: it did not {doing}",
        "it is tried again by itself; other programs and the dashboard use up the same allowance",
        code=971,
        retry_after=wait,
    )
