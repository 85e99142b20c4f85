"""``encord-agents local agents add|list|remove``: editor agents that the local platform's page can call."""

from __future__ import annotations

from typing import Annotated

import typer

from encord_agents.cli.local import DEFAULT_DATA, Data, existing, say
from encord_agents.cli.usage import CarefulGroup

app = typer.Typer(
    no_args_is_help=True, cls=CarefulGroup, help="Editor agents: the page has a button for each on tasks and objects."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The agent's name, on the button.")]


@app.command()
def add(
    name: Name,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where it takes requests, like http://127.0.0.1:8080/my-agent.")
    ],
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="Allow an address of another machine.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Register an editor agent, or give it another address. The platform may be up."""
    with existing(data) as platform:
        platform.add_editor_agent(name, address, elsewhere=elsewhere)
        say(f"{name.strip()} is registered: each task and object on the page has a button for it.")


@app.command("list")
def list_agents(data: Data = DEFAULT_DATA) -> None:
    """List the registered editor agents with their addresses."""
    with existing(data) as platform:
        agents = platform.editor_agents()
        for name, address in agents.items():
            say(f"{name}  {address.partition('?')[0]}")
        if not agents:
            say("No editor agent is registered: `encord-agents local agents add NAME ADDRESS` registers one.")


@app.command()
def remove(name: Name, data: Data = DEFAULT_DATA) -> None:
    """Forget an editor agent."""
    with existing(data) as platform:
        platform.remove_editor_agent(name)
        say(f"{name.strip()} is no longer registered.")
