"""The conversation of `certwarden setup`: what is asked, in which words, and what is proposed.

Only what the command line has not said is asked. Nothing is changed here; whoever leaves at a
question has changed nothing.
"""

import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from certwarden.cli.terminal import ask, ask_new_passphrase, ask_passphrase, confirm, say
from certwarden.config import syntax
from certwarden.config.syntax import UnfitError
from certwarden.errors import Error, UsageError
from certwarden.model import Secret
from certwarden.setup.answers import (
    TERMS,
    Answers,
    FirstClient,
    Place,
    backup_place,
    proposed_domains,
)
from certwarden.setup.find import Container, Machine, NodeRed

TryOut = Callable[[Secret], None]
_T = TypeVar("_T")
_WIDTH = 79
_AT_THE_PROMPT = (
    ("write it to [cloudflare] api_token_file", "paste it here"),
    (
        "write the token alone to [cloudflare] api_token_file, on one line and without quotes",
        "paste the token alone, without its name and without quotes",
    ),
)
_TRIES = 5
_FORMS = {
    "iphone": ("mobileconfig", "an iPhone or iPad"),
    "android": ("p12-legacy", "an Android phone"),
    "computer": ("p12", "a computer: Windows, macOS or Linux"),
}

WELCOME = """\
This sets certwarden up on this machine: a certificate for your domain, in use at Node-RED, and
renewed by itself from then on. First some questions; then you see everything that would change,
and nothing is changed before you agree. Ctrl-C leaves at any time."""
ABOUT_DOMAINS = """\
Which name is the certificate for? It must be yours, with its DNS at Cloudflare. Nothing of it has
to be reachable from outside. Beside the name itself you get a wildcard for all names directly
below it: example.org and *.example.org."""
ABOUT_TERMS = """\
Certificates come from {ca}, under its terms of service:
{terms}"""
HOW_TO_PROVE = """\
That the domain is yours is shown by a TXT record in it (the DNS-01 challenge), for which certwarden
needs an API token. Make one at https://dash.cloudflare.com/profile/api-tokens: Create Token, then
Create Custom Token, with these permissions and no others:
  Zone - Zone - Read
  Zone - DNS - Edit
  Zone Resources: Include - Specific zone - {zone}
A Global API Key is something else, and too powerful. The token is kept in a file that only root
and certwarden can read, and is never shown again."""
ABOUT_CLIENTS = """\
From outside, a password is all that keeps strangers away from Node-RED. Instead, it can ask every
visitor for a certificate that you have made for that device, and turn away everybody else. For
that, certwarden keeps a private CA. You install one file on each phone and computer; a lost phone
is locked out by one command. From then on nobody gets in without such a file, nor do you."""
ABOUT_OPEN_EDITOR = """\
As it is now, Node-RED's editor asks for no password either: whoever reaches it may change your
flows. Let in only devices with a certificate, or set a password afterwards: `node-red admin
hash-pw` makes the hash that adminAuth in settings.js takes."""
ABOUT_BACKUP = """\
The private CA cannot be made again: without it every device needs a new certificate. certwarden
can put an encrypted backup on another disk after each change, such as a USB stick that stays in."""
ABOUT_NOTIFY = """\
certwarden can tell you when something goes wrong: by e-mail, Telegram, ntfy, Home Assistant and
many others, each by a URL of Apprise (https://github.com/caronc/apprise/wiki), such as
ntfy://ntfy.sh/a-topic-of-yours. The URLs may hold passwords; they are not shown."""


def ask_names(answers: Answers) -> Answers:
    """The names of the certificate, and that the CA's terms are agreed to."""
    return _ask_agreement(_ask_domains(answers))


