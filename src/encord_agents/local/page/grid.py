"""The tasks of a project or a stage, as a grid of thumbnails with their labels drawn on them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from encord_agents.local import history, tasks
from encord_agents.local.page import actions, listing
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import render


def tasks_page(pages: Pages, request: Request) -> Response:
    """Serve a page of tasks."""
    project = pages.project(request)
    database = pages.service.database
    query = request.query_params
    wanted = listing.Wanted.of(query)
    found = listing.page(database, project, wanted, after=query.get("after"), before=query.get("before"))
    known = pages.classes(project)
    counts = tasks.counts(database, project)
    stage = project.stages.get(wanted.stage)
    return render(
        pages.service,
        request,
        "tasks.html",
        section="projects",
        project=project,
        wanted=wanted,
        stage=stage,
        stages=list(project.stages.values()),
        counts=counts,
        total=sum(counts.values()),
        matching=len(found.rows) if found.is_all else listing.count(database, project, wanted),
        counted=listing.COUNTED,
        listing=found,
        covers=pages.covers(found.rows, known),
        latest=history.latest(database, [row["unit"] for row in found.rows]),
        classes=known,
        offered=actions.offered(stage) if stage else [],
        destinations=actions.destinations(project, stage) if stage else [],
    )
