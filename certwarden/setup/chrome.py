"""The policy by which Chrome chooses a client certificate by itself, instead of asking each time.

Owns the policy's shape. Whoever administers the machine puts it in place.
"""

import json
from collections.abc import Sequence
from typing import Any

POLICY_PATHS = (
    "/etc/opt/chrome/policies/managed/certwarden.json",
    "/etc/chromium/policies/managed/certwarden.json",
)


def auto_select_policy(authority: str, client: str, domains: Sequence[str]) -> dict[str, Any]:
    """The policy's file as a value: for these names (DNS, stars allowed), the client's certificate.

    `authority` and `client` are common names. Where a star covers a name, the name is left out. A
    pattern without a port is for every port.
    """
    covered = {domain.removeprefix("*.") for domain in domains if domain.startswith("*.")}
    hosts = [
        f"[*.]{domain.removeprefix('*.')}" if domain.startswith("*.") else domain
        for domain in dict.fromkeys(domains)
        if domain.startswith("*.") or domain not in covered
    ]
    who = {"ISSUER": {"CN": authority}, "SUBJECT": {"CN": client}}
    return {
        "AutoSelectCertificateForUrls": [
            json.dumps({"pattern": f"https://{host}", "filter": who}) for host in hosts
        ]
    }
