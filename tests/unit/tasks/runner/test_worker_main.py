"""A worker process, from its parent's side of the pipe: here it lives in this process."""

from __future__ import annotations

import logging
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from encord_agents.core.queues import SimpleQueue
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.runner import messages, worker_main
from encord_agents.tasks.runner.run_options import DrainOptions

TASKS = messages.Tasks([messages.OnItsWay("{}", 1.0)])


class Stub:
    """Stands for a queue function, and for its runner."""

    def __init__(self) -> None:
        self.runner = self
        self.__qualname__ = "stub"
        self.error: BaseException | None = None
        self.seen: list[str] = []

    def __reduce__(self) -> str:
        return self.__qualname__

    def connect(self, stop: Stop) -> None:
        self.seen.append("connect")
        if self.error is not None:
            raise self.error

    def drive(
        self, feed: SimpleQueue[Any], options: DrainOptions, *, stop: Stop, say: Callable[[Any], None]
    ) -> messages.Ended:
        while (given := feed.get()) is not None:
            if given == messages.HoldBack(1.0):
                raise SystemExit("an agent that exits")
            if not stop.requested:
                say(given)
        return messages.Ended()

    def close(self) -> None:
        self.seen.append(f"close in {'main' if threading.current_thread() is threading.main_thread() else 'a'} thread")
        raise SystemExit


stub = Stub()
BEGIN = messages.Begin(lambda: stub, DrainOptions())


@pytest.fixture(autouse=True)
def new_stub() -> None:
    stub.error = None
    stub.seen.clear()


@pytest.fixture
def parent() -> Iterator[Connection]:
    ours, its = multiprocessing.Pipe()
    with ours, its:
        ours.child = its  # type: ignore[attr-defined]
        yield ours


def live(parent: Connection, *said: object) -> list[Any]:
    """Say some things to a worker, have it live until it ends, and return what it says."""
    for message in said:
        parent.send(message)
    worker_main._Child(parent.child, Timing(hears_within=0.0)).live()  # type: ignore[attr-defined]
    answers = []
    while parent.poll():
        answers.append(parent.recv())
    return answers


def test_a_stage(parent: Connection) -> None:
    """It is ready, works on what it is given, and says when the stage has ended; at its end it tears down."""
    said = live(parent, BEGIN, TASKS, messages.Order.CLOSE, messages.Order.END)
    assert said == [messages.Ready(), TASKS, messages.Ended()]
    assert stub.seen == ["connect", "close in main thread"]


def test_stages_one_after_the_other(parent: Connection) -> None:
    """What lives as long as the process is torn down once."""
    said = live(parent, BEGIN, messages.Order.CLOSE, BEGIN, TASKS, messages.Order.CLOSE, messages.Order.END)
    assert said == [messages.Ready(), messages.Ended(), messages.Ready(), TASKS, messages.Ended()]
    assert stub.seen.count("close in main thread") == 1


def test_the_end_comes_after_the_stage_that_goes_on(parent: Connection) -> None:
    """Without an order to close it, too."""
    assert live(parent, BEGIN, TASKS, messages.Order.END) == [messages.Ready(), TASKS, messages.Ended()]


@pytest.mark.parametrize("error", [ValueError("no key"), SystemExit("no key"), KeyboardInterrupt("no key")])
def test_a_worker_that_cannot_work(parent: Connection, error: BaseException) -> None:
    """It says why, whatever it is, and waits for another stage."""
    stub.error = error
    (ready,) = live(parent, BEGIN, messages.Order.END)
    assert ready.error is not None
    assert "no key" in str(ready.error.error)


def test_a_stage_that_raises(parent: Connection) -> None:
    """Whatever it is, the parent has it as the stage's end."""
    _, ended = live(parent, BEGIN, messages.HoldBack(1.0), messages.Order.END)
    assert "an agent that exits" in str(ended.error.error)


def test_a_stop(parent: Connection) -> None:
    """No task begins any more."""
    said = live(parent, messages.Order.STOP, BEGIN, TASKS, messages.Order.CLOSE, messages.Order.END)
    assert said == [messages.Ready(), messages.Ended()]


def test_a_parent_that_is_gone(parent: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker ends with it, and tears down."""
    parent.send(BEGIN)
    ended: list[int] = []
    monkeypatch.setattr(worker_main.os, "_exit", ended.append)
    child = worker_main._Child(parent.child, Timing())  # type: ignore[attr-defined]
    parent.close()
    child.live()
    assert ended == [], "it need not be ended by force"
    assert "close in main thread" in stub.seen


def test_a_parent_that_cannot_be_understood(parent: Connection, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the worker ends."""
    parent.send_bytes(b"not a message")
    with caplog.at_level(logging.ERROR):
        live(parent)
    assert "The parent process said something that cannot be read." in caplog.text


def test_a_pipe_that_an_agent_has_closed(parent: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent can only see the process end: so it ends, at once."""
    ended: list[int] = []
    monkeypatch.setattr(worker_main.os, "_exit", ended.append)
    monkeypatch.setattr(worker_main._Child, "_tell", lambda *_: False)
    live(parent, BEGIN, messages.Order.CLOSE, messages.Order.END)
    assert ended
    assert set(ended) == {1}
