"""Ready-made dependencies, for ``Annotated[T, Depends(...)]`` and for calling by hand.

Under a runner, their parameters are supplied, including prefetched files. When calling them by hand, leave out the
parameters that have a default: each function then supplies them itself, and removes the files it downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol
from uuid import UUID

from encord.exceptions import EncordException
from encord.objects import LabelRowV2
from encord.orm.storage import StorageItemType
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from encord.workflow.common import WorkflowTask
from typing_extensions import deprecated

from encord_agents.core.assets import VIDEOS, Asset, image_of_group
from encord_agents.core.client import get_user_client
from encord_agents.core.data_lookup import INSTEAD, DataLookup
from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.dependencies.models import Depends  # existing code imports it from here too, as it does `Frame`
from encord_agents.core.groups import ImageGroup, folder_of
from encord_agents.core.tracebacks import add_note
from encord_agents.core.utils import download_asset, get_frame_count  # and these two
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.tasks.media import (
    asset_or_own,
    dep_audio,
    dep_object_crops,
    dep_objects,
    dep_pdf_pages,
    dep_text,
    needs_extra,
    of_child,
)
from encord_agents.tasks.twins import TwinRows

if TYPE_CHECKING:
    from encord_agents.core.sampling import VideoSampler

__all__ = [
    "DataLookup",
    "Depends",
    "Frame",
    "FrameSampler",
    "OtherProjects",
    "Twin",
    "dep_asset",
    "dep_audio",
    "dep_client",
    "dep_data_lookup",
    "dep_object_crops",
    "dep_objects",
    "dep_pdf_pages",
    "dep_single_frame",
    "dep_storage_item",
    "dep_text",
    "dep_twin_label_row",
    "dep_video_iterator",
    "dep_video_sampler",
    "download_asset",
    "get_frame_count",
    "get_user_client",
    "of_child",
]

_FOLDERS: Final = (StorageItemType.IMAGE_GROUP, StorageItemType.GROUP, StorageItemType.DICOM_SERIES)


def dep_client(client: EncordUserClient | None = None) -> EncordUserClient:
    """Return the authenticated client: the runner's own or, by hand, one made from the environment.

    Raises:
        CredentialsError: By hand only: there is no key, or it cannot be used.
    """
    return client if client is not None else get_user_client()


def dep_storage_item(storage_item: StorageItem) -> StorageItem:
    """Return the task's storage item: its name, metadata and signed URL. (Asking for the type does the same.)"""
    return storage_item


def dep_asset(storage_item: StorageItem, asset: Asset | None = None) -> Iterator[Path]:
    """Yield the path of the task's file: the image, the video, the document. The file is removed afterwards.

    An image group, a data group or a DICOM series has no file of its own: the path is then a folder with the files of
    its members, ``00000-front.jpg``, ``00001-back.jpg``, ...

    Raises:
        UnsupportedAssetError: The item has no file.
        AssetDownloadError: The file could not be fetched.
    """
    if storage_item.item_type in _FOLDERS:
        yield from folder_of(storage_item)
        return
    with ExitStack() as mine:
        yield asset_or_own(storage_item, asset, mine).path()


@needs_extra("vision")
def dep_single_frame(storage_item: StorageItem, asset: Asset | None = None) -> ImageArray:
    """Return the task's image, or the first frame of its video or image group: RGB, uint8, ``[height, width, 3]``.

    Raises:
        UnsupportedAssetError: The item has no file of its own, or its file has no frames or is damaged.
        AssetDownloadError: The file could not be fetched.
    """
    with ExitStack() as mine:
        if storage_item.item_type == StorageItemType.IMAGE_GROUP:
            storage_item, asset = image_of_group(storage_item, 0), None
        return asset_or_own(storage_item, asset, mine).first_frame()


@needs_extra("vision")
def dep_video_iterator(storage_item: StorageItem, asset: Asset | None = None) -> Iterator[Iterator[Frame]]:
    """Yield an iterator over all frames of the task's video or image group, in order, decoded one at a time.

    Raises:
        UnsupportedAssetError: The item is not a video. While iterating: its file is damaged.
        AssetDownloadError: The file could not be fetched.
    """
    from encord_agents.core.video import iterate_frames

    if storage_item.item_type == StorageItemType.IMAGE_GROUP:
        yield ImageGroup(storage_item).frames()
        return
    with ExitStack() as mine:
        path = _video(storage_item, asset, mine)
        yield iterate_frames(path, name=storage_item.name)


class FrameSampler(Protocol):
    """Samples frames of a video, or images of a group, any number of times."""

    def __call__(
        self, frame_indexer: float | Iterable[int] | None = None, *, seconds: float | None = None
    ) -> Iterable[Frame]:
        """Return a share of the frames, the frames with the given numbers, or one frame per ``seconds``."""
        ...


@needs_extra("vision")
def dep_video_sampler(storage_item: StorageItem, asset: Asset | None = None) -> Iterator[FrameSampler]:
    """Yield a function that samples the task's video or image group, any number of times.

    Call it with a number above 0 and up to 1 for that share of the frames, evenly spaced from frame 0 on (0.1 is every
    tenth frame); with an iterable of frame numbers for exactly those frames, in the given order and as often as listed;
    or with ``seconds=0.5`` for the frames that are shown at 0 s, 0.5 s, 1 s, and so on. Numbers beyond the last frame
    are left out, with a warning in the log.

    Raises:
        UnsupportedAssetError: The item is not a video. While iterating: its file is damaged.
        AssetDownloadError: The file could not be fetched.
        PrintableError: Raised by the sampler: the share or the seconds are out of range, a frame number is negative,
            or ``seconds`` is used on images.
    """
    from encord_agents.core.sampling import VideoSampler

    name = storage_item.name
    if storage_item.item_type == StorageItemType.IMAGE_GROUP:
        yield _sampler(ImageGroup(storage_item), name)
        return
    with ExitStack() as mine:
        yield _sampler(VideoSampler(_video(storage_item, asset, mine), name=name), name)


