"""Editor agents on Modal (https://modal.com): the app of `encord_agents.fastapi`, served by Modal.

Once:

    pip install modal && modal setup
    modal secret create encord ENCORD_SSH_KEY="$(cat ~/.ssh/encord)"

Then, from a checkout of this repository:

    modal deploy examples/modal_editor.py

It prints the address, to which the path of the agent is added (``.../describe``) where agents are registered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import modal
from encord.objects import LabelRowV2
from fastapi import Depends, FastAPI

from encord_agents import FrameData
from encord_agents.fastapi import EditorAgentResponse, get_encord_app
from encord_agents.fastapi.dependencies import dep_label_row

# A version that is on a package registry needs one line instead: .pip_install("encord-agents[fastapi]")
WHAT_PIP_NEEDS = modal.FilePatternMatcher("pyproject.toml", "README.md", "LICENSE", "src/**/*.py", "src/**/py.typed")
image = (
    modal.Image.debian_slim(python_version="3.12")
    .add_local_dir(Path(__file__).parent.parent, "/encord-agents", copy=True, ignore=~WHAT_PIP_NEEDS)
    .run_commands("python -m pip install '/encord-agents[fastapi]'")
)
app = modal.App("encord-editor-agents", image=image, secrets=[modal.Secret.from_name("encord")])

web = get_encord_app()


@web.post("/describe")
def describe(frame_data: FrameData, row: Annotated[LabelRowV2, Depends(dep_label_row)]) -> EditorAgentResponse:
    objects = row.get_object_instances(filter_frames=frame_data.frame)
    return EditorAgentResponse(message=f"{len(objects)} objects on frame {frame_data.frame}")


@app.function(max_containers=1)  # agents on one label row take turns within one container
@modal.concurrent(max_inputs=20)
@modal.asgi_app()
def serve() -> FastAPI:
    return web
