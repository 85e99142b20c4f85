"""Frames, files and labels: their cost here and, beside it in the same run, with `encord-agents` 0.2.10.

python -m benchmarks.media [--peer DIRECTORY] [--repeat N] [--write]
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.document import table
from benchmarks.measure import Side, clean_environment, ours, peer
from benchmarks.media_cases import FRAMES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "howto" / "media.md"
TITLE = "## Cost"
SIZE = (1280, 720)
MEGABYTE = 1_000_000
BLOCK = bytes(1 << 20)
HOW = """\
Measured by `make bench ARGS="--only media"`, here and with `encord-agents==0.2.10` in turn, each time in a process of
its own: seconds of the processor, over all threads, and the memory beyond that of the imports. The least of several
runs; the machine had {processors} processors.
"""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    here: str
    there: str
    target: str
    met: bool

    def cells(self) -> list[str]:
        """Return its cells."""
        return [self.what, self.here, self.there, self.target, "yes" if self.met else "**no**"]


def film(path: Path) -> Path:
    """Write a film of 720p as cameras make them: motion, grain, B-frames, and a key frame every 250 frames."""
    import av
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    small = Image.fromarray(chance.integers(0, 255, (90, 160, 3)).astype(np.uint8))
    scene = np.asarray(small.resize((1600, 900), Image.Resampling.BICUBIC))
    grain = [chance.normal(0, 6, (SIZE[1], SIZE[0], 3)) for _ in range(7)]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "medium", "crf": "21"}
        for number in range(FRAMES):
            left, top = int(160 + 150 * np.sin(number / 60)), int(90 + 80 * np.cos(number / 45))
            pixels = scene[top : top + SIZE[1], left : left + SIZE[0]] + grain[number % 7]
            picture = np.clip(pixels, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@contextmanager
def host() -> Iterator[str]:
    """Serve files of zeros, each of the size that its address names."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            rest = int(self.path.rpartition("/")[2])
            self.send_response(200)
            self.send_header("Content-Length", str(rest))
            self.end_headers()
            while rest:
                rest -= self.wfile.write(BLOCK[: min(rest, len(BLOCK))])

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(side: Side, case: str, argument: str) -> dict[str, float]:
    """Run a case once, in a process of its own."""
    environment = clean_environment()
    if side.source is not None:
        environment["PYTHONPATH"] = str(side.source)
    command = [str(side.python), str(Path(__file__).with_name("media_cases.py")), case, argument]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def compare(sides: tuple[Side, Side], case: str, argument: str, repeat: int) -> list[dict[str, float]]:
    """Run a case on both sides in turn, and return the least of each number for each side."""
    found: list[list[dict[str, float]]] = [[], []]
    for _ in range(repeat):
        for results, side in zip(found, sides, strict=True):
            results.append(run(side, case, argument))
    return [{name: min(result[name] for result in results) for name in results[0]} for results in found]


def rows(sides: tuple[Side, Side], repeat: int, directory: Path) -> Iterator[Row]:
    """Measure, line by line."""
    path = str(film(directory / "film.mp4"))
    for case, what, times in (
        ("all_frames", f"all {FRAMES} frames of a film of 720p", 1 / 1.05),
        ("sixteen_frames", "16 of them, in no order", 1.5),
    ):
        here, there = compare(sides, case, path, repeat)
        ratio = there["cpu"] / here["cpu"]
        yield Row(what, f"{here['cpu']:.2f} s", f"{there['cpu']:.2f} s", f"≥ {times:.2f} × as fast", ratio >= times)
    with host() as address:
        here, there = compare(sides, "download", f"{address}/{60 * MEGABYTE}", repeat)
        yield Row(
            "a file of 60 MB, downloaded", f"{here['memory']:.0f} MB", f"{there['memory']:.0f} MB",
            "≤ a third of the memory", here["memory"] <= there["memory"] / 3,
        )  # fmt: skip
        here = run(sides[0], "download", f"{address}/{4000 * MEGABYTE}")
        yield Row("a file of 4 GB, downloaded", f"{here['memory']:.0f} MB", "–", "< 60 MB", here["memory"] < 60)
    for shape, what in (("bounding_box", "boxes"), ("polygon", "polygons"), ("bitmask", "bitmasks of 640 x 640")):
        drawn = run(sides[0], "boxes", shape)
        for name, words in (
            ("cold", f"1,000 {what} drawn, for the first time in a process"),
            ("warm", f"1,000 {what} drawn"),
            ("back", f"1,000 {what} read as detections"),
        ):
            target = 0.05 if shape == "bounding_box" else None
            yield Row(
                words, f"{1000 * drawn[name]:.0f} ms", "–", "< 50 ms" if target else "–",
                target is None or drawn[name] < target,
            )  # fmt: skip


def with_section(page: str, found: list[Row]) -> str:
    """Return the page with the section on cost as it was measured now."""
    numbers = table(["what", "here", "0.2.10", "target", "met"], [row.cells() for row in found])
    section = f"{TITLE}\n\n{HOW.format(processors=os.cpu_count())}\n{numbers}\n"
    before, _, rest = page.partition(f"{TITLE}\n")
    after = re.search(r"^## ", rest, re.MULTILINE)
    return f"{before.rstrip()}\n\n{section}" + (f"\n{rest[after.start() :]}" if after else "")


def measure(sides: tuple[Side, Side], repeat: int, *, write: bool) -> None:
    """Measure everything, print it and, if asked to, write it into the page."""
    with tempfile.TemporaryDirectory() as directory:
        found = []
        for row in rows(sides, repeat, Path(directory)):
            print("  ".join(row.cells()), flush=True)
            found.append(row)
    if write:
        PAGE.write_text(with_section(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
        print(f"Written: {PAGE.relative_to(ROOT)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.media", description=__doc__)
    parser.add_argument(
        "--peer", type=Path, default=ROOT / ".venv-peer", help="the peer's environment, made if missing"
    )
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each number")
    parser.add_argument("--write", action="store_true", help=f"write the numbers into {PAGE.name}")
    given = parser.parse_args()
    measure((ours(), peer(given.peer)), given.repeat, write=given.write)


if __name__ == "__main__":
    main()
