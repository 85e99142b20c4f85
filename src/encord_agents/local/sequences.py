"""Items that consist of others: image groups, image sequences, DICOM series and data groups."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from encord_agents.local import items
from encord_agents.local.assets import AssetStore
from encord_agents.local.items import NewUnit
from encord_agents.local.service import Given, Service, mapping, uuid
from encord_agents.local.trouble import malformed

RATE = 25
"""Pictures per second in the video of a sequence."""


def group(assets: AssetStore, kind: str, title: str, members: Sequence[NewUnit]) -> NewUnit:
    """Return an item of others: an ``imageGroup``, ``imageSequence`` or ``dicomSeries``, as large as its first member.

    Encoding the video of a sequence takes long, so this is not to be called in a transaction.

    Raises:
        ValueError: A picture of a sequence cannot be read.
    """
    first, frames = members[0], sum(member.frames or 1 for member in members)
    unit = NewUnit(title, kind, None, None, 0, first.width, first.height, frames)
    if kind != "imageSequence":
        return unit
    film = _film(assets, members)
    digest = assets.put(film) if film is not None else None
    return NewUnit(
        title, kind, "video/mp4", digest, len(film or b""), first.width, first.height, frames, float(RATE),
        frames / RATE,
    )  # fmt: skip


def _film(assets: AssetStore, members: Sequence[NewUnit]) -> bytes | None:
    """Encode pictures as a video, as runners see them. Return ``None`` if PyAV is not installed."""
    try:
        import av
        from PIL import Image
    except ImportError:
        return None
    target, even = io.BytesIO(), (0, 0)
    from_image: Any = av.VideoFrame.from_image
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=RATE)
        for member in members:
            image = Image.fromarray(_pixels(assets, member))
            if not any(even):
                width, height = members[0].width or image.width, members[0].height or image.height
                even = max(width - width % 2, 2), max(height - height % 2, 2)  # most players require even sizes
                stream.width, stream.height, stream.pix_fmt = *even, "yuv420p"
            container.mux(stream.encode(from_image(image.resize(even))))
        container.mux(stream.encode(None))
    return target.getvalue()


def _pixels(assets: AssetStore, member: NewUnit) -> Any:
    from encord_agents.pictures import Picture

    content = None if member.digest is None else assets.get(member.digest)
    if not isinstance(content, (bytes, Path)):
        raise ValueError(f"{member.title} has no file")
    try:
        with Picture(content) as picture:
            return picture.pixels()
    except ValueError as error:
        raise ValueError(f"{member.title} cannot be read as a picture: {error}") from None


def group_items(service: Service, folder: str, given: Sequence[Any]) -> list[str]:
    """Make data groups of items, each with its layout, all or none. Return their uuids.

    Raises:
        Refusal: 400, a layout is not valid; 403, an item is unknown.
    """
    made: list[str] = []
    with service.database.write() as connection:
        for entry in given:
            group = Given(entry, "A group")
            contents, kind = group.get("layout_contents"), group.get("layout_type")
            if kind == "custom":
                keyed = {str(key): uuid(value, "An item") for key, value in mapping(contents, "layoutContents").items()}
            elif kind in ("default-grid", "default-list") and isinstance(contents, list):
                keyed = {str(index): uuid(value, "An item") for index, value in enumerate(contents)}
            else:
                raise malformed("A group has a layoutType of custom, default-grid or default-list, and layoutContents.")
            members = items.get(service.database, list(keyed.values()))
            if not members or len(set(keyed.values())) != len(keyed):
                raise malformed("A group consists of different items, of at least one.")
            if any(row["item_type"] == "group" for row in members):
                raise malformed("A group cannot consist of groups.")
            layout = {
                "layout": group.get("layout"), "settings": group.get("settings") or {},
                "timeline": group.get("timeline") or [], "type": kind,
            }  # fmt: skip
            keys = list(keyed)
            for key in (*_keys(layout["layout"]), *(group.list("timeline") or ())):
                if key not in keys:
                    raise malformed(f"A group's layout names {str(key)[:100]!r}, which its layoutContents lack.")
            unit = NewUnit(
                group.text("name") or f"Group of {members[0]['title']}", "group", None, None, 0,
                frames=1, layout=orjson.dumps(layout).decode(),
                metadata=orjson.dumps(group.get("client_metadata") or {}).decode(),
            )  # fmt: skip
            row = items.insert_group(connection, folder, unit, keyed.values(), keys=keys)
            made += items.uuids_of(connection, [row])
    return made


def _keys(layout: Any) -> Iterator[Any]:
    """Yield the keys of a layout's tiles; a tile has one or a list of them, and a grid consists of two layouts."""
    if not isinstance(layout, dict):
        return
    if "key" in layout:
        yield layout["key"]
    if isinstance(layout.get("keys"), list):
        yield from layout["keys"]
    yield from _keys(layout.get("first"))
    yield from _keys(layout.get("second"))
