"""The page in a browser: from the projects to a label, and each label where it belongs."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect
from tests.browser.conftest import BOX, COLOUR, HEIGHT, WIDTH, Gallery
from tests.films import HEIGHT as FILM_HEIGHT
from tests.films import WIDTH as FILM_WIDTH
from tests.films import number_in

from encord_agents.local import LocalPlatform
from encord_agents.local.images import png
from encord_agents.tasks import Runner

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]


def pixels(page: Page) -> Any:
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))


def test_from_the_projects_to_a_task(visit: Visit, gallery: Gallery) -> None:
    """Projects, a project's workflow, a stage of it and a task are one click each."""
    page = visit("/")
    page.get_by_role("link", name="Gallery").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Gallery"
    page.get_by_role("link", name="Pre-label 4 tasks, agent stage").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Pre-label"
    page.get_by_role("link", name="boxed.png with 1 Person, 1 Scene").click()
    assert page.get_by_role("heading", level=1).inner_text() == "boxed.png"
    labels = page.locator("[data-listed]").inner_text()
    assert re.search(r"Person 1\s+0\.80\s+Pose\s+Standing", labels)
    assert re.search(r"Scene\s+Indoors", labels)


def test_pathways_have_their_names_in_the_workflow(visit: Visit, gallery: Gallery) -> None:
    """The graph names the pathways and counts the tasks of each stage."""
    page = visit(gallery.path)
    graph = page.locator(".graph")
    assert graph.locator(".way-label text").all_text_contents() == ["review", "skip", "approve", "reject"]
    assert graph.locator(".stage-count").all_text_contents() == ["4", "0", "0"]


@pytest.mark.parametrize("scale", [1, 2])
def test_a_box_is_drawn_where_the_label_says(visit: Visit, gallery: Gallery, scale: int) -> None:
    """To a pixel: the box's edges are those of the rectangle in the picture that it was labelled around."""
    page = visit(gallery.task_path("boxed.png"), device_scale_factor=scale)
    page.locator("[data-picture]").wait_for()
    page.keyboard.press("t")  # names aside
    page.mouse.move(5, 5)
    picture = page.evaluate(
        "(({left, top, width, height}) => [left, top, width, height])"
        "(document.querySelector('[data-picture]').getBoundingClientRect())"
    )
    line = page.evaluate(
        "(() => { const p = document.querySelector('[data-drawn] .line'), b = p.getBBox(), m = p.getScreenCTM();"
        "return [b.x * m.a + m.e, b.y * m.d + m.f, b.width * m.a, b.height * m.d]; })()"
    )
    x, y, w, h = BOX
    left, top = picture[0] + x * picture[2], picture[1] + y * picture[3]
    expected = [left, top, w * picture[2], h * picture[3]]
    assert line == pytest.approx(expected, abs=0.5)
    assert picture[2] / picture[3] == pytest.approx(WIDTH / HEIGHT, abs=0.01)
    # What is seen: the colour of the class on the edge, black within, white around
    seen = pixels(page).astype(int)

    def at(across: float, down: float) -> Any:
        return seen[round(down * scale), round(across * scale)]

    middle = top + expected[3] / 2
    assert abs(at(left, middle) - COLOUR).max() < 40
    assert abs(at(left + expected[2], middle) - COLOUR).max() < 40
    assert abs(at(left + expected[2] / 2, top) - COLOUR).max() < 40
    assert at(left + 6, middle).max() < 60
    assert at(left - 6, middle).min() > 245


