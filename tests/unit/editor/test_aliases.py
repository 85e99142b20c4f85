"""Annotations of editor agents: each has its dependency with it, so that the name alone is enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from tests.films import film, number_in

from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.editor import EditorAgent, aliases
from encord_agents.editor import dependencies as editor
from encord_agents.editor.aliases import DAssetPath, DEncordClient, DObjectsInstances, DStorageItem, DVideoIterator
from encord_agents.editor.wire import Request
from encord_agents.tasks import dependencies as tasks

if TYPE_CHECKING:
    from tests.conftest import World


def test_an_agent_for_films(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The item, its file and all its frames, in order, are supplied to parameters that are annotated with them."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    (data_hash,) = world.project.add_files(film(tmp_path / "film.mp4", 12))

    def agent(
        item: DStorageItem, path: DAssetPath, frames: DVideoIterator, client: DEncordClient, objects: DObjectsInstances
    ) -> EditorAgentResponse:
        assert isinstance(item, StorageItem)
        assert isinstance(client, EncordUserClient)
        assert path.stat().st_size == (tmp_path / "film.mp4").stat().st_size
        assert objects == []
        numbers = [(frame.frame, number_in(frame.content)) for frame in frames]
        return EditorAgentResponse(message=f"{item.name}: {numbers == [(one, one) for one in range(12)]}")

    request = Request({"projectHash": world.project.project_hash, "dataHash": data_hash})
    assert EditorAgent(agent).answer(request).body == {"message": "film.mp4: True"}
    assert len(world.requests("asset")) == 1


@pytest.mark.parametrize(
    ("annotation", "dependency"),
    [
        (aliases.DAssetPath, tasks.dep_asset),
        (aliases.DEncordClient, tasks.dep_client),
        (aliases.DObjectsInstances, editor.dep_objects),
        (aliases.DSingleFrame, editor.dep_single_frame),
        (aliases.DStorageItem, tasks.dep_storage_item),
        (aliases.DVideoIterator, tasks.dep_video_iterator),
    ],
)
def test_an_annotation_has_its_dependency(annotation: Any, dependency: Any) -> None:
    """It is the one that can be imported by its own name, so that an override of it reaches both."""
    _, mark = get_args(annotation)
    assert mark.dependency is dependency is getattr(aliases, dependency.__name__)
