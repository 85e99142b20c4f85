"""Frames and labels: how long they take here and, if its Python is given, with `encord-agents` 0.2.10.

    python -m benchmarks.media [--peer PYTHON]

Each number is the best of three, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FRAMES = 600
SIZE = (1280, 720)


def film(path: Path) -> Path:
    """A film of 720p, with B-frames and a key frame every 250 frames, as encoders make them by default."""
    import av
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1] // 8, SIZE[0] // 8, 3)).astype(np.uint8)
    base = noise.repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "veryfast"}
        for number in range(FRAMES):
            pixels = np.roll(base, 4 * number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def iterate(path: Path) -> None:
    """All frames."""
    from encord_agents.core.video import iter_video

    assert sum(1 for _ in iter_video(path)) == FRAMES


def sixteen(path: Path) -> None:
    """Sixteen frames in no order."""
    from encord_agents.core.video import iter_video_with_indices

    numbers = random.Random(3).sample(range(FRAMES), 16)
    assert len(list(iter_video_with_indices(path, numbers))) == 16


def boxes(path: Path) -> None:
    """A thousand boxes on a label row; without the time of making the row."""
    import numpy as np

    from encord_agents.labels import add_detections
    from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

    corners = np.random.default_rng(0).uniform(0, 20, (1000, 2))
    found = np.hstack([corners, corners + 10])
    with LocalPlatform() as platform:
        workflow = Workflow([AgentStage("Pre-label", {"end": "Done"}), Stage("Done", "done")])
        local = platform.create_project(workflow=workflow)
        local.add_image("image")
        (row,) = platform.client().get_project(local.project_hash).list_label_rows_v2()
        best = float("inf")
        for _ in range(5):
            row.initialise_labels(overwrite=True)
            began = time.perf_counter()
            add_detections(row, found, classes=["Person"])
            best = min(best, time.perf_counter() - began)
        print(json.dumps({"seconds": best}))
        sys.stdout.flush()
        os._exit(0)


CASES: dict[str, Callable[[Path], None]] = {"iterate": iterate, "sixteen": sixteen, "boxes": boxes}


def measured(python: str, case: str, path: Path) -> float:
    """Seconds, the best of three."""
    code = Path(__file__).read_text(encoding="utf-8")
    best = float("inf")
    for _ in range(3):
        command = [python, "-c", code, "--case", case, "--film", str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        best = min(best, float(json.loads(ended.stdout.splitlines()[-1])["seconds"]))
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", help="a Python that has encord-agents 0.2.10")
    parser.add_argument("--case", choices=list(CASES))
    parser.add_argument("--film", type=Path)
    given = parser.parse_args()
    if given.case:
        began = time.perf_counter()
        CASES[given.case](given.film)
        print(json.dumps({"seconds": time.perf_counter() - began}))
        return
    with tempfile.TemporaryDirectory() as directory:
        path = film(Path(directory) / "film.mp4")
        for case in CASES:
            ours = measured(sys.executable, case, path)
            theirs = measured(given.peer, case, path) if given.peer and case != "boxes" else None
            print(f"{case:8} {ours:7.3f} s" + (f", 0.2.10 {theirs:7.3f} s: {theirs / ours:.2f}x" if theirs else ""))


if __name__ == "__main__":
    main()
