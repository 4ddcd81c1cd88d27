"""Links to invitations: which host they name, by which certificate, and how they look."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from certwarden.lifecycle.links import certificate_for, link, link_hosts
from certwarden.model import Secret
from tests.builders import a_certificate_spec, a_stored, a_target_spec

TOKEN = Secret(b"abcdefgh-abcdefghijklmnopqrstuvwxyz")


def hosts(domains: Sequence[str], probe_name: str = "", *, client_auth: bool = True) -> object:
    target = replace(a_target_spec(probe_name=probe_name), client_auth=client_auth)
    spec = a_certificate_spec(domains=domains, targets=[target])
    return link_hosts([spec], {"home": a_stored(domains=domains)})


def test_where_people_will_go_with_their_certificate_comes_first() -> None:
    """The name of the target that asks for one, then the plain names in their order."""
    domains = ("example.org", "*.example.org", "b.example.org")
    expected = ("red.example.org", "example.org", "b.example.org")
    assert hosts(domains, "red.example.org") == expected


def test_a_target_that_lets_everybody_in_says_nothing() -> None:
    """Its name may lead anywhere."""
    assert hosts(("example.org",), "red.example.org", client_auth=False) == ("example.org",)


def test_what_no_stored_certificate_is_for_is_left_out() -> None:
    """A browser would refuse it; and a star alone names no host."""
    assert hosts(("example.org",), "red.example.org") == ("example.org",)
    assert hosts(("*.example.org",)) == ()


def test_the_certificate_that_lasts_longest_serves() -> None:
    """Of those that are for the host; none where none is."""
    short, long = a_stored(days=10), a_stored("long", days=80)
    stored = {"home": short, "long": long, "other": a_stored(domains=("example.net",), days=90)}
    assert certificate_for("red.example.org", stored) is long
    assert certificate_for("example.com", stored) is None


@pytest.mark.parametrize(
    ("port", "begins"), [(443, "https://example.org/#"), (8443, "https://example.org:8443/#")]
)
def test_a_link_ends_with_the_token(port: int, begins: str) -> None:
    """In the fragment; the usual port is left out."""
    assert link("example.org", port, TOKEN).reveal() == begins.encode() + TOKEN.reveal()
