"""What the ports of the store promise, held against the real store and against its fakes."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certwarden.errors import Busy, Error, MaterialError
from certwarden.model import (
    Account,
    AttemptOutcome,
    Cause,
    Chains,
    DeployOutcome,
    PendingRevocation,
    RevocationReason,
    Setback,
    Spent,
    TokenCheck,
    Told,
)
from certwarden.ports import (
    Accounts,
    Attempts,
    Certificates,
    Deploys,
    History,
    Limits,
    Locks,
    Revocations,
    Suggestions,
    TxtJournal,
    Watch,
)
from certwarden.store.accounts import AccountStore
from certwarden.store.certificates import CertificateStore
from certwarden.store.ledger import Ledger
from certwarden.store.locks import FileLocks
from tests.builders import (
    DIRECTORY,
    DOMAINS,
    NOW,
    a_chain_pem,
    a_draft,
    a_key,
    a_renewal_info,
    a_txt_record,
    an_account,
    an_event,
    chains_for,
)
from tests.fakes_store import (
    FakeAccounts,
    FakeCertificates,
    FakeLedger,
    FakeLocks,
    RecordingReporter,
)

BOTH = ("fake", "real")
STAGING = "https://acme.example/staging"
ORDER = "https://acme.example/order/1"
OTHER_ORDER = "https://acme.example/order/2"


@pytest.fixture(params=BOTH)
def certificates(request: pytest.FixtureRequest, tmp_path: Path) -> Certificates:
    return FakeCertificates() if request.param == "fake" else CertificateStore(tmp_path / "state")


@pytest.fixture(params=BOTH)
def accounts(request: pytest.FixtureRequest, tmp_path: Path) -> Accounts:
    return FakeAccounts() if request.param == "fake" else AccountStore(tmp_path / "state")


@pytest.fixture(params=BOTH)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeLedger | Ledger]:
    if request.param == "fake":
        yield FakeLedger()
        return
    real = Ledger(tmp_path / "state" / "certwarden.db")
    yield real
    real.close()


@pytest.fixture
def attempts(ledger: FakeLedger | Ledger) -> Attempts:
    return ledger


@pytest.fixture
def journal(ledger: FakeLedger | Ledger) -> TxtJournal:
    return ledger


@pytest.fixture
def revocations(ledger: FakeLedger | Ledger) -> Revocations:
    return ledger


@pytest.fixture
def deploys(ledger: FakeLedger | Ledger) -> Deploys:
    return ledger


@pytest.fixture
def history(ledger: FakeLedger | Ledger) -> History:
    return ledger


@pytest.fixture
def limits(ledger: FakeLedger | Ledger) -> Limits:
    return ledger.limits


@pytest.fixture
def suggestions(ledger: FakeLedger | Ledger) -> Suggestions:
    return ledger.suggestions


@pytest.fixture
def watch(ledger: FakeLedger | Ledger) -> Watch:
    return ledger.watch


class TestCertificates:
    def test_nothing_before_the_first(self, certificates: Certificates) -> None:
        """Before the first certificate there is neither a version nor a draft."""
        assert certificates.load("home") is None
        assert certificates.load_draft("home") is None

    def test_commit_is_loaded(self, certificates: Certificates) -> None:
        """What was committed is what is loaded, with everything about the order."""
        draft = a_draft(
            profile="tlsserver", order_url=ORDER, account_url="https://acme.example/account/1"
        )
        stored = certificates.commit(draft, chains_for(draft), NOW)
        assert certificates.load("home") == stored
        assert stored.version == 1
        assert stored.domains == DOMAINS
        assert stored.profile == "tlsserver"
        assert stored.directory_url == DIRECTORY
        assert stored.account_url == "https://acme.example/account/1"
        assert stored.obtained_at == NOW
        assert stored.pair.key_pem == draft.key_pem

    def test_newest_version_counts(self, certificates: Certificates) -> None:
        """Each commit makes a version with a higher number, and that is the one loaded."""
        for number in (1, 2, 3):
            draft = a_draft()
            stored = certificates.commit(draft, chains_for(draft), NOW)
            assert stored.version == number
            assert certificates.load("home") == stored

    def test_older_versions_are_kept(self, certificates: Certificates) -> None:
        """An older version can still be had by its number; one that never was cannot."""
        old = a_draft()
        first = certificates.commit(old, chains_for(old), NOW)
        draft = a_draft()
        second = certificates.commit(draft, chains_for(draft), NOW)
        assert certificates.load_version("home", 1) == first
        assert certificates.load_version("home", 2) == second
        assert certificates.load_version("home", 3) is None
        assert certificates.load_version("garden", 1) is None

    def test_names_do_not_mix(self, certificates: Certificates) -> None:
        """Certificates and drafts of one name are nothing to another."""
        draft = a_draft("home")
        certificates.save_draft(draft)
        certificates.commit(a := a_draft("garden"), chains_for(a), NOW)
        assert certificates.load("home") is None
        assert certificates.load_draft("home") == draft
        assert certificates.load_draft("garden") is None

    def test_draft_is_replaced(self, certificates: Certificates) -> None:
        """A draft gets its order's URL later, and may be replaced by one with another key."""
        first = a_draft()
        account = replace(first, account_url="https://acme.example/account/1")
        for draft in (
            first,
            account,
            replace(account, order_url=ORDER),
            a_draft(order_url=ORDER),
            first,
        ):
            certificates.save_draft(draft)
            assert certificates.load_draft("home") == draft

    def test_draft_is_forgotten(self, certificates: Certificates) -> None:
        """Discarding forgets the draft, and discarding nothing is no error."""
        certificates.discard_draft("home")
        certificates.save_draft(a_draft())
        certificates.discard_draft("home")
        assert certificates.load_draft("home") is None

    def test_commit_forgets_the_draft(self, certificates: Certificates) -> None:
        """A draft whose certificate has arrived is not taken up again."""
        draft = a_draft()
        certificates.save_draft(draft)
        certificates.commit(draft, chains_for(draft), NOW)
        assert certificates.load_draft("home") is None

    @pytest.mark.parametrize("wrong", ["key", "names", "expired", "future", "garbage"])
    def test_wrong_chain_is_refused(self, certificates: Certificates, wrong: str) -> None:
        """A chain that is not what was ordered changes nothing, and the draft stays."""
        old = a_draft()
        before = certificates.commit(old, chains_for(old), NOW)
        draft = a_draft()
        certificates.save_draft(draft)
        chains = {
            "key": Chains(a_chain_pem(a_key())),
            "names": chains_for(draft, domains=["example.org"]),
            "expired": chains_for(draft, days=1, now=NOW - timedelta(days=2)),
            "future": chains_for(draft, now=NOW + timedelta(days=1)),
            "garbage": Chains(b"<html>502 Bad Gateway</html>"),
        }[wrong]
        with pytest.raises(MaterialError):
            certificates.commit(draft, chains, NOW)
        assert certificates.load("home") == before
        assert certificates.load_draft("home") == draft

    def test_free_bytes(self, certificates: Certificates) -> None:
        """The room can be asked for before there is anything."""
        assert certificates.free_bytes() > 0


