"""hot.js under a small https server, on each supported Node."""

from __future__ import annotations

import json
import re
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.waiting import wait_until

from . import material
from .material import Live, Pair
from .programs import (
    HOT,
    POLL,
    SERVER,
    Answer,
    Program,
    ask,
    connection,
    copy_modules,
    let_polls_pass,
    node,
    plain_http,
    request,
    running,
    serves,
    tls_context,
)

NODES = (18, 20, 22)
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

# Each breaks one file of a generation, as it happens in the field.
NO_CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
NO_LIST = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
Fault = dict[str, bytes | None]
BROKEN_PAIR: dict[str, Fault] = {
    "mismatch": {"privkey.pem": material.server().key_pem},
    "garbage key": {"privkey.pem": b"\x00garbage"},
    "garbage certificate": {"fullchain.pem": NO_CERTIFICATE},
    "absent key": {"privkey.pem": None},
    "absent certificate": {"fullchain.pem": None},
    "empty key": {"privkey.pem": b""},
    "empty certificate": {"fullchain.pem": b""},
}
BROKEN_CLIENT_AUTH: dict[str, Fault] = {
    "absent list": {"client-crl.pem": None},
    "empty list": {"client-crl.pem": b""},
    "blank list": {"client-crl.pem": b"\n"},
    "garbage list": {"client-crl.pem": NO_LIST},
    "list without end": {"client-crl.pem": b"-----BEGIN X509 CRL-----\nAAAA\n"},
    "absent CA": {"client-ca.pem": None},
    "empty CA": {"client-ca.pem": b""},
    "garbage CA": {"client-ca.pem": NO_CERTIFICATE},
    "absent serials": {"revoked.json": None},
    "half-written serials": {"revoked.json": b'{"crl_number": 5, "serials": ["0A'},
    "serials of another form": {"revoked.json": b'{"crl_number": 5, "serials": [10]}'},
    "null serials": {"revoked.json": b"null"},
}


@dataclass
class Served:
    program: Program
    ports: list[int]

    @property
    def port(self) -> int:
        return self.ports[0]

    def serves(self, pair: Pair, client: Path | None = None) -> None:
        """Waits until every server shows this leaf and answers."""
        for port in self.ports:
            serves(port, pair, client)

    def refuses_handshakes(self) -> None:
        for port in self.ports:
            answer = ask(port)
            assert answer.fingerprint is None
            assert not answer.let_in
            assert not plain_http(port).startswith(b"HTTP")


@contextmanager
def serving(
    place: Path,
    options: str,
    *,
    major: int = 22,
    count: int = 1,
    nobody: bool = False,
) -> Iterator[Served]:
    modules = copy_modules(place) if nobody else None
    hot, server = (modules / HOT.name, modules / SERVER.name) if modules else (HOT, SERVER)
    command: list[str | Path] = [node(major), server, hot, options, str(count)]
    with running(command, place, nobody=nobody) as program:
        for index in range(count):
            program.wait_for(f"server {index} listens on ")
        ports = [int(port) for port in re.findall(r"listens on (\d+)\.", program.log)]
        yield Served(program, ports)


def hot_options(live: Live, *, client_auth: bool = False) -> str:
    options: dict[str, object] = {"live": str(live.directory), "pollSeconds": POLL}
    if client_auth:
        options["clientAuth"] = True
    return json.dumps(options)


def broken(files: dict[str, bytes], fault: Fault) -> dict[str, bytes]:
    changed: Fault = {**files, **fault}
    return {name: content for name, content in changed.items() if content is not None}


def error_noted(live: Live) -> str:
    """The error in the status file, once the module has met it."""
    return str(wait_until(lambda: live.status().get("error"), "an error in the status file"))


def error_cleared(live: Live) -> bool:
    status = live.status()
    return bool(status) and status["error"] is None


