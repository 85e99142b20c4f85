"""Editor agents in a process of their own, as ``encord-agents serve`` serves them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests import preloaded

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform

__all__ = ["AGENTS", "serving"]

AGENTS = """
from typing import Annotated

from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.objects.ontology_object_instance import ObjectInstance
from fastapi import Depends

from encord_agents import FrameData
from encord_agents.fastapi import EditorAgentResponse, EncordEditorAgentException, get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row, dep_objects

app = get_encord_app()
Row = Annotated[LabelRowV2, Depends(dep_label_row)]


@app.post("/box")
def box(frame_data: FrameData, row: Row) -> EditorAgentResponse:
    instance = row.ontology_structure.objects[0].create_instance()
    corner = BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=0.25, top_left_y=0.25)
    instance.set_for_frames(corner, frames=frame_data.frame)
    row.add_object_instance(instance)
    row.save()
    return EditorAgentResponse(message=f"A box on frame {frame_data.frame}. <b>Look</b>")


@app.post("/sit")
def sit(row: Row, objects: Annotated[list[ObjectInstance], Depends(dep_objects)]) -> EditorAgentResponse:
    if len(objects) != 1:
        raise EncordEditorAgentException(f"Select one person, not {len(objects)}.")
    objects[0].set_answer(row.ontology_structure.get_child_by_title("Sitting"), overwrite=True)
    row.save()
    return EditorAgentResponse(message=f"{objects[0].object_hash} sits.")


@app.post("/decide")
def decide(frame_data: FrameData) -> EditorAgentResponse:
    return EditorAgentResponse(message="Nobody is there.", decision="skip")


@app.post("/guess")
def guess(frame_data: FrameData) -> EditorAgentResponse:
    return EditorAgentResponse(decision="no such way")


@app.post("/crash")
def crash(frame_data: FrameData) -> None:
    1 / 0
"""


@contextmanager
def serving(platform: LocalPlatform, directory: Path, source: str = AGENTS) -> Iterator[str]:
    """Serve the agents in ``boxes.py``, and yield their server's address."""
    (directory / "boxes.py").write_text(source)
    command = [sys.executable, "-m", "encord_agents.cli.main", "serve", "boxes:app", "--port", "0"]
    environment = {**os.environ, **platform.environment()}
    with preloaded.Popen(command, cwd=directory, env=environment, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            lines = []
            for line in server.stderr:
                lines.append(line)
                if "running on" in line:
                    break
            else:
                raise AssertionError("".join(lines))
            # Read on, so that the server never waits for somebody to read its log.
            reader = threading.Thread(target=server.stderr.read)
            reader.start()
            yield lines[-1].split("running on ")[1].split()[0]
        finally:
            server.terminate()
            reader.join()
