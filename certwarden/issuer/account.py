"""The account of a directory: its key and its registration (RFC 8555 section 7.3).

The key is saved before the server hears of it, so that a lost reply costs nothing: the same key
finds the same account again. With the account's URL stored, the server is not asked at all.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from certwarden.errors import IssuerError, MaterialError
from certwarden.issuer.client import Client
from certwarden.model import Account, KeyType, Secret
from certwarden.pki.keys import generate_key
from certwarden.ports import Accounts

# Issuers of one directory may run side by side: one registers, the others find its account.
_registering = threading.Lock()


@dataclass(frozen=True)
class ExternalAccount:
    """What a CA hands out to bind an ACME account to an account of its own (section 7.3.4)."""

    key_id: str
    hmac_key: Secret  # base64url, as CAs print it


@dataclass(frozen=True)
class Registration:
    """What a new account says of us. `contact`: URLs or e-mail addresses, by default none."""

    terms_of_service_agreed: bool
    contact: Sequence[str] = ()
    external_account: ExternalAccount | None = None


def enter(client: Client, accounts: Accounts, registration: Registration) -> None:
    """Makes the client sign as the directory's account, which is found or registered if need be.

    Nothing is signed as an account before it is known, whatever other threads ask meanwhile.
    """
    with _registering:
        account = accounts.load(client.directory_url)
        if account is None:
            _check_agreed(client, registration)
            account = Account(client.directory_url, generate_key(KeyType.ECDSA_P256))
            accounts.save(account)
            account = _register(client, accounts, account, registration)
        elif not account.url:
            account = _find_or_register(client, accounts, account, registration)
        with _useful(client):
            client.sign_as(account.key_pem, account.url)


def reenter(client: Client, accounts: Accounts, registration: Registration) -> None:
    """The same after the server has said that it does not know the stored account: once more."""
    with _registering:
        account = accounts.load(client.directory_url)
        if account is not None:
            account = _find_or_register(client, accounts, account, registration)
            client.sign_as(account.key_pem, account.url)


def _find_or_register(
    client: Client, accounts: Accounts, account: Account, registration: Registration
) -> Account:
    # Asked first, because an external account may be bound only once.
    try:
        with _useful(client):
            url = client.find_account(account.key_pem)
    except IssuerError as error:
        if error.problem != "accountDoesNotExist":
            raise
        return _register(client, accounts, account, registration)
    return _keep(accounts, account, url)


def _register(
    client: Client, accounts: Accounts, account: Account, registration: Registration
) -> Account:
    _check_agreed(client, registration)
    external = registration.external_account
    if external is None and client.directory.external_account_required:
        raise IssuerError(
            f"{client.server} registers only those who have an account with it already",
            "set acme.eab to the key id and HMAC key that it gave you",
            problem="externalAccountRequired",
            permanent=True,
        )
    binding = (external.key_id, external.hmac_key) if external else None
    with _useful(client):
        url = client.register(account.key_pem, registration.contact, binding)
    return _keep(accounts, account, url)


@contextmanager
def _useful(client: Client) -> Iterator[None]:
    """Tells of a stored key that cannot be read."""
    try:
        yield
    except MaterialError as error:
        raise IssuerError(
            f"the account kept for {client.server} is of no use: {error.what}",
            "restore it from a backup, or remove its file so that a new account is made",
            permanent=True,
        ) from None


def _keep(accounts: Accounts, account: Account, url: str) -> Account:
    known = replace(account, url=url)
    accounts.save(known)
    return known


def _check_agreed(client: Client, registration: Registration) -> None:
    if not registration.terms_of_service_agreed:
        terms = client.directory.terms_of_service
        raise IssuerError(
            f"the terms of service of {client.server} have not been agreed to"
            + (f": {terms}" if terms else ""),
            "read them, then set acme.terms_of_service_agreed to true",
            permanent=True,
        )
