"""``encord-agents local submit|approve|reject|move|delete``: people's work on tasks, and deletion of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encord_agents.cli.local import DEFAULT_DATA, Data, app, counted, existing, say

Project = Annotated[str, typer.Argument(metavar="PROJECT", help="The project's hash or title, as `status` has it.")]
StageTitle = Annotated[str, typer.Argument(metavar="STAGE", help="The stage's title.")]
Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="Only tasks whose data title contains this text.")
]


@app.command()
def submit(project: Project, stage: StageTitle, title: Title = None, data: Data = DEFAULT_DATA) -> None:
    """Submit the tasks of an annotation stage."""
    _act("submit", "submitted", project, stage, title, data)


@app.command()
def approve(project: Project, stage: StageTitle, title: Title = None, data: Data = DEFAULT_DATA) -> None:
    """Approve the tasks of a review stage."""
    _act("approve", "approved", project, stage, title, data)


@app.command()
def reject(project: Project, stage: StageTitle, title: Title = None, data: Data = DEFAULT_DATA) -> None:
    """Reject the tasks of a review stage."""
    _act("reject", "rejected", project, stage, title, data)


@app.command()
def move(
    project: Project,
    stage: StageTitle,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="The title of the stage to move them to.")],
    title: Title = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Move the tasks of any stage to another."""
    _act("move", f"moved to {destination}", project, stage, title, data, destination=destination)


@app.command()
def delete(project: Project, data: Data = DEFAULT_DATA) -> None:
    """Delete a project with its tasks and labels. Its files stay with its dataset."""
    with existing(data) as platform:
        found = platform.project(project)
        title = found.title
        found.delete()
    say(f"The project {title!r} is deleted.")


def _act(action: str, done: str, project: str, stage: str, title: str | None, data: Path, **more: str) -> None:
    with existing(data) as platform:
        count = platform.project(project).act(action, stage, title=title, **more)
    say(f"{counted(count, 'task')} {done}.")
