"""`certwarden ca`: the private CA as a person founds it, unlocks it, and looks at it."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from certwarden.cli.commands import DONE, FAILED, open_warden, read_config
from certwarden.cli.outputs import Outputs
from certwarden.cli.privilege import group_of_owner
from certwarden.cli.render_authority import show_authority, show_founded, show_ladder, show_renewed
from certwarden.cli.render_clients import show_withdrawal
from certwarden.cli.shapes import show_line
from certwarden.cli.terminal import (
    ask_new_passphrase,
    ask_passphrase,
    has_terminal,
    read_password_file,
    show_once,
)
from certwarden.config import Config, read_secret
from certwarden.errors import StoreError, UsageError
from certwarden.model import AuthoritySpec, Root, Secret

if TYPE_CHECKING:
    from certwarden.wiring import Warden

PASSPHRASE = "passphrase of the private CA"  # noqa: S105 - what it is called


def init(arguments: Namespace) -> int:
    """Founds the private CA, with its first list."""
    from certwarden.lifecycle.authority import create_authority
    from certwarden.lifecycle.backup import refuse_existing

    config = read_config(arguments)
    spec = configured_authority(config)
    if arguments.password_file is not None and not arguments.locked:
        raise UsageError(
            f"without --locked the passphrase is kept in {spec.passphrase_file}",
            "leave --password-file out, or put the passphrase there beforehand",
        )
    given = arguments.password_file and read_password_file(arguments.password_file)
    with Outputs() as outputs:
        is_making = not arguments.locked and not spec.passphrase_file.exists()
        made = _new_passphrase(config, spec, outputs) if is_making else None
        with open_warden(arguments, config) as warden:
            refuse_existing(warden)  # before anybody has to think of a passphrase
            # Kept before anything is encrypted under it: another `ca init` takes it from there.
            outputs.keep()
            if arguments.locked:
                passphrase = given or ask_new_passphrase(PASSPHRASE)
            else:
                passphrase = made or read_secret(spec.passphrase_file)
            root = create_authority(warden, passphrase=passphrase, is_locked=arguments.locked)
            ladder = warden.register.ladder()
    show_founded(root, ladder)
    if not arguments.locked:
        show_recovery_code(spec, passphrase)
    return DONE


def unlock(arguments: Namespace) -> int:
    """Signs the lists of a year ahead, with what was revoked since, and puts the first in place."""
    from certwarden.lifecycle.withdraw import unlock as sign_ahead

    config = read_config(arguments)
    given = arguments.password_file and read_password_file(arguments.password_file)
    with open_authority(arguments, config) as (warden, _):
        if warden.authority.is_locked():
            warden.unlock(given or ask_passphrase(PASSPHRASE))
            warden.signing_key()  # a slip of the finger is told as that, not as a list unsigned
        result = sign_ahead(warden, config.certificates)
        ladder = warden.register.ladder()
    show_withdrawal(result)
    if result.crl is not None:
        show_ladder(ladder)
    return DONE if result.is_good else FAILED


def show(arguments: Namespace) -> int:
    """The private CA, its list, its clients, and what is known of the targets that refuse some."""
    from certwarden.lifecycle.authority import observe_authority

    config = read_config(arguments)
    with open_authority(arguments, config, is_read_only=True) as (warden, _):
        now = warden.clock.now()
        seen = observe_authority(warden)
    assert seen is not None  # noqa: S101 - one is configured, or opening it would have been refused
    show_authority(seen, now, is_json=arguments.json)
    return FAILED if seen.trouble else DONE


def crl(arguments: Namespace) -> int:
    """The published list, as PEM."""
    config = read_config(arguments)
    with open_authority(arguments, config, is_read_only=True) as (warden, root):
        published = warden.authority.crl()
    if published is None:
        raise StoreError(
            f"there is no revocation list of {root.name}", "run `certwarden renew`, which signs one"
        )
    show_line(published.pem.decode().rstrip())
    return DONE


def export(arguments: Namespace) -> int:
    """The CA's own certificate, as PEM."""
    config = read_config(arguments)
    with open_authority(arguments, config, is_read_only=True) as (_, root):
        show_line(root.pem.decode().rstrip())
    return DONE


def renew_root(arguments: Namespace) -> int:
    """The same CA under the same key, for longer."""
    from certwarden.lifecycle.authority import renew_root as extend

    config = read_config(arguments)
    with open_authority(arguments, config) as (warden, _):
        open_key(warden)
        root = extend(warden)
    show_renewed(root)
    return DONE


@contextmanager
def open_authority(
    arguments: Namespace, config: Config, *, is_read_only: bool = False
) -> Iterator[tuple["Warden", Root]]:
    """The warden and the CA's certificate; raises UsageError where there is no CA."""
    from certwarden.lifecycle.authority import required_root

    with open_warden(arguments, config, is_read_only=is_read_only) as warden:
        yield warden, required_root(warden)


def open_key(warden: "Warden") -> None:
    """Asks for the passphrase of a locked CA; raises UsageError where there is nobody to ask."""
    if warden.authority.is_locked():
        warden.unlock(ask_passphrase(PASSPHRASE))


def configured_authority(config: Config) -> AuthoritySpec:
    """What the configuration says of the CA; raises UsageError where it says nothing."""
    if config.authority is None:
        raise UsageError(
            "there is no private CA in the configuration",
            "add the section [authority] with name and passphrase_file",
        )
    return config.authority


def _new_passphrase(config: Config, spec: AuthoritySpec, outputs: Outputs) -> Secret:
    """A passphrase that is kept from now on."""
    from certwarden.pki.protection import generate_passphrase

    passphrase = generate_passphrase()
    file = outputs.reserve_secret(spec.passphrase_file, group_of_owner(config.state_directory))
    file.write(passphrase.reveal() + b"\n")
    return passphrase


def show_recovery_code(spec: AuthoritySpec, passphrase: Secret) -> None:
    """Shows the passphrase that is kept, once, on the terminal; else says where it is."""
    if has_terminal():
        show_once("recovery code", passphrase)
        show_line("Write the recovery code down: with it, the CA's key can be opened.")
    else:
        show_line(f"The recovery code is what stands in {spec.passphrase_file}; write it down.")
