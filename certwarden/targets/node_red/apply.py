"""certwarden's lines into a settings.js and out again: proposed, tried out, only then put there.

What a person agrees to is what has been tried: the changed program is run as Node-RED's user, and
must give Node-RED certwarden's certificates and otherwise what it gave before. The file is read and
written by its owner, in a child where that is not us. Knows nothing of JavaScript (see `edit`), and
restarts nothing.
"""

import errno
import os
import pwd
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, NoReturn

from certwarden.errors import TargetError, clean
from certwarden.files import TEMPORARY_PREFIX, Content, read_file, sync_directory, write_file
from certwarden.frozen import frozen
from certwarden.model import TargetSpec
from certwarden.targets import foreign
from certwarden.targets.node_red import edit
from certwarden.targets.node_red.difference import difference
from certwarden.targets.node_red.settings import (
    Inspection,
    https_line,
    identity_line,
    inspect,
    name_of,
    owner_of,
    snippet,
)
from certwarden.targets.process import Identity

MAX_SETTINGS_BYTES = 200 * 1024
_MAX_LINES = 5000  # comparing takes more than twice as long for twice as many
_BACKUP = ".certwarden-"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIDDLEWARE = "httpNodeMiddleware"
_OUR_NAMES = ("https", _MIDDLEWARE)
_TO_WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@frozen
class Proposal:
    """What would be put in place of a settings.js; `diff` is "" where there is nothing to change.

    `remarks` are sentences about what was left alone. The diff shows our lines, and no values of
    others.
    """

    settings: Path
    original: bytes = field(repr=False)
    text: bytes = field(repr=False)
    owner: Identity | None  # who writes it, where that is not us
    diff: str = field(repr=False)
    remarks: tuple[str, ...] = ()


def propose(
    settings: Path,
    spec: TargetSpec,
    *,
    node: Path | None = None,
    user: str | None = None,
    is_published: bool = True,
    is_named: bool = False,
) -> Proposal:
    """settings.js with certwarden's lines for this target, tried out as Node-RED's user.

    `node` and `user`: as for `inspect`; without `is_published` it is taken as it is that there is
    nothing yet for Node-RED to serve. Takes 20 s at most. Raises TargetError, with the lines to
    paste, where the file is not to be changed by a program, or would not do what is meant.

    Root changes what belongs to `user`, and, with `is_named`, what is root's own: say so only where
    a person has named that file, and not where Node-RED's user could.
    """
    settings = settings.absolute()
    before = inspect(settings, node=node, user=user)
    paste = f"put these lines into it by hand:\n{snippet(spec)}".rstrip()
    with _hinting(paste):
        _refuse_unless_his(settings, user, is_named=is_named)
        owner = _writer(settings)
        text = original = _read(settings, owner)
        remarks: tuple[str, ...] = ()
        if not _serves_the_target(before, spec):
            text = _as(owner, lambda: edit.insert_line(original, https_line(spec)))
        if spec.client_auth:
            text, remarks = _with_identity(text, owner, before)
        if text != original:
            after = inspect(settings, node=node, user=user, source=text)
            _refuse_unless_right(before, after, spec, is_published=is_published)
    return _proposal(settings, original, text, owner, remarks)


def propose_removal(
    settings: Path,
    *,
    node: Path | None = None,
    user: str | None = None,
    is_named: bool = False,
) -> Proposal:
    """settings.js as it was before certwarden's lines: the backup, or without them.

    The newest backup is taken from which certwarden's lines make exactly what is there now. Raises
    TargetError where something of certwarden would remain. The rest is as for `propose`.
    """
    settings = settings.absolute()
    before = inspect(settings, node=node, user=user)
    with _hinting("take certwarden's lines out by hand"):
        _refuse_unless_his(settings, user, is_named=is_named)
        owner = _writer(settings)
        original = _read(settings, owner)
        text = _as(owner, lambda: _without_us(settings, original))
        if text != original:
            after = inspect(settings, node=node, user=user, source=text)
            _refuse_unless_gone(before, after)
    return _proposal(settings, original, text, owner, ())


def has_our_lines(settings: Path, *, node: Path | None = None, user: str | None = None) -> bool:
    """Whether there is anything of certwarden's in it, or in what it requires where it can be run.

    `node` and `user`: as for `inspect`. Raises TargetError where the file cannot be read.
    """
    settings = settings.absolute()
    owner = _writer(settings)
    source = _source(settings, owner)
    try:
        if _as(owner, lambda: edit.remove_line(source)) != source:
            return True
    except TargetError:
        return True
    with suppress(TargetError):
        https = inspect(settings, node=node, user=user).https
        return https is not None and https.certwarden is not None
    return False


