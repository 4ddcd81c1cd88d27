"""A matter that a person should see to: what the alarms are about."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Matter:
    """Something that a person should see to: what, since when, and what to do.

    `covers` are the keys of lesser matters that are not worth a word beside this one. One that
    `is_once` is not said again while it stands, and goes without a word.
    """

    key: str
    what: str
    since: datetime
    todo: str
    covers: tuple[str, ...] = ()
    is_once: bool = False
