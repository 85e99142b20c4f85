"""Image groups, image sequences and DICOM series: items that consist of other items."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encord_agents.local import items
from encord_agents.local.assets import AssetStore
from encord_agents.local.database import Database
from encord_agents.local.items import NewUnit

RATE = 25
"""Pictures per second in the video of a sequence."""


def group(database: Database, assets: AssetStore, kind: str, title: str, uuids: Sequence[str], frames: int) -> NewUnit:
    """Make an item of other items, given by their uuids: ``imageGroup``, ``imageSequence`` or ``dicomSeries``.

    Raises:
        Refusal: 403, an item is unknown.
    """
    first = items.get(database, uuids)[0]
    if kind != "imageSequence":
        return NewUnit(title, kind, None, None, 0, first["width"], first["height"], frames)
    film = _film(assets, [row["digest"] for row in items.get(database, uuids)], first["width"], first["height"])
    digest = assets.put(film) if film is not None else None
    return NewUnit(
        title, kind, "video/mp4", digest, len(film or b""), first["width"], first["height"], frames, float(RATE),
        frames / RATE,
    )  # fmt: skip


def _film(assets: AssetStore, digests: Sequence[str], width: int, height: int) -> bytes | None:
    """Encode pictures as a video. Return ``None`` if PyAV is not installed."""
    try:
        import av
    except ImportError:
        return None
    from encord_agents.pictures import Picture

    even = max(width - width % 2, 2), max(height - height % 2, 2)  # most players require even sizes
    from_image: Any = av.VideoFrame.from_image
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *even, "yuv420p"
        for digest in digests:
            content = assets.get(digest)
            with Picture(content if isinstance(content, (bytes, Path)) else b"") as picture:
                frame = from_image(picture.image.convert("RGB").resize(even))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()
