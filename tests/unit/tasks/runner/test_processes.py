"""Worker processes of our own: who has which batch, what is done at the same time, and how they end."""

from __future__ import annotations

import os
import resource
import signal
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from tests.brokers import until

from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskResult
from encord_agents.tasks.runner.processes import AT_ONCE, AT_ONCE_IF_SLOW, Processes, WorkerDied, in_words
from encord_agents.tasks.runner.worker import Answer

ROOT = Path(__file__).parents[4]


class Told:
    """Stands for a queue function that does what it is told: each specification is a step, ``word argument``."""

    def __init__(self) -> None:
        self.runner = self
        self.__qualname__ = "told"

    def __reduce__(self) -> str:
        return "told"

    def answer(self, specs: Sequence[str], *, stop: Stop, turn: Callable[[Callable[[], None]], None]) -> Answer:
        seconds = 0.0

        def in_turn() -> None:
            nonlocal seconds
            for step in (spec.removeprefix("turn ") for spec in specs if spec.startswith("turn ")):
                if not stop.requested:
                    seconds += do(step)

        for step in (spec.removeprefix("load ") for spec in specs if spec.startswith("load ")):
            do(step)
        if not specs:
            return Answer()
        turn(in_turn)
        for step in (spec.removeprefix("write ") for spec in specs if spec.startswith("write ")):
            do(step)
        return Answer(results=[TaskResult(task_uuid=uuid4(), outcome="held", success=True, seconds=seconds)])

    def close(self) -> None:
        if directory := os.environ.get("TEST_DIRECTORY"):
            (Path(directory) / f"closed-{os.getpid()}").touch()


def do(step: str) -> float:
    """Seconds that an agent would say it took."""
    word, _, argument = step.partition(" ")
    if word == "note":
        Path(argument).write_text(f"{threading.current_thread() is threading.main_thread()}")
    elif word == "await":
        assert until(Path(argument).exists)
    elif word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "exit":
        os._exit(3)
    elif word == "raise":
        raise GeneratorExit
    elif word == "executor":
        executors.append(ThreadPoolExecutor(2))
        executors[0].submit(int).result()
    elif word == "close_all":
        os.closerange(3, 64)
    elif word == "compute":
        sum(range(200_000_000))
    elif word == "took":
        return float(argument)
    return 0.0


