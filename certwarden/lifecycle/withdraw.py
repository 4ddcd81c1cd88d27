"""Revokes client certificates, as one act: book, sign, publish, put in place, verify (invariant 6).

A probe goes along: it is let in while it is still good, is revoked with the client, and has to be
refused by the very list that the client is in, also with the TLS session from before. Whatever
cannot be done stands in the book, and the next passes go on with it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from certwarden.errors import Error, UsageError, as_error, clean
from certwarden.lifecycle.act import put_lists_in_place
from certwarden.lifecycle.authority import (
    SUBJECT,
    keep_revoked_probe,
    make_probe,
    required_root,
    sign_lists,
    trusted_now,
)
from certwarden.lifecycle.books import Books, record
from certwarden.lifecycle.deploy import Deployed
from certwarden.lifecycle.judge import ClockJudge
from certwarden.lifecycle.lists import PROBE_LIFETIME, is_proof_due
from certwarden.lifecycle.prove import Probes, client_targets, good_probe, prove, visit_before
from certwarden.model import (
    CertificateSpec,
    ClientCertificate,
    CommandReload,
    Crl,
    DeployOutcome,
    Event,
    Observed,
    Pair,
    Proof,
    ProofOutcome,
    RevocationReason,
    Revoked,
    Root,
    TargetSpec,
    UnitReload,
    Unreachable,
)
from certwarden.pki.keys import PrivateKey
from certwarden.ports import Level, Neighbours, Visit

# Why one certificate of a client is revoked that may well have another one.
_FOR_ANOTHER = (RevocationReason.UNSPECIFIED, RevocationReason.SUPERSEDED)
_SERIAL = re.compile(r"[0-9a-f]{32,40}")  # random ones of 159 bits are hardly ever shorter


@dataclass(frozen=True)
class Withdrawal:
    """What came of a revocation.

    `certificates` are revoked in the book. `crl` is the list that they are in, None where it could
    not be signed, as `error` says. `proofs` tell of each target whether the list is in use there.
    """

    certificates: tuple[ClientCertificate, ...]
    crl: Crl | None = None
    deployed: tuple[Deployed, ...] = ()
    proofs: tuple[Proof, ...] = ()
    error: Error | None = None

    @property
    def is_good(self) -> bool:
        """Whether every target was seen to refuse a client of this list."""
        has_failed = any(each.outcome is DeployOutcome.FAILED for each in self.deployed)
        is_proven = all(each.outcome is ProofOutcome.PROVEN for each in self.proofs)
        return self.error is None and self.crl is not None and is_proven and not has_failed


def withdraw(
    world: Neighbours,
    specs: Sequence[CertificateSpec],
    name_or_serial: str,
    reason: RevocationReason,
) -> Withdrawal:
    """Revokes a client's certificates, or the one of that serial, and sees that it is out.

    A client that is named is not invited any more, either; it may have no certificate yet. Nor is
    that of a serial, where the reason is a bad one. What is revoked already stays so, and is
    verified again. Raises UsageError where there is no such client, StoreError and Busy where it
    could not even be written down.
    """
    root = required_root(world)
    world.call_daemon()  # should we be killed, or something be left open
    with world.locks.authority():
        now = world.clock.now()  # whatever it shows: that it is revoked must not wait
        chosen = _chosen(world, name_or_serial)
        uninvited = {name_or_serial}
        if reason not in _FOR_ANOTHER:
            uninvited |= {each.name for each in chosen}
        invitations = [each for name in uninvited for each in world.invitations.of(name)]
        for each in invitations:
            if each.redeemed_at is None and each.withdrawn_at is None:
                world.invitations.withdraw(each.id, now)
        if not chosen and not invitations:
            chosen = _stranger(world, name_or_serial, reason, now)
        world.register.revoke([each.serial for each in chosen], reason, now)
    names = ", ".join(sorted({each.name or each.serial for each in chosen}))
    text = f"{names}: revoked ({reason.value})"
    if any(each.revoked_at is None for each in chosen):
        record(world, Event(now, "client-revoked", None, None, text))
    revoked = tuple(world.register.find(each.serial) or each for each in chosen)
    return replace(take_effect(world, specs, root), certificates=revoked)


def unlock(world: Neighbours, specs: Sequence[CertificateSpec]) -> Withdrawal:
    """Has a locked CA sign the lists of a year ahead, with what was revoked in the meantime.

    The first one is put in place and proven. Raises UsageError where the CA is not locked.
    """
    root = required_root(world)
    if not world.authority.is_locked():
        raise UsageError(
            "the private CA is not locked: its lists are signed daily by themselves",
            "there is nothing to do",
        )
    world.call_daemon()
    return take_effect(world, specs, root)


def take_effect(world: Neighbours, specs: Sequence[CertificateSpec], root: Root) -> Withdrawal:
    """Signs what stands in the book, puts it in place everywhere, and sees whether it is in use."""
    targets = [target for spec in specs for target in client_targets(spec.targets)]
    try:
        now = trusted_now(world)
        key = world.signing_key()
        probe, visits = _let_in(world, root, key, targets, now)
        with world.locks.authority():
            keep_revoked_probe(world, probe, now)
            crl = sign_lists(world, root, key, now)[0]
    except Exception as exception:  # noqa: BLE001 - it stands in the book: a pass goes on with it
        error = as_error(exception)
        world.reporter.event(Level.ERROR, SUBJECT, error.what, error.hint)
        return Withdrawal((), error=error)
    deployed = put_lists_in_place(world, specs)
    try:
        probes = Probes(good_probe(world, root, now), probe, visits)
        proofs = prove(world, targets, probes)
    except Exception as exception:  # noqa: BLE001 - the list is in place; a pass looks again
        error = as_error(exception)
        world.reporter.event(Level.ERROR, SUBJECT, error.what, error.hint)
        return Withdrawal((), crl, deployed, error=error)
    return Withdrawal((), crl, deployed, proofs)


def prove_what_is_due(
    world: Neighbours,
    books: Books,
    judge: ClockJudge,
    observed: Sequence[Observed],
    *,
    fresh: Collection[str],
) -> Error | None:
    """The look of a pass: targets that have a new list, and each once a day; returns what failed.

    Where nobody answers, nobody is visited: somebody may have stopped the program. `fresh` are
    those that were just given something new. Needs a clock that is trusted, for the good probe.
    """
    now = world.clock.now()
    known = {proof.target: proof for proof in books.read(world.proofs.proofs, ())}
    due = [
        target.spec
        for seen in observed
        for target in seen.targets
        if target.spec.client_auth
        and (
            target.spec.name in fresh
            or (
                is_proof_due(target, known.get(target.spec.name), now)
                and not isinstance(target.seen, Unreachable)
            )
        )
    ]
    if not due or not judge.assess(now, needs_date=True).is_trusted:
        return None
    specs = [seen.spec for seen in observed]
    proofs, error = _see(world, specs, due, known)
    if astray := [target for target in due if _has_gone_astray(target, proofs)]:
        put_lists_in_place(world, specs, told_again=[target.name for target in astray])
        again, error = _see(world, specs, astray, known)
        names = {proof.target for proof in again}
        proofs = (*again, *(proof for proof in proofs if proof.target not in names))
    return error or _worst(proofs)


def _has_gone_astray(target: TargetSpec, proofs: Sequence[Proof]) -> bool:
    """Whether its program, which reads its files when it is told to, has just been refuted.

    Once in a row: to restart it day by day would not help what the first time did not.
    """
    return isinstance(target.reload, UnitReload | CommandReload) and any(
        proof.target == target.name
        and proof.outcome is ProofOutcome.REFUTED
        and not proof.is_resumable
        and proof.failures == 1
        for proof in proofs
    )


def forget_unguarded(world: Neighbours, books: Books, specs: Sequence[CertificateSpec]) -> None:
    """Forgets what was found out about targets that do not ask their clients any more.

    `specs` are those of all certificates.
    """
    guarded = {target.name for spec in specs for target in client_targets(spec.targets)}
    for proof in books.read(world.proofs.proofs, ()):
        if proof.target not in guarded:
            books.write(partial(world.proofs.forget_proof, proof.target))


def prove_again(world: Neighbours, specs: Sequence[CertificateSpec]) -> Error | None:
    """Sees who gets in at all targets of these certificates, due or not; returns what is wrong.

    Never raises Error.
    """
    books = Books(world.reporter)
    targets = [target for spec in specs for target in client_targets(spec.targets)]
    if not targets or ClockJudge(world).refusal(world.clock.now()) is not None:
        return None
    known = {proof.target: proof for proof in books.read(world.proofs.proofs, ())}
    proofs, error = _see(world, specs, targets, known)
    return error or _worst(proofs)


def _see(
    world: Neighbours,
    specs: Sequence[CertificateSpec],
    targets: Sequence[TargetSpec],
    known: Mapping[str, Proof],
) -> tuple[tuple[Proof, ...], Error | None]:
    """What was found out, and what went wrong with finding out; which was told."""
    try:
        root, revoked = world.authority.root(), world.authority.probe()
        if root is None or revoked is None:
            return (), None
        is_locked = world.authority.is_locked()
        if any(_is_resumable(known, target) for target in targets) and not is_locked:
            # Whether old sessions are refused by now only a probe can tell that has one.
            withdrawal = take_effect(world, specs, root)
            return withdrawal.proofs, withdrawal.error
        good = good_probe(world, root, world.clock.now())
        return prove(world, targets, Probes(good, revoked)), None
    except Exception as exception:  # noqa: BLE001 - the pass goes on
        error = as_error(exception)
        world.reporter.event(Level.ERROR, SUBJECT, error.what, error.hint)
        return (), error


def _worst(proofs: Sequence[Proof]) -> Error | None:
    """That a target was refuted, if one was."""
    refuted = [each for each in proofs if each.outcome is ProofOutcome.REFUTED]
    return Error(refuted[0].what, refuted[0].hint) if refuted else None


def _is_resumable(known: Mapping[str, Proof], target: TargetSpec) -> bool:
    proof = known.get(target.name)
    return proof is not None and proof.is_resumable


def _chosen(world: Neighbours, name_or_serial: str) -> tuple[ClientCertificate, ...]:
    """All certificates of the client that may let it in, or the one of that serial.

    Whatever their dates, for the clock may be wrong.
    """
    named = world.register.named(name_or_serial)
    if named:
        return tuple(each for each in named if each.revoked_at is None) or named
    found = world.register.find(_as_serial(name_or_serial))
    return (found,) if found else ()


def _stranger(
    world: Neighbours, name_or_serial: str, reason: RevocationReason, now: datetime
) -> tuple[ClientCertificate, ...]:
    """The certificate of a serial that the register does not know: it was lost, or is an old one.

    Such a certificate lets its client in all the same. Raises UsageError for what cannot be a
    serial of ours.
    """
    serial = _as_serial(name_or_serial)
    if not _SERIAL.fullmatch(serial):
        raise UsageError(
            f"there is no client {clean(name_or_serial, 100)}, and no certificate of that serial",
            "see `certwarden client list`",
        )
    entry = Revoked(serial, now, reason)
    world.register.take_over([entry], world.register.last_number())
    text = f"the register does not know the serial {serial}, which is revoked all the same"
    world.reporter.event(Level.WARNING, SUBJECT, text, "see that it is the right one")
    found = world.register.find(serial)
    return (found,) if found else ()


def _as_serial(text: str) -> str:
    serial = text.replace(":", "").lower()
    return serial.rjust(len(serial) + len(serial) % 2, "0")


def _let_in(
    world: Neighbours, root: Root, key: PrivateKey, targets: Sequence[TargetSpec], now: datetime
) -> tuple[Pair, dict[str, Visit]]:
    """A probe that is still good, and the visits that it made to the targets."""
    with world.locks.authority():
        probe = make_probe(world, root, key, now, PROBE_LIFETIME)
    return probe, visit_before(world, targets, probe)
