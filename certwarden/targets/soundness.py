"""What is wrong with a target's current generation and its fixed paths, part by part.

The shelf says whether they are whole, and a deploy puts right what is not: here it is said in words
which part it is. Changes nothing, and knows nothing of dates or of which certificate is the newest.
"""

import grp
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from certwarden import files
from certwarden.errors import MaterialError, TargetError, clean
from certwarden.files import Content
from certwarden.model import GenerationFile, TargetSpec
from certwarden.pki.crl import MAX_CRL_BYTES
from certwarden.targets.fixed import FixedPaths
from certwarden.targets.generation import Material, data_of, load_pair, load_trust
from certwarden.targets.shelf import CERTIFICATE_MODE

_GENERATION = re.compile(r"generations/[0-9]{4,}", re.ASCII)
_WITH_KEY = {GenerationFile.PRIVKEY, GenerationFile.COMBINED}


def faults(spec: TargetSpec) -> tuple[str, ...]:
    """Each as a sentence; none where the shelf finds it whole. Raises nothing."""
    try:
        return tuple(_faults(spec))
    except (OSError, TargetError) as error:
        said = error.what if isinstance(error, TargetError) else clean(error.strerror or str(error))
        return (f"{spec.directory} cannot be looked at: {said}",)


def _faults(spec: TargetSpec) -> Iterator[str]:
    link = spec.directory / "current"
    try:
        destination = str(link.readlink())
    except FileNotFoundError:
        yield f"nothing is published in {spec.directory}: there is no `current`"
        return
    except OSError:
        yield f"{link} is not a link to a generation"
        return
    if not _GENERATION.fullmatch(destination):
        yield f"{link} leads to {clean(destination)}, which is no generation"
        return
    generation = spec.directory / destination
    if not generation.is_dir():
        yield f"{link} leads to {clean(destination)}, which is not there"
        return
    missing = [file for file in spec.files if not (generation / file).is_file()]
    if missing:
        yield f"{generation} lacks {', '.join(missing)}"
        return
    for file in spec.files:
        yield from _access_faults(spec, generation, file)
    try:
        pair = load_pair(generation)
        material = Material(pair, load_trust(generation) if spec.client_auth else None)
    except MaterialError as error:
        yield f"{generation}: {error.what}"
        return
    data = data_of(material)
    for file in spec.files:
        if files.read_file(generation / file, MAX_CRL_BYTES) != data[file]:
            yield f"{generation / file} is not in step with the other files there"
    yield from _fixed_faults(spec, generation.name, data)


def _access_faults(spec: TargetSpec, generation: Path, file: GenerationFile) -> Iterator[str]:
    path = generation / file
    found = path.lstat()
    wanted = spec.mode if file in _WITH_KEY else CERTIFICATE_MODE
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        yield f"{path} is not a plain file"
    elif mode != wanted:
        yield f"{path} has the mode {mode:04o}, and should have {wanted:04o}"
    if spec.group is None:
        return
    try:
        gid = grp.getgrnam(spec.group).gr_gid
    except KeyError:
        raise TargetError(f"there is no group {clean(spec.group)}") from None
    if found.st_gid != gid:
        yield f"{path} does not belong to the group {clean(spec.group)}"


def _fixed_faults(
    spec: TargetSpec, name: str, data: Mapping[GenerationFile, bytes]
) -> Iterator[str]:
    contents = {file: Content(each) for file, each in data.items()}
    if FixedPaths(spec).lead_to(name, contents):
        return
    alone = {
        spec.key_path: replace(spec, certificate_path=None),
        spec.certificate_path: replace(spec, key_path=None),
    }
    what = "is not a copy of what is published" if spec.copy else "does not lead through `current`"
    astray = [
        str(path)
        for path, each in alone.items()
        if path is not None and not FixedPaths(each).lead_to(name, contents)
    ]
    for path in astray or ["what `key` and `certificate` of the target name"]:
        yield f"{path} {what}"
