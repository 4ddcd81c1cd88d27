"""The metrics file is what node_exporter's textfile collector takes, whole at every instant."""

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certwarden import __version__
from certwarden.errors import StoreError
from certwarden.lifecycle.metrics import render_metrics
from certwarden.lifecycle.trust import Verdict
from certwarden.metrics import MetricsFile
from certwarden.model import Observed, ObservedTarget, Served, TokenCheck, Trust, Unreachable
from tests.builders import (
    NOW,
    a_certificate_spec,
    a_pair,
    a_stored,
    a_target_spec,
    an_attempt,
    an_installed,
)

TRUSTED = Verdict(Trust.TRUSTED, synchronised=True)
Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _parse(text: str) -> Metrics:
    """Reads the exposition format 0.0.4, and is strict: nothing else, in order, nothing twice."""
    found: Metrics = {}
    described: list[str] = []
    typed: list[str] = []
    assert text.isascii()
    assert text.endswith("\n")
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            name, words = line.removeprefix("# HELP ").split(" ", 1)
            assert words.strip() == words
            assert words
            assert name not in described, "a family is in one piece"
            described.append(name)
        elif line.startswith("# TYPE "):
            name, kind = line.removeprefix("# TYPE ").split(" ")
            assert name == described[-1]
            assert kind == "gauge"
            typed.append(name)
        else:
            name, labels, value = _parse_sample(line)
            assert name == described[-1] == typed[-1]
            assert name.removeprefix("certwarden_").replace("_", "").isalpha()
            assert (name, labels) not in found
            found[name.removeprefix("certwarden_"), labels] = value
    assert described == typed
    assert {name.removeprefix("certwarden_") for name in described} == {name for name, _ in found}
    return found


def _parse_sample(line: str) -> tuple[str, frozenset[tuple[str, str]], float]:
    head, value = line.rsplit(" ", 1)
    if not head.endswith("}"):
        assert head.isidentifier()
        return head, frozenset(), float(value)
    name, rest = head.removesuffix("}").split("{", 1)
    labels = []
    while rest:
        label, rest = rest.split('="', 1)
        assert label.isidentifier()
        text = ""
        while not rest.startswith('"'):
            character, rest = rest[0], rest[1:]
            if character == "\\":
                character, rest = {"n": "\n", "\\": "\\", '"': '"'}[rest[0]], rest[1:]
            text += character
        labels.append((label, text))
        rest = rest.removeprefix('"')
        assert not rest or rest.startswith(",")
        rest = rest.removeprefix(",")
    return name, frozenset(labels), float(value)


def _observed() -> Observed:
    stored, spec = a_stored(), a_target_spec()
    target = ObservedTarget(spec, an_installed(stored.pair), Served(stored.certificate), None)
    return Observed(a_certificate_spec(targets=[spec]), stored, None, (target,))


def _rendered(
    *observed: Observed,
    verdict: Verdict = TRUSTED,
    check: TokenCheck | None = None,
    now: datetime = NOW,
    is_good: bool = True,
) -> Metrics:
    return _parse(render_metrics(observed, verdict, check, now, is_good=is_good))


HOME = frozenset({("certificate", "home")})
AT_HOME = HOME | {("target", "node-red")}


def test_everything_is_there() -> None:
    """One family for each thing that a person may want an alarm about."""
    end = (NOW + timedelta(days=90)).timestamp()
    check = TokenCheck(NOW, "setup", expires_at=NOW + timedelta(days=7))
    assert _rendered(_observed(), check=check) == {
        ("build_info", frozenset({("version", __version__)})): 1,
        ("last_pass_timestamp_seconds", frozenset()): NOW.timestamp(),
        ("last_pass_success", frozenset()): 1,
        ("clock_trusted", frozenset()): 1,
        ("token_expiry_timestamp_seconds", frozenset()): (NOW + timedelta(days=7)).timestamp(),
        ("certificate_not_after_timestamp_seconds", HOME): end,
        ("certificate_renewal_timestamp_seconds", HOME): (NOW + timedelta(days=60)).timestamp(),
        ("certificate_failures", HOME): 0,
        ("target_in_use", AT_HOME): 1,
        ("target_served_not_after_timestamp_seconds", AT_HOME): end,
    }


def test_failures_show() -> None:
    """A bad pass, a failing certificate and an untrusted clock are numbers as well."""
    observed = replace(_observed(), failures=(an_attempt(number=2), an_attempt()))
    verdict = Verdict(Trust.CONTRADICTED, None, "it is wrong", "set it")
    found = _rendered(observed, verdict=verdict, is_good=False)
    assert found["last_pass_success", frozenset()] == 0
    assert found["clock_trusted", frozenset()] == 0
    assert found["certificate_failures", HOME] == 2


def test_another_certificate_is_not_in_use() -> None:
    """What is served and not stored is seen to be served, and not in use."""
    observed = _observed()
    other = Served(a_pair(days=10).certificate)
    observed = replace(observed, targets=(replace(observed.targets[0], seen=other),))
    found = _rendered(observed)
    assert found["target_in_use", AT_HOME] == 0
    served = found["target_served_not_after_timestamp_seconds", AT_HOME]
    assert served == (NOW + timedelta(days=10)).timestamp()


def test_what_is_not_known_is_left_out() -> None:
    """No certificate yet, nobody at the target, no end of the token, a clock nobody asked about."""
    observed = _observed()
    target = replace(observed.targets[0], seen=Unreachable("nobody answers"))
    observed = replace(observed, stored=None, targets=(target,))
    verdict = Verdict(Trust.UNKNOWN, None, is_asked=False)
    names = {name for name, _ in _rendered(observed, verdict=verdict, check=TokenCheck(NOW, "s"))}
    assert names == {
        "build_info",
        "last_pass_timestamp_seconds",
        "last_pass_success",
        "certificate_renewal_timestamp_seconds",
        "certificate_failures",
        "target_in_use",
    }
    unprobed = replace(observed, targets=(replace(target, seen=None),))
    assert "target_in_use" not in {name for name, _ in _rendered(unprobed)}


def test_labels_are_escaped() -> None:
    """No name can break out of its quotes, whatever a configuration may come to allow."""
    name = 'a"b\\c\nd'
    observed = replace(_observed(), spec=a_certificate_spec(name), targets=())
    assert ("certificate_failures", frozenset({("certificate", name)})) in _rendered(observed)


def test_instants_beyond_2038_are_exact() -> None:
    """No time_t of 32 bits is involved, and no digit is lost."""
    later = datetime(2106, 3, 1, 12, 34, 56, 250_000, tzinfo=UTC)
    found = _rendered(now=later)
    assert found["last_pass_timestamp_seconds", frozenset()] == 4296890096.25


def test_the_file_is_whole_and_readable(tmp_path: Path) -> None:
    """It is replaced by a rename; nothing else is left that the collector would read."""
    path = tmp_path / "certwarden.prom"
    MetricsFile(path).write("old 1\n" * 1000)
    before = path.stat().st_ino
    os.umask(os.umask(0o077))  # the mode does not depend on it
    MetricsFile(path).write("new 1\n")
    assert path.read_text() == "new 1\n"
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """The collector's directory is not ours to make."""
    with pytest.raises(StoreError, match="No such file") as failed:
        MetricsFile(tmp_path / "absent" / "certwarden.prom").write("new 1\n")
    assert "directory" in failed.value.hint
