"""A runner as a command: the command line of `python agents.py`."""

from __future__ import annotations

import contextlib
import inspect
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from encord.exceptions import EncordException

from encord_agents import terminal
from encord_agents.cli.host import check_host
from encord_agents.cli.options import (
    EXIT_CODES_HELP,
    BundleSaves,
    DryRun,
    MaxConsecutiveFailures,
    MaxTasksPerStage,
    NumRetries,
    Progress,
    RefreshEvery,
    ReportFile,
    RetryDelay,
    ShownProgress,
)
from encord_agents.cli.usage import CarefulCommand
from encord_agents.exceptions import NoRoomError, OutageError, PrintableError
from encord_agents.tasks.engine.signals import stop_on_signals
from encord_agents.tasks.engine.stop import EXIT_CODES, Stop

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner
    from encord_agents.tasks.runner.sequential_runner import SequentialRunner

__all__ = [
    "DryRunOutput",
    "help_of",
    "observed",
    "report_at_the_end",
    "run_as_command",
    "set_up_errors",
    "signals",
]

READER_LEFT = 141
"""The exit code that a shell shows for a program ended by SIGPIPE."""


class DryRunOutput:
    """The output of a dry run: it is the run's purpose, so the run ends when nobody reads it any more."""

    def __init__(self) -> None:
        self._stops: list[Stop] = []
        self._unread = False

    def of(self, stop: Stop) -> None:
        """Have the dry run of a stop end when its output is no longer read."""
        self._stops.append(stop)

    def reader_left(self) -> None:
        """End the dry run, since stdout has no reader any more."""
        for stop in self._stops:
            self._unread = True
            stop.request()

    def exit_code(self, code: int, stop: Stop) -> int:
        """Return the exit code of the process, for a run with an exit code of its own."""
        if stop.exit_code is not None:
            return stop.exit_code
        return READER_LEFT if self._unread else code


def run_as_command(runner: SequentialRunner, argv: Sequence[str] | None = None) -> NoReturn:
    """Read the command line, run the runner, show the report, and end the process with an exit code.

    Args:
        runner: The runner, with its agents.
        argv: The arguments. Default: those of the process.

    Raises:
        PrintableError: The arguments are those of a notebook or a test runner.
        SystemExit: Otherwise always, except that exceptions which are neither set-up errors nor a task's failure pass
            as they are, with their traceback.
    """
    if argv is None:
        check_host()
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    output = DryRunOutput()

    @app.command(cls=CarefulCommand, help=help_of(runner), epilog=EXIT_CODES_HELP)
    def command(
        refresh_every: RefreshEvery = None,
        num_retries: NumRetries = 3,
        task_batch_size: Annotated[
            int,
            typer.Option(
                help="Tasks whose labels may be in memory at once. With 1, each is written before the next is loaded."
            ),
        ] = 300,
        project_hash: Annotated[
            str | None, typer.Option(help="The project. Default: the one named in the script.")
        ] = None,
        max_tasks_per_stage: MaxTasksPerStage = None,
        progress: ShownProgress = Progress.AUTO,
        max_workers: Annotated[
            int, typer.Option(help="Attempts at the same time, for agents that wait for something.")
        ] = 1,
        max_outage: Annotated[
            float, typer.Option(metavar="SECONDS", help="The longest wait for a platform that does not answer.")
        ] = 300.0,
        retry_delay: RetryDelay = 0.0,
        max_consecutive_failures: MaxConsecutiveFailures = None,
        dry_run: DryRun = False,
        bundle_saves: BundleSaves = False,
        report: ReportFile = None,
        check: Annotated[
            bool, typer.Option("--check", help="Validate everything and show what each agent needs; run nothing.")
        ] = False,
    ) -> None:
        if check:
            with terminal.log_to_terminal(brief=True), set_up_errors(Stop()):
                from encord_agents.tasks.runner.sequential_runner import check_numbers

                check_numbers(
                    *(refresh_every, num_retries, task_batch_size, max_tasks_per_stage),
                    *(max_workers, max_outage, retry_delay, max_consecutive_failures),
                )
                terminal.show_check(runner.check(project_hash))
            sys.exit(0)
        with (
            terminal.log_to_terminal(brief=True),
            observed(runner, dry_run and progress is Progress.NONE),
            signals() as stop,
            set_up_errors(stop),
            report_at_the_end(runner),
        ):
            if dry_run:
                output.of(stop)
            code = runner(
                refresh_every,
                num_retries,
                task_batch_size,
                project_hash,
                max_tasks_per_stage,
                progress=progress.value,
                max_workers=max_workers,
                max_outage=max_outage,
                retry_delay=retry_delay,
                max_consecutive_failures=max_consecutive_failures,
                dry_run=dry_run,
                bundle_saves=bundle_saves,
                report=report,
                stop=stop,
            ).exit_code
        sys.exit(output.exit_code(code, stop))

    with terminal.forgiving_streams(output.reader_left):
        typer.main.get_command(app).main(args=None if argv is None else list(argv))
    raise SystemExit(0)


def signals() -> contextlib.AbstractContextManager[Stop]:
    """Install signal handlers if this is the main thread: Python allows them in no other."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return stop_on_signals() if in_main_thread else contextlib.nullcontext(Stop())


@contextlib.contextmanager
def set_up_errors(stop: Stop) -> Iterator[None]:
    """Show errors meant for a person as panels; all others pass, since their traceback is wanted."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(stop.exit_code or EXIT_CODES["interrupt"])
    except (NoRoomError, OutageError) as error:
        # Nothing is wrong with the set-up: it may be enough to run again later.
        terminal.show_error(error)
        sys.exit(1)
    except (PrintableError, EncordException) as error:
        terminal.show_error(error)
        sys.exit(2)


@contextlib.contextmanager
def report_at_the_end(runner: SequentialRunner | QueueRunner) -> Iterator[None]:
    """Show the run's report, if it got as far as having one, whatever ends the run."""
    before = runner.report
    try:
        yield
    except BaseException:
        if runner.report is not None and runner.report is not before and runner.report.tasks:
            terminal.show_report(runner.report)
        raise
    if runner.report is not None:
        terminal.show_report(runner.report)


@contextlib.contextmanager
def observed(runner: SequentialRunner | QueueRunner, would_write: bool) -> Iterator[None]:
    """Show the first failure when it happens and, in a dry run without progress, what would be written."""
    before = list(runner.observers)
    runner.observers.append(terminal.FirstFailure())
    if would_write:
        runner.observers.append(terminal.WouldWrite())
    try:
        yield
    finally:
        runner.observers[:] = before


def help_of(runner: SequentialRunner | QueueRunner) -> str:
    """Return the help of a runner's command line: its stages and their agents."""
    paragraphs = ["Run the agents over the tasks that wait in their stages."]
    agents = []
    for agent in runner.agents:
        first_line = (inspect.getdoc(agent.callable) or "").strip().partition("\n")[0]
        text = f"  {terminal.on_one_line(agent.identity)}: {agent.name}()"
        agents.append(f"{text} - {terminal.on_one_line(first_line)}" if first_line else text)
    listed = "\n".join(agents) or "  none yet: decorate a function with @runner.stage(...)"
    # \b keeps the line breaks of a paragraph.
    paragraphs.append(f"\b\nStages and their agents:\n{listed}")
    return "\n\n".join(paragraphs)
