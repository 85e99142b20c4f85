"""An executor as a pool of workers that have one batch each: with an executor whose answers the test gives."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.unit.tasks.runner.plays import StagePlay

from encord_agents.exceptions import DependencyError, NoRoomError, PrintableError
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.engine.events import TaskFinished
from encord_agents.tasks.engine.outcome import Failed, Fault, Moved, Phase, Skipped
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.executor_pool import AHEAD, ExecutorPool, _serve, check_workers
from encord_agents.tasks.runner.messages import WorkerError
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.typed_in import PROCESS

if TYPE_CHECKING:
    from tests.conftest import World

    from encord_agents.tasks.runner.queue_function import QueueFunction


class Stub(Executor):
    """An executor that does nothing by itself."""

    def __init__(self) -> None:
        self.sent: list[tuple[list[messages.OnItsWay], Future[Any]]] = []
        self.numbers: list[int] = []

    def submit(self, _: Any, begin: Any, refusal: Any, tasks: Any, run: str, number: int) -> Future[Any]:  # type: ignore[override]
        self.sent.append((tasks, Future()))
        self.numbers.append(number)
        return self.sent[-1][1]


class Function:
    """Stands for a queue function."""

    __module__ = __name__

    def __init__(self, name: str = "function") -> None:
        self.__qualname__ = name

    def __reduce__(self) -> str:
        return self.__qualname__


function = Function()


class Play(StagePlay):
    """A stage's turn over such an executor."""

    def __init__(self, world: World, runner: QueueRunner, tasks: int, batch_size: int, *, proven: bool) -> None:
        self.executor = Stub()
        options = DrainOptions(workers=1, batch_size=batch_size)

        def pool(stop: Stop) -> ExecutorPool:
            return ExecutorPool(self.executor, options, stop)

        super().__init__(world, runner, tasks, options, function, pool)
        self.drain._send()
        if proven:
            self.answer(messages.Ended())

    def answer(self, *said: object, number: int = -1) -> None:
        """Answer a batch, by default the last."""
        self.executor.sent[number][1].set_result(list(said))
        self.hear()

    def hear(self) -> None:
        self.drain._collect(0.0)
        self.drain._send()

    @property
    def error(self) -> BaseException | None:
        return self.drain._outcomes.error

    @property
    def titles(self) -> list[str]:
        """The titles of the tasks that were sent, batch by batch."""
        sent = [tasks for tasks, _ in self.executor.sent if tasks]
        return [" ".join(json.loads(one.task)["data_title"] for one in batch) for batch in sent]


def play(world: World, runner: QueueRunner, tasks: int = 6, batch_size: int = 2, *, proven: bool = True) -> Play:
    return Play(world, runner, tasks, batch_size, proven=proven)


def test_the_first_call_only_tries_whether_workers_can_work(world: World, runner: QueueRunner) -> None:
    """Tasks are sent once it has an answer."""
    played = play(world, runner, proven=False)
    assert [tasks for tasks, _ in played.executor.sent] == [[]]
    played.answer(messages.Ended())
    assert played.titles == ["0 1", "2 3"]


@pytest.mark.parametrize("how", ["error", "raises", "cancelled"])
def test_workers_that_cannot_work(world: World, runner: QueueRunner, how: str) -> None:
    """They are sent nothing, and the run ends."""
    played = play(world, runner, proven=False)
    ((_, first),) = played.executor.sent
    if how == "raises":
        first.set_exception(RuntimeError("no GPU"))
    elif how == "cancelled":
        first.cancel()
        first.set_running_or_notify_cancel()
    else:
        first.set_result([messages.Ended(error=messages.Carried(ValueError("no GPU")))])
    played.hear()
    assert ("cancelled the first call" if how == "cancelled" else "no GPU") in str(played.error)
    played.drain._wind_up()
    assert not played.titles


