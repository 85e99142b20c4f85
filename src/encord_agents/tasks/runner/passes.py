"""What a run is around its stages' turns: who is told of it, pass after pass, and how it ends."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Protocol
from uuid import UUID

from encord.exceptions import EncordException

from encord_agents.core.sdk.connections import IDLE, close_idle
from encord_agents.core.tracebacks import cause_of, described
from encord_agents.exceptions import NoRoomError, OutageError, PrintableError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import Events, Observer, RunStopped, TaskRef
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.observers import LogObserver, PassCounter
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.report_file import ReportFile
from encord_agents.tasks.engine.stop import Leaving, Reason, Stop
from encord_agents.tasks.runner.opening import with_advice

__all__ = ["STOPPED_BY", "Passes", "Progress", "Turns", "check_common_numbers", "check_number", "stopped_before"]

Progress = Literal["auto", "rich", "plain", "none"]

STOPPED_BY: dict[Reason, str] = {"interrupt": "interrupted", "terminate": "terminated", "hangup": "hung up"}


def stopped_before(stop: Stop) -> RunReport:
    """Return the report of a run that was stopped before it had its project.

    Raises:
        KeyboardInterrupt: By a Ctrl-C.
    """
    if stop.reason == "interrupt":
        raise KeyboardInterrupt
    report = RunReport()
    report.stopped = STOPPED_BY[stop.reason] if stop.reason else "asked to stop"
    return report


class Turns(Protocol):
    """Gives each agent its turn over what waits in its stage.

    Attributes:
        unwritten: Tasks that were finished but could not be written.
        unconfirmed: Those of them that were sent to move, without an answer.
        halted: Why the turns asked for a stop by themselves, if they did.
    """

    @property
    def unwritten(self) -> list[TaskRef]: ...

    @property
    def unconfirmed(self) -> set[UUID]: ...

    @property
    def halted(self) -> str | None: ...

    def take(self, agent: Agent) -> None:
        """Run an agent over what waits in its stage."""


class Passes:
    """Pass after pass over the stages, announced to observers, and told truthfully at the end.

    A context manager: inside, progress is shown and the report file is open.

    Args:
        report: Called with every event, and what it raises ends the run.
        observers: Further ones.
        progress: What to show on the terminal.
        report_file: A file to write one JSON line per task to.
    """

    def __init__(
        self,
        report: RunReport,
        observers: Sequence[Observer],
        stop: Stop,
        *,
        progress: Progress = "none",
        report_file: str | Path | None = None,
    ) -> None:
        self._report = report
        self._observers = observers
        self._stop = stop
        self._progress = progress
        self._report_file = report_file
        self._counter = PassCounter()

    def __enter__(self) -> Passes:
        with contextlib.ExitStack() as stack:
            observers: list[Observer] = [LogObserver(), self._counter, *self._observers]
            if self._progress != "none" and (shown := _progress_observer(self._progress, stack)) is not None:
                observers.append(shown)
            if self._report_file is not None:
                observers.append(self._enter_report_file(self._report_file, stack))
            self.events = Events(observers, record=self._report)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stack.close()
        finally:
            close_idle()

    def _enter_report_file(self, path: str | Path, stack: contextlib.ExitStack) -> ReportFile:
        file = ReportFile(path)

        def tell() -> None:
            self._report.report_file_error = file.problem

        stack.callback(tell)  # when it is closed, for that may fail too
        return stack.enter_context(file)

    def run(
        self, turns: Turns, agents: Sequence[Agent], *, project_hash: object, refresh_every: float | None = None
    ) -> None:
        """Give the agents their turns, in order, once or again and again.

        Raises:
            OutageError: The platform did not answer for too long.
            NoRoomError: This machine has no room for files.
            KeyboardInterrupt: After what was finished is written.
            Exception: The set-up is wrong.
        """
        stop, reason = self._stop, None
        try:
            for number in pass_numbers(refresh_every, stop, self._counter, self.events):
                self._counter.begin(number)
                for agent in agents:
                    turns.take(agent)
                    if stop.requested:
                        break
            if stop.reason == "interrupt":  # it came while no user code ran, and was only noted
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            stop.request("interrupt")
            raise
        except (SetUpError, EncordException) as trouble:
            error = trouble.error if isinstance(trouble, SetUpError) else trouble
            reason = described(error)
            if isinstance(error, EncordException):
                with_advice(error, project_hash, doing="run agents in")
            raise error from cause_of(error)
        except OutageError as outage:
            reason = str(outage)
            raise
        except NoRoomError as trouble:
            reason = str(trouble).partition("\n")[0]
            raise
        except Leaving:
            reason = "there was no time left to wait for the platform"
        except BaseException as error:
            reason = described(error)
            raise
        finally:
            if stop.requested or reason:
                why = reason or turns.halted or (STOPPED_BY[stop.reason] if stop.reason else "asked to stop")
                self.events.emit(RunStopped(why, tuple(turns.unwritten), frozenset(turns.unconfirmed)))


def pass_numbers(
    refresh_every: float | None,
    stop: Stop,
    counter: PassCounter,
    events: Events,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[int]:
    """Numbers of passes, each when it is time for it: by when the last one started, on a clock that never jumps."""
    number = 0
    while True:
        number += 1
        started = clock()
        yield number
        now = clock()
        wait = None
        if refresh_every is not None and not stop.requested:
            wait = max(0.0, started + refresh_every - now)
        events.emit(counter.end(now - started, wait))
        if wait is not None and wait >= IDLE:
            close_idle()
        if wait is None or stop.wait(wait):
            return


def _progress_observer(kind: Progress, stack: contextlib.ExitStack) -> Observer | None:
    from encord_agents.terminal import progress_observer

    observer = progress_observer(kind)
    if observer is not None:
        stack.callback(observer.close)
    return observer


def check_number(
    name: str, value: object, least: float, meaning: str, *, whole: bool = False, optional: bool = False
) -> None:
    """Refuse what is no number, or too small.

    Args:
        whole: Only whole numbers will do.
        optional: ``None`` will do too.

    Raises:
        PrintableError: It will not do; the message says what the number means.
    """
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or (whole and not isinstance(value, int)):
        raise PrintableError(f"{name}={value!r} is not a {'whole number' if whole else 'number'}: it is {meaning}.")
    if not value >= least or math.isinf(value):
        raise PrintableError(f"{name}={value!r} is out of range: at least {least} ({meaning}).")


def check_common_numbers(
    refresh_every: object,
    num_retries: object,
    max_tasks_per_stage: object,
    retry_delay: object = 0.0,
    max_consecutive_failures: object = None,
) -> None:
    """The numbers that every kind of run takes.

    Raises:
        PrintableError: One of them is out of range.
    """
    check_number(
        "refresh_every",
        refresh_every,
        1,
        "seconds between the starts of two passes; leave it out for one pass",
        optional=True,
    )
    check_number("num_retries", num_retries, 0, "attempts after the first; 0 means one attempt", whole=True)
    meaning = "tasks in a pass; leave it out for all"
    check_number("max_tasks_per_stage", max_tasks_per_stage, 1, meaning, whole=True, optional=True)
    check_number("retry_delay", retry_delay, 0, "seconds before the second attempt")
    meaning = "failures in a row that end the run; leave it out for none"
    check_number("max_consecutive_failures", max_consecutive_failures, 1, meaning, whole=True, optional=True)
