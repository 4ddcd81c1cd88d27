"""Invitations: exactly one certificate for whoever has the token, and nothing for anybody else."""

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from certwarden.errors import (
    Busy,
    ClockError,
    Error,
    InvitationError,
    LockedError,
    MaterialError,
    StoreError,
    UsageError,
)
from certwarden.lifecycle.authority import make_probe
from certwarden.lifecycle.invite import (
    FORGOTTEN_AFTER,
    LONGEST_OPEN,
    TRIES,
    InvitationRequest,
    Verdict,
    invite,
    judge,
    lost,
    redeem,
    redeem_by_certificate,
    withdraw_invitation,
)
from certwarden.lifecycle.issue import ClientRequest, IssuedClient, issue
from certwarden.lifecycle.withdraw import withdraw
from certwarden.model import Admission, Enrolment, Invitation, KeyType, RevocationReason, Secret
from certwarden.pki.keys import PrivateKey, build_csr, generate_key, load_key
from certwarden.store.locks import FileLocks
from tests import crash
from tests.builders import NOW
from tests.lifecycle.client_house import ClientHouse, as_pair
from tests.lifecycle.facts import DAY, HOUR, MINUTE, SECOND
from tests.lifecycle.machine import Machine
from tests.waiting import wait_until
from tests.world import stepping

CSR = build_csr(generate_key(KeyType.ECDSA_P256), ["evil.example"])
WRONG = "a" * 26
REFUSED = 3


class InvitingHouse(ClientHouse):
    """One where clients are invited."""

    def invite(
        self, name: str = "alice", enrolment: Enrolment = Enrolment.PAGE
    ) -> tuple[Invitation, Secret]:
        return invite(self.world, InvitationRequest(name, enrolment=enrolment))

    def redeem(self, token: Secret) -> IssuedClient:
        return redeem(self.world, token)

    def invite_in(self, name: str = "alice", enrolment: Enrolment = Enrolment.PAGE) -> IssuedClient:
        """A client who has followed an invitation."""
        return self.redeem(self.invite(name, enrolment)[1])

    def found(self, invitation: Invitation) -> Invitation:
        """The invitation as it is now."""
        found = self.world.invitations.find(invitation.id)
        assert found is not None
        return found

    @property
    def serials(self) -> list[str]:
        return [each.serial for each in self.world.register.clients()]


@pytest.fixture
def house() -> InvitingHouse:
    return InvitingHouse()


def with_secret(token: Secret, secret: str = WRONG) -> Secret:
    """The same invitation, with another secret part."""
    return Secret(token.reveal()[:9] + secret.encode())


# ── inviting ──────────────────────────────────────────────────────────────────────────────────────


def test_an_invitation_is_written_down_without_its_token(house: InvitingHouse) -> None:
    """The secret part is with the person alone; nothing is signed yet."""
    request = InvitationRequest("alice", "a@example.org", 90 * DAY, Enrolment.EST, HOUR)
    invitation, token = invite(house.world, request)
    assert house.found(invitation) == invitation
    assert (invitation.name, invitation.email, invitation.lifetime) == (
        "alice",
        "a@example.org",
        90 * DAY,
    )
    assert (invitation.made_at, invitation.ends_at) == (house.now, house.now + HOUR)
    assert (invitation.enrolment, invitation.tries_left) == (Enrolment.EST, TRIES)
    named, _, secret = token.reveal().decode().partition("-")
    assert (named, len(secret)) == (invitation.id, 26)
    assert secret not in repr((invitation, token))
    assert house.serials == []


def test_no_two_tokens_are_alike(house: InvitingHouse) -> None:
    """Neither in their names nor in their secrets."""
    tokens = [house.invite(f"client{n}")[1].reveal() for n in range(200)]
    assert len({token[:8] for token in tokens}) == len({token[9:] for token in tokens}) == 200


@pytest.mark.parametrize(
    "request_",
    [
        InvitationRequest("../alice"),
        InvitationRequest("alice", "no address"),
        InvitationRequest("alice", open_for=timedelta()),
        InvitationRequest("alice", open_for=-MINUTE),
        InvitationRequest("alice", open_for=LONGEST_OPEN + SECOND),
        InvitationRequest("alice", open_for=timedelta.max),
    ],
    ids=repr,
)
def test_what_cannot_be_is_refused_at_once(
    house: InvitingHouse, request_: InvitationRequest
) -> None:
    """In a sentence, and before anybody scans a code."""
    with pytest.raises(UsageError) as refused:
        invite(house.world, request_)
    assert refused.value.hint
    assert house.world.invitations.open(house.now) == ()


