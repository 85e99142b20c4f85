"""Stage runs over the workers, for a caller that only waits: how it ends, and what an interrupt does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, cast
from uuid import UUID

import pytest

from encord_agents.tasks.engine.events import Events
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Timing
from encord_agents.tasks.runner import drain
from encord_agents.tasks.runner.apart import Apart
from encord_agents.tasks.runner.drain import DrainRuns
from encord_agents.tasks.runner.run_options import DrainOptions


class Agent:
    """Stands for an agent: only its stage is asked for."""

    stage: Any = type("Stage", (), {"uuid": UUID(int=1)})


class Pool:
    """Stands for a pool: it notes that it was stopped."""

    def __init__(self) -> None:
        self.stops = 0

    def stop(self) -> None:
        self.stops += 1


class Running:
    """Stands for a stage run, which goes on until the test lets it end."""

    def __init__(self, *_: object) -> None:
        self.only_reads = False
        self.work: Callable[[], object] = lambda: None

    def run(self) -> None:
        self.work()


class Clock:
    """A clock on which a second goes by at each look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    found = Running()
    monkeypatch.setattr(drain, "StageDrain", lambda *_: found)
    return found


@pytest.fixture
def runs() -> DrainRuns:
    stop = Stop()
    gate = Gate(stop, clock=Clock(), timing=Timing(grace=5.0))
    pool: Any = Pool()
    options = DrainOptions()
    return DrainRuns(gate, stop, Events([]), cast("Any", None), options, functions={UUID(int=1): None}, workers=pool)  # type: ignore[dict-item]


def interrupted(monkeypatch: pytest.MonkeyPatch, times: int, then: Callable[[], object] = lambda: None) -> None:
    """Raise so many interrupts while the stage run is waited for; then something else happens."""
    left, wait = [None] * times, Apart.wait

    def come(self: Apart) -> bool:
        if left:
            left.pop()
            raise KeyboardInterrupt
        then()
        return wait(self)

    monkeypatch.setattr(Apart, "wait", come)


@pytest.fixture
def end(running: Running) -> Iterator[threading.Event]:
    """A stage run that goes on until this is set."""
    found = threading.Event()
    running.work = found.wait
    yield found
    found.set()


def test_a_stage_run(runs: DrainRuns, running: Running) -> None:
    """It is taken in another thread, and waited for."""
    seen: list[threading.Thread] = []
    running.work = lambda: seen.append(threading.current_thread())
    runs.run(cast("Any", Agent()))
    assert seen
    assert seen[0] is not threading.main_thread()


def test_an_error_of_the_stage_run(runs: DrainRuns, running: Running) -> None:
    """It is the caller's."""

    def fail() -> NoReturn:
        raise ValueError("no such stage")

    running.work = fail
    with pytest.raises(ValueError, match="no such stage"):
        runs.run(cast("Any", Agent()))


def test_an_interrupt(runs: DrainRuns, end: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop is requested and the workers are told; the stage run is waited for, then the interrupt goes on."""
    interrupted(monkeypatch, 1, end.set)
    with pytest.raises(KeyboardInterrupt):
        runs.run(cast("Any", Agent()))
    assert runs.stop.reason == "interrupt"
    assert not runs.stop.leaving
    assert cast("Any", runs.workers).stops == 1


def test_a_second_interrupt(runs: DrainRuns, end: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage run is left behind, after a moment: it is still going on when the caller has the interrupt."""
    interrupted(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        runs.run(cast("Any", Agent()))
    assert runs.stop.leaving
    assert not end.is_set()


def test_a_request_is_left_behind_after_a_stop(runs: DrainRuns, running: Running, end: threading.Event) -> None:
    """Where the stage run has nothing left but a read, it is waited for no longer than the grace."""
    running.only_reads = True
    runs.stop.request()
    runs.run(cast("Any", Agent()))
    assert not end.is_set()
    assert cast("Clock", runs.gate.clock).now >= 6.0


def test_writes_are_waited_for_after_a_stop(
    runs: DrainRuns, running: Running, end: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they take."""
    looks: list[None] = []

    def look() -> None:
        looks.append(None)
        if len(looks) == 20:
            end.set()

    interrupted(monkeypatch, 0, look)
    runs.stop.request()
    runs.run(cast("Any", Agent()))
    assert end.is_set()