class TestAccounts:
    def test_nothing_before_the_first(self, accounts: Accounts) -> None:
        """A directory without an account has none."""
        assert accounts.load(DIRECTORY) is None

    def test_key_first_then_url(self, accounts: Accounts) -> None:
        """The key is saved before registration, the URL after it; each directory has its own."""
        account = an_account()
        accounts.save(account)
        assert accounts.load(DIRECTORY) == account
        registered = Account(DIRECTORY, account.key_pem, "https://acme.example/account/1")
        accounts.save(registered)
        other = an_account("https://acme.example/other", "https://acme.example/account/2")
        accounts.save(other)
        assert accounts.load(DIRECTORY) == registered
        assert accounts.load("https://acme.example/other") == other

    def test_another_key(self, accounts: Accounts) -> None:
        """A new key replaces the old one together with its URL."""
        accounts.save(an_account(url="https://acme.example/account/1"))
        account = an_account()
        accounts.save(account)
        assert accounts.load(DIRECTORY) == account


class TestAttempts:
    def test_failures_since_the_last_success(self, attempts: Attempts) -> None:
        """Failures count, newest first, until the next success of the same certificate."""
        refused = Error("refused", "look", retry_after=timedelta(minutes=2))
        _attempt(attempts, "home", Error("old"))
        _attempt(attempts, "home", None)
        _attempt(attempts, "home", Error("first"))
        _attempt(attempts, "garden", None)
        number = _attempt(attempts, "home", refused)
        newest, oldest = attempts.failures("home")
        assert (newest.what, oldest.what) == ("refused", "first")
        assert newest.id == number
        assert (newest.hint, newest.retry_after) == ("look", timedelta(minutes=2))
        assert (newest.certificate, newest.directory_url, newest.domains) == (
            "home",
            DIRECTORY,
            DOMAINS,
        )
        assert (newest.begun_at, newest.ended_at) == (NOW, NOW + timedelta(seconds=3))
        assert newest.outcome is AttemptOutcome.FAILED
        assert (newest.cause, newest.setup, newest.evidence, newest.looked_at) == (
            None,
            "",
            "",
            None,
        )
        assert attempts.failures("garden") == ()

    def test_cut_short_stays(self, attempts: Attempts) -> None:
        """An attempt that never ended stands among the failures as begun, until one succeeds."""
        _attempt(attempts, "home", Error("first"))
        number = attempts.begin_attempt("home", DIRECTORY, DOMAINS, NOW)
        begun, failed = attempts.failures("home")
        assert (begun.id, begun.outcome, begun.ended_at) == (number, AttemptOutcome.BEGUN, None)
        assert failed.what == "first"
        _attempt(attempts, "home", Error("second"))
        assert [each.outcome for each in attempts.failures("home")] == [
            AttemptOutcome.FAILED,
            AttemptOutcome.BEGUN,
            AttemptOutcome.FAILED,
        ]
        _attempt(attempts, "home", None)
        assert attempts.failures("home") == ()

    def test_permanent_error(self, attempts: Attempts) -> None:
        """A permanent error's cause, evidence and setup are known, and the last look at it."""
        number = attempts.begin_attempt("home", DIRECTORY, DOMAINS, NOW, "a1b2")
        ended, later = NOW + timedelta(seconds=3), NOW + timedelta(days=1)
        attempts.end_attempt(number, ended, Error("forbidden"), Cause.CAA, '0 issue ";"')
        (failure,) = attempts.failures("home")
        assert (failure.cause, failure.setup) == (Cause.CAA, "a1b2")
        assert (failure.evidence, failure.looked_at) == ('0 issue ";"', ended)
        attempts.note_look(number, later)
        (failure,) = attempts.failures("home")
        assert (failure.looked_at, failure.ended_at) == (later, ended)

    def test_proof_is_no_success(self, attempts: Attempts) -> None:
        """An attempt that proves itself at the staging directory is still the same attempt."""
        _attempt(attempts, "home", Error("first"))
        number = attempts.begin_attempt("home", DIRECTORY, DOMAINS, NOW)
        for directory_url in (STAGING, DIRECTORY):
            attempts.move_attempt(number, directory_url)
            begun, first = attempts.failures("home")
            assert (begun.id, begun.directory_url) == (number, directory_url)
            assert begun.outcome is AttemptOutcome.BEGUN
            assert first.what == "first"
        attempts.end_attempt(number, NOW, None)
        assert attempts.failures("home") == ()


