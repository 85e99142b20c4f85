"""How the ready-made dependencies are written, for mypy: nothing here needs a cast or an ignore."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from numpy.typing import NDArray

from encord_agents.core.data_model import Frame
from encord_agents.core.dependencies import Depends
from encord_agents.tasks.dependencies import (
    Twin,
    dep_asset,
    dep_client,
    dep_single_frame,
    dep_storage_item,
    dep_twin_label_row,
    dep_video_iterator,
    dep_video_sampler,
)
from encord_agents.tasks.models import TaskAgentReturnStruct

TWINS = "11111111-1111-4111-8111-111111111111"


def agent(
    client: Annotated[EncordUserClient, Depends(dep_client)],
    item: Annotated[StorageItem, Depends(dep_storage_item)],
    path: Annotated[Path, Depends(dep_asset)],
    pixels: Annotated[NDArray[np.uint8], Depends(dep_single_frame)],
    frames: Annotated[Iterator[Frame], Depends(dep_video_iterator)],
    sample: Annotated[Callable[[float | Sequence[int]], Iterable[Frame]], Depends(dep_video_sampler)],
    twin: Annotated[Twin | None, Depends(dep_twin_label_row(TWINS, include_task=True))],
    as_default: Path = Depends(dep_asset),
) -> TaskAgentReturnStruct:
    height: int = pixels.shape[0]
    texts: list[str] = [frame.b64_encoding() for frame in sample(0.1)]
    row = twin.label_row if twin is not None else None
    return TaskAgentReturnStruct(pathway=f"{height}{texts}{path.name}", label_row=row, label_row_priority=0.5)


def test_agents_are_callable_by_hand() -> None:
    """The marks do not change what the function is."""
    assert agent.__name__ == "agent"