def test_an_executor_that_takes_nothing(world: World, runner: QueueRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends the run."""
    played = play(world, runner, proven=False)
    monkeypatch.setattr(played.executor, "submit", lambda *_: 1 / 0)
    played.answer(messages.Ended())
    played.hear()
    assert isinstance(played.error, ZeroDivisionError)


def test_an_executor_with_futures_of_its_own(
    world: World, runner: QueueRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no executor, as a Dask client is none: the error says what to give."""
    played = play(world, runner, proven=False)
    monkeypatch.setattr(played.executor, "submit", lambda *_: object())
    played.answer(messages.Ended())
    played.hear()
    assert "does not return a concurrent.futures.Future" in str(played.error)
    assert "get_executor()" in str(played.error)


def test_no_two_batches_are_the_same_call(world: World, runner: QueueRunner) -> None:
    """There are engines that remember answers."""
    played = play(world, runner)
    assert len(set(played.executor.numbers)) == len(played.executor.sent) == 3


def test_batches_go_out_two_at_a_time(world: World, runner: QueueRunner) -> None:
    """One that its worker has, and the next; after an answer comes another."""
    played = play(world, runner)
    assert played.titles == ["0 1", "2 3"]
    played.answer(played.finished("0"), played.finished("1"), messages.Ended(), number=1)
    assert played.titles == ["0 1", "2 3", "4 5"]
    assert list(played.outcomes) == ["0", "1"]


def test_a_success_of_the_batch_is_known_before_a_failure_is_judged(world: World, runner: QueueRunner) -> None:
    """An error that all tasks would share ends the run, unless a task of the same batch did well."""
    error = messages.Carried(DependencyError("no weights", function="agent"))
    fault = Failed(Fault(Phase.INJECT, WorkerError("no weights"), 1, run_scoped=True))
    played = play(world, runner)
    succeeded = messages.Succeeded(played.ref("1").uuid, named_a_pathway=True)
    played.answer(played.finished("0", fault, error), succeeded, played.finished("1"), messages.Ended(), number=1)
    assert played.error is None
    assert played.outcomes["0"].moved_to is not None
    assert world.titles("Review") == ["0"]


def test_an_error_that_all_tasks_would_share(world: World, runner: QueueRunner) -> None:
    """It ends the run, and is the worker's own."""
    error = messages.Carried(DependencyError("no weights", function="agent"))
    fault = Failed(Fault(Phase.INJECT, WorkerError("no weights"), 1, run_scoped=True))
    played = play(world, runner)
    played.answer(played.finished("0", fault, error), messages.Ended(), number=1)
    assert isinstance(played.error, DependencyError)
    assert len(played.titles) == 2, "nothing more is sent"


def cancel(future: Future[Any]) -> None:
    future.cancel()
    future.set_running_or_notify_cancel()


@pytest.mark.parametrize(
    "lose",
    [cancel, Future.cancel, lambda future: future.set_result(None), lambda future: future.set_result("an answer")],
    ids=["cancelled", "shut down", "no answer", "another answer"],
)
def test_a_batch_that_is_lost(world: World, runner: QueueRunner, lose: Callable[[Future[Any]], object]) -> None:
    """It is sent again; a task that is gone by then is looked for, and one that is lost again has failed.

    An executor that is shut down cancels the calls it has queued, of which `concurrent.futures.wait` hears nothing.
    """
    played = play(world, runner, tasks=2)
    world.project.move(world.project.tasks("Pre-label")[0].uuid, "Done")
    lose(played.executor.sent[1][1])
    played.hear()
    assert played.titles == ["0 1", "0 1"]
    assert all(one.age == float("inf") for one in played.executor.sent[2][0]), "they are asked for"
    gone = messages.Told(TaskFinished(played.ref("0"), Skipped(), 0, 0.0))
    played.answer(gone, played.finished("1"), messages.Ended())
    assert played.outcomes["0"] == Moved(played.agent.pathways.find("complete"), confirmed=False)


def test_a_batch_that_ran_twice(world: World, runner: QueueRunner) -> None:
    """Executors that replace a worker that died run its batch again, and do not say so: a task that is gone is looked
    for where a pathway leads."""
    played = play(world, runner, tasks=2)
    moved, lost = (played.ref(title) for title in "01")
    world.project.move(str(moved.uuid), "Done")
    gone = [messages.Told(TaskFinished(ref, Skipped(), 0, 0.0)) for ref in (moved, lost)]
    played.answer(*gone, messages.Ended())
    assert played.outcomes["0"] == Moved(played.agent.pathways.find("complete"), confirmed=False)
    assert "unless a worker that died had moved it" in str(played.outcomes["1"])


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_executors_that_run_nothing_twice(kind: Callable[[int], Executor]) -> None:
    """Executors of the standard library: a task that is gone has left by somebody else's doing."""
    with kind(1) as executor:
        pool = ExecutorPool(executor, DrainOptions(), Stop())
        pool.close()
    assert not pool.may_repeat


def test_a_batch_that_is_cancelled_twice(world: World, runner: QueueRunner) -> None:
    """It is not sent a third time."""
    played = play(world, runner, tasks=1)
    for number in (1, 2):
        played.executor.sent[number][1].cancel()
        played.executor.sent[number][1].set_running_or_notify_cancel()
        played.hear()
    assert "cancelled twice" in str(played.outcomes["0"].fault.exception)
    assert played.titles == ["0", "0"]


def test_no_room_for_the_files_of_two_batches(world: World, runner: QueueRunner) -> None:
    """The tasks wait until the other batch is done; from then on, one batch is out at a time."""
    played = play(world, runner)
    no_room = messages.Ended(error=messages.Carried(NoRoomError("full", OSError(28, "No space left on device"))))
    played.answer(no_room, number=1)
    assert played.titles == ["0 1", "2 3"]
    played.answer(played.finished("2"), played.finished("3"), messages.Ended(), number=2)
    assert played.titles == ["0 1", "2 3", "0 1"]
    played.answer(no_room)
    assert isinstance(played.error, NoRoomError), "nobody else has files"


def test_a_service_that_wants_quiet(world: World, runner: QueueRunner) -> None:
    """No batch is sent for as long as a worker was told to wait."""
    played = play(world, runner)
    played.answer(played.finished("0"), played.finished("1"), messages.Ended(hold_back=60.0), number=1)
    assert played.titles == ["0 1", "2 3"]
    assert played.drain._held_back > 50


def test_a_stop(world: World, runner: QueueRunner) -> None:
    """Batches that wait are called back, and tasks of the one at work that finished count."""
    played = play(world, runner)
    (_, (_, at_work), (_, waiting)) = played.executor.sent
    at_work.set_running_or_notify_cancel()
    played.hear()
    played.stop.request()
    at_work.set_result([played.finished("0"), messages.Ended()])
    played.drain._wind_up()
    assert waiting.cancelled()
    assert list(played.outcomes) == ["0"]


def test_the_end_of_a_stage(world: World, runner: QueueRunner) -> None:
    """Nothing is waited for that is not out, and the same workers serve the next stage."""
    played = play(world, runner, tasks=2)
    played.answer(played.finished("0"), played.finished("1"), messages.Ended())
    played.drain._wind_up()
    assert list(played.outcomes) == ["0", "1"]
    assert played.pool.alive


def test_the_number_of_workers() -> None:
    """As many as were said, else as the executor says."""
    with ThreadPoolExecutor(5) as executor:
        for options, size in ((DrainOptions(), 5), (DrainOptions(workers=2), 2)):
            pool = ExecutorPool(executor, options, Stop())
            pool.close()
            assert pool.size == AHEAD * size


def test_functions_that_can_be_sent() -> None:
    """To threads anything; to other processes only functions that they can import, and no overrides. The error says
    how to define them."""
    local = cast("QueueFunction", Function("not_there"))
    with ThreadPoolExecutor(1) as threads:
        check_workers(threads, [local], overrides=True)
    check_workers(None, [cast("QueueFunction", function)], overrides=False)
    with pytest.raises(PrintableError, match="not_there cannot be sent to other processes") as error:
        check_workers(None, [local], overrides=False)
    for needed in ("with `def`", "top level", '`if __name__ == "__main__":`', "name of its own", "other decorators"):
        assert needed in str(error.value)
    with ProcessPoolExecutor(1) as processes, pytest.raises(PrintableError, match="would not reach the workers"):
        check_workers(processes, [], overrides=True)
    with pytest.raises(PrintableError, match="has no submit"):
        check_workers(cast("Executor", 4), [], overrides=False)


def test_a_function_that_a_worker_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call can be read all the same, and its result is the reason; a process that cannot read one ends."""
    module = sys.modules[__name__]
    monkeypatch.setattr(module, "typed", Function("typed"), raising=False)
    begin = messages.Begin(lambda: module.typed, DrainOptions())
    refusal = ("another process", PrintableError("it was defined in a notebook"))
    refused, missing = (pickle.dumps((begin, one, [], "", 1)) for one in (refusal, None))

    def told(sent: bytes) -> str:
        said = _serve(*pickle.loads(sent))
        assert said is not None
        return str(said[-1].error.error)

    assert told(refused) == "it was defined in a notebook", "and not what a file has of that name"
    monkeypatch.delattr(module, "typed")
    assert told(refused) == "it was defined in a notebook"
    assert f"{__name__}.typed cannot be sent to other processes" in told(missing)
    assert "found no such name" in told(missing)


def test_the_main_module_of_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker of our own imports it, and a batch says so in the processes of an executor that are no forks."""
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("pkg.__main__", None)
    agent = main.__dict__["agent"] = cast("QueueFunction", Function("agent"))
    monkeypatch.setattr(agent, "__module__", "__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    with pytest.raises(PrintableError, match=r"__main__\.agent cannot be sent .* module of their own"):
        check_workers(None, [agent], overrides=False)
    with ThreadPoolExecutor(1) as threads:
        check_workers(threads, [agent], overrides=False)
    with ProcessPoolExecutor(1) as processes:
        check_workers(processes, [agent], overrides=False)
    executor = Stub()
    worker = ExecutorPool(executor, DrainOptions(), Stop()).start()
    worker.say(messages.Begin(lambda: agent, DrainOptions()))
    assert worker.refusal is not None
    process, error = worker.refusal
    assert process == PROCESS
    assert "module of their own" in str(error)


def test_a_process_that_may_start_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a daemon of `multiprocessing`: the error says to run in threads, which it can."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]
    with pytest.raises(PrintableError, match=r"drain\(\) starts processes, which this process may not"):
        check_workers(None, [], overrides=False)
    with ThreadPoolExecutor(1) as threads:
        check_workers(threads, [], overrides=False)
