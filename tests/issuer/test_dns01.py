"""The TXT record of a dns-01 challenge."""

from acme.challenges import DNS01
from josepy.jwk import JWKEC

from certwarden.issuer.dns01 import record_name, record_value
from certwarden.pki.keys import load_key
from tests.builders import a_key


def test_a_wildcard_shares_the_record_name_of_its_base() -> None:
    """The star is no label of the record's name."""
    assert (
        record_name("*.example.org") == record_name("example.org") == "_acme-challenge.example.org"
    )


def test_value_is_the_one_that_the_library_computes() -> None:
    """Our digest of the key authorization agrees with another implementation."""
    key = JWKEC(key=load_key(a_key()))
    challenge = DNS01(token=b"0123456789abcdef")
    token = challenge.encode("token")
    assert record_value(token, key.thumbprint()) == challenge.validation(key)
