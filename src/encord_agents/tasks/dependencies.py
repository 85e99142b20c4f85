"""Ready-made dependencies, for ``Annotated[T, Depends(...)]`` and for calling by hand.

Under a runner, what their parameters ask for is supplied, files that were downloaded ahead included. By hand, leave
out the parameters that have a default: each function then sees to itself, and removes what it downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from encord.workflow import AgentStage, AnnotationStage, FinalStage, ReviewStage
from encord.workflow.common import WorkflowTask

from encord_agents.core.assets import Asset
from encord_agents.core.client import get_user_client
from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.exceptions import PrintableError

__all__ = [
    "Twin",
    "dep_asset",
    "dep_client",
    "dep_single_frame",
    "dep_storage_item",
    "dep_twin_label_row",
    "dep_video_iterator",
    "dep_video_sampler",
]


def dep_client(client: EncordUserClient | None = None) -> EncordUserClient:
    """The authenticated client: the runner's own or, by hand, one made from the environment.

    Raises:
        CredentialsError: By hand only: there is no key, or it cannot be used.
    """
    return client if client is not None else get_user_client()


def dep_storage_item(storage_item: StorageItem) -> StorageItem:
    """The task's storage item: its name, its metadata, its signed URL. (Asking for the type does the same.)"""
    return storage_item


def dep_asset(storage_item: StorageItem, asset: Asset | None = None) -> Iterator[Path]:
    """The path of the task's file: the image, the video, the document. Removed afterwards.

    Raises:
        UnsupportedAssetError: The item has no file of its own, as an image group has not.
        AssetDownloadError: The file could not be fetched.
    """
    with ExitStack() as mine:
        yield _asset_or_own(storage_item, asset, mine).path()


def dep_single_frame(storage_item: StorageItem, asset: Asset | None = None) -> ImageArray:
    """The task's image, or the first frame of its video: RGB, uint8, ``[height, width, 3]``.

    Raises:
        UnsupportedAssetError: The item has no file of its own, or its file has no frames or is damaged.
        AssetDownloadError: The file could not be fetched.
    """
    with ExitStack() as mine:
        return _asset_or_own(storage_item, asset, mine).first_frame()


def dep_video_iterator(storage_item: StorageItem, asset: Asset | None = None) -> Iterator[Iterator[Frame]]:
    """All frames of the task's video, in order, one at a time.

    Raises:
        UnsupportedAssetError: The item has no file of its own. While iterating: it is no video, or damaged.
        AssetDownloadError: The file could not be fetched.
    """
    from encord_agents.core.video import iterate_frames

    with ExitStack() as mine:
        path = _asset_or_own(storage_item, asset, mine).path()
        yield iterate_frames(path, name=storage_item.name)


def dep_video_sampler(
    storage_item: StorageItem, asset: Asset | None = None
) -> Iterator[Callable[[float | Sequence[int]], Iterable[Frame]]]:
    """A function that samples the task's video, as often as you like.

    Give it a number above 0 and up to 1 for that share of the frames, evenly spaced from frame 0 on (0.1 is every
    tenth frame), or a sequence of frame numbers for just those, in ascending order.

    Raises:
        UnsupportedAssetError: The item has no file of its own. While iterating: it is no video, or damaged.
        AssetDownloadError: The file could not be fetched.
        PrintableError: By the sampler: the share is out of range, or there is no such frame.
    """
    from encord_agents.core.video import iterate_frames, sample_frames

    with ExitStack() as mine:
        path = _asset_or_own(storage_item, asset, mine).path()

        def sample(share_or_frames: float | Sequence[int]) -> Iterable[Frame]:
            if isinstance(share_or_frames, Sequence):
                return sample_frames(path, share_or_frames, name=storage_item.name)
            share = share_or_frames
            if not 0.0 < share <= 1.0:
                raise PrintableError(f"The share of frames to sample must be above 0 and at most 1, not {share!r}.")
            return iterate_frames(path, step=math.floor(1.0 / share + 1e-9), name=storage_item.name)

        yield sample


def _asset_or_own(storage_item: StorageItem, asset: Asset | None, mine: ExitStack) -> Asset:
    """The engine's asset, which the engine closes, or one that ``mine`` closes."""
    return asset if asset is not None else mine.enter_context(Asset(storage_item))


@dataclass(frozen=True)
class Twin:
    """The same data unit in another project.

    Attributes:
        label_row: Its label row there.
        task: Its task there, where ``include_task`` asked for it and it has one.
    """

    label_row: LabelRowV2
    task: WorkflowTask | None = None


def dep_twin_label_row(
    twin_project_hash: str | UUID, init_labels: bool = True, include_task: bool = False
) -> Callable[..., Twin | None]:
    """A dependency that finds the task's data unit in another project; ``None`` where it is not there.

    Use it as ``Annotated[Twin | None, Depends(dep_twin_label_row(twin_project_hash="..."))]``. Twins are matched by
    data hash, on the other project's main branch.

    Args:
        twin_project_hash: The other project.
        init_labels: Whether to load the twin's labels.
        include_task: Whether to look up the twin's task too, which costs a request more.

    Raises:
        PrintableError: ``twin_project_hash`` is no uuid.
    """
    try:
        project_hash = str(UUID(str(twin_project_hash)))
    except ValueError:
        raise PrintableError(f"twin_project_hash must be a project's uuid, not {str(twin_project_hash)!r}.") from None
    # By client, which is kept so that its id stays its own. By hand there is none, and one is made once.
    projects: dict[int, tuple[EncordUserClient | None, Project]] = {}

    def get_twin_label_row(label_row: LabelRowV2, client: EncordUserClient | None = None) -> Twin | None:
        if id(client) not in projects:
            projects[id(client)] = (client, dep_client(client).get_project(project_hash))
        _, project = projects[id(client)]
        data_hash = str(label_row.data_hash)
        rows = [row for row in project.list_label_rows_v2(data_hashes=[data_hash]) if str(row.data_hash) == data_hash]
        if not rows:
            return None
        (twin, *_) = rows
        if init_labels:
            twin.initialise_labels()
        return Twin(twin, _find_task(project, twin) if include_task else None)

    return get_twin_label_row


def _find_task(project: Project, row: LabelRowV2) -> WorkflowTask | None:
    node = row.workflow_graph_node
    if node is None:
        return None
    for stage in project.workflow.stages:
        if str(stage.uuid) == str(node.uuid) and isinstance(
            stage, AgentStage | AnnotationStage | ReviewStage | FinalStage
        ):
            for task in stage.get_tasks(data_hash=str(row.data_hash)):
                return task
    return None
