"""The pictures of a task by number: a picture, frames of a video, pages of a PDF, or those of a group's members."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encord_agents.local import items
from encord_agents.local.page import documents, film

if TYPE_CHECKING:
    from encord_agents.local.page.pages import Pages

UNKNOWN = (640, 480)
"""Stands for the size of a picture if it is not known."""

MOST_OF_A_MEMBER = 1_000
"""The most frames that are shown of a video within a group."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Frames:
    """The pictures of a task.

    Attributes:
        kind: ``image``, ``video``, ``film`` (a video file that the browser plays), ``pages``, ``group``; or how a file
            without pictures is shown: ``audio``, ``text``, ``file``, ``none``.
        count: The number of pictures; at least 1.
        sizes: The size of each in pixels, or a single size that all have.
        addresses: The URL of each, or a single URL with ``{k}`` in place of the number.
        parts: For a group: for each picture, the uuid of its member, and the picture's number in it.
    """

    kind: str
    count: int = 1
    sizes: Sequence[Size] = (UNKNOWN,)
    addresses: Sequence[str] = ()
    parts: Sequence[tuple[str, int]] = ()

    @property
    def is_drawn(self) -> bool:
        return self.kind in ("image", "video", "film", "pages", "group")

    @property
    def is_played(self) -> bool:
        """True if there is more than a single picture."""
        return self.is_drawn and self.kind != "image"

    @property
    def noun(self) -> str:
        return {"pages": "page", "group": "picture"}.get(self.kind, "frame")

    def size(self, number: int) -> Size:
        return self.sizes[min(number, len(self.sizes) - 1)]

    def address(self, number: int) -> str:
        if len(self.addresses) > 1:
            return self.addresses[number]
        return self.addresses[0].replace("{k}", str(number)) if self.addresses else ""


def of(pages: Pages, task: sqlite3.Row) -> Frames:
    """Return the pictures of a task."""
    item_type, version = task["item_type"], (task["digest"] or "")[:12]
    size = (task["width"] or UNKNOWN[0], task["height"] or UNKNOWN[1])
    media = f"/media/{task['item']}"
    if item_type in ("imageGroup", "imageSequence", "group"):
        return group(pages, items.children(pages.service.database, task["item"]))
    if not task["digest"]:
        return Frames("none")
    if item_type == "image":
        return Frames("image", 1, (size,), (f"{media}/picture?v={version}",))
    if item_type == "video":
        count = max(1, task["frames"] or 1)
        if film.can_decode():
            return Frames("video", count, (size,), (f"{media}/frame/{{k}}?v={version}",))
        return Frames("film", count, (size,), (f"{media}/file?v={version}",))
    if item_type == "pdf" and documents.can_draw():
        found = documents.sizes(pages.kept, task["digest"], pages.service.assets.get(task["digest"]))
        if found:
            return Frames("pages", len(found), found, (f"{media}/page/{{k}}?v={version}",))
    return Frames({"audio": "audio", "plainText": "text"}.get(item_type, "file"))


def group(pages: Pages, members: Sequence[sqlite3.Row]) -> Frames:
    """Return the pictures of a group's members, one after the other; members without pictures have a card."""
    found = [(member["uuid"], *one) for member in members for one in _pictures(pages, member)]
    if not found:
        return Frames("none")
    return Frames(
        "group",
        len(found),
        [size for _, _, size, _ in found],
        [address for _, _, _, address in found],
        [(uuid, number) for uuid, number, _, _ in found],
    )


def _pictures(pages: Pages, member: sqlite3.Row) -> list[tuple[int, Size, str]]:
    """Return the pictures of a member: the number, size and URL of each."""
    kind, digest, media = member["item_type"], member["digest"], f"/media/{member['uuid']}"
    version = f"?v={(digest or '')[:12]}"
    size = (member["width"] or UNKNOWN[0], member["height"] or UNKNOWN[1])
    if digest and kind == "image":
        return [(0, size, f"{media}/picture{version}")]
    if digest and kind == "video" and film.can_decode():
        count = min(member["frames"] or 1, MOST_OF_A_MEMBER)
        return [(number, size, f"{media}/frame/{number}{version}") for number in range(count)]
    if digest and kind == "pdf" and documents.can_draw():
        sizes = documents.sizes(pages.kept, digest, pages.service.assets.get(digest))
        if sizes:
            return [(number, one, f"{media}/page/{number}{version}") for number, one in enumerate(sizes)]
    return [(0, UNKNOWN, f"{media}/card{version}")]
