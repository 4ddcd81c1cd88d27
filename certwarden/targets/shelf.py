"""A target's generations on disk: what its program reads, whole or not at all.

    DIRECTORY/generations/0001/…            the files that this kind of program reads
    DIRECTORY/current -> generations/0001   replaced by one rename
    DIRECTORY/good -> generations/0001      the last one that was seen in use
    DIRECTORY/loaded/                       where Node-RED's module reports (see node_red.reports)
    DIRECTORY/placed                        what was last placed at the fixed paths (see fixed)

Decides nothing: what is published, confirmed or put back is the lifecycle's business. The caller
holds the target's lock.
"""

import contextlib
import errno
import grp
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, TargetError, clean
from certwarden.files import Content
from certwarden.model import GenerationFile, Installed, Pair, Secret, TargetSpec
from certwarden.pki.certificate import (
    MAX_CHAIN_BYTES,
    is_placeholder,
    read_pair,
)
from certwarden.targets import foreign
from certwarden.targets.fixed import FixedPaths
from certwarden.targets.node_red.reports import LOADED, forget_the_dead

KEPT_GENERATIONS = 2
DIRECTORY_MODE = 0o750
LOADED_MODE = 0o770
CERTIFICATE_MODE = 0o644

_GENERATIONS = "generations"
_CURRENT = "current"
_GOOD = "good"
_NAME = re.compile(r"[0-9]{4,}", re.ASCII)
_DESTINATION = re.compile(rf"{_GENERATIONS}/(?P<name>[0-9]{{4,}})", re.ASCII)
_NO_LINK = {errno.ENOENT, errno.ENOTDIR, errno.EINVAL}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_WITH_KEY = {GenerationFile.PRIVKEY, GenerationFile.COMBINED}


