"""The page of runs: each client's requests per second, tasks per minute and latencies, live and afterwards."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from encord_agents.local import history
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.projects import LATELY
from encord_agents.local.page.rendering import fragment, render
from encord_agents.local.pulse import Run

AT_WORK = 5.0
"""Seconds without a request after which a client counts as idle."""
SHOWN = 60
"""Seconds that the curve covers."""


def runs_page(pages: Pages, request: Request) -> Response:
    """Serve the page of the latest runs since the platform was started."""
    return render(pages.service, request, "runs.html", section="runs", runs=runs(pages))


def live(pages: Pages, request: Request) -> Response:
    """Serve the runs, without the page around them."""
    return HTMLResponse(runs(pages), headers={"Cache-Control": "no-store"})


def runs(pages: Pages) -> str:
    now = pages.now()
    found = [_run(run, now) for run in pages.journal.pulse.runs()]
    return fragment("_runs.html", runs=found, stages=_stages(pages), now=time.time())


def _run(run: Run, now: float) -> dict[str, Any]:
    series = run.series(now, SHOWN)
    kinds = sorted(run.kinds.items(), key=lambda kind: -kind[1])
    return {
        "client": run.client,
        "at_work": now - run.last < AT_WORK,
        "started": time.time() - (now - run.started),
        "last": time.time() - (now - run.last),
        "length": run.last - run.started,
        "requests": run.requests,
        "per_second": run.per_second(now),
        "moves": run.items["actions"] + run.items["move"],
        "saves": run.items["save"],
        "errors": sum(run.errors.values()),
        "statuses": sorted(run.errors.items()),
        "curve": _curve(series),
        "peak": max(series),
        "kinds": [
            {
                "kind": kind,
                "requests": count,
                "items": run.items[kind],
                "median": run.latencies[kind].quantile(0.5),
                "slow": run.latencies[kind].quantile(0.95),
            }
            for kind, count in kinds[:8]
        ],
    }


def _curve(series: list[int]) -> str:
    """Return the requests of each second as an SVG path, 300 wide and 48 high."""
    most = max(series) or 1
    points = [(300 * index / (len(series) - 1), 46 - 42 * value / most) for index, value in enumerate(series)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _stages(pages: Pages) -> list[dict[str, Any]]:
    """Return the stages that tasks have left within the last minute."""
    found = []
    for project in pages.service.catalogue.projects():
        moves = history.moves_since(pages.service.database, project, time.time() - LATELY)
        for (client, stage), count in sorted(moves.items(), key=lambda move: -move[1]):
            if stage in project.stages:
                found.append({"project": project, "stage": project.stages[stage], "client": client, "tasks": count})
    return found
