"""The page among other pages: none of another origin acts through it, reads from it or shows it in a frame."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import requests
from tests.browser.conftest import Gallery

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Visit = Callable[..., "Page"]


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of an empty page of another origin: another port, which browsers take for the same site."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def token(gallery: Gallery) -> str:
    page = requests.get(gallery.platform.domain, timeout=30).text
    return page.partition('data-token="')[2].partition('"')[0]


def item(gallery: Gallery, title: str) -> str:
    return str(gallery.row(title).backing_item_uuid)


def test_another_page_neither_reads_nor_acts(chromium: Browser, gallery: Gallery, elsewhere: str) -> None:
    """Not with fetch, not with a form that has even the token, not as a picture, a script or a frame."""
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(elsewhere)
        domain = gallery.platform.domain
        picture = f"{domain}/media/{item(gallery, 'boxed.png')}/picture"
        for address in (domain, domain + gallery.path, f"{domain}{gallery.path}/live", picture):
            read = "async (a) => { try { return (await fetch(a)).status; } catch { return 'refused'; } }"
            assert page.evaluate(read, address) == "refused"
            blind = (
                "async (a) => { try { return (await fetch(a, {mode: 'no-cors'})).type; } catch { return 'refused'; } }"
            )
            assert page.evaluate(blind, address) == "refused"
        shown = "(a) => new Promise((done) => { const i = new Image(); i.onload = () => done('shown');"
        shown += " i.onerror = () => done('refused'); i.src = a; })"
        assert page.evaluate(shown, picture) == "refused"
        script = (
            "(a) => new Promise((done) => { const s = document.createElement('script'); s.onload = () => done('run');"
        )
        script += " s.onerror = () => done('refused'); s.src = a; document.head.append(s); })"
        assert page.evaluate(script, f"{domain}{gallery.path}/live") == "refused"
        frame = page.evaluate(
            "(a) => new Promise((done) => { const f = document.createElement('iframe'); f.src = a;"
            " f.onload = () => { try { done(f.contentDocument === null ? 'closed' : f.contentDocument.title); }"
            " catch { done('closed'); } }; document.body.append(f); })",
            domain,
        )
        assert frame != "Projects · Local platform"
        sent = (
            "([a, fields]) => { const f = document.createElement('form'); f.method = 'post'; f.action = a;"
            " for (const [k, v] of Object.entries(fields)) { const i = document.createElement('input');"
            " i.name = k; i.value = v; f.append(i); } document.body.append(f); f.submit(); }"
        )
        fields = {
            "token": token(gallery),
            "stage": gallery.project.stage("Pre-label").uuid,
            "task": gallery.task("boxed.png"),
            "action": "move",
            "destination": gallery.project.stage("Done").uuid,
        }
        with page.expect_navigation():
            page.evaluate(sent, [f"{domain}{gallery.path}/act", fields])
        assert "another origin" in page.content()
        assert gallery.project.stage("Done").tasks == 0
    finally:
        context.close()


def test_a_link_from_elsewhere_opens_the_page(chromium: Browser, gallery: Gallery, elsewhere: str) -> None:
    """Anybody may link to a page of ours; following the link is a person's doing."""
    context = chromium.new_context()
    try:
        page = context.new_page()
        page.goto(elsewhere)
        page.set_content(f'<a href="{gallery.platform.domain}{gallery.path}">there</a>')
        page.get_by_role("link", name="there").click()
        page.get_by_role("heading", level=1, name="Gallery").wait_for()
    finally:
        context.close()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (
            "image/svg+xml",
            b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>fetch("/")</script></svg>',
        ),
        ("text/html", b"<script>document.title = 'run'</script>"),
    ],
)
def test_a_file_is_never_a_page_of_this_origin(visit: Visit, gallery: Gallery, kind: str, content: bytes) -> None:
    """SVG and HTML are saved, not opened, from either of their addresses; nothing in them runs where they are shown."""
    title = "evil.svg" if "svg" in kind else "evil.html"
    gallery.project.add_file(title, content, item_type="image", mime_type=kind, width=9, height=9)
    uuid = item(gallery, title)
    client = gallery.platform.client(retries=False)
    signed = client.get_storage_item(uuid).get_signed_url()
    page = visit("/")
    for address in (f"{gallery.platform.domain}/media/{uuid}/file", signed):
        response = requests.get(address, timeout=30)
        assert response.headers["content-disposition"] == "attachment"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        with page.expect_download():
            page.evaluate("(a) => { location.href = a; }", address)
    if "svg" in kind:
        page.goto(gallery.platform.domain + gallery.task_path(title))
        page.locator("[data-picture]").wait_for()


def test_forms_without_our_token_do_nothing(gallery: Gallery) -> None:
    """A form needs the token of this data directory; so does what is no browser."""
    act = f"{gallery.platform.domain}{gallery.path}/act"
    fields = {
        "stage": gallery.project.stage("Pre-label").uuid,
        "task": gallery.task("boxed.png"),
        "action": "move",
        "destination": gallery.project.stage("Done").uuid,
    }
    for given in ({}, {"token": "0" * 64}, {"token": "é"}):
        assert requests.post(act, data=fields | given, timeout=30).status_code == 403
    with_token = fields | {"token": token(gallery)}
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert requests.post(act, data=with_token, headers=headers, timeout=30).status_code == 403
    assert requests.post(act, data=b"x" * 300_000, timeout=30).status_code == 413
    assert gallery.project.stage("Done").tasks == 0
    assert requests.post(act, data=with_token, timeout=30).status_code == 200
    assert gallery.project.stage("Done").tasks == 1


@pytest.mark.parametrize("then", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", ""])
def test_forms_lead_back_to_us(gallery: Gallery, then: str) -> None:
    """Where a form leads next is a page of ours, whatever it says."""
    response = requests.post(
        f"{gallery.platform.domain}/theme",
        data={"token": token(gallery), "theme": "dark", "then": then},
        allow_redirects=False,
        timeout=30,
    )
    assert (response.status_code, response.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    "path",
    [
        "/projects/x",
        "/projects/x/tasks",
        "/projects/x/live",
        "/media/x/picture",
        "/media/x/thumbnail",
        "/static/x.css",
        "/static/..%2Frouting.py",
        "/projects/00000000-0000-0000-0000-000000000000/tasks/x",
    ],
)
def test_what_is_not_there(gallery: Gallery, path: str) -> None:
    """404, and no more said."""
    assert requests.get(gallery.platform.domain + path, timeout=30).status_code in (404, 501)
    gallery.platform._door.unknown.clear()  # type: ignore[union-attr]


@pytest.mark.parametrize("after", ["x", "_", "nan_1", "1e999_1", "1_999999999999999999999", "1_-1", "'_1"])
def test_odd_places_are_the_beginning_or_the_end(gallery: Gallery, after: str) -> None:
    """A query that nobody wrote is never a failure."""
    for order in ("oldest", "changed", "priority", "zzz"):
        query = {
            "after": after,
            "order": order,
            "least": "x",
            "most": "9",
            "class": "\0",
            "stage": "\ud7ff",
            "title": "%_\\",
        }
        response = requests.get(f"{gallery.platform.domain}{gallery.path}/tasks", params=query, timeout=30)
        assert response.status_code == 200
        assert requests.get(f"{gallery.platform.domain}{gallery.path}/tasks", params={"after": after}, timeout=30).ok
