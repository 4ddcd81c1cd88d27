"""Who may read and change the configuration, the secrets and what certwarden keeps.

Whether the configuration can be read at all was seen before: without it nothing is looked at.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from certwarden.config import Config
from certwarden.doctor.finding import Finding, error, ok, skipped, warning
from certwarden.doctor.patient import Patient

STATE_MODE, PRIVATE_MODE, PRIVATE_FILE_MODE = 0o711, 0o700, 0o600
MOST_ENTRIES = 20_000
MOST_TOLD = 5
_PRIVATE = ("certificates", "accounts", "authority", "locks")
_ROOT = 0


@dataclass(frozen=True)
class Rights:
    """Who may do what with a file or directory: its mode's permission bits, owner and group."""

    path: Path
    mode: int
    uid: int
    gid: int

    @property
    def text(self) -> str:
        """As a person reads it."""
        return f"{self.mode:04o} {_user(self.uid)}:{_group(self.gid)}"


@dataclass(frozen=True)
class Household:
    """Who certwarden is here: the state directory's owner, and the group that is its own.

    In its other groups are the programs that are to read their keys. None: it has no name here.
    """

    uid: int
    gid: int | None

    @property
    def user(self) -> str:
        """Its name."""
        return _user(self.uid)

    @property
    def group(self) -> str:
        """The name of its own group."""
        return str(self.uid) if self.gid is None else _group(self.gid)


# ── config.toml ───────────────────────────────────────────────────────────────────────────────────


def look_at_config(patient: Patient) -> Iterable[Finding]:
    """Who else may change it, or put another one in its place?"""
    config = patient.config
    source = config.source.absolute()
    house = household(config)
    yield judge_config(_rights(source), house)
    yield judge_config(_rights(source.parent), house)


def judge_config(rights: Rights, household: Household) -> Finding:
    """The file, and its directory: who may change those has certwarden run what he likes.

    A file that others than its owner may write to is refused before.
    """
    subject = str(rights.path)
    if rights.uid not in (_ROOT, household.uid):
        what = f"it belongs to {_user(rights.uid)}, who may have certwarden run any command by it"
        return warning(subject, what, f"sudo chown root {rights.path}")
    if rights.mode & stat.S_IWOTH and not rights.mode & stat.S_ISVTX:
        what = "everybody may put another configuration into it"
        return error(subject, what, f"sudo chmod o-w {rights.path}")
    if rights.mode & stat.S_IWGRP and rights.gid not in (_ROOT, household.gid):
        what = f"the group {_group(rights.gid)} may put another configuration into it"
        return warning(subject, what, f"sudo chmod g-w {rights.path}")
    return ok(subject, "only root and certwarden may change it")


# ── secrets ───────────────────────────────────────────────────────────────────────────────────────


def look_at_secrets(patient: Patient) -> Iterable[Finding]:
    """Are they readable by certwarden, and by nobody else?"""
    house = household(patient.config)
    for path in patient.config.secret_files:
        if path in patient.warden.handed_over:
            yield ok(str(path), "root alone may read it, and systemd hands it to the service")
            continue
        try:
            rights = _rights(path)
        except PermissionError:
            yield skipped(str(path), "its directory is closed to us", "run it with sudo")
        except FileNotFoundError:
            yield ok(str(path), "it is not there yet, and made by the command that needs it")
        else:
            yield judge_secret(
                rights, house, is_readable=os.access(path, os.R_OK, effective_ids=True)
            )


def judge_secret(rights: Rights, household: Household, *, is_readable: bool) -> Finding:
    """`is_readable`: by certwarden's own user. Others' rights are refused by the configuration."""
    subject = str(rights.path)
    group = household.group
    modes = f"sudo chown root:{group} {rights.path} && sudo chmod 0640 {rights.path}"
    if not is_readable:
        what = f"certwarden's user {household.user} cannot read it: it is {rights.text}"
        credential = "or hand it over by LoadCredential= in the unit"
        return warning(subject, what, f"{modes}; {credential}")
    if rights.uid not in (_ROOT, household.uid):
        what = f"it belongs to {_user(rights.uid)}, who may read and change it"
        return warning(subject, what, modes)
    if rights.mode & stat.S_IRWXG and rights.gid not in (_ROOT, household.gid):
        return warning(subject, f"the group {_group(rights.gid)} may use it", modes)
    return ok(subject, f"only root and certwarden may read it: it is {rights.text}")


