"""Executors that were given: how many batches they have, and which functions can be sent to them."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, cast

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.run_options import DrainOptions
from encord_agents.tasks.runner.workers import AHEAD, ExecutorWorkers, check_workers


class Held(Executor):
    """An executor that only keeps what it is given."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.calls: list[tuple[Any, ...]] = []

    def submit(self, *args: Any, **_: Any) -> Future[Any]:  # type: ignore[override]
        self.calls.append(args)
        self.futures.append(Future())
        return self.futures[-1]


class Function:
    """Stands for a queue function."""

    __module__ = __name__

    def __init__(self, name: str = "function") -> None:
        self.__qualname__ = name

    def __reduce__(self) -> str:
        return self.__qualname__


function = Function()


@pytest.fixture
def workers() -> Any:
    found = ExecutorWorkers(Held(), DrainOptions(workers=3))
    yield found
    found.close()


def send(workers: ExecutorWorkers) -> Future[Any]:
    return workers.submit(cast("QueueFunction", function), [])


def test_the_first_call_only_tries_whether_workers_can_work(workers: ExecutorWorkers) -> None:
    """Until it has an answer there is no room; then for two batches per worker."""
    assert workers.is_untried
    assert workers.room == 0
    first = send(workers)
    assert not workers.is_untried
    assert workers.room == 0
    first.set_result([messages.Ended()])
    assert workers.room == workers.most_out == AHEAD * 3
    send(workers)
    assert workers.room == AHEAD * 3 - 1


@pytest.mark.parametrize("how", ["error", "ending", "raises", "cancelled"])
def test_workers_that_cannot_work(workers: ExecutorWorkers, how: str) -> None:
    """They are sent nothing."""
    first = send(workers)
    if how == "raises":
        first.set_exception(RuntimeError("no GPU"))
    elif how == "cancelled":
        first.cancel()
    else:
        first.set_result(None if how == "ending" else [messages.Ended(error=messages.Carried(ValueError()))])
    assert workers.room == 0


def test_no_two_batches_are_the_same_call(workers: ExecutorWorkers) -> None:
    """There are engines that remember answers."""
    for _ in range(2):
        send(workers)
    executor = cast("Held", workers._executor)
    assert len({call[-1] for call in executor.calls}) == 2


def test_the_number_of_workers() -> None:
    """As many as were said, else as the executor says."""
    with ThreadPoolExecutor(5) as pool:
        for options, size in ((DrainOptions(), 5), (DrainOptions(workers=2), 2)):
            workers = ExecutorWorkers(pool, options)
            workers.close()
            assert workers.most_out == AHEAD * size


def test_functions_that_can_be_sent() -> None:
    """To threads anything; to other processes only functions that they can import, and no overrides."""
    local = cast("QueueFunction", Function("not_there"))
    with ThreadPoolExecutor(1) as threads:
        check_workers(threads, [local], overrides=True)
    check_workers(None, [cast("QueueFunction", function)], overrides=False)
    with pytest.raises(PrintableError, match="not_there cannot be sent to other processes"):
        check_workers(None, [local], overrides=False)
    with ProcessPoolExecutor(1) as processes, pytest.raises(PrintableError, match="would not reach the workers"):
        check_workers(processes, [], overrides=True)
    with pytest.raises(PrintableError, match="has no submit"):
        check_workers(cast("Executor", 4), [], overrides=False)
