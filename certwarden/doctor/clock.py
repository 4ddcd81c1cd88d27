"""The machine's clock: may orders, signatures and alarms go by it?"""

from collections.abc import Iterable

from certwarden.config import ClockTrust
from certwarden.doctor.finding import Finding, error, ok, warning
from certwarden.doctor.in_time import in_time
from certwarden.doctor.patient import Patient
from certwarden.errors import Error
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.trust import Verdict
from certwarden.model import Trust

_TIME_SERVICE = (
    "install a time service and let it run: `sudo apt install systemd-timesyncd`, then "
    "`sudo timedatectl set-ntp true`; where the clock is known to be right without one, say "
    '`trust = "always"` in [clock]'
)


def look_at_clock(patient: Patient) -> Iterable[Finding]:
    """Is it synchronised, or does a server's Date agree with it?"""
    if patient.config.clock.trust is ClockTrust.ALWAYS:
        return [ok("", 'it is taken to be right, by `trust = "always"` in [clock]')]
    judge = ClockJudge(patient.warden)
    verdict = in_time(lambda: judge.assess(patient.now, needs_date=True))
    return [judge_clock(verdict)]


def judge_clock(found: Verdict | Error) -> Finding:
    """By the verdict that a pass would act on."""
    if isinstance(found, Error):
        return warning("", f"nobody can tell whether it is right: {found.what}", _TIME_SERVICE)
    if found.trust is Trust.CONTRADICTED:
        return error("", found.what, found.hint)
    if found.trust is Trust.UNKNOWN:
        return warning("", found.what, _TIME_SERVICE)
    if found.what:
        return warning("", found.what, found.hint)
    if found.synchronised:
        return ok("", "it is synchronised by a time service")
    return ok("", "it agrees with the Date of a server")


CHECKS = {"clock": look_at_clock}
