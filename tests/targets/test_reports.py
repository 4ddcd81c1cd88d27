"""The reports of Node-RED's module: written by flows, read as an enemy's."""

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certwarden.targets.node_red.reports import (
    MAX_REPORT_BYTES,
    Report,
    forget_the_dead,
    read_reports,
    read_sightings,
)

GOOD = '{"generation": "0001", "servers": 1, "error": null}'


@pytest.fixture
def dead_pid() -> int:
    """Of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def put(directory: Path, text: str | bytes, name: str = f"{os.getpid()}.json") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_report_is_read(tmp_path: Path) -> None:
    """The process by the name of the file, not by what stands in it."""
    put(tmp_path, '{"pid": 1, "generation": "0007", "servers": 2, "error": "a\\u001b[31m b"}')

    assert read_reports(tmp_path) == (Report(os.getpid(), "0007", 2, "a[31m b"),)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b"[" * 4000,
        b'{"servers": ' + b"9" * 4000 + b"}" + b" " * 100,
        b'{"error": "' + b"x" * MAX_REPORT_BYTES + b'"}',
        b"1e999999",
    ],
)
def test_what_is_no_report_is_left_out(tmp_path: Path, text: bytes) -> None:
    """Too long, too deep, no JSON, no object: nothing of it is believed, and nothing is raised."""
    put(tmp_path, text)

    assert all(report.error == "" for report in read_reports(tmp_path))


def test_wrong_types_are_not_believed(tmp_path: Path) -> None:
    """Each value alone."""
    put(tmp_path, '{"generation": ["0001"], "servers": true, "error": {"a": 1}}')

    assert read_reports(tmp_path) == (Report(os.getpid(), "", 0, ""),)


def test_clients_are_told_by_our_serials(tmp_path: Path) -> None:
    """Lower case; an instant is UTC, and may be any: what it is worth is for others to say."""
    put(
        tmp_path,
        '{"clients": {"0A1B": "2026-11-22T10:00:00Z", "7F": "2999-01-01T00:00:00Z"}}',
    )
    (report,) = read_reports(tmp_path)
    assert report.clients == {
        "0a1b": datetime(2026, 11, 22, 10, tzinfo=UTC),
        "7f": datetime(2999, 1, 1, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("serial", "instant"),
    [
        ("0a", '"2026-11-22T10:00:00Z"'),
        ("A", '"2026-11-22T10:00:00Z"'),
        ("000A", '"2026-11-22T10:00:00Z"'),
        ("", '"2026-11-22T10:00:00Z"'),
        ("0A\\n", '"2026-11-22T10:00:00Z"'),
        ("AB" * 21, '"2026-11-22T10:00:00Z"'),
        ("0A", '"2026-11-22T10:00:00+00:00"'),
        ("0A", '"2026-11-22 10:00:00Z"'),
        ("0A", '"2026-11-22T10:00:00.5Z"'),
        ("0A", '"2026-02-30T10:00:00Z"'),
        ("0A", '"0000-01-01T00:00:00Z"'),
        ("0A", '"٢026-11-22T10:00:00Z"'),
        ("0A", "1795341600"),
        ("0A", "null"),
        ("0A", '["2026-11-22T10:00:00Z"]'),
    ],
)
def test_a_sighting_in_another_form_is_left_out(tmp_path: Path, serial: str, instant: str) -> None:
    """That one alone: the others are told."""
    put(tmp_path, f'{{"clients": {{"{serial}": {instant}, "0B": "2026-11-22T10:00:00Z"}}}}')
    (report,) = read_reports(tmp_path)
    assert report.clients is not None
    assert [*report.clients] == ["0b"]


@pytest.mark.parametrize("clients", ["null", "[]", '"0A"', "7"])
def test_who_does_not_tell_of_clients_has_not_seen_nobody(tmp_path: Path, clients: str) -> None:
    """An older module says nothing: that is not the same as that nobody came."""
    put(tmp_path, GOOD)
    assert read_sightings(tmp_path) is None
    put(tmp_path, f'{{"clients": {clients}}}')
    assert read_sightings(tmp_path) is None
    put(tmp_path, '{"clients": {}}')
    assert read_sightings(tmp_path) == {}


def test_of_several_processes_the_latest_sighting_counts(tmp_path: Path) -> None:
    """Whichever of them it was; one that does not tell takes nothing away."""
    early, late = '"2026-11-22T10:00:00Z"', '"2026-11-22T11:00:00Z"'
    put(tmp_path, f'{{"clients": {{"0A": {early}, "0B": {late}}}}}')
    put(tmp_path, f'{{"clients": {{"0A": {late}, "0B": {early}}}}}', f"{os.getppid()}.json")
    put(tmp_path, GOOD, "1.json")
    at = datetime(2026, 11, 22, 11, tzinfo=UTC)
    assert read_sightings(tmp_path) == {"0a": at, "0b": at}


def test_as_many_clients_as_the_module_remembers_fit(tmp_path: Path) -> None:
    """200 of the longest serials, with what else stands in a report."""
    clients = {
        f"{number:040X}".replace("0", "F", 1): "2026-11-22T10:00:00Z" for number in range(200)
    }
    put(tmp_path, json.dumps({"clients": clients, "error": "x" * 1000}))
    assert len(read_sightings(tmp_path) or {}) == 200


def test_links_pipes_and_directories_are_not_read(tmp_path: Path) -> None:
    """A link could lead to a file of ours; a pipe would have us wait for ever."""
    secret = put(tmp_path, '{"error": "a secret"}', "secret")
    me, parent = os.getpid(), os.getppid()
    (tmp_path / f"{me}.json").symlink_to(secret)
    os.mkfifo(tmp_path / f"{parent}.json")
    (tmp_path / "1.json").mkdir()

    assert read_reports(tmp_path) == ()


@pytest.mark.parametrize("name", ["x.json", "-1.json", "1.json.bak", "٣.json", "99999999999.json"])
def test_other_names_are_passed_over(tmp_path: Path, name: str) -> None:
    """Only a process's number makes a report."""
    put(tmp_path, GOOD, name)

    assert read_reports(tmp_path) == ()