def test_nobody_is_invited_at_a_doubtful_hour(house: InvitingHouse) -> None:
    """The end of an invitation would mean nothing."""
    house.world.time_sources.state = False
    with pytest.raises(ClockError):
        house.invite()


def test_nobody_is_invited_where_there_is_no_authority(house: InvitingHouse) -> None:
    """The person is told what to do first."""
    house.world.authority.root_pem = None
    with pytest.raises(UsageError, match="no private CA"):
        house.invite()


def test_a_locked_authority_invites(house: InvitingHouse) -> None:
    """Its passphrase is needed when somebody comes, and not before."""
    house.world.key = None
    house.invite()


def test_the_address_stays(house: InvitingHouse) -> None:
    """As with a renewal; but a name that was taken away may be given to somebody else."""
    issue(house.world, [ClientRequest("alice", "alice@example.org")])
    assert house.invite()[0].email == "alice@example.org"
    house.withdraw(reason=RevocationReason.SUPERSEDED)
    assert house.invite()[0].email == "alice@example.org"
    issue(house.world, [ClientRequest("bob", "bob@example.org")])
    house.withdraw("bob", RevocationReason.KEY_COMPROMISE)
    assert house.invite("bob")[0].email is None


def test_old_ones_are_forgotten(house: InvitingHouse) -> None:
    """The book does not grow by invitations that nobody has followed."""
    house.invite()
    house.after(FORGOTTEN_AFTER + DAY)
    house.invite("bob")
    assert house.world.invitations.of("alice") == ()


# ── judging ───────────────────────────────────────────────────────────────────────────────────────

SECRET = b"b" * 26
OPEN = Invitation(
    id="aaaaaaaa",
    digest=hashlib.sha256(SECRET).hexdigest(),
    name="alice",
    email=None,
    lifetime=None,
    enrolment=Enrolment.PAGE,
    made_at=NOW,
    ends_at=NOW + 15 * MINUTE,
    tries_left=1,
)


@pytest.mark.parametrize("is_right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize(
    ("invitation", "verdict"),
    [
        (None, Verdict.CLOSED),
        (OPEN, None),
        (replace(OPEN, enrolment=Enrolment.EST), None),
        (replace(OPEN, ends_at=NOW + timedelta(microseconds=1)), None),
        (replace(OPEN, ends_at=NOW), Verdict.CLOSED),
        (replace(OPEN, ends_at=NOW - DAY), Verdict.CLOSED),
        (replace(OPEN, made_at=NOW + SECOND), Verdict.CLOSED),
        (replace(OPEN, tries_left=0), Verdict.CLOSED),
        (replace(OPEN, withdrawn_at=NOW), Verdict.CLOSED),
        (replace(OPEN, redeemed_at=NOW, serial="0a"), Verdict.CLOSED),
        (replace(OPEN, redeemed_at=NOW + DAY, serial="0a"), Verdict.CLOSED),
        (replace(OPEN, digest="", tries_left=0), Verdict.CLOSED),
    ],
    ids=[
        *("unknown", "open", "for a program", "nearly over", "just over", "long over"),
        *("of the future", "worn out", "withdrawn", "used", "used in the future", "damaged"),
    ],
)
def test_verdicts(
    invitation: Invitation | None, verdict: Verdict | None, *, is_right: bool
) -> None:
    """Only an open one looks at the secret, and only the right secret is good."""
    shown = SECRET if is_right else SECRET[:-1] + b"c"
    expected = verdict or (Verdict.GOOD if is_right else Verdict.WRONG)
    assert judge(invitation, shown, NOW) is expected


def test_a_damaged_digest_matches_nothing() -> None:
    """Whatever stands in the database, it is judged and not stumbled over."""
    for digest in ("", "\ufffd" * 64, OPEN.digest.upper(), OPEN.digest[:-1]):
        assert judge(replace(OPEN, digest=digest), SECRET, NOW) is Verdict.WRONG


# ── redeeming ─────────────────────────────────────────────────────────────────────────────────────


