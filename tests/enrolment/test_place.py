"""Where an invitation is served: the name, the address, and what a person is warned of."""

import socket

import pytest

from certwarden.enrolment import place
from certwarden.enrolment.place import astray, choose_host, lan_address, open_door, reach
from certwarden.errors import UsageError
from certwarden.model import Address

OURS = ("192.168.1.5", "192.168.2.5", "2a02::5")
LED = {"a": ("192.168.1.9",), "b": ("192.168.2.5", "192.168.1.5"), "c": ()}


def test_a_name_that_leads_here_is_preferred() -> None:
    """Else it is the first; without any, it is said how to name one."""
    assert choose_host(["a", "b"], LED, OURS) == "b"
    assert choose_host(["c", "a"], LED, OURS) == "c"
    with pytest.raises(UsageError, match="under which name") as caught:
        choose_host([], LED, OURS)
    assert "--host" in caught.value.hint


@pytest.mark.parametrize(
    ("led", "said"),
    [
        (("192.168.1.9", "192.168.1.5"), ""),
        (("127.0.1.1",), ""),
        (("192.168.1.9",), "leads to 192.168.1.9, and not to this machine"),
        ((), "leads nowhere"),
    ],
)
def test_a_name_that_leads_elsewhere_is_warned_of(led: tuple[str, ...], said: str) -> None:
    """Devices would knock at another door, or at none."""
    warning = astray("red.example.org", led, OURS)
    assert said in warning
    assert bool(said) == warning.startswith("red.example.org")


def test_the_address_is_the_one_that_the_name_leads_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the one by which this machine goes out, else all; never loopback by a hosts file."""
    assert lan_address(("192.168.1.9", "192.168.2.5"), OURS) == "192.168.2.5"
    monkeypatch.setattr(place, "_source", lambda: "192.168.1.5")
    assert lan_address(("127.0.1.1",), OURS) == "192.168.1.5"
    monkeypatch.setattr(place, "_source", lambda: "")
    assert lan_address((), OURS) == "0.0.0.0"


def test_a_machine_without_a_way_out_has_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """No route, no address; and nothing is sent to find out."""

    class Cut(socket.socket):
        def connect(self, _address: object) -> None:
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Cut)
    assert lan_address((), ()) == "0.0.0.0"


@pytest.mark.parametrize(
    ("address", "ours", "said"),
    [
        ("192.168.1.5", OURS, ""),
        ("100.64.0.1", OURS, ""),
        ("127.0.0.1", OURS, "only programs on this machine"),
        ("::1", OURS, "only programs on this machine"),
        ("2a02::5", OURS, "is public"),
        ("0.0.0.0", OURS, ""),
        ("0.0.0.0", (*OURS, "9.9.9.9"), "is public"),
        ("::", OURS, "is public"),
    ],
)
def test_who_can_come_is_said(address: str, ours: tuple[str, ...], said: str) -> None:
    """Nothing where it is the house; all addresses at once are as public as one of them."""
    warning = reach(address, ours)
    assert said in warning
    assert bool(said) == bool(warning)


def test_a_taken_port_is_another_where_nobody_chose_it() -> None:
    """Who named a port is told instead; and a door is open when it is returned."""
    with open_door(Address("127.0.0.1", 0), is_fixed=True) as first:
        taken = Address("127.0.0.1", first.getsockname()[1])
        with open_door(taken, is_fixed=False) as second:
            assert second.getsockname()[1] not in (0, taken.port)
            socket.create_connection(second.getsockname()).close()
        with pytest.raises(UsageError, match=f"{taken}: Address already in use"):
            open_door(taken, is_fixed=True)


def test_an_address_of_others_is_refused() -> None:
    """With a word on which there are."""
    with pytest.raises(UsageError) as caught:
        open_door(Address("192.0.2.1", 0), is_fixed=False)
    assert "ip address" in caught.value.hint
