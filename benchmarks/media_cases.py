"""Cases of `benchmarks.media`, each run in a process of its own, by this library and by `encord-agents` 0.2.10.

    python media_cases.py CASE ARGUMENT

It prints, as JSON, the seconds, the processor's seconds and the memory in MB that the case took beyond its imports.
Nothing but the library and what it needs is imported: the peer's environment has no more.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

FRAMES = 600


@contextmanager
def measured() -> Iterator[None]:
    """Print the cost of what is inside."""
    gc.collect()
    before = _most_memory()
    started, processor = time.perf_counter(), time.process_time()
    yield
    seconds, cpu = time.perf_counter() - started, time.process_time() - processor
    print(json.dumps({"seconds": seconds, "cpu": cpu, "memory": (_most_memory() - before) / 1000}), flush=True)


def _most_memory() -> int:
    """Return the most memory that this program has had so far, in kB.

    `resource` tells the most of what ran in the process before it too, that is of the benchmark itself.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError("This kernel does not tell a program's memory.")


def all_frames(path: str) -> None:
    """Iterate a video."""
    from encord_agents.core.video import iter_video

    _warm_up()
    with measured():
        assert sum(1 for _ in iter_video(Path(path))) == FRAMES


def sixteen_frames(path: str) -> None:
    """Sixteen frames in no order."""
    from encord_agents.core.video import iter_video_with_indices

    _warm_up()
    with measured():
        numbers = random.Random(3).sample(range(FRAMES), 16)
        assert len(list(iter_video_with_indices(Path(path), numbers))) == 16


def _warm_up() -> None:
    """Import what decodes; both libraries do so when they first need it."""
    try:
        import av
        import numpy  # noqa: F401

        av.time_base  # noqa: B018
    except ImportError:
        import cv2  # noqa: F401


def download(url: str) -> None:
    """Download a file whose size is the last part of its address."""
    from encord.orm.storage import StorageItemType

    from encord_agents.core.utils import download_asset

    size = int(url.rpartition("/")[2])
    item: Any = SimpleNamespace(
        name="film.mp4", uuid=UUID(int=1), item_type=StorageItemType.VIDEO, mime_type="video/mp4", file_size=size,
        get_signed_url=lambda refetch=False: url,
    )  # fmt: skip
    with measured(), download_asset(item) as path:
        assert path.stat().st_size == size


def boxes(shape: str) -> None:
    """Draw a thousand detections on a label row, and read them back: the first time, and the best of five others."""
    import numpy as np

    from encord_agents.labels import Detections, add_detections, to_detections
    from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

    corners = np.random.default_rng(0).uniform(0, 500, (1000, 2)).round()
    found: Any = Detections(np.hstack([corners, corners + 20]), class_id=np.arange(1000) % 3)
    with LocalPlatform() as platform:
        workflow = Workflow([AgentStage("Pre-label", {"end": "Done"}), Stage("Done", "done")])
        local = platform.create_project(workflow=workflow, ontology=_ontology(shape))
        local.add_image("image", width=640, height=640)
        (row,) = platform.client().get_project(local.project_hash).list_label_rows_v2()
        row.initialise_labels()
        cold = _seconds(lambda: add_detections(row, found, classes=["A", "B", "C"]))
        warm, back = [], []
        for _ in range(5):
            row.initialise_labels(overwrite=True)
            warm.append(_seconds(lambda: add_detections(row, found, classes=["A", "B", "C"])))
            back.append(_seconds(lambda: to_detections(row)))
        print(json.dumps({"cold": cold, "warm": min(warm), "back": min(back)}), flush=True)


def _ontology(shape: str) -> Any:
    from encord.objects import OntologyStructure, Shape

    structure = OntologyStructure()
    for title in "ABC":
        structure.add_object(title, Shape(shape))
    return structure


def _seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


CASES: dict[str, Callable[[str], None]] = {
    "all_frames": all_frames, "sixteen_frames": sixteen_frames, "download": download, "boxes": boxes,
}  # fmt: skip

if __name__ == "__main__":
    CASES[sys.argv[1]](sys.argv[2])
