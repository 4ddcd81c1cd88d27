"""Links by which people come to their certificates: which host they name, and how they look.

Pure: whether a name leads here, and who listens there, is for others to see.
"""

from collections.abc import Mapping, Sequence

from certwarden.model import Address, CertificateSpec, Secret, Stored, covers

_HTTPS = 443
_WILDCARD = "*."


def link_hosts(specs: Sequence[CertificateSpec], stored: Mapping[str, Stored]) -> tuple[str, ...]:
    """The names that a link can have, the best first; none where all that is stored has a star.

    `stored` are the certificates to serve by, by their names in the configuration. First come the
    names of targets that ask their clients for certificates: there people will go with theirs.
    """
    guarded = [
        target.probe_name
        for spec in specs
        for target in spec.targets
        if target.client_auth and target.probe_name
    ]
    plain = [each for spec in specs for each in spec.domains if not each.startswith(_WILDCARD)]
    return tuple(
        host for host in dict.fromkeys([*guarded, *plain]) if certificate_for(host, stored)
    )


def certificate_for(host: str, stored: Mapping[str, Stored]) -> Stored | None:
    """The one for this host that lasts longest."""
    fitting = [each for each in stored.values() if covers(each.certificate.names, host)]
    return max(fitting, key=lambda each: each.certificate.not_after, default=None)


def link(host: str, port: int, token: Secret) -> Secret:
    """The invitation as a URL; the fragment with the token is never sent (RFC 9110 section 7.1)."""
    place = host if port == _HTTPS else str(Address(host, port))
    return Secret(b"https://%s/#%s" % (place.encode("ascii"), token.reveal()))
