"""Whether an API token of Cloudflare's can do what a pass will need, tried before anything changes.

The conversation with Cloudflare is a stranger's: root leaves it to a child that is nobody.
"""

import json
import pwd
from collections.abc import Mapping, Sequence
from datetime import timedelta

from certwarden.clock import SystemClock
from certwarden.errors import TargetError, ZoneError, as_error
from certwarden.frozen import frozen
from certwarden.lifecycle.canary import try_token
from certwarden.model import Secret
from certwarden.targets.foreign import is_root, run_as
from certwarden.targets.process import Identity

_PATIENCE = timedelta(seconds=10)
# Seconds: finding the zone is tried for `_PATIENCE`, making the record and removing it for 45 each.
# The last request of each may take 15 more.
_LONGEST = 150.0


@frozen
class Trial:
    """What a token is tried with: records for the domains, at Cloudflare's API."""

    domains: Sequence[str]
    base_url: str | None
    zone_ids: Mapping[str, str]


def try_out(token: Secret, trial: Trial) -> None:
    """Makes a TXT record for the domains and removes it; raises ZoneError where that fails."""
    if not is_root():
        _try(token, trial)
        return
    nobody = pwd.getpwnam("nobody")
    identity = Identity(nobody.pw_uid, nobody.pw_gid)
    try:
        told = run_as(identity, [], lambda: _told(token, trial), seconds=_LONGEST)
    except TargetError:
        raise ZoneError(
            "the trial of the token ended before Cloudflare had answered",
            "look at the connection to the internet, and run it again: what this trial may have "
            "left at Cloudflare is removed by the next one",
        ) from None
    if told:
        what, hint = json.loads(told)
        raise ZoneError(what, hint)


def _told(token: Secret, trial: Trial) -> bytes:
    try:
        _try(token, trial)
    except Exception as exception:  # noqa: BLE001 - whatever it is, it has to cross to the parent
        error = as_error(exception)
        return json.dumps([error.what, error.hint]).encode()
    return b""


def _try(token: Secret, trial: Trial) -> None:
    from certwarden.zone.cloudflare import CloudflareZone

    zone = CloudflareZone(
        token,
        base_url=trial.base_url,
        zone_ids=trial.zone_ids,
        clock=SystemClock(),
        patience=_PATIENCE,
    )
    try_token(zone, trial.domains)
