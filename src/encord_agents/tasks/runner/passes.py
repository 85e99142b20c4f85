"""A run from its first stage to its end: observers, pass after pass, and the report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from encord.exceptions import EncordException

from encord_agents.core.sdk.connections import IDLE, close_idle
from encord_agents.core.tracebacks import cause_of, described
from encord_agents.exceptions import NoRoomError, OutageError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import Events, Observer, RunStopped, StageFinished, StageStarted, TaskRef
from encord_agents.tasks.engine.gate import SetUpError
from encord_agents.tasks.engine.observers import LogObserver, PassCounter
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.report_file import ReportFile
from encord_agents.tasks.engine.stop import Leaving, Reason, Stop
from encord_agents.tasks.runner.base import RunnerBase
from encord_agents.tasks.runner.opening import with_advice
from encord_agents.tasks.runner.run_options import RunnerOptions, RunOptions

__all__ = ["Passes", "StageRuns", "reported", "stopped_before"]

STOPPED_BY: dict[Reason, str] = {"interrupt": "interrupted", "terminate": "terminated", "hangup": "hung up"}


def stopped_before(runner: RunnerBase, stop: Stop) -> RunReport:
    """Return the report of a run that was stopped before it had its project.

    Raises:
        KeyboardInterrupt: It was stopped by a Ctrl-C.
    """
    report = runner.report = RunReport()
    report.stopped = STOPPED_BY[stop.reason] if stop.reason else "asked to stop"
    if stop.reason == "interrupt":
        raise KeyboardInterrupt
    return report


def reported(
    runner: RunnerBase,
    stop: Stop,
    options: RunOptions,
    run: Callable[[Passes], None],
    end: Callable[[], None] = lambda: None,
) -> RunReport:
    """Make a run, and return its report, which its runner has from the beginning.

    Args:
        run: Makes the run. A Ctrl-C in it only requests the stop, except inside `Stop.interruptible`.
        end: Called after the run, however it ended.
    """
    one_by_one = isinstance(options, RunnerOptions) and options.task_batch_size == 1
    report = runner.report = RunReport(one_by_one=one_by_one)
    # Python raises an interrupt only at a call or a backward jump: none comes just before a `try`, or between its end
    # and the `finally`.
    try:
        try:
            with stop.at_work(), Passes(report, runner.observers, stop, options) as passes:
                run(passes)
        finally:
            end()
    except BaseException as error:
        if not isinstance(error, Exception):  # it came outside `Passes.run`, which records it
            interrupted = isinstance(error, KeyboardInterrupt)
            report.stopped = report.stopped or (STOPPED_BY["interrupt"] if interrupted else described(error))
        raise
    return report


@dataclass(eq=False, kw_only=True)
class StageRuns:
    """Runs each agent over the tasks in its stage, and keeps what later stages and the end of the run need.

    Attributes:
        unwritten: Tasks that were finished but could not be written.
        unconfirmed: Those of them whose move was sent, but not answered.
        halted: The reason why a stage ended the whole run, if one did.
    """

    unwritten: list[TaskRef] = field(default_factory=list)
    unconfirmed: set[UUID] = field(default_factory=set)
    halted: str | None = None

    def run(self, agent: Agent) -> None:
        """Run an agent over the tasks in its stage."""
        raise NotImplementedError


class Passes:
    """Passes over the stages, announced to observers, with a truthful report at the end.

    A context manager: inside, progress is shown and the report file is open.

    Args:
        report: Called with every event; its exceptions end the run.
        observers: Further observers.
    """

    def __init__(self, report: RunReport, observers: Sequence[Observer], stop: Stop, options: RunOptions) -> None:
        self._report = report
        self._observers = observers
        self._stop = stop
        self._options = options
        self._counter = PassCounter()

    def __enter__(self) -> Passes:
        with contextlib.ExitStack() as stack:
            observers: list[Observer] = [LogObserver(), self._counter, *self._observers]
            if self._options.progress != "none":
                from encord_agents.terminal.progress import progress_observer

                if (shown := progress_observer(self._options.progress)) is not None:
                    stack.callback(shown.close)
                    observers.append(shown)
            if self._options.report is not None:
                observers.append(self._enter_report_file(self._options.report, stack))
            self.events = Events(observers, record=self._report)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stack.close()
        finally:
            close_idle()

    def _enter_report_file(self, path: str | Path, stack: contextlib.ExitStack) -> ReportFile:
        file = ReportFile(path, self._stop, dry_run=self._options.dry_run)

        def tell() -> None:
            self._report.report_file_error = file.problem

        stack.callback(tell)  # called after the file is closed, since closing may fail too
        return stack.enter_context(file)

    def run(self, runs: StageRuns, agents: Sequence[Agent], *, project_hash: object) -> None:
        """Run the agents over their stages in order, once or pass after pass.

        Raises:
            OutageError: The platform did not answer for too long.
            NoRoomError: This machine has no room for files.
            KeyboardInterrupt: After the finished results are written.
            Exception: The set-up is wrong.
        """
        stop, reason = self._stop, None
        try:
            for number in pass_numbers(self._options.refresh_every, stop, self._counter, self.events):
                self._counter.begin(number)
                for agent in agents:
                    self._run_stage(runs, agent)
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
                why = reason or runs.halted or (STOPPED_BY[stop.reason] if stop.reason else "asked to stop")
                self.events.emit(RunStopped(why, tuple(runs.unwritten), frozenset(runs.unconfirmed)))

    def _run_stage(self, runs: StageRuns, agent: Agent) -> None:
        stage, started = agent.stage, time.monotonic()
        self.events.emit(StageStarted(stage.uuid, stage.title, agent.plan.name))
        try:
            runs.run(agent)
        finally:
            self.events.emit(StageFinished(stage.uuid, stage.title, time.monotonic() - started))


def pass_numbers(
    refresh_every: float | None,
    stop: Stop,
    counter: PassCounter,
    events: Events,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[int]:
    """Yield the number of each pass when it is due, counted from the last one's start, on a clock that never jumps."""
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
            close_idle()  # they would be too old for the next pass to use
        if wait is None or stop.wait(wait):
            return
