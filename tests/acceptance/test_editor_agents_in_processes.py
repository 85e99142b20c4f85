"""Several processes that serve editor agents, and one label row: no edit is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from tests.served_agents import serving
from tests.thorough import THOROUGH

if TYPE_CHECKING:
    from tests.conftest import World

EDITS = 200 if THOROUGH else 80

AGENTS = """
from typing import Annotated

from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from fastapi import Depends

from encord_agents import FrameData
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row

app = get_encord_app()


@app.post("/box/{number}")
def box(number: int, frame_data: FrameData, row: Annotated[LabelRowV2, Depends(dep_label_row)]) -> None:
    instance = row.ontology_structure.objects[0].create_instance()
    corner = BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=number / 1000, top_left_y=0.25)
    instance.set_for_frames(corner, frames=0)
    row.add_object_instance(instance)
    row.save()
"""


@pytest.mark.timeout(600)
def test_two_processes_on_one_row(world: World, tmp_path: Path) -> None:
    """Many edits by two servers: each is answered 200 and is there, or is told to try again, and is there then."""
    data_hash = world.project.add_image("a")
    body = {"projectHash": world.project.project_hash, "dataHash": data_hash, "frame": 0}
    with ExitStack() as stack:
        addresses = [stack.enter_context(serving(world.platform, tmp_path, AGENTS)) for _ in range(2)]

        def edit(number: int) -> None:
            while True:
                answer = requests.post(f"{addresses[number % 2]}/box/{number}", json=body, timeout=120)
                if answer.status_code != 409:
                    break
                assert int(answer.headers["Retry-After"]) > 0
                assert "Try again" in answer.json()["message"]
            assert answer.status_code == 200, answer.text

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(edit, number) for number in range(EDITS)]:
                done.result()
    assert sorted(world.marks(data_hash) or ()) == [number / 1000 for number in range(EDITS)]
