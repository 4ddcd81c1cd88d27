"""`certwarden doctor` in a house where one thing is wrong, or two; and in one where nothing is."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from certwarden.doctor.examination import checks
from certwarden.targets.units import is_booted
from tests.end_to_end.ailing import ZONES, Ailing, ailing
from tests.end_to_end.ailments import FAULTS, PAIRS, Fault, pairs
from tests.world import World
from tests.world.house import House, Run

pytestmark = pytest.mark.xdist_group("doctor-ailing")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ailing]:
    with World(zones=ZONES) as world, ailing(world, tmp_path_factory.mktemp("house")) as house:
        yield house


def troubles(run: Run) -> list[dict[str, str]]:
    """What needs attention; each says so whole, and the exit status with them."""
    findings = [each for each in run.json() if each["result"] in ("warning", "error")]
    assert run.code == (3 if findings else 0)
    for each in findings:
        assert each["what"]
        assert each["remedy"]
        assert "Traceback" not in each["what"]
    return findings


def is_named(fault: Fault, findings: list[dict[str, str]], house: Ailing) -> bool:
    """Whether one of the findings is this fault."""
    subject = fault.subject.format(**house.places)
    return any(
        each["check"] == fault.check
        and (each["subject"] or "").startswith(subject)
        and fault.says in each["what"]
        for each in findings
    )


# ── nothing is wrong ──────────────────────────────────────────────────────────────────────────────


def test_a_house_that_is_well_is_not_alarmed(house: Ailing) -> None:
    """Every check but that of a file that there is not has found something in order."""
    run = house.look("--json")
    assert troubles(run) == []
    found = {each["check"] for each in run.json()}
    assert found == set(checks()) - {"node-red-settings"}
    in_order = {each["check"] for each in run.json() if each["result"] == "ok"}
    assert found - in_order == {"port-53"}
    run = house.look()
    assert run.code == 0
    assert len(run.out.splitlines()) == 1
    assert "in order" in run.out
    assert run.err == ""


@pytest.mark.skipif(is_booted(), reason="this machine's own service would be looked at")
def test_the_program_itself_says_it_in_text_and_json(house: Ailing) -> None:
    """Exit 0 while all is well, 3 with a fault; and what is to be done."""
    with house.without_nginx(), house.address():
        run = house.row.run("doctor")
        assert (run.code, run.err) == (0, ""), run.out
        with FAULTS["a token that may only read"].plant(house):
            run = house.row.run("doctor")
            assert (run.code, run.err) == (3, "")
            assert "ERROR    token-zones example.org: " in run.out
            assert "→ give the token Zone / DNS / Edit" in run.out
            (finding,) = troubles(house.row.run("doctor", "--json"))
            assert finding["check"] == "token-zones"


# ── one thing is wrong, or two ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_nothing_else(house: Ailing, name: str) -> None:
    """By its check, with what to do; no other complains but those that it rightly troubles."""
    fault = FAULTS[name]
    with fault.plant(house):
        run = house.look("--json")
    findings = troubles(run)
    assert is_named(fault, findings, house), findings
    assert {each["check"] for each in findings} <= {fault.check, *fault.also}, findings


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: " and ".join(f.name for f in pair))
def test_of_two_faults_both_are_named(house: Ailing, pair: tuple[Fault, Fault]) -> None:
    """Neither hides the other."""
    one, other = pair
    with one.plant(house), other.plant(house):
        run = house.look("--json")
    findings = troubles(run)
    assert is_named(one, findings, house), findings
    assert is_named(other, findings, house), findings
    rightly = {one.check, other.check, *one.also, *other.also}
    assert {each["check"] for each in findings} <= rightly, findings


def test_the_table_is_as_large_as_was_promised() -> None:
    """At least forty faults, and sixty pairs, with each of them in two."""
    assert len(FAULTS) >= 40
    assert len({frozenset(each.name for each in pair) for pair in pairs()}) == PAIRS == 60
    seen = Counter(each.name for pair in pairs() for each in pair)
    assert all(seen[name] >= 2 for name in FAULTS), seen


def test_the_house_is_well_again(house: Ailing) -> None:
    """Everything was put back, so that each fault was alone."""
    assert troubles(house.look("--json")) == []


# ── a house in which little can be seen ───────────────────────────────────────────────────────────


def test_mistakes_in_the_configuration_are_all_named(house: Ailing) -> None:
    """Nothing else can be looked at then."""
    with house.set("[acme]", "profle = 1"), house.set("[cloudflare]", "zone_ids = 5"):
        findings = troubles(house.look("--json"))
    assert {each["check"] for each in findings} == {"configuration"}
    assert len(findings) == 2
    assert "acme.profle" in json.dumps(findings)
    assert "cloudflare.zone_ids" in json.dumps(findings)


def test_a_machine_with_a_configuration_and_nothing_else_gets_sentences(
    house: Ailing, tmp_path: Path
) -> None:
    """Nothing is made there, not even the state directory."""
    empty = House(house.world, tmp_path, targets=house.row.house.targets)
    for name in ("safe", "backup.passphrase"):
        config = empty.config.read_text()
        empty.config.write_text(config.replace(str(tmp_path / name), str(house.directory / name)))
    run = empty.run("doctor", "--json")
    findings = troubles(run)
    assert run.err == ""
    assert {each["check"] for each in findings} >= {"certificate", "client-authority"}
    assert not any("could not be looked at" in each["what"] for each in findings), findings
    assert [each.name for each in tmp_path.iterdir()] == ["config.toml"]


def test_where_nobody_answers_it_comes_to_an_end(house: Ailing, tmp_path: Path) -> None:
    """Cloudflare, the CA and the name server take what is sent, and say nothing."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=200) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as name_server,
    ):
        name_server.bind(listener.getsockname())
        silent = f"127.0.0.1:{listener.getsockname()[1]}"
        mute = House(house.world, tmp_path)
        text = mute.config.read_text()
        for heard, address in (
            (house.world.directory_url, f"https://{silent}/dir"),
            (house.world.api_base_url, f"http://{silent}/client/v4"),
            (house.world.nameserver, silent),
        ):
            text = text.replace(heard, address)
        mute.config.write_text(text)
        findings = troubles(mute.run("doctor", "--json", timeout=40))
    assert {each["check"] for each in findings} >= {"token", "directory"}
