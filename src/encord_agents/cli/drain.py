"""A queue runner as a command: the command line of `python agents.py`, over several processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

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
from encord_agents.cli.runner import (
    DryRunOutput,
    help_of,
    observed,
    report_at_the_end,
    set_up_errors,
    signals,
)
from encord_agents.cli.usage import CarefulCommand

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["drain_as_command"]


def drain_as_command(runner: QueueRunner, argv: Sequence[str] | None = None) -> NoReturn:
    """Read the command line, drain the stages over worker processes, show the report, and end the process.

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
        workers: Annotated[int | None, typer.Option(help="Worker processes. Default: one for each processor.")] = None,
        batch_size: Annotated[int, typer.Option(help="Tasks that go to a worker together.")] = 10,
        refresh_every: RefreshEvery = None,
        num_retries: NumRetries = 3,
        max_tasks_per_stage: MaxTasksPerStage = None,
        progress: ShownProgress = Progress.AUTO,
        max_outage: Annotated[
            float | None,
            typer.Option(
                metavar="SECONDS",
                help="The longest wait for a platform that does not answer. Default: as the script says, else 300.",
            ),
        ] = None,
        retry_delay: RetryDelay = 0.0,
        max_consecutive_failures: MaxConsecutiveFailures = None,
        dry_run: DryRun = False,
        bundle_saves: BundleSaves = False,
        report: ReportFile = None,
    ) -> None:
        with (
            terminal.log_to_terminal(brief=True),
            observed(runner, dry_run and progress is Progress.NONE),
            signals() as stop,
            set_up_errors(stop),
            report_at_the_end(runner),
        ):
            if dry_run:
                output.of(stop)
            code = runner.drain(
                workers=workers,
                batch_size=batch_size,
                refresh_every=refresh_every,
                num_retries=num_retries,
                max_tasks_per_stage=max_tasks_per_stage,
                progress=progress.value,
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
