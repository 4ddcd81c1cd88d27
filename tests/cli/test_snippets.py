"""`certwarden snippet`: each program's text, for the target that is meant."""

import pytest

from tests.cli.conftest import Machine

TARGETS = {
    "red": ("node-red", "{ hot = true }"),
    "front": ("nginx", '{ unit = "nginx.service", verb = "reload" }'),
    "broker": ("mosquitto", '{ unit = "mosquitto.service", verb = "reload" }'),
    "balancer": ("haproxy", '{ unit = "haproxy.service", verb = "reload" }'),
}


@pytest.fixture
def targets(bare: Machine) -> Machine:
    """A machine with a target of each kind."""
    text = bare.config.read_text()
    for name, (kind, reload) in TARGETS.items():
        text += f'[[certificate.target]]\nname = "{name}"\nkind = "{kind}"\nreload = {reload}\n'
    bare.config.write_text(text)
    return bare


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("node-red", "live/red"),
        ("nginx", "live/front/current/fullchain.pem"),
        ("mosquitto", "live/broker/current/privkey.pem"),
        ("haproxy", "live/balancer/current/combined.pem"),
        ("uibuilder", "live/red"),
    ],
)
def test_the_only_target_of_its_kind_is_meant(targets: Machine, program: str, words: str) -> None:
    """It need not be named; if it is, the same comes of it."""
    run = targets.must("snippet", program)
    assert words in run.out
    name = next(name for name in TARGETS if f"live/{name}" in words)
    assert targets.must("snippet", program, name).out == run.out


def test_for_a_name_server_any_target_will_do(targets: Machine) -> None:
    """Whatever its kind; with several it must be said which."""
    run = targets.run("snippet", "dnsmasq")
    assert run.code == 2
    assert "red, front, broker, balancer" in run.err
    for name in TARGETS:
        assert "example.org" in targets.must("snippet", "dnsmasq", name).out


def test_a_target_of_another_kind_is_refused(targets: Machine) -> None:
    """Exit 2, with those that there are."""
    run = targets.run("snippet", "nginx", "broker")
    assert (run.code, run.out) == (2, "")
    assert "front" in run.err


def test_nothing_is_written(targets: Machine) -> None:
    """A snippet is made from the configuration alone."""
    targets.must("snippet", "nginx")
    assert not targets.state.exists()


def test_where_the_socket_listens(targets: Machine) -> None:
    """A drop-in of its own; who has not configured it is told how, and it is for no target."""
    run = targets.run("snippet", "systemd-socket")
    assert (run.code, run.out) == (2, "")
    assert "invite_listen" in run.err
    listen = '[authority]\ninvite_listen = "192.0.2.1:8443"'
    targets.config.write_text(targets.config.read_text().replace("[authority]", listen))
    assert "ListenStream=192.0.2.1:8443" in targets.must("snippet", "systemd-socket").out
    assert targets.run("snippet", "systemd-socket", "red").code == 2