class GenerationShelf:
    """The generations of one target, in `spec.directory`, and its fixed paths."""

    def __init__(self, spec: TargetSpec) -> None:
        self._spec = spec
        self._directory = spec.directory
        self._generations = spec.directory / _GENERATIONS
        self._fixed = FixedPaths(spec)

    def installed(self) -> Installed | None:
        """What is current, whole, readable to whom it should be, and where the fixed paths lead."""
        with self._explained("read"):
            name = self._destination(_CURRENT)
            pair = self._load(name) if name else None
            if not name or not pair or not self._fixed.lead_to(name, self._contents(pair)):
                return None
            return _installed(name, pair)

    def publish(self, pair: Pair) -> Installed:
        """Makes the pair a generation, and current; then makes the fixed paths lead to it.

        Where that last step is not ours to take, the error says who can; what was published stands.
        """
        with self._explained("written"):
            self._prepare()
            if not self._spec.copy and self._fixed.are_ours_to_change():
                self._take_over()
            name = self._shelve(pair)
            self._switch(name, pair)
            self._prune()
        return _installed(name, pair)

    def is_untidy(self) -> bool:
        """Whether a killed writer has left something half done."""
        return files.has_temporaries(self._directory) or files.has_temporaries(self._generations)

    def tidy(self) -> None:
        """Removes that; the caller holds the target's lock."""
        files.sweep_temporaries(self._directory)
        files.sweep_temporaries(self._generations)

    def confirm(self, number: int) -> None:
        """The generation was seen in use: from now on it is the last good one.

        A placeholder never is.
        """
        name = f"{number:04d}"
        with self._explained("written"):
            pair = self._load(name)
            if pair is None:
                raise TargetError(f"generation {name} of {self._spec.name} is gone or not whole")
            if not is_placeholder(pair) and self._destination(_GOOD) != name:
                files.switch_link(self._directory / _GOOD, f"{_GENERATIONS}/{name}")

    def last_good(self) -> Pair | None:
        """The last good generation's pair, else the one that stood at the fixed paths before."""
        with self._explained("read"):
            name = self._destination(_GOOD)
            if name:
                return self._load(name)
            if before := self._fixed.before():
                return before
            standing = self._fixed.standing()
            return None if standing and self._fixed.is_published(standing) else standing

    # ── reading ───────────────────────────────────────────────────────────────────────────────────

    def _destination(self, link: str) -> str:
        """The name of the generation that a link of ours leads to, or ""."""
        try:
            found = _DESTINATION.fullmatch(str((self._directory / link).readlink()))
        except OSError as error:
            if error.errno in _NO_LINK:
                return ""
            raise
        return found["name"] if found else ""

    def _load(self, name: str) -> Pair | None:
        """The generation's pair, if every file of it is there, in step, and of the right mode."""
        directory = self._generations / name
        try:
            key = files.read_file(directory / GenerationFile.PRIVKEY, MAX_CHAIN_BYTES)
            chain = files.read_file(directory / GenerationFile.FULLCHAIN, MAX_CHAIN_BYTES)
            pair = read_pair(Secret(key), chain)
            wanted = self._contents(pair)
            is_whole = all(_holds(directory / file, wanted[file]) for file in self._spec.kind.files)
        except PermissionError:
            raise
        except (OSError, MaterialError, TargetError):
            return None
        return pair if is_whole else None

    def _contents(self, pair: Pair) -> dict[GenerationFile, Content]:
        """What each file holds, and who may read it; raises TargetError if there is no such group.

        The key is readable to the target's group, the certificates to whoever gets this far.
        """
        gid = self._gid()
        fullchain, key = pair.fullchain_pem, pair.key_pem.reveal()
        data = {
            GenerationFile.PRIVKEY: key,
            GenerationFile.FULLCHAIN: fullchain,
            GenerationFile.CERT: pair.chain_pem[0],
            GenerationFile.CHAIN: b"".join(pair.chain_pem[1:]),
            GenerationFile.COMBINED: fullchain + key,
        }
        return {
            file: Content(
                held, mode=self._spec.mode if file in _WITH_KEY else CERTIFICATE_MODE, gid=gid
            )
            for file, held in data.items()
        }

    def _gid(self) -> int | None:
        if self._spec.group is None:
            return None
        try:
            return grp.getgrnam(self._spec.group).gr_gid
        except KeyError:
            raise TargetError(
                f"there is no group {clean(self._spec.group)}, which {self._spec.name} names",
                f"make it: sudo groupadd --system {clean(self._spec.group)}",
            ) from None

    # ── writing ───────────────────────────────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        gid = self._gid()
        with contextlib.suppress(FileNotFoundError), foreign.opened(self._directory):
            pass  # nobody can have led us elsewhere
        self._refuse_what_others_use()
        files.make_directory(self._directory, DIRECTORY_MODE, gid)
        owner = self._directory.stat().st_uid
        if owner != os.geteuid():
            raise TargetError(
                f"{self._directory} belongs to user {owner}, not to certwarden",
                "name a directory of certwarden's own as the target's `directory`",
            )
        files.make_directory(self._generations, DIRECTORY_MODE, gid)
        if self._spec.kind.can_reload_hot:
            files.make_directory(self._directory / LOADED, LOADED_MODE, gid)
            forget_the_dead(self._directory / LOADED)
        self.tidy()

    def _refuse_what_others_use(self) -> None:
        """A mistyped `directory` must not cost others their access: its mode is about to change."""
        if not self._directory.is_dir():
            return
        found = {entry.name for entry in self._directory.iterdir()} - {"lost+found"}
        if found and _GENERATIONS not in found:
            raise TargetError(
                f"{self._directory} holds other things than certwarden's",
                "name an empty directory, or one that does not exist yet, as the target's "
                "`directory`",
            )

    def _take_over(self) -> None:
        """Publishes the pair that stands at the fixed paths, so that links to it take its place: a
        reader never finds half of one pair and half of another.

        One that is not of ours is what to go back to, as long as nothing else is.
        """
        standing = self._fixed.standing()
        if standing is None:
            self._finish()
            return
        is_ours = self._fixed.is_published(standing)
        self._fixed.keep(self._contents(standing))
        name = self._shelve(standing)
        if not is_ours and not self._destination(_GOOD):
            self.confirm(int(name))
        self._switch(name, standing)

    def _finish(self) -> None:
        """Makes the second link, where somebody was stopped when he had made the first."""
        name = self._destination(_CURRENT)
        pair = self._load(name) if name else None
        if name and pair:
            self._fixed.place(name, self._contents(pair))

    def _shelve(self, pair: Pair) -> str:
        """The pair as the next generation, to which nothing leads yet."""
        taken = [int(name) for name in self._names()]
        taken += [int(name) for link in (_CURRENT, _GOOD) if (name := self._destination(link))]
        name = f"{max(taken, default=0) + 1:04d}"
        contents = self._contents(pair)
        files.write_directory(
            self._generations / name,
            {str(file): contents[file] for file in self._spec.kind.files},
            DIRECTORY_MODE,
            self._gid(),
        )
        return name

    def _switch(self, name: str, pair: Pair) -> None:
        """Makes the generation, which holds the pair, current, and the fixed paths lead to it."""
        files.switch_link(self._directory / _CURRENT, f"{_GENERATIONS}/{name}")
        self._fixed.place(name, self._contents(pair))

    def _names(self) -> list[str]:
        """Of all generations that are there, oldest first."""
        names = (entry.name for entry in self._generations.iterdir())
        return sorted(filter(_NAME.fullmatch, names), key=int)

    def _prune(self) -> None:
        kept = {*self._names()[-KEPT_GENERATIONS:]}
        kept |= {self._destination(_CURRENT), self._destination(_GOOD)}
        for name in self._names():
            if name not in kept:
                with contextlib.suppress(OSError):  # the next publication tries again
                    files.remove_tree(self._generations / name)

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """An OSError becomes a TargetError that says what to do."""
        try:
            yield
        except PermissionError as error:
            hint = f"see who may do so: `namei -l {self._directory}`"
            if self._spec.group is not None and verb == "written":
                hint = (
                    f"certwarden's user must own it and be in the group {clean(self._spec.group)}: "
                    f"sudo usermod -aG {clean(self._spec.group)} certwarden"
                )
            raise TargetError(
                f"{self._directory} cannot be {verb}: {error.strerror}", hint
            ) from None
        except OSError as error:
            raise TargetError(
                f"{self._directory} cannot be {verb}: {clean(error.strerror or str(error))}",
                "free some room there" if error.errno in _NO_ROOM else "look at the directory",
            ) from None


def _installed(name: str, pair: Pair) -> Installed:
    return Installed(int(name), pair.certificate, is_placeholder=is_placeholder(pair))


def _holds(path: Path, wanted: Content) -> bool:
    found = path.lstat()
    return (
        stat.S_ISREG(found.st_mode)
        and stat.S_IMODE(found.st_mode) == wanted.mode
        and (wanted.gid is None or found.st_gid == wanted.gid)
        and files.read_file(path, 2 * MAX_CHAIN_BYTES) == wanted.data
    )
