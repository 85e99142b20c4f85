"""``encord-agents local labels``: the labels that the page shows, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encord_agents.cli.local import DEFAULT_DATA, Data, counted, existing, expanded, now_and_then, say
from encord_agents.core.legible import on_one_line


def labels(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's hash or title, as `status` has it.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", callback=expanded, help="Where the files go; made if it is not there.")
    ],
    draw: Annotated[bool, typer.Option("--draw", help="Also draw the labels on their pictures.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Write the saved labels of a project: a JSON file for each row, as the SDK gives it, and drawings with --draw."""
    with existing(data) as platform:
        done = platform.project(project).export_labels(out, draw=draw, progress=now_and_then("label row"))
    drawn = f", {counted(done.drawings, 'drawing')}" if draw else ""
    say(on_one_line(f"{counted(done.rows, 'label row')}{drawn} in {out}"))
    for reason in done.not_drawn:
        say(on_one_line(f"not drawn: {reason}"), err=True)
    if not done.rows:
        say("No labels were saved yet.", err=True)
