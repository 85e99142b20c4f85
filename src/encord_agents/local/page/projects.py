"""The pages of all projects and of one project: its workflow with live counts, its classes and latest events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from encord_agents.local import history, tasks
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.page import graph, listing
from encord_agents.local.page.classes import LabelClass
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import fragment, render

LATELY = 60.0
"""Seconds over which tasks per minute are counted."""


@dataclass(frozen=True)
class StageCount:
    """A stage with the number of its tasks, and of those that left it within the last minute."""

    uuid: str
    title: str
    type: str
    tasks: int
    rate: int


@dataclass(frozen=True)
class ClassCount:
    """A class with the number of tasks that have it, the number of its labels, and its ratio to the most used class."""

    label_class: LabelClass
    rows: int
    labels: int
    share: float


def stages(pages: Pages, project: ProjectRecord) -> list[StageCount]:
    counts = tasks.counts(pages.service.database, project)
    rates = _rates(pages, project)
    return [
        StageCount(s.uuid, s.title, s.type, counts.get(s.uuid, 0), rates.get(s.uuid, 0))
        for s in project.stages.values()
    ]


def _rates(pages: Pages, project: ProjectRecord) -> dict[str, int]:
    rates: dict[str, int] = {}
    for (_, stage), count in history.moves_since(pages.service.database, project, time.time() - LATELY).items():
        rates[stage] = rates.get(stage, 0) + count
    return rates


def all_projects(pages: Pages, request: Request) -> Response:
    """Serve the page of all projects."""
    found = []
    for project in reversed(pages.service.catalogue.projects()):
        counted = stages(pages, project)
        first = listing.page(pages.service.database, project, listing.Wanted(), size=4)
        known = pages.classes(project)
        found.append(
            {
                "record": project,
                "stages": counted,
                "total": sum(stage.tasks for stage in counted),
                "waiting": sum(stage.tasks for stage in counted if stage.type == "agent"),
                "done": sum(stage.tasks for stage in counted if stage.type == "done"),
                "rows": first.rows,
                "covers": pages.covers(first.rows, known),
            }
        )
    return render(pages.service, request, "projects.html", section="projects", projects=found)


def overview(pages: Pages, request: Request) -> Response:
    """Serve the page of one project."""
    project = pages.project(request)
    counted = stages(pages, project)
    nodes = [*project.stages.values(), *project.routers.values()]
    drawn = graph.layout(nodes, project.start, graph.edges(nodes))
    return render(
        pages.service,
        request,
        "project.html",
        section="projects",
        project=project,
        stages=counted,
        by_uuid={stage.uuid: stage for stage in counted},
        total=sum(stage.tasks for stage in counted),
        graph=drawn,
        classes=class_counts(pages, project),
        activity=activity(pages, project),
    )


def class_counts(pages: Pages, project: ProjectRecord) -> list[ClassCount]:
    """Return the ontology's classes, with how often each is used."""
    known = pages.classes(project)
    with pages.service.database.read() as connection:
        rows = connection.execute(
            "SELECT feature, count(*) AS rows, sum(n) AS labels FROM label_classes"
            " WHERE unit IN (SELECT id FROM entries WHERE project = ?) GROUP BY feature",
            (project.id,),
        ).fetchall()
    used = {row["feature"]: (row["rows"], row["labels"]) for row in rows}
    most = max((labels for _, labels in used.values()), default=0)
    found = []
    for hash in [*known.by_hash, *(hash for hash in used if hash not in known.by_hash)]:
        count, labels = used.get(hash, (0, 0))
        found.append(ClassCount(known.get(hash), count, labels, labels / most if most else 0.0))
    return found


def activity(pages: Pages, project: ProjectRecord) -> str:
    """Return the latest events as a part of a page that refreshes itself."""
    events = [
        {"event": event, "title": row["title"], "task": row["task"]}
        for event, row in history.of_project(pages.service.database, project, limit=12)
    ]
    return fragment("_activity.html", project=project, events=events, stages=project.stages)


def live(pages: Pages, request: Request) -> Response:
    """Serve the counts and the latest events, which an open page requests every second."""
    project = pages.project(request)
    counted = stages(pages, project)
    values: dict[str, Any] = {f"stage:{stage.uuid}": f"{stage.tasks:,}" for stage in counted}
    values |= {f"rate:{stage.uuid}": f"{stage.rate:,} / min" if stage.rate else "" for stage in counted}
    values["total"] = f"{sum(stage.tasks for stage in counted):,}"
    values["waiting"] = f"{sum(stage.tasks for stage in counted if stage.type == 'agent'):,}"
    values["done"] = f"{sum(stage.tasks for stage in counted if stage.type == 'done'):,}"
    values["rate"] = f"{sum(stage.rate for stage in counted):,}"
    parts = {"activity": activity(pages, project)} if "activity" in request.query_params else {}
    return Response(
        orjson.dumps({"values": values, "parts": parts}),
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )
