"""From a request to its reply: the page, the certificate that its button fetches, and EST.

Decides what a request may ask for, and refuses what our own page would not send; signs nothing, and
keeps neither key nor password nor token longer than for the one reply.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import parse_qs

from certwarden.enrolment.est import PREFIX, RETRY_AFTER, Est, failure
from certwarden.enrolment.exchange import Reply, Request
from certwarden.enrolment.page import (
    CONTENT_SECURITY_POLICY,
    choose_language,
    render_page,
    render_problem,
)
from certwarden.enrolment.texts import Problem
from certwarden.errors import Busy, ClockError, Error, InvitationError, LockedError
from certwarden.lifecycle.issue import IssuedClient
from certwarden.model import Secret
from certwarden.pki.bundles import BundleFormat, build_bundle
from certwarden.pki.protection import is_generated_password

_HTML = "text/html; charset=utf-8"
_POLICY = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
_FORM = "application/x-www-form-urlencoded"
_FIELDS = frozenset(("token", "password", "format", "language"))
_MEDIA_TYPES = {
    BundleFormat.P12: "application/x-pkcs12",
    BundleFormat.P12_LEGACY: "application/x-pkcs12",
    BundleFormat.MOBILECONFIG: "application/x-apple-aspen-config",
    BundleFormat.PEM: "application/x-pem-file",
}


@dataclass(frozen=True)
class Doors:
    """How a certificate is had of the house; both raise InvitationError where there is none.

    `redeem` takes a token and, from who has a key, a signing request; `reenrol` takes the serial of
    the certificate that was shown, and a signing request. `report` hears of what was not the
    client's fault.
    """

    redeem: Callable[[Secret, bytes | None], IssuedClient]
    reenrol: Callable[[str, bytes], IssuedClient]
    report: Callable[[Error], None] = lambda _: None


class Front:
    """Answers requests, for a CA of that name and with that root."""

    def __init__(self, doors: Doors, *, authority_name: str, root_pem: bytes) -> None:
        self._doors = doors
        self._authority_name = authority_name
        self._est = Est(doors.redeem, doors.reenrol, root_pem=root_pem)

    def answer(self, request: Request) -> Reply:
        """The reply to any request at all; raises nothing of what `Doors` may."""
        is_est = request.path.startswith(PREFIX)
        try:
            return self._est.answer(request) if is_est else self._answer_person(request)
        except Error as error:
            self._doors.report(error)
            return failure(error) if is_est else _failure(error, _language(request))

    def _answer_person(self, request: Request) -> Reply:
        match request.path, request.method:
            case "/", "GET" | "HEAD":
                return self._page(request)
            case "/redeem", "POST":
                return self._redeem(request)
            case "/", _:
                return _problem(405, Problem.MALFORMED, _language(request), {"Allow": "GET, HEAD"})
            case "/redeem", _:
                return _problem(405, Problem.MALFORMED, _language(request), {"Allow": "POST"})
            case _:
                return _problem(404, Problem.NOT_FOUND, _language(request))

    def _page(self, request: Request) -> Reply:
        user_agent = request.headers.get("user-agent", "")
        page = render_page(_language(request), user_agent, self._authority_name)
        return Reply(200, _HTML, page, _POLICY)

    def _redeem(self, request: Request) -> Reply:
        wish = _wish(request)
        if wish is None:
            return _problem(400, Problem.MALFORMED, _language(request), is_refusal=True)
        try:
            issued = self._doors.redeem(wish.token, None)
        except InvitationError:
            return _problem(403, Problem.INVITATION, wish.language, is_refusal=True)
        assert issued.key_pem is not None  # noqa: S101 - there was no signing request
        name = issued.certificate.name
        bundle = build_bundle(
            wish.form,
            issued.key_pem,
            issued.pem,
            wish.password,
            name=name,
            authority_name=self._authority_name,
        )
        # A client's name is made of letters, digits, dots, dashes and underscores.
        disposition = f'attachment; filename="{name}.{wish.form.extension}"'
        return Reply(200, _MEDIA_TYPES[wish.form], bundle, {"Content-Disposition": disposition})


@dataclass(frozen=True)
class _Wish:
    """What the page's form asks for."""

    token: Secret
    password: Secret
    form: BundleFormat
    language: str


def _wish(request: Request) -> _Wish | None:
    """What the form says; None for anything that our page does not send.

    Whether the token has the form of one is not looked at here: such a reply is to be that to a
    wrong one.
    """
    media_type, _, _ = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != _FORM or _is_foreign(request):
        return None
    try:
        fields = parse_qs(
            request.body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(_FIELDS),
        )
        form = BundleFormat(fields["format"][0])
        password = Secret(fields["password"][0].encode())
        token = Secret(fields["token"][0].encode())
        asked = fields["language"][0]
    except (ValueError, KeyError):
        return None
    is_whole = fields.keys() == _FIELDS and all(len(values) == 1 for values in fields.values())
    if not is_whole or not is_generated_password(password):
        return None
    return _Wish(token, password, form, _language(request, asked))


def _is_foreign(request: Request) -> bool:
    """Whether the form is on a page of another site, as far as the browser tells.

    Of our own page, which sends no Referer, the Origin is "null".
    """
    headers = request.headers
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin", "null").lower()
    host = headers.get("host", "").lower()
    return site not in ("same-origin", "none") or origin not in ("null", f"https://{host}")


def _language(request: Request, asked: str = "") -> str:
    return choose_language(request.headers.get("accept-language", ""), asked)


def _failure(error: Error, language: str) -> Reply:
    """What a person is told where it is not the invitation's fault."""
    again = {"Retry-After": RETRY_AFTER}
    match error:
        case Busy():
            return _problem(503, Problem.BUSY, language, again)
        case LockedError():
            return _problem(503, Problem.LOCKED, language, again)
        case ClockError():
            return _problem(503, Problem.CLOCK, language, again)
        case _:
            return _problem(500, Problem.INTERNAL, language)


def _problem(
    status: int,
    problem: Problem,
    language: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    is_refusal: bool = False,
) -> Reply:
    """A small page of one sentence."""
    page = render_problem(language, problem)
    return Reply(status, _HTML, page, {**headers, **_POLICY}, is_refusal)