# ── taking up ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("major", NODES)
def test_new_certificate_is_served_by_the_same_process(place: Path, live: Live, major: int) -> None:
    """A new generation is in use at every server, without a restart; what was open stays open."""
    old, new = material.server(), material.server()
    live.publish(live.files(old))
    with serving(place, hot_options(live), major=major, count=2) as served:
        served.serves(old)
        with connection(served.port) as open_before:
            assert request(open_before) == 200
            live.publish(live.files(new))
            served.serves(new)
            assert request(open_before) == 200
        assert not served.program.ended()


@pytest.mark.parametrize("major", NODES)
def test_status_file_says_what_is_loaded(place: Path, live: Live, major: int) -> None:
    """`certwarden status` can prove what is loaded; the file goes when the process does."""
    old, new = material.server(), material.server()
    live.publish(live.files(old))
    with serving(place, hot_options(live), major=major, count=2) as served:
        served.serves(old)
        wait_until(lambda: live.status().get("servers") == 2, "a status file")
        status = live.status()
        assert status["pid"] == served.program.process.pid
        assert status["generation"] == "0001"
        assert status["fingerprint_sha256"] == old.fingerprint
        not_after = old.certificate.not_valid_after_utc
        assert status["not_after"] == not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert status["client_auth"] is False
        assert status["crl_number"] is None
        assert status["error"] is None
        file = live.directory / "loaded" / f"{served.program.process.pid}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o644

        live.publish(live.files(new))
        wait_until(lambda: live.status()["fingerprint_sha256"] == new.fingerprint, "the new status")
        assert live.status()["generation"] == "0002"
    assert not file.exists()


def test_nothing_is_written_while_nothing_changes(place: Path, live: Live) -> None:
    """An idle Pi's card is not worn: no write and no log line without a change."""
    live.publish(live.files(material.server()))
    with serving(place, hot_options(live)) as served:
        wait_until(live.status, "a status file")
        (file,) = (live.directory / "loaded").glob("*.json")
        before, log = file.stat(), served.program.log
        for _ in range(5):
            assert ask(served.port).let_in
        let_polls_pass(5)
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert served.program.log == log


def test_evaluating_settings_writes_nothing(place: Path, live: Live) -> None:
    """Health checks evaluate settings.js too: only a listening server is worth a status file."""
    live.publish(live.files(material.server()))
    with serving(place, hot_options(live), count=0) as served:
        assert served.program.process.wait(30) == 0  # and the timer keeps no process alive
        assert served.program.log == ""
    assert live.status() == {}


def test_a_status_file_that_cannot_be_written_is_mentioned_once(place: Path, live: Live) -> None:
    """`loaded` not writable: one line in the log, and certificates are taken up all the same."""
    (live.directory / "loaded").rmdir()
    first, second = material.server(), material.server()
    live.publish(live.files(first))
    with serving(place, hot_options(live)) as served:
        served.serves(first)
        live.publish(live.files(second))
        served.serves(second)
        assert served.program.log.count("cannot say in") == 1


@pytest.mark.parametrize("major", NODES)
def test_server_that_listens_again_is_kept_up_to_date(place: Path, live: Live, major: int) -> None:
    """A server closed and opened again serves the newest material, and goes on as before."""
    pairs = [material.server() for _ in range(3)]
    live.publish(live.files(pairs[0]))
    with serving(place, hot_options(live), major=major) as served:
        served.serves(pairs[0])
        live.publish(live.files(pairs[1]))
        served.serves(pairs[1])
        with connection(served.port) as secure:
            secure.sendall(b"GET /relisten HTTP/1.1\r\nHost: x\r\n\r\n")
            assert secure.recv(65536) is not None
        served.program.wait_for("listening again")
        served.serves(pairs[1])
        live.publish(live.files(pairs[2]))
        served.serves(pairs[2])


