"""Fixed paths: the key and certificate files that a program's own configuration names already.

They become links through the target's `current`, or, where the reader cannot follow links, plain
copies of its files. What stood there before is kept beside them. The directories are other
people's: see `foreign`. Does not know which generation ought to be current.

A pair of links changes with `current`, at once. A pair of copies cannot: `current`, on disk before
the first byte is copied, is the journal that says what they were to become, and whoever finds them
different puts them right.
"""

import contextlib
import json
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, TargetError, clean
from certwarden.files import Content
from certwarden.frozen import frozen
from certwarden.model import GenerationFile, Pair, Secret, TargetSpec
from certwarden.pki.certificate import MAX_CHAIN_BYTES, read_pair
from certwarden.targets import foreign

BACKUP_SUFFIX = ".before-certwarden"
_MAX_BACKUPS = 9
_RECORD = "placed"
_MAX_RECORD_BYTES = 16 * 1024
_OTHERS = 0o007
_GROUP = 0o070
_PAIR = [GenerationFile.PRIVKEY, GenerationFile.FULLCHAIN]  # the key comes first

Contents = Mapping[GenerationFile, Content]


@frozen
class _Fixed:
    """A fixed path, and the file of a generation that belongs there."""

    path: Path
    file: GenerationFile


@frozen
class _Job:
    """What is to be put at a fixed path; `published`: what our copies there may hold now."""

    path: Path
    file: GenerationFile
    content: Content = field(repr=False)
    published: frozenset[bytes] = field(repr=False)