def test_a_frame_shows_its_own_labels(visit: Visit, gallery: Gallery) -> None:
    """A video's frame k is the k-th picture, and the labels drawn over it are frame k's: by address, key, number."""
    page = visit(gallery.task_path("film.mp4") + "?frame=7")
    panel = page.locator("[data-player]")

    def check(frame: int) -> None:
        page.locator(f"[data-player][data-shown='{frame}']").wait_for()
        box = page.evaluate(
            "(({x, y, width, height}) => ({x, y, width, height}))"
            "(document.querySelector('[data-picture]').getBoundingClientRect())"
        )
        shot = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB").resize((FILM_WIDTH, FILM_HEIGHT))
        assert number_in(np.asarray(shot)) == frame
        lines = page.locator("[data-drawn] .line")
        if frame % 10 == 9:
            assert lines.count() == 0
            assert "No labels on this frame" in page.locator("[data-listed]").inner_text()
        else:
            x = page.evaluate("document.querySelector('[data-drawn] .line').getBBox().x")
            assert x == pytest.approx(frame / 40 * FILM_WIDTH, abs=0.02)
            assert f"{frame / 100:.2f}" in page.locator("[data-listed]").inner_text()

    check(7)
    page.keyboard.press(".")
    check(8)
    page.keyboard.press(".")
    check(9)
    page.keyboard.press("Shift+.")
    check(19)
    page.keyboard.press(",")
    check(18)
    panel.locator("[data-frame-number]").fill("29")
    panel.locator("[data-frame-number]").press("Enter")
    check(29)
    panel.locator("[data-scrub]").evaluate("(e) => { e.value = 3; e.dispatchEvent(new Event('input')); }")
    check(3)


def shown(page: Page, frame: int) -> None:
    page.locator(f"[data-player][data-shown='{frame}']").wait_for()


@pytest.mark.parametrize(("typed", "frame"), [("1.5", 1), ("28.99", 28), ("-0.5", 0), ("1e3", 29), ("", 0)])
def test_a_number_that_is_no_frame(visit: Visit, gallery: Gallery, typed: str, frame: int) -> None:
    """The frame below it is shown, picture and labels alike, at most the last; and the field says which."""
    page = visit(gallery.task_path("film.mp4") + "?frame=7")
    shown(page, 7)
    field = page.locator("[data-frame-number]")
    field.fill(typed)
    field.press("Enter")
    shown(page, frame)
    assert f"/frame/{frame}?" in str(page.locator("[data-picture]").get_attribute("href"))
    assert f"frame={frame}" in page.url
    assert field.input_value() == str(frame)


def test_labels_that_could_not_be_loaded(chromium: Any, gallery: Gallery) -> None:
    """No labels of another frame are over the picture: the page says that they are missing, and asks again."""
    page = chromium.new_page()  # whose console complains of the failed requests
    try:
        page.route("**/frames?*", lambda route: route.fulfill(status=500, body="{}"))
        page.goto(f"{gallery.platform.domain}{gallery.task_path('film.mp4')}?frame=7")
        missing = page.get_by_text("The labels of this frame could not be loaded.")
        for frame in (7, 8):
            shown(page, frame)
            missing.wait_for()
            assert page.locator("[data-drawn] .label").count() == 0
            label = page.locator("[data-scene]").get_attribute("aria-label")
            assert label == f"film.mp4, frame {frame}: labels not loaded"
            if frame == 7:
                page.keyboard.press(".")
        page.unroute("**/frames?*")
        missing.wait_for(state="detached")
        x = page.evaluate("document.querySelector('[data-drawn] .line').getBBox().x")
        assert x == pytest.approx(8 / 40 * FILM_WIDTH, abs=0.02)
        assert page.locator("[data-scene]").get_attribute("aria-label") == "film.mp4, frame 8: 1 object"
    finally:
        page.close()


def test_a_frame_that_cannot_be_shown(chromium: Any, gallery: Gallery, tmp_path: Path) -> None:
    """The page says so over that frame, and over no other."""
    from tests.films import film

    gallery.project.add_file(
        "short.mp4", film(tmp_path / "short.mp4", 5).read_bytes(), item_type="video", mime_type="video/mp4",
        width=FILM_WIDTH, height=FILM_HEIGHT, frames=6, fps=10.0,
    )  # fmt: skip
    page = chromium.new_page()  # whose console complains of the frame
    try:
        page.goto(f"{gallery.platform.domain}{gallery.task_path('short.mp4')}?frame=4")
        for frame, key in ((4, "."), (5, ","), (4, "")):
            shown(page, frame)
            gone = page.get_by_text("The file cannot be shown.")
            gone.wait_for(state="visible" if frame == 5 else "hidden")
            if key:
                page.keyboard.press(key)
    finally:
        page.close()


def test_the_timeline_shows_where_the_video_is(visit: Visit, gallery: Gallery) -> None:
    """A line over the tracks of the objects follows the frame."""
    page = visit(gallery.task_path("film.mp4") + "?frame=14")
    line = page.locator("[data-playhead]")
    for frame in (14, 15):
        page.locator(f"[data-player][data-shown='{frame}']").wait_for()
        assert line.is_visible()
        assert float(line.locator("rect").get_attribute("x") or 0) == pytest.approx(1000 * (frame + 0.5) / 30)
        page.keyboard.press(".")


def test_a_video_plays_to_its_end(visit: Visit, gallery: Gallery) -> None:
    """Space plays; the last frame is the last one shown."""
    page = visit(gallery.task_path("film.mp4") + "?frame=20")
    page.locator("[data-player][data-shown='20']").wait_for()
    page.keyboard.press(" ")
    page.locator("[data-player][data-shown='29']").wait_for()
    page.get_by_role("button", name="Play").wait_for()


def test_counts_move_while_an_agent_runs(visit: Visit, gallery: Gallery) -> None:
    """The workflow's counts and the activity follow an agent that works, without the page being loaded again."""
    page = visit(gallery.path)
    page.evaluate("window.still = true")
    go_on = threading.Semaphore(0)
    runner = Runner(gallery.project.project_hash, user_client=gallery.platform.client(retries=False))

    @runner.stage("Pre-label")
    def agent() -> str:
        assert go_on.acquire(timeout=120)
        return "review"

    thread = threading.Thread(target=lambda: runner(progress="none", task_batch_size=1))
    thread.start()
    review = f'[data-value="stage:{gallery.project.stage("Review").uuid}"]'
    try:
        for count in (1, 2, 4):
            for _ in range(count - int(page.locator(review).text_content() or 0)):
                go_on.release()
            expect(page.locator(review)).to_have_text(str(count))
    finally:
        for _ in range(10):
            go_on.release()
        thread.join(60)
    page.locator("[data-part=activity]").get_by_text("moved to Review").first.wait_for()
    assert page.locator('[data-value="total"]').first.inner_text() == "4"
    assert page.get_by_role("link", name="Review 4 tasks, review stage").count() == 1
    assert page.evaluate("window.still")


def test_titles_with_words_of_the_page(visit: Visit, local_platform: LocalPlatform, tmp_path: Path) -> None:
    """Titles are left as they are where the words around them are renewed, and reorder none of those words."""
    from tests.films import film

    from encord_agents.local import AgentStage, Stage, Workflow

    content = film(tmp_path / "film.mp4", 3).read_bytes()
    workflow = Workflow([AgentStage("Do 3 tasks, then rest", {"done": "Done"}), Stage("Done", "done")])
    project = local_platform.create_project(workflow=workflow)
    for title in ("frame 1: a, frame 2: b", "abc \u202egnp.exe"):
        project.add_file(
            title, content, item_type="video", mime_type="video/mp4", width=FILM_WIDTH, height=FILM_HEIGHT, frames=3
        )
    page = visit(f"/projects/{project.project_hash}")
    project.move(project.tasks()[1].uuid, "Done")
    page.get_by_role("link", name="Do 3 tasks, then rest 1 task, agent stage", exact=True).wait_for()
    words = page.locator(".event-text").first
    assert "moved to Done" in words.inner_text()
    left = words.evaluate(
        "(element) => { const text = [...element.childNodes].find((node) => node.nodeValue?.includes('moved'));"
        "const at = text.nodeValue.indexOf('moved'); return [at, at + 4].map((from) => { const range = new Range();"
        "range.setStart(text, from); range.setEnd(text, from + 1); return range.getBoundingClientRect().left; }); }"
    )
    assert left[0] < left[1]
    page.goto(f"{local_platform.domain}/projects/{project.project_hash}/tasks/{project.tasks()[0].uuid}")
    shown(page, 0)
    page.keyboard.press(".")
    shown(page, 1)
    label = page.locator("[data-scene]").get_attribute("aria-label")
    assert label == "frame 1: a, frame 2: b, frame 1: 0 objects"


