"""Ready-made dependencies for objects, pages, sound, text and members of groups. Import them from `dependencies`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, Final, TypeVar
from uuid import UUID

from encord.objects import LabelRowV2
from encord.objects.ontology_object import Object
from encord.objects.ontology_object_instance import ObjectInstance
from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.assets import VIDEOS, Asset, children_of
from encord_agents.core.audio import Sound
from encord_agents.core.data_model import Frame, InstanceCrop
from encord_agents.core.dependencies.wrappers import bare
from encord_agents.core.logs import get_logger
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.extras import Extra

__all__ = [
    "asset_or_own",
    "crops_of",
    "dep_audio",
    "dep_object_crops",
    "dep_objects",
    "dep_pdf_pages",
    "dep_text",
    "extra_of",
    "frames_by_number",
    "needs_extra",
    "of_child",
    "wanted_instances",
]

logger = get_logger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_EXTRA = "__encord_agents_extra__"

_NOT_TEXT: Final = VIDEOS | {
    StorageItemType.IMAGE,
    StorageItemType.AUDIO,
    StorageItemType.PDF,
    StorageItemType.DICOM_FILE,
    StorageItemType.NIFTI,
}


def needs_extra(extra: Extra) -> Callable[[F], F]:
    """Mark a dependency as needing an extra, without which agents that use it are refused at decoration."""

    def mark(function: F) -> F:
        setattr(function, _EXTRA, extra)
        return function

    return mark


def extra_of(dependency: Callable[..., Any]) -> Extra | None:
    """Return the extra that a dependency needs, if any."""
    extra: Extra | None = getattr(bare(dependency), _EXTRA, None)
    return extra


def asset_or_own(storage_item: StorageItem, asset: Asset | None, mine: ExitStack) -> Asset:
    """Return the engine's asset, which the engine closes, or make one that ``mine`` closes."""
    return asset if asset is not None else mine.enter_context(Asset(storage_item))


@needs_extra("pdf")
def dep_pdf_pages(storage_item: StorageItem, asset: Asset | None = None) -> Iterator[Iterator[Frame]]:
    """Yield an iterator over the pages of the task's PDF as pictures, in order, drawn one at a time at 150 dpi.

    Raises:
        UnsupportedAssetError: While iterating: it is not a PDF, is damaged, or needs a password.
        AssetDownloadError: The file could not be fetched.
    """
    from encord_agents.core.documents import iterate_pages

    with ExitStack() as mine:
        path = asset_or_own(storage_item, asset, mine).path()
        yield mine.enter_context(closing(iterate_pages(path, name=storage_item.name)))


@needs_extra("vision")
def dep_audio(storage_item: StorageItem, asset: Asset | None = None) -> Sound:
    """Return the sound of the task's audio or video file: float32 samples ``[channels, samples]``, and their rate.

    Raises:
        UnsupportedAssetError: It has no sound, or is damaged.
        AssetDownloadError: The file could not be fetched.
    """
    from encord_agents.core.audio import read_audio

    with ExitStack() as mine:
        return read_audio(asset_or_own(storage_item, asset, mine).path(), name=storage_item.name)


def dep_text(storage_item: StorageItem, asset: Asset | None = None) -> str:
    """Return the text of the task's file, decoded by its byte order mark, or as UTF-8, or else as Windows-1252.

    Raises:
        UnsupportedAssetError: The item is a picture, a video, sound, a PDF or medical data.
        AssetDownloadError: The file could not be fetched.
    """
    from encord_agents.core.documents import read_text

    if storage_item.item_type in _NOT_TEXT:
        raise UnsupportedAssetError(
            f"{storage_item.name!r} is of type {storage_item.item_type.value}, not text.",
            item=storage_item.name,
            mime_type=storage_item.mime_type,
        )
    with ExitStack() as mine:
        return read_text(asset_or_own(storage_item, asset, mine).path(), name=storage_item.name)


def dep_objects(label_row: LabelRowV2) -> list[ObjectInstance]:
    """Return the objects on the task's label row, on all frames."""
    return label_row.get_object_instances()


def of_child(child: int | str, dependency: F) -> F:
    """Return a ready-made dependency, applied to one member of the task's data group or image group.

    Use it as ``Annotated[ImageArray, Depends(of_child("front", dep_single_frame))]``.

    Args:
        child: The member's index from 0, its name, or its key in the layout of a data group.
        dependency: One that takes the storage item: `dep_asset`, `dep_single_frame`, `dep_video_iterator`,
            `dep_video_sampler`, `dep_pdf_pages`, `dep_audio`, `dep_text`, `dep_storage_item`.

    Raises:
        PrintableError: When it is used: there is no such member.
    """
    import inspect

    given: Any = dependency

    if inspect.isgeneratorfunction(dependency):

        def get(storage_item: StorageItem) -> Any:
            yield from given(_child(storage_item, child))
    else:

        def get(storage_item: StorageItem) -> Any:
            return given(_child(storage_item, child))

    get.__name__ = get.__qualname__ = f"of_child({child!r}, {getattr(dependency, '__name__', dependency)})"
    if (extra := extra_of(dependency)) is not None:
        needs_extra(extra)(get)
    made: Any = get
    return made  # type: ignore[no-any-return]