def _sampler(source: ImageGroup | VideoSampler, name: str) -> FrameSampler:
    def sample(frame_indexer: float | Iterable[int] | None = None, *, seconds: float | None = None) -> Iterable[Frame]:
        if (frame_indexer is None) == (seconds is None):
            raise PrintableError(
                "Give the sampler one of these: a share of the frames, numbers of frames, or seconds=..."
            )
        if seconds is not None:
            if isinstance(source, ImageGroup):
                raise PrintableError(f"{name!r} is a group of images, which have no time to sample by.")
            return source.seconds(float(seconds))
        if isinstance(frame_indexer, float | Real):  # numpy's numbers are Real
            return source.share(float(frame_indexer))
        assert frame_indexer is not None
        return source.frames(frame_indexer)

    return sample


def _video(storage_item: StorageItem, asset: Asset | None, mine: ExitStack) -> Path:
    """Return the path of a video's file.

    Raises:
        UnsupportedAssetError: The item is not a video.
    """
    kind = storage_item.item_type
    if kind not in VIDEOS and Asset.exists_for(storage_item):
        raise UnsupportedAssetError(
            f"{storage_item.name!r} is of type {kind.value}, not a video.\n"
            "Ask for the picture, Annotated[ImageArray, Depends(dep_single_frame)], or for the file, "
            "Annotated[Path, Depends(dep_asset)].",
            item=storage_item.name,
            mime_type=storage_item.mime_type,
        )
    return asset_or_own(storage_item, asset, mine).path()


@deprecated(f"dep_data_lookup is deprecated. {INSTEAD}")
def dep_data_lookup(
    lookup: Annotated[DataLookup, Depends(DataLookup.sharable, scope="run")],
) -> DataLookup:
    """Return a lookup of data rows and storage items by data hash, in the project's datasets, for the whole run."""
    return lookup


@dataclass(frozen=True)
class OtherProjects:
    """Opens projects other than the run's own, with the run's client, and waits out outages as the run does.

    Run-scoped dependencies may ask for it by type.

    Attributes:
        open: Takes a project's uuid and returns the project. Raises the same errors as opening the run's own project.
    """

    open: Callable[[UUID], Project]


@dataclass(frozen=True)
class Twin:
    """The same data unit in another project.

    Attributes:
        label_row: Its label row there.
        task: Its task there, if ``include_task`` is set and it has one.
    """

    label_row: LabelRowV2
    task: WorkflowTask | None = None


def dep_twin_label_row(
    twin_project_hash: str | UUID, init_labels: bool = True, include_task: bool = False
) -> Callable[..., Twin | None]:
    """Return a dependency that supplies the task's data unit in another project, or ``None`` if it is not there.

    Use it as ``Annotated[Twin | None, Depends(dep_twin_label_row(twin_project_hash="..."))]``. Twins are matched by
    data hash, on the same branch or, if there is none, on main. The twins of tasks that were loaded together are
    fetched together, at most a minute before they are needed. A project that cannot be opened ends the run, like other
    set-up errors; an outage is waited out. When called by hand, it is opened with a client made from the environment.

    Args:
        twin_project_hash: The other project.
        init_labels: Load the twin's labels. Default: yes.
        include_task: Look up the twin's task too, which costs one more request. Default: no.

    Raises:
        PrintableError: ``twin_project_hash`` is not a uuid.
    """
    try:
        project_hash = UUID(str(twin_project_hash))
    except ValueError:
        raise PrintableError(f"twin_project_hash must be a project's uuid, not {str(twin_project_hash)!r}.") from None

    # Run-scoped, so that a failure is a set-up error: the other project concerns all tasks alike.
    def twin_rows(others: OtherProjects) -> TwinRows:
        try:
            return TwinRows(others.open(project_hash), init_labels=init_labels)
        except (EncordException, PrintableError) as error:
            add_note(
                error,
                f"This happened while the twin project {project_hash} was opened, for dep_twin_label_row: check its "
                "hash, and that the key's user is a member of it.",
            )
            raise

    @cache
    def twin_rows_by_hand() -> TwinRows:
        client = get_user_client()
        return twin_rows(OtherProjects(lambda other: client.get_project(str(other))))

    def get_twin_label_row(
        lr_original: LabelRowV2, twins: TwinRows | None = Depends(twin_rows, scope="run")
    ) -> Twin | None:
        if not isinstance(twins, TwinRows):  # called by hand: the default is the `Depends` marker
            twins = twin_rows_by_hand()
        twin = twins.of(lr_original)
        if twin is None:
            return None
        return Twin(twin, _find_task(twins.project, twin) if include_task else None)

    return get_twin_label_row


def _find_task(project: Project, row: LabelRowV2) -> WorkflowTask | None:
    node = row.workflow_graph_node
    if node is None:
        return None
    for stage in project.workflow.stages:
        if str(stage.uuid) == str(node.uuid) and hasattr(stage, "get_tasks"):
            for task in stage.get_tasks(data_hash=str(row.data_hash)):
                return task
    return None
