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
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, TargetError, clean
from certwarden.files import Content
from certwarden.model import ClientTrust, GenerationFile, Installed, Pair, TargetSpec
from certwarden.pki.certificate import is_placeholder
from certwarden.pki.crl import read_crl
from certwarden.targets import foreign
from certwarden.targets.fixed import FixedPaths
from certwarden.targets.generation import (
    Material,
    data_of,
    load_list,
    load_pair,
    load_trust,
)
from certwarden.targets.loading import check_loadable
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
            found = self._load(name) if name else None
            if not found or not self._fixed.lead_to(name, self._contents(found)):
                return None
            return _installed(name, found)

    def publish(self, pair: Pair, trust: ClientTrust | None = None) -> Installed:
        """Makes the pair a generation, and current; then makes the fixed paths lead to it.

        `trust` goes beside it where the target asks its clients for certificates: without one,
        what is installed; never a list that is older than one that was published here before.
        Where the last step is not ours to take, the error says who can; what was published stands.
        """
        with self._explained("written"):
            self._prepare()
            material = Material(pair, self._trust(trust) if self._spec.client_auth else None)
            if not self._spec.copy and self._fixed.are_ours_to_change():
                self._take_over(material.trust)
            name = self._shelve(material)
            self._switch(name, material)
            self._prune()
        return _installed(name, material)

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
            found = self._load(name)
            if found is None:
                raise TargetError(f"generation {name} of {self._spec.name} is gone or not whole")
            if not is_placeholder(found.pair) and self._destination(_GOOD) != name:
                files.switch_link(self._directory / _GOOD, f"{_GENERATIONS}/{name}")

    def last_good(self) -> Pair | None:
        """The last good generation's pair, else the one that stood at the fixed paths before."""
        with self._explained("read"):
            name = self._destination(_GOOD)
            if name:
                return self._load_pair(name)
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

    def _load(self, name: str) -> Material | None:
        """What the generation holds, if every file is there, in step, and of the right mode."""
        generation = self._generations / name
        try:
            trust = load_trust(generation) if self._spec.client_auth else None
            found = Material(load_pair(generation), trust)
            is_whole = all(
                _holds(generation / file, wanted) for file, wanted in self._contents(found).items()
            )
        except PermissionError:
            raise
        except (OSError, MaterialError, TargetError):
            return None
        return found if is_whole else None

    def _load_pair(self, name: str) -> Pair | None:
        """The generation's pair alone, whatever else a target of today's configuration has."""
        try:
            return load_pair(self._generations / name)
        except PermissionError:
            raise
        except (OSError, MaterialError):
            return None

    def _contents(self, material: Material) -> dict[GenerationFile, Content]:
        """What each file holds, and who may read it; raises TargetError if there is no such group.

        The key is readable to the target's group, the rest to whoever gets this far.
        """
        gid, data = self._gid(), data_of(material)
        return {
            file: Content(
                data[file],
                mode=self._spec.mode if file in _WITH_KEY else CERTIFICATE_MODE,
                gid=gid,
            )
            for file in self._spec.files
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

    # ── whom to trust ─────────────────────────────────────────────────────────────────────────────

    def _trust(self, given: ClientTrust | None) -> ClientTrust:
        """What the next generation judges clients by; raises TargetError where it may not."""
        if given is None:
            return self._installed_trust()
        try:
            crl = read_crl(given.crl.pem, given.root_pem)
        except MaterialError as error:
            raise TargetError(
                f"the revocation list for {self._spec.name} is not to be used: {error.what}",
                "have a new one signed: `certwarden renew`",
            ) from None
        newest = self._newest_number(given.root_pem)
        if crl.number < newest:
            raise TargetError(
                f"list number {crl.number} is older than number {newest}, "
                f"which {self._spec.name} had already",
                "have a new one signed: `certwarden renew`",
            )
        return ClientTrust(given.root_pem, crl)

    def _installed_trust(self) -> ClientTrust:
        name = self._destination(_CURRENT)
        try:
            return load_trust(self._generations / name)
        except PermissionError:
            raise
        except (OSError, MaterialError):
            raise TargetError(
                f"there is no revocation list yet for {self._spec.name}",
                "make the private CA: `certwarden ca init`",
            ) from None

    def _newest_number(self, root_pem: bytes) -> int:
        """The greatest number of the CA's lists that are here; another CA counts for itself."""
        newest = 0
        for name in self._names():
            with contextlib.suppress(OSError, MaterialError):
                found = read_crl(load_list(self._generations / name), root_pem)
                newest = max(newest, found.number)
        return newest

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

    def _take_over(self, trust: ClientTrust | None) -> None:
        """Publishes the pair that stands at the fixed paths, so that links to it take its place: a
        reader never finds half of one pair and half of another.

        One that is not of ours is what to go back to, as long as nothing else is.
        """
        standing = self._fixed.standing()
        if standing is None:
            self._finish()
            return
        is_ours = self._fixed.is_published(standing)
        material = Material(standing, trust)
        self._fixed.keep(self._contents(material))
        name = self._shelve(material)
        if not is_ours and not self._destination(_GOOD):
            self.confirm(int(name))
        self._switch(name, material)

    def _finish(self) -> None:
        """Makes the second link, where somebody was stopped when he had made the first."""
        name = self._destination(_CURRENT)
        found = self._load(name) if name else None
        if found:
            self._fixed.place(name, self._contents(found))

    def _shelve(self, material: Material) -> str:
        """The next generation, to which nothing leads yet; what OpenSSL cannot load is none."""
        taken = [int(name) for name in self._names()]
        taken += [int(name) for link in (_CURRENT, _GOOD) if (name := self._destination(link))]
        name = f"{max(taken, default=0) + 1:04d}"
        generation = self._generations / name
        contents = {str(file): content for file, content in self._contents(material).items()}
        files.write_directory(generation, contents, DIRECTORY_MODE, self._gid())
        try:
            check_loadable(generation, self._spec.files)
        except (TargetError, OSError):
            files.remove_tree(generation)
            raise
        return name

    def _switch(self, name: str, material: Material) -> None:
        """Makes the generation, which holds this, current, and the fixed paths lead to it."""
        files.switch_link(self._directory / _CURRENT, f"{_GENERATIONS}/{name}")
        self._fixed.place(name, self._contents(material))

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
            hint = f"see who may do so: `namei -l {shlex.quote(str(self._directory))}`"
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


def _installed(name: str, material: Material) -> Installed:
    return Installed(
        int(name),
        material.pair.certificate,
        is_placeholder=is_placeholder(material.pair),
        trust=material.trust,
    )


def _holds(path: Path, wanted: Content) -> bool:
    found = path.lstat()
    return (
        stat.S_ISREG(found.st_mode)
        and stat.S_IMODE(found.st_mode) == wanted.mode
        and (wanted.gid is None or found.st_gid == wanted.gid)
        and found.st_size == len(wanted.data)
        and files.read_file(path, len(wanted.data)) == wanted.data
    )
