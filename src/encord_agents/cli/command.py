"""A runner as a command: its options are the arguments of a call, after which the process ends."""

from __future__ import annotations

import atexit
import contextlib
import gc
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from encord.exceptions import EncordException

from encord_agents.cli.host import NOTEBOOK, check_host, host
from encord_agents.cli.options import CHECK, EXIT_CODES_HELP, Progress
from encord_agents.cli.usage import CarefulCommand
from encord_agents.core.legible import on_one_line
from encord_agents.exceptions import NoRoomError, OutageError, PrintableError
from encord_agents.tasks.engine.signals import stop_on_signals
from encord_agents.tasks.engine.stop import EXIT_CODES, Stop
from encord_agents.terminal.log import FirstFailure, WouldWrite, log_to_terminal, show_error
from encord_agents.terminal.streams import forgiving_streams
from encord_agents.terminal.tables import show_report

if TYPE_CHECKING:
    from encord_agents.tasks.engine.report import RunReport
    from encord_agents.tasks.runner.base import RunnerBase

__all__ = ["as_command"]

READER_LEFT = 141
"""The exit code that a shell shows for a program ended by SIGPIPE."""


def as_command(
    runner: RunnerBase,
    call: Callable[..., RunReport | None],
    declared: Callable[..., RunReport],
    options: Mapping[str, Any],
    argv: Sequence[str] | None,
    *,
    instead: str,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> int:
    """Read the command line, make a call, show the report, and end the process with an exit code.

    Args:
        runner: The runner, with its agents.
        call: Runs them. Its arguments, with their defaults, are the options of the command line. A subclass may
            override it with fewer of them, and return nothing, as it could in 0.2.10.
        declared: The library's own method, whose arguments count where ``call`` takes any.
        options: The arguments that are options, by name, with typer's annotations.
        argv: The arguments. Default: those of the process.
        instead: The call that a notebook or a test makes instead.
        check: Shows the agents and their needs for ``--check``, instead of a run.

    Returns:
        The exit code, in a notebook, where `SystemExit` would be shown as an error. Elsewhere it does not return.

    Raises:
        PrintableError: The arguments of the process are those of a notebook or a test runner.
        SystemExit: At the end. Exceptions that are neither set-up errors nor a task's failure propagate instead, with
            their traceback.
    """
    if argv is None:
        check_host(instead)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    output = _DryRunOutput()
    arguments = _arguments_of(call, declared)
    called = False

    def command(**given: Any) -> None:
        nonlocal called
        called = True
        if check is not None and given.pop("check"):
            with log_to_terminal(brief=True), _set_up_errors(Stop()):
                check(given)
            sys.exit(0)
        if "progress" in given:
            given["progress"] = given["progress"].value
        dry_run = given.get("dry_run", False)
        takes_stop = "stop" in arguments  # otherwise signals would be requests that no run hears
        with (
            log_to_terminal(brief=True),
            _observed(runner, dry_run and given.get("progress") == "none"),
            _signals() if takes_stop else contextlib.nullcontext(Stop()) as stop,
            _set_up_errors(stop),
            _report_at_the_end(runner),
        ):
            if dry_run:
                output.of(stop)
            report = call(**given, **({"stop": stop} if takes_stop else {})) or runner.report
        sys.exit(output.exit_code(0 if report is None else report.exit_code, stop))

    types = {**options, "check": CHECK} if check is not None else options
    command.__signature__ = _signature_of(arguments, types)  # type: ignore[attr-defined]
    command.__annotations__ = dict(types)
    app.command(cls=CarefulCommand, help=_help_of(runner), epilog=EXIT_CODES_HELP)(command)
    try:
        with forgiving_streams(output.reader_left):
            typer.main.get_command(app).main(args=None if argv is None else list(argv))
    except SystemExit as end:
        if host() == NOTEBOOK:
            return end.code if isinstance(end.code, int) else int(bool(end.code))
        if not called:
            # At exit, Python collects garbage among all objects of the SDK, which takes a fifth as long as its import:
            # nobody should wait for that after `--help`. A run does wait: its garbage may hold files to be closed.
            atexit.register(gc.freeze)
        raise
    raise SystemExit(0)


def _arguments_of(call: Callable[..., object], declared: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return the arguments that a call accepts by name."""
    arguments = dict(inspect.signature(call).parameters)
    if any(argument.kind is inspect.Parameter.VAR_KEYWORD for argument in arguments.values()):
        return {**inspect.signature(declared).parameters, **arguments}
    return arguments


def _signature_of(arguments: Mapping[str, inspect.Parameter], types: Mapping[str, Any]) -> inspect.Signature:
    """Return a call's arguments as typer reads them. The option that only the command line has is last, and off."""
    defaults = {name: argument.default for name, argument in arguments.items() if name in types}
    if "progress" in defaults:
        defaults["progress"] = Progress(defaults["progress"])
    if "check" in types:
        defaults["check"] = False
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            inspect.Parameter(name, keyword, default=default, annotation=types[name])
            for name, default in defaults.items()
        ]
    )


