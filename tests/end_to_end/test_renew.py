"""The main job as a person sees it: `certwarden renew` against a real ACME server."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.waiting import wait_until
from tests.world import World
from tests.world.cloudflare import FAULT_KINDS, Fault
from tests.world.faultproxy import PROBLEMS, AcmeFault, problem
from tests.world.house import House

FILES_TARGET = """
  [[certificate.target]]
  name = "files"
  kind = "files"
"""


def versions(house: House) -> list[str]:
    return sorted(each.name for each in house.stored.glob("versions/*"))


def acme_calls(world: World, resource: str) -> int:
    """How many such requests the CA took; those that it sent back for their nonce do not count."""
    assert world.proxy is not None
    return sum(each.resource == resource and 0 < each.status < 400 for each in world.proxy.requests)


def test_the_first_renew_obtains_stores_and_cleans_up(house: House) -> None:
    """Exit 0, files as the design has them, a chain that verifies, no TXT record left."""
    run = house.run("renew")
    assert run.code == 0, run.err
    current = house.stored / "current"
    assert current.readlink() == Path("versions/0001")
    names = {"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem", "metadata.json"}
    assert names <= {each.name for each in current.iterdir()}
    assert house.world.txt_records() == []

    root = house.directory / "root.pem"
    root.write_bytes(house.world.pebble.root())
    command: list[str | Path] = ["openssl", "verify", "-CAfile", root]
    command += ["-untrusted", current / "chain.pem", current / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    leaf = x509.load_pem_x509_certificate((current / "fullchain.pem").read_bytes())
    key = load_pem_private_key((current / "privkey.pem").read_bytes(), None)
    assert leaf.public_key() == key.public_key()
    names_in_it = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names_in_it.get_values_for_type(x509.DNSName)) == {"example.org", "*.example.org"}


def test_no_file_is_wider_than_the_design_says(house: House) -> None:
    """STATE and `live` are 0711; keys and all the rest are ours alone; umask does not matter."""
    house.targets = FILES_TARGET
    house.write_config()
    before = os.umask(0)
    try:
        assert house.run("renew").code == 0
    finally:
        os.umask(before)
    traversable = {house.state, house.state / "live"}
    for path in [house.state, *house.state.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            continue
        if path in traversable:
            assert mode == 0o711, path
        elif house.state / "live" in path.parents:
            assert not mode & 0o022, path
            if path.name in {"privkey.pem", "combined.pem"}:
                assert mode == 0o640, path
        else:
            assert not mode & 0o077, path


def test_a_second_renew_orders_nothing_and_loads_nothing_heavy(house: House) -> None:
    """With nothing due: no call to the CA or to Cloudflare, neither library imported."""
    assert house.run("renew").code == 0
    assert house.world.proxy is not None
    house.world.emulator.forget_requests()
    house.world.proxy.forget_requests()
    program = (
        "import sys; from certwarden.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'acme', 'josepy', 'cloudflare', 'requests', 'dns'} & set(sys.modules);"
        "sys.exit(f'loaded: {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--config", house.config, "renew"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert house.world.emulator.calls() == 0
    assert house.world.proxy.calls() == 0
    assert versions(house) == ["0001"]


def test_four_calls_to_cloudflare_are_enough(house: House) -> None:
    """Zone, look, one batch to create both values, one to delete them."""
    assert house.run("renew").code == 0
    assert house.world.emulator.calls() <= 4
    assert house.world.emulator.calls("records.batch") == 2


def test_force_renews_what_is_not_due_under_a_new_key(house: House) -> None:
    """Each version has a key of its own, and the link moves on."""
    house.run("renew")
    assert house.run("renew", "--force").code == 0
    assert versions(house) == ["0001", "0002"]
    first, second = (house.stored / "versions" / n / "privkey.pem" for n in ("0001", "0002"))
    assert first.read_bytes() != second.read_bytes()
    assert (house.stored / "current").readlink() == Path("versions/0002")


def test_a_rehearsal_keeps_no_certificate(house: House) -> None:
    """`--dry-run` goes through DNS-01 and leaves no version, no draft and no TXT record."""
    run = house.run("renew", "--dry-run")
    assert run.code == 0, run.err
    assert not (house.stored).exists()
    assert house.world.txt_records() == []
    assert acme_calls(house.world, "finalize") == 1


def test_no_deploy_stores_only(house: House) -> None:
    """`--no-deploy` leaves the targets as they are."""
    house.targets = FILES_TARGET
    house.write_config()
    assert house.run("renew", "--no-deploy").code == 0
    assert versions(house) == ["0001"]
    assert not (house.state / "live" / "files" / "current").exists()


def test_changed_domains_are_obtained_at_once(house: House) -> None:
    """The configuration is what is wanted: a new name does not wait for the renewal date."""
    house.run("renew")
    house.domains = ("example.org", "*.example.org", "*.attic.example.org")
    house.write_config()
    (step,) = house.run("plan", "--json").json()
    assert (step["step"], "domains" in step["reason"]) == ("obtain", True)
    assert house.run("renew").code == 0
    (certificate,) = house.run("status", "--json", "--offline").json()["certificates"]
    assert set(certificate["domains"]) == set(house.domains)


def test_looking_at_an_empty_machine_leaves_it_empty(house: House) -> None:
    """`status`, `plan`, `history` and `config` write nothing."""
    for command in (["status"], ["plan"], ["history"], ["config", "show"], ["config", "check"]):
        run = house.run(*command)
        assert run.code == (3 if command == ["status"] else 0), run.err
    assert not house.state.exists()


def test_a_name_that_is_not_configured_is_a_usage_error(house: House) -> None:
    """Exit 2, with a suggestion, and nothing is written."""
    run = house.run("renew", "hme")
    assert run.code == 2
    assert "did you mean `home`" in run.err
    assert not house.state.exists()


@pytest.mark.parametrize("step", ["newOrder", "authz", "challenge", "finalize", "cert"])
def test_a_killed_renew_is_resumed_without_a_second_order(house: House, step: str) -> None:
    """SIGKILL in the midst of the conversation: the next run goes on, and leaves no TXT record."""
    world = house.world
    assert world.proxy is not None
    # The reply to this step is held back, so that the kill comes while it is under way.
    injection = world.proxy.inject(AcmeFault("slow", resource=step, seconds=20))
    process = house.start("renew")
    wait_until(lambda: injection.fired > 0, timeout=30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    world.proxy.clear_faults()
    orders_before = acme_calls(world, "newOrder")
    run = house.run("renew")
    assert run.code == 0, run.err
    # Before the CA has named its order nobody can find it again; from then on nothing is ordered.
    expected = 1 if step == "newOrder" else 0
    assert acme_calls(world, "newOrder") - orders_before == expected
    assert world.txt_records() == []
    assert versions(house) == ["0001"]


PHASES = [
    "home: ordering",
    "home: placing TXT records",
    "home: waiting for DNS",
    "home: validating",
    "home: finalizing",
    "home: storing",
    "files: installing",
    "files: reloading",
]


def kill_in(house: House, phase: str) -> bool:
    """Kills a forced renewal when it enters the phase; False if it came to its end without it."""
    process = house.start("--verbose", "renew", "--force")
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == phase:
            process.kill()
            break
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_in_any_phase_is_put_right_by_the_next_pass(house: House, phase: str) -> None:
    """Afterwards one whole pair is stored and installed, and nothing is left over."""
    house.targets = FILES_TARGET + '  reload = { command = ["/bin/true"] }\n'
    house.write_config()
    assert house.run("renew").code == 0
    assert any(kill_in(house, phase) for _ in range(10))  # a valid authorization skips some phases

    run = house.run("renew")
    assert run.code == 0, run.err
    assert house.world.txt_records() == []
    stored, live = house.stored / "current", house.state / "live" / "files" / "current"
    for name in ("privkey.pem", "fullchain.pem"):
        assert (stored / name).read_bytes() == (live / name).read_bytes()
    leaf = x509.load_pem_x509_certificate((live / "cert.pem").read_bytes())
    key = load_pem_private_key((live / "privkey.pem").read_bytes(), None)
    assert leaf.public_key() == key.public_key()
    temporaries = [each for each in house.state.rglob(".tmp-*") if each.is_file()]
    assert house.run("renew", "--force").code == 0
    assert not [each for each in temporaries if each.exists()]


def test_a_closed_terminal_ends_it_like_an_interruption(house: House) -> None:
    """SIGHUP, as from a lost ssh session: the TXT records are removed before it ends."""
    world = house.world
    assert world.proxy is not None
    injection = world.proxy.inject(AcmeFault("slow", resource="challenge", seconds=5))
    process = house.start("renew")
    wait_until(lambda: injection.fired > 0)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert world.txt_records() == []


def test_an_interrupted_renew_cleans_up_before_it_ends(house: House) -> None:
    """SIGTERM: the TXT records are removed at once, not only by the next pass."""
    world = house.world
    assert world.proxy is not None
    injection = world.proxy.inject(AcmeFault("slow", resource="challenge", seconds=5))
    process = house.start("renew")
    wait_until(lambda: injection.fired > 0, timeout=30)
    assert world.txt_records()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert "interrupted" in err
    assert world.txt_records() == []


@pytest.mark.parametrize("operation", ["zones.list", "records.list", "records.batch"])
@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_no_fault_of_cloudflare_leaves_anything_behind(
    house: House, kind: str, operation: str
) -> None:
    """Each fault ends in success or in one clear error; after the next pass nothing is left."""
    world = house.world
    world.emulator.inject(Fault(kind, operation=operation))
    run = house.run("renew")
    assert run.code in {0, 1}, run.err
    assert "Traceback" not in run.err
    if run.code:
        assert re.search(r"^home: error: \S", run.err, re.MULTILINE), run.err
    world.emulator.clear_faults()
    again = house.run("renew", "home")  # by name: no back-off holds it up
    assert again.code == 0, again.err
    assert versions(house) == ["0001"]
    assert world.txt_records() == []


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_document_becomes_a_sentence(house: House, name: str) -> None:
    """What the CA refuses is one sentence, kept in the status; the next run succeeds."""
    world = house.world
    assert world.proxy is not None
    resource = "finalize" if name in {"caa", "badCSR", "orderNotReady"} else "newOrder"
    world.proxy.inject(problem(name, resource, times=4))
    run = house.run("renew")
    assert "Traceback" not in run.err
    if run.code:
        assert run.code == 1
        assert re.search(r"^home: error: \S", run.err, re.MULTILINE), run.err
        (certificate,) = house.run("status", "--json", "--offline").json()["certificates"]
        assert certificate["last_error"]["what"]
        if name == "paused":
            assert "https://unpause.example.org/" in run.err
    world.proxy.clear_faults()
    if name in {"paused", "rateLimited"}:  # that long nobody waits here
        held = house.run("renew", "home")
        assert held.code == 1
        assert "it is not tried before" in held.err
        assert not versions(house)
    else:  # one of them asks for a second's patience
        wait_until(lambda: house.run("renew", "home").code == 0, "a certificate")
        assert versions(house) == ["0001"]
    assert world.txt_records() == []


@pytest.mark.parametrize("kind", ["truncated_chain", "truncated_pem", "wrong_key", "wrong_names"])
def test_a_wrong_certificate_is_never_stored(house: House, kind: str) -> None:
    """A download that does not fit is refused, and asked for again without a new order."""
    world = house.world
    assert world.proxy is not None
    world.proxy.inject(AcmeFault(kind, resource="cert"))
    run = house.run("renew")
    if run.code:
        assert run.code == 1
        assert not (house.stored / "current").exists()
        assert house.run("renew").code == 0
    assert acme_calls(world, "newOrder") == 1


def test_an_outage_of_the_ca_is_an_error_and_no_loop(house: House) -> None:
    """Nobody there: exit 1 with a sentence; when the CA is back, the next run succeeds."""
    assert house.world.proxy is not None
    house.world.proxy.pause()
    run = house.run("renew")
    assert run.code == 1
    assert "home: error:" in run.err
    house.world.proxy.resume()
    assert house.run("renew").code == 0


def test_a_token_without_rights_is_named_as_the_cause(house: House) -> None:
    """A dead token is a sentence about the token, with what to do."""
    token = house.directory / "token"
    token.touch(mode=0o600)
    token.write_text("cfut_" + "x" * 40)
    house.config.write_text(
        house.config.read_text().replace(str(house.world.token_file), str(token))
    )
    run = house.run("renew")
    assert run.code == 1
    assert "token" in run.err.lower()
    assert "x" * 10 not in run.err + run.out


def test_revoke_replaces_then_revokes(house: House) -> None:
    """A new certificate under a new key first, then the old one is revoked at the CA."""
    house.run("renew")
    old = house.stored / "versions" / "0001" / "cert.pem"
    serial = x509.load_pem_x509_certificate(old.read_bytes()).serial_number
    run = house.run("revoke", "home", "--reason", "keyCompromise")
    assert run.code == 0, run.err
    assert versions(house) == ["0001", "0002"]
    assert house.world.pebble.certificate_status(serial)["Status"] == "Revoked"
    assert house.run("plan", "--json").json() == []


def test_revoke_now_revokes_first(house: House) -> None:
    """With `--now` the old certificate is revoked even where no new one can be had."""
    house.run("renew")
    world = house.world
    assert world.proxy is not None
    world.proxy.inject(problem("rejectedIdentifier", "newOrder", times=4))
    assert house.run("revoke", "home", "--now").code == 1
    assert acme_calls(world, "revoke") == 1
    world.proxy.clear_faults()
    assert house.run("renew", "home").code == 0  # finishes what was begun
    assert versions(house) == ["0001", "0002"]
    assert house.run("plan", "--json").json() == []


def test_two_at_once_order_once(house: House) -> None:
    """The second waits for the first, looks again, and finds nothing to do."""
    first, second = house.start("renew"), house.start("renew")
    results = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), results
    assert acme_calls(house.world, "newOrder") == 1
    assert versions(house) == ["0001"]


def test_json_of_status_keeps_its_shape(house: House) -> None:
    """The fields that programs rely on are there, and absent is null."""
    house.targets = FILES_TARGET
    house.write_config()
    empty = house.run("status", "--json").json()["certificates"][0]
    assert (empty["state"], empty["serial"], empty["last_error"]) == ("missing", None, None)
    house.run("renew")
    (seen,) = house.run("status", "--json").json()["certificates"]
    assert seen["state"] == "ok"
    assert re.fullmatch(r"([0-9a-f]{2})+", seen["serial"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", seen["not_after"])
    assert seen["renewal"]["reason"] == "ari"
    (target,) = seen["targets"]
    assert target == {
        "name": "files",
        "kind": "files",
        "installed": seen["fingerprint_sha256"],
        "served": None,
        "state": "not-probed",
    }


def test_no_secret_of_a_run_is_to_be_seen(house: House, tmp_path: Path) -> None:
    """Token and keys are in no output and in no file that others may read, faults included."""
    house.targets = FILES_TARGET
    house.write_config()
    world = house.world
    outputs: list[str] = []
    world.emulator.inject(Fault("token_9109", operation="records.batch"))
    for command in (
        ["--verbose", "renew"],
        ["--verbose", "renew"],
        ["renew", "--force"],
        ["revoke", "home"],
        ["status"],
        ["status", "--json"],
        ["history"],
        ["config", "show"],
        ["config", "show", "--json"],
        ["plan"],
        ["snippet", "node-red"],
    ):
        run = house.run(*command)
        outputs += [run.out, run.err]
    secrets = {world.token_file.read_text().strip().encode()}
    for key in [*house.state.rglob("privkey.pem"), *house.state.rglob("*.key")]:
        # Any line of a key would do harm; its first and last lines are the same in every key.
        secrets |= {line for line in key.read_bytes().splitlines() if b"-----" not in line}
    assert len(secrets) > 6
    visible = [text.encode() for text in outputs]
    visible += [
        path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o004
    ]
    visible.append((house.state / "certwarden.db").read_bytes())
    for secret in secrets:
        assert not any(secret in each for each in visible)


def test_history_tells_what_happened(house: House) -> None:
    """Newest first, by certificate, as JSON."""
    house.run("renew")
    house.run("renew", "--force")
    events = house.run("history", "home", "--json").json()
    assert [event["kind"] for event in events] == ["obtained", "obtained"]
    assert "version 2" in json.dumps(events[0])