class TestLimits:
    def test_nothing_spent(self, limits: Limits) -> None:
        """Before the first order nothing is spent."""
        assert limits.spent(DIRECTORY, DOMAINS) == Spent()

    def test_authorizations_count_as_failed_until_they_are_not(self, limits: Limits) -> None:
        """A name counts from before it is tried, and is given back when it did not fail."""
        names = ("example.org", "example.net")
        limits.authorizing(DIRECTORY, ORDER, names, NOW)
        assert limits.spent(DIRECTORY, names).failed_authorizations == {
            "example.org": (NOW,),
            "example.net": (NOW,),
        }
        limits.authorized(ORDER, ["example.net"])
        assert limits.spent(DIRECTORY, names).failed_authorizations == {"example.net": (NOW,)}
        limits.authorized(ORDER, [])
        assert limits.spent(DIRECTORY, names) == Spent()

    def test_failures_add_up(self, limits: Limits) -> None:
        """Each order's failure counts once, newest first, at its own directory only."""
        for minute, order in enumerate((ORDER, OTHER_ORDER, ORDER)):
            at = NOW + timedelta(minutes=minute)
            limits.authorizing(DIRECTORY, order, ["example.org"], at)
        limits.authorizing(STAGING, f"{STAGING}/order/1", ["example.org"], NOW)
        assert limits.spent(DIRECTORY, DOMAINS).failed_authorizations == {
            "example.org": (NOW + timedelta(minutes=2), NOW + timedelta(minutes=1))
        }
        assert limits.spent(STAGING, DOMAINS).failed_authorizations == {"example.org": (NOW,)}
        assert limits.spent(DIRECTORY, ["garden.example.org"]) == Spent()

    def test_a_wildcard_is_its_name(self, limits: Limits) -> None:
        """A name and its wildcard are one identifier, whatever their case, tried twice."""
        limits.authorizing(DIRECTORY, ORDER, ["*.Example.org", "example.org"], NOW)
        assert limits.spent(DIRECTORY, ["*.example.ORG"]).failed_authorizations == {
            "example.org": (NOW, NOW)
        }
        limits.authorized(ORDER, ["example.org"])
        assert limits.spent(DIRECTORY, ["example.org"]).failed_authorizations
        limits.authorized(ORDER, [])
        assert limits.spent(DIRECTORY, ["example.org"]) == Spent()

    def test_issuances_are_of_exactly_these_names(self, limits: Limits) -> None:
        """An issuance counts for the same set of names, in whatever order, at its directory."""
        later = NOW + timedelta(hours=1)
        limits.issuing(DIRECTORY, ORDER, ("example.org", "*.example.org"), NOW)
        limits.issuing(DIRECTORY, OTHER_ORDER, ("*.example.org", "Example.org"), later)
        assert limits.spent(DIRECTORY, DOMAINS).issuances == (later, NOW)
        assert limits.spent(DIRECTORY, ["example.org"]) == Spent()
        assert limits.spent(STAGING, DOMAINS) == Spent()

    def test_the_same_order_counts_once(self, limits: Limits) -> None:
        """An order that is finalized once more counts once, as late as it can have been."""
        later = NOW + timedelta(hours=1)
        limits.issuing(DIRECTORY, ORDER, DOMAINS, NOW)
        limits.issuing(DIRECTORY, ORDER, DOMAINS, later)
        assert limits.spent(DIRECTORY, DOMAINS).issuances == (later,)


