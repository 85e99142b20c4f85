"""Worker processes of our own: what they say, and how they end."""

from __future__ import annotations

import atexit
import multiprocessing.util
import os
import pickle
import resource
import signal
import stat
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from tests import preloaded
from tests.waiting import PATIENCE, until

from encord_agents.core.queues import SimpleQueue
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.processes import Processes, Worker, in_words
from encord_agents.tasks.runner.run_options import DrainOptions

ROOT = Path(__file__).parents[4]
DONE = messages.AttemptEnded(UUID(int=1))
OPTIONS = DrainOptions(batch_size=1)
FORK = multiprocessing.get_context("fork")
M = TypeVar("M")


class Told:
    """Stands for a queue function that does what it is told: each task is a step, ``word argument``."""

    def __init__(self, name: str = "told") -> None:
        self.runner = self
        self.__qualname__ = name

    def __reduce__(self) -> str:
        return self.__qualname__

    def connect(self, stop: Stop) -> None:
        pass

    def drive(
        self, feed: SimpleQueue[Any], options: DrainOptions, *, stop: Stop, say: Callable[[Any], None]
    ) -> messages.Ended:
        while (given := feed.get()) is not None:
            for one in given.tasks:
                if not stop.requested:
                    do(one.task, say, stop)
                    say(DONE)
        return messages.Ended()

    def close(self) -> None:
        if directory := os.environ.get("TEST_DIRECTORY"):
            (Path(directory) / f"closed-{os.getpid()}").touch()


def do(step: str, say: Callable[[Any], None], stop: Stop) -> None:
    word, _, argument = step.partition(" ")
    if word == "note":
        Path(argument).write_text(f"{threading.current_thread() is threading.main_thread()}")
    elif word == "await":
        assert until(Path(argument).exists)
    elif word == "await_stop":
        assert until(lambda: stop.requested)
    elif word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "exit":
        os._exit(3)
    elif word == "raise":
        raise GeneratorExit
    elif word == "executor":
        executors.append(ThreadPoolExecutor(2) if argument == "threads" else ProcessPoolExecutor(2, FORK))
        executors[0].submit(int).result()
    elif word == "thread":
        threading.Thread(target=threading.Event().wait, name="left behind").start()
    elif word == "process":
        child = FORK.Process(target=time.sleep, args=(10**6,))
        child.start()
        Path(argument).write_text(str(child.pid))
    elif word == "busy_executor":
        executors.append(ProcessPoolExecutor(1, FORK))
        Path(argument).write_text(str(executors[0].submit(os.getpid).result()))
        executors[0].submit(time.sleep, 10**6)
    elif word == "process_of_the_default":
        child = multiprocessing.Process(target=lambda: Path(argument).touch())
        child.start()
        child.join()
    elif word == "print":
        sys.stdout.write(argument)
    elif word == "at_exit":
        atexit.register(Path(argument).touch)
    elif word == "finalize":
        multiprocessing.util.Finalize(None, Path(argument).touch, exitpriority=1)
    elif word == "compute_at_exit":
        atexit.register(sum, range(10**15))
    elif word == "close_all":
        os.closerange(3, 64)
    elif word == "compute":
        sum(range(200_000_000))
    elif word == "unsendable":
        say(lambda: 0)
    elif word == "fork":
        if pid := os.fork():
            Path(argument).write_text(str(pid))
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
        os._exit(0)
    elif word == "daemon":
        if pid := os.fork():
            Path(argument).write_text(str(pid))
        else:
            time.sleep(10**6)
    elif word in GARBAGE:
        for descriptor in range(3, 64):
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    os.write(descriptor, GARBAGE[word])


FORGED = b"cbuiltins\ngetattr\n(cbuiltins\nint\nVa\\u000aERROR forged\ntR."
"""A pickle with which `pickle.loads` raises an exception whose message has two lines."""
GARBAGE = {
    "message": struct.pack("!i", 5) + b"hello",
    "forged": struct.pack("!i", len(FORGED)) + FORGED,
    "text": b"a warning that somebody prints\n",
}


