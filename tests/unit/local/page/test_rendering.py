"""Pages from templates, and how they write numbers, times and names."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from starlette.responses import Response
from tests.unit.local.page.looking import attributes, html, request

from encord_agents.local.page import rendering
from encord_agents.local.page.guard import token
from encord_agents.local.page.pages import Pages
from encord_agents.local.page.rendering import NOTE, THEME


def page(pages: Pages, target: str = "/", **cookies: str) -> Response:
    """Return the page of a refusal, which has least on it."""
    headers = {"cookie": "; ".join(f"{name.replace('_', '-')}={value}" for name, value in cookies.items())}
    asked = request(target, headers=headers if cookies else None)
    return rendering.render(pages.service, asked, "refused.html", section="", message="<b> & so", status=404)


def test_texts_are_no_html(pages: Pages) -> None:
    """A text of somebody's is shown as it is, on a page that no browser keeps, with the status of the answer."""
    answer = page(pages)
    assert "&lt;b&gt; &amp; so" in html(answer)
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")


def test_a_note_is_said_once(pages: Pages) -> None:
    """A form's answer leaves a note of any characters, the next page says it, cut where it is long, and forgets it."""
    response = rendering.note(Response(), "„Größe“; <b>=1, done")
    cookie = SimpleCookie(response.headers["set-cookie"])[NOTE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "strict")
    answer = page(pages, local_note=cookie.value)
    assert "„Größe“; &lt;b&gt;=1, done" in html(answer)
    forgotten = SimpleCookie(answer.headers["set-cookie"])[NOTE]
    assert (forgotten.value, forgotten["max-age"]) == ("", "0")
    cut = html(page(pages, local_note="x" * 9_000))
    assert ("x" * 500 in cut, "x" * 501 in cut) == (True, False)
    assert "set-cookie" not in page(pages).headers


@pytest.mark.parametrize(("cookie", "theme"), [("dark", ["dark"]), ("light", ["light"]), ('"><script>', [])])
def test_the_theme(pages: Pages, cookie: str, theme: list[str]) -> None:
    """It is one of those there are, or that of the system."""
    answer = page(pages, local_theme=cookie)
    assert THEME == "local-theme"
    assert [value for value in attributes(answer, "data-theme") if value] == theme
    assert "<script>" not in html(answer)


def test_a_page_knows_its_address(pages: Pages) -> None:
    """Its forms carry the token of this data directory, and lead back to the page with its query."""
    answer = page(pages, "/projects/p/tasks?title=a%26b&stage=s")
    assert "/projects/p/tasks?title=a%26b&stage=s" in attributes(answer, "value")
    assert token(pages.service.database.secret()) in attributes(answer, "value")


def test_the_address_of_a_file_has_its_content_in_it() -> None:
    """It is the same for the same file, and names the file; a file that the page has not is an error."""
    css, js = rendering.static("page.css"), rendering.static("icon.svg")
    assert css.startswith("/static/page.css?")
    assert css.partition("?")[2] != js.partition("?")[2]
    assert rendering.static("page.css") == css
    with pytest.raises(OSError, match="none"):
        rendering.static("none.css")


@pytest.mark.parametrize(
    ("count", "words", "expected"),
    [
        (0, ("task",), "0 tasks"),
        (1, ("task",), "1 task"),
        (2_000, ("task",), "2,000 tasks"),
        (2, ("entry", "entries"), "2 entries"),
        (1, ("entry", "entries"), "1 entry"),
    ],
)
def test_counts(count: int, words: tuple[str, ...], expected: str) -> None:
    """One of a thing is not several; irregular words are given."""
    assert rendering.counted(count, *words) == expected


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        (-10, "just now"), (4.9, "just now"), (5, "5 s ago"), (59.9, "59 s ago"), (60, "1 min ago"),
        (3599, "59 min ago"), (3600, "1 h ago"), (48 * 3600 - 1, "47 h ago"), (48 * 3600, "2 days ago"),
        (1e8, "1157 days ago"),
    ],
)  # fmt: skip
def test_the_time_since(passed: float, expected: str) -> None:
    """It is in the largest unit of which there is one, and never more than has passed."""
    assert rendering.ago(1e9 - passed, now=1e9) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [(-5, "now"), (0.9, "now"), (1, "again in 1 s"), (89.4, "again in 89 s"), (90, "again in 2 min")],
)
def test_the_time_until(left: float, expected: str) -> None:
    """It is said in seconds as long as those can be waited for; what is due is now."""
    assert rendering.soon(1e6 + left, now=1e6) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 ms"), (0.00994, "9.9 ms"), (0.00995, "10 ms"), (0.9994, "999 ms"), (0.9995, "1.0 s"),
        (89.9, "89.9 s"), (90, "1 min 30 s"), (3599.4, "59 min 59 s"), (3599.6, "1 h 0 min"), (9000, "2 h 30 min"),
    ],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    """Each has the digits that matter; none has 60 seconds or minutes, or 1,000 ms."""
    assert rendering.duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1_000, "1.0 kB"), (99_900, "99.9 kB"), (123_456, "123 kB"),
        (1_500_000, "1.5 MB"), (2.5e9, "2.5 GB"), (12e12, "12000.0 GB"), (99_960, "100 kB"), (999_600, "1.0 MB"),
    ],
)  # fmt: skip
def test_sizes(count: float, expected: str) -> None:
    """Bytes are in thousands, with a tenth where there are fewer than a hundred."""
    assert rendering.size(count) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("encord-agents/1.2 (x) encord-sdk-python/0.1.9", "encord-agents 1.2"),
        ("encord-sdk-python/0.1.9 encord-agents/1.2", "encord-agents 1.2"),
        ("Python/3.12 encord-sdk-python/0.1.9", "Encord SDK 0.1.9"),
        ("curl/8.5.0", "curl 8.5.0"),
        ("Mozilla/5.0 (X11; Linux)", "Mozilla 5.0"),
        ("Python on this machine", "Python on this machine"),
        ("Editor agent encord-agents/1", "Editor agent encord-agents/1"),
        ("/", "/"),
        ("", "unnamed"),
        (" ", "unnamed"),
    ],
)
def test_clients(name: str, expected: str) -> None:
    """The product that says most is named with its version; a name without products is itself."""
    assert rendering.client(name) == expected


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("a", "a"),
        (" a ", " a "),
        ("日本", "日本"),
        ("", "untitled"),
        ("  ", "untitled"),
        ("\u3000\u200b\t", "untitled"),
    ],
)
def test_titles_can_be_seen(title: str, shown: str) -> None:
    """A title without anything in it to see has a word in its place, so that its link can be clicked on."""
    assert rendering.named(title) == shown