class TestSuggestions:
    def test_the_last_answer(self, suggestions: Suggestions) -> None:
        """The last answer about each certificate is known, be it that there is no window."""
        assert suggestions.renewal_info("ab") is None
        first = a_renewal_info("ab", explanation_url="https://acme.example/why")
        other = a_renewal_info("cd")
        suggestions.save_renewal_info(first)
        suggestions.save_renewal_info(other)
        assert suggestions.renewal_info("ab") == first
        without = replace(first, window=None, asked_at=NOW + timedelta(hours=6))
        suggestions.save_renewal_info(without)
        assert suggestions.renewal_info("ab") == without
        assert suggestions.renewal_info("cd") == other


class TestWatch:
    def test_floor(self, watch: Watch) -> None:
        """The floor is what it was set to last, higher or lower."""
        assert watch.floor() is None
        for at in (NOW, NOW, NOW + timedelta(days=900), NOW - timedelta(days=1)):
            watch.set_floor(at)
            assert watch.floor() == at

    def test_token_check(self, watch: Watch) -> None:
        """The last look at the token is known, with its end or with what is wrong."""
        assert watch.token_check() is None
        for check in (
            TokenCheck(NOW, "a1b2", expires_at=NOW + timedelta(days=20)),
            TokenCheck(NOW, "a1b2", what="the token is not valid", hint="make a new one"),
        ):
            watch.save_token_check(check)
            assert watch.token_check() == check

    def test_told_until_put_right(self, watch: Watch) -> None:
        """A matter stands from when it was told until it is put right; the last telling counts."""
        assert watch.told() == ()
        token = Told("token", NOW, NOW, "the token is not valid")
        home = Told("failing home", NOW, NOW, "home cannot be renewed")
        again = replace(token, told_at=NOW + timedelta(days=1))
        for matter in (token, home, again):
            watch.tell(matter)
        assert watch.told() == (home, again)
        watch.forget("token")
        watch.forget("nothing")
        assert watch.told() == (home,)

    def test_mark(self, watch: Watch) -> None:
        """The mark is what it was set to last, earlier or later, to the second."""
        assert watch.marked_at() is None
        for at in (NOW, NOW + timedelta(days=3), NOW - timedelta(seconds=1)):
            watch.mark(at + timedelta(milliseconds=250))
            assert watch.marked_at() == at

    def test_setback_until_it_went_well(self, watch: Watch) -> None:
        """What failed last stands under its key until it is cleared."""
        assert watch.setbacks() == ()
        later = NOW + timedelta(minutes=10)
        token = Setback("token", "a1b2", NOW, NOW, later, 1, "no reply")
        litter = Setback("clean-up", "c3d4", NOW, NOW, later, 1, "not allowed", "do", True)  # noqa: FBT003  its last field
        again = replace(token, at=later, again_at=later + timedelta(hours=1), failures=2)
        for setback in (token, litter, again):
            watch.save_setback(setback)
        assert watch.setbacks() == (litter, again)
        watch.clear_setback("token")
        watch.clear_setback("nothing")
        assert watch.setbacks() == (litter,)


