"""What is installed beside what the configuration needs."""

from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.doctor.finding import Finding, Result
from certwarden.doctor.fittings import (
    Installed,
    installed_unit,
    judge_files,
    judge_groups,
    judge_rule,
    judge_socket,
    judge_upgrade,
    judge_user,
    settings,
)
from certwarden.model import UnitReload, UnitVerb
from certwarden.setup.polkit import polkit_rule
from certwarden.setup.service import service_drop_in, socket_drop_in
from tests.builders import a_target_spec
from tests.setup.configured import a_config, inviting

UNIT = Path(__file__).parents[2] / "systemd" / "certwarden.service"


def judged(*drop_ins: str, expected: str, program: str = "/bin/sh") -> Finding:
    texts = (UNIT.read_text(), *drop_ins)
    return judge_files(Installed("certwarden.service", Path(program), Path("x"), texts), expected)


@pytest.fixture
def expected(tmp_path: Path) -> str:
    """A drop-in with a group and a path outside."""
    target = a_target_spec(group="tls-nodered", key_path=Path("/srv/nodered/key.pem"))
    return service_drop_in(a_config(tmp_path, target))


def test_the_drop_in_itself_is_in_step(expected: str) -> None:
    """And so is one of the person's own with the same and more, or several together."""
    assert judged(expected, expected=expected).result is Result.OK
    own = "[Service]\nSupplementaryGroups=a tls-nodered\nReadWritePaths=-/srv/nodered /opt/x\n"
    assert judged(own, expected=expected).result is Result.OK
    first, second = "SupplementaryGroups=tls-nodered", "SupplementaryGroups=b"
    paths = "ReadWritePaths=-/srv/nodered"
    assert judged(first, second, paths, expected=expected).result is Result.OK


@pytest.mark.parametrize(
    "drop_in",
    [
        "",
        "SupplementaryGroups=tls-nodered",
        "SupplementaryGroups=tls-nodered\nReadWritePaths=-/srv/nodered\nSupplementaryGroups=",
        "# SupplementaryGroups=tls-nodered\nReadWritePaths=-/srv/nodered",
    ],
)
def test_what_is_missing_is_told(expected: str, drop_in: str) -> None:
    """No drop-in, one from before a change, or one that takes it back."""
    finding = judged(drop_in, expected=expected)
    assert finding.result is Result.ERROR
    assert "lacks" in finding.what
    assert "`sudo certwarden setup`" in finding.remedy
    assert "`sudo mkdir -p /etc/systemd/system/certwarden.service.d`" in finding.remedy


HOME = """\
[Service]
ProtectHome=tmpfs
BindPaths=-/home/pi/keys
BindReadOnlyPaths=-/home/pi/bin/reload
"""


@pytest.mark.parametrize(
    ("needed", "own", "is_enough"),
    [
        ("ReadWritePaths=-/srv/nodered", "ReadWritePaths=/srv", True),
        ("ReadWritePaths=-/srv/nodered", "ReadWritePaths=/srv/nodered/keys", False),
        ("ReadWritePaths=-/srv/nodered", "ReadWritePaths=/opt \\\n# why\n  /srv/nodered", True),
        ("ReadWritePaths=-/srv/nodered", "BindPaths=/srv/nodered:/srv/nodered", True),
        ('ReadWritePaths="-/srv/a b"', 'ReadWritePaths="/srv/a b"', True),
        (HOME, "ProtectHome=tmpfs\nBindPaths=/home/pi", True),
        (HOME, "ProtectHome=no\nReadWritePaths=/home/pi/keys", True),
        (HOME, "ProtectHome=no", False),
        (HOME, "ProtectHome=read-only", False),
        (HOME, "BindPaths=/home/pi", False),
        ("ProtectHome=tmpfs\nBindReadOnlyPaths=-/home/pi/token", "ProtectHome=read-only", True),
    ],
)
def test_another_way_of_saying_it_is_as_good(needed: str, own: str, is_enough: bool) -> None:  # noqa: FBT001 - a column of the table
    """Without the dash, by a directory above, over several lines, or by leaving homes open."""
    finding = judged(own, expected=needed)
    assert finding.result is (Result.OK if is_enough else Result.ERROR), finding


def test_a_configuration_that_needs_nothing_needs_no_drop_in(tmp_path: Path) -> None:
    """The units alone are enough then."""
    assert judged(expected=service_drop_in(a_config(tmp_path))).result is Result.OK


def test_a_program_that_is_gone_is_told(expected: str) -> None:
    """After an uninstall that left the units, or an upgrade of Python."""
    finding = judged(expected, expected=expected, program="/opt/gone/certwarden")
    assert finding.result is Result.ERROR
    assert "/opt/gone/certwarden" in finding.what


