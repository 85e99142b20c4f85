"""``encord-agents local pull`` and ``diff``: copy a project of the real platform, and show changes to the copy."""

from __future__ import annotations

import contextlib
import time
from typing import Annotated

import typer

from encord_agents.cli.local import DEFAULT_DATA, SECONDS_BETWEEN_LINES, Data, app, counted, existing, say
from encord_agents.core.legible import on_one_line


@app.command()
def pull(
    project_hash: Annotated[
        str, typer.Argument(metavar="PROJECT_HASH", help="The project, where ENCORD_DOMAIN leads.")
    ],
    stage: Annotated[str | None, typer.Option(metavar="TITLE", help="Only the tasks of this stage.")] = None,
    max_tasks: Annotated[int | None, typer.Option(min=1, help="At most this many tasks of each stage.")] = None,
    with_labels: Annotated[bool, typer.Option("--with-labels", help="Copy the labels.")] = False,
    with_files: Annotated[bool, typer.Option("--with-files", help="Copy the files.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Copy a project of the real platform into the local one. Called again, it goes on where it ended.

    It reads with the key of ENCORD_SSH_KEY or ENCORD_SSH_KEY_FILE, through the SDK, and writes nothing there.
    """
    from encord_agents.core.client import get_user_client
    from encord_agents.local import LocalPlatform

    told: list[float] = []

    def progress(done: int, what: str) -> None:
        if told and what and time.monotonic() - told[-1] < SECONDS_BETWEEN_LINES:
            return
        told.append(time.monotonic())
        say(on_one_line(f"# {counted(done, 'task')}" + (f", reading {what}" if what else "")), err=True)

    client = get_user_client()
    with contextlib.closing(LocalPlatform(data)) as platform:
        pulled = platform.pull(
            client, project_hash, stage=stage, max_tasks=max_tasks, with_labels=with_labels, with_files=with_files,
            progress=progress,
        )  # fmt: skip
        for line in pulled.skipped[:20]:
            say(on_one_line(f"left out: {line}"), err=True)
        if len(pulled.skipped) > 20:
            say(f"left out: {len(pulled.skipped) - 20} more like these", err=True)
        say(f"# project {pulled.title!r} with {counted(len(pulled.tasks()), 'task')}")
        say(pulled.project_hash)


@app.command()
def diff(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's hash or title, as `status` has it.")],
    data: Data = DEFAULT_DATA,
) -> None:
    """Show which labels and moves were made since a project was pulled, or made."""
    from encord_agents.terminal.tables import show_table

    with existing(data) as platform:
        found = platform.project(project).differences()
    rows = []
    for one in found[:1000]:
        counts = [f"+{one.added}", f"-{one.removed}", f"~{one.changed}"]
        labels = " ".join(count for count in counts if count[1:] != "0")
        title = one.data_title if one.branch == "main" else f"{one.data_title} ({one.branch})"
        rows.append((title, labels, f"{one.origin} -> {one.stage}" if one.moved else one.stage))
    if rows:
        show_table(["data", "labels", "stage"], rows)
    added, removed, changed = (sum(getattr(one, name) for one in found) for name in ("added", "removed", "changed"))
    moves = sum(one.moved for one in found)
    labels = f"{added} new, {removed} gone, {changed} changed"
    say(f"{counted(len(found), 'task')}: {counted(moves, 'move')}; labels: {labels}")
