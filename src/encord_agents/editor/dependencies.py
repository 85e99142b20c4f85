"""Ready-made dependencies of editor agents, about the frame on the screen and the objects selected on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Annotated

from encord.objects import LabelRowV2
from encord.objects.ontology_object import Object
from encord.objects.ontology_object_instance import ObjectInstance
from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.assets import Asset
from encord_agents.core.data_lookup import DataLookup
from encord_agents.core.data_model import Frame, FrameData, ImageArray, InstanceCrop
from encord_agents.core.dependencies.models import Depends
from encord_agents.editor.clients import client_for
from encord_agents.editor.loading import item_of
from encord_agents.exceptions import EditorRequestError
from encord_agents.tasks.dependencies import dep_asset, dep_client, dep_storage_item, dep_video_iterator
from encord_agents.tasks.media import crops_of, frames_by_number, needs_extra, wanted_instances

__all__ = [
    "dep_asset",
    "dep_client",
    "dep_data_lookup",
    "dep_object_crops",
    "dep_objects",
    "dep_single_frame",
    "dep_storage_item",
    "dep_video_iterator",
]


@needs_extra("vision")
def dep_single_frame(storage_item: StorageItem, frame_data: FrameData, asset: Asset | None = None) -> ImageArray:
    """Return the frame on the screen: RGB, uint8, ``[height, width, 3]``.

    Raises:
        EditorRequestError: There is no such frame.
        UnsupportedAssetError: The item's file has no frames, or is damaged.
        AssetDownloadError: The file could not be fetched.
    """
    is_single = storage_item.item_type == StorageItemType.IMAGE
    wanted = [frame_data.frame] if frame_data.frame == 0 or not is_single else []
    with ExitStack() as mine:
        for frame in frames_by_number(storage_item, asset, wanted, mine) if wanted else ():
            return frame.content
    raise EditorRequestError(f"{storage_item.name!r} has no frame {frame_data.frame}.", status=404)


def dep_data_lookup(lookup: Annotated[DataLookup, Depends(DataLookup.sharable)]) -> DataLookup:
    """Return a lookup of data rows and storage items by data hash. Deprecated: use the `StorageItem`."""
    return lookup


def dep_objects(frame_data: FrameData, lr: LabelRowV2) -> list[ObjectInstance]:
    """Return the objects that are selected, in the order of the request; an empty list if none are.

    Raises:
        EditorRequestError: One of them is not on the label row, for instance because it is not saved yet.
    """
    known = {instance.object_hash: instance for instance in lr.get_object_instances()}
    for object_hash in frame_data.object_hashes or ():
        if object_hash not in known:
            raise EditorRequestError(
                f"The label row has no object {object_hash[:80]!r}. Save the labels, then call the agent again.",
                status=404,
            )
    return [known[object_hash] for object_hash in frame_data.object_hashes or ()]


def dep_object_crops(
    filter_ontology_objects: Sequence[Object | str] | None = None,
    filter_titles: Sequence[str] | str | None = None,
    filter_object_instances: Sequence[ObjectInstance | str] | None = None,
) -> Callable[..., list[InstanceCrop]]:
    """Make a dependency that cuts labelled objects out of the frame on the screen: those selected, or all if none are.

    Called by hand, the dependency takes the frame data, the label row and, if it is there already, the frame's picture,
    which is fetched otherwise.

    Args:
        filter_ontology_objects: Only instances of these objects of the ontology, or of their feature hashes.
        filter_titles: Only instances of objects with these titles.
        filter_object_instances: Only these instances, or those of these object hashes.
    """
    is_wanted = wanted_instances(filter_ontology_objects or None, filter_titles, filter_object_instances)

    def get_object_crops(
        frame_data: FrameData,
        lr: LabelRowV2,
        frame: ImageArray | None = None,
        storage_item: StorageItem | None = None,
        asset: Asset | None = None,
    ) -> list[InstanceCrop]:
        number, selected = frame_data.frame, frame_data.object_hashes
        found = [
            instance
            for instance in lr.get_object_instances(filter_frames=number)
            if is_wanted(instance) and (not selected or instance.object_hash in selected)
        ]
        if not found:
            return []
        if frame is None:
            item = item_of(client_for(None), lr) if storage_item is None else storage_item
            frame = dep_single_frame(item, frame_data, asset)
        return crops_of(Frame(number, frame), found, lr.data_title)

    return needs_extra("vision")(get_object_crops)