def test_the_living_count_before_the_dead(tmp_path: Path, dead_pid: int) -> None:
    """What a crashed Node-RED said last is of no interest while another one runs."""
    put(tmp_path, '{"error": "old"}', f"{dead_pid}.json")
    assert [report.error for report in read_reports(tmp_path)] == ["old"]

    put(tmp_path, GOOD)

    assert [report.pid for report in read_reports(tmp_path)] == [os.getpid()]


def test_of_several_dead_the_newest_counts(tmp_path: Path, dead_pid: int) -> None:
    """None seems to live in a container; what was written there before its last start is over."""
    for age, pid in enumerate((dead_pid, 4_194_305, 4_194_306)):
        path = put(tmp_path, f'{{"generation": "000{9 - age}"}}', f"{pid}.json")
        os.utime(path, (1000 - age, 1000 - age))
    assert [report.generation for report in read_reports(tmp_path)] == ["0009"]
    put(tmp_path, "{", "4194307.json")
    assert [report.generation for report in read_reports(tmp_path)] == ["0009"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write as somebody else")
def test_a_number_that_was_given_to_another_users_process_is_no_life(tmp_path: Path) -> None:
    """Node-RED has ended, and its number goes on: what it said last is nobody's."""
    put(tmp_path, '{"generation": "0002"}', f"{os.getppid()}.json")
    strange = put(tmp_path, GOOD)
    os.chown(strange, 65534, 65534)
    assert [report.pid for report in read_reports(tmp_path)] == [os.getppid()]
    forget_the_dead(tmp_path)
    assert not strange.exists()


def test_the_dead_are_forgotten(tmp_path: Path, dead_pid: int) -> None:
    """Their reports would pile up for years; those of the living stay, and so does all else."""
    put(tmp_path, GOOD, f"{dead_pid}.json")
    put(tmp_path, GOOD, f"{dead_pid}.json.tmp")
    put(tmp_path, GOOD)
    put(tmp_path, "", "README")

    forget_the_dead(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {f"{os.getpid()}.json", "README"}


def test_no_directory_means_no_reports(tmp_path: Path) -> None:
    """Before the first publication."""
    assert read_reports(tmp_path / "loaded") == ()
    forget_the_dead(tmp_path / "loaded")
