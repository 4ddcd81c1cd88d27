"""What is said of a settings.js, and when nothing is."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certwarden.model import TargetSpec
from certwarden.targets.node_red.advice import advice
from certwarden.targets.node_red.settings import Inspection, read_inspection
from tests.builders import a_target_spec

LIVE = "/var/lib/certwarden/live/node-red"
OURS = {"live": LIVE, "client_auth": False, "error": None}
LOGIN = {"kind": "credentials", "everyone_may_do_everything": False}


def an_answer(**other: Any) -> dict[str, Any]:
    """Of inspect.js, about a settings.js in which all is well."""
    https = {"kind": "object", "usable": True, "certwarden": OURS}
    return {"https": https, "admin_auth": LOGIN, **other}


def with_https(**other: Any) -> dict[str, Any]:
    return an_answer(https={"kind": "object", "usable": True, "certwarden": OURS, **other})


def read(answer: dict[str, Any]) -> Inspection:
    return read_inspection(Path("/home/pi/.node-red/settings.js"), answer)


SPEC = a_target_spec(directory=Path(LIVE))
GUARDED = replace(SPEC, client_auth=True)
FIXED = replace(
    a_target_spec(kind="nginx", directory=Path("/d")),
    key_path=Path("/etc/k"),
    certificate_path=Path("/etc/c"),
)
GUARD = {
    "certwarden": {**OURS, "client_auth": True},
    "request_cert": True,
    "reject_unauthorized": True,
}
HELD = {"items": {"key": {"files": [{"path": f"{LIVE}/current/privkey.pem", "mode": "0640"}]}}}
AT_FIXED = {"key": {"files": [{"path": "/etc/k"}]}, "cert": {"files": [{"path": "/etc/c"}]}}

WELL = {
    "ours": (an_answer(), SPEC),
    "ours, unknown target": (an_answer(), None),
    "ours, guarded, no login": (
        an_answer(https=with_https(**GUARD)["https"], admin_auth={"kind": "none"}),
        GUARDED,
    ),
    "behind a proxy": ({"https": {"kind": "absent"}, "ui_host": "127.0.0.1"}, None),
    "no editor": (an_answer(admin_auth={"kind": "none"}, disable_editor=True), SPEC),
    "no editor's path": (an_answer(admin_auth=None, http_admin_root=False), SPEC),
    "a login by a function": (an_answer(admin_auth={"kind": "function"}), SPEC),
    "our files, read otherwise": (with_https(certwarden=None, **HELD), SPEC),
    "files at fixed paths": (with_https(certwarden=None, items=AT_FIXED), FIXED),
    "refreshed every hour": (
        with_https(certwarden=None, kind="function") | {"https_refresh_interval": 1},
        SPEC,
    ),
    "ticket keys for everybody": (with_https(ticket_keys=True), SPEC),
}


@pytest.mark.parametrize(("answer", "spec"), WELL.values(), ids=WELL)
def test_of_what_is_well_nothing_is_said(answer: dict[str, Any], spec: TargetSpec | None) -> None:
    """There are no false alarms."""
    assert advice(read(answer), spec) == ()


GRAVE = {
    "broken": ({"error": "no"}, SPEC, "cannot be run: no"),
    "plain": (an_answer(https={"kind": "absent"}), SPEC, "plain HTTP"),
    "fails": (an_answer(https={"kind": "function", "error": "no key"}), None, "no key"),
    "our mistake": (with_https(certwarden={**OURS, "error": "live is no path"}), SPEC, "no path"),
    "unusable": (with_https(usable=False, unusable_because="mismatch"), SPEC, "mismatch"),
    "another target": (with_https(certwarden={**OURS, "live": "/l"}), SPEC, "is published to"),
    "files of others": (
        with_https(certwarden=None, items={"key": {"files": [{"path": "/etc/letsencrypt/k"}]}}),
        SPEC,
        "/etc/letsencrypt/k, which certwarden does not keep",
    ),
    "contradiction": (an_answer(), GUARDED, "asks nobody for a certificate"),
    "open key": (
        with_https(items={"key": {"files": [{"path": "/k", "mode": "0644"}]}}),
        None,
        "/k",
    ),
    "tickets": (with_https(**GUARD, ticket_keys=True), GUARDED, "resume"),
    "open editor": (an_answer(admin_auth={"kind": "none"}), SPEC, "has no login"),
    "unknown login": (an_answer(admin_auth={"kind": "other"}), SPEC, "has no login"),
    "everybody": (
        an_answer(admin_auth={"kind": "credentials", "everyone_may_do_everything": True}),
        SPEC,
        "everybody do everything",
    ),
    "optional certificates": (
        with_https(certwarden=None, request_cert=True, reject_unauthorized=False)
        | {"admin_auth": None},
        None,
        "has no login",
    ),
    "sample": (an_answer(admin_auth={**LOGIN, "sample_password": True}), SPEC, '"password"'),
    "sample for flows": (an_answer(http_node_auth={"sample_password": True}), SPEC, '"password"'),
    "uibuilder": (
        an_answer(uibuilder={"port": 3001, "without_certificate": True}),
        SPEC,
        "at port 3001",
    ),
}


@pytest.mark.parametrize(("answer", "spec", "what"), GRAVE.values(), ids=GRAVE)
def test_what_is_grave_is_said(answer: dict[str, Any], spec: TargetSpec | None, what: str) -> None:
    """One sentence about each, and what to do."""
    (said,) = advice(read(answer), spec)

    assert what in said.what
    assert said.is_grave
    assert said.remedy


@pytest.mark.parametrize(
    ("https", "hours", "what"),
    [
        ({"certwarden": None, "kind": "function"}, 12, "only every 12 h"),
        ({"certwarden": None}, 1, "does nothing"),
        ({}, 12, "does nothing"),
    ],
)
def test_a_refresh_interval_is_judged(https: dict[str, Any], hours: float, what: str) -> None:
    """It is of use to a function only, and twelve hours are long."""
    (said,) = advice(read(with_https(**https) | {"https_refresh_interval": hours}), SPEC)

    assert what in said.what
    assert not said.is_grave


def test_a_remedy_can_be_pasted() -> None:
    """Whoever wrote settings.js chooses the names in it, and root pastes the line."""
    key = {"files": [{"path": "/tmp/k; reboot", "mode": "0644"}]}
    (said,) = advice(read(with_https(items={"key": key})), None)

    assert "`chmod o= '/tmp/k; reboot'`" in said.remedy


@pytest.mark.parametrize("mode", ["zz", "0o644", "-644", "644", "06444", "٠٦٤٤", 420])
def test_a_mode_that_is_none_is_unknown(mode: object) -> None:
    """It is turned into a number."""
    key = {"files": [{"path": "/k", "mode": mode}]}

    assert advice(read(with_https(items={"key": key})), None) == ()


ANYTHING: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 10**400, 1e308, float("inf"), float("nan"), "", "0644"),
    *(
        "\x1b[2J",
        "\ud800",
        "\x00",
        "object",
        "function",
        "/" * 9,
        [],
        {},
        [[]],
        [{}],
        [None],
        {"files": 1},
    ),
    *({"files": [{"path": "/k", "mode": []}]}, {"files": [{"path": 1}]}, ["a", 1, {"b": None}]),
)
FULL = an_answer(
    error=None,
    node="v18",
    https={
        "kind": "object",
        "error": None,
        "usable": True,
        "unusable_because": "x",
        "certwarden": OURS,
        "request_cert": True,
        "reject_unauthorized": True,
        "ticket_keys": True,
        "items": {
            "key": {"files": [{"path": "/k", "realpath": "/r", "mode": "0644", "uid": 1}]},
            "cert": {"files": [{"path": "/c", "realpath": None, "mode": None, "uid": None}]},
        },
        "leaf": {"names": ["a"], "not_before": "x", "not_after": "y", "fingerprint_sha256": "z"},
    },
    https_refresh_interval=12,
    ui_host="127.0.0.1",
    ui_port=1880,
    disable_editor=False,
    http_admin_root="/",
    blocked=["a"],
    exports=["a: b"],
    uibuilder={"port": 1, "without_certificate": True},
    http_node_auth={"sample_password": True},
    http_static_auth={},
)


def forged(value: Any, dice: random.Random) -> Any:
    """The value with about one of its parts in ten replaced by something else."""
    if dice.random() < 0.1:
        return dice.choice(ANYTHING)
    if isinstance(value, dict):
        return {name: forged(each, dice) for name, each in value.items()}
    return [forged(each, dice) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(20))
def test_a_forged_answer_is_only_wrong(seed: int) -> None:
    """Whoever writes settings.js can make inspect.js answer anything: no type breaks the reader."""
    dice = random.Random(seed)  # the same every time
    for _ in range(100):
        answer = {name: forged(each, dice) for name, each in FULL.items() if dice.random() < 0.95}
        found = read(answer)
        for spec in (None, SPEC, GUARDED, FIXED):
            for said in advice(found, spec):
                assert f"{said.what}{said.remedy}".isprintable()


def test_what_is_grave_comes_first() -> None:
    """A person reads the first line."""
    answer = an_answer(admin_auth=None) | {"https_refresh_interval": 12}

    assert [each.is_grave for each in advice(read(answer), SPEC)] == [True, False]
