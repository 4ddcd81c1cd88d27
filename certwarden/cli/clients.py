"""`certwarden client`: who may come in, for how long, and who may not any more."""

import difflib
import re
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from certwarden.cli.authority import open_authority, open_key
from certwarden.cli.commands import DONE, FAILED, read_config
from certwarden.cli.handover import Handover, prepare, prepare_batch
from certwarden.cli.outputs import Outputs
from certwarden.cli.render_clients import show_client, show_clients, show_withdrawal
from certwarden.cli.roster import MAX_BYTES, read_roster
from certwarden.cli.shapes import show_line
from certwarden.cli.terminal import has_terminal
from certwarden.config import Config
from certwarden.errors import Error, UsageError, clean
from certwarden.files import read_file
from certwarden.lifecycle.issue import ClientRequest, IssuedClient
from certwarden.model import ClientCertificate, KeyType, RevocationReason
from certwarden.pki.authority import check_identity
from certwarden.setup.chrome import auto_select_policy

if TYPE_CHECKING:
    from certwarden.wiring import Warden

MAX_CSR_BYTES = 64 * 1024
_SERIAL = re.compile(r"[0-9A-Fa-f:]+")


def issue(arguments: Namespace) -> int:
    """A client's first certificate, or those of many clients."""
    from certwarden.lifecycle.issue import issue as issue_all

    if arguments.names_file is not None:
        return _issue_many(arguments)
    if arguments.name is None:
        raise UsageError("it is not said whom to issue a certificate to", "give a NAME, or --from")
    request = _request(arguments)
    config = read_config(arguments)
    with Outputs() as outputs:
        handover = prepare(arguments, outputs)
        with open_authority(arguments, config) as (warden, root):
            open_key(warden)
            (issued,) = issue_all(warden, [request])
        _hand_over(handover, outputs, issued, root.name)
    return DONE


def renew(arguments: Namespace) -> int:
    """Another certificate for a client, and the end of the one before."""
    from certwarden.lifecycle.issue import renew_client
    from certwarden.lifecycle.lists import SUPERSEDED_AFTER
    from certwarden.lifecycle.withdraw import withdraw

    request = _request(arguments)
    config = read_config(arguments)
    with Outputs() as outputs:
        handover = prepare(arguments, outputs)
        with open_authority(arguments, config) as (warden, root):
            _named(warden, arguments.name)
            open_key(warden)
            issued, before = renew_client(warden, request)
            _hand_over(handover, outputs, issued, root.name)
            if not arguments.replace:
                if before:
                    days = SUPERSEDED_AFTER.days
                    show_line(f"The one before stays good for {days} days and is revoked then.")
                return DONE
            results = [
                withdraw(warden, config.certificates, serial, RevocationReason.SUPERSEDED)
                for serial in before
            ]
    for each in results:
        show_withdrawal(each)
    return DONE if all(each.is_good for each in results) else FAILED


def list_clients(arguments: Namespace) -> int:
    """All client certificates."""
    with open_authority(arguments, read_config(arguments), is_read_only=True) as (warden, _):
        show_clients(
            warden.register.clients(),
            warden.clock.now(),
            is_json=arguments.json,
            watched_since=warden.register.watched_since(),
        )
    return DONE


def show(arguments: Namespace) -> int:
    """A client's certificates, and how its browser chooses them by itself."""
    config = read_config(arguments)
    with open_authority(arguments, config, is_read_only=True) as (warden, root):
        certificates = _named(warden, arguments.name)
        now, since = warden.clock.now(), warden.register.watched_since()
    domains = _guarded(config)
    policy = auto_select_policy(root.name, arguments.name, domains) if domains else None
    show_client(
        arguments.name,
        certificates,
        policy,
        now,
        is_json=arguments.json,
        watched_since=since,
    )
    return DONE


def export(arguments: Namespace) -> int:
    """The newest valid certificate of a client, as PEM."""
    with open_authority(arguments, read_config(arguments), is_read_only=True) as (warden, _):
        now = warden.clock.now()
        for certificate in _named(warden, arguments.name):
            pem = warden.register.pem(certificate.serial)
            if pem is not None and certificate.is_valid_at(now):
                show_line(pem.decode().rstrip())
                return DONE
    raise UsageError(
        f"there is no valid certificate of {arguments.name}",
        f"see `certwarden client show {arguments.name}`",
    )


