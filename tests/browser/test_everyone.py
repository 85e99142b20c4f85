"""The page for everyone: without scripts, on a phone, for screen readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tests.browser.conftest import Gallery
from tests.thorough import THOROUGH

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from encord_agents.local import LocalPlatform

Visit = Callable[..., "Page"]

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def paths(gallery: Gallery) -> list[str]:
    gallery.platform.receivers.add("http://127.0.0.1:9/notifications")
    gallery.platform.add_editor_agent("Draw a box around everybody", "http://127.0.0.1:9/box")
    return [
        "/",
        "/runs",
        "/agents",
        "/notifications",
        gallery.path,
        f"{gallery.path}/changes",
        f"{gallery.path}/tasks",
        gallery.stage_path("Pre-label"),
        gallery.stage_path("Done"),
        gallery.task_path("boxed.png"),
        gallery.task_path("film.mp4"),
        gallery.task_path("note.txt"),
        gallery.task_path("boxed.png") + "/compare",
    ]


LOOKS = [("phone", "light"), ("desk", "dark"), *([("phone", "dark"), ("desk", "light")] if THOROUGH else [])]
"""Each theme and each width at least once: a theme has the same elements at both, and a width the same colours."""


@pytest.mark.parametrize(("device", "scheme"), LOOKS)
def test_nothing_violates_what_axe_knows(visit: Visit, gallery: Gallery, axe: str, device: str, scheme: str) -> None:
    """Roles, names, contrast, order: axe-core finds nothing on any page, in either theme, on a desk or a phone."""
    page = visit("/", color_scheme=scheme, bypass_csp=True, **(PHONE if device == "phone" else {}))
    found = {}
    for path in paths(gallery):
        page.goto(gallery.platform.domain + path)
        page.evaluate(axe)
        violations = page.evaluate("axe.run(document).then(found => found.violations)")
        if violations:
            found[path] = [(v["id"], [node["html"][:200] for node in v["nodes"]]) for v in violations]
    assert found == {}


def test_nothing_is_wider_than_a_phone(visit: Visit, gallery: Gallery) -> None:
    """No page scrolls sideways."""
    page = visit("/", **PHONE)
    for path in paths(gallery):
        page.goto(gallery.platform.domain + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_long_titles_are_not_wider_than_a_phone(visit: Visit, local_platform: LocalPlatform) -> None:
    """No page of a task or a project scrolls sideways, however long its titles are, on the narrowest of phones."""
    from encord_agents.local import AgentStage, Stage, Workflow

    title = "a stage with a very long name " * 3 + "without_blanks_" * 6
    workflow = Workflow([AgentStage(title, {"done": "Done"}), Stage("Done", "done")])
    project = local_platform.create_project(title="title" * 40, workflow=workflow)
    data = project.add_image(f"{'name' * 50}.png")
    (row,) = local_platform.client().get_project(project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    row.save()
    project.move(project.tasks()[0].uuid, "Done")
    project.move(project.tasks()[0].uuid, title)
    project.add_task(data, branch="other")
    project.move(project.tasks()[1].uuid, "Done")
    page = visit("/", viewport={"width": 320, "height": 640})
    here = f"/projects/{project.project_hash}"
    task = f"{here}/tasks/{project.tasks()[0].uuid}"
    for path in ("/", here, f"{here}/tasks", f"{here}/changes", task, f"{task}/compare"):
        page.goto(local_platform.domain + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_without_scripts(visit: Visit, gallery: Gallery) -> None:
    """Everything can be looked at, found, and acted on with plain links and forms."""
    page = visit("/", java_script_enabled=False)
    page.get_by_role("link", name="Gallery").click()
    page.get_by_role("link", name="Pre-label 4 tasks, agent stage").click()
    page.get_by_role("link", name="film.mp4 with 1 Person").click()
    page.get_by_role("link", name="Next frame").click()
    assert "frame=1" in page.url
    page.get_by_role("spinbutton", name="frame").fill("12")
    page.get_by_role("spinbutton", name="frame").press("Enter")
    assert page.locator("[data-scene]").get_attribute("aria-label") == "film.mp4, frame 12: 1 object"
    page.get_by_role("button", name="review").click()
    assert page.locator(".note[role=status]").inner_text() == "1 task sent down “review” to Review."
    assert [task.data_title for task in gallery.project.tasks("Review")] == ["film.mp4"]
    page.goto(gallery.platform.domain + gallery.stage_path("Pre-label"))
    page.get_by_label("Choose boxed.png").check()
    page.get_by_label("Choose note.txt").check()
    page.get_by_label("Stage to move to").select_option("Done")
    page.get_by_role("button", name="Move").click()
    assert page.locator(".note[role=status]").inner_text() == "2 tasks moved to Done."
    assert [task.data_title for task in gallery.project.tasks("Done")] == ["boxed.png", "note.txt"]


def test_acting_with_a_click(visit: Visit, gallery: Gallery) -> None:
    """A button moves the task, says so, and shows the next one; the history says that it was done here."""
    stage = gallery.stage_path("Pre-label").partition("?")[2]
    page = visit(f"{gallery.task_path('boxed.png')}?{stage}")
    page.get_by_role("button", name="review").click()
    page.get_by_role("heading", level=1, name="plain.png").wait_for()
    assert "sent down “review”" in page.locator(".note[role=status]").inner_text()
    page.goto(gallery.platform.domain + gallery.task_path("boxed.png"))
    assert "Pre-label → Review" in page.locator(".side").inner_text()
    assert "The page" in page.locator(".side").inner_text()
    assert page.locator(".note").count() == 0


def test_a_reviewer_approves_and_rejects(visit: Visit, gallery: Gallery) -> None:
    """A review stage has its own buttons, for one task and for many; who acted last is told."""
    for title in ("boxed.png", "plain.png", "note.txt"):
        gallery.project.move(gallery.task(title), "Review")
    page = visit(f"{gallery.task_path('boxed.png')}?{gallery.stage_path('Review').partition('?')[2]}")
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("heading", level=1, name="plain.png").wait_for()
    assert "1 task approved to Done." in page.locator(".note").inner_text()
    assert [task.data_title for task in gallery.project.tasks("Done")] == ["boxed.png"]
    page.goto(gallery.platform.domain + gallery.stage_path("Review"))
    page.get_by_label("all on this page").check()
    page.get_by_text("2 chosen:").wait_for()
    page.get_by_role("button", name="Reject").click()
    page.get_by_text("2 tasks rejected to Pre-label.").wait_for()
    page.goto(gallery.platform.domain + gallery.task_path("plain.png"))
    assert "local@encord-agents.invalid" in page.locator(".facts").inner_text()


def test_a_project_is_reset(visit: Visit, gallery: Gallery) -> None:
    """All tasks go back; the labels, too, only where that was asked for."""
    gallery.project.move(gallery.task("boxed.png"), "Done")
    page = visit(gallery.path)
    page.get_by_text("Start over").click()
    page.get_by_role("button", name="Reset the project").click()
    page.locator(".note[role=status]").wait_for()
    assert gallery.project.stage("Pre-label").tasks == 4
    assert gallery.project.label(gallery.hashes["boxed.png"]) is not None
    page.get_by_text("Start over").click()
    page.get_by_label("forget the labels, too").check()
    page.get_by_role("button", name="Reset the project").click()
    page.get_by_text("labels forgotten").wait_for()
    assert gallery.project.label(gallery.hashes["boxed.png"]) is None
    page.goto(gallery.platform.domain + gallery.task_path("boxed.png") + "?version=1")
    assert page.locator("[data-drawn] .label").count() == 1
