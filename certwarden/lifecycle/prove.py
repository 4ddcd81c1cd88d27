"""Whether targets let in who may, and refuse who may not: seen by visiting them (invariant 6).

Two probes go: a good one, whose certificate is minutes long, and a revoked one, which is in every
list that the targets could have. What cannot be told is never taken for proof.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from certwarden.errors import Error, LockedError
from certwarden.lifecycle.authority import make_probe
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import (
    Admission,
    Answer,
    CommandReload,
    Pair,
    Proof,
    ProofOutcome,
    Protocol,
    Root,
    TargetSpec,
    UnitReload,
    Unreachable,
)
from certwarden.ports import ClientProbe, Level, Neighbours, Visit

GOOD_PROBE_LIFETIME = timedelta(minutes=10)
LOOK_INTERVALS = (0.05, 0.1, 0.2, 0.5)  # seconds between visits; the last one is repeated
LAST_INTERVAL = 1.0
HANDOVER = 0.5  # seconds

_NEXT_PROBE = "the next list has another: certwarden renew, or ca unlock where the CA is locked"
_LET_IN, _REFUSED, _UNKNOWN = Admission.LET_IN, Admission.REFUSED, Admission.UNKNOWN


@dataclass(frozen=True)
class Probes:
    """Whom the targets are visited as.

    `good` is None where the CA is locked, so that nobody could be made to be let in. `visits` are
    those that the revoked one made while it was still good: what came of them can be resumed.
    """

    good: Pair | None
    revoked: Pair
    visits: Mapping[str, Visit] = field(default_factory=dict)


def visit_before(
    world: Neighbours, targets: Sequence[TargetSpec], client: Pair
) -> dict[str, Visit]:
    """Visits with what is about to be revoked, for the sessions that it is given, by target."""
    probes = {
        target.name: probe for target in targets if (probe := world.client_probe(target.name))
    }
    visits = side_by_side([partial(each.visit, client) for each in probes.values()], world.clock)
    return dict(zip(probes, visits, strict=True))


def prove(world: Neighbours, targets: Sequence[TargetSpec], probes: Probes) -> tuple[Proof, ...]:
    """What is found out at each target, side by side; it is written down, and told if it is bad.

    Waits for a target that has yet to take up its list, as long as its probe's timeout says.
    """
    before = {proof.target: proof for proof in world.proofs.proofs()}
    tasks = [partial(_prove, world, target, probes) for target in targets]
    found = side_by_side(tasks, world.clock)
    proofs = []
    for target, each in zip(targets, found, strict=True):
        proof = _in_its_row(each, before.get(target.name))
        proofs.append(proof)
        if probes.good is None and proof.outcome is ProofOutcome.UNKNOWN:
            continue  # what was proven while the CA was unlocked still stands
        world.proofs.save_proof(proof)
        if proof.outcome is ProofOutcome.REFUTED:
            world.reporter.event(Level.ERROR, target.name, proof.what, proof.hint)
    return tuple(proofs)


def good_probe(world: Neighbours, root: Root, now: datetime) -> Pair | None:
    """A client certificate that is good for minutes; None where the CA is locked."""
    try:
        key = world.signing_key()
    except LockedError:
        if world.authority.is_locked():
            return None
        raise
    with world.locks.authority():
        return make_probe(world, root, key, now, GOOD_PROBE_LIFETIME)


def _prove(world: Neighbours, target: TargetSpec, probes: Probes) -> Proof:
    """What the visits to one target show; what goes wrong there says nothing of the others."""
    now = world.clock.now()
    try:
        installed = world.shelf(target.name).installed()
    except Error as error:
        return Proof(target.name, 0, now, ProofOutcome.UNKNOWN, error.what, error.hint)
    trust = installed.trust if installed else None
    number = trust.crl.number if trust else 0
    unproven = partial(Proof, target.name, number, now, ProofOutcome.UNKNOWN)
    probe = world.client_probe(target.name)
    if trust is None:
        return unproven("its clients' CA and list are not installed", "see `certwarden status`")
    if probe is None:
        return unproven("it has no probe", "set `probe` for the target, so that it can be visited")
    revoked = probes.revoked.certificate
    if revoked.serial not in trust.crl.serials:
        return unproven("the installed list is older than the probe", "see `certwarden status`")
    if not revoked.is_valid_at(now):
        return unproven("the revoked probe would be refused for its dates", _NEXT_PROBE)
    return _visit(world, target, probe, probes, unproven)


def _visit(
    world: Neighbours,
    target: TargetSpec,
    probe: ClientProbe,
    probes: Probes,
    unproven: "partial[Proof]",
) -> Proof:
    """Visits until everything is as it should be, or the target has had its time."""
    clock = world.clock
    deadline = clock.monotonic() + target.probe_timeout.total_seconds()
    intervals = iter(LOOK_INTERVALS)
    is_handed_over = not isinstance(target.reload, UnitReload | CommandReload)
    while True:
        proof = _look(target, probe, probes, unproven)
        is_proven = proof.outcome is ProofOutcome.PROVEN
        if (is_proven and is_handed_over) or clock.monotonic() >= deadline:
            return proof
        if is_proven:
            # For a moment after its reload nginx answers from old and new workers by turns.
            is_handed_over = True
            clock.sleep(HANDOVER)
            continue
        is_unknown = proof.outcome is ProofOutcome.UNKNOWN
        # Where nobody good can be sent, there is nothing to wait for.
        if is_unknown and (probes.good is None or _is_absent(world, target)):
            return proof
        clock.sleep(next(intervals, LAST_INTERVAL))


def _look(
    target: TargetSpec, probe: ClientProbe, probes: Probes, unproven: "partial[Proof]"
) -> Proof:
    """One round of visits."""
    revoked = probe.visit(probes.revoked).answer
    if revoked.admission is _LET_IN:
        return _refuted(unproven, f"a revoked client gets in: {revoked.what}", target)
    resumed = _resumed(target, probes) if revoked.admission is _REFUSED else None
    if resumed is not None and resumed.admission is _LET_IN:
        what = f"a revoked client gets in with a TLS session from before: {resumed.what}"
        hint = (
            "turn session caches and tickets off, as `certwarden snippet` shows it, and restart "
            "the program"
        )
        return _with(unproven, ProofOutcome.REFUTED, what, hint, is_resumable=True)
    doubtful = revoked if revoked.admission is _UNKNOWN else resumed
    if doubtful is not None and doubtful.admission is _UNKNOWN:
        return unproven(f"whether a revoked client is refused cannot be told: {doubtful.what}")
    return _look_at_good(target, probe, probes, unproven, refused=revoked)


def _look_at_good(
    target: TargetSpec,
    probe: ClientProbe,
    probes: Probes,
    unproven: "partial[Proof]",
    *,
    refused: Answer,
) -> Proof:
    """The counter-check: a door that is shut to everybody proves nothing."""
    if probes.good is None:
        return unproven(
            f"{refused.what}; whether a good client gets in was not tried, as the CA is locked",
            "unlock it: certwarden ca unlock",
        )
    good = probe.visit(probes.good).answer
    match good.admission:
        case Admission.LET_IN:
            what = f"{refused.what}; a good client gets in"
            if target.kind.protocol is Protocol.MQTT:
                what += "; connections that were open stay until the program is restarted"
            return _with(unproven, ProofOutcome.PROVEN, what, "")
        case Admission.REFUSED:
            return _refuted(unproven, f"a good client is refused, too: {good.what}", target)
        case Admission.UNKNOWN:
            return unproven(f"whether a good client gets in cannot be told: {good.what}")


def _resumed(target: TargetSpec, probes: Probes) -> Answer | None:
    """What comes of the session from before the revocation, where there was such a visit."""
    visit = probes.visits.get(target.name)
    if visit is None or visit.answer.admission is not _LET_IN:
        return None
    return visit.again()


def _refuted(unproven: "partial[Proof]", what: str, target: TargetSpec) -> Proof:
    hint = (
        f"see that {target.name}'s program reads {target.directory}/current and asks for client "
        "certificates, as `certwarden snippet` shows it"
    )
    return _with(unproven, ProofOutcome.REFUTED, what, hint)


def _with(
    unproven: "partial[Proof]",
    outcome: ProofOutcome,
    what: str,
    hint: str,
    *,
    is_resumable: bool = False,
) -> Proof:
    name, number, at, _ = unproven.args
    return Proof(name, number, at, outcome, what, hint, is_resumable=is_resumable)


def _in_its_row(proof: Proof, before: Proof | None) -> Proof:
    """The proof, counted on from those that came to nothing before it."""
    if proof.outcome is ProofOutcome.PROVEN:
        return proof
    is_row = before is not None and before.failures > 0 and before.at <= proof.at
    since = before.since if before and is_row else None
    failures = (before.failures if before and is_row else 0) + 1
    # Whether old sessions are refused stays open until a probe with one has been refused.
    is_resumable = proof.is_resumable or (before is not None and before.is_resumable)
    return replace(proof, since=since or proof.at, failures=failures, is_resumable=is_resumable)


def _is_absent(world: Neighbours, target: TargetSpec) -> bool:
    probe = world.probe(target.name)
    return probe is not None and isinstance(probe.look(), Unreachable)


def client_targets(targets: Sequence[TargetSpec]) -> Iterator[TargetSpec]:
    """Those that ask their clients for certificates."""
    return (target for target in targets if target.client_auth)
