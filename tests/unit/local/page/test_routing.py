"""The way of a request to the page: those that are answered, the bounds of a form, and where it leads."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Message
from tests.unit.local.asking import NOBODY
from tests.unit.local.page.conftest import NOW
from tests.unit.local.rows import saved

from encord_agents.local import LocalPlatform, LocalProject, editor_agents
from encord_agents.local.page import guard, routing
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import NOTE, THEME

NOWHERE = "http://127.0.0.1:9/"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str
    cookies: SimpleCookie

    @property
    def is_page(self) -> bool:
        return self.headers["content-type"].startswith("text/html")

    @property
    def note(self) -> str:
        """The sentence for the next page."""
        return unquote(self.cookies[NOTE].value)


class Site:
    """The page without a server: its routes, and the bugs that it was told of."""

    def __init__(self, platform: LocalPlatform) -> None:
        self.token = guard.token(platform._service.database.secret())
        self.failures: list[Exception] = []
        self._app = Starlette(
            routes=routing.routes(platform._service, platform.journal, lambda: NOW, self.failures.append)
        )

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        return self._ask(method, target, [b""], headers)

    def post(self, target: str, fields: Any = (), **headers: str) -> Answer:
        """Send one of the page's own forms."""
        pairs = fields.items() if isinstance(fields, dict) else fields
        return self.send(target, urlencode([("token", self.token), *pairs]).encode(), **headers)

    def send(self, target: str, *parts: bytes, **headers: str) -> Answer:
        """Send any body, in parts."""
        return self._ask("POST", target, [*parts, b""], headers)

    def _ask(self, method: str, target: str, parts: list[bytes], headers: dict[str, str]) -> Answer:
        # Whoever sends no last part has left.
        path, _, query = target.partition("?")
        listed = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "root_path": "",
            "scheme": "http", "server": ("127.0.0.1", 80),
            "headers": [(name.encode(), value.encode()) for name, value in listed.items()],
        }  # fmt: skip
        sent: list[Message] = []

        async def receive() -> Message:
            if not parts:
                return {"type": "http.disconnect"}
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": part != b""}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, receive, send))
        told = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        cookies: SimpleCookie = SimpleCookie()
        for name, value in told:
            if name == "set-cookie":
                cookies.load(value)
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode(errors="replace")
        return Answer(sent[0]["status"], dict(told), text, cookies)


@pytest.fixture
def site(platform: LocalPlatform) -> Site:
    return Site(platform)


def test_every_answer_has_the_headers_of_the_page(project: LocalProject, site: Site) -> None:
    """Pages, parts, refusals and forms all say that no other page may use or show them."""
    answers = [
        site.get("/"),
        site.get(f"/projects/{project.project_hash}/live"),
        site.get(f"/projects/{NOBODY}"),
        site.get("/", sec_fetch_site="cross-site"),
        site.post("/theme", {"theme": "dark"}),
        site.send("/theme", b"theme=dark"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 404, 403, 303, 403]
    wanted = {name.lower(): value for name, value in guard.HEADERS.items()}
    assert [{name: answer.headers[name] for name in wanted} for answer in answers] == [wanted] * 6


def test_a_file_keeps_headers_of_its_own(project: LocalProject, platform: LocalPlatform, site: Site) -> None:
    """Somebody's file is in a sandbox, which the headers of the page do not open."""
    with platform._service.database.read() as connection:
        item = connection.execute("SELECT uuid FROM items").fetchone()["uuid"]
    answer = site.get(f"/media/{item}/file")
    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("path", "is_page"),
    [
        (f"/projects/{NOBODY}", True),
        (f"/projects/{NOBODY}/tasks", True),
        (f"/projects/{NOBODY}/live", False),
        (f"/media/{NOBODY}/file", False),
        ("/static/none.css", False),
    ],
)
def test_addresses_of_nothing(site: Site, path: str, is_page: bool) -> None:
    """People see a page that says so, scripts and pictures a line of text."""
    answer = site.get(path)
    assert (answer.status, answer.is_page) == (404, is_page)
    assert site.failures == []


@pytest.mark.parametrize(("path", "status"), [("/agents", 200), ("/static/page.css", 403), ("/runs/live", 403)])
def test_links_of_other_sites(site: Site, path: str, status: int) -> None:
    """They may lead to a page of ours, and to nothing that a page is made of."""
    opened = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    answer = site.get(path, **opened)
    assert answer.status == status
    assert answer.is_page == (status == 200)


