"""A user of our name is ours only if it looks as set-up makes it."""

import pwd
from pathlib import Path

import pytest

from certwarden.setup import account
from certwarden.setup.account import fault_of
from certwarden.setup.install import Ground
from certwarden.setup.outline import SYSUSERS


def a_user(
    home: str = "/var/lib/certwarden", shell: str = "/usr/sbin/nologin"
) -> pwd.struct_passwd:
    return pwd.struct_passwd(("certwarden", "x", 996, 996, "", home, shell))


@pytest.mark.parametrize(
    ("user", "members", "why"),
    [
        (None, (), ""),
        (a_user(), (), ""),
        (a_user(shell="/bin/false"), ("certwarden",), ""),
        (a_user(home="/home/certwarden"), (), "its home is /home/certwarden"),
        (a_user(shell="/bin/bash"), (), "its shell is /bin/bash"),
        (a_user(), ("pi",), "has members: pi"),
        (None, ("pi",), "has members: pi"),
    ],
)
def test_a_person_of_our_name_is_seen(
    user: pwd.struct_passwd | None, members: tuple[str, ...], why: str
) -> None:
    """Its login would get at the token, and --purge would delete it."""
    fault = fault_of(user, members)
    assert why in fault
    assert bool(fault) is bool(why)


def test_the_groups_that_were_made_are_known(tmp_path: Path) -> None:
    """By the file that systemd-sysusers has made them from."""
    ground = Ground(tmp_path)
    assert account.groups_made(ground) == frozenset()
    place = ground.place(SYSUSERS)
    place.parent.mkdir(parents=True)
    place.write_text("u certwarden -\ng tls -\nm pi tls\nm certwarden tls\n")
    assert account.groups_made(ground) == {"tls"}