def test_who_has_the_token_gets_in(house: InvitingHouse) -> None:
    """With a key that was made here, for as long as was said; the token is used."""
    request = InvitationRequest("alice", "alice@example.org", 90 * DAY)
    invitation, token = invite(house.world, request)
    alice = house.redeem(token)
    assert house.admission(alice) is Admission.LET_IN
    assert house.world.register.find(alice.certificate.serial) == alice.certificate
    assert house.world.register.pem(alice.certificate.serial) == alice.pem
    leaf = as_pair(alice).certificate
    assert (leaf.not_before, leaf.not_after) == (house.now - HOUR, house.now + 90 * DAY)
    assert alice.certificate.email == "alice@example.org"
    used = house.found(invitation)
    assert (used.redeemed_at, used.serial) == (house.now, alice.certificate.serial)


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.ECDSA_P256])
def test_the_key_is_of_the_kind_asked_for(house: InvitingHouse, key_type: KeyType) -> None:
    """Old devices want RSA."""
    alice = redeem(house.world, house.invite()[1], key_type=key_type)
    assert alice.key_pem is not None
    is_rsa = isinstance(load_key(alice.key_pem), rsa.RSAPrivateKey)
    assert is_rsa == (key_type is KeyType.RSA_2048)
    assert house.admission(alice) is Admission.LET_IN


def test_a_client_brings_its_own_key(house: InvitingHouse) -> None:
    """Then no key is made here; what else the request asks for is passed over."""
    alice = redeem(house.world, house.invite()[1], csr=CSR)
    assert alice.key_pem is None
    assert b"evil" not in alice.pem
    assert house.serials == [alice.certificate.serial]


def test_a_bad_request_costs_no_try(house: InvitingHouse) -> None:
    """It is told of the request, whatever the token is, and the token is as good as before."""
    invitation, token = house.invite()
    for each in (token, with_secret(token), Secret(b"rubbish")):
        with pytest.raises(MaterialError):
            redeem(house.world, each, csr=b"garbage")
    assert house.found(invitation) == invitation
    house.redeem(token)


def _used(house: InvitingHouse) -> Secret:
    token = house.invite()[1]
    house.redeem(token)
    house.withdraw()
    return token


def _late(house: InvitingHouse) -> Secret:
    token = house.invite()[1]
    house.after(15 * MINUTE)
    return token


def _early(house: InvitingHouse) -> Secret:
    token = house.invite()[1]
    house.world.clock.advance(-SECOND)  # the clock was put back
    return token


def _withdrawn(house: InvitingHouse) -> Secret:
    invitation, token = house.invite()
    withdraw_invitation(house.world, invitation.id)
    return token


def _replaced(house: InvitingHouse) -> Secret:
    token = house.invite()[1]
    house.invite()
    return token


def _revoked(house: InvitingHouse) -> Secret:
    house.client()
    token = house.invite()[1]
    house.withdraw()
    return token


def _worn_out(house: InvitingHouse) -> Secret:
    token = house.invite()[1]
    for _ in range(TRIES):
        with pytest.raises(InvitationError):
            house.redeem(with_secret(token))
    return token


def _other_id(house: InvitingHouse) -> Secret:
    return Secret(b"zzzzzzzz" + house.invite()[1].reveal()[8:])


@pytest.mark.parametrize(
    "make",
    [
        *(_used, _late, _early, _withdrawn, _replaced, _revoked, _worn_out, _other_id),
        lambda house: with_secret(house.invite()[1]),
        lambda house: with_secret(house.invite()[1], ""),
        lambda house: Secret(house.invite()[1].reveal() + b"a"),
        lambda house: Secret(house.invite()[1].reveal() + b"\n"),
        lambda house: Secret(house.invite()[1].reveal().upper()),
        lambda _: Secret(b""),
        lambda _: Secret(b"\xff\x00" * 100_000),
    ],
)
def test_one_and_the_same_sentence(
    house: InvitingHouse, make: Callable[[InvitingHouse], Secret]
) -> None:
    """Whoever guesses does not learn what was wrong; and nobody gets a certificate."""
    token = make(house)
    valid = [each.serial for each in house.authority.clients if each.is_valid_at(house.now)]
    with pytest.raises(InvitationError) as refused:
        house.redeem(token)
    assert refused.value.what == (
        "this invitation is not valid: it was used, its time is over, or the link is incomplete"
    )
    assert refused.value.hint == "ask for another one"
    assert valid == [each.serial for each in house.authority.clients if each.is_valid_at(house.now)]


