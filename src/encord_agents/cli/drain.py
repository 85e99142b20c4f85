"""A queue runner as a command: the command line of `python agents.py`, over several processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from encord_agents import terminal
from encord_agents.cli.host import check_host
from encord_agents.cli.runner import (
    EXIT_CODES_HELP,
    READER_LEFT,
    Progress,
    help_of,
    observed,
    report_at_the_end,
    set_up_errors,
    signals,
)
from encord_agents.cli.usage import CarefulCommand
from encord_agents.tasks.engine.stop import Stop

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
    dry_runs: list[Stop] = []
    unread: list[Stop] = []

    @app.command(cls=CarefulCommand, help=help_of(runner), epilog=EXIT_CODES_HELP)
    def command(
        workers: Annotated[int | None, typer.Option(help="Worker processes. Default: one for each processor.")] = None,
        batch_size: Annotated[int, typer.Option(help="Tasks that go to a worker together.")] = 10,
        refresh_every: Annotated[
            int | None,
            typer.Option(
                metavar="SECONDS", help="From the start of one pass to the start of the next. Default: one pass."
            ),
        ] = None,
        num_retries: Annotated[int, typer.Option(help="Attempts of a task after its first.")] = 3,
        max_tasks_per_stage: Annotated[
            int | None, typer.Option(help="Tasks per stage in one pass. Default: all.")
        ] = None,
        progress: Annotated[
            Progress, typer.Option(help="Bars, lines or nothing; auto: bars on a terminal, lines elsewhere.")
        ] = Progress.AUTO,
        max_outage: Annotated[
            float | None,
            typer.Option(
                metavar="SECONDS",
                help="The longest wait for a platform that does not answer. Default: as the script says, else 300.",
            ),
        ] = None,
        retry_delay: Annotated[
            float,
            typer.Option(
                metavar="SECONDS", help="Delay before a task's second attempt; doubles with each, at most 60."
            ),
        ] = 0.0,
        max_consecutive_failures: Annotated[
            int | None,
            typer.Option(help="End the run after this many failed tasks of a stage in a row. Default: never."),
        ] = None,
        dry_run: Annotated[
            bool,
            typer.Option(
                "--dry-run",
                help="Run the agents and print what would be written for each task, without writing it. "
                "Writes that an agent makes itself are made, except those that --bundle-saves holds back.",
            ),
        ] = False,
        bundle_saves: Annotated[
            bool,
            typer.Option(
                "--bundle-saves",
                help="Let label_row.save() and label_row.set_priority() in agents return at once, and send them in "
                "bundles before the task moves.",
            ),
        ] = False,
        report: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Append one JSON line per task to this file, during the run."),
        ] = None,
    ) -> None:
        with (
            terminal.log_to_terminal(brief=True),
            observed(runner, dry_run and progress is Progress.NONE),
            signals() as stop,
            set_up_errors(stop),
            report_at_the_end(runner),
        ):
            if dry_run:
                dry_runs.append(stop)
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
        if unread:
            code = READER_LEFT
        sys.exit(code if stop.exit_code is None else stop.exit_code)

    def reader_left() -> None:
        for stop in dry_runs:
            unread.append(stop)
            stop.request()

    with terminal.forgiving_streams(reader_left):
        typer.main.get_command(app).main(args=None if argv is None else list(argv))
    raise SystemExit(0)