def look_at_passphrases(patient: Patient) -> Iterable[Finding]:
    """Do they really lie apart from what they protect, links and mounts followed?"""
    config = patient.config
    state = config.state_directory.resolve()
    apart = []
    if config.authority is not None:
        apart.append(("the CA's passphrase", config.authority.passphrase_file))
    if config.backup is not None:
        apart.append(("the backup's passphrase", config.backup.passphrase_file))
        apart.append(("the backup", config.backup.directory))
    if not apart:
        return [skipped("", "there is neither a private CA nor a backup")]
    return [judge_place(what, path, path.resolve(), state) for what, path in apart]


def judge_place(what: str, path: Path, resolved: Path, state: Path) -> Finding:
    """`resolved` is where the path leads to."""
    if state in (resolved, *resolved.parents):
        return error(
            str(path),
            f"{what} lies in the state directory {state}: who gets a copy of that has both",
            f"move it out of {state}, and correct its path in the configuration",
        )
    return ok(str(path), f"{what} lies apart from the state directory")


# ── the state directory ───────────────────────────────────────────────────────────────────────────


def look_at_state(patient: Patient) -> Iterable[Finding]:
    """May nobody but certwarden read the keys that it keeps, and may targets pass through?"""
    config = patient.config
    state = config.state_directory
    if not state.is_dir():
        return [skipped(str(state), "it is not there yet: nothing was obtained so far")]
    house = household(config)
    try:
        outer = [_rights(each) for each in (state, state / "live") if each.is_dir()]
        inner = list(islice(_private(state), MOST_ENTRIES))
    except PermissionError as refused:
        why = f"{refused.filename} is closed to us"
        return [skipped(str(state), why, "run it with sudo")]
    faults = list(judge_state(outer, inner, house))
    return faults or [ok(str(state), "only certwarden may read the keys in it")]


def judge_state(
    outer: Sequence[Rights], inner: Sequence[Rights], household: Household
) -> Iterator[Finding]:
    """What is wrong: `outer` are STATE and STATE/live (0711), `inner` all that is private."""
    for rights in outer:
        wide = rights.mode & ~STATE_MODE
        if wide & (stat.S_IWGRP | stat.S_IWOTH):
            what = f"others may put files into it: it is {rights.text}, and must be 0711"
            yield error(str(rights.path), what, f"sudo chmod 0711 {rights.path}")
        elif rights.mode & STATE_MODE != STATE_MODE:
            what = f"targets cannot pass through it: it is {rights.text}, and must be 0711"
            yield error(str(rights.path), what, f"sudo chmod 0711 {rights.path}")
    owner = household.user
    yield from _told(
        [each for each in inner if each.mode & 0o077], "is open to others", "chmod go="
    )
    strange = [each for each in inner if each.uid != household.uid]
    yield from _told(strange, f"does not belong to {owner}", f"chown {owner}")


def _told(faulty: Sequence[Rights], what: str, command: str) -> Iterator[Finding]:
    """The first few; the last of them says how many more there are."""
    more = len(faulty) - MOST_TOLD
    for number, rights in enumerate(faulty[:MOST_TOLD], 1):
        and_more = f", as are {more} more" if more > 0 and number == MOST_TOLD else ""
        yield error(
            str(rights.path),
            f"it {what}: it is {rights.text}{and_more}",
            f"sudo {command} {rights.path}",
        )


def _private(state: Path) -> Iterator[Rights]:
    """The database, and the private directories with everything in them; links are left alone."""
    for database in state.glob("certwarden.db*"):
        yield from _present(database)
    for name in _PRIVATE:
        for directory, _, files in os.walk(state / name, onerror=_raise_unless_gone):
            for path in (Path(directory), *(Path(directory) / file for file in files)):
                yield from _present(path)


def _present(path: Path) -> Iterator[Rights]:
    """Its rights, unless it is a link or has just been removed by a pass."""
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISLNK(found.st_mode):
            yield Rights(path, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def _raise_unless_gone(failure: OSError) -> None:
    if not isinstance(failure, FileNotFoundError):
        raise failure


# ── common ────────────────────────────────────────────────────────────────────────────────────────


def _rights(path: Path) -> Rights:
    found = path.stat()
    return Rights(path, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def household(config: Config) -> Household:
    """The state directory's owner; before there is one, whoever asks."""
    try:
        uid = config.state_directory.stat().st_uid
    except OSError:
        uid = os.geteuid()
    try:
        return Household(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        return Household(uid, None)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


CHECKS = {
    "configuration": look_at_config,
    "secrets": look_at_secrets,
    "passphrases": look_at_passphrases,
    "state": look_at_state,
}