class ToldElsewhere(Told):
    """One whose module other processes do not find."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:  # type: ignore[override]
        return __import__, ("a_module_that_is_not_there",)


told = Told()
executors: list[Executor] = []


@pytest.fixture
def slow_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """A pool whose workers import what they need, as those of users do."""
    monkeypatch.setenv("TEST_DIRECTORY", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT))  # where workers find this module
    pool = Processes(2, Timing(), Limits())
    yield pool
    pool.close(at_once=True)


@pytest.fixture
def pool(slow_pool: Processes) -> Iterator[Processes]:
    """A pool whose workers begin with their imports done."""
    with preloaded.spawning():
        yield slow_pool


def begin(pool: Processes, function: Told = told) -> Worker:
    """Have a worker start, and a stage begin in it."""
    worker = pool.start()
    worker.say(messages.Begin(lambda: function, OPTIONS))
    return worker


def ready(pool: Processes, function: Told = told) -> Worker:
    worker = begin(pool, function)
    assert heard(pool, worker, messages.Ready) == messages.Ready()
    return worker


def send(worker: Worker, *steps: str) -> None:
    worker.say(messages.Tasks([messages.OnItsWay(step, 0.0) for step in steps]))


def heard(pool: Processes, worker: Worker, kind: type[M]) -> M:
    """The next message of a kind that a worker says."""
    while (said := pool.next(60)) is not None:
        if said[0] is worker and isinstance(said[1], kind):
            return said[1]
    raise AssertionError(f"The worker said no {kind.__name__}.")


# At work


def test_processes_that_agents_start(pool: Processes, tmp_path: Path) -> None:
    """They start by this process's default method, as in a `Runner`: a forked one needs no function that can be
    imported. Their own worker is spawned all the same."""
    there, before = tmp_path / "there", multiprocessing.get_start_method()
    multiprocessing.set_start_method("fork", force=True)
    try:
        worker = ready(pool)
    finally:
        multiprocessing.set_start_method(before, force=True)
    send(worker, f"process_of_the_default {there}")
    assert heard(pool, worker, messages.AttemptEnded) == DONE
    assert there.exists()
    assert type(worker.process).__name__ == "SpawnProcess"


def test_stages_one_after_the_other(pool: Processes, tmp_path: Path) -> None:
    """A worker serves them in its main thread, and says when each has ended."""
    worker = ready(pool)
    for name in ("first", "second"):
        send(worker, f"note {tmp_path / name}")
        assert heard(pool, worker, messages.AttemptEnded) == DONE
        worker.say(messages.Order.CLOSE)
        assert heard(pool, worker, messages.Ended) == messages.Ended()
        assert (tmp_path / name).read_text() == "True"
        worker.say(messages.Begin(lambda: told, OPTIONS))
        assert heard(pool, worker, messages.Ready).error is None


def test_how_many_there_are(pool: Processes) -> None:
    """As many as were asked for, from when they start until they end."""
    first = begin(pool)
    assert (pool.missing, pool.alive) == (1, [first])
    second = ready(pool)
    assert (pool.missing, pool.alive) == (0, [first, second])
    os.kill(first.process.pid or 0, signal.SIGKILL)
    assert heard(pool, first, messages.Died).how == in_words(-9)
    assert (pool.missing, pool.alive) == (1, [second])


@pytest.mark.parametrize(("step", "code"), [("die now", -9), ("exit now", 3)])
def test_a_worker_that_dies(pool: Processes, step: str, code: int) -> None:
    """What it had said before is heard, then that it died, and how. The other worker goes on."""
    worker, other = ready(pool), ready(pool)
    send(worker, "nothing", step)
    assert heard(pool, worker, messages.AttemptEnded) == DONE
    assert heard(pool, worker, messages.Died) == messages.Died(in_words(code), ready=True)
    send(other, "nothing")
    assert heard(pool, other, messages.AttemptEnded) == DONE


def test_a_worker_that_is_never_ready(pool: Processes) -> None:
    """The error that kept it from that is told; the worker lives."""
    worker = begin(pool, ToldElsewhere())
    error = heard(pool, worker, messages.Ready).error
    assert error is not None
    assert "a_module_that_is_not_there" in str(error)
    assert not worker.ready
    assert pool.alive == [worker]


@pytest.mark.parametrize(("step", "said"), [("unsendable", "local object"), ("raise it", "GeneratorExit")])
def test_what_ends_a_stage(pool: Processes, step: str, said: str) -> None:
    """What cannot be sent, and what is no `Exception`, is told as the stage's end; the worker goes on."""
    worker = ready(pool)
    send(worker, step)
    error = heard(pool, worker, messages.Ended).error
    assert error is not None
    assert said in str(error)
    worker.say(messages.Begin(lambda: told, OPTIONS))
    assert heard(pool, worker, messages.Ready).error is None


