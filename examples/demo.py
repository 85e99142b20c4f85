"""Run `prelabel_and_triage.py` over photographs, on a platform of your own, and draw what it saved.

``make demo`` does this; ``make demo IMAGES=DIR`` takes your pictures, and with ``make demo ARGS=--notifications`` the
platform tells the agents when tasks wait. No account and no download is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import numpy as np
import skimage
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from PIL import Image, ImageDraw, ImageFont, ImageOps

from encord_agents.local import LocalPlatform, LocalPlatformError, LocalProject
from encord_agents.tasks.dependencies import dep_single_frame

HERE = Path(__file__).parent
AGENTS = HERE / "prelabel_and_triage.py"
BUNDLED = (  # photographs in the scikit-image wheel; what it fetches from elsewhere is not among them
    *("astronaut.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg"),
)
MARKER = ".made-by-the-demo"
"""In a data directory of ours. Only such a one is emptied."""
SILENCE = 2.0
"""Seconds after which a line says that the demonstration goes on."""
SHEET_LIMIT = 60
"""Pictures on the contact sheet, at most."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, metavar="DIR", help="your pictures; default: scikit-image's")
    parser.add_argument("--data", type=Path, metavar="DIR", default=Path(".demo"), help="made afresh; default: .demo")
    parser.add_argument("--keep", action="store_true", help="leave the platform up, with its page, until Ctrl-C")
    parser.add_argument("--notifications", action="store_true", help="run the agents as a server that is notified")
    options = parser.parse_args()
    try:
        # Not every shell expands the ~ of `make demo IMAGES=~/Pictures`.
        images, data = options.images and expanded(options.images), expanded(options.data)
        return demo(images, data, keep=options.keep, notified=options.notifications)
    except LocalPlatformError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. `make demo` starts afresh.", file=sys.stderr)
        return 130


def expanded(path: Path) -> Path:
    """A path whose ~ is a home directory; as it is, where nobody has that name."""
    return Path(os.path.expanduser(path))


def demo(images: Path | None, data: Path, *, keep: bool = False, notified: bool = False) -> int:
    if images is not None and not images.is_dir():
        raise LocalPlatformError(f"{images} is no folder. Give one with pictures: make demo IMAGES=DIR")
    make_afresh(data)
    logging.getLogger("encord_agents.local").addHandler(logging.NullHandler())  # it would name the left out once more
    with LocalPlatform(data) as platform:
        project = platform.create_project(
            title="Demo",
            workflow=HERE / "workflow.yaml",
            ontology=HERE / "ontology.json",
            images=images if images is not None else bundled_photographs(data / "faces.png"),
        )
        for reason in project.skipped:
            print(f"Left out: {reason}")
        added = len(project.tasks())
        print(f"A platform of your own is at {platform.domain}: {added} photographs in project {project.title!r}.")

        code = (serve_agents if notified else run_agents)(platform, project)
        if waiting(project) == added:
            print("\nThe agents moved no task: see above.", file=sys.stderr)
            return code or 1
        # Where some tasks failed (1), the table says which, and there is the rest to look at.
        overlays, labels = data / "overlays", data / "labels"
        drawn = draw_labels(platform, project, overlays, labels)

        print(f"\nOnce more, now that {waiting(project)} tasks are waiting for an agent:")
        again = run_agents(platform, project)
        counts = ", ".join(f"{stage.title} {stage.tasks}" for stage in project.stages)

        print(f"\nThe tasks are now in: {counts}")
        print(f"Project {project.project_hash}: {drawn} labels on {added} photographs, kept by the platform in {data}/")
        print(f"  the labels, as the SDK gives them:  {labels}/*.json")
        print(f"  the labels, drawn on photographs:   {overlays}/*.png")
        print(f"  all of them on one sheet, look at:  {overlays / 'contact-sheet.png'}")
        if keep:
            print(
                f"Ctrl-C ends the platform. Its page:   {platform.domain}/projects/{project.project_hash}", flush=True
            )
            Event().wait()
    command = [os.path.relpath(Path(sys.executable).parent / "encord-agents"), "local", "up", "--data", str(data)]
    print(f"To go on with this platform:          {shlex.join(command)}")
    print(f"and look at it in a browser:          http://127.0.0.1:8765/projects/{project.project_hash}")
    return code or again


