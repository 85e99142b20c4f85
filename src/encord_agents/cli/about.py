"""``encord-agents print``: a project's agent stages, and the installed versions."""

from __future__ import annotations

from typing import Annotated

import typer

from encord_agents.exceptions import PrintableError

app = typer.Typer(no_args_is_help=True, help="Print a project's agent stages, or the installed versions.")


@app.command()
def agent_nodes(project_hash: Annotated[str, typer.Argument(metavar="PROJECT_HASH", help="The project.")]) -> None:
    """Print the agent stages of a project and their pathways, each with its uuid."""
    from encord.exceptions import EncordException

    from encord_agents.core.legible import cut, on_one_line
    from encord_agents.core.tracebacks import message_of, notes
    from encord_agents.tasks.runner.base import RunnerBase, checked_hash
    from encord_agents.terminal.log import log_to_terminal

    try:
        with log_to_terminal():
            stages = RunnerBase(checked_hash(project_hash)).valid_stages or []
    except EncordException as error:
        raise PrintableError("\n".join([cut(message_of(error)), *notes(error)])) from None
    for stage in stages:
        typer.echo(f"{stage.uuid}  {on_one_line(stage.title)}")
        for pathway in stage.pathways:
            typer.echo(f"  {pathway.uuid}  {on_one_line(pathway.name)}")


@app.command()
def system_info() -> None:
    """Print the system and the versions, for a bug report."""
    import platform
    import sys
    from importlib.metadata import version

    from encord_agents import __version__

    typer.echo(f"System: {platform.system()} {platform.release()} ({platform.machine()})")
    typer.echo(f"Python: {sys.version}")
    typer.echo(f"encord: {version('encord')}")
    typer.echo(f"encord-agents: {__version__}")
