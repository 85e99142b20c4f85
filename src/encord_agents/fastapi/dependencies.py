"""Dependencies for ``Annotated[T, Depends(...)]`` with FastAPI's own `Depends`.

Those about files, objects and frames are shared with all editor agents; here FastAPI supplies their parameters. The
request's body is a `FrameData`; a function that needs it asks for ``frame_data: FrameData``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from encord.objects import LabelRowV2
from encord.objects.ontology_object import Object
from encord.objects.ontology_object_instance import ObjectInstance
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from fastapi import Depends, Request

from encord_agents.core.assets import Asset
from encord_agents.core.constants import HEADER_CLOUD_TRACE_CONTEXT
from encord_agents.core.data_lookup import DataLookup
from encord_agents.core.data_model import (
    Frame,
    FrameData,
    ImageArray,
    InstanceCrop,
    LabelRowInitialiseLabelsArgs,
    LabelRowMetadataIncludeArgs,
)
from encord_agents.core.utils import download_asset as download_asset  # this and the next two: for existing code
from encord_agents.core.utils import get_initialised_label_row as get_initialised_label_row
from encord_agents.core.utils import get_user_client as get_user_client
from encord_agents.editor import dependencies as editor
from encord_agents.editor.clients import client_for
from encord_agents.editor.loading import item_of, load_row, open_project
from encord_agents.editor.row_queue import ROW_QUEUE
from encord_agents.editor.wire import trace_id_of
from encord_agents.fastapi.at_once import AtOnce

__all__ = [
    "DataLookup",
    "Frame",
    "FrameData",
    "InstanceCrop",
    "LabelRowInitialiseLabelsArgs",
    "LabelRowMetadataIncludeArgs",
    "dep_asset",
    "dep_client",
    "dep_data_lookup",
    "dep_label_row",
    "dep_label_row_with_args",
    "dep_object_crops",
    "dep_objects",
    "dep_project",
    "dep_single_frame",
    "dep_storage_item",
    "dep_trace_id",
    "dep_video_iterator",
]


def dep_trace_id(request: Request) -> str | None:
    """Return the trace id of the request."""
    return trace_id_of(request.headers.get(HEADER_CLOUD_TRACE_CONTEXT))


def dep_client(trace_id: Annotated[str | None, Depends(AtOnce(dep_trace_id))] = None) -> EncordUserClient:
    """Return an authenticated client for this request, which forwards its trace id.

    Raises:
        CredentialsError: There is no key, or it cannot be used.
    """
    return client_for(trace_id)


_CLIENT = Depends(AtOnce(dep_client))


def dep_project(frame_data: FrameData, client: Annotated[EncordUserClient, _CLIENT]) -> Project:
    """Return the project that is in the editor."""
    return open_project(client, frame_data)


async def _row_lock(frame_data: FrameData) -> AsyncIterator[None]:
    async with ROW_QUEUE.locked_async(frame_data):
        yield


def dep_label_row_with_args(
    label_row_metadata_include_args: LabelRowMetadataIncludeArgs | None = None,
    label_row_initialise_labels_args: LabelRowInitialiseLabelsArgs | None = None,
) -> Callable[..., LabelRowV2]:
    """Make a dependency that returns the label row in the editor, loaded with these options.

    Args:
        label_row_metadata_include_args: Options for listing the row.
        label_row_initialise_labels_args: Options for loading its labels.
    """

    def get_label_row(
        frame_data: FrameData,
        client: Annotated[EncordUserClient | None, _CLIENT] = None,
        lock: Annotated[Any, Depends(_row_lock)] = None,
    ) -> LabelRowV2:
        project = open_project(client or client_for(None), frame_data)
        return load_row(project, frame_data, label_row_metadata_include_args, label_row_initialise_labels_args)

    return get_label_row


def dep_label_row(
    frame_data: FrameData,
    client: Annotated[EncordUserClient | None, _CLIENT] = None,
    lock: Annotated[Any, Depends(_row_lock)] = None,
) -> LabelRowV2:
    """Return the label row that is in the editor, with its labels.

    Until the request is answered, other requests on this machine for the same row wait.

    Raises:
        EditorRequestError: The project has no such row, or another agent did not end in time.
    """
    return load_row(open_project(client or client_for(None), frame_data), frame_data)


def dep_storage_item(
    label_row: Annotated[LabelRowV2, Depends(dep_label_row)],
    user_client: Annotated[EncordUserClient, _CLIENT],
) -> StorageItem:
    """Return the storage item that is in the editor."""
    return item_of(user_client, label_row)


def _asset(storage_item: Annotated[StorageItem, Depends(dep_storage_item)]) -> Iterator[Asset | None]:
    if not Asset.exists_for(storage_item):
        yield None
        return
    with Asset(storage_item) as asset:
        yield asset


_Item = Annotated[StorageItem, Depends(dep_storage_item)]
_File = Annotated[Any, Depends(_asset)]


def dep_single_frame(storage_item: _Item, frame_data: FrameData, asset: _File = None) -> ImageArray:
    """Return the frame on the screen: RGB, uint8, ``[height, width, 3]``."""
    return editor.dep_single_frame(storage_item, frame_data, asset)


def dep_asset(storage_item: _Item, asset: _File = None) -> Iterator[Path]:
    """Yield the path of the file that is in the editor. The file is removed afterwards."""
    # Existing code that calls this itself passes the frame's data as the asset.
    yield from editor.dep_asset(storage_item, asset if isinstance(asset, Asset) else None)


def dep_video_iterator(storage_item: _Item, asset: _File = None) -> Iterator[Iterator[Frame]]:
    """Yield an iterator over all frames of the video, in order, decoded one at a time."""
    yield from editor.dep_video_iterator(storage_item, asset)


def dep_objects(frame_data: FrameData, lr: Annotated[LabelRowV2, Depends(dep_label_row)]) -> list[ObjectInstance]:
    """Return the objects that are selected, in the order of the request; an empty list if none are."""
    return editor.dep_objects(frame_data, lr)


def dep_object_crops(
    filter_ontology_objects: Sequence[Object | str] | None = None,
    filter_titles: Sequence[str] | str | None = None,
    filter_object_instances: Sequence[ObjectInstance | str] | None = None,
) -> Callable[..., list[InstanceCrop]]:
    """Make a dependency that cuts labelled objects out of the frame on the screen: those selected, or all if none are.

    Args:
        filter_ontology_objects: Only instances of these objects of the ontology, or of their feature hashes.
        filter_titles: Only instances of objects with these titles.
        filter_object_instances: Only these instances, or those of these object hashes.
    """
    cut = editor.dep_object_crops(filter_ontology_objects, filter_titles, filter_object_instances)

    def get_object_crops(
        frame_data: FrameData,
        lr: Annotated[LabelRowV2, Depends(dep_label_row)],
        frame: Annotated[Any, Depends(dep_single_frame)],  # so that an override of it is used, too
    ) -> list[InstanceCrop]:
        return cut(frame_data, lr, frame)

    return get_object_crops


def _lookup(
    project: Annotated[Project, Depends(dep_project)], client: Annotated[EncordUserClient, _CLIENT]
) -> DataLookup:
    return DataLookup.sharable(project, client)


def dep_data_lookup(lookup: Annotated[DataLookup, Depends(_lookup)]) -> DataLookup:
    """Return a lookup of data rows and storage items by data hash. Deprecated: use `dep_storage_item`."""
    return lookup
