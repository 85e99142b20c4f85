"""``encord-agents``: the command. Each subcommand imports its requirements when it runs."""

from __future__ import annotations

import sqlite3
import sys

import typer

from encord_agents.cli import (
    about,
    celery,
    editor,
    local,
    local_agents,
    local_copy,
    local_labels,
    local_notify,
    local_people,
    local_start,
)
from encord_agents.cli.usage import CarefulGroup
from encord_agents.core.legible import literally
from encord_agents.exceptions import OutageError, PrintableError
from encord_agents.terminal.streams import forgiving_streams

app = typer.Typer(
    name="encord-agents",
    cls=CarefulGroup,
    help="Task agents for the Encord platform, and a local platform to try them on.",
    pretty_exceptions_enable=False,
)
local.app.command()(local_labels.labels)
COMMANDS = (local_copy, local_notify, local_people, local_start)
"""Modules whose import adds commands to ``local``."""
local.app.add_typer(local_agents.app, name="agents")
app.add_typer(local.app, name="local")
app.add_typer(celery.app, name="celery")
app.add_typer(about.app, name="print")
app.add_typer(editor.app, name="test")
app.command()(editor.serve)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", "-v", "-V", help="Show the version and exit."),
) -> None:
    """Task agents for the Encord platform, and a local platform to try them on."""
    if version:
        from encord_agents import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line. A user's mistake ends in a message and exit code 2, without a traceback."""
    with forgiving_streams():
        try:
            app()
        except PrintableError as error:
            typer.echo(f"Error: {literally(error)}", err=True)
            # Nothing is wrong with the set-up: it may be enough to run again later.
            sys.exit(1 if isinstance(error, OutageError) else 2)
        except sqlite3.DatabaseError as error:
            typer.echo(f"Error: the local platform's database cannot be used: {literally(error)}.", err=True)
            sys.exit(2)


if __name__ == "__main__":
    main()
