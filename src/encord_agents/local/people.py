"""Actions of people in the workflow, one function each: called by the SDK's routes, the page and the command line.

Each takes the stage that its tasks are expected in, and acts on all tasks or none: if a task has left the stage
meanwhile, it is refused with a 400. ``user`` is the email of the person who acts.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any

from encord_agents.local import reviews, tasks, users
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, Database, listed
from encord_agents.local.trouble import NotKnown, Refusal, forbidden, malformed
from encord_agents.local.users import OWNER
from encord_agents.local.workflow import ResolvedStage


def submit(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    *,
    user: str = OWNER,
    assignee: str | None = None,
    retain_assignee: bool = False,
    label_reviews: bool = True,
) -> None:
    """Send tasks of an annotation stage on. Rejected label reviews become resolved.

    Args:
        assignee: The person to whom the tasks are assigned in the next stage.
        retain_assignee: Keep the present assignee; refused for a task that has none.
        label_reviews: Whether to update the reviews of the tasks' labels, too.

    Raises:
        Refusal: 400, the stage is not an annotation stage, or leads nowhere, or a task is not in it.
    """
    with database.write() as connection:
        if label_reviews:
            reviews.settle(connection, project, task_uuids, "REJECTED", "RESOLVED")
        _send(database, project, stage, "submit", task_uuids, user, assignee, retain_assignee)


def approve(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    *,
    user: str = OWNER,
    assignee: str | None = None,
    retain_assignee: bool = False,
    label_reviews: bool = True,
) -> None:
    """Send tasks of a review stage on. Arguments as for :func:`submit`.

    Raises:
        Refusal: 400, the stage is not a review stage, or leads nowhere, or a task is not in it.
    """
    with database.write() as connection:
        if label_reviews:
            reviews.open_for(connection, project, task_uuids)
            reviews.settle(connection, project, task_uuids, "NEW", "APPROVED")
        _send(database, project, stage, "approve", task_uuids, user, assignee, retain_assignee)


def reject(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    *,
    user: str = OWNER,
    assignee: str | None = None,
    retain_assignee: bool = False,
    label_reviews: bool = True,
) -> None:
    """Send tasks of a review stage back, where they become reopened. Arguments as for :func:`submit`.

    Raises:
        Refusal: 400, the stage is not a review stage, or leads nowhere, or a task is not in it.
    """
    with database.write() as connection:
        if label_reviews:
            reviews.open_for(connection, project, task_uuids)
            reviews.settle(connection, project, task_uuids, "NEW", "REJECTED")
        _send(database, project, stage, "reject", task_uuids, user, assignee, retain_assignee, status="REOPENED")


def assign(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    *,
    assignee: str,
    user: str = OWNER,
) -> None:
    """Assign tasks of an annotation or review stage to a person.

    Raises:
        Refusal: 400, people do not work in this stage, or a task is not in it; 403, no member has the email.
    """
    _refuse_others(stage, "assign")
    users.require(database, project.hash, user, "work" if assignee == user else "manage")
    with database.write() as connection:
        _known(connection, project, assignee)
        _update(connection, project, stage, task_uuids, "ASSIGNED", assignee)
        _note(connection, project, stage.uuid, task_uuids, "assign", user)


def release(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    *,
    user: str = OWNER,
) -> None:
    """Unassign tasks of an annotation or review stage.

    Raises:
        Refusal: 400, people do not work in this stage, or a task is not in it.
    """
    _refuse_others(stage, "release")
    users.require(database, project.hash, user, "work")
    with database.write() as connection:
        _update(connection, project, stage, task_uuids, "RELEASED", None)
        _note(connection, project, stage.uuid, task_uuids, "release", user)


def move(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    destination: str,
    *,
    user: str = OWNER,
) -> None:
    """Move tasks to any other stage, given by its uuid.

    Raises:
        Refusal: 400, a task is not in ``stage``; 403, there is no such destination.
    """
    if destination not in project.stages:
        raise forbidden(f"No access to the stage {destination}.")
    users.require(database, project.hash, user, "manage")
    with database.write() as connection:
        tasks.move(database, project, stage.uuid, [(task, destination) for task in task_uuids], user=user)
        _note(connection, project, stage.uuid, task_uuids, "move", user)


def reset(database: Database, project: ProjectRecord, *, keep_labels: bool = False) -> int:
    """Send all tasks of a project back to the start; remove their labels unless ``keep_labels``. Return how many."""
    return tasks.reset(database, project, keep_labels=keep_labels)


def complete(database: Database, project: ProjectRecord, label_hashes: Sequence[str], *, user: str = OWNER) -> None:
    """Move the tasks of label rows from wherever they are to the first final stage; tasks in a final stage stay.

    Raises:
        Refusal: 400, the workflow has no final stage; 403, a label row is unknown.
    """
    final = next((stage for stage in project.stages.values() if stage.type == "done"), None)
    if final is None:
        raise malformed("The workflow has no final stage.")
    _jump(database, project, label_hashes, final, user=user, status="COMPLETED", unless="done")


def reopen(database: Database, project: ProjectRecord, label_hashes: Sequence[str], *, user: str = OWNER) -> None:
    """Move the tasks of label rows back to the first annotation stage or, if there is none, to the start.

    Raises:
        Refusal: 403, a label row is unknown.
    """
    first = next((stage for stage in project.stages.values() if stage.type == "annotation"), None)
    back = first or project.stages[project.start]
    _jump(database, project, label_hashes, back, user=user, status="REOPENED", unless=None)


def actions(
    database: Database,
    project: ProjectRecord,
    *,
    after: float | None = None,
    before: float | None = None,
    actors: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    stages: Sequence[str] | None = None,
    data_hashes: Sequence[str] | None = None,
) -> list[sqlite3.Row]:
    """Return the actions of people in a project, oldest first; a filter of ``None`` matches all."""
    conditions: list[str] = ["a.project = ?"]
    values: list[Any] = [project.id]
    for column, wanted in (("a.actor", actors), ("a.kind", kinds), ("a.stage", stages), ("u.data_hash", data_hashes)):
        if wanted is not None:
            conditions.append(f"{column} IN {SOME}")
            values.append(listed(wanted))
    for comparison, limit in ((">", after), ("<", before)):
        if limit is not None:
            conditions.append(f"a.at {comparison} ?")
            values.append(limit)
    with database.read() as connection:
        return connection.execute(
            "SELECT a.*, u.data_hash FROM actions a JOIN tasks t ON t.uuid = a.task JOIN units u ON u.id = t.unit"
            f" WHERE {' AND '.join(conditions)} ORDER BY a.id",
            values,
        ).fetchall()


def _note(
    connection: sqlite3.Connection, project: ProjectRecord, stage: str, task_uuids: Sequence[str], kind: str, user: str
) -> None:
    now = time.time()
    connection.executemany(
        "INSERT INTO actions (project, at, kind, stage, task, actor) VALUES (?, ?, ?, ?, ?, ?)",
        [(project.id, now, kind, stage, uuid, user) for uuid in task_uuids],
    )


def possible(stage: ResolvedStage) -> tuple[str, ...]:
    """Return the actions that people may take in a stage: some of ``submit``, ``approve``, ``reject``."""
    return tuple(name for name in ("submit", "approve", "reject") if stage.type != "agent" and stage.leads(name))


def _send(
    database: Database,
    project: ProjectRecord,
    stage: ResolvedStage,
    action: str,
    task_uuids: Sequence[str],
    user: str,
    assignee: str | None,
    retain_assignee: bool,
    *,
    status: str = "NEW",
) -> None:
    _refuse_others(stage, action)
    users.require(database, project.hash, user, action)
    destination = stage.leads(action)
    if destination is None:
        raise malformed(f"Stage {stage.title!r} leads nowhere by {action}: give it `pathways` in the workflow.")
    final = destination in project.stages and project.stages[destination].type == "done"
    groups: dict[str | None, list[str]] = {assignee: list(task_uuids)}
    with database.write() as connection:
        if assignee is not None:
            _known(connection, project, assignee)
        elif retain_assignee:
            groups = _by_assignee(connection, project, task_uuids)
            if None in groups:
                raise malformed(f"Task {groups[None][0]} has no assignee who could keep it.")
        for person, uuids in groups.items():
            moves = [(uuid, destination) for uuid in uuids]
            now = "COMPLETED" if final else "ASSIGNED" if person is not None else status
            tasks.move(database, project, stage.uuid, moves, user=user, status=now, assignee=person)
        _note(connection, project, stage.uuid, task_uuids, action, user)


_INSTEAD = {
    "agent": "Agents send its tasks on, and `move` puts them anywhere.",
    "annotation": "People submit there.",
    "review": "People approve and reject there.",
    "done": "Its tasks are done; `move` puts them anywhere.",
}
"""Sentences that explain which actions a stage allows, by its type."""


def _refuse_others(stage: ResolvedStage, action: str) -> None:
    if stage.is_consensus:
        raise NotKnown(
            f"the action {action} on the {stage.type} stage {stage.title!r}: consensus is not worked out here.",
            remedy="Move the task on: task.move(destination_stage_uuid=...) or `encord-agents local move`.",
        )
    kinds = {"submit": ("annotation",), "approve": ("review",), "reject": ("review",)}
    if stage.type not in kinds.get(action, ("annotation", "review")):
        raise malformed(f"No such action on the {stage.type} stage {stage.title!r}: {action}. {_INSTEAD[stage.type]}")


def _known(connection: sqlite3.Connection, project: ProjectRecord, email: str) -> None:
    there = connection.execute(
        "SELECT 1 FROM members WHERE kind = 'project' AND hash = ? AND email = ?", (project.hash, email)
    ).fetchone()
    if email != OWNER and there is None:
        raise forbidden(f"Nobody in this project has the email {email}: add_users() adds people.")


def _update(
    connection: sqlite3.Connection,
    project: ProjectRecord,
    stage: ResolvedStage,
    task_uuids: Sequence[str],
    status: str,
    assignee: str | None,
) -> None:
    done = connection.execute(
        "UPDATE tasks SET status = ?, assignee = ?, updated_at = ?"
        f" WHERE +project = ? AND stage = ? AND uuid IN {SOME}",
        (status, assignee, time.time(), project.id, stage.uuid, listed(task_uuids)),
    ).rowcount
    if done != len(set(task_uuids)):
        raise malformed(f"{len(set(task_uuids)) - done} of {len(task_uuids)} tasks are not in this stage.")


def _by_assignee(
    connection: sqlite3.Connection, project: ProjectRecord, task_uuids: Sequence[str]
) -> dict[str | None, list[str]]:
    groups: dict[str | None, list[str]] = {}
    found = {
        row["uuid"]: row["assignee"]
        for row in connection.execute(
            f"SELECT uuid, assignee FROM tasks WHERE +project = ? AND uuid IN {SOME}",
            (project.id, listed(task_uuids)),
        )
    }
    for uuid in task_uuids:
        groups.setdefault(found.get(uuid), []).append(uuid)
    return groups


def _jump(
    database: Database,
    project: ProjectRecord,
    label_hashes: Sequence[str],
    destination: ResolvedStage,
    *,
    user: str,
    status: str,
    unless: str | None,
) -> None:
    with database.write() as connection:
        rows = connection.execute(
            "SELECT l.hash, t.uuid, t.stage FROM labels l JOIN units u ON u.id = l.unit"
            " LEFT JOIN tasks t ON t.unit = l.unit AND t.branch = l.branch"
            f" WHERE +u.project = ? AND l.hash IN {SOME}",
            (project.id, listed(label_hashes)),
        ).fetchall()
        unknown = set(label_hashes) - {row["hash"] for row in rows}
        if unknown:
            raise forbidden(f"No access to the label row {min(unknown)}.")
        by_stage: dict[str, list[str]] = {}
        for row in rows:
            if row["uuid"] is None:
                raise Refusal(400, f"The label row {row['hash']} has no task.")
            if project.stages[row["stage"]].type != unless and row["stage"] != destination.uuid:
                by_stage.setdefault(row["stage"], []).append(row["uuid"])
        for origin, uuids in by_stage.items():
            moves = [(uuid, destination.uuid) for uuid in uuids]
            tasks.move(database, project, origin, moves, user=user, status=status)
