"""The server's objects, read with care."""

from typing import Any

import pytest

from certwarden.errors import IssuerError
from certwarden.issuer.resources import (
    MAX_MEMBERS,
    check_url,
    read_authorization,
    read_directory,
    read_order,
)

URL = "https://ca.example/1"
DIRECTORY = {
    "newNonce": f"{URL}/nonce",
    "newAccount": f"{URL}/account",
    "newOrder": f"{URL}/order",
    "revokeCert": f"{URL}/revoke",
}
ORDER = {
    "status": "pending",
    "identifiers": [{"type": "dns", "value": "Example.org"}],
    "authorizations": [f"{URL}/authorization"],
    "finalize": f"{URL}/finalize",
}
AUTHORIZATION = {
    "status": "pending",
    "identifier": {"type": "dns", "value": "example.org"},
    "challenges": [
        {"type": "dns-persist-01", "url": URL, "status": "pending"},
        {"type": "dns-01", "url": f"{URL}/c", "status": "pending", "token": "a-b_c"},
    ],
}


@pytest.mark.parametrize(
    "url",
    [
        "https://ca.example/directory",
        "http://127.0.0.1:14000/dir",
        "http://[::1]/",
        "http://localhost/",
    ],
)
def test_https_and_loopback_are_talked_to(url: str) -> None:
    """Plain http stays on this machine."""
    assert check_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://ca.example/",
        "http://127.0.0.1.ca.example/",
        "ftp://ca.example/",
        "",
        "https://",
        "file:///etc/passwd",
        "https://[",
        "//ca.example",
        "https://ca.example/" + "x" * 5000,
    ],
)
def test_nothing_else_is_talked_to(url: str) -> None:
    """Wherever a URL came from, it is https or refused."""
    with pytest.raises(IssuerError) as caught:
        check_url(url)
    assert caught.value.permanent


def test_directory_with_and_without_meta() -> None:
    """What `meta` may say is optional, and nonsense in it does no harm."""
    meta = {
        "caaIdentities": ["ca.example", "pki.example"],
        "profiles": {"classic": "…"},
        "termsOfService": URL,
        "externalAccountRequired": True,
    }
    full = read_directory("ca.example", DIRECTORY | {"meta": meta})
    assert full.caa_identity == "ca.example"
    assert full.caa_identities == ("ca.example", "pki.example")
    assert full.profiles == ("classic",)
    assert full.external_account_required
    odd: dict[str, Any] = {"caaIdentities": [3], "profiles": [1], "termsOfService": None}
    for bare in (DIRECTORY, DIRECTORY | {"meta": odd}, DIRECTORY | {"meta": 5}):
        assert read_directory("ca.example", bare).profiles == ()


@pytest.mark.parametrize("offered", [None, 5, f"{URL}/ari"])
def test_renewal_info_is_optional(offered: object) -> None:
    """A directory without it, or with nonsense there, is good for orders."""
    found = read_directory("ca", DIRECTORY | {"renewalInfo": offered}).renewal_info
    assert found == (offered if isinstance(offered, str) else "")
    assert read_directory("ca", DIRECTORY).renewal_info == ""


@pytest.mark.parametrize("missing", DIRECTORY)
def test_directory_without_a_url_is_an_error(missing: str) -> None:
    """A page that is no directory is told by what it lacks."""
    document = {key: value for key, value in DIRECTORY.items() if key != missing}
    with pytest.raises(IssuerError, match=f"{missing} is missing"):
        read_directory("ca.example", document)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "interesting"},
        {"status": None},
        {"finalize": "http://ca.example/finalize"},
        {"authorizations": "no list"},
        {"authorizations": [URL] * (MAX_MEMBERS + 1)},
        {"authorizations": [5]},
        {"identifiers": ["no object"]},
        {"status": "valid"},
    ],
)
def test_order_that_makes_no_sense_is_an_error(change: dict[str, Any]) -> None:
    """A valid order without certificate URL among them."""
    with pytest.raises(IssuerError):
        read_order("ca.example", URL, ORDER | change)


def test_order_carries_its_problem_and_lower_case_names() -> None:
    """What the CA says about a failed order is kept."""
    order = read_order("ca.example", URL, ORDER | {"status": "invalid", "error": {"detail": "no"}})
    assert order.identifiers == ("example.org",)
    assert order.problem is not None
    assert order.problem.detail == "no"


def test_authorization_of_any_status_is_read() -> None:
    """`expired`, which the library refuses, and whatever comes next, are just not valid."""
    for status in ("expired", "deactivated", "something-new"):
        assert read_authorization("ca", URL, AUTHORIZATION | {"status": status}).status == status


def test_authorization_keeps_only_dns01() -> None:
    """Challenges of other kinds, known or not, are passed over."""
    authorization = read_authorization("ca.example", URL, AUTHORIZATION | {"wildcard": True})
    assert authorization.name == "*.example.org"
    assert authorization.dns01 is not None
    assert authorization.dns01.token == "a-b_c"
    without = AUTHORIZATION | {"challenges": [{"type": "http-01"}]}
    assert read_authorization("ca.example", URL, without).dns01 is None


@pytest.mark.parametrize("token", ["", "with space", "ümlaut", 'a"b', "a.b"])
def test_token_that_is_not_base64url_is_refused(token: str) -> None:
    """It goes into a DNS record, so it is not taken as it comes (RFC 8555 section 8.4)."""
    challenge = {"type": "dns-01", "url": URL, "status": "pending", "token": token}
    with pytest.raises(IssuerError, match="token"):
        read_authorization("ca.example", URL, AUTHORIZATION | {"challenges": [challenge]})


@pytest.mark.parametrize("document", [None, 1, "text", []])
def test_no_object_is_an_error(document: object) -> None:
    """A reply that is no JSON object is told as such."""
    with pytest.raises(IssuerError, match="no JSON object"):
        read_directory("ca.example", document)
