"""A few threads for short jobs, none of which keeps a process from ending."""

from __future__ import annotations

import sys
import threading

import pytest
from tests import preloaded
from tests.waiting import PATIENCE

from encord_agents.tasks.engine.thread_pool import PoolClosedError, ThreadPool

HANGING = """
import threading
from encord_agents.tasks.engine.thread_pool import ThreadPool, PoolClosedError

begun = threading.Event()
ThreadPool(1, "hanging").submit(lambda: (begun.set(), threading.Event().wait()))
begun.wait()
"""


def test_no_more_at_once_than_there_are() -> None:
    """As many jobs at once as the pool has threads; the others wait their turn, and all are done."""
    pool = ThreadPool(3, "test-pool")
    lock = threading.Lock()
    inside = most = 0
    full = threading.Barrier(3)

    def job() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        full.wait(10)
        with lock:
            inside -= 1

    for future in [pool.submit(job) for _ in range(9)]:
        future.result(10)
    assert most == 3
    for thread in pool.close():
        thread.join(10)
        assert not thread.is_alive()


def test_no_job_waits_while_there_could_be_another_thread() -> None:
    """Given one after the other, however the threads' turns fall, they are all at work together."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            pool = ThreadPool(3, "test-together")
            pool.submit(lambda: None).result(10)
            together = threading.Barrier(3)
            for future in [pool.submit(lambda barrier=together: barrier.wait(60)) for _ in range(3)]:
                future.result(10)
            pool.close()
    finally:
        sys.setswitchinterval(before)


def test_what_a_job_raises_is_its_own() -> None:
    """Whoever waits for it gets it; the thread goes on with the next."""
    pool = ThreadPool(1, "test-pool")

    def bad() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        pool.submit(bad).result(10)
    pool.submit(lambda: None).result(10)
    assert len(pool.close()) == 1


def test_a_cancelled_job_is_not_done() -> None:
    """And takes no thread along."""
    pool = ThreadPool(1, "test-pool")
    go, done = threading.Event(), []
    pool.submit(lambda: bool(go.wait(10)) and None)
    second = pool.submit(lambda: done.append("second"))
    assert second.cancel()
    third = pool.submit(lambda: done.append("third"))
    go.set()
    third.result(10)
    assert done == ["third"]
    pool.close()


def test_sent_home() -> None:
    """Afterwards nothing can be submitted; what was submitted before is done."""
    pool = ThreadPool(2, "test-pool")
    done: list[int] = []
    future = pool.submit(lambda: done.append(1))
    threads = pool.close()
    future.result(10)
    for thread in threads:
        thread.join(10)
    assert done == [1]
    with pytest.raises(RuntimeError):
        pool.submit(lambda: None)


def test_a_job_that_hangs_does_not_keep_the_process() -> None:
    """Unlike a `ThreadPoolExecutor`'s."""
    assert preloaded.run([sys.executable, "-c", HANGING], timeout=PATIENCE).returncode == 0


def test_start_alld() -> None:
    """All hands are there before there is work for them, and not one more; a pool that was sent home starts none."""
    pool = ThreadPool(4, "test-start_alld")
    pool.start_all()
    pool.start_all()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("test-start_alld")]
    assert len(names) == 4
    for thread in pool.close():
        thread.join(10)
    pool.start_all()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-start_alld")]
    with pytest.raises(PoolClosedError):
        pool.submit(lambda: None)


def test_fewer_threads_than_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the system has do the work; without any, whoever submits gets the error."""
    start, left = threading.Thread.start, [2]

    def limited(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    pool, nobody = ThreadPool(4, "test-few"), ThreadPool(4, "test-nobody")
    pool.start_all()
    for future in [pool.submit(lambda: None) for _ in range(9)]:
        future.result(10)
    assert len(pool.close()) == 2
    nobody.start_all()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        nobody.submit(lambda: None)
    assert nobody.close() == []