def test_runs_are_shown_while_they_work(visit: Visit, gallery: Gallery) -> None:
    """Each client has its requests, saves and latencies on the page of runs, which renews itself."""
    page = visit("/runs")
    page.get_by_role("heading", name=re.compile("Encord SDK")).wait_for()
    before = page.locator(".run dd").nth(1).inner_text()
    gallery.row("plain.png")
    expect(page.locator(".run dd").nth(1)).not_to_have_text(before)
    assert "label_create" in page.locator(".run").first.inner_text()


def test_the_keyboard_leads_everywhere(visit: Visit, gallery: Gallery) -> None:
    """Next and previous task, labels on and off, the list of keys, search, and back to the tasks."""
    page = visit(gallery.task_path("boxed.png") + gallery.stage_path("Pre-label").partition("/tasks")[2])
    heading = page.get_by_role("heading", level=1)
    page.keyboard.press("ArrowRight")
    expect(heading).to_have_text("plain.png")
    page.keyboard.press("ArrowLeft")
    expect(heading).to_have_text("boxed.png")
    assert page.locator("[data-drawn]").is_visible()
    for key in ("l", "L"):  # as with Caps Lock
        page.keyboard.press(key)
        assert page.locator("[data-drawn]").is_visible() == (key == "L")
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard shortcuts").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    page.keyboard.press("+")
    assert page.locator("[data-scene]").get_attribute("viewBox") != f"0 0 {WIDTH} {HEIGHT}"
    page.keyboard.press("0")
    assert page.locator("[data-scene]").get_attribute("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    page.keyboard.press("Escape")
    page.wait_for_url("**/tasks?stage=*")
    assert heading.inner_text() == "Pre-label"
    page.keyboard.press("/")
    page.keyboard.type("plain")
    page.keyboard.press("Enter")
    page.wait_for_url("**title=plain*")
    assert page.locator(".task-title").all_inner_texts() == ["plain.png"]


def test_toggles_and_confidence(visit: Visit, gallery: Gallery) -> None:
    """A class, an object, or what is below a confidence is taken off the picture; a class stays off after that."""
    page = visit(gallery.task_path("boxed.png"))
    label = page.locator("[data-drawn] .label")
    page.locator("[data-toggle-object]").uncheck()
    assert not label.is_visible()
    page.locator("[data-toggle-object]").check()
    assert label.is_visible()
    page.locator("[data-least]").fill("0.81")
    assert not label.is_visible()
    page.locator("[data-least]").fill("0.8")
    assert label.is_visible()
    page.locator("[data-toggle-class]").uncheck()
    assert not label.is_visible()
    page.reload()
    assert not page.locator("[data-drawn] .label").is_visible()


def test_tasks_are_found(visit: Visit, gallery: Gallery) -> None:
    """By part of the title in either case, by class, by confidence, by having no labels; from the filters' form."""
    page = visit(f"{gallery.path}/tasks")
    titles = page.locator(".task-title")

    def shown(**query: str) -> list[str]:
        page.goto(f"{gallery.platform.domain}{gallery.path}/tasks?" + "&".join(f"{k}={v}" for k, v in query.items()))
        return [text.strip() for text in titles.all_inner_texts()]

    person = next(hash for hash, f in gallery.project._record.features.items() if f.shape)
    assert shown() == ["boxed.png", "plain.png", "film.mp4", "note.txt"]
    assert shown(title="PNG") == ["boxed.png", "plain.png"]
    assert shown(**{"class": person}) == ["boxed.png", "film.mp4"]
    assert shown(**{"class": person}, least="0.5") == ["boxed.png"]
    assert shown(**{"class": person}, most="0.1") == ["film.mp4"]
    assert shown(**{"class": "none"}) == ["plain.png", "note.txt"]
    assert shown(order="newest")[0] == "note.txt"
    page.get_by_label("Class").select_option("Person")
    page.get_by_label("from").fill("0.5")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("1 of 4 tasks match").wait_for()
    page.get_by_role("link", name="Clear").click()
    page.get_by_text("4 tasks", exact=True).wait_for()


def test_dark_and_light(visit: Visit, gallery: Gallery) -> None:
    """As the system has it, and as the button says, which the next page remembers."""

    def brightness(page: Page) -> int:
        return int(pixels(page)[300:500, 2:8].mean())

    assert brightness(visit("/")) > 200
    assert brightness(visit("/", color_scheme="dark")) < 60
    page = visit("/")
    page.get_by_role("button", name="Use the dark theme").click()
    assert brightness(page) < 60
    page.goto(gallery.platform.domain + gallery.path)
    assert brightness(page) < 60
    page.keyboard.press("d")
    assert brightness(page) > 200
    without = visit("/", java_script_enabled=False)
    with without.expect_navigation():
        without.get_by_role("button", name="Use the dark theme").click()
    assert brightness(without) < 60


def test_versions_are_compared(visit: Visit, gallery: Gallery) -> None:
    """Each save is in the history with its client; two versions show what was added, removed and changed."""
    from encord.objects.coordinates import BoundingBoxCoordinates

    row = gallery.row("boxed.png")
    (person,) = row.get_object_instances()
    x, y, w, h = BOX
    moved = BoundingBoxCoordinates(height=h, width=w, top_left_x=x + 0.05, top_left_y=y)
    person.set_for_frames(moved, 0, confidence=0.9, overwrite=True)
    other = row.ontology_structure.get_child_by_title("Person").create_instance()
    other.set_for_frames(BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=0, top_left_y=0), 0)
    row.add_object_instance(other)
    row.remove_classification(row.get_classification_instances()[0])
    row.save()
    page = visit(gallery.task_path("boxed.png"))
    history = page.locator("section", has=page.get_by_role("heading", name="History"))
    assert history.locator(".event-text").all_inner_texts()[0].startswith("Version 2 saved")
    assert "Encord SDK" in history.inner_text()
    page.get_by_role("link", name="Compare").click()
    for what, count in (("added", "1"), ("removed", "1"), ("changed", "1"), ("same", "0")):
        assert page.locator(f'[data-count="{what}"]').inner_text() == count
    assert "moved; confidence 0.80 → 0.90" in page.locator(".side").inner_text()
    assert page.locator("[data-drawn] .is-added").count() == 1
    assert page.locator("[data-drawn] .is-before").count() == 1
    page.goto(gallery.platform.domain + gallery.task_path("boxed.png") + "?version=1")
    assert page.locator("[data-drawn] .label").count() == 1
    assert "version 1" in page.locator(".task-head").inner_text()


