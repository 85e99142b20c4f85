"""The page of one task: its file with the labels drawn over it, their answers, and their history."""

from __future__ import annotations

import itertools
import sqlite3
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from encord_agents.local import editor_agents, history
from encord_agents.local.page import actions, frames, listing, said, versions
from encord_agents.local.page.classes import Classes
from encord_agents.local.page.labelled import Ranges, Row
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import fragment, render
from encord_agents.local.trouble import Refusal

FRAMES_AT_ONCE = 40
"""Frames whose labels are fetched together."""
SCREEN = 900
"""The assumed width of a picture in screen pixels, if no script measures it."""
LONGEST_TEXT = 200_000
"""The most bytes of a text that are shown."""


def task_page(pages: Pages, request: Request) -> Response:
    """Serve the page of a task."""
    project = pages.project(request)
    task = pages.task(project, request)
    database = pages.service.database
    query = request.query_params
    wanted = listing.Wanted.of(query)
    known = pages.classes(project)
    kept = history.versions(database, task["unit"], task["branch"])
    version = _number(query.get("version", ""))
    version = version if version in kept else None
    row = pages.labels(task, known, version)
    shown = frames.of(pages, task)
    frame = min(_number(query.get("frame", "")) or 0, shown.count - 1)
    stage = project.stages.get(task["stage"])
    before, after = listing.neighbours(database, project, wanted, task["uuid"])
    values: dict[str, Any] = {
        "project": project,
        "task": task,
        "stage": stage,
        "wanted": wanted,
        "before": before,
        "after": after,
        "frame": frame,
        "frames": shown.count,
        "shown": shown,
        "sizes": orjson.dumps(list(shown.sizes)).decode(),
        "addresses": orjson.dumps(list(shown.addresses)).decode(),
        "version": version,
        "versions": kept,
        "row": row,
        "kind": shown.kind,
        "noun": shown.noun,
        "has_confidence": any(o.confidence is not None for o in row.objects(frame)) or shown.is_played,
        "unit": _unit(shown, frame),
        "objects": row.objects(frame),
        "classifications": row.classifications(frame if shown.is_played else None),
        "tracks": tracks(row, shown.count) if shown.is_played else [],
        "issues": said.issues(pages, project, task, row),
        "reviews": said.reviews(pages, task, row),
        "events": history.of_unit(database, task["unit"], task["branch"]),
        "stages": project.stages,
        "metadata": orjson.dumps(orjson.loads(task["metadata"] or "{}"), option=orjson.OPT_INDENT_2).decode(),
        "offered": actions.offered(stage) if stage else [],
        "destinations": actions.destinations(project, stage) if stage else [],
        "chunk": FRAMES_AT_ONCE,
        "agents": editor_agents.registered(pages.service) if version is None else [],
        "outcome": pages.outcomes.of(task["uuid"]),
        "text": _text(pages, task, row) if shown.kind == "text" else [],
    }
    return render(pages.service, request, "task.html", section="projects", **values)