class TestTxtJournal:
    def test_instance_stays(self, journal: TxtJournal) -> None:
        """The installation's id is eight hexadecimal digits, the same each time."""
        assert len(bytes.fromhex(journal.instance())) == 4
        assert journal.instance() == journal.instance()

    def test_intended_until_removed(self, journal: TxtJournal) -> None:
        """What was intended may exist until it is removed, and takes on its id in between."""
        apex, wildcard = a_txt_record("a" * 43), a_txt_record("b" * 43)
        journal.intend([apex, wildcard], NOW)
        assert set(journal.leftovers()) == {apex, wildcard}
        made = a_txt_record("a" * 43, record_id="0123")
        journal.intend([made], NOW)
        assert set(journal.leftovers()) == {made, wildcard}
        journal.removed([apex])
        assert journal.leftovers() == (wildcard,)
        journal.removed([wildcard, wildcard])
        journal.removed([])
        assert journal.leftovers() == ()


class TestRevocations:
    def test_pending_until_done(self, revocations: Revocations) -> None:
        """The first request stands until it is done; other certificates have none."""
        first = PendingRevocation("home", 3, "ab", RevocationReason.SUPERSEDED, NOW)
        second = PendingRevocation("home", 4, "cd", RevocationReason.SUPERSEDED, NOW)
        revocations.request_revocation(first)
        revocations.request_revocation(second)
        assert revocations.pending_revocations("home") == (first, second)
        assert revocations.pending_revocations("garden") == ()
        worse = replace(first, reason=RevocationReason.KEY_COMPROMISE, is_revoked=True)
        revocations.request_revocation(worse)
        assert revocations.pending_revocations("home") == (worse, second)
        revocations.settle_revocation(first)
        revocations.settle_revocation(first)
        assert revocations.pending_revocations("home") == (second,)


