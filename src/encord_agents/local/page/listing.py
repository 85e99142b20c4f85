"""Lists tasks by the page's filters and orders, page by page, fast even with 100,000 tasks."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import Database

PAGE = 48
"""Tasks on a page: whole rows with two, three, four, six or eight columns."""
COUNTED = 1_000
"""The number up to which tasks are counted if a filter is set."""
ORDERS = {
    "oldest": ("t.id", "ASC"),
    "newest": ("t.id", "DESC"),
    "changed": ("t.updated_at", "DESC"),
    "priority": ("t.rank", "ASC"),
}
"""The orders to choose from -> the column and its direction; ties are ordered by age."""


@dataclass(frozen=True)
class Wanted:
    """A filter of tasks, and their order; empty texts match all.

    Attributes:
        stage: A stage's uuid.
        title: A part of the title; case does not matter.
        label_class: A feature's hash, or ``none`` for tasks without labels.
        least: The lowest confidence that at least one label (of the class) must have.
        most: The highest confidence that at least one label (of the class) must have.
    """

    stage: str = ""
    title: str = ""
    label_class: str = ""
    least: float | None = None
    most: float | None = None
    order: str = "oldest"

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Read a query, ignoring invalid values."""
        order = query.get("order", "oldest")
        return cls(
            stage=query.get("stage", ""),
            title=query.get("title", "").strip()[:200],
            label_class=query.get("class", "")[:100],
            least=_share(query.get("least", "")),
            most=_share(query.get("most", "")),
            order=order if order in ORDERS else "oldest",
        )

    def query(self, **more: object) -> str:
        """Return the filter as a query string, with ``more`` parameters: ``?stage=...``, or empty."""
        given = {
            "stage": self.stage,
            "title": self.title,
            "class": self.label_class,
            "least": "" if self.least is None else f"{self.least:g}",
            "most": "" if self.most is None else f"{self.most:g}",
            "order": "" if self.order == "oldest" else self.order,
            **more,
        }
        text = urlencode({key: value for key, value in given.items() if value not in ("", None)})
        return f"?{text}" if text else ""

    @property
    def is_filter(self) -> bool:
        """True if there is a filter other than the stage."""
        return bool(self.title or self.label_class or self.least is not None or self.most is not None)


@dataclass(frozen=True)
class Listing:
    """A page of tasks.

    Attributes:
        before: The place before which the previous page ends, if there is one.
        after: The place after which the next page begins, if there is one.
    """

    rows: list[sqlite3.Row]
    before: str | None
    after: str | None

    @property
    def is_all(self) -> bool:
        """True if there is no other page."""
        return self.before is None and self.after is None


_FROM = "FROM tasks t JOIN units u ON u.id = t.unit"
_COLUMNS = (
    "t.id, t.uuid, t.stage, t.branch, t.status, t.priority, t.moves, t.assignee, t.actor, t.created_at, t.updated_at,"
    " t.unit, {key} AS key,"
    " u.data_hash, u.item, u.title, u.item_type, u.mime_type, u.width, u.height, u.frames, u.fps, u.duration, u.digest,"
    " u.size, u.metadata, u.broken, u.sample_rate"
)


def page(
    database: Database,
    project: ProjectRecord,
    wanted: Wanted,
    *,
    after: str | None = None,
    before: str | None = None,
    size: int = PAGE,
) -> Listing:
    """Return the tasks after a place or before one; without either, from the beginning."""
    backwards = before is not None
    rows = _rows(database, project, wanted, before if backwards else after, size + 1, backwards=backwards)
    more = len(rows) > size
    rows = rows[:size]
    if backwards:
        rows.reverse()
        earlier, later = more, True
    else:
        earlier, later = after is not None, more
    return Listing(
        rows,
        _place(rows[0]) if rows and earlier else None,
        _place(rows[-1]) if rows and later else None,
    )


def _place(row: sqlite3.Row) -> str:
    return f"{row['key']!r}_{row['id']}"


def place_of(database: Database, project: ProjectRecord, uuid: str, order: str) -> str | None:
    """Return the place of a task in an order."""
    key = ORDERS[order][0]
    with database.read() as connection:
        row = connection.execute(
            f"SELECT {key} AS key, t.id FROM tasks t WHERE t.project = ? AND t.uuid = ?", (project.id, uuid)
        ).fetchone()
    return None if row is None else _place(row)


