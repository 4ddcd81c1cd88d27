"""Signing requests of clients that make their own keys (PKCS#10, RFC 2986): hostile input.

A request says which key, and proves that its sender has it. Names and extensions that it asks for
are not looked at: the profile in `authority` decides.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certwarden.errors import MaterialError

MAX_CSR_BYTES = 16 * 1024
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096
RSA_EXPONENT = 65537


def read_csr(data: bytes) -> bytes:
    """The public key of a request in PEM or DER, as SubjectPublicKeyInfo in DER.

    Raises MaterialError for what is no request, for a key that is too weak or of another kind, and
    where the signature does not prove that the sender has the private key.
    """
    if len(data) > MAX_CSR_BYTES:
        raise MaterialError(
            f"the signing request is longer than {MAX_CSR_BYTES} bytes",
            "give the file that `openssl req -new` wrote",
        )
    try:
        is_pem = b"-----BEGIN" in data
        csr = x509.load_pem_x509_csr(data) if is_pem else x509.load_der_x509_csr(data)
        key = csr.public_key()
        algorithm = csr.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise MaterialError(
            "the signing request is not a readable PKCS#10 in PEM or DER",
            "make one: openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 …",
        ) from None
    # Before the signature is looked at: a huge key would take long.
    _check_key(key)
    if not isinstance(algorithm, SHA256 | SHA384 | SHA512):
        raise MaterialError(
            "the signing request is signed with a hash that is too weak, or of another kind",
            "sign it with SHA-256",
        )
    if not csr.is_signature_valid:
        raise MaterialError(
            "the signing request is not signed by the private key that it is for",
            "make it anew with that key",
        )
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_key(key: object) -> None:
    hint = "use a key on P-256 or P-384, or an RSA key of 2048 to 4096 bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            raise MaterialError(f"the signing request's key is on the curve {key.curve.name}", hint)
    elif isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise MaterialError(f"the signing request's RSA key has {key.key_size} bits", hint)
        if key.public_numbers().e != RSA_EXPONENT:
            raise MaterialError("the signing request's RSA key has an odd public exponent", hint)
    else:
        raise MaterialError("the signing request's key is neither RSA nor elliptic-curve", hint)
