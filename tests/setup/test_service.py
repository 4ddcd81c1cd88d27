"""The drop-in opens for certwarden's units what the targets need, and no more."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from certwarden.config import BackupConfig, ExternalAccount, MetricsConfig, NotifyConfig
from certwarden.errors import UsageError
from certwarden.model import AuthoritySpec, CommandReload
from certwarden.setup.service import service_drop_in, socket_drop_in
from tests.builders import a_target_spec
from tests.setup.configured import a_config, inviting

UNITS = Path(__file__).parents[2] / "systemd"
ANALYZE = shutil.which("systemd-analyze")


def directives(drop_in: str) -> list[str]:
    _, _, rest = drop_in.partition("[Service]\n")
    return [line for line in rest.splitlines() if not line.startswith("#")]


def test_a_target_in_the_state_directory_needs_nothing(tmp_path: Path) -> None:
    """The units open the state directory by themselves."""
    assert directives(service_drop_in(a_config(tmp_path, a_target_spec()))) == []


def test_groups_of_all_targets(tmp_path: Path) -> None:
    """Each once; without it the daemon could not give a key to its reader."""
    targets = [
        a_target_spec(name="a", group="tls-nodered"),
        a_target_spec(name="b", group="tls-mosquitto"),
        a_target_spec(name="c", group="tls-nodered"),
    ]
    assert directives(service_drop_in(a_config(tmp_path, *targets))) == [
        "SupplementaryGroups=tls-mosquitto tls-nodered"
    ]


def test_directories_outside_the_state_are_writable(tmp_path: Path) -> None:
    """Those of fixed paths, targets, metrics, backups; one within another is covered by it."""
    targets = [
        a_target_spec(
            name="a",
            kind="files",
            key_path=Path("/etc/mosquitto/certs/private/server.key"),
            certificate_path=Path("/etc/mosquitto/certs/../certs/server.crt"),
        ),
        a_target_spec(name="b", directory=Path("/srv/tls")),
    ]
    config = a_config(tmp_path, *targets)
    metrics = MetricsConfig(Path("/var/lib/prometheus/node-exporter/certwarden.prom"))
    backup = BackupConfig(Path("/mnt/backup"), Path("/etc/certwarden/secrets/backup.passphrase"))
    config = replace(config, metrics=metrics, backup=backup)
    assert directives(service_drop_in(config)) == [
        "ReadWritePaths=-/etc/mosquitto/certs",
        "ReadWritePaths=-/mnt/backup",
        "ReadWritePaths=-/srv/tls",
        "ReadWritePaths=-/var/lib/prometheus/node-exporter",
    ]


def test_homes_stay_closed_but_for_what_is_named(tmp_path: Path) -> None:
    """Only a path in a home makes /home more than absent, and then it holds only that path."""
    targets = [
        a_target_spec(
            name="a",
            kind="files",
            key_path=Path("/home/pi/.node-red/certs/key.pem"),
            certificate_path=Path("/home/pi/.node-red/certs/cert.pem"),
        ),
        a_target_spec(name="b", reload=CommandReload(("/home/pi/bin/reload", "now"))),
        a_target_spec(name="c", reload=CommandReload(("docker", "restart", "nodered"))),
        a_target_spec(name="d", directory=Path("/homes/tls")),
    ]
    assert directives(service_drop_in(a_config(tmp_path, *targets))) == [
        "ReadWritePaths=-/homes/tls",
        "ProtectHome=tmpfs",
        "BindPaths=-/home/pi/.node-red/certs",
        "BindReadOnlyPaths=-/home/pi/bin/reload",
    ]


def test_secrets_in_a_home_are_to_be_seen(tmp_path: Path) -> None:
    """Wherever a person keeps the files of secrets, a pass can read them, and nothing beside."""
    config = a_config(tmp_path, a_target_spec())
    home = Path("/home/pi/secrets")
    external = ExternalAccount("kid", home / "eab.key")
    config = replace(
        config,
        acme=replace(config.acme, ca_bundle=home / "ca.pem", external_account=external),
        cloudflare=replace(config.cloudflare, api_token_file=home / "token"),
        notify=NotifyConfig(home / "notify.urls", None),
        authority=AuthoritySpec("x", home / "ca.passphrase"),
        backup=BackupConfig(Path("/mnt/backup"), home / "backup.passphrase"),
    )
    names = ["backup.passphrase", "ca.passphrase", "ca.pem", "eab.key", "notify.urls", "token"]
    assert directives(service_drop_in(config)) == [
        "ReadWritePaths=-/mnt/backup",
        "ProtectHome=tmpfs",
        *(f"BindReadOnlyPaths=-/home/pi/secrets/{name}" for name in names),
    ]


def test_a_state_directory_of_another_name(tmp_path: Path) -> None:
    """The units' own is put aside, else it would go before the configured one."""
    target = a_target_spec(directory=Path("/srv/certwarden/live/node-red"))
    config = replace(a_config(tmp_path, target), state_directory=Path("/srv/certwarden"))
    assert directives(service_drop_in(config)) == [
        "StateDirectory=",
        "ReadWritePaths=-/srv/certwarden",
    ]


def test_the_socket_listens_where_the_configuration_says(tmp_path: Path) -> None:
    """Instead of where the unit does by itself; where nobody is invited, there is no drop-in."""
    config = a_config(tmp_path)
    _, _, settings = socket_drop_in(inviting(config)).partition("[Socket]\n")
    assert settings == "ListenStream=\nListenStream=192.0.2.10:8443\n"
    with pytest.raises(UsageError) as caught:
        socket_drop_in(config)
    assert "invite_listen" in caught.value.hint


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_takes_any_path(tmp_path: Path) -> None:
    """Blanks, quotes, backslashes, colons, percent signs and other alphabets reach it whole."""
    odd = 'a b"c\\d%i:é$x;#'
    targets = [
        a_target_spec(name="a", directory=Path(f"/srv/{odd}")),
        a_target_spec(name="b", directory=Path(f"/home/{odd}"), group="with space"),
    ]
    text = service_drop_in(a_config(tmp_path, *targets))
    unit = tmp_path / "certwarden.service"
    original = (UNITS / unit.name).read_text()
    unit.write_text(original.replace("/opt/certwarden/bin/certwarden run", "/bin/true"))
    drop_in = tmp_path / "certwarden.service.d" / "50-configuration.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(text)
    done = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", "--recursive-errors=yes", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env={"SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'BindPaths="-/home/a b\\"c\\\\d%%i:é$x;#"' in text
