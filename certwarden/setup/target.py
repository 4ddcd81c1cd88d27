"""What every snippet says of its target: where its files are, and what config.toml is to know.

Owns the words that the snippets have in common, and that a path fits into any of their languages.
"""

import re
from collections.abc import Iterable

from certwarden.errors import UsageError
from certwarden.model import GenerationFile, TargetSpec

HTTPS_PORT = 443
MQTTS_PORT = 8883
NODE_RED = "127.0.0.1:1880"

# In one or the other of these languages anything else begins a comment, a variable or a new word.
_PATH = re.compile(r"[\w/.,:@+=-]+")


def current(target: TargetSpec, file: GenerationFile) -> str:
    """The path of a file of the generation that is current, to be written without quotes.

    Raises UsageError where the target's directory has a character that would need some.
    """
    path = str(target.directory / "current" / file)
    if _PATH.fullmatch(path) is None:
        raise UsageError(
            f"the directory of target {target.name} cannot be written into every program's "
            "configuration",
            "give it a directory with letters, digits and /._- in its path",
        )
    return path


def port(target: TargetSpec, usual: int) -> int:
    """Where the program is to listen: where it is probed, else at the usual port."""
    return target.probe.port if target.probe else usual


def settings(target: TargetSpec, *, kind: str, unit: str, usual_port: int) -> list[str]:
    """The lines of config.toml that make such a target."""
    lines = [f'kind = "{kind}"']
    if target.client_auth:
        lines.append("client_auth = true")
    probe = target.probe or f"127.0.0.1:{usual_port}"
    return [*lines, f'reload = {{ unit = "{unit}", verb = "reload" }}', f'probe = "{probe}"']


def comment(lines: Iterable[str]) -> str:
    """The lines as comments, as all of these programs write them."""
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)
