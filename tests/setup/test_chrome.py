"""The policy by which Chrome chooses a client certificate: what it matches, and that it is JSON."""

import json

from certwarden.setup.chrome import auto_select_policy


def test_each_entry_is_json_in_a_string() -> None:
    """As the policy wants it: pattern, and whose certificate."""
    policy = auto_select_policy("Home client CA 2026 ab12", "alice", ["node.example.org"])
    (entry,) = policy["AutoSelectCertificateForUrls"]
    assert json.loads(entry) == {
        "pattern": "https://node.example.org",
        "filter": {
            "ISSUER": {"CN": "Home client CA 2026 ab12"},
            "SUBJECT": {"CN": "alice"},
        },
    }


def test_a_star_is_written_as_chrome_writes_it() -> None:
    """`[*.]` covers the name itself as well, which is then not repeated."""
    policy = auto_select_policy("CA", "alice", ["example.org", "*.example.org", "example.net"])
    patterns = [json.loads(each)["pattern"] for each in policy["AutoSelectCertificateForUrls"]]
    assert patterns == ["https://[*.]example.org", "https://example.net"]
