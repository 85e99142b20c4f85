"""The routes of the page, and the checks that every request passes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from encord_agents.local.history import Client, acting
from encord_agents.local.journal import Journal
from encord_agents.local.page import actions, agents, changes, files, grid, guard, notifications, projects, runs, viewer
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import THEME, THEMES, note, render
from encord_agents.local.routing import route
from encord_agents.local.service import Service
from encord_agents.local.trouble import Refusal

logger = logging.getLogger(__name__)

Handler = Callable[[Pages, Request], Response]
Form = dict[str, list[str]]
FormHandler = Callable[[Pages, Request, Form], Response]

CLIENT = Client("The page")
"""The client that history names for actions on the page."""

_DOCUMENTS: dict[str, Handler] = {
    "/": projects.all_projects,
    "/runs": runs.runs_page,
    "/notifications": notifications.notifications_page,
    "/agents": agents.agents_page,
    "/label_editor/{project}/{data}": viewer.as_in_the_editor,
    "/label_editor/{project}/{data}/{frame}": viewer.as_in_the_editor,
    "/projects/{project}": projects.overview,
    "/projects/{project}/changes": changes.changes_page,
    "/projects/{project}/tasks": grid.tasks_page,
    "/projects/{project}/tasks/{task}": viewer.task_page,
    "/projects/{project}/tasks/{task}/compare": viewer.compare,
}
_PARTS: dict[str, Handler] = {
    "/runs/live": runs.live,
    "/notifications/live": notifications.live,
    "/projects/{project}/live": projects.live,
    "/projects/{project}/tasks/{task}/frames": viewer.frame_labels,
    "/media/{item}/thumbnail": files.thumbnail,
    "/media/{item}/picture": files.picture,
    "/media/{item}/card": files.card,
    "/media/{item}/frame/{number}": files.frame,
    "/media/{item}/page/{number}": files.page,
    "/media/{item}/file": files.as_it_is,
    "/static/{name}": files.static,
    "/favicon.ico": files.icon,
}


def routes(
    service: Service, journal: Journal, now: Callable[[], float], failed: Callable[[Exception], object]
) -> list[Route]:
    """Return the routes of the page.

    Args:
        now: The journal's clock.
        failed: Called with exceptions that are bugs of the page.
    """
    pages = Pages(service, journal, now)

    def get_route(path: str, handle: Handler, *, document: bool) -> Route:
        async def endpoint(request: Request) -> Response:
            def answered() -> Response:
                if (strange := guard.refusal(request, document=document)) is not None:
                    return _refused(pages, request, strange, plain=True)
                try:
                    return handle(pages, request)
                except Refusal as refusal:
                    return _refused(pages, request, refusal, plain=not document)

            return await _safely(request, answered, failed)

        return route(path, endpoint, ["GET"])

    def form_route(path: str, handle: FormHandler) -> Route:
        async def endpoint(request: Request) -> Response:
            given: Form = {}
            refused: Refusal | None = None
            try:
                given = await _form(request)
            except Refusal as refusal:
                refused = refusal
            except ClientDisconnect:
                return Response()  # the client is gone

            def answered() -> Response:
                if refused is not None:
                    return _refused(pages, request, refused, plain=True)
                try:
                    guard.check_token(service.database.secret(), _one(given, "token"))
                    with acting(CLIENT):
                        return handle(pages, request, given)
                except Refusal as refusal:
                    return _refused(pages, request, refusal, plain=False)

            return await _safely(request, answered, failed)

        return route(path, endpoint, ["POST"])

    return [
        *(get_route(path, handle, document=True) for path, handle in _DOCUMENTS.items()),
        *(get_route(path, handle, document=False) for path, handle in _PARTS.items()),
        *(form_route(path, handle) for path, handle in _FORMS.items()),
    ]


async def _safely(
    request: Request, answered: Callable[[], Response], failed: Callable[[Exception], object]
) -> Response:
    """Make an answer with our headers, in a thread, so that the event loop can serve other requests."""
    try:
        response = await run_in_threadpool(answered)
    except Exception as error:
        logger.exception("The page failed at %s.", request.scope["path"])
        failed(error)
        response = PlainTextResponse("The page failed here; the platform's log says why.", 500)
    for name, value in guard.HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _form(request: Request) -> Form:
    """Read a form.

    Raises:
        Refusal: 403, another site's page sent it; 413, it is too large; 400, it is not a form.
    """
    if (refusal := guard.refusal(request, document=False)) is not None:
        raise refusal
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > guard.LARGEST_FORM:
            raise Refusal(413, "The form is too large.")
    form: Form = {}
    try:
        for key, value in parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=2_000):
            form.setdefault(key, []).append(value)
    except ValueError:
        raise Refusal(400, "The form cannot be read.") from None
    return form


def _one(form: Form, key: str) -> str:
    return form.get(key, [""])[-1]


def _then(form: Form, otherwise: str) -> RedirectResponse:
    """Redirect to one of our pages: its path must begin with one slash, with nothing that browsers read as a host."""
    then = _one(form, "then")
    ours = then.startswith("/") and not then.startswith("//") and "\\" not in then and then.isprintable()
    return RedirectResponse(then if ours else otherwise, 303)


def _act(pages: Pages, request: Request, form: Form) -> Response:
    project = pages.project(request)
    stage = project.stages.get(_one(form, "stage"))
    if stage is None:
        raise Refusal(400, "The project has no such stage.")
    value = _one(form, "action")
    if value == "move":
        value = f"move:{_one(form, 'destination')}"
    uuids = form.get("task", [])
    done = actions.act(pages.service, project, stage, value, uuids)
    return note(_then(form, f"/projects/{project.hash}"), done)


def _reset(pages: Pages, request: Request, form: Form) -> Response:
    project = pages.project(request)
    done = actions.reset(pages.service, project, keep_labels=_one(form, "labels") != "forget")
    return note(_then(form, f"/projects/{project.hash}"), done)


def _call_agent(pages: Pages, request: Request, form: Form) -> Response:
    objects = request.query_params.getlist("object")
    agents.call(pages, request, name=_one(form, "agent"), frame=_one(form, "frame"), objects=objects)
    return _then(form, request.url.path.removesuffix("/agents"))


def _add_agent(pages: Pages, request: Request, form: Form) -> Response:
    return note(RedirectResponse("/agents", 303), agents.add(pages, _one(form, "name"), _one(form, "address")))


def _change_agent(pages: Pages, request: Request, form: Form) -> Response:
    response = RedirectResponse("/agents", 303)
    if _one(form, "do") == "remove":
        return note(response, agents.remove(pages, _one(form, "agent")))
    agents.try_out(pages, _one(form, "agent"))
    return response


def _theme(pages: Pages, request: Request, form: Form) -> Response:
    response = _then(form, "/")
    theme = _one(form, "theme")
    if theme in THEMES:
        response.set_cookie(THEME, theme, max_age=31_536_000, samesite="strict")
    return response


_FORMS: dict[str, FormHandler] = {
    "/projects/{project}/act": _act,
    "/projects/{project}/reset": _reset,
    "/notifications/add": notifications.add,
    "/notifications/act": notifications.act,
    "/projects/{project}/tasks/{task}/agents": _call_agent,
    "/agents": _add_agent,
    "/agents/change": _change_agent,
    "/theme": _theme,
}


def _refused(pages: Pages, request: Request, refusal: Refusal, *, plain: bool) -> Response:
    if plain:
        return PlainTextResponse(refusal.message, refusal.status)
    return render(pages.service, request, "refused.html", status=refusal.status, section="", message=refusal.message)
