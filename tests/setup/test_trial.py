"""A token is tried by somebody who is nobody, for as long as that may take."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from certwarden.errors import TargetError, ZoneError
from certwarden.model import Secret
from certwarden.setup import trial
from certwarden.setup.trial import Trial, try_out
from certwarden.targets.process import Identity
from certwarden.zone.client import PATIENCE, TIMEOUT


def test_a_trial_may_take_as_long_as_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between making the record and removing it, it would leave the record there; and what
    is told then is about Cloudflare, so that the token is asked for again.
    """
    given: list[float] = []

    def run_as(
        _identity: Identity, _groups: list[int], _work: Callable[[], bytes], *, seconds: float = 30
    ) -> bytes:
        given.append(seconds)
        raise TargetError("what user 65534 has to do took more than a moment")

    monkeypatch.setattr(trial, "is_root", lambda: True)
    monkeypatch.setattr(trial, "run_as", run_as)
    with pytest.raises(ZoneError, match="before Cloudflare had answered"):
        try_out(Secret(b"cfut_0123456789"), Trial(["example.org"], None, {}))
    tried = trial._PATIENCE + 2 * PATIENCE
    assert timedelta(seconds=given[0]) > tried + 3 * timedelta(seconds=TIMEOUT.read or 0)