def test_methods(site: Site) -> None:
    """Forms are sent to their own addresses only, pages are only looked at."""
    assert site.get("/theme").status == site.post("/runs").status == 405
    assert site.get("/runs", "HEAD").status == 200


@pytest.mark.parametrize(("table", "method"), [("_DOCUMENTS", "GET"), ("_PARTS", "GET"), ("_FORMS", "POST")])
def test_a_bug_of_the_page(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, table: str, method: str
) -> None:
    """It is answered without its details, which are in the log and are told to the platform."""
    bug = ZeroDivisionError("a detail")

    def handle(*_: object) -> Response:
        raise bug

    monkeypatch.setitem(getattr(routing, table), "/bug", handle)
    site = Site(platform)
    answer = site.get("/bug") if method == "GET" else site.post("/bug")
    assert (answer.status, "detail" in answer.text) == (500, False)
    assert answer.headers["x-frame-options"] == "DENY"
    assert site.failures == [bug]
    assert "a detail" in caplog.text


def test_forms_that_are_not_the_pages_own(project: LocalProject, site: Site) -> None:
    """Without the page's token, with a wrong one or from another site, nothing is done."""
    target = f"/projects/{project.project_hash}/reset"
    project.move(project.tasks()[0].uuid, "Done")
    refused = [
        site.send(target),
        site.send(target, b"token="),
        site.send(target, f"token={site.token[:-1]}".encode()),
        site.send(target, f"token={site.token}&token=x".encode()),
        site.post(target, origin="http://evil.example"),
        site.post(target, sec_fetch_site="cross-site"),
        site.post(target, sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document"),
        site.post(target, host="evil.example"),
    ]
    assert [(answer.status, answer.is_page) for answer in refused] == [(403, True)] * 4 + [(403, False)] * 4
    assert project.stage("Done").tasks == 1
    assert site.post(target).status == 303
    assert project.stage("Done").tasks == 0


def test_a_browser_that_leaves_while_it_sends_a_form(site: Site) -> None:
    """It is no bug of the page, and nothing is done."""
    site._ask("POST", "/theme", [f"token={site.token}&theme=dark".encode()], {})
    assert site.failures == []


@pytest.mark.parametrize(("more", "status"), [(0, 303), (1, 413)])
def test_the_largest_form(site: Site, more: int, status: int) -> None:
    """A form of the limit is read, and one of a byte more is refused, before its token is looked at."""
    head = f"token={site.token if status == 303 else ''}&theme=".encode()
    parts = [head, b"x" * (guard.LARGEST_FORM - len(head)), b"x" * more]
    assert site.send("/theme", *parts).status == status


@pytest.mark.parametrize(
    ("body", "status"),
    [("theme=é".encode(), 400), (b"\xff", 400), (b"&".join([b"a=1"] * 2001), 400), (b"&".join([b"a=1"] * 2000), 403)],
    ids=["no ASCII", "no text", "too many fields", "as many as may be"],
)
def test_forms_that_cannot_be_read(site: Site, body: bytes, status: int) -> None:
    """They are refused with a line of text, and are no bug."""
    assert site.send("/theme", body).status == status
    assert site.failures == []


@pytest.mark.parametrize(
    ("then", "leads"),
    [
        ("/runs", "/runs"),
        ("/projects/a?after=b%2Fc&x=1", "/projects/a?after=b%2Fc&x=1"),
        ("", "/"),
        ("runs", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("http://evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\u2028", "/"),
    ],
)
def test_where_a_form_leads(site: Site, then: str, leads: str) -> None:
    """Back to a page of ours, and to the first one if a browser might read the address as another host's."""
    answer = site.post("/theme", {"then": then})
    assert (answer.status, answer.headers["location"]) == (303, leads)


def test_the_last_of_several_values_counts(site: Site) -> None:
    """As where a form has a field twice."""
    answer = site.post("/theme", [("theme", "light"), ("theme", "dark"), ("then", "/a"), ("then", "/runs")])
    assert (answer.headers["location"], answer.cookies[THEME].value) == ("/runs", "dark")


@pytest.mark.parametrize(("theme", "kept"), [("dark", True), ("light", True), ("", False), ("x; Domain=y", False)])
def test_themes(site: Site, theme: str, kept: bool) -> None:
    """One of the two is kept for a year, for our own pages; nothing else gets into a cookie."""
    cookies = site.post("/theme", {"theme": theme}).cookies
    assert ([*cookies] == [THEME]) == kept
    if kept:
        assert (cookies[THEME].value, cookies[THEME]["samesite"]) == (theme, "strict")


def test_tasks_are_acted_on(project: LocalProject, site: Site) -> None:
    """All that are chosen move, the next page says so, and the history has the page as whose doing it was."""
    first, second, third = (task.uuid for task in project.tasks())
    fields = [("stage", project.stage("Agent").uuid), ("action", "move"), ("destination", project.stage("Done").uuid)]
    answer = site.post(f"/projects/{project.project_hash}/act", [*fields, ("task", first), ("task", third)])
    assert (answer.status, answer.headers["location"]) == (303, f"/projects/{project.project_hash}")
    assert answer.note == "2 tasks moved to Done."
    assert [task.uuid for task in project.tasks("Agent")] == [second]
    with project._database.read() as connection:
        found = connection.execute("SELECT DISTINCT client FROM history WHERE kind = 'move'").fetchall()
    assert [row["client"] for row in found] == ["The page"]


@pytest.mark.parametrize("stage", ["", NOBODY])
def test_a_stage_that_is_not_there(project: LocalProject, site: Site, stage: str) -> None:
    """An action on it is refused on a page, and nothing moves."""
    fields = {"stage": stage, "action": "move", "destination": project.stage("Done").uuid}
    answer = site.post(f"/projects/{project.project_hash}/act", {**fields, "task": project.tasks()[0].uuid})
    assert (answer.status, answer.is_page) == (400, True)
    assert "The project has no such stage." in answer.text
    assert len(project.tasks("Agent")) == 3


@pytest.mark.parametrize(("labels", "kept"), [("keep", True), ("", True), ("forget", False)])
def test_a_project_is_reset(project: LocalProject, site: Site, labels: str, kept: bool) -> None:
    """Labels are forgotten only where the form says so."""
    saved(project)
    answer = site.post(f"/projects/{project.project_hash}/reset", {"labels": labels, "then": "/runs"})
    assert answer.headers["location"] == "/runs"
    assert answer.note.endswith("labels kept." if kept else "labels forgotten.")
    assert (project.label(project.tasks()[0].data_hash) is not None) == kept


def test_editor_agents(pages: Pages, site: Site) -> None:
    """They are registered, tried out and removed, each of which leads back to the list."""
    added = site.post("/agents", {"name": "box", "address": NOWHERE, "then": "/runs"})
    tried = site.post("/agents/change", {"agent": "box"})
    assert [one.name for one in editor_agents.registered(pages.service)] == ["box"]
    removed = site.post("/agents/change", {"agent": "box", "do": "remove"})
    assert editor_agents.registered(pages.service) == []
    assert {(one.status, one.headers["location"]) for one in (added, tried, removed)} == {(303, "/agents")}
    assert added.note.startswith("box is registered")
    assert removed.note == "box is no longer registered."
    assert NOTE not in tried.cookies
    assert site.post("/agents/change", {"agent": "box", "do": "try"}).status == 404


def test_a_call_from_a_tasks_page(project: LocalProject, site: Site) -> None:
    """It leads back to the task, or to where the form says, with the objects of the address and the form's frame."""
    site.post("/agents", {"name": "box", "address": NOWHERE})
    task = f"/projects/{project.project_hash}/tasks/{project.tasks()[0].uuid}"
    fields = {"agent": "box", "frame": "0"}
    assert site.post(f"{task}/agents", fields).headers["location"] == task
    there = site.post(f"{task}/agents?object=o1", {**fields, "then": f"{task}?frame=0"})
    assert there.headers["location"] == f"{task}?frame=0"
    assert site.post(f"{task}/agents?object=", fields).status == 400
    assert site.post(f"{task}/agents", {**fields, "frame": "1"}).status == 400


def test_a_page_opens_its_forms(project: LocalProject, site: Site) -> None:
    """The token in a page is the one that its forms are accepted with."""
    page = site.get("/notifications").text
    assert set(re.findall(r'name="token" value="(\w+)"', page)) == {site.token}
