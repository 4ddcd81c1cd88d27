"""Whether the private CA can sign, its lists are fresh and in place, and a backup is at hand."""

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from certwarden.doctor.configuration import household
from certwarden.doctor.finding import Finding, day, error, minute, ok, skipped, warning
from certwarden.doctor.targets import pairs
from certwarden.errors import Error, StoreError
from certwarden.lifecycle.authority_alarms import (
    ENDS,
    LADDER_ENDS,
    LIST_ENDS,
    LIST_FAILING,
    LOCKED,
    PATIENCE,
    authority_expiry_matters,
    authority_matters,
)
from certwarden.lifecycle.backup import LONGEST_WAIT, backup_reason
from certwarden.lifecycle.lists import BACK_DATED, trust_reason
from certwarden.lifecycle.status import ROOT_NOTICE
from certwarden.model import KeptBackup, ObservedAuthority, ObservedTarget, Root, Setback

if TYPE_CHECKING:
    from certwarden.doctor.patient import Patient

_RENEW = "certwarden renew"
_OF_CLIENTS = f"{ENDS}client"


# ── the CA itself ─────────────────────────────────────────────────────────────────────────────────


def authority(patient: "Patient") -> Iterator[Finding]:
    """Whether it can be read, its key can be opened, and it does not end soon."""
    seen, spec = patient.authority, patient.config.authority
    if spec is None:
        yield skipped("", "no private CA is configured")
        return
    if seen is None:
        what = "the private CA could not be looked at"
        yield skipped(spec.name, what, "see what `target-files` says")
        return
    locked: Error | None = None
    if seen.root is not None and not seen.is_locked:
        try:
            patient.warden.signing_key()
        except Error as failure:
            locked = failure
    yield from judge_authority(seen, locked, patient.now)


def judge_authority(
    seen: ObservedAuthority, locked: Error | None, now: datetime
) -> Iterator[Finding]:
    """`locked` is why its key could not be opened with the passphrase that is kept."""
    name = seen.spec.name
    if seen.trouble is not None:
        what = f"the private CA cannot be read: {seen.trouble.what}"
        yield error(name, what, seen.trouble.hint or "bring it back: certwarden ca restore FILE")
    elif seen.root is None:
        yield error(
            name, "the private CA is configured, and was not founded yet", "certwarden ca init"
        )
    elif locked is not None:
        yield error(
            name,
            f"it can sign nothing: {locked.what}",
            f"write the recovery code that `ca init` has shown into {seen.spec.passphrase_file}; "
            "without it, bring the CA back: certwarden ca restore FILE",
        )
    elif seen.root.not_after - ROOT_NOTICE <= now:
        verb = "has ended" if seen.root.not_after <= now else "ends"
        say = error if seen.root.not_after <= now else warning
        what = f"its certificate {verb} on {day(seen.root.not_after)}, and all clients' with it"
        yield say(name, what, "extend it: certwarden ca renew-root")
    else:
        how = "is locked" if seen.is_locked else "can sign"
        yield ok(name, f"the private CA {how}, and is good until {day(seen.root.not_after)}")


# ── its list ──────────────────────────────────────────────────────────────────────────────────────


def revocation_list(patient: "Patient") -> Iterator[Finding]:
    """Whether the published list is fresh, and everybody is in it who was revoked."""
    seen = patient.authority
    if seen is not None and seen.root is not None:
        yield from judge_list(seen, patient.warden.watch.setbacks(), patient.now)


def judge_list(
    seen: ObservedAuthority, setbacks: Sequence[Setback], now: datetime
) -> Iterator[Finding]:
    """What alarms would say of the list, now."""
    name, found = seen.spec.name, []
    unlock = "unlock it: certwarden ca unlock"
    if seen.unlisted and not seen.is_locked:
        count = _count(len(seen.unlisted), "revoked certificate")
        what = f"{count} not in the published list, and may still get in"
        found.append(error(name, what, _RENEW))
    for matter in (*authority_matters(seen, setbacks, now), *authority_expiry_matters(seen, now)):
        if matter.key == LIST_ENDS:
            is_dead = seen.crl is None or not seen.crl.is_current_at(now)
            found.append((error if is_dead else warning)(name, matter.what, matter.todo))
        elif matter.key == LIST_FAILING:
            found.append(warning(name, matter.what, matter.todo or _RENEW))
        elif matter.key == LADDER_ENDS:
            found.append(warning(name, matter.what, unlock))
        elif matter.key == LOCKED:
            found.append(error(name, matter.what, matter.todo))
    if not found and seen.crl is not None:
        what = f"list {seen.crl.number} holds all revocations, and is good until "
        found.append(ok(name, f"{what}{day(seen.crl.next_update)}"))
    yield from found


# ── the list at the targets ───────────────────────────────────────────────────────────────────────


def installed_lists(patient: "Patient") -> Iterator[Finding]:
    """Whether each target that asks for client certificates has the list that it should have."""
    for seen, target in pairs(patient):
        if not target.spec.client_auth or patient.authority is None:
            continue
        if target.installed is None:
            why = "what is installed is not whole, which is told with its files"
            yield skipped(target.spec.name, why)
            continue
        reason = trust_reason(target, seen.trust, patient.now)
        yield judge_installed_list(target, patient.authority, reason, patient.now)


def judge_installed_list(
    target: ObservedTarget,
    authority: ObservedAuthority,
    reason: tuple[str, bool] | None,
    now: datetime,
) -> Finding:
    """`reason` is why a newer one has to be put in place, and whether that is urgent."""
    name = target.spec.name
    todo = f"sudo certwarden deploy {target.spec.certificate}"
    trust = target.installed.trust if target.installed else None
    if trust is None:
        if authority.crl is None:
            return skipped(name, "the private CA has no list yet")
        return error(name, "the clients' CA and its list are not installed", todo)
    crl = trust.crl
    if crl.next_update <= now:
        return error(
            name,
            f"the installed list {crl.number} has expired on {day(crl.next_update)}: "
            "no client gets in",
            f"{_RENEW}, then {todo}",
        )
    if now < crl.this_update:
        what = f"the installed list {crl.number} is dated in the future: no client gets in"
        return error(name, what, f"check this machine's clock, then {_RENEW}")
    if reason is not None:
        why, is_urgent = reason
        what = f"list {crl.number} is installed: {why}"
        return error(name, what, todo) if is_urgent else warning(name, what, todo)
    return ok(name, f"list {crl.number} is installed, good until {day(crl.next_update)}")


# ── its clients ───────────────────────────────────────────────────────────────────────────────────


def clients(patient: "Patient") -> Iterator[Finding]:
    """Whose certificates end soon."""
    if patient.authority is not None and patient.authority.root is not None:
        yield from judge_clients(patient.authority, patient.now)


def judge_clients(seen: ObservedAuthority, now: datetime) -> Iterator[Finding]:
    """Those whose last certificate ends within 30 days, those of one day together."""
    found = [
        warning(seen.spec.name, matter.what, matter.todo)
        for matter in authority_expiry_matters(seen, now)
        if matter.key.startswith(_OF_CLIENTS)
    ]
    valid = sum(each.is_valid_at(now) for each in seen.clients)
    yield from found or [ok(seen.spec.name, f"{_count(valid, 'client certificate')} good")]


# ── its backup ────────────────────────────────────────────────────────────────────────────────────


def backups(patient: "Patient") -> Iterator[Finding]:
    """Whether it would come back if the disk were lost."""
    seen = patient.authority
    if seen is None or seen.root is None:
        return
    if patient.config.backup is None:
        yield judge_own_backup(seen, seen.root)
        return
    directory, user = patient.config.backup.directory, household(patient.config).user
    try:
        yield _look_at_safe(patient, seen, seen.root)
    except StoreError as failure:
        hint = f"mount it, or make it: sudo install -d -m 0700 -o {user} {directory}"
        yield error(seen.spec.name, failure.what, failure.hint or hint)
    except Error as failure:  # the passphrase file
        yield error(seen.spec.name, failure.what, failure.hint)


def _look_at_safe(patient: "Patient", seen: ObservedAuthority, root: Root) -> Finding:
    from certwarden.pki.backup import content_mark

    safe, backup = patient.warden.safe(), patient.config.backup
    assert safe is not None  # noqa: S101  # whoever calls has looked
    assert backup is not None  # noqa: S101  # the same
    if backup.passphrase_file not in patient.warden.handed_over:
        safe.passphrase()
    kept = safe.kept()
    if not os.access(backup.directory, os.W_OK | os.X_OK):
        user = household(patient.config).user
        return error(
            seen.spec.name,
            f"no backup can be written into {backup.directory}",
            f"let certwarden's user write there: sudo chown {user} {backup.directory}",
        )
    return judge_kept_backups(seen, root, kept, content_mark(root.pem, seen.clients), patient.now)


def judge_own_backup(seen: ObservedAuthority, root: Root) -> Finding:
    """Where a person makes them by hand."""
    make = "certwarden ca backup FILE; or have it done by itself: section [backup]"
    made_at = seen.backed_up_at
    if made_at is None:
        what = "there is no backup: whoever loses the CA's key can issue and revoke nothing more"
        return warning(seen.spec.name, what, make)
    if made_at < _changed_at(seen, root):
        what = f"the last backup is of {minute(made_at)}, and clients have changed since"
        return warning(seen.spec.name, what, make)
    return ok(seen.spec.name, f"the last backup is of {minute(made_at)}, and holds everything")


def judge_kept_backups(
    seen: ObservedAuthority, root: Root, kept: Sequence[KeptBackup], mark: str, now: datetime
) -> Finding:
    """Where they are kept by themselves: a pass makes what is due, and is given a day for it."""
    reason = backup_reason(kept, mark, now)
    newest = max((each.made_at for each in kept if each.made_at <= now), default=None)
    if reason is None and newest is not None:
        return ok(seen.spec.name, f"the last backup is of {minute(newest)}, and holds everything")
    since = _changed_at(seen, root)
    if newest is not None:
        is_changed = all(each.mark != mark for each in kept if each.made_at == newest)
        since = since if is_changed else newest + LONGEST_WAIT
    if now - since < PATIENCE:
        return ok(seen.spec.name, f"the next pass makes a backup: {reason}")
    hint = "see `certwarden history`, then: certwarden renew"
    return warning(seen.spec.name, f"a backup is overdue: {reason}", hint)


def _changed_at(seen: ObservedAuthority, root: Root) -> datetime:
    """When root or clients changed last; certificates are back-dated by an hour."""
    changes = [root.not_before + BACK_DATED]
    for each in seen.clients:
        changes += [each.not_before + BACK_DATED] if each.not_before else []
        changes += [each.revoked_at] if each.revoked_at else []
    return max(changes)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s are' if number != 1 else ' is'}"


CHECKS = {
    "client-authority": authority,
    "revocation-list": revocation_list,
    "installed-list": installed_lists,
    "client-certificates": clients,
    "client-backup": backups,
}