def ask_token(answers: Answers, try_out: TryOut) -> Answers:
    """A token that has been tried; one that is there already is taken if it works."""
    zone = answers.domains[0].removeprefix("*.") if answers.domains else "your domain"
    paragraph(HOW_TO_PROVE.format(zone=zone))
    for _ in range(_TRIES):
        token = ask_passphrase("API token (not shown)")
        say("Trying it: a TXT record is made and removed again …")
        try:
            try_out(token)
        except Error as error:
            say(f"It does not work: {error.what}.")
            if error.hint:
                say(f"What to do: {_at_the_prompt(error.hint)}.")
        else:
            say("It works.")
            return replace(answers, token=token)
    raise UsageError("no token worked", "make a new one, and run the command again")


def ask_place(answers: Answers, machine: Machine) -> Answers:
    """Where the certificate is put to use."""
    if answers.place is not None:
        return answers
    if machine.node_reds:
        return _ask_node_red(answers, machine.node_reds)
    if machine.containers:
        return _in_container(answers, machine.containers[0])
    if machine.home_assistant:
        return _at_home_assistant(answers, machine.home_assistant)
    paragraph(
        "No Node-RED was found on this machine. The certificate can be kept as files, for any "
        "program that reads key and certificate from files."
    )
    is_wanted = confirm("Keep it as files", default=True)
    return replace(answers, place=Place.FILES if is_wanted else Place.NONE)


def ask_clients(answers: Answers, *, is_open: bool) -> Answers:
    """Whether strangers are kept out by certificates, and the first device that is let in.

    `is_open`: nothing keeps them out of Node-RED's editor now.
    """
    if answers.place is not Place.NODE_RED:
        return answers
    if not answers.client_auth:
        paragraph(ABOUT_CLIENTS)
        if is_open:
            paragraph(ABOUT_OPEN_EDITOR)
        answers = replace(
            answers, client_auth=confirm("Let in only devices with a certificate", default=False)
        )
    if answers.client_auth and answers.client is None:
        paragraph(
            "A first device, so that you get in yourself. Its name is seen in lists and by your "
            "flows: anna-phone, for example."
        )
        name = _until("Name of the device", syntax.name)
        say("What it is:")
        for word, (_, what) in _FORMS.items():
            say(f"  {word:<9} {what}")
        kind = _until("Which", _form, default="computer")
        answers = replace(answers, client=FirstClient(name, kind))
    return answers


def ask_extras(answers: Answers) -> Answers:
    """Backups and messages, which may be left out."""
    if answers.client_auth and answers.backup_directory is None:
        paragraph(ABOUT_BACKUP)
        directory = _until("Directory on the other disk (empty: none)", _directory, default="")
        if directory is not None:
            say("Without its passphrase nobody can open a backup, nor can you. Keep it elsewhere.")
            passphrase = ask_new_passphrase("Passphrase of the backups")
            answers = replace(answers, backup_directory=directory, backup_passphrase=passphrase)
    if answers.notify_urls is None:
        paragraph(ABOUT_NOTIFY)
        answers = replace(answers, notify_urls=_ask_urls())
    return answers


def paragraph(text: str) -> None:
    """Shows it, after a line left empty; lines that are indented stay as they are."""
    say("")
    for block in _blocks(text):
        say(block if block.startswith(" ") else _filled(block))


def _filled(block: str) -> str:
    return textwrap.fill(block, _WIDTH, break_on_hyphens=False, break_long_words=False)


def _blocks(text: str) -> list[str]:
    """The text's flowing parts, each in one piece, and its indented lines and lone URLs apart."""
    blocks: list[str] = []
    is_open = False
    for line in text.splitlines():
        is_fixed = line.startswith((" ", "https://"))
        if is_open and not is_fixed:
            blocks[-1] += f" {line}"
        else:
            blocks.append(line)
        is_open = not is_fixed
    return blocks


# ── single questions ──────────────────────────────────────────────────────────────────────────────


def _ask_domains(answers: Answers) -> Answers:
    if answers.domains:
        return answers
    paragraph(ABOUT_DOMAINS)
    proposed = _until("Domain", proposed_domains)
    typed = _until("Names in the certificate", _domains, default=" ".join(proposed))
    return replace(answers, domains=typed)