def test_an_error_that_cannot_be_read() -> None:
    """Of a class that only the worker could import: it is told that there was one."""
    assert "cannot be read here" in str(messages._carried(pickle.dumps(ToldElsewhere())).error)


def test_nobody_waits_for_a_full_pipe(pool: Processes) -> None:
    """A worker whose agent never lets go of the interpreter reads nothing, however much is sent: that is sent later."""
    worker = ready(pool)
    send(worker, "compute 0")
    send(worker, *(f"{index}" * 1_000 for index in range(5_000)))
    pool.stop()
    worker.say(messages.Order.CLOSE)
    assert heard(pool, worker, messages.Ended) == messages.Ended()


def test_workers_are_deaf_to_interrupts_while_they_import(slow_pool: Processes) -> None:
    """From their beginning, the first as well as the others: Ctrl-C in a terminal reaches all processes."""
    workers = [begin(slow_pool) for _ in range(2)]
    for worker in workers:
        os.kill(worker.process.pid or 0, signal.SIGINT)
    assert until(lambda: all(worker.ready for worker in workers), 60)


# At the end


def test_stop(pool: Processes, tmp_path: Path) -> None:
    """What is at work is finished, and what comes later is not begun. A worker that is still starting is ended."""
    worker, starting = ready(pool), begin(pool)
    running, never = tmp_path / "running", tmp_path / "never"
    send(worker, f"note {running}", "await_stop", f"note {never}")
    assert until(running.exists)
    was_ready = starting.ready
    pool.stop()
    assert was_ready or starting.process.join(60) is None
    worker.say(messages.Order.CLOSE)
    assert heard(pool, worker, messages.Ended) == messages.Ended()
    assert not never.exists()


def test_close(pool: Processes, tmp_path: Path) -> None:
    """Workers end when their stage has ended, having torn down what lives as long as they. Twice is harmless."""
    workers = [ready(pool), ready(pool)]
    pids = {worker.process.pid for worker in workers}
    files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    written = tmp_path / "written"
    send(workers[0], f"note {written}")
    del workers
    pool.close()
    assert written.exists()
    # A pipe and a sentinel each.
    assert not files or until(lambda: len(os.listdir("/proc/self/fd")) <= files - 2 * 2, 5)
    assert {int(path.name.removeprefix("closed-")) for path in tmp_path.glob("closed-*")} == pids
    pool.close()


def test_close_at_once(pool: Processes, tmp_path: Path) -> None:
    """Nobody waits for anything."""
    worker = ready(pool)
    send(worker, f"await {tmp_path / 'never'}")
    pool.close(at_once=True)
    assert heard(pool, worker, messages.Died).how == in_words(-9)


def test_a_worker_whose_pipe_somebody_holds(pool: Processes, tmp_path: Path) -> None:
    """A program that an agent has forked keeps the pipe open; the worker's death is seen all the same."""
    worker, child = ready(pool), tmp_path / "child"
    send(worker, f"fork {child}")
    assert heard(pool, worker, messages.Died).how == in_words(-9)
    with suppress(ProcessLookupError):
        os.kill(int(child.read_text()), signal.SIGKILL)


def left_behind(timing: Timing, *steps: str) -> None:
    """Close a pool in whose worker these steps have left something."""
    with preloaded.spawning():
        pool = Processes(1, timing, Limits())
        worker = ready(pool)
        send(worker, *steps)
        for _ in steps:
            assert heard(pool, worker, messages.AttemptEnded) == DONE
        closing = threading.Thread(target=pool.close, daemon=True)
        closing.start()
        closing.join(PATIENCE)
        pool.close(at_once=True)
        assert not closing.is_alive()


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_of_the_agents_that_is_idle(slow_pool: Processes, tmp_path: Path, kind: str) -> None:
    """Its threads or processes, which nobody has shut down, end with the worker, and it waits no time for them."""
    left_behind(Timing(ends_within=3600.0), f"executor {kind}", f"at_exit {tmp_path / 'exited'}")
    assert (tmp_path / "exited").exists()


