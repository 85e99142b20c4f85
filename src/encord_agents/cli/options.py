"""The options of runners' command lines, as typer reads them, and the meaning of their exit codes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["CHECK", "DRAIN_OPTIONS", "EXIT_CODES_HELP", "RUNNER_OPTIONS", "Progress"]

EXIT_CODES_HELP = """\b
Exit codes:
  0    no task failed
  1    some tasks failed, the platform was down for too long, or this machine had no room
  2    the set-up is wrong: options, credentials, project, stages, agents
  129  stopped by SIGHUP: the terminal was closed; finished tasks are written
  130  stopped by Ctrl-C; finished tasks are written
  141  a dry run ended because its output was no longer read
  143  stopped by SIGTERM; finished tasks are written"""


class Progress(StrEnum):
    """`encord_agents.terminal.ProgressKind` as an enumeration, which typer needs."""

    AUTO = "auto"
    RICH = "rich"
    PLAIN = "plain"
    NONE = "none"


OPTIONS: dict[str, Any] = {
    "refresh_every": Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="From the start of one pass to the start of the next. Default: one pass."),
    ],
    "num_retries": Annotated[int, typer.Option(help="Attempts of a task after its first.")],
    "max_tasks_per_stage": Annotated[int | None, typer.Option(help="Tasks per stage in one pass. Default: all.")],
    "progress": Annotated[
        Progress, typer.Option(help="Bars, lines or nothing; auto: bars on a terminal, lines elsewhere.")
    ],
    "max_outage": Annotated[
        float, typer.Option(metavar="SECONDS", help="The longest wait for a platform that does not answer.")
    ],
    "retry_delay": Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Delay before a task's second attempt; doubles with each, at most 60."),
    ],
    "max_consecutive_failures": Annotated[
        int | None,
        typer.Option(help="End the run after this many failed tasks of a stage in a row. Default: never."),
    ],
    "dry_run": Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Run the agents and print what would be written for each task, without writing it. "
            "Writes that an agent makes itself are made, except those that --bundle-saves holds back.",
        ),
    ],
    "bundle_saves": Annotated[
        bool,
        typer.Option(
            "--bundle-saves",
            help="Let label_row.save() and label_row.set_priority() in agents return at once, and send them in "
            "bundles before the task moves.",
        ),
    ],
    "report": Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Append one JSON line per task to this file, during the run."),
    ],
}
"""Options of every kind of run, by the name of the argument of its call."""

RUNNER_OPTIONS = OPTIONS | {
    "task_batch_size": Annotated[
        int,
        typer.Option(
            help="Tasks whose labels may be in memory at once. With 1, each is written before the next is loaded."
        ),
    ],
    "project_hash": Annotated[str | None, typer.Option(help="The project. Default: the one named in the script.")],
    "max_workers": Annotated[int, typer.Option(help="Attempts at the same time, for agents that wait for something.")],
}
"""Options of a run in one process."""

DRAIN_OPTIONS = OPTIONS | {
    "workers": Annotated[int | None, typer.Option(help="Worker processes. Default: one for each processor.")],
    "batch_size": Annotated[int, typer.Option(help="Tasks that go to a worker together.")],
    "max_outage": Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="The longest wait for a platform that does not answer. Default: the script's, or else 300.",
        ),
    ],
}
"""Options of a drain."""

CHECK = Annotated[
    bool, typer.Option("--check", help="Validate everything and show what each agent needs; run nothing.")
]
"""The option that only the command line has."""