def test_what_changed(visit: Visit, gallery: Gallery) -> None:
    """Tasks that were moved, and labels that were saved, since the project was made, or copied."""
    gallery.project.move(gallery.task("plain.png"), "Review")
    page = visit(gallery.path)
    page.get_by_role("link", name="What changed").click()
    rows = page.locator("tbody tr")
    assert [row.split("\t")[0] for row in rows.all_inner_texts()] == ["boxed.png", "plain.png", "film.mp4"]
    assert "Pre-label → Review" in rows.nth(1).inner_text()
    with gallery.project._database.write() as connection:
        connection.execute(
            "INSERT INTO baselines (unit, branch, stage, content) SELECT unit, branch, stage, NULL FROM tasks"
        )
    page.reload()
    assert rows.count() == 2
    page.get_by_role("link", name="boxed.png").click()
    assert page.locator('[data-count="added"]').inner_text() == "2"
    assert "as it was copied" in page.locator("select").first.inner_text()


def test_a_text_with_its_marks_and_a_sound(visit: Visit, gallery: Gallery) -> None:
    """Text is shown as text, and a sound with its wave."""
    import wave

    packed = io.BytesIO()
    with wave.open(packed, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(range(256)) * 60)
    gallery.project.add_file("beep.wav", packed.getvalue(), item_type="audio", mime_type="audio/wav", duration=1.0)
    from encord.objects.coordinates import TextCoordinates
    from encord.objects.frames import Range

    row = gallery.row("note.txt")
    name = row.ontology_structure.get_child_by_title("Name").create_instance()
    name.set_for_frames(TextCoordinates(range=[Range(start=13, end=24)]))
    row.add_object_instance(name)
    row.save()
    page = visit(gallery.task_path("note.txt"))
    assert page.locator(".text").inner_text().startswith("Ada Lovelace\nAda")
    mark = page.locator(".text mark")
    assert mark.all_inner_texts() == ["Ada Lovelace"]
    assert "13–24" in page.locator("[data-listed]").inner_text()
    page.locator("[data-toggle-class]").uncheck()
    expect(mark).to_have_class(re.compile("taken-off"))
    page.goto(gallery.platform.domain + gallery.task_path("beep.wav"))
    page.locator("[data-wave][data-drawn]").wait_for(state="attached")