class ToldElsewhere(Told):
    """One whose module other processes do not find."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:  # type: ignore[override]
        return __import__, ("a_module_that_is_not_there",)


told = Told()
executors: list[ThreadPoolExecutor] = []


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    monkeypatch.setenv("TEST_DIRECTORY", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT))  # where workers find this module
    pool = Processes(2)
    yield pool
    pool.close(at_once=True)


def start(pool: Processes, workers: int = 1) -> None:
    """Have workers ready."""
    for future in [pool.start(told) for _ in range(workers)]:
        answer = future.result(30)
        assert answer is not None
        assert answer.error is None


def death_of(future: Future[Answer | None]) -> WorkerDied:
    error = future.exception(30)
    assert isinstance(error, WorkerDied)
    return error


def test_while_agents_run(pool: Processes, tmp_path: Path) -> None:
    """The next batch is loaded and the last one written; agents run in the main thread, nothing else does."""
    start(pool)
    loaded, running, written = tmp_path / "loaded", tmp_path / "running", tmp_path / "written"
    first = pool.submit(told, [f"turn await {loaded}", f"write await {running}", f"write note {written}"])
    second = pool.submit(told, [f"load note {loaded}", f"turn note {running}", f"turn await {written}"])
    assert first.result(30) is not None
    assert second.result(30) is not None
    assert [path.read_text() for path in (loaded, running, written)] == ["False", "True", "False"]


def test_how_many_batches_a_worker_has(pool: Processes, tmp_path: Path) -> None:
    """More where agents are quick: what one has ahead, another one cannot have. None before it is ready."""
    ready = pool.start(told)
    assert (pool.room, pool.missing, pool.starting) == (0, 1, 1)
    ready.result(30)
    assert (pool.room, pool.missing, pool.starting) == (AT_ONCE_IF_SLOW, 1, 0)
    pool.submit(told, ["turn took 0.1"]).result(30)
    assert pool.room == AT_ONCE
    pool.submit(told, ["turn took 10"]).result(30)
    assert pool.room == AT_ONCE_IF_SLOW
    go = tmp_path / "go"
    going = [pool.submit(told, [f"turn await {go}"]) for _ in range(AT_ONCE_IF_SLOW)]
    assert (pool.room, pool.has_idle) == (0, False)
    with pytest.raises(BrokenExecutor):
        pool.submit(told, ["turn took 1"])
    go.touch()
    for future in going:
        future.result(30)
    assert pool.has_idle


def test_batches_go_to_who_has_the_least(pool: Processes, tmp_path: Path) -> None:
    """And one that is to be alone, to who has nothing: nobody else comes there meanwhile."""
    start(pool, 2)
    go = tmp_path / "go"
    first = pool.submit(told, [f"turn await {go}"])
    alone = pool.submit(told, [f"turn await {go}"], alone=True)
    assert pool.room == AT_ONCE_IF_SLOW - 1
    last = pool.submit(told, [f"turn await {go}"])
    with pytest.raises(BrokenExecutor):
        pool.submit(told, ["turn took 1"])
    go.touch()
    for future in (first, alone, last):
        future.result(30)
    assert pool.room == 2 * AT_ONCE  # these were quick


def test_a_worker_that_dies(pool: Processes, tmp_path: Path) -> None:
    """Only the batch whose agents ran is suspected; whether others had begun is told. The other worker goes on."""
    start(pool, 2)
    go, never, loading = tmp_path / "go", tmp_path / "never", tmp_path / "loading"
    deadly = pool.submit(told, [f"turn await {go}", "turn die now"])
    elsewhere = pool.submit(told, [f"turn await {go}"])
    beside = pool.submit(told, [f"load note {loading}", f"load await {never}"])
    assert until(loading.exists)
    go.touch()
    death = death_of(deadly)
    assert (death.how, death.ready, death.begun, death.suspected) == (in_words(-9), True, True, True)
    death = death_of(beside)
    assert (death.begun, death.suspected) == (True, False)
    assert elsewhere.result(30) is not None
    assert pool.missing == 1
    start(pool)  # another one


def test_a_worker_that_dies_while_no_agent_runs(pool: Processes) -> None:
    """What it had begun is suspected."""
    start(pool)
    death = death_of(pool.submit(told, ["load exit now"]))
    assert (death.how, death.begun, death.suspected) == ("it exited with code 3", True, True)


def test_a_worker_that_dies_idle(pool: Processes) -> None:
    """Nothing is lost, and there is no room where it was."""
    start(pool)
    (worker,) = pool._alive
    os.kill(worker.process.pid or 0, signal.SIGKILL)
    assert until(lambda: pool.missing == 2)
    assert pool.room == 0


def test_a_worker_that_is_never_ready(pool: Processes) -> None:
    """What kept it from that is its answer, not a death; it is given nothing."""
    answer = pool.start(ToldElsewhere()).result(30)
    assert answer is not None
    assert "a_module_that_is_not_there" in str(answer.error)
    assert pool.room == 0


def test_an_answer_that_cannot_be_read(pool: Processes) -> None:
    """Or cannot even be sent: it is an answer too, and the worker goes on."""
    start(pool)
    for step in ("odd", "unsendable"):
        answer = pool.submit(odd, [step]).result(30)
        assert answer is not None
        assert answer.error is not None
    assert pool.submit(told, ["turn took 0"]).result(30) is not None


def test_nobody_waits_for_a_full_pipe(pool: Processes) -> None:
    """A worker whose agent never lets go of the interpreter reads nothing, however much is sent: that is sent later."""
    start(pool)
    running = pool.submit(told, ["turn compute 0"])
    huge = [pool.submit(told, [f"{index}" * 1_000 for index in range(5_000)])]
    pool.stop()
    assert running.result(60) is not None
    wait(huge, 60)  # begun or not: the stop comes after it
    assert huge[0].done()


def test_what_is_no_exception(pool: Processes) -> None:
    """It is an answer too."""
    start(pool)
    answer = pool.submit(told, ["turn raise it"]).result(30)
    assert answer is not None
    assert "GeneratorExit" in str(answer.error)
    assert pool.submit(told, ["turn took 0"]).result(30) is not None


def test_stop(pool: Processes, tmp_path: Path) -> None:
    """What is at work is finished; what comes later is not begun."""
    start(pool)
    running, go, never = tmp_path / "running", tmp_path / "go", tmp_path / "never"
    at_work = pool.submit(told, [f"turn note {running}", f"turn await {go}", f"turn note {never}"])
    assert until(running.exists)
    pool.stop()
    later = pool.submit(told, [f"turn note {never}"])
    assert later.result(30) is None
    go.touch()
    assert at_work.result(30) is not None
    assert not never.exists()


def test_close(pool: Processes, tmp_path: Path) -> None:
    """Workers end when what they have is done, having torn down what lives as long as they. Twice is harmless."""
    start(pool, 2)
    pids = {worker.process.pid for worker in pool._alive}
    files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    written = tmp_path / "written"
    pool.submit(told, [f"write note {written}"])
    pool.close()
    assert written.exists()
    # A pipe and a sentinel each.
    assert not files or until(lambda: len(os.listdir("/proc/self/fd")) <= files - 2 * 2, 5)
    assert {int(path.name.removeprefix("closed-")) for path in tmp_path.glob("closed-*")} == pids
    pool.close()


def test_close_at_once(pool: Processes, tmp_path: Path) -> None:
    """Nobody waits for anything."""
    start(pool)
    going = pool.submit(told, [f"turn await {tmp_path / 'never'}"])
    pool.close(at_once=True)
    assert death_of(going).how == in_words(-9)


def test_a_worker_whose_pipe_somebody_holds(pool: Processes, tmp_path: Path) -> None:
    """A program that an agent has forked keeps the pipe open; the worker's death is seen all the same."""
    start(pool)
    child = tmp_path / "child"
    going = pool.submit(forking, [str(child)])
    assert death_of(going).how == in_words(-9)
    with suppress(ProcessLookupError):
        os.kill(int(child.read_text()), signal.SIGKILL)