def test_a_daemon_of_the_agents(slow_pool: Processes, tmp_path: Path) -> None:
    """It inherits the worker's pipes and lives on, as daemons do; nobody waits for it."""
    daemon = tmp_path / "daemon"
    try:
        left_behind(Timing(ends_within=3600.0), f"daemon {daemon}")
    finally:
        os.kill(int(daemon.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("left", ["thread", "process", "busy_executor"])
def test_agents_that_leave_something_running(
    slow_pool: Processes, tmp_path: Path, capfd: pytest.CaptureFixture[str], left: str
) -> None:
    """It is ended after a while, and so is the worker, with its output. A warning names it.

    What is to be called at the exit of the process is called, unless a thread keeps the main thread from it.
    """
    child, exited, finalized = tmp_path / "child", tmp_path / "exited", tmp_path / "finalized"
    timing = Timing(ends_within=0.1, dies_within=PATIENCE)
    left_behind(timing, f"at_exit {exited}", f"finalize {finalized}", "print the last words", f"{left} {child}")
    shown = capfd.readouterr()
    assert shown.out == "the last words"
    # Until Python 3.13, a process of `multiprocessing` calls its finalizers before it waits for threads.
    assert finalized.exists() == (left != "thread" or sys.version_info < (3, 14))
    assert exited.exists() == (left != "thread")
    if left == "thread":
        assert "ended now: thread 'left behind'." in shown.err
    else:
        assert f"ended now: process {child.read_text()}" in shown.err
        with pytest.raises(ProcessLookupError):
            os.kill(int(child.read_text()), 0)


def test_an_agent_whose_exit_never_ends(slow_pool: Processes) -> None:
    """If it holds the interpreter, its worker is killed."""
    left_behind(Timing(ends_within=0.1, dies_within=0.1), "compute_at_exit now")


def test_an_interrupt_while_workers_end(pool: Processes, tmp_path: Path) -> None:
    """It does not take them as ended: whoever closes again waits again."""
    worker = ready(pool)
    running, go = tmp_path / "running", tmp_path / "go"
    send(worker, f"note {running}", f"await {go}")
    assert until(running.exists)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    threading.Timer(0.5, go.touch).start()
    pool.close()
    assert go.exists()
    assert not pool.alive


def test_an_agent_that_closes_the_pipe(pool: Processes) -> None:
    """As programs do that become daemons: its worker cannot be heard, and so it is dead."""
    worker = ready(pool)
    send(worker, "close_all now")
    worker.say(messages.Order.CLOSE)
    heard(pool, worker, messages.Died)
    assert pool.missing == 2


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "exited with code 3"),
        (-9, "killed by SIGKILL, as the system does when memory runs out"),
        (-99, "signal 99"),
        (None, "it is not known how"),
    ],
)
def test_how_a_worker_died(code: int | None, words: str) -> None:
    """In words that point to the cause."""
    assert words in in_words(code)


# When there is nothing to be had


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_message_that_cannot_be_read(pool: Processes, caplog: pytest.LogCaptureFixture, garbage: str) -> None:
    """Its worker is ended, that is told on one line, and the next worker takes its place."""
    worker = ready(pool)
    send(worker, garbage)
    died = heard(pool, worker, messages.Died)
    assert "could not be read" in died.how or garbage == "text"
    assert not [record for record in caplog.records if "\n" in record.getMessage()]
    assert pool.missing == 2
    ready(pool)
    pool.close()


@pytest.mark.parametrize("missing", ["listener", "post"])
def test_a_thread_that_cannot_be_started(pool: Processes, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Whoever wants a worker gets the error; the process that was started is ended, and closing waits for nobody."""
    original = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if thread.name.endswith(missing):
            raise RuntimeError("can't start new thread")
        original(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.start()
        assert until(lambda: pool.missing == 2)
        pool.close()
    ready(pool)
    pool.close()


def test_a_system_without_file_descriptors(slow_pool: Processes) -> None:
    """However many there are: starting a worker raises, or it dies, or it works; and closing returns."""
    ready(slow_pool)
    slow_pool.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for more in range(8):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
        try:
            with suppress(OSError):
                heard(slow_pool, begin(slow_pool), object)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        slow_pool.close()
    assert not slow_pool.alive
