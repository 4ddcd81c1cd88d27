"""A whole configuration with the targets that a test is about."""

from dataclasses import replace
from pathlib import Path

from certwarden.config import Config, load
from certwarden.model import Address, AuthoritySpec, TargetSpec
from tests.builders import a_certificate_spec

_TEXT = """\
[acme]
directory = "letsencrypt"
terms_of_service_agreed = true
[cloudflare]
api_token_file = "cloudflare.token"
[[certificate]]
name = "home"
domains = ["example.org"]
"""


def inviting(config: Config) -> Config:
    """The same, where the service hands out certificates."""
    spec = AuthoritySpec("Home", Path("/etc/certwarden/secrets/ca.passphrase"))
    listen = Address("192.0.2.10", 8443)
    return replace(config, authority=replace(spec, invite_listen=listen))


def a_config(directory: Path, *targets: TargetSpec) -> Config:
    """Read from files that are written into the directory; one certificate with these targets."""
    token, path = directory / "cloudflare.token", directory / "config.toml"
    token.touch(mode=0o600)
    token.write_text("cfut_0123456789abcdefghijABCDEFGHIJ0123456789")
    path.write_text(_TEXT)
    path.chmod(0o600)
    return replace(load(path, {}), certificates=(a_certificate_spec(targets=targets),))
