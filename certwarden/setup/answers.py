"""What a person says about how it shall be, and what is still to be said.

Owns the questions' rules: what may be left out, and what goes with what. Asks nobody; a
conversation or a command line fills it in.
"""

from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from pathlib import Path

from certwarden.config import source, syntax
from certwarden.config.syntax import UnfitError
from certwarden.errors import UsageError
from certwarden.frozen import frozen
from certwarden.model import Secret
from certwarden.setup.find import Container, NodeRed

LETSENCRYPT = "letsencrypt"
TERMS = {
    "letsencrypt": "https://letsencrypt.org/repository/",
    "letsencrypt-staging": "https://letsencrypt.org/repository/",
}
GROUP = "tls-nodered"
LOOPBACK = "127.0.0.1"
PORT = 1880  # Node-RED's own


class Place(StrEnum):
    """Where the certificate is put to use."""

    NODE_RED = "node-red"
    FILES = "files"
    NONE = "none"


@frozen
class FirstClient:
    """A client certificate for the first device; `out` None is a file of its name, here."""

    name: str
    form: str = "p12"
    out: Path | None = None
    password_file: Path | None = None


@frozen
class Answers:
    """All that was said so far. Secrets are in memory only until they are put into their files.

    None is what was not said yet; what may be left out has a default. `token` None is also that
    the one that is there already stays.
    """

    # ── what becomes the configuration ──
    domains: tuple[str, ...] = ()
    is_agreed: bool = False
    directory: str = LETSENCRYPT
    staging_directory: str | None = None
    ca_bundle: bytes | None = field(default=None, repr=False)  # what is in the file
    api_url: str | None = None
    nameservers: tuple[str, ...] = ()
    place: Place | None = None
    host: str = LOOPBACK  # where Node-RED is probed
    port: int = PORT
    group: str = GROUP
    key_path: Path | None = None
    certificate_path: Path | None = None
    client_auth: bool = False
    backup_directory: Path | None = None
    # ── secrets ──
    token: Secret | None = None
    backup_passphrase: Secret | None = None
    notify_urls: Secret | None = None
    # ── what is done beside it ──
    node_red: NodeRed | None = None
    container: Container | None = None
    client: FirstClient | None = None
    recovery_code_file: Path | None = None
    is_editing: bool = True  # settings.js
    is_service: bool = True
    has_token: bool = False  # there is one, from an earlier time
    needs_urls: bool = False  # of the notify_urls: a configuration names their file

    @property
    def needs_client_auth(self) -> bool:
        """Whether Node-RED is to ask its visitors for certificates."""
        return self.client_auth and self.place is Place.NODE_RED


def missing(answers: Answers, *, is_configured: bool, is_founding: bool = False) -> tuple[str, ...]:
    """The options that have still to be given where nobody can be asked.

    `is_configured`: there is a configuration; `is_founding`: a private CA is made.
    """
    return tuple(_missing(answers, is_configured=is_configured, is_founding=is_founding))


def _missing(answers: Answers, *, is_configured: bool, is_founding: bool) -> Iterator[str]:
    if answers.token is None and not answers.has_token:
        yield "--token-file FILE (Cloudflare's API token)"
    if not is_configured:
        yield from _missing_in_configuration(answers)
    if answers.needs_urls and answers.notify_urls is None:
        yield "--notify-urls-file FILE (the backup's configuration names one)"
    if is_founding and answers.recovery_code_file is None:
        yield "--recovery-code-file FILE (where the CA's recovery code is written)"
    if answers.client and answers.client.password_file is None:
        yield "--client-password-file FILE (where the client's password is written)"


def _missing_in_configuration(answers: Answers) -> Iterator[str]:
    if not answers.domains:
        yield "--domain NAME (as often as there are names)"
    if not answers.is_agreed:
        terms = TERMS.get(answers.directory, f"those of {answers.directory}")
        yield f"--accept-terms (the CA's terms of service: {terms})"
    if answers.place is None:
        yield "--target node-red, files or none (no single Node-RED was found)"
    if answers.place is Place.NODE_RED and answers.node_red is None:
        yield "--node-red-unit UNIT or --settings FILE (which Node-RED)"
    if answers.backup_directory and answers.backup_passphrase is None:
        yield "--backup-passphrase-file FILE (goes with --backup-directory)"


def check(answers: Answers) -> None:
    """Raises UsageError where an answer cannot be, or does not go with another one."""
    try:
        for name in answers.domains:
            syntax.domain(name)
        for server in answers.nameservers:
            syntax.nameserver(server)
        for url in (answers.api_url, _url(answers.directory), _url(answers.staging_directory)):
            if url:
                syntax.url(url)
        if answers.client:
            syntax.name(answers.client.name)
        syntax.group(answers.group)
    except UnfitError as unfit:
        raise UsageError(str(unfit), "see `certwarden setup --help`") from None
    for what, hint in (*_faulty_files(answers), *_contradictions(answers)):
        raise UsageError(what, hint)


def _faulty_files(answers: Answers) -> Iterator[tuple[str, str]]:
    """What stands in a file otherwise than the configuration would have it, with what to do."""
    if answers.ca_bundle is not None and not source.has_certificate(answers.ca_bundle):
        yield (
            "the file of --ca-bundle has no certificate in PEM in it",
            "name the file that vouches for that CA's own TLS",
        )
    for what, secret, shape in (
        ("the API token", answers.token, source.one_word),
        ("a passphrase", answers.backup_passphrase, source.one_line),
        ("Apprise's URLs", answers.notify_urls, source.urls),
    ):
        if secret is not None and (fault := shape(secret.reveal())):
            yield f"the file must hold {what} {fault}", "correct it, or type it when asked"


def _contradictions(answers: Answers) -> Iterator[tuple[str, str]]:
    if answers.client and not answers.client_auth:
        yield (
            f"a certificate for {answers.client.name} is of no use where nobody asks for one",
            "add --client-auth, or leave --client out",
        )
    if answers.client_auth and answers.place not in (None, Place.NODE_RED):
        yield (
            "client certificates need a Node-RED of this machine that asks for them",
            "set it up without; a proxy can ask as well: see `certwarden snippet nginx`",
        )
    if (answers.key_path is None) != (answers.certificate_path is None):
        yield "--key and --certificate go together", "give both, or neither"


def proposed_domains(domain: str) -> tuple[str, ...]:
    """The apex and everything directly below it; a name with a star as it is.

    Raises UnfitError for what is no name.
    """
    name = syntax.domain(domain)
    return (name,) if name.startswith("*.") else (name, f"*.{name}")


def backup_place(directory: Path) -> Path:
    """Where backups go for a directory that was named: one of certwarden's own in it.

    Raises UsageError where there is no such directory.
    """
    if directory.name == "certwarden" and directory.is_absolute() and directory.parent.is_dir():
        return directory
    if not directory.is_absolute() or not directory.is_dir():
        raise UsageError(
            f"there is no directory {directory}", "mount the disk, and give its whole path"
        )
    return directory / "certwarden"


def _url(directory: str | None) -> str | None:
    """A directory that is not one of those that have a name."""
    return None if directory is None or directory in TERMS else directory
