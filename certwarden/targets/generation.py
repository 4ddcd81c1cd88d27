"""What the files of a generation hold, and what is read back from them.

Knows neither links nor who may read a file, and judges no dates: there is no clock here.
"""

from functools import lru_cache
from pathlib import Path

from certwarden import files
from certwarden.frozen import frozen
from certwarden.model import ClientTrust, Crl, GenerationFile, Pair, Secret
from certwarden.pki.certificate import MAX_CHAIN_BYTES, read_pair
from certwarden.pki.crl import MAX_CRL_BYTES, read_crl, revoked_json

# One private CA has one list at a time, at all its targets; a second one while it changes.
_LISTS_REMEMBERED = 2
_END_OF_CHAIN = b"-----END CERTIFICATE-----\n"


@frozen
class Material:
    """What a generation is made of; `trust` where clients are asked for certificates."""

    pair: Pair
    trust: ClientTrust | None = None


def data_of(material: Material) -> dict[GenerationFile, bytes]:
    """What each file holds that can be made of the material."""
    pair, trust = material.pair, material.trust
    fullchain, key = pair.fullchain_pem, pair.key_pem.reveal()
    data = {
        GenerationFile.PRIVKEY: key,
        GenerationFile.FULLCHAIN: fullchain,
        GenerationFile.CERT: pair.chain_pem[0],
        GenerationFile.CHAIN: b"".join(pair.chain_pem[1:]),
        GenerationFile.COMBINED: fullchain + key,
    }
    if trust is not None:
        data[GenerationFile.CLIENT_CA] = trust.root_pem
        data[GenerationFile.CLIENT_CRL] = trust.crl.pem
        data[GenerationFile.REVOKED] = _revoked_json(trust.crl)
    return data


def load_pair(generation: Path) -> Pair:
    """The pair in that directory, whichever files it has; raises OSError and MaterialError."""
    try:
        key = files.read_file(generation / GenerationFile.PRIVKEY, MAX_CHAIN_BYTES)
        chain = files.read_file(generation / GenerationFile.FULLCHAIN, MAX_CHAIN_BYTES)
    except FileNotFoundError:
        combined = files.read_file(generation / GenerationFile.COMBINED, 2 * MAX_CHAIN_BYTES)
        certificates, end, key = combined.rpartition(_END_OF_CHAIN)
        chain = certificates + end
    return read_pair(Secret(key), chain)


def load_trust(generation: Path) -> ClientTrust:
    """The CA and its list in that directory; raises OSError and MaterialError."""
    root_pem = files.read_file(generation / GenerationFile.CLIENT_CA, MAX_CHAIN_BYTES)
    return ClientTrust(root_pem, read_crl(load_list(generation), root_pem))


def load_list(generation: Path) -> bytes:
    """The list in that directory as it stands there; raises OSError."""
    return files.read_file(generation / GenerationFile.CLIENT_CRL, MAX_CRL_BYTES)


@lru_cache(maxsize=_LISTS_REMEMBERED)
def _revoked_json(crl: Crl) -> bytes:
    """Made once, and compared with what stands at each target in each pass."""
    return revoked_json(crl)
