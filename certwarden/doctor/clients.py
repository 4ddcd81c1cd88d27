"""Who gets in at the targets that ask for client certificates: by truth, for whoever must not.

Strangers are sent: without a certificate, with one of another CA, and with the revoked one that is
kept for this; each as well for the editor's websocket. No good one is: to sign one is to write in
the register, and here nothing is written. That a good client gets in, and that a revoked one's old
session does not, is told by the last proof of the daemon, which looks daily and with each list.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from certwarden.doctor.finding import Finding, error, minute, ok, skipped, warning
from certwarden.doctor.targets import pairs
from certwarden.lifecycle.lists import PROVEN_EVERY
from certwarden.lifecycle.side_by_side import side_by_side
from certwarden.model import (
    TARGET_KINDS,
    Admission,
    Answer,
    ClientCertificate,
    Crl,
    KeyType,
    NoHandshake,
    ObservedTarget,
    Pair,
    Proof,
    ProofOutcome,
    TargetSpec,
    Unreachable,
)
from certwarden.pki.certificate import CLOCK_SKEW

if TYPE_CHECKING:
    from certwarden.doctor.patient import Patient
    from certwarden.targets.visits import Listener

NODE_RED_PORT = 1880  # Node-RED's uiPort, unless settings.js has another
PROOF_GRACE = timedelta(days=1)  # for a daemon that was off, or backs off
_MINUTES = timedelta(minutes=10)
_FOREIGN, _NOBODY, _REVOKED = "a certificate of another CA", "no certificate", "a revoked one"


@dataclass(frozen=True)
class Visits:
    """What came of sending strangers to a target, by what they showed.

    `websockets` are the answers to those that asked for one. `why_not_revoked`: why no revoked
    client was sent. `is_told_by_status`: they are refused by 400 or 403, as a proxy does it.
    """

    pages: Mapping[str, Answer]
    websockets: Mapping[str, Answer] = field(default_factory=dict)
    why_not_revoked: str = ""
    is_told_by_status: bool = False


# ── who must not get in ───────────────────────────────────────────────────────────────────────────


def refusals(patient: "Patient") -> Iterator[Finding]:
    """Whether strangers and revoked clients are refused."""
    if patient.authority is None or patient.authority.root is None:
        return
    targets = [each for _, each in pairs(patient) if each.spec.client_auth]
    if not targets:
        return
    revoked = patient.warden.authority.probe()
    stranger = foreign_client(patient.now)
    tasks = [partial(_visit, patient, each, stranger, revoked) for each in targets]
    for target, visits in zip(targets, side_by_side(tasks, patient.warden.clock), strict=True):
        if visits is None:
            yield _unvisited(target)
        else:
            yield from judge_visits(target, visits)


def _visit(
    patient: "Patient", target: ObservedTarget, stranger: Pair, revoked: Pair | None
) -> Visits | None:
    """None where nobody could be sent."""
    spec = target.spec
    door = patient.warden.client_probe(spec.name)
    websocket = patient.warden.websocket_probe(spec.name)
    if door is None or isinstance(target.seen, Unreachable | NoHandshake):
        return None
    callers: dict[str, Pair | None] = {_NOBODY: None, _FOREIGN: stranger}
    why_not = why_not_revoked(target, revoked, patient.now)
    if not why_not:
        callers[_REVOKED] = revoked
    probes = [door, *([websocket] if websocket else [])]
    visits = side_by_side(
        [partial(probe.visit, caller) for probe in probes for caller in callers.values()],
        patient.warden.clock,
    )
    answers = [visit.answer for visit in visits]
    pages = dict(zip(callers, answers, strict=False))
    is_told = spec.kind.name == "files" and _is_told_by_status(spec, pages[_NOBODY])
    return Visits(
        pages, dict(zip(callers, answers[len(callers) :], strict=False)), why_not, is_told
    )


def why_not_revoked(target: ObservedTarget, revoked: Pair | None, now: datetime) -> str:
    """Why the revoked client that is kept would tell nothing there; "" where it would."""
    trust = target.installed.trust if target.installed else None
    if revoked is None:
        return "there is no revoked certificate to send"
    if trust is None or revoked.certificate.serial not in trust.crl.serials:
        return "the installed list is older than the revoked certificate that is kept for this"
    if not revoked.certificate.is_valid_at(now):
        return "the revoked certificate that is kept for this would be refused for its dates"
    return ""


def foreign_client(now: datetime) -> Pair:
    """A client certificate of a CA that nobody knows, made for the occasion."""
    from certwarden.pki.authority import build_client, build_root, client_dates, new_serial
    from certwarden.pki.authority import read_root as read
    from certwarden.pki.certificate import read_pair
    from certwarden.pki.keys import generate_key_pair, load_key

    authority_key, _ = generate_key_pair(KeyType.ECDSA_P256)
    key = load_key(authority_key)
    root_pem = build_root("certwarden stranger", key, now)
    client_key, public_key = generate_key_pair(KeyType.ECDSA_P256)
    dates = client_dates(read(root_pem), now, _MINUTES)
    client = ClientCertificate(new_serial(), "certwarden-stranger", None, *dates)
    return read_pair(client_key, build_client(root_pem, key, client, public_key))


def _is_told_by_status(spec: TargetSpec, answer: Answer) -> bool:
    """Whether what looks like being let in is how nginx and HAProxy refuse."""
    from certwarden.targets.client_probe import TlsClientProbe

    if spec.probe is None or answer.admission is not Admission.LET_IN:
        return False
    as_proxy = TlsClientProbe(spec.probe, spec.probe_name, TARGET_KINDS["nginx"])
    return as_proxy.visit(None).answer.admission is Admission.REFUSED


def _unvisited(target: ObservedTarget) -> Finding:
    if target.spec.probe is None:
        return skipped(
            target.spec.name,
            "who gets in cannot be seen: it has no `probe`",
            f'set `probe = "127.0.0.1:PORT"` for {target.spec.name}',
        )
    return skipped(target.spec.name, "nobody could be sent: it does not serve TLS")


def judge_visits(target: ObservedTarget, visits: Visits) -> Iterator[Finding]:
    """Every way in that is open is a finding; that all are shut is one together."""
    spec, name = target.spec, target.spec.name
    if visits.is_told_by_status:
        yield error(
            name,
            "it refuses by HTTP 400 or 403, which counts as being let in where `kind` is files",
            'set `kind = "nginx"` or `kind = "haproxy"`, whichever it is',
        )
        return
    found = []
    for caller, page in visits.pages.items():
        socket = visits.websockets.get(caller)
        if page.admission is Admission.LET_IN:
            what = f"whoever shows {caller} gets in: {page.what}"
            found.append(error(name, what, _shut(spec, caller)))
        elif socket is not None and socket.admission is Admission.LET_IN:
            what = f"whoever shows {caller} gets in by a websocket: {socket.what}"
            found.append(error(name, what, _shut_websocket(spec)))
        elif page.admission is Admission.UNKNOWN:
            what = f"whether {caller} gets anybody in cannot be told: {page.what}"
            found.append(warning(name, what, "look at the program's own log"))
    if found:
        yield from found
    elif visits.why_not_revoked:
        yield skipped(name, f"no revoked client was sent: {visits.why_not_revoked}")
    else:
        *most, last = visits.pages
        doors = ", at its websocket as well" if visits.websockets else ""
        yield ok(name, f"it refuses whoever shows {', '.join(most)}, or {last}{doors}")


def _shut(spec: TargetSpec, caller: str) -> str:
    if caller == _REVOKED:
        return (
            f"sudo certwarden deploy {spec.certificate}; if that does not help, have the program "
            f"read {spec.directory}/current/client-crl.pem, as `certwarden snippet` shows it"
        )
    return (
        f"have it require client certificates of {spec.directory}/current/client-ca.pem only, as "
        "`certwarden snippet` shows it, and restart it"
    )


def _shut_websocket(spec: TargetSpec) -> str:
    return (
        f"have {spec.name} ask for the certificate at every `location`, not only at some: "
        "`ssl_verify_client on`, as `certwarden snippet` shows it"
    )


# ── who must get in ───────────────────────────────────────────────────────────────────────────────


def admissions(patient: "Patient") -> Iterator[Finding]:
    """Whether good clients get in and old sessions do not, by what the daemon has seen last."""
    authority = patient.authority
    if authority is None or authority.root is None:
        return
    for _, target in pairs(patient):
        if target.spec.client_auth:
            proof = authority.proofs.get(target.spec.name)
            yield judge_proof(target, proof, patient.now, is_locked=authority.is_locked)


def judge_proof(
    target: ObservedTarget, proof: Proof | None, now: datetime, *, is_locked: bool
) -> Finding:
    """One finding; of a locked CA nobody good can be sent, until it is unlocked."""
    spec, name = target.spec, target.spec.name
    see = f"sudo certwarden deploy {spec.certificate}"
    trust = target.installed.trust if target.installed else None
    if spec.probe is None or isinstance(target.seen, Unreachable | NoHandshake):
        return skipped(name, "nobody could be sent: it has no probe, or does not answer")
    if proof is not None and (proof.is_resumable or proof.outcome is ProofOutcome.REFUTED):
        return _judge_refuted(name, proof, see)
    if trust is None:
        return skipped(name, "nobody could be sent: no list is installed, or it is not whole")
    if is_locked:
        return _judge_of_locked(name, proof)
    if proof is None or proof.outcome is ProofOutcome.UNKNOWN:
        said = f": {proof.what}" if proof else ""
        todo = (proof.hint if proof else "") or see
        return warning(name, f"whether a good client gets in has not been seen{said}", todo)
    return _judge_age(name, proof, trust.crl, now, see)


def _judge_refuted(name: str, proof: Proof, see: str) -> Finding:
    """The wrong ones get in, or the right ones do not."""
    if not proof.is_resumable:
        return error(name, proof.what, proof.hint or see)
    what = f"a revoked client got in by a session from before: {proof.what}"
    todo = (
        "turn saved sessions off, as `certwarden snippet` shows it (nginx: `ssl_session_cache "
        f"off; ssl_session_tickets off;`), and restart it; then {see}"
    )
    return error(name, what, todo)


def _judge_of_locked(name: str, proof: Proof | None) -> Finding:
    if proof is None or proof.outcome is not ProofOutcome.PROVEN:
        todo = "certwarden ca unlock"
        return skipped(name, "whether a good client gets in is seen once the CA is unlocked", todo)
    return ok(name, _proven(proof))


def _judge_age(name: str, proof: Proof, crl: Crl, now: datetime, see: str) -> Finding:
    """Lists come daily, and with each of them somebody looks, minutes later at most."""
    if proof.crl_number < crl.number:
        if now < crl.this_update + CLOCK_SKEW + _MINUTES:
            what = f"list {crl.number} is quite new, and who gets in with it is about to be seen"
            return skipped(name, what)
        what = f"list {crl.number} is installed, and who gets in was last seen with list "
        return warning(name, f"{what}{proof.crl_number}", see)
    if proof.at + PROVEN_EVERY + PROOF_GRACE <= now:
        what = f"who gets in was last looked at on {minute(proof.at)}, not daily"
        return warning(name, what, f"see whether the daemon runs; now: {see}")
    return ok(name, _proven(proof))


def _proven(proof: Proof) -> str:
    return f"a good client got in on {minute(proof.at)}, a revoked one did not"


# ── the way around a proxy ────────────────────────────────────────────────────────────────────────


def around_proxies(patient: "Patient") -> Iterator[Finding]:
    """Whether Node-RED can be reached around the proxy that asks for certificates.

    Whoever gets there needs no certificate, and may call himself whatever he likes: the headers by
    which the proxy tells who somebody is are believed. What arrives behind the proxy itself cannot
    be seen from before it without a good certificate.
    """
    from certwarden.targets.visits import exposed, speaks_plain_http

    proxies = [
        each.spec
        for _, each in pairs(patient)
        if each.spec.client_auth and each.spec.kind.refuses_by_status
    ]
    if not proxies:
        return
    found = exposed({NODE_RED_PORT})
    around = [each for each in found if speaks_plain_http(each.reached)]
    for spec in proxies:
        yield judge_way_around(spec, around)


def judge_way_around(spec: TargetSpec, around: "Sequence[Listener]") -> Finding:
    """`around` is where plain HTTP is answered, and others may ask as well."""
    if not around:
        what = f"at port {NODE_RED_PORT} nobody is answered plain HTTP, this machine apart"
        return ok(spec.name, what)
    where = ", ".join(str(each.bound) for each in around)
    return warning(
        spec.name,
        f"Node-RED can be reached around it, without a certificate: {where} answers plain HTTP",
        'have Node-RED listen to the proxy alone: `uiHost: "127.0.0.1",` in settings.js, or in '
        f"Docker `-p 127.0.0.1:{NODE_RED_PORT}:{NODE_RED_PORT}`",
    )


CHECKS = {
    "client-refusal": refusals,
    "client-admission": admissions,
    "around-proxy": around_proxies,
}
