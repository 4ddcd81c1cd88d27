"""What a dns-01 challenge wants to see in DNS (RFC 8555 section 8.4). Pure."""

import base64
import hashlib

LABEL = "_acme-challenge"


def record_name(identifier: str) -> str:
    """The TXT record's name; a wildcard shares that of the name below its star."""
    return f"{LABEL}.{identifier.removeprefix('*.')}"


def record_value(token: str, thumbprint: bytes) -> str:
    """The TXT record's value: base64url(SHA-256(key authorization)), without padding.

    `thumbprint` is the SHA-256 thumbprint of the account key (RFC 7638).
    """
    key_authorization = f"{token}.{_base64url(thumbprint)}"
    return _base64url(hashlib.sha256(key_authorization.encode("ascii")).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