def frame_labels(pages: Pages, request: Request) -> Response:
    """Serve the labels of some frames as HTML, ready to be inserted into the page."""
    project = pages.project(request)
    task = pages.task(project, request)
    first = _number(request.query_params.get("from", "")) or 0
    row = pages.labels(task, pages.classes(project), _number(request.query_params.get("version", "")))
    shown = frames.of(pages, task)
    last = min(first + FRAMES_AT_ONCE, shown.count)
    agents = editor_agents.registered(pages.service) if "version" not in request.query_params else []
    path = request.url.path.removesuffix("/frames")
    found = {
        number: _frame(row, number, _unit(shown, number), noun=shown.noun, agents=agents, here_task=path)
        for number in range(first, last)
    }
    return Response(
        orjson.dumps(found, option=orjson.OPT_NON_STR_KEYS),
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


def as_in_the_editor(pages: Pages, request: Request) -> Response:
    """Redirect a URL of the label editor to the data unit's oldest task."""
    project = pages.project(request)
    with pages.service.database.read() as connection:
        found = connection.execute(
            "SELECT t.uuid FROM tasks t JOIN units u ON u.id = t.unit"
            " WHERE t.project = ? AND u.data_hash = ? ORDER BY t.id LIMIT 1",
            (project.id, request.path_params["data"].lower()),
        ).fetchone()
    if found is None:
        raise Refusal(404, "The project has no such data unit.")
    frame = _number(request.path_params.get("frame", "")) or 0
    return RedirectResponse(f"/projects/{project.hash}/tasks/{found['uuid']}?frame={frame}", 303)


def _frame(row: Row, number: int, unit: float, **shown: Any) -> dict[str, str]:
    objects, classifications = row.objects(number), row.classifications(number)
    return {
        "drawn": fragment("_drawn.html", objects=objects, unit=unit),
        "listed": fragment("_listed.html", objects=objects, classifications=classifications, is_frame=True, **shown),
    }


def tracks(row: Row, count: int) -> list[dict[str, Any]]:
    """Return the timeline: each object with its bars, in thousandths of the video's length."""
    return [
        {
            "labelled": labelled,
            "bars": [(1000 * first / count, 1000 * (last - first + 1) / count) for first, last in ranges],
            "ranges": ranges,
        }
        for labelled, ranges in row.tracks()[:100]
    ]


def compare(pages: Pages, request: Request) -> Response:
    """Serve the comparison of two versions of a task's labels."""
    project = pages.project(request)
    task = pages.task(project, request)
    known = pages.classes(project)
    kept = history.versions(pages.service.database, task["unit"], task["branch"])
    newer = _number(request.query_params.get("to", ""))
    newer = newer if newer in kept else (kept[-1] if kept else None)
    older = _number(request.query_params.get("from", ""))
    earlier = [number for number in kept if newer is not None and number < newer]
    older = older if older in kept else (earlier[-1] if earlier else None)
    shown = frames.of(pages, task)
    compared = versions.compare(_labels(pages, task, known, older), _labels(pages, task, known, newer))
    frame = _number(request.query_params.get("frame", ""))
    if frame is None:
        frame = compared.frames[0] if compared.frames else 0
    frame = min(frame, shown.count - 1)
    saves = {
        event.version: event
        for event in reversed(history.of_unit(pages.service.database, task["unit"], task["branch"]))
        if event.kind == "save"
    }
    return render(
        pages.service,
        request,
        "compare.html",
        section="projects",
        project=project,
        task=task,
        stage=project.stages.get(task["stage"]),
        wanted=listing.Wanted.of(request.query_params),
        versions=kept,
        older=older,
        newer=newer,
        saves=saves,
        compared=compared,
        frame=frame,
        shown=shown,
        drawn=compared.on(frame),
        unit=_unit(shown, frame),
    )


def _labels(pages: Pages, task: sqlite3.Row, known: Classes, version: int | None) -> Row:
    if version is None:
        return Row(None, known, task["item_type"], (frames.UNKNOWN,))
    return pages.labels(task, known, version)


def _text(pages: Pages, task: sqlite3.Row, row: Row) -> list[dict[str, Any]]:
    """Return the text in pieces, each with the objects that cover it."""
    content = pages.service.assets.get(task["digest"])
    if content is None:
        return []
    if not isinstance(content, bytes):
        with content.open("rb") as file:
            content = file.read(LONGEST_TEXT)
    text = content[:LONGEST_TEXT].decode("utf-8", "replace")
    objects = row.objects()
    ranges = Ranges(labelled.ranges for labelled in objects)
    edges = sorted({0, len(text), *(min(edge, len(text)) for edge in ranges.edges)})
    return [
        {
            # A line's end that lies in two pieces would be two ends
            "text": text[start:end].removesuffix("\r") if text.startswith("\n", end) else text[start:end],
            "objects": [objects[k] for k in ranges.at(start)],
        }
        for start, end in itertools.pairwise(edges)
    ]


def _unit(shown: frames.Frames, frame: int) -> float:
    """Return the pixels of the picture per pixel of the screen, if no script measures it."""
    return round(max(shown.size(frame)[0], 1) / SCREEN, 3)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
