"""What the snippets say of their target can be taken at its word."""

import grp
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.config import load
from certwarden.errors import UsageError
from certwarden.model import Address, CertificateSpec, TargetSpec, UnitReload, UnitVerb
from certwarden.setup.haproxy import haproxy_snippet
from certwarden.setup.mosquitto import mosquitto_snippet
from certwarden.setup.nginx import nginx_snippet
from tests.builders import a_certificate_spec, a_target_spec
from tests.setup.configured import a_config

Snippet = Callable[[CertificateSpec, TargetSpec], str]
SNIPPETS: dict[str, Snippet] = {
    "nginx": nginx_snippet,
    "haproxy": haproxy_snippet,
    "mosquitto": mosquitto_snippet,
}
_AUTHORITY = '[authority]\nname = "Home client CA"\npassphrase_file = "passphrase"\n'


def bare(kind: str, *, directory: Path | None = None, client_auth: bool = True) -> TargetSpec:
    spec = a_target_spec("front", kind=kind, directory=directory, reload=None, probe=None)
    return replace(spec, client_auth=client_auth)


@pytest.mark.parametrize("client_auth", [True, False])
@pytest.mark.parametrize("kind", SNIPPETS)
def test_the_lines_for_the_configuration_make_that_target(
    tmp_path: Path, kind: str, *, client_auth: bool
) -> None:
    """With them it is reloaded and looked at where the snippet has it listen."""
    text = SNIPPETS[kind](a_certificate_spec(), bare(kind, client_auth=client_auth))
    _, _, said = text.partition("is to say of the target front:\n")
    lines = re.findall(r"(?m)^#   (.*)$", said)
    group = grp.getgrgid(os.getgid()).gr_name  # mosquitto's is not on every machine
    lines = [re.sub(r"^group = .*", f'group = "{group}"', line) for line in lines]
    path = a_config(tmp_path).source
    target = "\n".join(("[[certificate.target]]", 'name = "front"', *lines))
    path.write_text(f"{path.read_text()}{target}\n{_AUTHORITY}")

    (made,) = load(path, {}).certificates[0].targets
    assert made.kind.name == kind
    assert made.client_auth == client_auth
    assert made.reload == UnitReload(f"{kind}.service", UnitVerb.RELOAD)
    again = SNIPPETS[kind](a_certificate_spec(), replace(made, directory=bare(kind).directory))
    assert again == text


@pytest.mark.parametrize("kind", SNIPPETS)
def test_it_listens_where_it_is_probed(kind: str) -> None:
    """Else what certwarden looks at would be another program's."""
    target = replace(bare(kind), probe=Address("192.168.1.10", 9443))
    text = SNIPPETS[kind](a_certificate_spec(), target)
    assert re.search(r"(?m)^\s*(listen|bind|listener) \S*9443\b", text)
    assert '#   probe = "192.168.1.10:9443"' in text


@pytest.mark.parametrize("kind", SNIPPETS)
@pytest.mark.parametrize("directory", ["/srv/a b", "/srv/a;b", "/srv/$a", '/srv/"', "/srv/a\nb"])
def test_a_path_that_means_something_there_is_refused(kind: str, directory: str) -> None:
    """Rather than that it breaks the other program's configuration, or says something in it."""
    with pytest.raises(UsageError, match=r"^the directory of target front cannot be written"):
        SNIPPETS[kind](a_certificate_spec(), bare(kind, directory=Path(directory)))