@pytest.mark.parametrize(
    ("own", "result"),
    [
        (None, Result.ERROR),
        ("", Result.ERROR),
        ("[Socket]\nListenStream=192.0.2.10:8443\n", Result.ERROR),  # beside the unit's own
        ("[Socket]\nListenStream=\nListenStream=192.0.2.10:9443\n", Result.ERROR),
        ("[Socket]\nListenStream=\nListenStream=192.0.2.10:8443\n", Result.OK),
    ],
)
def test_the_socket_is_in_step(tmp_path: Path, own: str | None, result: Result) -> None:
    """Not installed, or listening elsewhere, or there as well: the links would lead nowhere."""
    shipped = "[Socket]\nListenStream=127.0.0.1:8443\n"
    expected = socket_drop_in(inviting(a_config(tmp_path)))
    finding = judge_socket(None if own is None else (shipped, own), expected)
    assert finding.result is result
    assert ("certwarden setup" in finding.remedy) is (result is Result.ERROR)


def test_settings_are_put_together_as_systemd_does() -> None:
    """Lists grow, an empty one begins afresh, and of single values the last counts."""
    text = "[Service]\nA=1\nA=2 3\nB=x\nB=\nProtectHome=yes\nProtectHome=tmpfs\n# A=9\n"
    assert settings((text,)) == {"A": ["1", "2", "3"], "B": [], "ProtectHome": ["tmpfs"]}


def test_the_units_own_configuration_is_found() -> None:
    """From its command line or environment, else the well-known place."""
    start = "{ path=/opt/c/certwarden ; argv[]=/opt/c/certwarden %s ; ignore_errors=no ; pid=1 }"
    unit = installed_unit("a", {"ExecStart": start % "run"})
    assert (unit.program, unit.configuration) == (
        Path("/opt/c/certwarden"),
        Path("/etc/certwarden/config.toml"),
    )
    unit = installed_unit("a", {"ExecStart": start % "--config /srv/c.toml run"})
    assert unit.configuration == Path("/srv/c.toml")
    environment = 'A=1 "CERTWARDEN_CONFIG=/srv/my house.toml"'
    unit = installed_unit("a", {"ExecStart": start % "run", "Environment": environment})
    assert unit.configuration == Path("/srv/my house.toml")


@pytest.mark.parametrize(
    ("user", "owner", "result"),
    [
        ("certwarden", "certwarden", Result.OK),
        ("certwarden", "root", Result.ERROR),
        ("nobody-at-all", "root", Result.ERROR),
        ("certwarden", None, Result.OK),
    ],
)
def test_the_service_owns_the_state(user: str, owner: str | None, result: Result) -> None:
    """A user that is not there, or a state directory that a pass by root has made."""
    state = Path("/srv/state")
    (finding,) = judge_user(user, owner, frozenset({"root", "certwarden"}), state)
    assert finding.result is result
    if user == "certwarden" and owner == "root":
        assert "`sudo chown -R certwarden /srv/state`" in finding.remedy


def test_certwarden_is_in_the_groups_of_keys() -> None:
    """Root need not be; each group is told once."""
    found = list(judge_groups("certwarden", frozenset({"a"}), ["a", "b", "b"]))
    assert [(each.subject, each.result) for each in found] == [
        ("a", Result.OK),
        ("b", Result.ERROR),
    ]
    assert "usermod -aG b certwarden" in found[1].remedy
    (finding,) = judge_groups("root", frozenset(), ["b"])
    assert finding.result is Result.OK


def test_polkits_rule_is_in_step(tmp_path: Path) -> None:
    """Missing, too narrow, too wide, or just right, comments aside."""

    def rule(*names: str) -> str:
        targets = [
            a_target_spec(name, reload=UnitReload(f"{name}.service", UnitVerb.RESTART))
            for name in names
        ]
        return polkit_rule(a_config(tmp_path, *targets))

    def result(installed: str | None) -> Result:
        return judge_rule(installed, rule("nodered")).result

    assert result(rule("nodered").replace("// What", "// My own: what")) is Result.OK
    assert result(None) is Result.ERROR
    assert result("polkit.addRule(function () {});") is Result.ERROR
    assert result(rule("nginx")) is Result.ERROR
    assert result(rule("nginx", "nodered")) is Result.WARNING


def test_an_upgrade_is_seen_by_the_age_of_the_files() -> None:
    """A daemon keeps what it has loaded until it is restarted."""
    day = timedelta(days=1)
    assert judge_upgrade("a", at_work=day, age=3 * day).result is Result.OK
    assert judge_upgrade("a", at_work=3 * day, age=day).result is Result.WARNING