class TestDeploys:
    def test_last_deploy(self, deploys: Deploys) -> None:
        """The last deploy of a target is known once it begins, with what was found before."""
        assert deploys.last_deploy("node-red") is None
        for target in ("node-red", "nginx"):
            deploys.begin_deploy(target, "00", NOW, was_active=None, served_before=None)
        number = deploys.begin_deploy("node-red", "ab", NOW, was_active=True, served_before="cd")
        begun = deploys.last_deploy("node-red")
        assert begun is not None
        assert begun.outcome is DeployOutcome.BEGUN
        assert (begun.id, begun.fingerprint, begun.begun_at) == (number, "ab", NOW)
        assert (begun.was_active, begun.served_before) == (True, "cd")
        deploys.end_deploy(number, DeployOutcome.FAILED, NOW, Error("not served", "look"))
        ended = deploys.last_deploy("node-red")
        assert ended is not None
        assert (ended.outcome, ended.what, ended.hint) == (
            DeployOutcome.FAILED,
            "not served",
            "look",
        )
        other = deploys.last_deploy("nginx")
        assert other is not None
        assert (other.was_active, other.served_before) == (None, None)

    def test_deploys_in_a_row(self, deploys: Deploys) -> None:
        """Failures and successes of the last fingerprint count; what ended otherwise does not."""
        assert deploys.repeated_deploys("node-red") == ()
        _deploys(deploys, "ab", DeployOutcome.FAILED)
        first, second = _deploys(deploys, "cd", DeployOutcome.FAILED, DeployOutcome.FAILED)
        deploys.begin_deploy("nginx", "ef", NOW, was_active=None, served_before=None)
        assert [each.id for each in deploys.repeated_deploys("node-red")] == [second, first]
        assert deploys.repeated_deploys("node-red")[0].ended_at == NOW + timedelta(seconds=2)
        _deploys(deploys, "cd", DeployOutcome.UNREACHABLE, DeployOutcome.BEGUN)
        assert [each.id for each in deploys.repeated_deploys("node-red")] == [second, first]
        _deploys(deploys, "cd", DeployOutcome.INSTALLED)
        assert len(deploys.repeated_deploys("node-red")) == 3
        _deploys(deploys, "cd", DeployOutcome.IN_USE)
        assert len(deploys.repeated_deploys("node-red")) == 4
        _deploys(deploys, "gh", DeployOutcome.BEGUN)
        assert deploys.repeated_deploys("node-red") == ()
        assert deploys.repeated_deploys("nginx") == ()

    def test_another_list_ends_the_row(self, deploys: Deploys) -> None:
        """With a new revocation list beside the same leaf it begins anew; so it does without."""
        _deploys(deploys, "ab", DeployOutcome.FAILED, crl_number=None)
        _deploys(deploys, "ab", DeployOutcome.FAILED, crl_number=None)
        assert len(deploys.repeated_deploys("node-red")) == 2
        _deploys(deploys, "ab", DeployOutcome.FAILED, DeployOutcome.FAILED, crl_number=7)
        assert [each.crl_number for each in deploys.repeated_deploys("node-red")] == [7, 7]
        _deploys(deploys, "ab", DeployOutcome.FAILED, crl_number=8)
        assert [each.crl_number for each in deploys.repeated_deploys("node-red")] == [8]
        _deploys(deploys, "ab", DeployOutcome.FAILED, crl_number=None)
        assert [each.crl_number for each in deploys.repeated_deploys("node-red")] == [None]

    def test_inactive_is_not_unknown(self, deploys: Deploys) -> None:
        """A unit that was down is told from one that nobody could ask about."""
        deploys.begin_deploy("node-red", "ab", NOW, was_active=False, served_before=None)
        record = deploys.last_deploy("node-red")
        assert record is not None
        assert record.was_active is False