def test_the_fifth_try_may_be_the_right_one(house: InvitingHouse) -> None:
    """Four mistakes are forgiven; each is told, and to nobody but who reads the log."""
    invitation, token = house.invite()
    for _ in range(TRIES - 1):
        with pytest.raises(InvitationError):
            house.redeem(with_secret(token))
    told = [each for each in house.world.reporter.told if "wrong link" in each.text]
    assert len(told) == TRIES - 1
    assert WRONG not in str(told)
    assert house.found(invitation).tries_left == 1
    house.redeem(token)


def test_a_thousand_guesses_of_the_secret(house: InvitingHouse) -> None:
    """After five the invitation is closed for good, and the log is not filled."""
    invitation, token = house.invite()
    for number in range(1000):
        with pytest.raises(InvitationError):
            house.redeem(
                with_secret(token, f"{number:026}".translate(str.maketrans("0189", "wxyz")))
            )
    assert house.found(invitation).tries_left == 0
    assert len([each for each in house.world.reporter.told if "wrong link" in each.text]) == TRIES
    with pytest.raises(InvitationError):
        house.redeem(token)
    assert house.serials == []


def test_twice_is_once(house: InvitingHouse) -> None:
    """The second one gets nothing, and the first one keeps what it has."""
    _, token = house.invite()
    alice = house.redeem(token)
    for _ in range(2):
        with pytest.raises(InvitationError):
            house.redeem(token)
    assert house.serials == [alice.certificate.serial]
    assert house.admission(alice) is Admission.LET_IN


def _lock_it(house: InvitingHouse) -> Callable[[], None]:
    house.world.key = None
    return lambda: setattr(house.world, "key", house.key)


def _doubt_the_clock(house: InvitingHouse) -> Callable[[], None]:
    house.world.time_sources.state = False
    return lambda: setattr(house.world.time_sources, "state", True)


def _be_busy(house: InvitingHouse) -> Callable[[], None]:
    house.world.locks.busy.add("authority")
    return house.world.locks.busy.clear


def _fill_the_disk(house: InvitingHouse) -> Callable[[], None]:
    real = house.world.invitations.redeem

    def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    house.world.invitations.redeem = fail  # type: ignore[method-assign]
    return lambda: setattr(house.world.invitations, "redeem", real)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (_lock_it, LockedError),
        (_doubt_the_clock, ClockError),
        (_be_busy, Busy),
        (_fill_the_disk, StoreError),
    ],
)
def test_what_goes_wrong_here_burns_no_token(
    house: InvitingHouse,
    spoil: Callable[[InvitingHouse], Callable[[], None]],
    error: type[Error],
) -> None:
    """Whoever comes again when it is mended gets the certificate; nothing was signed meanwhile."""
    _, token = house.invite()
    mend = spoil(house)
    with pytest.raises(error):
        house.redeem(token)
    assert house.serials == []
    mend()
    assert house.redeem(token).certificate.serial in house.serials


