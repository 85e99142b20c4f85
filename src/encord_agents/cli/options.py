"""The options that the command lines of both kinds of runners have, and the meaning of their exit codes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "EXIT_CODES_HELP",
    "BundleSaves",
    "DryRun",
    "MaxConsecutiveFailures",
    "MaxTasksPerStage",
    "NumRetries",
    "Progress",
    "RefreshEvery",
    "ReportFile",
    "RetryDelay",
    "ShownProgress",
]

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


RefreshEvery = Annotated[
    int | None,
    typer.Option(metavar="SECONDS", help="From the start of one pass to the start of the next. Default: one pass."),
]
NumRetries = Annotated[int, typer.Option(help="Attempts of a task after its first.")]
MaxTasksPerStage = Annotated[int | None, typer.Option(help="Tasks per stage in one pass. Default: all.")]
ShownProgress = Annotated[
    Progress, typer.Option(help="Bars, lines or nothing; auto: bars on a terminal, lines elsewhere.")
]
RetryDelay = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Delay before a task's second attempt; doubles with each, at most 60."),
]
MaxConsecutiveFailures = Annotated[
    int | None,
    typer.Option(help="End the run after this many failed tasks of a stage in a row. Default: never."),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Run the agents and print what would be written for each task, without writing it. "
        "Writes that an agent makes itself are made, except those that --bundle-saves holds back.",
    ),
]
BundleSaves = Annotated[
    bool,
    typer.Option(
        "--bundle-saves",
        help="Let label_row.save() and label_row.set_priority() in agents return at once, and send them in "
        "bundles before the task moves.",
    ),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Append one JSON line per task to this file, during the run."),
]
