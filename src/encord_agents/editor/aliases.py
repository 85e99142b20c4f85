"""Annotations and dependencies that existing code imports from `encord_agents.gcp` and `encord_agents.aws`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeAlias

from encord.objects.ontology_object_instance import ObjectInstance
from encord.storage import StorageItem
from encord.user_client import EncordUserClient

from encord_agents.core.data_model import Frame, ImageArray, InstanceCrop
from encord_agents.core.dependencies import Depends
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

DAssetPath: TypeAlias = Annotated[Path, Depends(dep_asset)]
DEncordClient: TypeAlias = Annotated[EncordUserClient, Depends(dep_client)]
DObjectCrops: TypeAlias = Annotated[list[InstanceCrop], Depends(dep_object_crops())]
DObjectsInstances: TypeAlias = Annotated[list[ObjectInstance], Depends(dep_objects)]
DSingleFrame: TypeAlias = Annotated[ImageArray, Depends(dep_single_frame)]
DStorageItem: TypeAlias = Annotated[StorageItem, Depends(dep_storage_item)]
DVideoIterator: TypeAlias = Annotated[Iterator[Frame], Depends(dep_video_iterator)]