class FixedPaths:
    """The fixed paths of one target. Nothing here is ever tried where there are none."""

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        paths = zip((spec.key_path, spec.certificate_path), _PAIR, strict=True)
        self._all = tuple(
            _Fixed(path, file) for path, file in paths if path and path != self._source(file)
        )

    def lead_to(self, generation: str, contents: Contents) -> bool:
        """Whether all of them lead to this generation, which is current.

        Where we may not look, our record of what was last placed there has to do.
        """
        looks = [self._is_in_place(fixed, contents[fixed.file]) for fixed in self._all]
        if None in looks and self._read_record() != self._record(generation):
            return False
        return False not in looks

    def place(self, generation: str, contents: Contents) -> None:
        """Makes all of them lead to this generation, which is current; raises TargetError."""
        if not self._all:
            return
        if not self.lead_to(generation, contents):
            # Whatever may fail for want of room fails before the first file is put in place.
            self._act(contents, self._keep_aside, self._get_ready, self._put)
        if self._read_record() != self._record(generation):
            with self._explained(self._spec.directory):
                self._write_record(generation)

    def keep(self, contents: Contents) -> None:
        """Keeps what stands there, which is not of ours, beside it; raises TargetError."""
        self._act(contents, self._keep_aside)

    def standing(self) -> Pair | None:
        """The pair of files, not links, that stands at the fixed paths, whoever put it there."""
        return self._read("")

    def before(self) -> Pair | None:
        """The pair that stood at the fixed paths before certwarden came."""
        return self._read(BACKUP_SUFFIX)

    def are_ours_to_change(self) -> bool:
        """Whether we may write in all the directories, as far as that can be told beforehand."""
        return foreign.is_root() or all(
            os.access(fixed.path.parent, os.W_OK | os.X_OK) for fixed in self._all
        )

    def is_published(self, pair: Pair) -> bool:
        """Whether the pair's key is that of a generation which is still there."""
        return pair.key_pem.reveal() in self._published(GenerationFile.PRIVKEY)

    # ── looking ───────────────────────────────────────────────────────────────────────────────────

    def _is_in_place(self, fixed: _Fixed, content: Content) -> bool | None:
        """None where we may not look."""
        try:
            if self._spec.copy:
                return _look_as_owner(fixed.path, _read_regular) == content.data
            return _look_as_owner(fixed.path, _read_link) == bytes(self._source(fixed.file))
        except (PermissionError, TargetError):
            return None
        except OSError:
            return False

    def _read(self, suffix: str) -> Pair | None:
        if [fixed.file for fixed in self._all] != _PAIR:
            return None
        pieces = []
        for fixed in self._all:
            path = fixed.path.with_name(f"{fixed.path.name}{suffix}")
            try:
                pieces.append(_look_as_owner(path, _read_regular))
            except (OSError, TargetError):
                return None
        try:
            return read_pair(Secret(pieces[0]), pieces[1])
        except MaterialError:
            return None

    def _published(self, file: GenerationFile) -> frozenset[bytes]:
        """What this file holds in the generations that are still there."""
        found = set()
        for path in self._spec.directory.glob(f"generations/*/{file}"):
            with contextlib.suppress(OSError):
                found.add(files.read_file(path, MAX_CHAIN_BYTES))
        return frozenset(found)

    # ── placing ───────────────────────────────────────────────────────────────────────────────────

    def _act(self, contents: Contents, *acts: Callable[[Path, _Job], None]) -> None:
        jobs = [
            _Job(fixed.path, fixed.file, contents[fixed.file], self._published(fixed.file))
            for fixed in self._all
        ]
        for act in acts:
            for job in jobs:
                with self._explained(job.path):
                    _as_owner(job, act)

    def _keep_aside(self, directory: Path, job: _Job) -> None:
        """What is of ours needs no keeping."""
        place = directory / job.path.name
        _sweep(place)
        if not (self._is_our_link(place, job.file) or _look_at(place) in job.published):
            _keep(place, job.path)

    def _get_ready(self, directory: Path, job: _Job) -> None:
        """Writes the copy beside its place."""
        place = directory / job.path.name
        if not self._spec.copy:
            return
        wanted = self._permitted(place, job)
        try:
            files.write_file(_copy_of(place), wanted)
        except PermissionError:
            # The owner cannot be kept. That matters to nobody where the reader is in the group
            # that the configuration names, or where root's file lies in our own directory.
            is_for_us = wanted.uid == 0 and place.parent.stat().st_uid == os.geteuid()
            if wanted.uid == os.geteuid() or not (self._spec.group or is_for_us):
                raise
            mode = wanted.mode if self._spec.group else wanted.mode & ~_GROUP
            files.write_file(_copy_of(place), replace(job.content, mode=mode))

    def _put(self, directory: Path, job: _Job) -> None:
        """By one rename."""
        place = directory / job.path.name
        if self._spec.copy:
            _copy_of(place).rename(place)
            files.sync_directory(directory)
        else:
            files.switch_link(place, str(self._source(job.file)))

    def _permitted(self, place: Path, job: _Job) -> Content:
        """What stood there keeps its owner, and, unless a group is configured, group and mode."""
        wanted = job.content
        with contextlib.suppress(FileNotFoundError):
            found = place.lstat()
            # Whoever else may write in this directory must not be given the key by a file of his.
            around = place.parent.stat()
            is_trusted = found.st_uid in (0, os.geteuid(), around.st_uid) or not (
                around.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            )
            if stat.S_ISREG(found.st_mode) and is_trusted:
                wanted = replace(wanted, uid=found.st_uid)
                if self._spec.group is None:
                    wanted = replace(wanted, gid=found.st_gid, mode=found.st_mode & 0o666)
        if job.file is GenerationFile.PRIVKEY:
            wanted = replace(wanted, mode=wanted.mode & ~_OTHERS)
            if wanted.gid is None:  # a group that nobody has named, by chance the directory's
                wanted = replace(wanted, mode=wanted.mode & ~_GROUP)
        return wanted

    def _is_our_link(self, place: Path, file: GenerationFile) -> bool:
        return place.is_symlink() and place.readlink() == self._source(file)

    def _source(self, file: GenerationFile) -> Path:
        return self._spec.directory / "current" / file

    # ── the record ────────────────────────────────────────────────────────────────────────────────

    def _record(self, generation: str) -> bytes:
        """What to remember of a placing, for when we may no longer look (ProtectHome=)."""
        placed = {str(fixed.file): str(fixed.path) for fixed in self._all}
        copies_of = generation if self._spec.copy else None
        return json.dumps({"placed": placed, "copies_of": copies_of}, sort_keys=True).encode()

    def _read_record(self) -> bytes:
        try:
            return files.read_file(self._spec.directory / _RECORD, _MAX_RECORD_BYTES)
        except OSError:
            return b""

    def _write_record(self, generation: str) -> None:
        files.write_file(self._spec.directory / _RECORD, Content(self._record(generation)))

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        """An OSError becomes a TargetError that says what to do."""
        try:
            yield
        except PermissionError as error:
            hint = f"run `sudo certwarden deploy {self._spec.certificate}`"
            if foreign.is_root():
                hint = f"see who may write there (`namei -l {_quoted(path)}`), or set `copy = true`"
            raise TargetError(f"{path} cannot be written: {error.strerror}", hint) from None
        except OSError as error:
            raise TargetError(
                f"{path} cannot be put in place: {clean(error.strerror or str(error))}",
                "correct `key` and `certificate` of the target, or set `copy = true` where the "
                "file system has no links",
            ) from None


