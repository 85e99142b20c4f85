"""Label rows to draw on: a picture of 200 × 100 pixels and a film of the same size, with a class of every shape.

And a sound and a text, on which nothing can be drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from encord.objects import LabelRowV2
from tests.drawn import ontology

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow


@pytest.fixture
def row_of(local_platform: LocalPlatform) -> Callable[[str], LabelRowV2]:
    workflow = Workflow([AgentStage("Pre-label", {"end": "Done"}), Stage("Done", "done")])
    local = local_platform.create_project(workflow=workflow, ontology=ontology())
    local.add_image("image", width=200, height=100)
    local.add_file(
        "video", b"", item_type="video", mime_type="video/mp4", width=200, height=100, frames=9, duration=1, fps=9
    )
    local.add_file("sound", b"", item_type="audio", mime_type="audio/mpeg", duration=1)
    local.add_file("words", b"", item_type="plainText", mime_type="text/plain")
    project = local_platform.client().get_project(local.project_hash)

    def of(title: str) -> LabelRowV2:
        (row,) = project.list_label_rows_v2(data_title_eq=title)
        row.initialise_labels()
        return row

    return of