def put(proposal: Proposal) -> Path:
    """Puts what was proposed in place; returns the backup beside it, named by the time.

    Owner and mode stay, and so does a symbolic link. Raises TargetError where the file, or whose it
    is, has been changed meanwhile, or it cannot be written; then nothing was changed.
    """
    settings = proposal.settings
    if _writer(settings) != proposal.owner:
        _refuse_changed(settings)
    try:
        backup = _as(
            proposal.owner,
            lambda: os.fsencode(_write(settings, proposal.original, proposal.text)),
        )
    except OSError as error:
        raise TargetError(
            f"{name_of(settings)} cannot be changed: {error.strerror or error}",
            "see who may write to it and to its directory, or put the line in by hand",
        ) from None
    return Path(os.fsdecode(backup))


# ── what is proposed ──────────────────────────────────────────────────────────────────────────────


@contextmanager
def _hinting(hint: str) -> Iterator[None]:
    """What is refused without a remedy of its own has this one."""
    try:
        yield
    except TargetError as error:
        raise TargetError(error.what, error.hint or hint) from None


def _proposal(
    settings: Path, original: bytes, text: bytes, owner: Identity | None, remarks: tuple[str, ...]
) -> Proposal:
    diff = difference(name_of(settings), original, text)
    return Proposal(settings, original, text, owner, diff, remarks)


def _serves_the_target(seen: Inspection, spec: TargetSpec) -> bool:
    mark = seen.https.certwarden if seen.https else None
    return (
        mark is not None
        and mark.error is None
        and mark.live == clean(str(spec.directory))
        and mark.client_auth is spec.client_auth
    )


def _with_identity(
    source: bytes, owner: Identity | None, before: Inspection
) -> tuple[bytes, tuple[str, ...]]:
    """Flows learn whose certificate it was, unless something else is in that place."""
    names = {each.partition(":")[0] for each in before.exports}

    def with_line() -> bytes:
        if _MIDDLEWARE in names or edit.has_property(source, _MIDDLEWARE):
            return source
        return edit.insert_line(source, identity_line())

    text = _as(owner, with_line)
    if text != source or identity_line().partition("require")[2].encode() in source:
        return text, ()
    remark = (
        "httpNodeMiddleware is there already and stays: flows are told whose certificate it was"
    )
    return source, (f"{remark} only if it calls certwarden's identity.js as well",)


def _refuse_unless_right(
    before: Inspection, after: Inspection, spec: TargetSpec, *, is_published: bool
) -> None:
    """The trial evaluation has the last word on what the change does."""
    what = f"{name_of(after.settings)} is not changed"
    if after.error is not None:
        raise TargetError(f"{what}: with certwarden's line it could not be run: {after.error}")
    if not _serves_the_target(after, spec):
        mark = after.https.certwarden if after.https else None
        why = "something else in it decides about `https`"
        raise TargetError(f"{what}: {mark.error if mark and mark.error else why}")
    if is_published and after.https is not None and not after.https.is_usable:
        raise TargetError(
            f"{what}: Node-RED would have nothing to serve from {spec.directory} "
            f"({after.https.unusable_because or 'no certificate'})",
            "run `certwarden deploy` first, and see that Node-RED's user may read that directory",
        )
    if before.error is None and _rest(before) != _rest(after):
        raise TargetError(f"{what}: more than `https` would be another")


def _refuse_unless_gone(before: Inspection, after: Inspection) -> None:
    what = f"{name_of(after.settings)} is not changed"
    if after.error is not None and before.error is None:
        raise TargetError(f"{what}: without certwarden's lines it could not be run: {after.error}")
    if after.https is not None and after.https.certwarden is not None:
        raise TargetError(f"{what}: it uses certwarden in another way than by its lines")


def _rest(seen: Inspection) -> Inspection:
    """All that our lines have nothing to do with."""
    exports = (each for each in seen.exports if each.partition(":")[0] not in _OUR_NAMES)
    return replace(
        seen,
        https=None,
        blocked=(),
        uibuilder_without_certificate=False,
        ticket_keys=False,
        exports=tuple(sorted(exports)),
    )


# ── as the owner of the file ──────────────────────────────────────────────────────────────────────


def _as(owner: Identity | None, work: Callable[[], bytes]) -> bytes:
    return work() if owner is None else foreign.run_as(owner, [], work)


