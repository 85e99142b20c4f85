"""The observers that every run has: the log, and the counts of a pass."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from typing import Any
from uuid import UUID

from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import described, exc_info, marked, traceback_of, type_name
from encord_agents.tasks.engine.events import (
    AttemptFailed,
    Event,
    PassFinished,
    RunStopped,
    StageWarning,
    TaskFinished,
    TaskRef,
    TaskWouldWrite,
)
from encord_agents.tasks.engine.outcome import OUTCOMES, Failed, Moved, Skipped
from encord_agents.tasks.engine.record import first_too, kind_of

__all__ = ["LogObserver", "PassCounter"]

logger = get_logger("encord_agents.tasks")


def about(task: TaskRef) -> dict[str, Any]:
    """Return the extra fields of every log record of a task."""
    return {"task_uuid": str(task.uuid), "data_title": task.data_title, "stage": task.stage}


# Titles, messages and tracebacks contain other people's text, which must not forge lines in a log that people and
# programs trust: each message about a task is one line, and each line of a traceback begins with a mark.


def _named(task: TaskRef) -> tuple[str, UUID, str]:
    return on_a_line(task.data_title), task.uuid, on_a_line(task.stage)


class LogObserver:
    """Logs each failure, with its traceback if it is a new one, and everything else that a person needs to know."""

    shown_as = "The run's log"
    hears_starts = False

    def __init__(self) -> None:
        self._last: dict[UUID, str] = {}
        self._told: set[str] = set()

    def __call__(self, event: Event) -> None:
        match event:
            case AttemptFailed(task=task, fault=fault, retry_in=wait) if wait is not None:
                logger.info(
                    "%s (%s) in %r: attempt %d failed in %s: %s",
                    *_named(task),
                    *(fault.attempt, fault.phase, on_a_line(described(fault.exception))),
                    extra=about(task),
                )
            case TaskFinished(task=task, outcome=Failed(fault=fault, moved_to=pathway)):
                error = f"{described(fault.exception)}{first_too(fault.first)}"
                reason = f"{fault.phase}: {described(fault.exception)}"
                again = self._last.get(task.uuid) == reason
                self._last[task.uuid] = reason
                # A traceback shows the place; the hundredth one from the same place adds nothing.
                place = f"{task.stage_uuid} {fault.phase} {type_name(fault.exception)} {_where(fault.exception)}"
                new = place not in self._told
                self._told.add(place)
                trace = exc_info(fault.exception) if new else None
                logger.error(
                    "%s (%s) in %r failed%s in %s after %d attempt%s%s: %s%s",
                    *_named(task),
                    *(" again" if again else "", fault.phase),
                    *(event.attempts, "" if event.attempts == 1 else "s"),
                    f" and went down {on_a_line(pathway.name)!r}" if pathway else "",
                    on_a_line(error),
                    "\n" + marked(fault.exception) if new and trace is None else "",
                    exc_info=trace,
                    extra=about(task),
                )
            case TaskFinished(task=task, outcome=Skipped(reason=why)):
                logger.warning("%s (%s) in %r: %s", *_named(task), on_a_line(why), extra=about(task))
            case TaskFinished(task=task, outcome=outcome):
                self._last.pop(task.uuid, None)
                if isinstance(outcome, Moved) and not outcome.confirmed:
                    message = "%s (%s) in %r: moved, though the platform's answer was lost"
                    logger.warning(message, *_named(task), extra=about(task))
                elif logger.isEnabledFor(logging.DEBUG):
                    logger.debug("%s (%s) in %r: %s", *_named(task), on_a_line(outcome), extra=about(task))
            case StageWarning(task=task, message=message):
                logger.warning(
                    "%s (%s) in %r: %s (Logged once per run.)",
                    *_named(task),
                    on_a_line(message),
                    extra=about(task),
                )
            case TaskWouldWrite(task=task, summary=summary):
                logger.info("%s (%s) in %r: %s", *_named(task), on_a_line(summary), extra=about(task))
            case RunStopped(reason=reason, unwritten=unwritten, unconfirmed=unconfirmed):
                moving = f" Unconfirmed, since their move was not answered: {len(unconfirmed)}." if unconfirmed else ""
                logger.warning(
                    "The run ends early: %s. Finished but not written: %d.%s",
                    on_a_line(reason).rstrip("."),
                    len(unwritten),
                    moving,
                )
            case _:
                pass


def _where(exception: BaseException) -> str:
    """Return the file and line that raised."""
    last = None
    for frame, line in traceback.walk_tb(traceback_of(exception)):
        last = f"{frame.f_code.co_filename}:{line}"
    return last or ""


class PassCounter:
    """Counts the outcomes of a pass."""

    hears_starts = False

    def __init__(self) -> None:
        self._number = 0
        self._counts: Counter[str] = Counter()

    def begin(self, number: int) -> None:
        self._number = number
        self._counts.clear()

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskFinished):
            self._counts[kind_of(event.outcome)] += 1

    def end(self, seconds: float, next_in: float | None) -> PassFinished:
        counts = {name: self._counts[name] for name in OUTCOMES}
        return PassFinished(self._number, **counts, seconds=seconds, next_in=next_in)
