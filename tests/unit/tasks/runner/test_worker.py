"""A batch in a worker of an executor: what it says, when it is served, and how its process is left."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from typing import Any

import pytest

from encord_agents.core.queues import SimpleQueue
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.stop import Leaving, Stop
from encord_agents.tasks.runner import messages, worker
from encord_agents.tasks.runner.run_options import DrainOptions

TASKS = [messages.OnItsWay("{}", 1.0), messages.OnItsWay("{}", 2.0)]
VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


class Stub:
    """Stands for a queue function: it says what it is given."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.runner = self
        self.calls: list[str] = []
        self.__qualname__ = "stub"

    def connect(self, stop: Stop) -> None:
        self.calls.append("connect")
        if self.error is not None:
            raise self.error

    def drive(
        self, feed: SimpleQueue[Any], options: DrainOptions, *, stop: Stop, say: Callable[[Any], None]
    ) -> messages.Ended:
        self.calls.append(f"drive in {VARIABLE.get()}")
        while (given := feed.get()) is not None:
            for one in given.tasks:
                say(one)
        if self.error is not None:
            raise self.error
        return messages.Ended(hold_back=1.0)

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture(autouse=True)
def run_is_here(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """The batches' run is one of this process, whose caller has set a variable."""
    stop = Stop()
    VARIABLE.set("caller")
    monkeypatch.setitem(worker.runs_here, "run", (os.getpid(), stop, contextvars.copy_context()))
    return stop


def serve(stub: Stub, tasks: list[messages.OnItsWay], run: str = "run") -> list[Any] | None:
    return worker.serve(stub, tasks, DrainOptions(), run, 1)  # type: ignore[arg-type]


def test_a_batch() -> None:
    """The driver has its tasks and no more; what it says comes first, how it ended last."""
    assert serve(Stub(), TASKS) == [*TASKS, messages.Ended(hold_back=1.0)]


def test_no_tasks() -> None:
    """It is only seen whether this process can connect."""
    stub = Stub()
    assert serve(stub, []) == [messages.Ended()]
    assert stub.calls == ["connect"]


@pytest.mark.parametrize("tasks", [[], TASKS])
def test_a_process_that_cannot_work(tasks: list[messages.OnItsWay]) -> None:
    """Its error is an answer like any other, after what was said before it."""
    said = serve(Stub(PrintableError("no key")), tasks)
    assert said is not None
    assert said[:-1] == tasks
    assert isinstance(found := said[-1].error.error, PrintableError)
    assert str(found) == "no key"


def test_a_stop_while_it_connects() -> None:
    """Nothing was begun, and nothing is wrong."""
    assert serve(Stub(Leaving()), []) == [messages.Ended()]


def test_where_the_run_is(run_is_here: Stop) -> None:
    """A batch sees the context variables of its run's caller, and does not begin once the run is to stop."""
    stub = Stub()
    VARIABLE.set("changed")
    serve(stub, TASKS)
    run_is_here.request()
    assert serve(stub, TASKS) is None
    assert stub.calls == ["drive in caller"]


def test_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lives as long as a process that is not the run's own is torn down when that process ends, once."""
    monkeypatch.setattr(worker, "_runners", [])
    stub = Stub()
    for _ in range(2):
        serve(stub, [], "of another process")
    worker._close()
    worker._close()
    assert stub.calls == ["connect", "connect", "close"]
