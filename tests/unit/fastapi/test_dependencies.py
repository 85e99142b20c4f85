"""Dependencies for FastAPI: in an app, where they share rows and files, and called by hand."""

from __future__ import annotations

import copy
import json
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
from encord.objects import LabelRowV2
from encord.objects.ontology_object_instance import ObjectInstance
from encord.orm.storage import StorageItemType
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from fastapi import Depends, FastAPI, Request
from tests.unit.fastapi.test_cors import JSON, call

from encord_agents.core.assets import Asset
from encord_agents.core.data_model import (
    FrameData,
    ImageArray,
    InstanceCrop,
    LabelRowInitialiseLabelsArgs,
    LabelRowMetadataIncludeArgs,
)
from encord_agents.editor.row_queue import ROW_QUEUE
from encord_agents.exceptions import UnsupportedAssetError
from encord_agents.fastapi import dependencies
from encord_agents.fastapi.dependencies import (
    DataLookup,
    dep_asset,
    dep_client,
    dep_data_lookup,
    dep_label_row,
    dep_label_row_with_args,
    dep_object_crops,
    dep_objects,
    dep_project,
    dep_single_frame,
    dep_storage_item,
    dep_trace_id,
    dep_video_iterator,
)

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def shown(world: World, monkeypatch: pytest.MonkeyPatch) -> FrameData:
    """An image with two boxes, the second of which is selected; the environment leads to its platform."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    data_hash = world.project.add_image("image")
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    world.mark(row, 0.25)
    world.mark(row, 0.5)
    row.save()
    second = row.get_object_instances()[1].object_hash
    world.platform.journal.clear()
    return FrameData.model_validate(
        {"projectHash": world.project.project_hash, "dataHash": data_hash, "objectHashes": [second]}
    )


def called(app: FastAPI, frame: FrameData, headers: dict[str, str] | None = None) -> Any:
    body = frame.model_dump_json(by_alias=True).encode()
    status, _, content = call(app, "/agent", body, headers={**JSON, **(headers or {})})
    assert status == 200, content
    return json.loads(content)


def test_all_of_them_share_what_they_fetch(world: World, shown: FrameData) -> None:
    """However many ask for the row, the item and the file, each is fetched once in a request."""
    app = FastAPI()

    @app.post("/agent")
    def agent(
        frame_data: FrameData,
        row: Annotated[LabelRowV2, Depends(dep_label_row)],
        item: Annotated[StorageItem, Depends(dep_storage_item)],
        project: Annotated[Project, Depends(dep_project)],
        image: Annotated[ImageArray, Depends(dep_single_frame)],
        path: Annotated[Path, Depends(dep_asset)],
        objects: Annotated[list[ObjectInstance], Depends(dep_objects)],
        crops: Annotated[list[InstanceCrop], Depends(dep_object_crops())],
    ) -> dict[str, Any]:
        return {
            "row": row.data_hash,
            "project": str(project.project_hash),
            "image": image.shape,
            "file": [path.is_file(), str(path)],
            "objects": [one.object_hash for one in objects],
            "crops": [one.instance.object_hash for one in crops],
            "item": item.uuid == row.backing_item_uuid,
        }

    told = called(app, shown)
    there, path = told.pop("file")
    assert told == {
        "row": str(shown.data_hash),
        "project": str(shown.project_hash),
        "image": [48, 64, 3],
        "objects": shown.object_hashes,
        "crops": shown.object_hashes,
        "item": True,
    }
    assert (there, Path(path).exists()) == (True, False)
    counts = Counter(world.requests("rows", "label_create", "label_get", "item", "asset"))
    assert counts == {"rows": 1, "label_get": 1, "item": 1, "asset": 1}


def test_a_client_of_ones_own(world: World, shown: FrameData, monkeypatch: pytest.MonkeyPatch) -> None:
    """An override of `dep_client` is used by all dependencies, so that tests need no key."""
    monkeypatch.delenv("ENCORD_SSH_KEY")
    app = FastAPI()
    app.dependency_overrides[dep_client] = lambda: world.client

    @app.post("/agent")
    def agent(
        client: Annotated[EncordUserClient, Depends(dep_client)],
        item: Annotated[StorageItem, Depends(dep_storage_item)],
        row: Annotated[LabelRowV2, Depends(dep_label_row_with_args())],
    ) -> bool:
        return client is world.client and item.uuid == row.backing_item_uuid

    assert called(app, shown) is True


def test_a_frame_of_ones_own(world: World, shown: FrameData) -> None:
    """An override of `dep_single_frame` is what objects are cut out of, so that tests need no file."""
    app = FastAPI()
    app.dependency_overrides[dep_single_frame] = lambda: np.full((48, 64, 3), 7, np.uint8)

    @app.post("/agent")
    def agent(crops: Annotated[list[InstanceCrop], Depends(dep_object_crops())]) -> list[int]:
        return [int(crop.content.max()) for crop in crops]

    assert called(app, shown) == [7]
    assert world.requests("item", "asset") == []


@pytest.mark.parametrize("dependency", [dep_label_row, dep_label_row_with_args()])
def test_a_row_has_a_turn(shown: FrameData, dependency: Any) -> None:
    """Until the request is answered, nobody else's has the row."""
    app = FastAPI()

    @app.post("/agent")
    def agent(frame_data: FrameData, row: LabelRowV2 = Depends(dependency)) -> int:
        return len(ROW_QUEUE)

    assert called(app, shown) == 1
    assert len(ROW_QUEUE) == 0