def test_pages_and_groups_are_gone_through(visit: Visit, gallery: Gallery, tmp_path: Path) -> None:
    """Each page of a PDF, and each picture of a group, is shown in its own size with its own labels."""
    from encord.objects.coordinates import BoundingBoxCoordinates
    from tests.kinds import pdf

    project = gallery.project
    project.add_file(
        "doc.pdf", pdf(tmp_path / "doc.pdf", 3).read_bytes(), item_type="pdf", mime_type="application/pdf", frames=3
    )
    project.add_image_group("set", [png(60, 40), png(200, 100)])
    for title, frame in (("doc.pdf", 2), ("set", 1)):
        row = gallery.row(title)
        person = row.ontology_structure.get_child_by_title("Person").create_instance()
        box = BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=0.25, top_left_y=0.25)
        person.set_for_frames(box, frame, confidence=0.6)
        row.add_object_instance(person)
        row.save()
    page = visit(f"{gallery.path}/tasks")
    page.get_by_role("link", name="doc.pdf with 1 Person").click()
    scene = page.locator("[data-scene]")
    assert scene.get_attribute("viewBox") == "0 0 400 200"  # two pixels for each point
    for title, steps, size in (("doc.pdf", 2, (400, 200)), ("set", 1, (200, 100))):
        page.goto(gallery.platform.domain + gallery.task_path(title))
        page.locator("[data-player][data-shown='0']").wait_for()
        assert page.locator("[data-drawn] .label").count() == 0
        for step in range(steps):
            page.keyboard.press(".")
            page.locator(f"[data-player][data-shown='{step + 1}']").wait_for()
        expect(scene).to_have_attribute("viewBox", f"0 0 {size[0]} {size[1]}")
        width = page.evaluate("document.querySelector('[data-drawn] .line').getBBox().width")
        assert width == pytest.approx(size[0] / 2)


