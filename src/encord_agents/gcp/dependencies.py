"""Annotations and dependencies for editor agents; existing code imports them from here."""

from __future__ import annotations

from encord_agents.editor.aliases import (
    DAssetPath,
    DEncordClient,
    DObjectCrops,
    DObjectsInstances,
    DSingleFrame,
    DStorageItem,
    DVideoIterator,
)
from encord_agents.editor.dependencies import (
    dep_asset,
    dep_client,
    dep_object_crops,
    dep_objects,
    dep_single_frame,
    dep_storage_item,
    dep_video_iterator,
)

__all__ = [
    "DAssetPath",
    "DEncordClient",
    "DObjectCrops",
    "DObjectsInstances",
    "DSingleFrame",
    "DStorageItem",
    "DVideoIterator",
    "dep_asset",
    "dep_client",
    "dep_object_crops",
    "dep_objects",
    "dep_single_frame",
    "dep_storage_item",
    "dep_video_iterator",
]
