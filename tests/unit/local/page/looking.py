"""Requests of a browser, for handlers of the page that are called without a server."""

from __future__ import annotations

import re
import sqlite3
from html import unescape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from encord_agents.local import LocalProject, items
from encord_agents.local.items import NewUnit
from encord_agents.local.page import listing


def request(target: str = "/", *, method: str = "GET", headers: dict[str, str] | None = None, **ids: str) -> Request:
    """Return a request; ``ids`` are those of its path."""
    path, _, query = target.partition("?")
    listed = {"host": "127.0.0.1", **(headers or {})}
    return Request(
        {
            "type": "http", "method": method, "scheme": "http", "server": ("127.0.0.1", 80), "root_path": "",
            "path": path, "query_string": query.encode(), "path_params": dict(ids),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in listed.items()],
        }
    )  # fmt: skip


def for_task(project: LocalProject, query: str = "", *, number: int = 0, rest: str = "") -> Request:
    """Return the request for the page of a project's task, or for one below it."""
    task = project.tasks()[number].uuid
    target = f"/projects/{project.project_hash}/tasks/{task}{rest}{query}"
    return request(target, project=project.project_hash, task=task)


def for_project(project: LocalProject, query: str = "") -> Request:
    return request(f"/projects/{project.project_hash}{query}", project=project.project_hash)


def text(response: Response | str) -> str:
    """Return the text of a page without its tags, each run of blanks as one."""
    html = response if isinstance(response, str) else bytes(response.body).decode()
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<svg.*?</svg>", " ", html))).split())


def html(response: Response) -> str:
    return bytes(response.body).decode()


def attributes(response: Response | str, name: str) -> list[Any]:
    """Return the values of an attribute in a page, in order."""
    found = response if isinstance(response, str) else html(response)
    return [unescape(value) for value in re.findall(rf'\s{name}="([^"]*)"', found)]


def row_of(project: LocalProject, number: int = 0) -> sqlite3.Row:
    """Return what the page knows of a project's task."""
    row = listing.task(project._database, project._record, project.tasks()[number].uuid)
    assert row is not None
    return row


def without_a_file(project: LocalProject, item_type: str = "image", **more: Any) -> None:
    """Add a data unit whose file is not here, as those of a copied project are."""
    unit = NewUnit("absent", item_type, None, None, 0, **more)
    items.add(project._database, project._record, [unit])
