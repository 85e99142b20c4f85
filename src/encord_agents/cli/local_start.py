"""``encord-agents local init``: starter files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from encord_agents.cli.local import app, expanded, say


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", callback=expanded, help="Where to write them.")] = Path(),
) -> None:
    """Write agents.py, workflow.yaml and ontology.yaml, which run at once. Existing files are not touched."""
    import shlex

    from encord_agents.local import starting

    for path in starting.write(directory):
        say(f"# wrote {path}")
    agents, workflow, ontology = (
        shlex.quote(str(directory / name)) for name in ("agents.py", "workflow.yaml", "ontology.yaml")
    )
    say("# Now make a project of a directory of files, and serve it:")
    say(f"encord-agents local create --files DIR --workflow {workflow} --ontology {ontology}\nencord-agents local up")
    say("# In another terminal, after the `export` lines that `up` prints:")
    say(f"python {agents} --project-hash HASH")
