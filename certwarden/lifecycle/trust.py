"""Whether the wall clock may be acted on: pure functions of what is known about it (invariant 9).

Asks nobody and waits for nothing: who gathers the evidence, and when, is `judge`'s business.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from certwarden.lifecycle.renewal import in_words
from certwarden.model import TimeEvidence, Trust

TOLERANCE = timedelta(minutes=5)  # between our clock and a server's Date

_SET_IT = "set this machine's clock, best by a time service: `timedatectl set-ntp true`"
_WAIT = (
    "wait until this machine's time service has reached its servers (see `timedatectl`), "
    "or open the way to them: UDP port 123"
)
_VOUCH = (
    "if the clock is right, have a time service confirm it (`timedatectl set-ntp true`) or say "
    'so by `trust = "always"` in [clock] for one pass; else set it'
)
_CONFIRM = (
    "have a time service confirm it (`timedatectl set-ntp true`); where the clock is known to be "
    'right without one, set `trust = "always"` in [clock]'
)


@dataclass(frozen=True)
class Verdict:
    """Whether the clock is trusted and, where there is something to say about it, what.

    `synchronised` is the time service's word. `new_floor` is where a trusted clock that is below
    the floor lowers it to. `is_asked` is False where only a server's Date could have told and none
    was asked for, because nothing depended on it: that clock is neither trusted nor suspicious.
    """

    trust: Trust
    synchronised: bool | None
    what: str = ""
    hint: str = ""
    new_floor: datetime | None = None
    is_asked: bool = True

    @property
    def is_trusted(self) -> bool:
        """Whether orders, signatures and alarms about expiry may go ahead."""
        return self.trust is Trust.TRUSTED


def judge(now: datetime, evidence: TimeEvidence, *, is_asked: bool = True) -> Verdict:
    """The verdict on a clock that shows `now`.

    The time service's word is final, against the floor too: a floor in the future can only come
    from a clock that was wrong once. A Date may be any server's mistake, so it does not lower the
    floor. `is_asked` says whether a Date was asked for.
    """
    if evidence.synchronised is not None:
        return _by_time_service(now, evidence, is_synchronised=evidence.synchronised)
    if evidence.offset is not None and abs(evidence.offset) > TOLERANCE:
        ahead = "behind" if evidence.offset > timedelta() else "ahead of"
        what = (
            f"this machine's clock, which shows {_text(now)}, is "
            f"{in_words(abs(evidence.offset))} {ahead} the Date of a server"
        )
        return Verdict(Trust.CONTRADICTED, None, what, _SET_IT)
    if now < evidence.floor:
        what = f"this machine's clock shows {_text(now)}, {_later_than(evidence.floor)}"
        if evidence.offset is None:
            return Verdict(Trust.CONTRADICTED, None, what, _SET_IT)
        what += "; the Date of a server agrees with the clock"
        return Verdict(Trust.CONTRADICTED, None, what, _VOUCH)
    if evidence.offset is not None:
        return Verdict(Trust.TRUSTED, None)
    what = (
        f"nobody can tell whether this machine's clock, which shows {_text(now)}, is right: "
        "there is no time service, and no server's Date to be had"
    )
    return Verdict(Trust.UNKNOWN, None, what if is_asked else "", _CONFIRM, is_asked=is_asked)


def raise_floor(now: datetime, floor: datetime | None, verdict: Verdict) -> datetime | None:
    """The floor after a signature at `now`; None where it stays as it is.

    Only a trusted clock raises it.
    """
    return now if verdict.is_trusted and (floor is None or now > floor) else None


def _by_time_service(now: datetime, evidence: TimeEvidence, *, is_synchronised: bool) -> Verdict:
    if not is_synchronised:
        what = f"this machine's clock, which shows {_text(now)}, is not synchronised yet"
        return Verdict(Trust.CONTRADICTED, False, what, _WAIT)  # noqa: FBT003  read by its name
    if now >= evidence.floor:
        return Verdict(Trust.TRUSTED, synchronised=True)
    what = (
        f"this machine's clock is synchronised and shows {_text(now)}, "
        f"{_later_than(evidence.floor)}, so that was wrong"
    )
    hint = "see `certwarden status` for what was obtained at the wrong time"
    return Verdict(Trust.TRUSTED, synchronised=True, what=what, hint=hint, new_floor=now)


def _later_than(floor: datetime) -> str:
    return f"but this version or the last signature is dated {_text(floor)}"


def _text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"