def _look_at(place: Path) -> bytes | None:
    try:
        return _read_regular(place)
    except OSError:
        return None


def _read_regular(path: Path) -> bytes:
    """The bytes of a file that is one: no link is followed, no pipe waited for."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a regular file")
        data = file.read(MAX_CHAIN_BYTES + 1)
    if len(data) > MAX_CHAIN_BYTES:
        raise OSError("too long for a key or certificate")
    return data


def _read_link(path: Path) -> bytes:
    return bytes(path.readlink())


def _keep(place: Path, path: Path) -> None:
    """Keeps what stands at `place` beside it, with owner and mode, unless that was done before.

    What somebody puts there later is kept as well, under a number.
    """
    if not os.path.lexists(place):
        return
    for number in range(1, _MAX_BACKUPS + 1):
        suffix = BACKUP_SUFFIX if number == 1 else f"{BACKUP_SUFFIX}-{number}"
        backup = place.with_name(f"{place.name}{suffix}")
        if not os.path.lexists(backup):
            break
        if _is_same(place, backup):
            return
    else:
        raise TargetError(
            f"{_MAX_BACKUPS} files that stood at {path} are kept beside it already",
            f"move those named {path.name}{BACKUP_SUFFIX} away that you do not need",
        )
    try:
        os.link(place, backup, follow_symlinks=False)
    except PermissionError:  # there are no hard links, or not to files of other users
        _copy_aside(place, backup, path)
    files.sync_directory(place.parent)


def _quoted(path: Path) -> str:
    return shlex.quote(clean(str(path)))


def _is_same(place: Path, backup: Path) -> bool:
    """Whether the one is kept as the other already."""
    if place.is_symlink() or backup.is_symlink():
        both = place.is_symlink() and backup.is_symlink()
        return both and place.readlink() == backup.readlink()
    try:
        return _read_regular(place) == _read_regular(backup)
    except OSError:
        return place.samefile(backup)


def _copy_aside(place: Path, backup: Path, path: Path) -> None:
    found = place.lstat()
    if stat.S_ISLNK(found.st_mode):
        backup.symlink_to(place.readlink())
        return
    try:
        content = Content(_read_regular(place), mode=found.st_mode & 0o666)
    except OSError:
        raise TargetError(
            f"{path} cannot be kept as {path.name}{BACKUP_SUFFIX}",
            f"move it away yourself: sudo mv {_quoted(path)} {_quoted(path)}{BACKUP_SUFFIX}",
        ) from None
    try:
        files.write_file(backup, replace(content, uid=found.st_uid, gid=found.st_gid))
    except PermissionError:
        files.write_file(backup, replace(content, mode=content.mode & 0o600))


def _sweep(place: Path) -> None:
    """Removes what a killed writer left of this file; the directory holds others' files too."""
    prefix, name = re.escape(files.TEMPORARY_PREFIX), re.escape(place.name)
    leftover = re.compile(
        rf"({prefix})+{name}({re.escape(BACKUP_SUFFIX)})?-(copy|[0-9]+)(-[0-9]+)?"
    )
    for entry in place.parent.iterdir():
        if leftover.fullmatch(entry.name):
            entry.unlink(missing_ok=True)


def _copy_of(place: Path) -> Path:
    """What a copy is called until it is put in place."""
    return place.with_name(f"{files.TEMPORARY_PREFIX}{place.name}-copy")


def _as_owner(job: _Job, act: Callable[[Path, _Job], None]) -> None:
    """Acts in the path's directory, as the one to whom it belongs where we are root."""

    def work() -> None:
        with foreign.opened(job.path.parent) as directory:
            act(directory, job)

    groups = [] if job.content.gid is None else [job.content.gid]
    _as_owner_of(job.path.parent, groups, work)


def _look_as_owner(path: Path, read: Callable[[Path], bytes]) -> bytes:
    """What is at the path, for the one to whom its directory belongs where we are root."""

    def work() -> bytes:
        with foreign.opened(path.parent) as directory:
            return read(directory / path.name)

    return _as_owner_of(path.parent, [], work)


def _as_owner_of(directory: Path, groups: list[int], work: Callable[[], bytes | None]) -> bytes:
    owner = foreign.owner_of(directory) if foreign.is_root() else None
    if owner is None or owner.uid == os.geteuid():
        return work() or b""
    return foreign.run_as(owner, groups, work)
