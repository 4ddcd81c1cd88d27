"""Node-RED is found however it is started."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from certwarden.setup.find import (
    Container,
    NodeRed,
    find_containers,
    find_home_assistant,
    find_node_reds,
)

HOME = Path("/home/pi")


def home_of(user: str) -> Path | None:
    return {"pi": HOME, "root": Path("/root")}.get(user)


def asked(answers: dict[str, str]) -> Callable[..., str]:
    """Answers by the words with which a command begins."""

    def ask(*argv: str) -> str:
        words = " ".join(argv)
        return next((text for head, text in answers.items() if words.startswith(head)), "")

    return ask


def a_unit(exec_start: str, **values: str) -> Callable[..., str]:
    """A machine with one unit, as systemctl tells of it."""
    told = {
        "Id": "nodered.service",
        "User": "pi",
        "ExecStart": f"{{ path=x ; argv[]={exec_start} ; ignore_errors=no ; pid=0 }}",
        "ActiveState": "active",
        "MainPID": "0",
        **values,
    }
    shown = "\n".join(f"{name}={value}" for name, value in told.items())
    other = "Id=ssh.service\nUser=\nExecStart={ argv[]=/usr/sbin/sshd -D ; ignore_errors=no }"
    return asked(
        {
            "systemctl list-unit-files": "nodered.service on\nssh.service on\ngetty@.service",
            "systemctl show": f"{other}\n\n{shown}\n",
        }
    )


@pytest.mark.parametrize(
    ("exec_start", "settings"),
    [
        ("/usr/bin/env node-red-pi --max_old_space_size=512", HOME / ".node-red/settings.js"),
        ("/usr/bin/node-red --userDir /srv/red", Path("/srv/red/settings.js")),
        ("/usr/bin/node-red --userDir=/srv/red", Path("/srv/red/settings.js")),
        ("/usr/bin/node-red -u red", Path("/work/red/settings.js")),
        ("/usr/bin/node /opt/node-red/red.js -s /etc/red.js flows.json", Path("/etc/red.js")),
        ("/usr/bin/node-red --settings /etc/red.js -u /srv/red", Path("/etc/red.js")),
        ("/usr/bin/node-red $NODE_RED_OPTIONS", Path("/srv/options/settings.js")),
        ("/usr/bin/node-red -u ${BASE}/x", Path("/base/x/settings.js")),
    ],
)
def test_settings_are_where_the_command_line_says(exec_start: str, settings: Path) -> None:
    """-s goes before -u, relative paths begin at the working directory, variables are followed."""
    ask = a_unit(
        exec_start,
        WorkingDirectory="/work",
        Environment='"NODE_RED_OPTIONS=-u /srv/options" BASE=/base',
    )
    assert find_node_reds(ask, {}, home_of) == (
        NodeRed(
            settings,
            "pi",
            "nodered.service",
            is_active=True,
            node=Path("/usr/bin/node") if "/node " in exec_start else None,
        ),
    )


def test_the_environment_file_of_the_unit_is_read(tmp_path: Path) -> None:
    """Where the Pi's installer lets people put options; its port is taken from there, too."""
    environment = tmp_path / "environment"
    environment.write_text('# mine\nNODE_RED_OPTIONS="-u /srv/red -p 1881"\n')
    ask = a_unit(
        "/usr/bin/env node-red-pi $NODE_RED_OPTIONS",
        EnvironmentFiles=f"{environment} (ignore_errors=yes)",
    )
    (found,) = find_node_reds(ask, {}, home_of)
    assert (found.settings, found.port) == (Path("/srv/red/settings.js"), 1881)


def test_no_port_has_thousands_of_digits(tmp_path: Path) -> None:
    """Anybody may have written that file; Python refuses to read so long a number."""
    environment = tmp_path / "environment"
    environment.write_text(f"NODE_RED_OPTIONS='-p {'1' * 5000}'\n")
    ask = a_unit(
        "/usr/bin/env node-red-pi $NODE_RED_OPTIONS",
        EnvironmentFiles=f"{environment} (ignore_errors=yes)",
    )
    (found,) = find_node_reds(ask, {}, home_of)
    assert found.port is None


def test_node_is_the_program_that_is_there_now(tmp_path: Path) -> None:
    """It may have been upgraded, or moved away, since Node-RED was started with it."""
    node = tmp_path / "node"
    sleep = shutil.which("sleep")
    assert sleep
    shutil.copy(sleep, node)
    with subprocess.Popen([node, "600"]) as running:
        try:
            ask = a_unit("/usr/bin/node /opt/node-red/red.js", MainPID=str(running.pid))
            (as_started,) = find_node_reds(ask, {}, home_of)
            shutil.copy(sleep, tmp_path / "newer")
            (tmp_path / "newer").rename(node)
            (upgraded,) = find_node_reds(ask, {}, home_of)
            node.unlink()
            (gone,) = find_node_reds(ask, {}, home_of)
        finally:
            running.kill()
    assert (as_started.node, upgraded.node) == (node, node)
    assert gone.node == Path("/usr/bin/node")


def test_a_stopped_unit_is_found_and_is_not_active() -> None:
    """It is set up as well, but not started."""
    ask = a_unit("/usr/bin/node-red", ActiveState="inactive")
    (found,) = find_node_reds(ask, {}, home_of)
    assert not found.is_active


def test_without_a_unit_the_callers_own_is_found(tmp_path: Path) -> None:
    """Of whoever called sudo, where there is a settings.js in the usual place."""
    settings = tmp_path / ".node-red" / "settings.js"
    settings.parent.mkdir()
    settings.touch()
    homes = {"anna": tmp_path, "berta": tmp_path / "none"}
    for user, found in (("anna", (NodeRed(settings, "anna"),)), ("berta", ()), ("carla", ())):
        assert find_node_reds(asked({}), {"SUDO_USER": user}, homes.get) == found


def test_containers_with_node_red_are_found() -> None:
    """By their image; where this machine keeps their /data is told."""
    described = [
        {
            "Name": "/red",
            "Config": {"Image": "nodered/node-red:4.1"},
            "Mounts": [{"Destination": "/data", "Source": "/srv/red"}],
        },
        {"Name": "/db", "Config": {"Image": "postgres"}, "Mounts": None},
    ]
    ask = asked({"docker ps": "a\nb\n", "docker inspect": json.dumps(described)})
    assert find_containers(ask) == (Container("red", "nodered/node-red:4.1", Path("/srv/red")),)


@pytest.mark.parametrize(
    "told",
    [
        "no JSON",
        "[" * 9999,
        "1",
        "[1]",
        '[{"Config": 1}]',
        '[{"Config": {"Image": "node-red"}, "Mounts": 1}]',
        '[{"Config": {"Image": "node-red"}, "Mounts": [1, {"Destination": "/data"}]}]',
    ],
)
def test_whatever_docker_says_is_no_traceback(told: str) -> None:
    """Of what is not of its type nothing is made."""
    found = find_containers(asked({"docker ps": "a\n", "docker inspect": told}))
    assert [each.data for each in found] == [None] * len(found)


def test_home_assistant_is_known_by_its_directories(tmp_path: Path) -> None:
    """/ssl alone may be anybody's."""
    (tmp_path / "ssl").mkdir()
    assert find_home_assistant(tmp_path) is None
    (tmp_path / "addon_configs").mkdir()
    assert find_home_assistant(tmp_path) == Path("/ssl")
