"""A matter that a person should see to: what the alarms are about."""

from dataclasses import dataclass
from datetime import datetime

from certwarden.model import ClientCertificate


@dataclass(frozen=True)
class Matter:
    """Something that a person should see to: what, since when, and what to do.

    `covers` are the keys of lesser matters that are not worth a word beside this one. One that
    `is_once` is not said again while it stands, and goes without a word. `ending` are clients'
    certificates that it is about, which the service may put an invitation beside.
    """

    key: str
    what: str
    since: datetime
    todo: str
    covers: tuple[str, ...] = ()
    is_once: bool = False
    ending: tuple[ClientCertificate, ...] = ()
