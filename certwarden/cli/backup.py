"""`certwarden ca backup`, `restore`, `import`: the private CA leaves a machine, or comes to one."""

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from certwarden.cli import render
from certwarden.cli.arguments import config_file
from certwarden.cli.authority import (
    PASSPHRASE,
    configured_authority,
    open_authority,
    show_recovery_code,
)
from certwarden.cli.commands import DONE, FAILED, open_warden, read_config
from certwarden.cli.outputs import Outputs
from certwarden.cli.privilege import group_of_owner
from certwarden.cli.shapes import date_text, show_line
from certwarden.cli.terminal import (
    ask_new_passphrase,
    ask_passphrase,
    read_password_file,
)
from certwarden.config import Config, read_secret
from certwarden.errors import ConfigError, LockedError, Mistake, UsageError, clean
from certwarden.files import Content, read_file, write_file
from certwarden.lifecycle.adopt import Adopted, adopt, examine
from certwarden.lifecycle.backup import (
    Restored,
    back_up,
    check_backup,
    refuse_existing,
    sign_anew,
)
from certwarden.lifecycle.backup import restore as put_back
from certwarden.lifecycle.reconcile import Wish, reconcile
from certwarden.model import AuthoritySpec, Backup, ClientPurpose, Secret
from certwarden.pki.backup import read_backup
from certwarden.pki.foreign_root import is_encrypted
from certwarden.pki.protection import generate_passphrase
from certwarden.pki.sealing import MAX_SEALED_BYTES
from certwarden.store.predecessor import read_predecessor

RECOVERY_CODE = "recovery code of the private CA"
_CONFIG_MODE = 0o644  # no secret is in it
_MOST_SERIALS = 10


def backup(arguments: Namespace) -> int:
    """One encrypted file with all that makes the CA."""
    config = read_config(arguments)
    with Outputs() as outputs:
        output = outputs.reserve(arguments.file)
        passphrase = _backup_passphrase(arguments, config)

        def put_away(sealed: bytes) -> None:
            output.write(sealed)
            outputs.keep()

        with open_authority(arguments, config) as (warden, root):
            made = back_up(warden, passphrase, put_away)
    clients = sum(row.certificate.purpose is ClientPurpose.CLIENT for row in made.booked)
    show_line(f"{arguments.file} has {root.name}, its book ({_count(clients, 'certificate')}),")
    show_line("the accounts and the configuration; no server's key, and not the Cloudflare token.")
    show_line("Keep the passphrase apart from it: without that nobody can open it, nor can you.")
    return DONE


def restore(arguments: Namespace) -> int:
    """Puts the CA back from a backup, with every revocation that can be found, and deploys."""
    sealed = _read_input(arguments.file)
    given = arguments.password_file and read_password_file(arguments.password_file)
    found = read_backup(sealed, given or ask_passphrase("passphrase of the backup"))
    typed = ask_passphrase(PASSPHRASE) if found.is_locked else None
    config = _configuration(arguments, found)
    spec = configured_authority(config)
    with Outputs() as outputs:
        passphrase = typed or _kept_passphrase(
            spec, found.passphrase, outputs, group_of_owner(config.state_directory)
        )
        with open_warden(arguments, config) as warden:
            refuse_existing(warden)
            _check(found, passphrase, spec)
            outputs.keep()
            warden.unlock(passphrase)
            _show_restored(put_back(warden, found))
            sign_anew(warden)
            wish = Wish(is_deploying=not arguments.no_deploy)
            result = reconcile(warden, config.certificates, wish)
    render.show_pass(result, is_json=False)
    return DONE if result.is_good else FAILED


def import_directory(arguments: Namespace) -> int:
    """Takes over a CA that easy-rsa or `openssl ca` has made."""
    config = read_config(arguments)
    spec = configured_authority(config)
    predecessor = read_predecessor(arguments.directory)
    old_passphrase = arguments.password_file and read_password_file(arguments.password_file)
    if old_passphrase is None and is_encrypted(predecessor.key_pem):
        old_passphrase = ask_passphrase("passphrase of the old CA's key")
    typed = ask_new_passphrase(PASSPHRASE) if arguments.locked else None
    with Outputs() as outputs:
        new = None if typed else generate_passphrase()
        is_new = not spec.passphrase_file.exists()
        passphrase = typed or _kept_passphrase(
            spec, new, outputs, group_of_owner(config.state_directory)
        )
        with open_warden(arguments, config) as warden:
            estate = examine(warden, predecessor, old_passphrase)
            outputs.keep()
            adopted = adopt(warden, estate, passphrase, is_locked=arguments.locked)
            warden.unlock(passphrase)
            sign_anew(warden)
    _show_adopted(adopted, arguments.directory)
    if typed is None and is_new:
        show_recovery_code(spec, passphrase)
    return DONE


