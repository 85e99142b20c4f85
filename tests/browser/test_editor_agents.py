"""Editor agents on the page: from a button to the labels that a server in another process has saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect
from tests.browser.conftest import Gallery
from tests.served_agents import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
NAMES = ("box", "sit", "decide", "guess", "crash")


@pytest.fixture
def agents(gallery: Gallery, tmp_path: Path) -> Iterator[str]:
    """Five agents, served and registered."""
    with serving(gallery.platform, tmp_path) as address:
        for name in NAMES:
            gallery.platform.add_editor_agent(name, f"{address}/{name}")
        yield address


def mark_as_loaded(page: Page) -> Callable[[], bool]:
    """Return a function that tells whether the page is the one that was loaded."""
    page.evaluate("window.loadedOnce = true")
    return lambda: bool(page.evaluate("window.loadedOnce === true"))


def outcome(page: Page) -> str:
    found = page.locator("[data-outcome]")
    found.wait_for()
    return found.inner_text()


def test_registered_tried_and_removed_on_the_page(visit: Visit, gallery: Gallery, agents: str) -> None:
    """A name and an address make a button; trying one says whether it can be reached; one that is removed is gone."""
    page = visit("/")
    page.get_by_role("link", name="Agents").click()
    page.get_by_label("Name").fill("Second box")
    page.get_by_label("Address").fill(f"{agents}/box")
    page.get_by_role("button", name="Register").click()
    page.get_by_role("button", name="Try Second box").click()
    expect(page.locator("[data-agent='Second box'] [data-outcome='good']")).to_contain_text("It can be reached")
    page.goto(gallery.platform.domain + gallery.task_path("plain.png"))
    page.get_by_role("button", name="Second box", exact=True).wait_for()
    page.goto(gallery.platform.domain + "/agents")
    page.get_by_role("button", name="Remove Second box").click()
    expect(page.get_by_text("Second box is no longer registered.")).to_be_visible()
    assert [*gallery.platform.editor_agents()] == [*NAMES]


@pytest.mark.parametrize("scripts", [True, False])
def test_an_image(visit: Visit, gallery: Gallery, agents: str, scripts: bool) -> None:
    """The agent's box is drawn and listed, its message shown as text, and the history names it.

    Without loading the page again where there are scripts, and as a form where there are none.
    """
    page = visit(gallery.task_path("plain.png"), java_script_enabled=scripts)
    is_same = mark_as_loaded(page) if scripts else None
    page.get_by_role("button", name="box", exact=True).click()
    told = outcome(page)
    assert "A box on frame 0. <b>Look</b>" in told
    assert page.locator("[data-drawn] .label").count() == 1
    assert "Person 1" in page.locator("[data-listed]").inner_text()
    history = page.locator(".events").inner_text()
    assert history.count("Editor agent box") == 2
    assert "Called" in history
    assert "Version 1 saved" in history
    if is_same is not None:
        assert is_same()
        expect(page.get_by_role("button", name="box", exact=True)).to_be_focused()
        page.get_by_role("button", name="box", exact=True).click()
        expect(page.locator("[data-drawn] .label")).to_have_count(2)


@pytest.mark.parametrize("scripts", [True, False])
def test_an_object(visit: Visit, gallery: Gallery, agents: str, scripts: bool) -> None:
    """An object's button sends its hash; a task's sends none, and the agent's refusal is shown with what to do."""
    (person,) = gallery.row("boxed.png").get_object_instances()
    page = visit(gallery.task_path("boxed.png"), java_script_enabled=scripts)
    page.get_by_role("button", name="sit on Person 1").click()
    assert f"{person.object_hash} sits." in outcome(page)
    assert "Sitting" in page.locator("[data-listed]").inner_text()
    page.locator("#agents").get_by_role("button", name="sit").click()
    expect(page.locator("[data-outcome='bad']")).to_contain_text("Select one person, not 0.")
    expect(page.locator("[data-outcome='bad']")).to_contain_text("do what its message says")


