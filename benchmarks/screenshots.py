"""Take the README's pictures of the page: ``python -m benchmarks.screenshots``.

Real agents (``examples/prelabel_and_triage.py``) label photographs of scikit-image on a platform in memory; a headless
Chromium, Debian's package ``chromium``, looks at what they did.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage
from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

from encord_agents.local import LocalPlatform, LocalProject

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs/images"
SIZE = ViewportSize(width=1280, height=800)
PHOTOGRAPHS = ("astronaut.png", "coins.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")
MORE = ("hubble_deep_field.jpg", "motorcycle_left.png", "moon.png", "page.png", "horse.png", "cell.png", "ihc.png")
WAITING = 24
"""Photographs that the agents are given too little time for: counts other than nought in every stage."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, LocalPlatform() as platform:
        project = platform.create_project(
            title="Photographs",
            workflow=ROOT / "examples/workflow.yaml",
            ontology=ROOT / "examples/ontology.json",
            images=photographs(Path(directory)),
        )
        run_agents(platform, project)
        take(platform, project, out)


def photographs(directory: Path) -> Path:
    """The photographs, and parts of them, so that there is something to page through."""
    source = Path(skimage.__file__).parent / "data"
    for index, name in enumerate(name for name in (*PHOTOGRAPHS, *MORE) if (source / name).is_file()):
        picture = Image.open(source / name).convert("RGB")
        picture.thumbnail((1000, 1000))
        picture.save(directory / f"{index:02d}-{Path(name).stem}.jpg", quality=90)
        width, height = picture.size
        for part in range(3):
            left, top = width * part // 6, height * part // 8
            crop = picture.crop((left, top, left + width * 2 // 3, top + height * 2 // 3))
            crop.save(directory / f"{index + 20:02d}-{Path(name).stem}-part-{part + 1}.jpg", quality=90)
    return directory


def run_agents(platform: LocalPlatform, project: LocalProject) -> None:
    import os

    command = [sys.executable, "examples/prelabel_and_triage.py", "--project-hash", project.project_hash]
    most = len(project.tasks()) - WAITING
    environment = {**os.environ, **platform.environment()}
    subprocess.run([*command, "--max-tasks-per-stage", str(most)], cwd=ROOT, env=environment, check=True)


def take(platform: LocalPlatform, project: LocalProject, out: Path) -> None:
    """Look at the project, its tasks and one of them, in both themes."""
    task = next(task for task in project.tasks() if task.data_title.startswith("01-coins"))
    path = f"/projects/{project.project_hash}"
    looks = {
        "project": (path, "light"),
        "tasks": (f"{path}/tasks", "light"),
        "task": (f"{path}/tasks/{task.uuid}", "dark"),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (address, theme) in looks.items():
            context = browser.new_context(viewport=SIZE, color_scheme="dark" if theme == "dark" else "light")
            page = context.new_page()
            page.goto(platform.domain + address, wait_until="networkidle" if name == "tasks" else "load")
            page.wait_for_timeout(1500)
            shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            shot.save(out / f"page-{name}.png", optimize=True)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
