"""The page of notifications: the registered addresses, the notifications sent to them, and their answers."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import fragment, note, render
from encord_agents.local.receivers import BATCH_SIZE, MAX_WAIT, Receivers
from encord_agents.local.trouble import LocalPlatformError, Refusal, malformed

SHOWN = 50
"""The most notifications on the page."""


def notifications_page(pages: Pages, request: Request) -> Response:
    """Serve the registered addresses, a form to add one, and the latest notifications."""
    service = pages.service
    projects = {record.hash: record for record in service.catalogue.projects()}
    receivers = []
    for receiver in Receivers(service):
        project = projects.get(receiver.project or "")
        stage = project.stages.get(receiver.stage or "") if project else None
        receivers.append({"receiver": receiver, "project": project, "stage": stage})
    return render(
        service,
        request,
        "notifications.html",
        section="notifications",
        receivers=receivers,
        projects=list(projects.values()),
        sent=sent(pages),
        batch_size=BATCH_SIZE,
        max_wait=MAX_WAIT,
    )


def live(pages: Pages, request: Request) -> Response:
    """Serve the latest notifications, without the page around them."""
    return HTMLResponse(sent(pages), headers={"Cache-Control": "no-store"})


def sent(pages: Pages) -> str:
    projects = {record.hash: record for record in pages.service.catalogue.projects()}
    found = []
    for one in Receivers(pages.service).sent(SHOWN):
        project = projects.get(one.project)
        if project is not None and one.stage in project.stages:
            found.append({"sent": one, "project": project, "stage": project.stages[one.stage]})
    return fragment("_notifications.html", found=found)


def add(pages: Pages, request: Request, form: dict[str, list[str]]) -> Response:
    """Register an address."""
    given = {name: values[-1].strip() for name, values in form.items()}
    # One field of the form has project and stage: `hash`, or `hash/stage`.
    project, _, stage = given.get("of", "").partition("/")
    options: dict[str, Any] = {
        "secret": given.get("secret") or None,
        "project": project or None,
        "stage": stage or None,
        "batch_size": _number(given.get("batch_size", ""), BATCH_SIZE),
        "max_wait": float(_number(given.get("max_wait", ""), MAX_WAIT)),
    }
    try:
        receiver = Receivers(pages.service).add(given.get("address", ""), **options)
    except LocalPlatformError as error:
        raise malformed(str(error)) from None
    return note(RedirectResponse("/notifications", 303), f"{receiver.address} is notified from now on.")


def act(pages: Pages, request: Request, form: dict[str, list[str]]) -> Response:
    """Remove an address, or notify it at once."""
    receivers = Receivers(pages.service)
    given = form.get("receiver", [""])[-1]
    id = int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0
    action = form.get("action", [""])[-1]
    try:
        if action == "remove":
            receivers.remove(id)
            done = "The address is notified no longer."
        elif action == "tell":
            receivers.tell(id)
            done = "The address is notified of every agent stage in which tasks wait."
        else:
            raise malformed("There is no such action.")
    except LocalPlatformError as error:
        raise malformed(str(error)) from None
    return note(RedirectResponse("/notifications", 303), done)


def _number(text: str, default: float) -> float:
    """Read a number in a form.

    Raises:
        Refusal: 400, it is not a number.
    """
    if not text:
        return default
    try:
        number = float(text)
        return int(number) if number.is_integer() else number
    except ValueError:
        raise Refusal(400, f"{text[:50]!r} is no number.") from None
