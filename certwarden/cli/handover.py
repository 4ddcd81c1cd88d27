"""How a client certificate gets from us to its person: in which form, in which file, under which
password.

All that can be refused is refused before anything is issued: the file is ours, and the password is
settled. Issues nothing itself.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from certwarden.cli.devices import certificate_steps, device_steps
from certwarden.cli.outputs import Output, Outputs
from certwarden.cli.shapes import date_text, show_line
from certwarden.cli.terminal import has_terminal, read_password_file, show_once
from certwarden.errors import UsageError
from certwarden.lifecycle.issue import IssuedClient
from certwarden.model import Secret
from certwarden.pki.bundles import BundleFormat, build_bundle, check_password
from certwarden.pki.protection import generate_password


@dataclass(frozen=True)
class Wrapping:
    """Key and certificate in one file; `is_shown` where nobody knows the password yet."""

    form: BundleFormat
    password: Secret
    is_shown: bool

    def wrap(self, issued: IssuedClient, authority_name: str) -> bytes:
        """The file's bytes."""
        assert issued.key_pem is not None  # noqa: S101 - it was made with the certificate
        name = issued.certificate.name
        return build_bundle(
            self.form,
            issued.key_pem,
            issued.pem,
            self.password,
            name=name,
            authority_name=authority_name,
        )


@dataclass(frozen=True)
class Handover:
    """A file that waits for a client certificate; without `wrapping` for nothing else."""

    path: Path
    output: Output
    wrapping: Wrapping | None

    def write(self, issued: IssuedClient, authority_name: str) -> None:
        """Puts it into the file."""
        if self.wrapping is None:
            self.output.write(issued.pem)
        else:
            self.output.write(self.wrapping.wrap(issued, authority_name))

    def tell(self, issued: IssuedClient) -> None:
        """Says where it is and what to do with it, and shows the password if there is need."""
        certificate = issued.certificate
        assert certificate.not_after is not None  # noqa: S101 - we have just signed it
        until = date_text(certificate.not_after)
        show_line(f"{certificate.name}: {self.path}, serial {certificate.serial}, until {until}")
        if self.wrapping is None:
            show_line(certificate_steps(self.path))
            return
        if self.wrapping.is_shown:
            show_once(f"password of {self.path}", self.wrapping.password)
        show_line(device_steps(self.wrapping.form, self.path))


@dataclass(frozen=True)
class Batch:
    """The files of many clients, and the one for their passwords."""

    directory: Path
    form: BundleFormat
    outputs: Mapping[str, Output]  # by file name
    passwords: Output

    def write(self, issued: Sequence[IssuedClient], authority_name: str) -> None:
        """Puts each into its file, and all passwords into theirs: NAME TAB password."""
        lines = []
        for each in issued:
            name = each.certificate.name
            wrapping = Wrapping(self.form, generate_password(), is_shown=False)
            self.outputs[_file_name(name, self.form)].write(wrapping.wrap(each, authority_name))
            lines.append(b"%s\t%s\n" % (name.encode(), wrapping.password.reveal()))
        self.passwords.write(b"".join(lines))

    def tell(self) -> None:
        """Says where they are and what to do with them."""
        count, where = len(self.outputs), self.directory
        show_line(f"{count} certificates are in {where}, their passwords in {self.passwords.path}")
        show_line(device_steps(self.form, where / _file_name("NAME", self.form)))


def prepare(arguments: Namespace, outputs: Outputs) -> Handover:
    """Makes the file, and settles the password: read, or made and written down, or to be shown.

    Raises UsageError where a file is in the way, or where nobody would ever learn the password.
    """
    if arguments.csr is not None:
        _refuse_with_csr(arguments)
        path = arguments.out or Path(f"{arguments.name}.pem")
        return Handover(path, outputs.reserve(path), None)
    form = BundleFormat(arguments.format or BundleFormat.P12)
    path = arguments.out or Path(_file_name(arguments.name, form))
    wrapping = _wrapping(form, arguments.password_file, outputs)
    return Handover(path, outputs.reserve(path), wrapping)


def prepare_batch(arguments: Namespace, outputs: Outputs, names: Sequence[str]) -> Batch:
    """Makes all files; raises UsageError where one is in the way, or not said where they go."""
    for option, value in (("out", arguments.out), ("password-file", arguments.password_file)):
        if value is None:
            raise UsageError(
                f"with --from there must be --{option}",
                "certwarden client issue --from FILE --out DIRECTORY --password-file FILE",
            )
    form = BundleFormat(arguments.format or BundleFormat.P12)
    passwords = outputs.reserve(arguments.password_file)
    files = outputs.reserve_all(arguments.out, [_file_name(name, form) for name in names])
    return Batch(arguments.out, form, files, passwords)


def _file_name(name: str, form: BundleFormat) -> str:
    return f"{name}.{form.extension}"


def _wrapping(form: BundleFormat, file: Path | None, outputs: Outputs) -> Wrapping:
    if file is None:
        if not has_terminal():
            raise UsageError(
                "there is no terminal to show the password on, so nothing was issued",
                "say where it is to be written: --password-file FILE",
            )
        return Wrapping(form, generate_password(), is_shown=True)
    if file.exists():
        password = read_password_file(file)
        check_password(password)
        return Wrapping(form, password, is_shown=False)
    password = generate_password()
    outputs.reserve(file).write(password.reveal() + b"\n")
    return Wrapping(form, password, is_shown=False)


def _refuse_with_csr(arguments: Namespace) -> None:
    for option in ("format", "password_file"):
        if getattr(arguments, option) is not None:
            word = option.replace("_", "-")
            raise UsageError(
                "with --csr only a certificate is written, which needs no password",
                f"leave --{word} out",
            )
