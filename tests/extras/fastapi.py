"""With ``fastapi`` alone: an app has agents, whose parameters it can read."""

from __future__ import annotations

from typing import Annotated, Any

from encord.objects import LabelRowV2
from fastapi import Depends

from encord_agents import FrameData
from encord_agents.fastapi import get_encord_app
from encord_agents.fastapi.dependencies import dep_asset, dep_label_row

app = get_encord_app()


@app.post("/agent")
def agent(
    frame_data: FrameData,
    row: Annotated[LabelRowV2, Depends(dep_label_row)],
    path: Annotated[Any, Depends(dep_asset)],
) -> None: ...


if __name__ == "__main__":
    schema = app.openapi()
    assert "FrameData" in schema["components"]["schemas"], schema