def waiting(project: LocalProject) -> int:
    """How many tasks are in agent stages."""
    return sum(stage.tasks for stage in project.stages if stage.type == "agent")


def make_afresh(data: Path) -> None:
    """Empty what an earlier demo left; a directory with anything else in it is not touched."""
    if data.is_dir() and any(data.iterdir()):
        if not (data / MARKER).exists():
            raise LocalPlatformError(f"{data} has something else in it than an earlier demo: choose another --data.")
        shutil.rmtree(data)
    try:
        data.mkdir(parents=True, exist_ok=True)
        (data / MARKER).touch()
    except OSError as error:
        raise LocalPlatformError(f"{data} cannot be the data directory: {error.strerror}.") from error


def bundled_photographs(faces: Path) -> list[Path]:
    """Photographs in the scikit-image wheel, and a sheet of a dozen of the small faces in it."""
    directory = Path(skimage.__file__).parent / "data"
    crops = np.load(directory / "lfw_subset.npy")[:12]  # [n, 25, 25], 0 to 1; the first hundred are faces
    sheet = Image.new("L", (600, 200))
    for index, crop in enumerate(crops):
        face = Image.fromarray((crop * 255).astype(np.uint8)).resize((100, 100), Image.Resampling.BICUBIC)
        sheet.paste(face, (index % 6 * 100, index // 6 * 100))
    sheet.save(faces)
    return [*(directory / name for name in BUNDLED if (directory / name).is_file()), faces]


def run_agents(platform: LocalPlatform, project: LocalProject) -> int:
    """Run the agents' script as a user would: in a process of its own, with the platform in its environment."""
    command = [str(AGENTS), "--project-hash", project.project_hash]
    print(f"\n$ python {shlex.join(command)}", flush=True)
    process = subprocess.Popen([sys.executable, *command], env=environment_for(platform))
    try:
        while (code := ended(process, SILENCE)) is None:
            if not sys.stdout.isatty():  # on a terminal the script has a bar that moves
                print(f"  {waiting(project)} waiting for an agent", flush=True)
        return code
    except KeyboardInterrupt:
        try:
            process.wait(timeout=35)  # Ctrl-C reached it too; it writes what is finished
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        raise


def environment_for(platform: LocalPlatform) -> dict[str, str]:
    """Return the environment of a process that uses this platform, without the key of another one."""
    mine = {name: value for name, value in os.environ.items() if name != "ENCORD_SSH_KEY_FILE"}
    return mine | platform.environment()


def ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """Wait some seconds for a process. Return its exit code, or nothing if it goes on."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None


def free_port() -> int:
    """Return a free port, below those that systems give to connections: one of these may be taken before it is used."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.randrange(15_000, 32_000)))
            return int(probe.getsockname()[1])


def serve_agents(platform: LocalPlatform, project: LocalProject) -> int:
    """Serve the agents' runner, and have the platform notify it, until no task waits for an agent."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/notifications"
    receiver = platform.receivers.add(address)  # nobody listens there yet: it is told again until somebody does
    command = ["-m", "uvicorn", "notified_agents:app", "--app-dir", str(HERE), "--port", str(port)]
    print(f"\n$ encord-agents local notify {address}\n$ python {shlex.join(command)}", flush=True)
    environment = environment_for(platform) | {"ENCORD_WEBHOOK_SECRET": receiver.secret}
    process = subprocess.Popen([sys.executable, *command, "--log-level", "warning"], env=environment)
    said: dict[str, str] = {}

    def say_answers() -> None:
        for sent in reversed(platform.receivers.sent()):
            if sent.answer and said.get(sent.uid) != sent.answer:
                said[sent.uid] = sent.answer
                stage = project.stage(sent.stage).title
                print(f"Notified ({sent.pending} waiting in {stage}): {sent.answer}", flush=True)

    try:
        while (left := waiting(project)) and process.poll() is None:
            say_answers()
            print(f"  {left} waiting for an agent", flush=True)
            ended(process, SILENCE)
        say_answers()
        process.terminate()  # as on SIGTERM: what is finished is written
        process.wait(timeout=35)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        platform.receivers.remove(receiver)
    return 1 if waiting(project) else 0


def draw_labels(platform: LocalPlatform, project: LocalProject, overlays: Path, labels: Path) -> int:
    """Read the labels back through the SDK; write each row as JSON and as a drawing. Returns how many labels."""
    overlays.mkdir(exist_ok=True)
    labels.mkdir(exist_ok=True)
    online = platform.client().get_project(project.project_hash)
    stages = {task.data_hash: task.stage_title for task in project.tasks()}
    tiles: list[Image.Image] = []
    names: set[str] = set()
    total = 0
    print("\nReading the labels back, and drawing them", flush=True)
    said = time.monotonic()
    for done, row in enumerate(online.list_label_rows_v2()):
        if time.monotonic() - said > SILENCE:
            said = time.monotonic()
            print(f"  {done} drawn", flush=True)
        row.initialise_labels(include_signed_url=True)
        name = file_name(row.data_title)
        if name in names:  # the same title in two folders
            name = f"{name}-{str(row.data_hash)[:8]}"
        names.add(name)
        (labels / f"{name}.json").write_text(json.dumps(row.to_encord_dict(), indent=2) + "\n")
        picture = draw_row(platform, row)
        picture.save(overlays / f"{name}.png")
        count = len(row.get_object_instances())
        total += count
        if len(tiles) < SHEET_LIMIT:
            tiles.append(tile(picture, f"{row.data_title}: {count} -> {stages[str(row.data_hash)]}"))
    contact_sheet(tiles).save(overlays / "contact-sheet.png")
    return total


def draw_row(platform: LocalPlatform, row: LabelRowV2) -> Image.Image:
    """The photograph of a row, with the boxes that were saved for it."""
    item = platform.client().get_storage_item(row.backing_item_uuid or "")
    picture = Image.fromarray(dep_single_frame(item))
    width, height = picture.size
    line = max(2, max(width, height) // 250)
    font = ImageFont.load_default(size=max(11, max(width, height) // 45))
    drawing = ImageDraw.Draw(picture)
    for instance in row.get_object_instances():
        annotation = instance.get_annotation(0)
        box = annotation.coordinates
        if not isinstance(box, BoundingBoxCoordinates):
            continue
        left, top = box.top_left_x * width, box.top_left_y * height
        right, bottom = left + box.width * width, top + box.height * height
        colour = instance.ontology_item.color
        drawing.rectangle((left, top, right, bottom), outline=colour, width=line)
        # Where a picture has many boxes, the class is in their colour and the number is all there is room for.
        crowded = len(row.get_object_instances()) > 5
        text = f"{annotation.confidence:.2f}" if crowded else f"{instance.object_name} {annotation.confidence:.2f}"
        at = (left + line, top + line)
        drawing.rectangle(drawing.textbbox(at, text, font=font), fill=colour)
        drawing.text(at, text, fill="white", font=font)
    return picture


def tile(picture: Image.Image, caption: str) -> Image.Image:
    """A small copy with a line of text below."""
    framed = Image.new("RGB", (400, 330), "white")
    framed.paste(ImageOps.contain(picture, (390, 300)), (5, 5))
    ImageDraw.Draw(framed).text((6, 308), caption[:60], fill="black", font=ImageFont.load_default(size=14))
    return framed


def contact_sheet(tiles: list[Image.Image]) -> Image.Image:
    """The tiles in rows of four."""
    columns = min(4, len(tiles))
    sheet = Image.new("RGB", (columns * 400, -(-len(tiles) // columns) * 330), "white")
    for index, small in enumerate(tiles):
        sheet.paste(small, (index % columns * 400, index // columns * 330))
    return sheet


def file_name(title: str) -> str:
    """A title as a file's name: no directories."""
    return title.replace("/", "_").replace("\\", "_").rsplit(".", 1)[0] or "picture"


if __name__ == "__main__":
    sys.exit(main())