class OddError(Exception):
    """It can be pickled, and not be made anew."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:  # type: ignore[override]
        return __import__, ("a_module_that_is_not_there",)


class Odd(Told):
    def __reduce__(self) -> str:
        return "odd"

    def answer(self, specs: Sequence[str], *, stop: Stop, turn: Callable[[Callable[[], None]], None]) -> Answer:
        result = TaskResult(task_uuid=uuid4(), outcome="held", success=True)
        return Answer([result], chunks=[OddError() if specs == ["odd"] else (lambda: 0)])  # type: ignore[list-item]


odd = Odd()


class Forking(Told):
    def __reduce__(self) -> str:
        return "forking"

    def answer(self, specs: Sequence[str], *, stop: Stop, turn: Callable[[Callable[[], None]], None]) -> Answer:
        if specs and (pid := os.fork()):
            Path(specs[0]).write_text(str(pid))
            os.kill(os.getpid(), signal.SIGKILL)
        if specs:
            time.sleep(60)
            os._exit(0)
        return Answer()


forking = Forking()


def test_an_executor_of_the_agents_that_is_idle(pool: Processes) -> None:
    """Its threads, which nobody has shut down, end with the worker."""
    start(pool)
    assert pool.submit(told, ["turn executor here"]).result(30) is not None
    closing = threading.Thread(target=pool.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()


def test_an_interrupt_while_workers_end(pool: Processes, tmp_path: Path) -> None:
    """It does not take them as ended: whoever closes again waits again."""
    start(pool)
    running, go = tmp_path / "running", tmp_path / "go"
    pool.submit(told, [f"turn note {running}", f"turn await {go}"])
    assert until(running.exists)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    threading.Timer(0.5, go.touch).start()
    pool.close()
    assert go.exists()
    assert not pool._alive


def test_workers_are_deaf_to_interrupts_while_they_import(pool: Processes) -> None:
    """From their beginning, the first as well as the others: Ctrl-C in a terminal reaches all processes."""
    ready = [pool.start(told) for _ in range(2)]
    for worker in pool._alive:
        os.kill(worker.process.pid or 0, signal.SIGINT)
    for future in ready:
        assert future.result(30) is not None


def test_an_agent_that_closes_the_pipe(pool: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs do that become daemons: its worker cannot answer, and so it is dead."""
    start(pool)
    going = pool.submit(told, ["turn close_all now"])
    assert isinstance(going.exception(60), WorkerDied)
    assert until(lambda: pool.missing == 2)


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


class Failing(Told):
    """Once a worker is ready, it gets no more threads; or code in it writes to the pipe that is not its own."""

    def __reduce__(self) -> str:
        return "failing"

    def answer(self, specs: Sequence[str], *, stop: Stop, turn: Callable[[Callable[[], None]], None]) -> Answer:
        if not specs:

            def no_more(_: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            threading.Thread.start = no_more  # type: ignore[method-assign]
            return Answer()
        garbage = GARBAGE.get(specs[0], b"")
        for descriptor in range(3, 64) if garbage else ():
            with suppress(OSError):
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    os.write(descriptor, garbage)
        return super().answer(specs, stop=stop, turn=turn)


GARBAGE = {"message": struct.pack("!i", 5) + b"hello", "text": b"a warning that somebody prints\n"}
failing = Failing()


def test_a_worker_without_threads(pool: Processes, tmp_path: Path) -> None:
    """Its batches run in the main thread, one after the other."""
    assert pool.start(failing).result(30) is not None
    notes = [tmp_path / "first", tmp_path / "second"]
    for future in [pool.submit(failing, [f"load note {note}", f"turn note {note}"]) for note in notes]:
        answer = future.result(30)
        assert answer is not None
        assert answer.error is None
    assert [note.read_text() for note in notes] == ["True", "True"]
    pool.close()


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_message_that_cannot_be_read(pool: Processes, garbage: str) -> None:
    """Its worker is ended, its batches get that for an answer, and the next worker takes its place."""
    pool.start(failing).result(30)
    death = death_of(pool.submit(failing, [garbage]))
    assert "could not be read" in death.how or garbage == "text"
    assert (death.begun, death.suspected) == (True, True)
    assert until(lambda: pool.missing == 2)
    start(pool)
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
            pool.start(told)
        assert until(lambda: pool.missing == 2)
        pool.close()
    start(pool)
    pool.close()


def test_a_system_without_file_descriptors(pool: Processes) -> None:
    """However many there are: starting a worker raises, or fails its answer, or works; and closing returns."""
    start(pool)
    pool.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for more in range(8):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
        try:
            with suppress(OSError):
                pool.start(told).exception(30)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        pool.close()
    assert not pool._alive