def test_it_ends_while_the_key_is_made(
    house: InvitingHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was good a moment ago is looked at again under the lock."""
    invitation, token = house.invite()

    def withdraw_meanwhile(*_: object) -> tuple[Secret, bytes]:
        house.world.invitations.withdraw(invitation.id, house.now)
        return Secret(b""), b""

    monkeypatch.setattr("certwarden.lifecycle.invite.generate_key_pair", withdraw_meanwhile)
    with pytest.raises(InvitationError):
        house.redeem(token)
    assert house.serials == []


# ── the client's other certificates ───────────────────────────────────────────────────────────────


def test_the_old_one_stays_good_for_two_weeks(house: InvitingHouse) -> None:
    """Then the daily pass revokes it; the new one stays."""
    old = house.client()
    new = house.invite_in()
    house.after(14 * DAY - SECOND)
    house.run()
    assert house.admission(old) is house.admission(new) is Admission.LET_IN
    house.after(SECOND)
    house.run()
    assert house.admission(old) is Admission.REFUSED
    assert house.admission(new) is Admission.LET_IN
    entry = house.world.register.find(old.certificate.serial)
    assert entry is not None
    assert entry.reason is RevocationReason.SUPERSEDED


def test_a_download_that_failed(house: InvitingHouse) -> None:
    """The certificate was redeemed today and never used: another invitation may revoke it."""
    old = house.client()
    first = house.invite_in()
    assert lost(house.world, "alice", house.now) == (first.certificate.serial,)
    withdraw(house.world, house.specs, first.certificate.serial, RevocationReason.SUPERSEDED)
    assert lost(house.world, "alice", house.now) == ()
    second = house.invite_in()
    assert house.admission(first) is Admission.REFUSED
    assert house.admission(old) is house.admission(second) is Admission.LET_IN


def test_what_is_in_use_is_not_lost(house: InvitingHouse) -> None:
    """Nor what has been there for more than a day, is another's, or was handed over by hand."""
    alice = house.invite_in()
    house.client("bob")
    house.invite_in("carol")
    assert lost(house.world, "bob", house.now) == ()
    assert lost(house.world, "dave", house.now) == ()
    assert lost(house.world, "alice", house.now + DAY) == (alice.certificate.serial,)
    assert lost(house.world, "alice", house.now + DAY + SECOND) == ()
    house.world.register.saw({alice.certificate.serial: house.now})
    assert lost(house.world, "alice", house.now) == ()


def test_a_program_with_its_own_key_has_lost_nothing(house: InvitingHouse) -> None:
    """It may renew by its certificate on the day on which it got it."""
    invitation, token = house.invite()  # a page was expected
    redeem(house.world, token, csr=CSR)
    assert lost(house.world, "alice", house.now) == ()
    assert house.found(invitation).enrolment is Enrolment.EST


def test_a_page_may_lose_what_a_program_was_invited_to(house: InvitingHouse) -> None:
    """The key was in the file, whatever was expected."""
    alice = house.invite_in(enrolment=Enrolment.EST)
    assert lost(house.world, "alice", house.now) == (alice.certificate.serial,)


def test_what_a_target_has_just_seen_is_not_lost(house: InvitingHouse) -> None:
    """No pass has taken that over yet."""
    alice = house.invite_in()
    house.target.sightings = {alice.certificate.serial: house.now}
    assert lost(house.world, "alice", house.now, house.specs) == ()
    house.target.sightings = {}
    assert lost(house.world, "alice", house.now, house.specs) == (alice.certificate.serial,)


@pytest.mark.parametrize(
    ("reason", "is_invited"),
    [
        (RevocationReason.KEY_COMPROMISE, False),
        (RevocationReason.UNSPECIFIED, True),
        (RevocationReason.SUPERSEDED, True),
    ],
)
def test_whose_key_is_in_wrong_hands_is_not_invited(
    house: InvitingHouse, reason: RevocationReason, *, is_invited: bool
) -> None:
    """By a serial, too: whoever has stolen the device may read the link that was sent to it."""
    alice = house.client()
    invitation, _ = house.invite()
    other, _ = house.invite("bob")
    house.withdraw(alice.certificate.serial, reason)
    assert house.found(invitation).is_open_at(house.now) is is_invited
    assert house.found(other).is_open_at(house.now)


def test_who_has_no_certificate_yet_is_not_invited_any_more(house: InvitingHouse) -> None:
    """Nobody is revoked; that there is no such client is said of others."""
    invitation, _ = house.invite()
    assert house.withdraw("alice").certificates == ()
    assert house.found(invitation).withdrawn_at == house.now
    with pytest.raises(UsageError, match="there is no client bob"):
        house.withdraw("bob")


def test_whoever_is_revoked_is_not_invited_any_more(house: InvitingHouse) -> None:
    """By name; one certificate of several may well be revoked for the sake of the next."""
    alice = house.client()
    invitation, token = house.invite()
    house.withdraw(alice.certificate.serial)
    assert house.found(invitation).withdrawn_at is None
    house.withdraw("alice")
    assert house.found(invitation).withdrawn_at == house.now
    with pytest.raises(InvitationError):
        house.redeem(token)


# ── by the certificate to be renewed ──────────────────────────────────────────────────────────────


def renew(house: InvitingHouse, client: IssuedClient) -> IssuedClient:
    return redeem_by_certificate(house.world, client.certificate.serial, CSR)


def test_a_program_renews_by_its_certificate(house: InvitingHouse) -> None:
    """Once for each invitation; name and address stay, and the old one is good for two weeks."""
    (old,) = issue(house.world, [ClientRequest("nas", "nas@example.org", csr=CSR)])
    invitation, token = house.invite("nas", Enrolment.EST)
    new = renew(house, old)
    assert (new.certificate.name, new.certificate.email) == ("nas", "nas@example.org")
    assert new.key_pem is None
    assert house.found(invitation).serial == new.certificate.serial
    entry = house.world.register.find(old.certificate.serial)
    assert entry is not None
    assert entry.supersede_at == house.now + 14 * DAY
    with pytest.raises(InvitationError):
        renew(house, old)
    with pytest.raises(InvitationError):
        house.redeem(token)


def test_the_certificate_alone_is_not_enough(house: InvitingHouse) -> None:
    """Without an open invitation of its own, by EST, a client gets nothing for its certificate."""
    alice = house.client()
    with pytest.raises(InvitationError):
        renew(house, alice)
    house.invite("alice", Enrolment.PAGE)
    house.invite("bob", Enrolment.EST)
    with pytest.raises(InvitationError):
        renew(house, alice)
    house.invite("alice", Enrolment.EST)
    house.after(15 * MINUTE)
    with pytest.raises(InvitationError):
        renew(house, alice)


def test_nor_is_one_that_is_not_good(house: InvitingHouse) -> None:
    """One that was revoked, that has ended, that is nobody's, or our own probe."""
    alice = house.client()
    house.withdraw(alice.certificate.serial)
    probe = make_probe(house.world, house.root, house.key, house.now, 9 * DAY)
    (old,) = issue(house.world, [ClientRequest("bob", lifetime=DAY)])
    house.after(2 * DAY)
    for name in ("alice", "bob", "certwarden-probe"):
        house.invite(name, Enrolment.EST)
    for serial in (
        alice.certificate.serial,
        old.certificate.serial,
        probe.certificate.serial,
        "0a",
    ):
        with pytest.raises(InvitationError):
            redeem_by_certificate(house.world, serial, CSR)


def test_a_bad_request_is_told_first(house: InvitingHouse) -> None:
    """Here as well."""
    with pytest.raises(MaterialError):
        redeem_by_certificate(house.world, "0a", b"garbage")


# ── on the disk ───────────────────────────────────────────────────────────────────────────────────


class Desk(Machine):
    """A machine whose books and locks are all real."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        ledger = self.real_ledger
        self.history = ledger  # type: ignore[assignment]  # the real one, as all of these
        self.watch = ledger.watch  # type: ignore[assignment]
        self.locks = FileLocks(self.state, self.reporter, "test")  # type: ignore[assignment]
        self.opened: PrivateKey | None = None

    def signing_key(self) -> PrivateKey:
        if self.opened is None:  # deriving it takes longer than all the rest
            self.opened = super().signing_key()
        return self.opened

    def close(self) -> None:
        self.real_ledger.close()

    def traces(self) -> dict[str, tuple[int, bytes]]:
        """All that lies on the disk."""
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes())
            for path in self.directory.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """With a CA, and nobody invited."""
    desk = Desk(tmp_path / "desk")
    desk.found()
    desk.signing_key()
    return desk


def test_a_stranger_leaves_no_trace(desk: Desk) -> None:
    """A thousand guesses of which invitation there is wear out no card, and no invitation."""
    _, token = invite(desk, InvitationRequest("alice"))
    before = desk.traces()
    secret = token.reveal()[9:]
    for number in range(1000):
        named = f"{number:08}".translate(str.maketrans("0189", "wxyz")).encode()
        with pytest.raises(InvitationError):
            redeem(desk, Secret(named + b"-" + secret))
    for rubbish in (b"", b"-", secret, b"%s-%s" % (b"a" * 9, secret)):
        with pytest.raises(InvitationError):
            redeem(desk, Secret(rubbish))
    with pytest.raises(InvitationError):
        redeem_by_certificate(desk, "0a", CSR)
    assert desk.traces() == before
    redeem(desk, token)
    desk.close()


def test_another_authority_keeps_no_promise_of_the_last(desk: Desk) -> None:
    """Who was invited by a CA that was moved away is not handed a certificate of its successor."""
    _, token = invite(desk, InvitationRequest("alice"))
    shutil.rmtree(desk.state / "authority")
    desk.clock.advance(-DAY)  # at which it seems to be one of the future
    desk.found()
    desk.clock.advance(DAY)
    with pytest.raises(InvitationError):
        redeem(desk, token)
    desk.close()


def test_neither_token_nor_key_is_on_the_disk(desk: Desk) -> None:
    """Before it is used, afterwards, and of one that was missed and withdrawn."""
    invitation, token = invite(desk, InvitationRequest("alice"))
    with pytest.raises(InvitationError):
        redeem(desk, with_secret(token))
    other, _ = invite(desk, InvitationRequest("bob"))
    withdraw_invitation(desk, other.id)
    before = desk.traces()
    alice = redeem(desk, token)
    assert alice.key_pem is not None
    key = alice.key_pem.reveal().splitlines()[1:-1]
    for traces in (before, desk.traces()):
        everything = b"\0".join(data for _, data in traces.values())
        assert invitation.id.encode() in everything  # so that the search would find it
        for hidden in (token.reveal(), token.reveal()[9:], WRONG.encode(), *key):
            assert hidden not in everything
    said = str(desk.reporter.told) + str(desk.real_ledger.events(None, 99))
    assert "alice" in said
    assert token.reveal()[9:].decode() not in said
    desk.close()


def test_two_at_once_get_one_certificate(desk: Desk) -> None:
    """Two processes, let go at the same moment: one has it, and the other is refused."""
    go = desk.directory / "go"

    def come(token: Secret) -> None:
        mine = Desk(desk.directory)
        mine.opened = desk.opened
        go.with_name(f"ready-{os.getpid()}").touch()
        wait_until(go.exists)
        try:
            redeem(mine, token)
        except InvitationError:
            os._exit(REFUSED)

    for number in range(5):
        _, token = invite(desk, InvitationRequest(f"client{number}"))
        desk.close()  # a child must not use its parent's connection
        with ThreadPoolExecutor(2) as pool:
            children = [pool.submit(crash.in_child, partial(come, token)) for _ in range(2)]
            wait_until(lambda: len(list(desk.directory.glob("ready-*"))) == 2)
            go.touch()
            assert sorted(child.result() for child in children) == [0, REFUSED]
        (only,) = desk.register.named(f"client{number}")
        (invitation,) = desk.invitations.of(f"client{number}")
        assert invitation.serial == only.serial
        for each in (go, *desk.directory.glob("ready-*")):
            each.unlink()
    desk.close()


@pytest.mark.skipif(stepping.why_not() is not None, reason=str(stepping.why_not()))
def test_killed_at_each_step(desk: Desk) -> None:
    """The token is good or used; if it is used, its certificate is in the book, and nobody's else.

    What was signed and not written down nobody has: it was in the killed one's memory alone.
    """
    old = desk.issue("alice")[0].certificate.serial
    _, token = invite(desk, InvitationRequest("alice"))
    desk.close()
    outcomes = set()
    step, is_over = 0, False
    while not is_over:
        step += 1
        copy = desk.directory.with_name(f"step{step}")
        shutil.copytree(desk.directory, copy)
        is_over = crash.in_child(partial(_redeem_until, step, copy, desk.opened, token)) == 0
        after = Desk(copy)
        after.opened = desk.opened
        (invitation,) = after.invitations.of("alice")
        new = {each.serial for each in after.register.named("alice")} - {old}
        handed_out = copy / "handed-out"
        if invitation.serial is None:
            assert not new
            assert not handed_out.exists()
            new = {redeem(after, token).certificate.serial}
        else:
            assert new == {invitation.serial}
            assert handed_out.exists() == is_over
        with pytest.raises(InvitationError):
            redeem(after, token)
        assert {each.serial for each in after.register.named("alice")} == {old, *new}
        assert all(each.is_signed for each in after.register.named("alice"))
        superseded = after.register.find(old)
        assert superseded is not None
        assert superseded.supersede_at == NOW + 14 * DAY
        outcomes.add((invitation.serial is None, handed_out.exists()))
        after.close()
        shutil.rmtree(copy)
    assert outcomes == {(True, False), (False, False), (False, True)}


def _redeem_until(step: int, directory: Path, key: PrivateKey | None, token: Secret) -> None:
    """Redeems in a process that dies before its n-th step; leaves as it does."""

    def work() -> int:
        desk = Desk(directory)
        desk.opened = key
        issued = redeem(desk, token)
        (directory / "handed-out").write_bytes(issued.pem)
        return 0

    child = stepping.start(work)
    if stepping.follow(child, directory / "state", step).code:
        os._exit(1)
