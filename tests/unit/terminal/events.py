"""Events of a run, a clock and a console, for the tests of what a person sees."""

from __future__ import annotations

import io
from uuid import UUID, uuid4

from rich.console import Console

from encord_agents.tasks.engine.events import TaskFinished, TaskRef
from encord_agents.tasks.engine.outcome import Failed, Fault, Outcome, Pathway, Phase

STAGE = UUID(int=1)
GO = Pathway(UUID(int=2), "go", UUID(int=3))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def task(title: str = "cat.png", stage: str = "Pre-label") -> TaskRef:
    return TaskRef(uuid4(), uuid4(), title, STAGE, stage)


def finished(outcome: Outcome, title: str = "cat.png", stage: str = "Pre-label") -> TaskFinished:
    return TaskFinished(task(title, stage), outcome, attempts=1, seconds=0.1)


def failed(message: str = "no box", title: str = "cat.png", stage: str = "Pre-label") -> TaskFinished:
    try:
        raise ValueError(message)
    except ValueError as error:
        return finished(Failed(Fault(Phase.AGENT, error, 1)), title, stage)


def wide() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None, markup=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
