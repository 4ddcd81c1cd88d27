"""What was found, as metrics: pure text in Prometheus' exposition format (version 0.0.4)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from certwarden import __version__
from certwarden.lifecycle.renewal import renewal
from certwarden.lifecycle.retry import counted
from certwarden.lifecycle.status import ClientState, TargetState, client_state, target_state
from certwarden.lifecycle.trust import Verdict
from certwarden.model import Observed, ObservedAuthority, ProofOutcome, Served, TokenCheck

PREFIX = "certwarden_"


@dataclass(frozen=True)
class _Sample:
    """One value of a metric, under its labels."""

    value: float
    labels: Mapping[str, str]


def render_metrics(
    observed: Sequence[Observed],
    verdict: Verdict,
    token_check: TokenCheck | None,
    now: datetime,
    *,
    is_good: bool,
    authority: ObservedAuthority | None = None,
) -> str:
    """The text of the metrics file after a pass that ended at `now`, well or not.

    Instants are Unix times in seconds. What is not known has no sample: a target that was not
    probed is neither in use nor not in use.
    """
    families = (
        _build_info(),
        _last_pass(now),
        _family(
            "last_pass_success",
            "Whether nothing failed in the last pass.",
            [_Sample(is_good, {})],
        ),
        _family(
            "clock_trusted",
            "Whether the wall clock is trusted; absent while nothing depends on it and only a "
            "server could tell.",
            [_Sample(verdict.is_trusted, {})] if verdict.is_trusted or verdict.is_asked else [],
        ),
        _family(
            "token_expiry_timestamp_seconds",
            "When the Cloudflare API token expires; absent if it does not.",
            [_Sample(token_check.expires_at.timestamp(), {})]
            if token_check and token_check.expires_at
            else [],
        ),
        *_certificate_families(observed, now),
        *_target_families(observed),
        *_authority_families(authority, now),
    )
    return "".join(families)


def _build_info() -> str:
    sample = _Sample(1, {"version": __version__})
    return _family("build_info", "The version of certwarden that wrote this.", [sample])


def _last_pass(now: datetime) -> str:
    sample = _Sample(now.timestamp(), {})
    return _family("last_pass_timestamp_seconds", "When the last pass ended.", [sample])


def _certificate_families(observed: Sequence[Observed], now: datetime) -> Iterator[str]:
    def of(seen: Observed) -> dict[str, str]:
        return {"certificate": seen.spec.name}

    stored = [(seen, seen.stored.certificate) for seen in observed if seen.stored is not None]
    yield _family(
        "certificate_not_after_timestamp_seconds",
        "When the stored certificate expires.",
        [_Sample(leaf.not_after.timestamp(), of(seen)) for seen, leaf in stored],
    )
    yield _family(
        "certificate_renewal_timestamp_seconds",
        "When the certificate is due for renewal.",
        [_Sample(renewal(seen, now).at.timestamp(), of(seen)) for seen in observed],
    )
    yield _family(
        "certificate_failures",
        "Attempts to obtain the certificate that failed since the last success.",
        [_Sample(len(counted(seen.failures)), of(seen)) for seen in observed],
    )


def _target_families(observed: Sequence[Observed]) -> Iterator[str]:
    targets = [
        (seen, target, {"certificate": seen.spec.name, "target": target.spec.name})
        for seen in observed
        for target in seen.targets
    ]
    yield _family(
        "target_in_use",
        "Whether the target was seen to serve the stored certificate.",
        [
            _Sample(target_state(seen, target) is TargetState.IN_USE, labels)
            for seen, target, labels in targets
            if target.seen is not None
        ],
    )
    yield _family(
        "target_served_not_after_timestamp_seconds",
        "When the certificate expires that the target was seen to serve.",
        [
            _Sample(target.seen.certificate.not_after.timestamp(), labels)
            for _, target, labels in targets
            if isinstance(target.seen, Served)
        ],
    )


def _authority_families(seen: ObservedAuthority | None, now: datetime) -> Iterator[str]:
    if seen is None or seen.root is None:
        return
    crl = seen.crl
    yield _family(
        "authority_not_after_timestamp_seconds",
        "When the private CA's own certificate expires.",
        [_Sample(seen.root.not_after.timestamp(), {})],
    )
    yield _family(
        "crl_next_update_timestamp_seconds",
        "When the published revocation list expires; then no client gets in.",
        [_Sample(crl.next_update.timestamp(), {})] if crl else [],
    )
    yield _family(
        "crl_number",
        "The number of the published revocation list.",
        [_Sample(crl.number, {})] if crl else [],
    )
    states = Counter(client_state(each, now) for each in seen.clients)
    yield _family(
        "client_certificates",
        "Client certificates in the register, by state.",
        [_Sample(states[state], {"state": state.value}) for state in ClientState],
    )
    yield _family(
        "target_refuses_revoked",
        "Whether the target was last seen to refuse a revoked client and to let in a good one.",
        [
            _Sample(proof.outcome is ProofOutcome.PROVEN, {"target": name})
            for name, proof in seen.proofs.items()
            if proof.outcome is not ProofOutcome.UNKNOWN
        ],
    )


def _family(name: str, description: str, samples: Sequence[_Sample]) -> str:
    """A metric's lines, or nothing where it has no sample; all of ours are gauges."""
    if not samples:
        return ""
    name = PREFIX + name
    head = f"# HELP {name} {_escape(description)}\n# TYPE {name} gauge\n"
    return head + "".join(f"{name}{_labels(each.labels)} {each.value:.16g}\n" for each in samples)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape_label(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_label(text: str) -> str:
    return _escape(text).replace('"', r"\"")
