"""OpenSSL's own opinion of a generation, before any program is led to it.

nginx, mosquitto, HAProxy and Node all load their files by OpenSSL, and some of them end, or let
everybody in, where they cannot. Says nothing of dates or of how strong a key should be.
"""

import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from certwarden.errors import TargetError, clean
from certwarden.model import GenerationFile


def check_loadable(generation: Path, files: Collection[GenerationFile]) -> None:
    """Loads these files of the generation's directory as a server would.

    Raises TargetError where OpenSSL refuses one of them, OSError where it cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # What stood at the fixed paths before may have a weak key, and is served all the same.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if GenerationFile.PRIVKEY in files:
        with _explained(GenerationFile.PRIVKEY):
            key = generation / GenerationFile.PRIVKEY
            context.load_cert_chain(generation / GenerationFile.FULLCHAIN, key, password=b"")
    if GenerationFile.COMBINED in files:
        with _explained(GenerationFile.COMBINED):
            context.load_cert_chain(generation / GenerationFile.COMBINED, password=b"")
    for file in (GenerationFile.CLIENT_CA, GenerationFile.CLIENT_CRL):
        if file in files:
            with _explained(file):
                context.load_verify_locations(generation / file)
    if GenerationFile.CLIENT_CRL in files:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


@contextmanager
def _explained(file: GenerationFile) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError as error:
        raise TargetError(
            f"OpenSSL cannot load the new {file}: {clean(error.reason or 'it does not say why')}",
            "what was in use stays; make a new one: `certwarden renew --force`",
        ) from None