def _ask_agreement(answers: Answers) -> Answers:
    if answers.is_agreed:
        return answers
    is_known = answers.directory in TERMS
    ca = "Let's Encrypt" if is_known else answers.directory
    paragraph(ABOUT_TERMS.format(ca=ca, terms=TERMS.get(answers.directory, "  see its own pages")))
    if not confirm("Do you agree to them", default=False):
        raise UsageError(
            "without agreeing to the terms of service there is no certificate",
            "nothing was changed; run the command again when you have made up your mind",
        )
    return replace(answers, is_agreed=True)


def _ask_node_red(answers: Answers, found: tuple[NodeRed, ...]) -> Answers:
    say("")
    say("Node-RED on this machine:")
    for number, each in enumerate(found, 1):
        state = "running" if each.is_active else "not running"
        say(f"  {number}  {each.name}, {state}, user {each.user}, {each.settings}")
    chosen = found[0]
    if len(found) > 1:
        chosen = found[_until("Which one", lambda text: _number(text, len(found))) - 1]
    elif not confirm("Shall it serve the certificate", default=True):
        return replace(answers, place=Place.NONE)
    return replace(answers, place=Place.NODE_RED, node_red=chosen)


def _in_container(answers: Answers, container: Container) -> Answers:
    paragraph(
        f"Node-RED runs in a container, {container.name} ({container.image}). certwarden changes "
        "no containers: it keeps the certificate as files, and says at the end what to add to "
        "the container."
    )
    is_wanted = confirm("Keep it as files for the container", default=True)
    if not is_wanted:
        return replace(answers, place=Place.NONE)
    return replace(answers, place=Place.FILES, container=container)


def _at_home_assistant(answers: Answers, directory: Path) -> Answers:
    key, certificate = directory / "privkey.pem", directory / "fullchain.pem"
    paragraph(
        f"This is Home Assistant. Its add-ons read certificates from {directory}; the certificate "
        f"is put there as {certificate.name}, the key as {key.name}. In the add-on Node-RED they "
        "are named in its options (ssl: true)."
    )
    if not confirm(f"Put them into {directory}", default=True):
        return replace(answers, place=Place.NONE)
    return replace(answers, place=Place.FILES, key_path=key, certificate_path=certificate)


def _ask_urls() -> Secret | None:
    """URLs, one after the other, until nothing is typed."""
    urls: list[bytes] = []
    while True:
        try:
            url = ask_passphrase("URL (not shown; empty: no more)").reveal().strip()
        except UsageError:
            return Secret(b"\n".join(urls)) if urls else None
        if b"://" in url:
            urls.append(url)
        else:
            say("A URL has its scheme and :// in it.")


def _until(question: str, read: Callable[[str], _T], default: str | None = None) -> _T:
    """Asks until what is typed can be read."""
    for _ in range(_TRIES):
        typed = ask(question, default or "")
        if not typed and default is None:
            say("Type something, or Ctrl-C to leave.")
            continue
        try:
            return read(typed)
        except UnfitError as unfit:
            say(f"{unfit}.")
    raise UsageError("no answer could be used", "run the command again")


def _at_the_prompt(hint: str) -> str:
    """A hint about the token's file, for a person who is asked for the token."""
    for file, prompt in _AT_THE_PROMPT:
        hint = hint.replace(file, prompt)
    return hint


def _domains(typed: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(syntax.domain(word) for word in typed.replace(",", " ").split()))


def _form(typed: str) -> str:
    if typed not in _FORMS:
        raise UnfitError(f"one of {', '.join(_FORMS)}, please")
    return _FORMS[typed][0]


def _number(typed: str, most: int) -> int:
    if not typed.isdecimal() or not 1 <= int(typed) <= most:
        raise UnfitError(f"a number from 1 to {most}, please")
    return int(typed)


def _directory(typed: str) -> Path | None:
    if not typed:
        return None
    try:
        return backup_place(Path(typed))
    except UsageError as error:
        raise UnfitError(error.what) from None