def test_a_frame_of_a_video(visit: Visit, gallery: Gallery, agents: str) -> None:
    """The frame that is shown is the frame that is sent, and its labels are those that were saved."""
    page = visit(gallery.task_path("film.mp4") + "?frame=7")
    page.locator("[data-player][data-shown='7']").wait_for()
    is_same = mark_as_loaded(page)
    page.keyboard.press(".")
    page.keyboard.press(".")
    page.locator("[data-player][data-shown='9']").wait_for()
    assert page.locator("[data-drawn] .label").count() == 0
    page.get_by_role("button", name="box", exact=True).click()
    assert "A box on frame 9" in outcome(page)
    expect(page.locator("[data-drawn] .label")).to_have_count(1)
    assert page.locator(".track-row").count() == 2
    page.keyboard.press("Shift+,")
    page.locator("[data-player][data-shown='0']").wait_for()
    page.locator(".track-row").nth(1).locator("svg:not(.swatch)").click(position={"x": 1, "y": 2})
    page.keyboard.press("Shift+.")
    page.locator("[data-player][data-shown='10']").wait_for()
    assert is_same()
    frames = {
        int(view.frame) for one in gallery.row("film.mp4").get_object_instances()[1:] for view in one.get_annotations()
    }
    assert frames == {9}


def test_a_frame_of_a_video_without_scripts(visit: Visit, gallery: Gallery, agents: str) -> None:
    """The frame of the address is sent, and shown again afterwards."""
    page = visit(gallery.task_path("film.mp4") + "?frame=9", java_script_enabled=False)
    page.get_by_role("button", name="box", exact=True).click()
    assert "A box on frame 9" in outcome(page)
    assert "frame=9" in page.url


def test_a_decision_moves_the_task(visit: Visit, gallery: Gallery, agents: str) -> None:
    """Down the pathway of its name; a name that is none moves nothing, and the ways there are are named."""
    page = visit(gallery.task_path("plain.png"))
    page.get_by_role("button", name="guess").click()
    told = outcome(page)
    assert "“no such way”, which is no way out of Pre-label (those are: “review”, “skip”)" in told
    page.get_by_role("button", name="decide").click()
    expect(page.locator("[data-outcome]")).to_contain_text("Nobody is there.")
    expect(page.locator("[data-outcome]")).to_contain_text("1 task sent down “skip” to Done.")
    expect(page.locator(".task-name .pill")).to_have_text("Done")
    assert "Pre-label → Done" in page.locator(".events").inner_text()
    assert gallery.project.stage("Done").tasks == 1


def test_a_failure_is_told(visit: Visit, gallery: Gallery, agents: str) -> None:
    """An agent that failed, and a platform that is gone: a sentence each, and the buttons work again."""
    page = visit(gallery.task_path("plain.png"))
    page.get_by_role("button", name="crash").click()
    assert "It answered 500: the agent failed." in outcome(page)
    gallery.platform.remove_editor_agent("crash")
    page.evaluate("() => { window.fetch = () => Promise.reject(new TypeError('no')); }")
    page.get_by_role("button", name="box", exact=True).click()
    expect(page.locator("[data-renewed='outcome']")).to_contain_text("does not answer")
    expect(page.get_by_role("button", name="box", exact=True)).to_be_enabled()


def test_text_and_versions(visit: Visit, gallery: Gallery, agents: str) -> None:
    """A task of any kind has the buttons; an earlier version of its labels has none."""
    page = visit(gallery.task_path("note.txt"))
    page.get_by_role("button", name="decide").click()
    assert "Nobody is there." in outcome(page)
    page.goto(gallery.platform.domain + gallery.task_path("boxed.png") + "?version=1")
    assert page.locator("#agents").count() == 0
    assert page.locator("button[form='agents']").count() == 0
