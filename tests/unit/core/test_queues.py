"""A queue that does what the standard library's does, but for waiting for ever when a short time is up."""

from __future__ import annotations

import itertools
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from encord_agents.core.queues import Empty, SimpleQueue


def test_first_in_first_out() -> None:
    """Entries come in the order in which they were put, ``None`` and equal ones included."""
    queue: SimpleQueue[int | None] = SimpleQueue()
    for entry in (3, None, 3, 1):
        queue.put(entry)
    assert [queue.get(), queue.get(timeout=0), queue.get_nowait(), queue.get(timeout=60)] == [3, None, 3, 1]


def test_nothing_there() -> None:
    """An empty queue says so, at once or after the time."""
    queue: SimpleQueue[int] = SimpleQueue()
    for timeout in (-1.0, 0.0, 0.01):
        with pytest.raises(Empty):
            queue.get(timeout=timeout)
    with pytest.raises(Empty):
        queue.get_nowait()
    queue.put(1)
    assert queue.get() == 1
    with pytest.raises(Empty):
        queue.get(timeout=0.01)


@pytest.mark.parametrize("seconds", [1e-9, 1e-7, 1e-6, 1e-5])
@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_a_time_that_is_up_before_the_wait_begins(seconds: float, used: bool) -> None:
    """It is up: CPython 3.11's own queue waits for ever in one of a few such calls."""
    for _ in range(1_000):
        queue: SimpleQueue[int] = SimpleQueue()
        if used:
            queue.put(1)
            queue.get()
        with pytest.raises(Empty):
            queue.get(timeout=seconds)


def test_an_entry_ends_the_wait() -> None:
    """Whoever waits, without end or for a time, gets what is put meanwhile."""
    for timeout in (None, 60.0, 1e12, math.inf):
        queue: SimpleQueue[int] = SimpleQueue()
        with ThreadPoolExecutor(1) as pool:
            got = pool.submit(queue.get, timeout=timeout)
            queue.put(7)
            assert got.result(60) == 7


def test_many_threads() -> None:
    """Each entry is taken once, and no thread waits while there is one."""
    queue: SimpleQueue[int | None] = SimpleQueue()
    got: list[list[int]] = [[] for _ in range(8)]

    def take(mine: list[int]) -> None:
        while (entry := queue.get(timeout=60)) is not None:
            mine.append(entry)

    def give(first: int) -> None:
        for entry in range(first, first + 500):
            queue.put(entry)

    takers = [threading.Thread(target=take, args=(mine,)) for mine in got]
    givers = [threading.Thread(target=give, args=(first,)) for first in range(0, 2_000, 500)]
    for thread in takers + givers:
        thread.start()
    for thread in givers:
        thread.join(60)
    for _ in takers:
        queue.put(None)
    for thread in takers:
        thread.join(60)
    assert Counter(entry for mine in got for entry in mine) == Counter(range(2_000))


def test_several_entries_for_one_that_is_woken() -> None:
    """Entries that came before a waiting thread got to run are taken by the others that wait."""
    queue: SimpleQueue[int] = SimpleQueue()
    there = threading.Barrier(4)
    got: list[int] = []

    def take() -> None:
        there.wait(60)
        got.append(queue.get(timeout=60))

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    there.wait(60)
    for entry in range(3):
        queue.put(entry)
    for thread in threads:
        thread.join(60)
    assert sorted(got) == [0, 1, 2]


class TestSignals:
    """A handler may put something, wherever in the queue it has interrupted the main thread."""

    @pytest.fixture
    def queue(self) -> Iterator[SimpleQueue[int]]:
        """A queue in which the handler of a signal puts how often it was called."""
        queue: SimpleQueue[int] = SimpleQueue()
        calls = itertools.count(1)
        before = signal.signal(signal.SIGUSR1, lambda *_: queue.put(next(calls)))
        yield queue
        signal.signal(signal.SIGUSR1, before)

    def test_while_the_main_thread_waits(self, queue: SimpleQueue[int]) -> None:
        """It wakes."""
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert queue.get(timeout=60) == 1

    def test_while_the_main_thread_puts_and_gets(self, queue: SimpleQueue[int]) -> None:
        """Nothing is lost, and nothing waits for itself."""
        sending = threading.Thread(target=send_signals, args=(300,))
        sending.start()
        got, put = [], 0
        while sending.is_alive():
            queue.put(0)
            put += 1
            got.append(queue.get(timeout=60))
        with suppress(Empty):
            while True:
                got.append(queue.get_nowait())
        assert got.count(0) == put
        calls = sorted(entry for entry in got if entry)  # a second signal interrupts the first one's handler
        assert calls == list(range(1, len(calls) + 1))
        assert calls


def send_signals(times: int) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.0005)
