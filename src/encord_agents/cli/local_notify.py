"""``encord-agents local notify`` and ``notifications``: addresses that are notified when tasks wait."""

from __future__ import annotations

from typing import Annotated

import typer

from encord_agents.cli.local import DEFAULT_DATA, Data, app, counted, existing, say
from encord_agents.core.legible import on_one_line


@app.command()
def notify(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where to POST, as http://127.0.0.1:8000/notifications.")
    ],
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Only of this project, by hash or title.")
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="TITLE", help="Only of this agent stage of --project.")] = None,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", envvar="ENCORD_WEBHOOK_SECRET", help="What signs the notifications. Default: a new one."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Notify as soon as this many tasks have arrived.")] = 100,
    max_wait: Annotated[float, typer.Option(min=0, help="Seconds after which fewer tasks are enough.")] = 1.0,
    remove: Annotated[bool, typer.Option("--remove", help="Stop notifying the address.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Notify an address when tasks wait in an agent stage, while `up` serves. Print the secret that signs it."""
    import shlex

    with existing(data) as platform:
        receivers = platform.receivers
        known = platform.project(project).project_hash if project is not None else None
        if remove:
            found = receivers.registered(address, project=known, stage=stage)
            for one in found:
                receivers.remove(one)
            say(f"{counted(len(found), 'registration')} removed.")
            return
        one = receivers.add(
            address, secret=secret, project=known, stage=stage, batch_size=batch_size, max_wait=max_wait
        )
        say(f"# {one.address} is notified while `encord-agents local up` serves. For the receiver:")
        say(f"export ENCORD_WEBHOOK_SECRET={shlex.quote(one.secret)}")


@app.command()
def notifications(data: Data = DEFAULT_DATA) -> None:
    """Show the addresses that are notified, and the latest notifications with their answers."""
    from datetime import datetime

    from encord_agents.terminal.tables import show_table

    with existing(data) as platform:
        projects = {project.project_hash: project for project in platform.projects()}
        for receiver in platform.receivers:
            of = on_one_line(projects[receiver.project].title) if receiver.project in projects else "all projects"
            say(f"{receiver.address} ({of})")
        if not len(platform.receivers):
            say("Nobody is notified: `encord-agents local notify ADDRESS` registers an address.")
        rows = []
        for one in platform.receivers.sent()[:50]:
            stage = next((s.title for s in projects[one.project].stages if s.uuid == one.stage), one.stage)
            at = datetime.fromtimestamp(one.sent_at or one.created_at).strftime("%H:%M:%S")
            rows.append((at, stage, one.pending, one.address, one.status, one.attempts, one.answer))
    if rows:
        show_table(["time", "stage", "tasks", "address", "status", "tries", "answer"], rows)