def _backup_passphrase(arguments: Namespace, config: Config) -> Secret:
    if arguments.password_file is not None:
        return read_password_file(arguments.password_file)
    if config.backup is not None:
        return read_secret(config.backup.passphrase_file)
    return ask_new_passphrase("passphrase of the backup")


def _read_input(path: Path) -> bytes:
    """The file's bytes, read by whoever we are still: it is the caller's."""
    try:
        return read_file(path, MAX_SEALED_BYTES)
    except OSError as error:
        raise UsageError(
            f"the backup {clean(str(path))} cannot be read: {error.strerror}",
            "name the file of a backup",
        ) from None


def _configuration(arguments: Namespace, found: Backup) -> Config:
    """The configuration that is there, else the backup's, put back."""
    path = config_file(arguments)
    if os.path.lexists(path):
        config = read_config(arguments)
        if path.read_bytes() != found.config_text:
            show_line(f"{path} is left as it is; the configuration in the backup is another one.")
        return config
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_file(path, Content(found.config_text, _CONFIG_MODE))
    except OSError as error:
        raise UsageError(
            f"the configuration cannot be put back at {clean(str(path))}: {error.strerror}",
            "run the command with sudo, or say by --config where it shall be",
        ) from None
    show_line(f"{path} is put back from the backup.")
    try:
        return read_config(arguments)
    except ConfigError as error:
        again = Mistake("", "is put back; put in place what it lacks, and restore again")
        raise ConfigError(error.source, [*error.mistakes, again]) from None


def _kept_passphrase(
    spec: AuthoritySpec, other: Secret | None, outputs: Outputs, group: int | None
) -> Secret:
    """What is kept already; else the other one, or what a person types, is kept from now on."""
    if spec.passphrase_file.exists():
        return read_secret(spec.passphrase_file)
    passphrase = other or ask_passphrase(RECOVERY_CODE)
    outputs.reserve_secret(spec.passphrase_file, group).write(passphrase.reveal() + b"\n")
    return passphrase


def _check(found: Backup, passphrase: Secret, spec: AuthoritySpec) -> None:
    try:
        check_backup(found, passphrase)
    except LockedError:
        if found.is_locked or found.passphrase is None:
            raise
        raise UsageError(
            f"{spec.passphrase_file} holds another passphrase than the backup's CA has",
            "move that file away: the backup's is put there then",
        ) from None


def _show_restored(restored: Restored) -> None:
    made_at = date_text(restored.made_at)
    clients = _count(restored.clients, "client certificate")
    show_line(f"{restored.root.name} is back as it was on {made_at}, with {clients}.")
    if restored.unknown:
        _show_serials("Revoked since then, by a list that was found:", restored.unknown)
    if restored.is_behind:
        show_line(
            "No list newer than the backup was found: whoever was revoked since is let in again. "
            "Revoke them once more."
        )
    show_line(
        "Certificates issued since are good, and not in the book: their clients need new ones."
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _show_serials(title: str, serials: Sequence[str]) -> None:
    more = len(serials) - _MOST_SERIALS
    tail = f" and {more} more" if more > 0 else ""
    show_line(f"{title} {', '.join(serials[:_MOST_SERIALS])}{tail}.")


def _show_adopted(adopted: Adopted, directory: Path) -> None:
    show_line(
        f"{adopted.root.name} is taken over: {adopted.valid} valid and {adopted.revoked} revoked "
        "certificates; its list is signed anew."
    )
    for remark in adopted.remarks:
        show_line(f"- {remark}")
    show_line(
        f"{clean(str(directory))} is left as it is, and its key can still sign: move it to a place "
        "that is offline, and use `certwarden client` from now on."
    )
