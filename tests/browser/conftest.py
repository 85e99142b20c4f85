"""A headless Chromium for the page of the local platform, and a small project to look at."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from encord_agents.local import LocalPlatform, LocalProject

AXE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "encord-agents-tests"
WIDTH, HEIGHT = 400, 300
BOX = (0.25, 0.2, 0.5, 0.4)
"""The box on the first picture: left, top, width and height, as shares."""
COLOUR = (228, 87, 46)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window.

    One for each module: while it is open, Playwright's event loop counts as running in this thread, and tests of other
    modules run loops of their own.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian's package: chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Window:
    """A page in a context of its own, and what is to be complained of there."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self._context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
        self._context.set_default_timeout(60_000)
        self.page = self._context.new_page()
        self.complaints: list[str] = []
        self.ours: tuple[str, ...] = ("data:", "about:")
        complain = self.complaints.append
        self.page.on("console", lambda message: message.type in ("error", "warning") and complain(message.text))
        self.page.on("pageerror", lambda error: complain(str(error)))
        self.page.on("request", lambda request: request.url.startswith(self.ours) or complain(request.url))

    def forget(self) -> None:
        """Be as new: what a page keeps otherwise is kept for its address, and each test's platform has another."""
        self.page.goto("about:blank")
        self.page.mouse.move(0, 0)
        self._context.clear_cookies()
        self.complaints.clear()

    def close(self) -> None:
        self._context.close()


@pytest.fixture(scope="module")
def window(chromium: Browser) -> Iterator[Window]:
    """The window of all tests that ask for no other: opening one takes as long as most tests."""
    shared = Window(chromium)
    yield shared
    shared.close()


@pytest.fixture
def visit(chromium: Browser, window: Window, local_platform: LocalPlatform) -> Iterator[Callable[..., Page]]:
    """Open an address of the platform; with options, or for the second time, in a context of its own.

    Whatever the console complains of, and whatever is asked of another origin, fails the test.
    """
    windows: list[Window] = []

    def opened(path: str = "/", **options: Any) -> Page:
        windows.append(window if not options and window not in windows else Window(chromium, **options))
        windows[-1].ours = (f"{local_platform.domain}/", "data:", "about:")
        windows[-1].page.goto(local_platform.domain + path)
        return windows[-1].page

    yield opened
    complaints = [complaint for one in windows for complaint in one.complaints]
    for one in windows:
        if one is window:
            one.forget()
        else:
            one.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, from npm once, and then from the cache."""
    kept = CACHE / f"{AXE}.js"
    if not kept.is_file():
        _fetch(kept)
    source = kept.read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256, f"{kept} is not {AXE}: remove it"
    return source.decode("utf-8")


def _fetch(kept: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and axe-core is not in the cache")
    CACHE.mkdir(parents=True, exist_ok=True)
    directory = CACHE / str(os.getpid())
    directory.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [npm, "pack", "--silent", AXE], cwd=directory, capture_output=True, text=True, timeout=120, check=False
        )
        packed = list(directory.glob("*.tgz"))
        if not packed:
            pytest.skip(f"npm could not fetch {AXE}: {done.stderr[-500:]}")
        with tarfile.open(packed[0]) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None
            source = directory / "axe.js"
            source.write_bytes(member.read())
        source.replace(kept)
    finally:
        shutil.rmtree(directory)


@dataclass
class Gallery:
    """A project with a labelled picture, a picture without labels, a video and a text."""

    platform: LocalPlatform
    project: LocalProject
    hashes: dict[str, str]

    @property
    def path(self) -> str:
        return f"/projects/{self.project.project_hash}"

    def task(self, title: str) -> str:
        return next(task.uuid for task in self.project.tasks() if task.data_title == title)

    def task_path(self, title: str) -> str:
        return f"{self.path}/tasks/{self.task(title)}"

    def stage_path(self, title: str) -> str:
        return f"{self.path}/tasks?stage={self.project.stage(title).uuid}"

    def row(self, title: str) -> Any:
        """The label row, through the SDK."""
        project = self.platform.client().get_project(self.project.project_hash)
        (row,) = project.list_label_rows_v2(data_title_eq=title)
        row.initialise_labels()
        return row


@pytest.fixture
def gallery(local_platform: LocalPlatform, tmp_path: Path) -> Gallery:
    """The project."""
    from encord.objects.coordinates import BoundingBoxCoordinates
    from PIL import Image, ImageDraw
    from tests.films import HEIGHT as FILM_HEIGHT
    from tests.films import WIDTH as FILM_WIDTH
    from tests.films import film

    from encord_agents.local import AgentStage, Stage, Workflow

    workflow = Workflow(
        [
            AgentStage("Pre-label", {"review": "Review", "skip": "Done"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = local_platform.create_project(title="Gallery", workflow=workflow, ontology=_ontology())
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    x, y, w, h = BOX
    ImageDraw.Draw(picture).rectangle(
        (x * WIDTH, y * HEIGHT, (x + w) * WIDTH - 1, (y + h) * HEIGHT - 1), fill=(0, 0, 0)
    )
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    content = film(tmp_path / "film.mp4", 30).read_bytes()
    hashes = {
        "boxed.png": project.add_image("boxed.png", packed.getvalue(), width=WIDTH, height=HEIGHT),
        "plain.png": project.add_image("plain.png", width=320, height=240),
        "film.mp4": project.add_file(
            "film.mp4", content, item_type="video", mime_type="video/mp4", width=FILM_WIDTH, height=FILM_HEIGHT,
            frames=30, fps=10.0, duration=3.0,
        ),
        "note.txt": project.add_file("note.txt", b"Ada Lovelace\n" * 3, item_type="plainText", mime_type="text/plain"),
    }  # fmt: skip
    made = Gallery(local_platform, project, hashes)
    row = made.row("boxed.png")
    structure = row.ontology_structure
    person = structure.get_child_by_title("Person").create_instance()
    person.set_for_frames(BoundingBoxCoordinates(height=h, width=w, top_left_x=x, top_left_y=y), 0, confidence=0.8)
    person.set_answer(structure.get_child_by_title("Standing"))
    row.add_object_instance(person)
    scene = structure.classifications[0].create_instance()
    scene.set_for_frames(0)
    scene.set_answer(structure.get_child_by_title("Indoors"))
    row.add_classification_instance(scene)
    row.save()
    row = made.row("film.mp4")
    moving = row.ontology_structure.get_child_by_title("Person").create_instance()
    for frame in range(30):
        if frame % 10 != 9:  # a strip at the top, where the film shows nothing
            box = BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=frame / 40, top_left_y=0.05)
            moving.set_for_frames(box, frame, confidence=frame / 100)
    row.add_object_instance(moving)
    row.save()
    return made


def _ontology() -> Any:
    from encord.objects import OntologyStructure, RadioAttribute, Shape

    structure = OntologyStructure()
    person = structure.add_object("Person", Shape.BOUNDING_BOX, color="#{:02X}{:02X}{:02X}".format(*COLOUR))
    pose = person.add_attribute(RadioAttribute, "Pose")
    pose.add_option("Standing")
    pose.add_option("Sitting")
    structure.add_object("Name", Shape.TEXT, color="#0F9D58")
    scene = structure.add_classification().add_attribute(RadioAttribute, "Scene")
    scene.add_option("Indoors")
    scene.add_option("Outdoors")
    return structure
