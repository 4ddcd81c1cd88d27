"""What mosquitto needs in order to serve a target's certificate.

Owns the text. That mosquitto is never reloaded with a list that it could not read is `targets`'
business.
"""

from certwarden.model import CertificateSpec, GenerationFile, TargetSpec
from certwarden.setup.target import MQTTS_PORT, comment, current, port, settings

_LISTENER = """\
listener {port}
certfile {fullchain}
keyfile {privkey}
"""
_CLIENT_AUTH = """\

# Only clients with a certificate of your own CA that is not revoked; its name is the user's name.
cafile {client_ca}
crlfile {client_crl}
require_certificate true
use_identity_as_username true
"""
_WITHOUT_CLIENT_AUTH = """\

# Who may come in is up to you: a password_file, or
# allow_anonymous true
"""
_REVOCATIONS = (
    "Everything else is up to mosquitto: an acl_file can go by the users' names.",
    "",
    "A reload leaves open connections alone, a revoked client's too, until they end by themselves.",
    'With verb = "restart" they are cut at once, and everybody has to connect again.',
    "By hand, reload only a list that is in order: with one that it cannot read, mosquitto goes on",
    "without any and lets revoked clients in. certwarden looks at it first.",
)


def mosquitto_snippet(certificate: CertificateSpec, target: TargetSpec) -> str:
    """A file for mosquitto's conf.d: a listener with the target's certificate.

    With `client_auth` the client's certificate is its user name; without, who may come in is left
    to the rest of the configuration. Raises UsageError where a path cannot be written.
    """
    listener = _LISTENER.format(
        port=port(target, MQTTS_PORT),
        fullchain=current(target, GenerationFile.FULLCHAIN),
        privkey=current(target, GenerationFile.PRIVKEY),
    )
    access = _WITHOUT_CLIENT_AUTH
    if target.client_auth:
        access = _CLIENT_AUTH.format(
            client_ca=current(target, GenerationFile.CLIENT_CA),
            client_crl=current(target, GenerationFile.CLIENT_CRL),
        )
    head = comment(
        (
            f"mosquitto with the certificate for {' '.join(certificate.domains)}. Made by",
            f"`certwarden snippet mosquitto {target.name}` from its configuration; belongs in",
            f"/etc/mosquitto/conf.d/certwarden-{target.name}.conf.",
            *(_REVOCATIONS if target.client_auth else ()),
        )
    )
    foot = comment(
        (
            "To apply it: sudo systemctl restart mosquitto",
            "A new listener needs that once; what certwarden publishes afterwards, a reload.",
            f"What certwarden's configuration is to say of the target {target.name}:",
            '  group = "mosquitto"',
            *(
                f"  {line}"
                for line in settings(
                    target, kind="mosquitto", unit="mosquitto.service", usual_port=MQTTS_PORT
                )
            ),
        )
    )
    return f"{head}\n{listener}{access}\n{foot}"