class _DryRunOutput:
    """The output of a dry run: it is the run's purpose, so the run ends when nobody reads it any more."""

    def __init__(self) -> None:
        self._stops: list[Stop] = []
        self._unread = False

    def of(self, stop: Stop) -> None:
        """Register the stop of a dry run, to end it when its output is no longer read."""
        self._stops.append(stop)

    def reader_left(self) -> None:
        """End the dry run, since stdout has no reader any more."""
        for stop in self._stops:
            self._unread = True
            stop.request()

    def exit_code(self, code: int, stop: Stop) -> int:
        """Return the exit code of the process, given the run's own."""
        if stop.exit_code is not None:
            return stop.exit_code
        return READER_LEFT if self._unread else code


def _signals() -> contextlib.AbstractContextManager[Stop]:
    """Install signal handlers if this is the main thread: Python allows them only there."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return stop_on_signals() if in_main_thread else contextlib.nullcontext(Stop())


@contextlib.contextmanager
def _set_up_errors(stop: Stop) -> Iterator[None]:
    """Show errors meant for a person as panels; all others propagate, since their traceback is wanted."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(stop.exit_code or EXIT_CODES["interrupt"])
    except (NoRoomError, OutageError) as error:
        # Nothing is wrong with the set-up: it may be enough to run again later.
        show_error(error)
        sys.exit(1)
    except (PrintableError, EncordException) as error:
        show_error(error)
        sys.exit(2)


@contextlib.contextmanager
def _report_at_the_end(runner: RunnerBase) -> Iterator[None]:
    """Show the run's report however the run ends, if it got far enough to have one."""
    before = runner.report
    try:
        yield
    except BaseException:
        report = runner.report
        if report is not None and report is not before and (report.tasks or report.unwritten):
            show_report(report)
        raise
    if runner.report is not None:
        show_report(runner.report)


@contextlib.contextmanager
def _observed(runner: RunnerBase, would_write: bool) -> Iterator[None]:
    """Show the first failure when it happens and, in a dry run without progress, each task's would-be writes."""
    before = list(runner.observers)
    runner.observers.append(FirstFailure())
    if would_write:
        runner.observers.append(WouldWrite())
    try:
        yield
    finally:
        runner.observers[:] = before


def _help_of(runner: RunnerBase) -> str:
    """Return the help of a runner's command line: its stages and their agents."""
    paragraphs = ["Run the agents over the tasks that wait in their stages."]
    agents = []
    for agent in runner.agents:
        first_line = (inspect.getdoc(agent.callable) or "").strip().partition("\n")[0]
        text = f"  {on_one_line(agent.identity)}: {agent.name}()"
        agents.append(f"{text} - {on_one_line(first_line)}" if first_line else text)
    listed = "\n".join(agents) or "  none yet: decorate a function with @runner.stage(...)"
    # \b keeps the line breaks of a paragraph.
    paragraphs.append(f"\b\nStages and their agents:\n{listed}")
    return "\n\n".join(paragraphs)
