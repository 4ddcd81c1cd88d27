"""A TXT record that is made and removed again: what a token is worth is known only then.

For whoever sets a machine up. A pass never does this: it makes the real records anyway.
"""

from collections.abc import Sequence
from contextlib import suppress

from certwarden.errors import ZoneError
from certwarden.model import TxtRecord
from certwarden.ports import Zone

VALUE = "certwarden-canary"
COMMENT = "certwarden setup canary"  # always the same, so that the next one finds a killed one's


def try_token(zone: Zone, domains: Sequence[str]) -> None:
    """Makes a record wherever a challenge of the domains would be written, and removes it.

    Raises ZoneError where that cannot be done, with the permissions to tick in its hint. What a
    killed try has left is gone afterwards; a record that could not be removed is told.
    """
    bases = dict.fromkeys(domain.removeprefix("*.") for domain in domains)
    places = zone.locate([f"_acme-challenge.{base}" for base in bases])
    by_name = {place.record_name: place for place in places}
    records = tuple(TxtRecord(place, VALUE, COMMENT) for place in by_name.values())
    try:
        made = zone.create(records)
    except BaseException:
        with suppress(ZoneError):  # the first error says more
            zone.remove(records)
        raise
    zone.remove(made)