@pytest.mark.filterwarnings("ignore:DataLookup is deprecated:DeprecationWarning")
def test_a_lookup(world: World, shown: FrameData) -> None:
    """It looks in the datasets of the project that is in the editor, and is made once in a request."""
    world.platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}).add_image("elsewhere")
    app = FastAPI()

    @app.post("/agent")
    def agent(
        one: Annotated[DataLookup, Depends(dep_data_lookup)],
        other: Annotated[DataLookup, Depends(dep_data_lookup)],
        item: Annotated[StorageItem, Depends(dep_storage_item)],
    ) -> bool:
        return one is other and one.backing_item_uuids == [item.uuid]

    assert called(app, shown) is True


def test_no_turn_without_a_row(shown: FrameData) -> None:
    """Agents that do not ask for the row do not wait for those that do."""
    app = FastAPI()

    @app.post("/agent")
    def agent(frame_data: FrameData, project: Annotated[Project, Depends(dep_project)]) -> int:
        return len(ROW_QUEUE)

    assert called(app, shown) == 0


@pytest.mark.parametrize(
    ("headers", "trace_id"),
    [
        ({}, None),
        ({"X-Cloud-Trace-Context": f"{'a' * 32}/1;o=1"}, "a" * 32),
        ({"X-Cloud-Trace-Context": "two words"}, None),
    ],
)
def test_the_trace_id(shown: FrameData, headers: dict[str, str], trace_id: str | None) -> None:
    """It is that of the request's header, and the client of the request sends it on; nonsense is none."""
    app = FastAPI()

    @app.post("/agent")
    def agent(
        frame_data: FrameData,
        trace_id: Annotated[str | None, Depends(dep_trace_id)],
        client: Annotated[EncordUserClient, Depends(dep_client)],
    ) -> list[str | None]:
        provider = client.user_config.requests_settings.trace_id_provider
        return [trace_id, provider() if provider else None]

    assert called(app, shown, headers) == [trace_id, trace_id and f"{trace_id}/1;o=1"]
    listed = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    assert dep_trace_id(Request({"type": "http", "headers": listed})) == trace_id


@pytest.mark.parametrize("given", [False, True])
def test_options_reach_the_row(shown: FrameData, given: bool) -> None:
    """The row is listed and its labels are loaded as the dependency was made; by hand, it needs no client."""
    include = LabelRowMetadataIncludeArgs(include_client_metadata=True)
    initialise = LabelRowInitialiseLabelsArgs(include_object_feature_hashes={"none"})
    row = (dep_label_row_with_args(include, initialise) if given else dep_label_row_with_args())(shown)
    found = (row.data_hash, row.client_metadata, len(row.get_object_instances()))
    assert found == (str(shown.data_hash), *(({}, 0) if given else (None, 2)))


def item_of(world: World, frame: FrameData) -> StorageItem:
    return dep_storage_item(dep_label_row(frame, world.client), world.client)


def test_by_hand_with_a_file_that_is_there(world: World, shown: FrameData) -> None:
    """A file that somebody else has fetched is used, and stays theirs."""
    with Asset(item_of(world, shown)) as asset:
        asset.fetch()
        world.platform.journal.clear()
        assert dep_single_frame(asset.item, shown, asset).shape == (48, 64, 3)
        with contextmanager(dep_asset)(asset.item, asset) as path:
            assert path == asset.path()
        assert world.platform.journal.count("asset") == 0
        assert asset.path().exists()


def test_filters_of_crops(world: World, shown: FrameData) -> None:
    """Each filter is handed on: by object of the ontology, by title, by instance."""
    row, picture = dep_label_row(shown, world.client), dep_single_frame(item_of(world, shown), shown)
    everything = shown.model_copy(update={"object_hashes": None})
    first, second = row.get_object_instances()
    title = first.ontology_item.title

    def cut(**filters: Any) -> list[str]:
        return [crop.instance.object_hash for crop in dep_object_crops(**filters)(everything, row, picture)]

    assert cut() == cut(filter_titles=title) == [first.object_hash, second.object_hash]
    assert cut(filter_ontology_objects=[first.ontology_item]) == [first.object_hash, second.object_hash]
    assert cut(filter_ontology_objects=["other"]) == cut(filter_titles=["other"]) == []
    assert cut(filter_object_instances=[second]) == [second.object_hash]


def test_a_picture_is_no_film(world: World, shown: FrameData) -> None:
    """An iterator over its frames is refused by its name, and nothing is downloaded."""
    with pytest.raises(UnsupportedAssetError, match="'image' is of type image, not a video"):
        next(dep_video_iterator(item_of(world, shown)))
    assert world.requests("asset") == []


def test_data_without_a_file_of_its_own(world: World, shown: FrameData) -> None:
    """There is no file to share, and an agent that asks for its path gets an error that says so."""
    scene = copy.copy(item_of(world, shown))
    scene._orm_item = scene._orm_item.model_copy(update={"item_type": StorageItemType.SCENE})
    assert list(dependencies._asset(scene)) == [None]
    with pytest.raises(UnsupportedAssetError, match="'image'"):
        next(dep_asset(scene, None))
