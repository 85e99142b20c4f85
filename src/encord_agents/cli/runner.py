"""The command lines of runners: `python agents.py`, in one process or over several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from encord_agents.cli.command import as_command
from encord_agents.cli.options import DRAIN_OPTIONS, RUNNER_OPTIONS
from encord_agents.terminal.tables import show_check

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner
    from encord_agents.tasks.runner.sequential_runner import SequentialRunner

__all__ = ["drain_as_command", "run_as_command"]

CALL = 'report = runner(project_hash="...", max_tasks_per_stage=10)'
DRAIN = "report = runner.drain(executor=ThreadPoolExecutor(4), max_tasks_per_stage=10)"
"""In a notebook, workers could not import the agents, unless they are threads."""


def run_as_command(runner: SequentialRunner, argv: Sequence[str] | None = None) -> int:
    """Run a runner as the command line says, and end the process: see `as_command`."""

    from encord_agents.tasks.runner.sequential_runner import SequentialRunner

    def check(given: dict[str, Any]) -> None:
        from encord_agents.tasks.runner.run_options import RunnerOptions

        project_hash = given.pop("project_hash", None)
        RunnerOptions(**given)
        show_check(runner.check(project_hash))

    return as_command(runner, runner, SequentialRunner.__call__, RUNNER_OPTIONS, argv, instead=CALL, check=check)


def drain_as_command(runner: QueueRunner, argv: Sequence[str] | None = None) -> int:
    """Drain a queue runner's stages over worker processes as the command line says, and end the process."""
    from encord_agents.tasks.runner.queue_runner import QueueRunner

    return as_command(runner, runner.drain, QueueRunner.drain, DRAIN_OPTIONS, argv, instead=DRAIN)