# ── bad material ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", BROKEN_PAIR.values(), ids=BROKEN_PAIR)
def test_bad_material_leaves_the_last_good_in_use(place: Path, live: Live, fault: Fault) -> None:
    """A generation that is broken anywhere changes nothing; the next good one is taken up."""
    good, better = material.server(), material.server()
    live.publish(live.files(good))
    with serving(place, hot_options(live)) as served:
        served.serves(good)
        live.publish(broken(live.files(better), fault))
        error_noted(live)
        assert ask(served.port) == Answer(good.fingerprint, 200)
        assert live.status()["generation"] == "0001"
        assert "generation 0001 stays in use" in served.program.log
        live.publish(live.files(better))
        served.serves(better)
        wait_until(lambda: error_cleared(live), "no error any more")


def test_files_in_the_middle_of_being_written(place: Path, live: Live) -> None:
    """A generation cut off at any of many places is not taken up, and is once it is whole."""
    good, better = material.server(), material.server()
    live.publish(live.files(good))
    with serving(place, hot_options(live)) as served:
        served.serves(good)
        files = live.files(better)
        half = {name: content[: len(content) // 2] for name, content in files.items()}
        generation = live.publish(half)
        error_noted(live)
        for part in (8, 4, 3):
            content = files["fullchain.pem"]
            (generation / "fullchain.pem").write_bytes(content[: len(content) * (part - 1) // part])
            assert ask(served.port) == Answer(good.fingerprint, 200)
        for name, content in files.items():
            (generation / name).write_bytes(content)
        served.serves(better)


def test_current_vanishes(place: Path, live: Live) -> None:
    """`current` gone, as with an unmounted disk: the last good stays, and it is said once."""
    good = material.server()
    live.publish(live.files(good))
    with serving(place, hot_options(live)) as served:
        served.serves(good)
        (live.directory / "current").rename(place / "aside")
        error_noted(live)
        let_polls_pass(5)
        assert ask(served.port) == Answer(good.fingerprint, 200)
        assert served.program.log.count("cannot use") == 1
        (place / "aside").rename(live.directory / "current")
        wait_until(lambda: error_cleared(live), "no error any more")


def test_unreadable_material(place: Path, live: Live) -> None:
    """A key that Node-RED's user may not read leaves the last good in use."""
    good, better = material.server(), material.server()
    live.publish(live.files(good))
    with serving(place, hot_options(live), nobody=True) as served:
        served.serves(good)
        generation = live.publish(live.files(better), current=False)
        (generation / "privkey.pem").chmod(0)
        live.switch(generation.name)
        assert "EACCES" in error_noted(live)
        assert ask(served.port) == Answer(good.fingerprint, 200)
        (generation / "privkey.pem").chmod(0o644)
        served.serves(better)


def test_key_of_another_kind_than_the_certificate(place: Path, live: Live) -> None:
    """OpenSSL takes an RSA key beside an EC certificate; then every handshake would fail."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    good = material.server()
    live.publish(live.files(good))
    with serving(place, hot_options(live)) as served:
        live.publish(broken(live.files(material.server()), {"privkey.pem": key}))
        assert "is not the key" in error_noted(live)
        assert ask(served.port) == Answer(good.fingerprint, 200)


# ── the start ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("client_auth", [False, True])
@pytest.mark.parametrize("major", NODES)
def test_start_without_material(
    place: Path, live: Live, authority: Pair, alice: Pair, *, major: int, client_auth: bool
) -> None:
    """Nothing usable at start: every handshake fails and plain HTTP is never answered, until the
    first good generation comes.
    """
    with serving(place, hot_options(live, client_auth=client_auth), major=major) as served:
        served.refuses_handshakes()
        pair = material.server()
        live.publish(live.files(pair, authority if client_auth else None))
        served.serves(pair, alice.write(place, "alice") if client_auth else None)
        if client_auth:
            assert not ask(served.port).let_in


@pytest.mark.parametrize("major", NODES)
def test_the_very_first_connection_meets_the_newest_material(
    place: Path, live: Live, major: int
) -> None:
    """A server is found before anybody connects: on Node 18, which does not announce it, too."""
    pair = material.server()
    with serving(place, hot_options(live), major=major) as served:
        live.publish(live.files(pair))
        wait_until(lambda: live.status().get("generation") == "0001", "the new generation")
        assert ask(served.port) == Answer(pair.fingerprint, 200)


def test_start_without_a_live_directory(place: Path, live: Live) -> None:
    """Not even the directory is there: the program starts all the same, and catches up later."""
    options = hot_options(live)
    live.remove()
    with serving(place, options) as served:
        served.refuses_handshakes()
        later = Live.make(live.directory)
        pair = material.server()
        later.publish(later.files(pair))
        served.serves(pair)


@pytest.mark.parametrize("major", NODES)
def test_start_with_a_broken_current_uses_the_newest_good_generation(
    place: Path, live: Live, major: int
) -> None:
    """After a power cut Node-RED comes back with the newest generation that is whole."""
    pairs = [material.server() for _ in range(3)]
    for _ in range(8):
        live.publish({})
    live.publish(live.files(pairs[0]))
    live.publish(live.files(pairs[1]))  # 0010 is newer than 0009
    live.publish({"privkey.pem": pairs[2].key_pem})
    with serving(place, hot_options(live), major=major) as served:
        served.serves(pairs[1])
        wait_until(live.status, "a status file")
        assert live.status()["generation"] == "0010"
        assert error_noted(live)
        live.publish(live.files(pairs[2]))
        served.serves(pairs[2])


OPTIONS = [
    "undefined",
    "null",
    "0",
    "NaN",
    "true",
    "'/tmp'",
    "Symbol('x')",
    "10n",
    "[]",
    "[LIVE]",
    "() => LIVE",
    "{}",
    "{live: null}",
    "{live: 5}",
    "{live: ''}",
    "{live: ['x']}",
    "{live: '\\0'}",
    "{live: 'x'}",
    "{live: 'x'.repeat(100000)}",
    "{live: 'x', clientAuth: 'yes'}",
    "{live: LIVE, clientAuth: 'yes'}",
    "{live: LIVE, clientAuth: 1}",
    "{live: LIVE, clientAuth: null}",
    "{live: LIVE, clientauth: true}",
    "{live: LIVE, requestCert: true}",
    "{live: LIVE, extra: 5}",
    "{live: LIVE, extra: null}",
    "{live: LIVE, extra: {minVersion: 'TLSv9'}}",
    "{live: LIVE, extra: {ciphers: 'no such cipher'}}",
    "{live: LIVE, extra: {handshakeTimeout: 'long'}}",
    "{live: LIVE, extra: {minVersion: 10n}}",
    "{get live() { throw new Error('no') }}",
    "{get live() { throw null }}",
    "{get live() { throw Object.assign(new Error(), {message: 5}) }}",
    "new Proxy({}, {ownKeys() { throw 'no' }})",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_wrong_options_never_throw_and_never_serve(
    place: Path, live: Live, authority: Pair, alice: Pair, options: str
) -> None:
    """A slip in settings.js neither stops Node-RED nor opens it: every handshake fails."""
    live.publish(live.files(material.server(), authority))
    with serving(place, options.replace("LIVE", json.dumps(str(live.directory)))) as served:
        served.refuses_handshakes()
        assert not ask(served.port, alice.write(place, "alice")).let_in
        assert "[certwarden]" in served.program.log


def test_extra_adds_but_does_not_take_away(
    place: Path, live: Live, authority: Pair, alice: Pair
) -> None:
    """`extra` sets versions and limits; keys, client checks and ways round them are left out."""
    pair, other = material.server(), material.server()
    live.publish(live.files(pair, authority))
    options = f"""{{live: {json.dumps(str(live.directory))}, clientAuth: true, pollSeconds: 'often',
        extra: {{
        minVersion: 'TLSv1.3', requestCert: false, rejectUnauthorized: false, ca: [], crl: '',
        key: {json.dumps(other.key_pem.decode())}, cert: {json.dumps(other.pem.decode())},
        ticketKeys: Buffer.alloc(48), SNICallback: () => {{}}, pskCallback: () => {{}} }}}}"""
    with serving(place, options) as served:
        served.serves(pair, alice.write(place, "alice"))
        assert not ask(served.port).let_in
        for name in ("requestCert", "key", "ticketKeys", "SNICallback", "pskCallback"):
            assert f'extra may not set "{name}"' in served.program.log
        with connection(served.port, place / "alice.pem") as secure:
            assert secure.version() == "TLSv1.3"


def test_the_same_call_twice_makes_one_watcher(place: Path, live: Live) -> None:
    """`https: () => hot({…})` is called at each refresh; that must not gather timers."""
    live.publish(live.files(material.server()))
    script = place / "twice.js"
    script.write_text(
        f"const hot = require({json.dumps(str(HOT))}); const o = {hot_options(live)};"
        "console.log(hot(o) === hot({...o}), hot({...o, clientAuth: true}) === hot(o));"
    )
    with running([node(22), script], place) as program:
        assert program.process.wait(30) == 0
        assert program.log.splitlines()[-1] == "true false"


# ── client certificates ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("major", NODES)
def test_who_is_let_in(
    *,
    place: Path,
    live: Live,
    authority: Pair,
    alice: Pair,
    bob: Pair,
    stranger: Pair,
    major: int,
) -> None:
    """Good in; none, another authority's and revoked out, with a reason in Node-RED's log."""
    pair = material.server()
    live.publish(live.files(pair, authority, revoked=[bob]))
    with serving(place, hot_options(live, client_auth=True), major=major) as served:
        served.serves(pair, alice.write(place, "alice"))
        assert not ask(served.port).let_in
        assert not ask(served.port, bob.write(place, "bob")).let_in
        assert not ask(served.port, stranger.write(place, "stranger")).let_in
        assert not plain_http(served.port).startswith(b"HTTP")
        served.program.wait_for("refused a client: it showed no certificate")
        served.program.wait_for("refused a client: CERT_REVOKED")


@pytest.mark.parametrize("major", NODES)
def test_revocation_takes_effect_within_a_poll_and_cuts_what_is_open(
    place: Path, live: Live, authority: Pair, alice: Pair, bob: Pair, *, major: int
) -> None:
    """A new list is enough: the revoked client is refused and its connection cut, no other."""
    pair = material.server()
    good, revoked = alice.write(place, "alice"), bob.write(place, "bob")
    live.publish(live.files(pair, authority))
    with serving(place, hot_options(live, client_auth=True), major=major) as served:
        served.serves(pair, revoked)
        with connection(served.port, good) as stays, connection(served.port, revoked) as goes:
            assert request(stays) == request(goes) == 200
            live.publish(live.files(pair, authority, revoked=[bob]))
            assert goes.recv(1) == b""  # ended by the server, within the socket's time limit
            assert request(stays) == 200
        assert not ask(served.port, revoked).let_in
        assert ask(served.port, good).let_in
        served.program.wait_for(f"revoked client certificate {bob.serial}")
        assert live.status()["crl_number"] == 11


def resumes(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> bool:
    try:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, session=session) as secure,
        ):
            return request(secure) is not None
    except OSError:
        return False


def test_a_saved_session_does_not_outlive_the_revocation(
    place: Path, live: Live, authority: Pair, bob: Pair
) -> None:
    """A revoked client cannot come back by resuming a TLS session from before."""
    pair = material.server()
    live.publish(live.files(pair, authority))
    with serving(place, hot_options(live, client_auth=True)) as served:
        served.serves(pair, bob.write(place, "bob"))
        context = tls_context(place / "bob.pem")
        context.maximum_version = (
            ssl.TLSVersion.TLSv1_2
        )  # its sessions can be used again from Python
        with (
            socket.create_connection(("127.0.0.1", served.port)) as plain,
            context.wrap_socket(plain) as secure,
        ):
            assert request(secure) == 200
            session = secure.session
        assert resumes(served.port, context, session)
        live.publish(live.files(pair, authority, revoked=[bob]))
        wait_until(lambda: live.status().get("crl_number") == 11, "the new list")
        assert not resumes(served.port, context, session)


@pytest.mark.parametrize("at_start", [False, True], ids=["running", "at start"])
@pytest.mark.parametrize("fault", BROKEN_CLIENT_AUTH.values(), ids=BROKEN_CLIENT_AUTH)
def test_bad_list_or_authority_never_lets_anybody_in(
    *,
    place: Path,
    live: Live,
    authority: Pair,
    alice: Pair,
    bob: Pair,
    fault: Fault,
    at_start: bool,
) -> None:
    """Running, the last good list still refuses the revoked one; at start nobody gets in.

    To Node, an empty string means "no revocation list": everybody may come.
    """
    pair = material.server()
    good, revoked = alice.write(place, "alice"), bob.write(place, "bob")
    files = live.files(pair, authority, revoked=[bob])
    if at_start:
        live.publish(broken(files, fault))
        with serving(place, hot_options(live, client_auth=True)) as served:
            served.refuses_handshakes()
            assert not ask(served.port, good).let_in
            assert not ask(served.port, revoked).let_in
        return
    live.publish(files)
    with serving(place, hot_options(live, client_auth=True)) as served:
        served.serves(pair, good)
        live.publish(broken(live.files(material.server(), authority, revoked=[bob]), fault))
        error_noted(live)
        assert ask(served.port, good) == Answer(pair.fingerprint, 200)
        assert not ask(served.port, revoked).let_in
        assert not ask(served.port).let_in


def test_expired_list_lets_nobody_in(place: Path, live: Live, authority: Pair, alice: Pair) -> None:
    """An expired list refuses everybody, and the log says why."""
    pair = material.server()
    good = alice.write(place, "alice")
    live.publish(live.files(pair, authority))
    with serving(place, hot_options(live, client_auth=True)) as served:
        served.serves(pair, good)
        expired = material.revocation_list(authority, [], 99, expired=True)
        live.publish({**live.files(pair, authority), "client-crl.pem": expired})
        wait_until(lambda: not ask(served.port, good).let_in, "a refusal")
        served.program.wait_for("refused a client: CRL_HAS_EXPIRED")


def test_lists_of_two_authorities_are_both_read(
    place: Path, live: Live, authority: Pair, alice: Pair, bob: Pair
) -> None:
    """Two lists in one file (while a root is renewed): Node by itself reads only the first."""
    other = material.authority("Home client CA 2")
    carol, dave = material.client("carol", other), material.client("dave", other)
    pair = material.server()
    files = live.files(pair, authority, revoked=[bob])
    files["client-ca.pem"] += other.pem
    files["client-crl.pem"] += material.revocation_list(other, [dave], 1)
    live.publish(files)
    with serving(place, hot_options(live, client_auth=True)) as served:
        for each, let_in in ((alice, True), (bob, False), (carol, True), (dave, False)):
            assert ask(served.port, each.write(place, "client")).let_in is let_in


def test_refusals_are_logged_at_a_capped_rate(place: Path, live: Live, authority: Pair) -> None:
    """Whoever knocks a hundred times does not fill the card with log lines."""
    live.publish(live.files(material.server(), authority))
    with serving(place, hot_options(live, client_auth=True)) as served:
        for _ in range(30):
            assert not ask(served.port).let_in
        served.program.wait_for("more of these are not logged")
        assert served.program.log.count("refused a client") < 15


# ── who was here ──────────────────────────────────────────────────────────────────────────────────


def clients(live: Live) -> dict[str, str]:
    found = live.status().get("clients")
    assert found is None or isinstance(found, dict)
    return found or {}


def visit(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None, *, later: int = 0
) -> tuple[ssl.SSLSession | None, bool]:
    """A request after which the server's clocks go forward; the session, and whether it was old."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, session=session) as secure,
    ):
        secure.sendall(f"GET /later/{later} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert secure.recv(65536)
        return secure.session, bool(secure.session_reused)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("major", NODES)
def test_who_was_let_in_is_told_with_the_instant(
    *,
    place: Path,
    live: Live,
    authority: Pair,
    alice: Pair,
    bob: Pair,
    stranger: Pair,
    major: int,
    version: ssl.TLSVersion,
) -> None:
    """By a full handshake or a resumed session; who was refused is not told of."""
    live.publish(live.files(material.server(), authority))
    with serving(place, hot_options(live, client_auth=True), major=major) as served:
        assert not ask(served.port).let_in
        assert not ask(served.port, stranger.write(place, "stranger")).let_in
        context = tls_context(alice.write(place, "alice"))
        context.minimum_version = context.maximum_version = version
        session, _ = visit(served.port, context)
        wait_until(lambda: clients(live), "alice")
        assert [*clients(live)] == [alice.serial]
        first = clients(live)[alice.serial]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first)
        visit(served.port, tls_context(bob.write(place, "bob")), later=7200)
        assert visit(served.port, context, session)[1]
        wait_until(lambda: clients(live)[alice.serial] > first, "alice again")
        assert {*clients(live)} == {alice.serial, bob.serial}


def test_who_stays_is_still_here(place: Path, live: Live, authority: Pair, alice: Pair) -> None:
    """A websocket that has been open for months is no client that was not seen for months."""
    live.publish(live.files(material.server(), authority))
    with (
        serving(place, hot_options(live, client_auth=True)) as served,
        connection(served.port, alice.write(place, "alice")) as secure,
    ):
        first = wait_until(lambda: clients(live).get(alice.serial), "alice")
        secure.sendall(b"GET /later/7200 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: clients(live)[alice.serial] != first, "alice still")


def test_sightings_hardly_wear_the_card(
    place: Path, live: Live, authority: Pair, alice: Pair, bob: Pair
) -> None:
    """A new client is told of within a minute, a known one to the hour and at most each 10 min."""
    live.publish(live.files(material.server(), authority))
    one, other = (tls_context(each.write(place, "client")) for each in (alice, bob))
    with serving(place, hot_options(live, client_auth=True)) as served:
        visit(served.port, one)
        wait_until(lambda: alice.serial in clients(live), "the first client, at once")
        (file,) = (live.directory / "loaded").glob("*.json")

        def is_written_for(client: ssl.SSLContext) -> bool:
            before = file.stat().st_mtime_ns
            visit(served.port, client)
            let_polls_pass(3)
            return file.stat().st_mtime_ns != before

        assert not is_written_for(other)  # a second one at once is not worth another write yet
        visit(served.port, one, later=60)
        wait_until(lambda: bob.serial in clients(live), "the second client, a minute later")
        visit(served.port, one, later=3000)
        assert not is_written_for(one)  # within the hour
        first = dict(clients(live))
        visit(served.port, one, later=3000)
        visit(served.port, one)
        wait_until(lambda: clients(live)[alice.serial] > first[alice.serial], "after the hour")
        assert not is_written_for(other)  # seen anew, and too early for a write
        visit(served.port, one, later=600)
        wait_until(lambda: clients(live)[bob.serial] > first[bob.serial], "the next write")


def test_the_least_recently_seen_are_forgotten(place: Path, live: Live, authority: Pair) -> None:
    """The file does not grow for ever: 200 clients fit."""
    live.publish(live.files(material.server(), authority))
    many = [material.client("one of many", authority) for _ in range(202)]
    contexts = [tls_context(each.write(place, "client")) for each in many]
    with serving(place, hot_options(live, client_auth=True)) as served:
        visit(served.port, contexts[0], later=7200)
        for context in (*contexts[1:200], contexts[0], *contexts[200:]):
            visit(served.port, context)
        visit(served.port, contexts[-1], later=600)
        wait_until(lambda: len(clients(live)) == 200, "all that fit")
        assert {*clients(live)} == {each.serial for each in (many[0], *many[3:])}


def test_where_nobody_is_asked_nobody_is_told_of(place: Path, live: Live) -> None:
    """Without clientAuth the module says that it cannot tell, not that nobody came."""
    live.publish(live.files(material.server()))
    with serving(place, hot_options(live)):
        assert wait_until(live.status, "a status file")["clients"] is None
