"""Revocation at the CA (RFC 8555 section 7.6)."""

from collections.abc import Mapping
from pathlib import Path

from certwarden.errors import IssuerError
from certwarden.issuer.client import Client
from certwarden.model import Pair, RevocationReason
from certwarden.ports import Accounts, Clock

_REASON_CODES = {  # RFC 5280 section 5.3.1
    RevocationReason.UNSPECIFIED: 0,
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
}


class AcmeRevoker:
    """The port Revoker, by ACME. `ca_bundles`: whom to trust for a directory's own TLS, by URL."""

    def __init__(
        self, *, accounts: Accounts, clock: Clock, ca_bundles: Mapping[str, Path] | None = None
    ) -> None:
        self._accounts = accounts
        self._clock = clock
        self._ca_bundles = ca_bundles or {}

    def revoke(self, directory_url: str, pair: Pair, reason: RevocationReason) -> None:
        """Revokes the pair's leaf: as the account that ordered it, else by the leaf's own key.

        Already revoked counts as success. Raises IssuerError. A server may take a revocation by
        the leaf's own key for keyCompromise, whatever `reason` says.
        """
        bundle = self._ca_bundles.get(directory_url)
        client = Client(directory_url, clock=self._clock, ca_bundle=bundle)
        try:
            self._revoke(client, pair, _REASON_CODES[reason])
        except IssuerError as error:
            if error.problem != "alreadyRevoked":
                raise
        finally:
            client.close()

    def _revoke(self, client: Client, pair: Pair, code: int) -> None:
        leaf = pair.chain_pem[0]
        account = self._accounts.load(client.directory_url)
        if account is not None and account.url:
            client.sign_as(account.key_pem, account.url)
            try:
                client.revoke(leaf, code)
            except IssuerError as error:
                if error.problem not in ("accountDoesNotExist", "unauthorized"):
                    raise
            else:
                return
        client.sign_as(pair.key_pem)
        client.revoke(leaf, code)
