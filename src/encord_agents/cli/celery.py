"""``encord-agents celery``: send waiting tasks to the queue, and count tasks by state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from encord_agents.core.legible import literally
from encord_agents.exceptions import OutageError
from encord_agents.extras import require

app = typer.Typer(no_args_is_help=True)

App = Annotated[str, typer.Argument(metavar="MODULE:APP", help="The Celery app, for instance agents:app.")]


@app.callback()
def needs() -> None:
    """Agents on Celery: send the tasks that wait in the stages, and count tasks by state."""
    require("celery", "This command")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Show errors of the broker and the platform without a traceback. The exit code is 1 if it is enough to run again
    later, and 2 if something must be fixed first."""
    from encord.exceptions import EncordException

    from encord_agents.core.tracebacks import message_of, notes, type_name
    from encord_agents.integrations.celery import BrokerError

    try:
        yield
    except (BrokerError, OutageError) as error:
        if getattr(error, "lasts", False):
            raise
        typer.echo(f"Error: {literally(message_of(error))}", err=True)
        raise typer.Exit(1) from error
    except EncordException as error:
        said = "\n".join([f"{type_name(error)}: {message_of(error)}", *notes(error)])
        typer.echo(f"Error: {literally(said)}", err=True)
        raise typer.Exit(2) from error


@app.command()
def enqueue(
    where: App,
    stage: Annotated[str | None, typer.Option(help="One stage's title or uuid. Default: all.")] = None,
    max_tasks: Annotated[int | None, typer.Option(min=1, help="Send at most this many.")] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also send tasks that are marked as in the queue: for use after it was purged."),
    ] = False,
) -> None:
    """Send the waiting tasks to the queue, once. Print how many were sent."""
    from encord_agents.integrations.celery.filling import fill_each

    total = left_out = 0
    celery_app = _find(where)
    with _told():
        for filled in fill_each(celery_app, stage=stage, max_tasks=max_tasks, again=again):
            typer.echo(f"{literally(filled.stage)}: {filled.sent} sent")
            total += filled.sent
            left_out += filled.left_out
    typer.echo(f"{total} task{'' if total == 1 else 's'} sent.")
    if left_out:
        typer.echo(f"{left_out} in the queue or at work already: left out. If the queue was purged, use --again.")


@app.command()
def status(where: App) -> None:
    """Show for each stage how many tasks are waiting, in flight, done and failed."""
    from encord_agents.integrations.celery import status as stages
    from encord_agents.integrations.celery.adapter import adapter_of
    from encord_agents.terminal.tables import show_table

    celery_app = _find(where)
    with _told():
        rows = stages(celery_app)
    if adapter_of(celery_app).is_shared:
        columns = ["stage", "waiting", "in flight", "done", "failed"]
        show_table(columns, [(s.stage, s.waiting, s.in_flight, s.done, s.failed) for s in rows])
        return
    show_table(["stage", "in the stage"], [(s.stage, s.waiting) for s in rows])
    typer.echo("What is in flight, done and failed is known only if the broker or the result backend is a Redis.")


def _find(where: str) -> Any:
    from celery import Celery

    from encord_agents.cli.apps import find_app

    return find_app(where, Celery, "Celery")
