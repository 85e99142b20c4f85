"""The page of tasks whose labels or stage have changed since the project was pulled or created."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from encord_agents.local.differing import differences
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import render

SHOWN = 500
"""The most tasks on the page."""


def changes_page(pages: Pages, request: Request) -> Response:
    """Serve the page of changed tasks, with the number of changes."""
    project = pages.project(request)
    database = pages.service.database
    found = differences(database, project)
    with database.read() as connection:
        pulled = connection.execute(
            "SELECT 1 FROM baselines b JOIN entries e ON e.id = b.unit WHERE e.project = ? LIMIT 1", (project.id,)
        ).fetchone()
    return render(
        pages.service,
        request,
        "changes.html",
        section="projects",
        project=project,
        found=found[:SHOWN],
        total=len(found),
        moved=sum(difference.moved for difference in found),
        labels={
            name: sum(getattr(difference, name) for difference in found) for name in ("added", "removed", "changed")
        },
        is_copy=pulled is not None,
        types={stage.title: stage for stage in project.stages.values()},
    )
