"""Each agent's turn over the workers, for a caller that only waits: how it ends, and what an interrupt does."""

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
from encord_agents.tasks.runner.drain import DrainTurns
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


class Turn:
    """Stands for a stage's turn, which goes on until the test lets it end."""

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
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    found = Turn()
    monkeypatch.setattr(drain, "StageDrain", lambda *_: found)
    return found


@pytest.fixture
def turns() -> DrainTurns:
    stop = Stop()
    gate = Gate(stop, clock=Clock(), timing=Timing(grace=5.0))
    pool: Any = Pool()
    options = DrainOptions()
    return DrainTurns(gate, stop, Events([]), cast("Any", None), options, functions={UUID(int=1): None}, workers=pool)  # type: ignore[dict-item]


def interrupted(monkeypatch: pytest.MonkeyPatch, times: int, then: Callable[[], object] = lambda: None) -> None:
    """Have so many interrupts come while the turn is waited for; then something else happens."""
    left, wait = [None] * times, Apart.wait

    def come(self: Apart) -> bool:
        if left:
            left.pop()
            raise KeyboardInterrupt
        then()
        return wait(self)

    monkeypatch.setattr(Apart, "wait", come)


@pytest.fixture
def end(turn: Turn) -> Iterator[threading.Event]:
    """A turn that goes on until this is set."""
    found = threading.Event()
    turn.work = found.wait
    yield found
    found.set()


def test_a_turn(turns: DrainTurns, turn: Turn) -> None:
    """It is taken in another thread, and waited for."""
    seen: list[threading.Thread] = []
    turn.work = lambda: seen.append(threading.current_thread())
    turns.take(cast("Any", Agent()))
    assert seen
    assert seen[0] is not threading.main_thread()


def test_an_error_of_the_turn(turns: DrainTurns, turn: Turn) -> None:
    """It is the caller's."""

    def fail() -> NoReturn:
        raise ValueError("no such stage")

    turn.work = fail
    with pytest.raises(ValueError, match="no such stage"):
        turns.take(cast("Any", Agent()))


def test_an_interrupt(turns: DrainTurns, end: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop is requested and the workers are told; the turn is waited for, then the interrupt goes on."""
    interrupted(monkeypatch, 1, end.set)
    with pytest.raises(KeyboardInterrupt):
        turns.take(cast("Any", Agent()))
    assert turns.stop.reason == "interrupt"
    assert not turns.stop.leaving
    assert cast("Any", turns.workers).stops == 1


def test_a_second_interrupt(turns: DrainTurns, end: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn is left behind, after a moment: it is still going on when the caller has the interrupt."""
    interrupted(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        turns.take(cast("Any", Agent()))
    assert turns.stop.leaving
    assert not end.is_set()


def test_a_request_is_left_behind_after_a_stop(turns: DrainTurns, turn: Turn, end: threading.Event) -> None:
    """Where the turn has nothing left but a read, it is waited for no longer than the grace."""
    turn.only_reads = True
    turns.stop.request()
    turns.take(cast("Any", Agent()))
    assert not end.is_set()
    assert cast("Clock", turns.gate.clock).now >= 6.0


def test_writes_are_waited_for_after_a_stop(
    turns: DrainTurns, turn: Turn, end: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they take."""
    looks: list[None] = []

    def look() -> None:
        looks.append(None)
        if len(looks) == 20:
            end.set()

    interrupted(monkeypatch, 0, look)
    turns.stop.request()
    turns.take(cast("Any", Agent()))
    assert end.is_set()
