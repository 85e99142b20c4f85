"""``encord-agents local init``: files to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encord_agents.cli.local import app, expanded, say


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", callback=expanded, help="Where to write them.")] = Path(),
) -> None:
    """Write agents.py, workflow.yaml and ontology.yaml, which run at once. What is there already is not touched."""
    from encord_agents.local import starting

    for path in starting.write(directory):
        say(f"# wrote {path}")
    where = "" if directory == Path() else f"{directory}/"
    say("# Now make a project of a directory of files, and serve it:")
    say(
        f"encord-agents local create --files DIR --workflow {where}workflow.yaml --ontology {where}ontology.yaml\n"
        "encord-agents local up"
    )
    say("# In another terminal, after the `export` lines that `up` prints:")
    say(f"python {where}agents.py --project-hash HASH")