def _child(item: StorageItem, child: int | str) -> StorageItem:
    children = children_of(item)
    if isinstance(child, int):
        if 0 <= child < len(children):
            return children[child]
    else:
        named = [one for one in children if one.name == child]
        if len(named) != 1 and (uuid := _layout_of(item).get(child)) is not None:
            named = [one for one in children if one.uuid == uuid]
        if len(named) == 1:
            return named[0]
    names = ", ".join(repr(one.name) for one in children[:20])
    raise PrintableError(f"{item.name!r} has no single member {child!r}. It has {len(children)}: {names or 'none'}.")


def _layout_of(item: StorageItem) -> dict[str, UUID]:
    """Return the members of a data group by their keys in its layout, if it has keys. Costs a request."""
    if item.item_type != StorageItemType.GROUP:
        return {}
    group = item.get_summary().data_group
    return {} if group is None else {key: member.uuid for key, member in group.layout_contents.items()}


def dep_object_crops(
    filter_ontology_objects: Sequence[Object | str] | None = None,
    filter_titles: Sequence[str] | str | None = None,
    filter_object_instances: Sequence[ObjectInstance | str] | None = None,
) -> Callable[..., list[InstanceCrop]]:
    """Return a dependency that crops the labelled objects out of their frames: a list of `InstanceCrop`.

    Use it as ``Annotated[list[InstanceCrop], Depends(dep_object_crops())]``. A crop is the smallest upright rectangle
    of pixels that contains the object. Images, image groups, videos and PDFs are supported; an object that is on
    several frames has one crop per frame, in the order of the frames. Objects without an area (points, lines) have
    none, which is logged as a warning. All crops are in memory together, but only one frame at a time.

    Args:
        filter_ontology_objects: Only instances of these ontology objects, given as objects or feature hashes.
        filter_titles: Only instances of objects with these titles.
        filter_object_instances: Only these instances, given as instances or object hashes.
    """
    is_wanted = wanted_instances(filter_ontology_objects, filter_titles, filter_object_instances)

    def get_object_crops(
        label_row: LabelRowV2, storage_item: StorageItem, asset: Asset | None = None
    ) -> list[InstanceCrop]:
        return cut_out(filter(is_wanted, label_row.get_object_instances()), storage_item, asset)

    return needs_extra("vision")(get_object_crops)


def wanted_instances(
    ontology_objects: Sequence[Object | str] | None,
    titles: Sequence[str] | str | None,
    instances: Sequence[ObjectInstance | str] | None,
) -> Callable[[ObjectInstance], bool]:
    """Return a predicate for the objects that pass all of these filters; a filter of ``None`` accepts every object."""
    hashes = None if ontology_objects is None else {_hash(one) for one in ontology_objects}
    wanted_titles = None if titles is None else {titles} if isinstance(titles, str) else set(titles)
    wanted = None if instances is None else {one if isinstance(one, str) else one.object_hash for one in instances}

    def is_wanted(instance: ObjectInstance) -> bool:
        return (
            (hashes is None or instance.feature_hash in hashes)
            and (wanted_titles is None or instance.object_name in wanted_titles)
            and (wanted is None or instance.object_hash in wanted)
        )

    return is_wanted


def cut_out(instances: Iterable[ObjectInstance], storage_item: StorageItem, asset: Asset | None) -> list[InstanceCrop]:
    """Crop objects out of all their frames."""
    by_frame: dict[int, list[ObjectInstance]] = {}
    for instance in instances:
        for annotation in instance.get_annotations():
            by_frame.setdefault(annotation.frame, []).append(instance)
    crops = []
    with ExitStack() as mine:
        for frame in frames_by_number(storage_item, asset, sorted(by_frame), mine) if by_frame else ():
            crops += crops_of(frame, by_frame[frame.frame], storage_item.name)
    return crops


def crops_of(frame: Frame, instances: Iterable[ObjectInstance], name: str) -> list[InstanceCrop]:
    """Crop objects out of a frame that they are on; ``name`` is that of its data, for the log."""
    from encord_agents.core.vision import crop_to_instance

    crops = []
    for instance in instances:
        try:
            crops.append(crop_to_instance(frame, instance))
        except PrintableError as error:
            logger.warning("%r: %s It has no crop.", name, error)
    return crops


def frames_by_number(item: StorageItem, asset: Asset | None, numbers: list[int], mine: ExitStack) -> Iterator[Frame]:
    """Yield the frames with these ascending numbers from an item's file: a video, an image, an image group or a PDF."""
    if item.item_type == StorageItemType.IMAGE_GROUP:
        from encord_agents.core.groups import ImageGroup

        yield from ImageGroup(item).frames(numbers)
        return
    own = asset_or_own(item, asset, mine)
    if item.item_type == StorageItemType.PDF:
        from encord_agents.core.documents import iterate_pages
        from encord_agents.extras import require

        require("pdf", f"A crop of the PDF {item.name!r}")
        yield from iterate_pages(own.path(), numbers, name=item.name)
    elif item.item_type in VIDEOS:
        from encord_agents.core.video import sample_frames

        yield from sample_frames(own.path(), numbers, name=item.name)
    else:
        yield from (Frame(number, own.first_frame()) for number in numbers)


def _hash(one: Object | str) -> str:
    return one if isinstance(one, str) else one.feature_node_hash