def revoke(arguments: Namespace) -> int:
    """Revokes, publishes, and sees that every target refuses what is revoked."""
    from certwarden.lifecycle.withdraw import withdraw

    config = read_config(arguments)
    with open_authority(arguments, config) as (warden, _):
        now = warden.clock.now()
        is_invited = arguments.subject in {each.name for each in warden.invitations.open(now)}
        if not is_invited and not _SERIAL.fullmatch(arguments.subject):
            _named(warden, arguments.subject)  # with a suggestion where it is not known
        if has_terminal():  # without one, or a passphrase, it is written down all the same
            with suppress(UsageError):
                open_key(warden)
        reason = RevocationReason(arguments.reason)
        result = withdraw(warden, config.certificates, arguments.subject, reason)
    if is_invited:
        show_line(f"{arguments.subject}: the invitation is withdrawn")
    show_withdrawal(result)
    return DONE if result.is_good else FAILED


def _issue_many(arguments: Namespace) -> int:
    from certwarden.lifecycle.issue import issue as issue_all

    for option in ("name", "email", "csr"):
        if getattr(arguments, option) is not None:
            raise UsageError(
                f"--from is for many names, and {'NAME' if option == 'name' else f'--{option}'} "
                "for one",
                "leave one of them out",
            )
    names = read_roster(_read(arguments.names_file, MAX_BYTES), clean(str(arguments.names_file)))
    requests = [
        ClientRequest(name, None, _lifetime(arguments), KeyType(arguments.key_type))
        for name in names
    ]
    config = read_config(arguments)
    with Outputs() as outputs:
        batch = prepare_batch(arguments, outputs, names)
        with open_authority(arguments, config) as (warden, root):
            open_key(warden)
            issued = issue_all(warden, requests)
        with _told_if_lost("NAME", batch.directory):
            batch.write(issued, root.name)
            outputs.keep()
    batch.tell()
    return DONE


def _hand_over(
    handover: Handover, outputs: Outputs, issued: IssuedClient, authority_name: str
) -> None:
    with _told_if_lost(issued.certificate.name, handover.path):
        handover.write(issued, authority_name)
        outputs.keep()
    handover.tell(issued)


@contextmanager
def _told_if_lost(name: str, path: Path) -> Iterator[None]:
    """What is issued but could not be written is in nobody's hands, key and all."""
    try:
        yield
    except Error as error:
        what = f"issued, but not handed over: {error.what}"
        hint = f"when {clean(str(path))} can be written: certwarden client renew {name} --replace"
        raise Error(what, hint) from None


def _request(arguments: Namespace) -> ClientRequest:
    check_identity(arguments.name, arguments.email)
    csr = None if arguments.csr is None else _read(arguments.csr, MAX_CSR_BYTES)
    key_type = KeyType(arguments.key_type)
    return ClientRequest(arguments.name, arguments.email, _lifetime(arguments), key_type, csr)


def _lifetime(arguments: Namespace) -> timedelta | None:
    return None if arguments.days is None else timedelta(days=arguments.days)


def _read(path: Path, limit: int) -> bytes:
    """A file that the command line names, read before rights are dropped: it is the caller's."""
    try:
        return read_file(path, limit)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise UsageError(
            f"{clean(str(path))} cannot be read: {why}", "is it the right file?"
        ) from None


def _named(warden: "Warden", name: str) -> tuple[ClientCertificate, ...]:
    """The client's certificates, newest first; raises UsageError for a name that is not known."""
    found = warden.register.named(name) if name else ()
    if found:
        return found
    known = {each.name for each in warden.register.clients() if each.name}
    near = difflib.get_close_matches(name, known, 1)
    advice = f"did you mean `{near[0]}`?" if near else "see `certwarden client list`"
    raise UsageError(f"there is no client `{clean(name, 100)}`", advice)


def _guarded(config: Config) -> Sequence[str]:
    """The names under which targets ask their clients for certificates."""
    return [
        domain
        for spec in config.certificates
        if any(target.client_auth for target in spec.targets)
        for domain in spec.domains
    ]
