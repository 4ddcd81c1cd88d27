"""What HAProxy needs in order to stand before Node-RED with a target's certificate.

Owns the text. When HAProxy is reloaded, and how its refusals are told, is `targets`' business.
"""

from certwarden.model import CertificateSpec, GenerationFile, TargetSpec
from certwarden.setup.identity import ADDRESS_HEADERS, FORGEABLE, SERIAL, USER, VERIFY
from certwarden.setup.target import HTTPS_PORT, NODE_RED, comment, current, port, settings

# A subject that is one common name and nothing else. `\\z`, for `$` passes over a line's end.
_IS_NAMED = r"{ ssl_c_s_dn -m reg '^/CN=[A-Za-z0-9][A-Za-z0-9._@-]*\z' }"

_GLOBAL = """\
global
    # A session that is resumed is not judged again by the revocation list.
    tune.ssl.cachesize 0
    # A reload leaves open websockets alone, a revoked client's too: for so long, and no longer.
    hard-stop-after 10s

"""
_PROXY = """\
frontend certwarden-{name}
    mode http
    bind {bind}
    timeout http-request 10s
    timeout client 1m
{headers}    default_backend certwarden-{name}

backend certwarden-{name}
    mode http
    timeout connect 5s
    timeout server 1m
    timeout tunnel 1h
    server node-red {node_red}
"""
_LISTENS = (
    f"Node-RED has to listen at {NODE_RED} and nowhere else, without https of its own: in",
    'settings.js uiHost: "127.0.0.1". Whoever reaches it round HAProxy is whoever they say they',
    "are.",
)


def haproxy_snippet(certificate: CertificateSpec, target: TargetSpec) -> str:
    """The end of a haproxy.cfg: a frontend with the target's certificate, and Node-RED behind it.

    With `client_auth` it asks for client certificates and tells Node-RED who it is; without, it
    sees to it that nobody else does. Raises UsageError where a path cannot be written.
    """
    proxy = _PROXY.format(
        name=target.name,
        bind=_bind(target),
        headers=_headers(is_verified=target.client_auth),
        node_red=NODE_RED,
    )
    head = comment(
        (
            f"HAProxy before Node-RED, for {' '.join(certificate.domains)}. Made from certwarden's",
            f"configuration by `certwarden snippet haproxy {target.name}`; belongs at the end of",
            "/etc/haproxy/haproxy.cfg.",
            *_LISTENS,
        )
    )
    foot = comment(
        (
            "To apply it:",
            "  sudo haproxy -c -f /etc/haproxy/haproxy.cfg && sudo systemctl reload haproxy",
            f"What certwarden's configuration is to say of the target {target.name}:",
            *(
                f"  {line}"
                for line in settings(
                    target, kind="haproxy", unit="haproxy.service", usual_port=HTTPS_PORT
                )
            ),
        )
    )
    opening = _GLOBAL if target.client_auth else ""
    return f"{head}\n{opening}{proxy}\n{foot}"


def _bind(target: TargetSpec) -> str:
    words = [
        f":::{port(target, HTTPS_PORT)} v4v6 ssl",
        f"crt {current(target, GenerationFile.COMBINED)}",
        "ssl-min-ver TLSv1.2",
    ]
    if target.client_auth:
        words += [
            f"ca-file {current(target, GenerationFile.CLIENT_CA)}",
            f"crl-file {current(target, GenerationFile.CLIENT_CRL)}",
            "verify required",
            "no-tls-tickets",
        ]
    return " ".join(words)


def _headers(*, is_verified: bool) -> str:
    """Who the client is, as HAProxy knows it; and whatever else could say so, taken away."""
    lines = [f"http-request set-header {name} %[src]" for name in ADDRESS_HEADERS]
    lines.append("http-request set-header X-Forwarded-Proto https")
    lines.append("# What a client could call itself.")
    lines += [f"http-request del-header {name}" for name in (USER, VERIFY, SERIAL, *FORGEABLE)]
    if is_verified:
        lines += [
            "# Who it is by its certificate.",
            f"http-request set-header {USER} %[ssl_c_s_dn(cn)] if {_IS_NAMED}",
            f"http-request set-header {SERIAL} %[ssl_c_serial,hex]",
            f"http-request set-header {VERIFY} SUCCESS",
        ]
    return "".join(f"    {line}\n" for line in lines)
