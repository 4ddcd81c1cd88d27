"""Once: found out once, for all that want to know at the same time."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from certwarden.zone.once import Once
from tests.waiting import wait_until


def test_kept() -> None:
    """What was found is kept, for each key of its own."""
    asked: list[str] = []

    def find(key: str) -> str:
        asked.append(key)
        return key.upper()

    once = Once(find)
    assert [once("a"), once("b"), once("a")] == ["A", "B", "A"]
    assert asked == ["a", "b"]


def test_shared() -> None:
    """Those that ask while it is being found out wait for that one answer."""
    asked: list[int] = []
    go_on = threading.Event()

    def find(key: int) -> int:
        asked.append(key)
        go_on.wait(30)
        return -key

    once = Once(find)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(once, 7) for _ in range(8)]
        wait_until(lambda: asked)
        go_on.set()
    assert ({each.result() for each in answers}, asked) == ({-7}, [7])


def test_a_failure_is_not_kept() -> None:
    """Whoever asks after a failure finds out anew; other keys are not concerned."""
    answers = iter([None, 3])

    def find(_: str) -> int:
        if (answer := next(answers)) is None:
            raise ValueError("not now")
        return answer

    once = Once(find)
    with pytest.raises(ValueError, match="not now"):
        once("a")
    assert once("a") == 3


def test_a_signal_is_for_one_thread() -> None:
    """Where a signal ends the thread that was finding out, another one does it."""
    finds, go_on = Counter[str](), threading.Event()

    def find(key: str) -> int:
        finds[key] += 1
        if finds[key] == 1:
            go_on.wait(30)
            raise KeyboardInterrupt
        return 3

    once = Once(find)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once, "a")
        wait_until(lambda: finds)
        second = pool.submit(once, "a")
        wait_until(second.running)
        go_on.set()
    with pytest.raises(KeyboardInterrupt):
        first.result()
    assert second.result() == 3