def test_what_is_said_of_a_member_of_a_data_group(visit: Visit, gallery: Gallery, tmp_path: Path) -> None:
    """Classifications, and answers that change, are beside the pictures of the member that they are placed in."""
    from encord.objects import TextAttribute
    from encord.objects.coordinates import BoundingBoxCoordinates
    from encord.orm.storage import DataGroupCustom
    from tests import kinds

    client = gallery.platform.client()
    folder = client.create_storage_folder("Members")
    files = kinds.five(tmp_path / "files")
    members = {"left": folder.upload_image(files / "picture.png"), "right": folder.upload_video(files / "film.mp4")}
    uuid = folder.create_data_group(DataGroupCustom(name="pair", layout_contents=members))
    project = client.get_project(gallery.project.project_hash)
    client.get_dataset(next(iter(project.list_datasets())).dataset_hash).link_items([uuid])
    ontology = client.get_ontology(project.ontology_hash)
    ontology.structure.get_child_by_title("Person").add_attribute(TextAttribute, "Mood", dynamic=True)
    ontology.save()
    row = gallery.row("pair")
    structure = row.ontology_structure
    left, right = row.get_space(layout_key="left", type_="image"), row.get_space(layout_key="right", type_="video")
    for answer, place in (
        ("Indoors", left.put_classification_instance),
        ("Outdoors", right.put_classification_instance),
    ):
        scene = structure.classifications[0].create_instance()
        scene.set_answer(structure.get_child_by_title(answer))
        place(scene, *([] if answer == "Indoors" else [[1]]))
    person = structure.get_child_by_title("Person").create_instance()
    right.put_object_instance(person, [0, 1], BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=0, top_left_y=0))
    for frame, mood in enumerate(("calm", "merry")):
        person.set_answer(mood, structure.get_child_by_title("Mood"), frames=frame)
    row.save()
    page = visit(gallery.task_path("pair"))
    words = ("Indoors", "Outdoors", "calm", "merry")
    for picture, expected in enumerate((["Indoors"], ["calm"], ["Outdoors", "merry"], [])):
        shown(page, picture)
        said = page.locator("[data-listed]").inner_text()
        assert [word for word in words if word in said] == expected
        page.keyboard.press(".")


def test_empty_states_say_what_to_do(visit: Visit, local_platform: LocalPlatform) -> None:
    """Without a project, without files, without runs and without matches, the page says what to type next."""
    from encord_agents.local import AgentStage, Stage, Workflow

    page = visit("/")
    assert "encord-agents local create" in page.locator("main").inner_text()
    page.goto(local_platform.domain + "/runs")
    assert "python agents.py" in page.locator("main").inner_text()
    workflow = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])
    project = local_platform.create_project(title="New", workflow=workflow)
    page.goto(f"{local_platform.domain}/projects/{project.project_hash}/tasks")
    assert "encord-agents local create" in page.locator("main").inner_text()
    project.add_image("a.png")
    page.goto(f"{local_platform.domain}/projects/{project.project_hash}/tasks?title=zzz")
    assert "No task matches" in page.locator("main").inner_text()
    page.goto(f"{local_platform.domain}/projects/{project.project_hash}")
    assert "python agents.py --project-hash" in page.locator("main").inner_text()


def test_what_people_say(visit: Visit, gallery: Gallery) -> None:
    """Issues and reviews of labels are beside the picture; pointing at one lights up its label."""
    gallery.project.move(gallery.task("boxed.png"), "Review")
    project = gallery.platform.client().get_project(gallery.project.project_hash)
    (task,) = project.workflow.get_stage(name="Review").get_tasks()
    task.issues.add_file_issue("blurred", ["quality"])
    for review in task.get_label_reviews():
        if review.label_type == "Object":
            review.reject(comment="too large")
    page = visit(gallery.task_path("boxed.png"))
    issues = page.get_by_role("region", name="Issues")
    assert re.search(r"blurred\s+quality\s+local@", issues.inner_text())
    reviews = page.get_by_role("region", name="Label reviews")
    assert re.search(r"Person 1\s+rejected\s+too large", reviews.inner_text())
    reviews.get_by_text("Person 1").hover()
    expect(page.locator("[data-drawn] .label.hot")).to_have_count(1)
    assert page.locator(".object[data-classification]").count() == 1