def _writer(settings: Path) -> Identity | None:
    """Who reads and writes the file: its owner; None where that is us, or we may not choose."""
    owner = owner_of(settings)
    return owner if foreign.is_root() and owner.uid != os.geteuid() else None


def _refuse_unless_his(settings: Path, user: str | None, *, is_named: bool) -> None:
    """Node-RED's user says which file it reads; he must not have root change another's."""
    if user is None or not foreign.is_root():
        return
    owner = owner_of(settings).uid
    if owner == pwd.getpwnam(user).pw_uid or (is_named and owner == 0):
        return
    whose = "root, and the command line does not name it" if owner == 0 else f"user {owner}"
    raise TargetError(
        f"{name_of(settings)} is not changed: Node-RED runs as {clean(user, 60)}, but it belongs "
        f"to {whose}"
    )


def _source(settings: Path, owner: Identity | None) -> bytes:
    try:
        return _as(owner, lambda: read_file(settings, MAX_SETTINGS_BYTES))
    except OSError as error:
        raise TargetError(
            f"{name_of(settings)} cannot be read: {error.strerror}", "name Node-RED's settings.js"
        ) from None


def _read(settings: Path, owner: Identity | None) -> bytes:
    found = _source(settings, owner)
    if found.count(b"\n") > _MAX_LINES:
        raise TargetError(
            f"{name_of(settings)} is not changed: it has more than {_MAX_LINES} lines"
        )
    return found


def _without_us(settings: Path, source: bytes) -> bytes:
    lines = edit.our_lines(source)
    for backup in sorted(_backups(settings.resolve()), reverse=True):
        with suppress(OSError, TargetError):
            before = read_file(backup, MAX_SETTINGS_BYTES)
            after = before
            for line in reversed(lines):  # the first in the text was put there last
                after = edit.insert_line(after, line)
            if lines and after == source and before != source:
                return before
    return edit.remove_line(source)


def _backups(file: Path) -> list[Path]:
    prefix = f"{file.name}{_BACKUP}"
    return [each for each in file.parent.iterdir() if each.name.startswith(prefix)]


def _write(settings: Path, original: bytes, text: bytes) -> Path:
    file = settings.resolve(strict=True)
    if not file.stat().st_mode & stat.S_IWUSR or not os.access(file, os.W_OK):
        raise TargetError(
            f"{name_of(file)} is read-only, and was not changed",
            "make it writable, or edit it by hand",
        )
    with os.fdopen(os.open(file, _TO_WRITE), "r+b") as stream:
        if stream.read(MAX_SETTINGS_BYTES + 1) != original:
            _refuse_changed(file)
        backup = _back_up(file, original)
        try:
            _replace(file, stream, text)
        except BaseException:
            if read_file(file, MAX_SETTINGS_BYTES) == original:
                backup.unlink()
            raise
    return backup


def _refuse_changed(file: Path) -> NoReturn:
    raise TargetError(
        f"{name_of(file)} has been changed meanwhile, and not by us", "run the command again"
    )


def _back_up(file: Path, original: bytes) -> Path:
    """For its owner alone: a group that is not the owner's cannot be given to a new file."""
    draft = file.with_name(f"{TEMPORARY_PREFIX}{file.name}{_BACKUP}")
    write_file(draft, Content(original))
    made = _EPOCH + timedelta(seconds=int(draft.stat().st_mtime))
    first = file.with_name(f"{file.name}{_BACKUP}{made:%Y%m%dT%H%M%S}")
    backup, count = first, 1
    while os.path.lexists(backup):
        count += 1
        backup = first.with_name(f"{first.name}-{count}")
    draft.rename(backup)
    return backup


def _replace(file: Path, stream: BinaryIO, text: bytes) -> None:
    """By a rename where that loses nothing, else in place: in `stream`, wherever the name leads."""
    found = os.fstat(stream.fileno())
    if not os.path.samestat(file.lstat(), found):
        _refuse_changed(file)
    mode = stat.S_IMODE(found.st_mode)
    if found.st_nlink == 1 and not os.listxattr(stream.fileno()):
        try:
            write_file(file, Content(text, mode, gid=found.st_gid, uid=found.st_uid))
        except OSError as error:
            # A file that is mounted by itself has no other name; a group that is not the owner's
            # cannot be given to a new file.
            if error.errno not in (errno.EBUSY, errno.EPERM, errno.EXDEV):
                raise
        else:
            return
    stream.seek(0)
    stream.write(text)
    stream.truncate()
    stream.flush()
    os.fsync(stream.fileno())
    sync_directory(file.parent)
