"""CAs made by other means: by easy-rsa, and by `openssl ca`, as people have them.

Both need their program: `easyrsa` is where Debian puts it, and `openssl` on the PATH.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

EASYRSA = Path("/usr/share/easy-rsa/easyrsa")

_OPENSSL_CNF = """\
[ca]
default_ca = home
[home]
dir = .
database = $dir/index.txt
new_certs_dir = $dir/newcerts
certificate = $dir/cacert.pem
private_key = $dir/private/cakey.pem
serial = $dir/serial
crlnumber = $dir/crlnumber
default_md = sha256
default_days = 365
default_crl_days = 30
policy = any
x509_extensions = client
crl_extensions = list
unique_subject = no
[any]
commonName = supplied
emailAddress = optional
[req]
distinguished_name = name
prompt = no
[name]
CN = set by -subj
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[client]
basicConstraints = CA:FALSE
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[list]
authorityKeyIdentifier = keyid
"""


class EasyRsa:
    """An easy-rsa 3 directory; with a passphrase its key is encrypted."""

    def __init__(self, directory: Path, passphrase: str | None = None) -> None:
        self.pki = directory / "pki"
        directory.mkdir()
        self._environ = {
            **os.environ,
            "EASYRSA_BATCH": "1",
            "EASYRSA_PKI": str(self.pki),
            "EASYRSA_PASSIN": f"pass:{passphrase}",
            "EASYRSA_PASSOUT": f"pass:{passphrase}",
        }
        self.run("init-pki")
        self.run("--req-cn=Home CA", "build-ca", *([] if passphrase else ["nopass"]))

    def run(self, *arguments: str) -> None:
        _run([str(EASYRSA), *arguments], self.pki.parent, self._environ)

    def client(self, name: str) -> Path:
        """Issues to a client; the certificate's file."""
        self.run("build-client-full", name, "nopass")
        return self.pki / "issued" / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.pki / "private" / f"{name}.key"


class OpensslCa:
    """A directory of `openssl ca`; `key` is what `openssl genpkey` or `req` is told of it."""

    def __init__(self, directory: Path, *, root: str = "root") -> None:
        self.directory = directory
        (directory / "newcerts").mkdir(parents=True)
        (directory / "private").mkdir()
        (directory / "index.txt").write_text("")
        (directory / "serial").write_text("1000\n")
        (directory / "crlnumber").write_text("2A\n")
        (directory / "openssl.cnf").write_text(_OPENSSL_CNF)
        self.run(
            *("req", "-x509", "-config", "openssl.cnf", "-extensions", root, "-days", "3650"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=Workshop CA", "-keyout", "private/cakey.pem", "-out", "cacert.pem"),
        )

    def run(self, *arguments: str) -> None:
        _run(["openssl", *arguments], self.directory)

    def client(self, subject: str, name: str) -> Path:
        """Issues to a client; the certificate's file."""
        self.run(
            *("req", "-new", "-config", "openssl.cnf", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", subject, "-keyout", f"private/{name}.key", "-out", f"{name}.csr"),
        )
        certificate = self.directory / f"{name}.pem"
        self.run(
            "ca", "-batch", "-config", "openssl.cnf", "-in", f"{name}.csr", "-out", certificate.name
        )
        return certificate

    def revoke(self, certificate: Path, *reason: str) -> None:
        self.run("ca", "-config", "openssl.cnf", "-revoke", certificate.name, *reason)

    def sign_list(self) -> None:
        self.run("ca", "-config", "openssl.cnf", "-gencrl", "-out", "crl.pem")


def _run(argv: Sequence[str], directory: Path, environ: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        argv, cwd=directory, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
