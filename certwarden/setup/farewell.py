"""What is left for the person to do, once everything is set up.

Owns those sentences, and the lines for a container, which certwarden does not change.
"""

import grp
from collections.abc import Iterator

from certwarden.config import Config
from certwarden.model import TargetSpec
from certwarden.setup.answers import Answers, Place
from certwarden.setup.outline import targets

_COMPOSE = """\
For the container {name}, in compose.yaml:
    volumes:
      - {directory}:/certwarden:ro
    group_add:
      - "{gid}"
and in its settings.js, in place of any other `https`:
    https: () => ({{
        key: require("fs").readFileSync("/certwarden/current/privkey.pem"),
        cert: require("fs").readFileSync("/certwarden/current/fullchain.pem"),
    }}),
    httpsRefreshInterval: 1,
Then `docker compose up -d`. A new certificate is taken up within the hour."""


def farewell(answers: Answers, config: Config) -> Iterator[str]:
    """The sentences, each with an empty line before it."""
    found = targets(config)
    if answers.place is Place.NODE_RED and found:
        yield f"\nNode-RED is at {_url(answers, found[0])}"
        if answers.client:
            yield f"First put the certificate of {answers.client.name} on that device: see above."
        yield "Where that name does not lead to this machine at home, see docs/names-at-home.md."
    if answers.container and found:
        yield "\n" + _COMPOSE.format(
            name=answers.container.name, directory=found[0].directory, gid=_gid(found[0])
        )
    elif answers.place is Place.FILES and found and not answers.key_path:
        directory = found[0].directory / "current"
        yield f"\nKey and certificate: {directory}/privkey.pem and {directory}/fullchain.pem"
        yield f"Put the user of the program that reads them into the group {found[0].group}."


def _url(answers: Answers, target: TargetSpec) -> str:
    host = target.probe_name or next(iter(answers.domains), "localhost").replace("*", "any")
    port = target.probe.port if target.probe else answers.port
    return f"https://{host}/" if port == 443 else f"https://{host}:{port}/"


def _gid(target: TargetSpec) -> int:
    return grp.getgrnam(target.group).gr_gid if target.group else 0