def neighbours(
    database: Database, project: ProjectRecord, wanted: Wanted, uuid: str
) -> tuple[sqlite3.Row | None, sqlite3.Row | None]:
    """Return the tasks before and after a task, whether or not it (still) matches the filter itself."""
    place = place_of(database, project, uuid, wanted.order)
    if place is None:
        return None, None
    before = _rows(database, project, wanted, place, 1, backwards=True)
    after = _rows(database, project, wanted, place, 1, backwards=False)
    return (before[0] if before else None), (after[0] if after else None)


def count(database: Database, project: ProjectRecord, wanted: Wanted) -> int:
    """Count tasks; if a filter is set, only up to one more than ``COUNTED``."""
    conditions, values = _conditions(project, wanted)
    with database.read() as connection:
        if not wanted.is_filter:
            sql = f"SELECT count(*) FROM tasks t WHERE {' AND '.join(conditions)}"
        else:
            source = _FROM if wanted.title else "FROM tasks t"
            sql = f"SELECT count(*) FROM (SELECT 1 {source} WHERE {' AND '.join(conditions)} LIMIT {COUNTED + 1})"
        return int(connection.execute(sql, values).fetchone()[0])


def task(database: Database, project: ProjectRecord, uuid: str) -> sqlite3.Row | None:
    """Return one task with its data unit."""
    with database.read() as connection:
        row: sqlite3.Row | None = connection.execute(
            f"SELECT {_COLUMNS.format(key='t.id')} {_FROM} WHERE t.project = ? AND t.uuid = ?", (project.id, uuid)
        ).fetchone()
    return row


def _rows(
    database: Database, project: ProjectRecord, wanted: Wanted, place: str | None, size: int, *, backwards: bool
) -> list[sqlite3.Row]:
    key, direction = ORDERS[wanted.order]
    conditions, values = _conditions(project, wanted)
    ascending = (direction == "ASC") is not backwards
    if place is not None and (found := _read_place(place)) is not None:
        beyond = ">" if ascending else "<"
        if key == "t.id":
            conditions.append(f"t.id {beyond} ?")
            values.append(found[1])
        else:
            conditions.append(f"({key}, t.id) {beyond} (?, ?)")
            values += found
    turn = "ASC" if ascending else "DESC"
    sorting = f"{key} {turn}" if key == "t.id" else f"{key} {turn}, t.id {turn}"
    # The inner query chooses tasks by id only: SQLite's sorter would be slow with all the columns that the page shows.
    source = _FROM if wanted.title else "FROM tasks t"
    chosen = f"SELECT t.id {source} WHERE {' AND '.join(conditions)} ORDER BY {sorting} LIMIT {size}"
    sql = f"SELECT {_COLUMNS.format(key=key)} {_FROM} WHERE t.id IN ({chosen}) ORDER BY {sorting}"
    with database.read() as connection:
        return connection.execute(sql, values).fetchall()


def _conditions(project: ProjectRecord, wanted: Wanted) -> tuple[list[str], list[Any]]:
    conditions, values = ["t.project = ?"], [project.id]  # type: tuple[list[str], list[Any]]
    if wanted.stage:
        conditions.append("t.stage = ?")
        values.append(wanted.stage)
    if wanted.title:
        conditions.append("folded(u.title) LIKE folded(?) ESCAPE '\\'")
        escaped = wanted.title.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values.append(f"%{escaped}%")
    if wanted.label_class == "none":
        conditions.append("NOT EXISTS (SELECT 1 FROM label_classes c WHERE c.unit = t.unit AND c.branch = t.branch)")
    elif wanted.label_class or wanted.least is not None or wanted.most is not None:
        inner = ["c.unit = t.unit", "c.branch = t.branch"]
        for column, sign, value in (
            ("c.feature", "=", wanted.label_class or None),
            ("c.high", ">=", wanted.least),
            ("c.low", "<=", wanted.most),
        ):
            if value is not None:
                inner.append(f"{column} {sign} ?")
                values.append(value)
        conditions.append(f"EXISTS (SELECT 1 FROM label_classes c WHERE {' AND '.join(inner)})")
    return conditions, values


def _read_place(place: str) -> tuple[float, int] | None:
    key, _, number = place.rpartition("_")
    if not (number.isascii() and number.isdigit() and len(number) < 16):
        return None
    try:
        return float(key), int(number)
    except ValueError:
        return None


def _share(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
