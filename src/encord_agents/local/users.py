"""The platform's users, and their roles in projects and datasets."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Literal

from encord_agents.local.database import SOME, Database, listed
from encord_agents.local.trouble import forbidden, malformed

OWNER = "local@encord-agents.invalid"
"""The user that every platform has, an admin everywhere: the owner of the key in the data directory."""

ADMIN, ANNOTATOR, REVIEWER, ANNOTATOR_REVIEWER, TEAM_MANAGER, VIEWER = range(6)
"""Roles in a project, as the SDK numbers them."""
MANAGERS = frozenset({ADMIN, TEAM_MANAGER})
MAY = {
    "submit": MANAGERS | {ANNOTATOR, ANNOTATOR_REVIEWER},
    "approve": MANAGERS | {REVIEWER, ANNOTATOR_REVIEWER},
    "reject": MANAGERS | {REVIEWER, ANNOTATOR_REVIEWER},
    "label": MANAGERS | {ANNOTATOR, REVIEWER, ANNOTATOR_REVIEWER},
    "work": MANAGERS | {ANNOTATOR, REVIEWER, ANNOTATOR_REVIEWER},
    "manage": MANAGERS,
}
"""The permissions in a project, and the roles that have each. In a dataset, only admins manage."""

Kind = Literal["project", "dataset"]


def role(database: Database, kind: Kind, hash: str, email: str) -> int | None:
    """Return the role of a user in a project or dataset, if there is one."""
    if email == OWNER:
        return ADMIN
    with database.read() as connection:
        row = connection.execute(
            "SELECT role FROM members WHERE kind = ? AND hash = ? AND email = ?", (kind, hash, email)
        ).fetchone()
    return None if row is None else int(row["role"])


def require(database: Database, hash: str, email: str, what: str, *, kind: Kind = "project") -> None:
    """Check that a user's role in a project or dataset includes a permission (see :data:`MAY`).

    Raises:
        Refusal: 403, it does not.
    """
    if role(database, kind, hash, email) not in MAY[what]:
        raise forbidden(f"The role of {email} in this {kind} does not allow that.")


def members(database: Database, kind: Kind, hash: str) -> list[tuple[str, int]]:
    """Return the users of a project or dataset with their roles, the owner first."""
    with database.read() as connection:
        rows = connection.execute(
            "SELECT email, role FROM members WHERE kind = ? AND hash = ? ORDER BY email", (kind, hash)
        ).fetchall()
    return [(OWNER, ADMIN), *((row["email"], row["role"]) for row in rows)]


def add(connection: sqlite3.Connection, kind: Kind, hash: str, emails: Sequence[Any], role: Any) -> None:
    """Give users a role. Users who have one already keep it, as on the real platform.

    Raises:
        Refusal: 400, an email or the role is not valid.
    """
    highest = VIEWER if kind == "project" else ANNOTATOR
    if isinstance(role, bool) or not isinstance(role, int) or not 0 <= role <= highest:
        raise malformed(f"user_role is a number from 0 to {highest}.")
    for email in emails:
        if not isinstance(email, str) or "@" not in email or len(email) > 320:
            raise malformed("This is not an email address.")
        if email != OWNER:
            connection.execute("INSERT OR IGNORE INTO members VALUES (?, ?, ?, ?)", (kind, hash, email, role))


def remove(connection: sqlite3.Connection, kind: Kind, hash: str, emails: Sequence[str]) -> None:
    """Remove users from a project or dataset, and release their tasks. Others are ignored, as on the real platform.

    Raises:
        Refusal: 403, the owner cannot be removed.
    """
    if OWNER in emails:
        raise forbidden(f"{OWNER} is the platform's owner, and cannot be removed.")
    connection.execute(
        f"DELETE FROM members WHERE kind = ? AND hash = ? AND email IN {SOME}", (kind, hash, listed(emails))
    )
    if kind == "project":
        connection.execute(
            "UPDATE tasks SET assignee = NULL, status = iif(status = 'ASSIGNED', 'RELEASED', status), updated_at = ?"
            f" WHERE project = (SELECT id FROM projects WHERE hash = ?) AND assignee IN {SOME}",
            (time.time(), hash, listed(emails)),
        )


def everybody(database: Database) -> list[str]:
    """Return the emails of all users who have a key or a role."""
    with database.read() as connection:
        rows = connection.execute("SELECT email FROM keys UNION SELECT email FROM members ORDER BY email").fetchall()
    return [row["email"] for row in rows]
