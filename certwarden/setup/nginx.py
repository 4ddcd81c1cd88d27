"""What nginx needs in order to stand before Node-RED with a target's certificate.

Owns the text. When nginx is reloaded, and how its refusals are told, is `targets`' business.
"""

from certwarden.model import CertificateSpec, GenerationFile, TargetSpec
from certwarden.setup.identity import ADDRESS_HEADERS, FORGEABLE, SERIAL, USER, VERIFY
from certwarden.setup.target import HTTPS_PORT, NODE_RED, comment, current, port, settings

_CONNECTION_MAP = """\
map $http_upgrade $certwarden_connection {
    default upgrade;
    ''      close;
}
"""
# A subject that is one common name and nothing else: no part of it can pass for the whole.
_CLIENT_MAP = """\
map $ssl_client_s_dn $certwarden_client {
    default "";
    "~^CN=(?<certwarden_name>[A-Za-z0-9][A-Za-z0-9._@-]*)$" $certwarden_name;
}
"""
_SERVER = """\
server {{
    listen {port} ssl;
    listen [::]:{port} ssl;
    server_name {names};

    ssl_certificate     {fullchain};
    ssl_certificate_key {privkey};
    ssl_protocols       TLSv1.2 TLSv1.3;
    # A session that is resumed is not judged again by the revocation list.
    ssl_session_cache   off;
    ssl_session_tickets off;
{client_auth}
    # Flows are sent as a whole.
    client_max_body_size 8m;

    location / {{
        proxy_pass         http://{node_red};
        proxy_http_version 1.1;
        proxy_read_timeout 1h;
        proxy_set_header   Host $http_host;
        proxy_set_header   Upgrade $http_upgrade;
        proxy_set_header   Connection $certwarden_connection;
        proxy_set_header   X-Forwarded-Proto $scheme;
{headers}    }}
}}
"""
_CLIENT_AUTH = """
    # Only clients with a certificate of your own CA that is not revoked.
    ssl_client_certificate {client_ca};
    ssl_crl                {client_crl};
    ssl_verify_client      on;
    ssl_verify_depth       2;

    error_page 495 496 =403 /certwarden-refused;
    location = /certwarden-refused {{
        internal;
        default_type text/plain;
        return 403 "No valid client certificate: $ssl_client_verify\\n";
    }}
"""
_LISTENS = (
    f"Node-RED has to listen at {NODE_RED} and nowhere else, without https of its own: in",
    'settings.js uiHost: "127.0.0.1". Whoever reaches it round nginx is whoever they say they are.',
)
_WEBSOCKETS = (
    "",
    "A reload leaves open websockets alone, a revoked client's too. So that they end soon after,",
    "this belongs in nginx.conf, outside of http { } and events { }:",
    "  worker_shutdown_timeout 10s;",
    "",
    "Where other servers listen at the same port, the default one decides about sessions for all:",
    "turn ssl_session_cache and ssl_session_tickets off there as well.",
)


def nginx_snippet(certificate: CertificateSpec, target: TargetSpec) -> str:
    """A file for nginx's `http` part: a server for the certificate's names before Node-RED.

    With `client_auth` it asks for client certificates and tells Node-RED who it is; without, it
    sees to it that nobody else does. Raises UsageError where a path cannot be written.
    """
    client_auth = ""
    if target.client_auth:
        client_auth = _CLIENT_AUTH.format(
            client_ca=current(target, GenerationFile.CLIENT_CA),
            client_crl=current(target, GenerationFile.CLIENT_CRL),
        )
    server = _SERVER.format(
        port=port(target, HTTPS_PORT),
        names=" ".join(certificate.domains),
        fullchain=current(target, GenerationFile.FULLCHAIN),
        privkey=current(target, GenerationFile.PRIVKEY),
        client_auth=client_auth,
        node_red=NODE_RED,
        headers=_headers(is_verified=target.client_auth),
    )
    path = f"/etc/nginx/conf.d/certwarden-{target.name}.conf"
    head = comment(
        (
            f"nginx before Node-RED, for the target {target.name} of certwarden. Made from the",
            f"configuration by `certwarden snippet nginx {target.name}`; belongs in",
            f"{path}.",
            *_LISTENS,
            *(_WEBSOCKETS if target.client_auth else ()),
        )
    )
    foot = comment(
        (
            "To apply it: sudo nginx -t && sudo systemctl reload nginx",
            f"What certwarden's configuration is to say of the target {target.name}:",
            *(
                f"  {line}"
                for line in settings(
                    target, kind="nginx", unit="nginx.service", usual_port=HTTPS_PORT
                )
            ),
        )
    )
    maps = (_CONNECTION_MAP, _CLIENT_MAP) if target.client_auth else (_CONNECTION_MAP,)
    return "\n".join((head, *maps, server, foot))


def _headers(*, is_verified: bool) -> str:
    """Who the client is, as nginx knows it; and whatever else could say so, taken away."""
    known = dict.fromkeys(ADDRESS_HEADERS, "$remote_addr")
    identity = (USER, VERIFY, SERIAL)
    if is_verified:
        values = ("$certwarden_client", "$ssl_client_verify", "$ssl_client_serial")
        known.update(zip(identity, values, strict=True))
    else:
        known.update(dict.fromkeys(identity, '""'))
    lines = [f"proxy_set_header   {name} {value};" for name, value in known.items()]
    lines.append("# What a client could call itself.")
    lines += [f'proxy_set_header   {name} "";' for name in FORGEABLE]
    return "".join(f"        {line}\n" for line in lines)