class TestHistory:
    def test_newest_first(self, history: History) -> None:
        """Events come newest first, of all, of a certificate or of a target, up to the limit."""
        events = (
            an_event("obtained", at=NOW),
            an_event("deployed", target="node-red", at=NOW + timedelta(seconds=1)),
            an_event("obtained", certificate="garden", at=NOW + timedelta(seconds=2)),
            an_event("deployed", certificate=None, target="node-red", at=NOW),
        )
        for event in events:
            history.record(event)
        first, second, third, fourth = events
        assert history.events(None, 10) == (fourth, third, second, first)
        assert history.events(None, 2) == (fourth, third)
        assert history.events("home", 10) == (second, first)
        assert history.events("node-red", 10) == (fourth, second)
        assert history.events("nothing", 10) == ()
        assert history.events("home", 10**30) == (second, first)


class TestLocks:
    @pytest.fixture(params=BOTH)
    def locks(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Locks]:
        """Locks of ours, while somebody else holds the one on the target `nginx`."""
        if request.param == "fake":
            yield FakeLocks("target-nginx")
            return
        reporter = RecordingReporter()
        with FileLocks(tmp_path, reporter, "deploy nginx").target("nginx"):
            yield FileLocks(tmp_path, reporter, "renew", timedelta(0))

    def test_different_locks_do_not_wait(self, locks: Locks) -> None:
        """Orders, authority and targets are locked apart, one after the other, time and again."""
        for _ in range(2):
            with locks.orders(), locks.authority(), locks.target("node-red"):
                pass

    def test_held_by_another(self, locks: Locks) -> None:
        """A lock held by another process is Busy in the end, and then says who holds it."""
        with (
            pytest.raises(Busy, match=r"target-nginx is held by process \d+"),
            locks.target("nginx"),
        ):
            pass

    def test_who_only_tries_does_not_wait(self, locks: Locks) -> None:
        """What is free is had, what is held is Busy at once."""
        for _ in range(2):
            with locks.try_orders(), locks.try_authority(), locks.try_target("node-red"):
                pass
        with pytest.raises(Busy, match="target-nginx is held"), locks.try_target("nginx"):
            pass

    def test_let_go_after_an_error(self, locks: Locks) -> None:
        """An error inside lets go of the lock and is passed on."""
        with pytest.raises(ZeroDivisionError), locks.orders():
            raise ZeroDivisionError
        with locks.orders():
            pass


def _attempt(attempts: Attempts, certificate: str, error: Error | None) -> int:
    number = attempts.begin_attempt(certificate, DIRECTORY, DOMAINS, NOW)
    attempts.end_attempt(number, NOW + timedelta(seconds=3), error)
    return number


def _deploys(
    deploys: Deploys, fingerprint: str, *outcomes: DeployOutcome, crl_number: int | None = None
) -> list[int]:
    """Deploys of the fingerprint to `node-red` that ended like this; their numbers."""
    numbers = []
    for outcome in outcomes:
        number = deploys.begin_deploy(
            "node-red",
            fingerprint,
            NOW,
            was_active=None,
            served_before=None,
            crl_number=crl_number,
        )
        if outcome is not DeployOutcome.BEGUN:
            error = Error("not served") if outcome is DeployOutcome.FAILED else None
            deploys.end_deploy(number, outcome, NOW + timedelta(seconds=2), error)
        numbers.append(number)
    return numbers
