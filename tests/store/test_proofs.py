"""The book of proofs: the last one of each target, whole."""

from datetime import timedelta

from certwarden.model import Proof, ProofOutcome
from certwarden.store.proofs import PROOFS_KEPT
from tests.builders import NOW
from tests.fakes_authority import a_proof_book

FIRST = Proof("node-red", 4, NOW, ProofOutcome.PROVEN)
SECOND = Proof(
    target="node-red",
    crl_number=5,
    at=NOW + timedelta(days=1),
    outcome=ProofOutcome.REFUTED,
    what="a revoked client was let in",
    hint="restart it",
    since=NOW,
    failures=3,
    is_resumable=True,
)


def test_the_last_proof_counts() -> None:
    """A target's proof takes the place of the one before, with all that was found out."""
    book = a_proof_book()
    assert book.proofs() == ()
    book.save_proof(FIRST)
    assert book.proofs() == (FIRST,)
    other = Proof("nginx", 4, NOW, ProofOutcome.UNKNOWN, "nobody answers")
    book.save_proof(other)
    book.save_proof(SECOND)
    assert book.proofs() == (other, SECOND)


def test_what_is_kept_is_bounded() -> None:
    """Targets that are configured no more do not fill the card."""
    book = a_proof_book()
    for number in range(PROOFS_KEPT + 2):
        book.save_proof(Proof(f"target-{number}", 1, NOW, ProofOutcome.PROVEN))
    kept = [proof.target for proof in book.proofs()]
    assert kept == [f"target-{number}" for number in range(2, PROOFS_KEPT + 2)]


def test_a_target_is_forgotten() -> None:
    """Of one that asks nobody any more nothing is known, and the others stay."""
    book = a_proof_book()
    book.save_proof(FIRST)
    other = Proof("nginx", 4, NOW, ProofOutcome.UNKNOWN, "nobody answers")
    book.save_proof(other)
    book.forget_proof(FIRST.target)
    book.forget_proof("unknown")
    assert book.proofs() == (other,)
