"""The pictures of a task, by number: a picture, the frames of a video, the pages of a PDF, the members of a group."""

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
"""Where nobody has said how large a picture is."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Frames:
    """The pictures of a task.

    Attributes:
        kind: ``image``, ``video``, ``film`` (a video that the browser plays by itself), ``pages``, ``group``; or how a
            file without pictures is shown: ``audio``, ``text``, ``file``, ``none``.
        count: How many there are; at least 1.
        sizes: The size of each in pixels, or one that all have.
        addresses: The address of each, or one with ``{k}`` in place of the number.
        names: The titles of a group's members.
    """

    kind: str
    count: int = 1
    sizes: Sequence[Size] = (UNKNOWN,)
    addresses: Sequence[str] = ()
    names: Sequence[str] = ()

    @property
    def is_drawn(self) -> bool:
        return self.kind in ("image", "video", "film", "pages", "group")

    @property
    def is_played(self) -> bool:
        """Whether there is more than a single picture."""
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
    """The pictures of a task."""
    item_type, version = task["item_type"], (task["digest"] or "")[:12]
    size = (task["width"] or UNKNOWN[0], task["height"] or UNKNOWN[1])
    media = f"/media/{task['item']}"
    if item_type in ("imageGroup", "imageSequence", "group"):
        return group(items.children(pages.service.database, task["item"]))
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


def group(members: Sequence[sqlite3.Row]) -> Frames:
    """The members of a group, those that are pictures or have one that stands for them."""
    return Frames(
        "group" if members else "none",
        max(1, len(members)),
        [(member["width"] or UNKNOWN[0], member["height"] or UNKNOWN[1]) for member in members] or (UNKNOWN,),
        [f"/media/{m['uuid']}/{_shown(m)}?v={(m['digest'] or '')[:12]}" for m in members],
        [member["title"] for member in members],
    )


def _shown(member: sqlite3.Row) -> str:
    if member["item_type"] == "video":
        return "frame/0"
    return "page/0" if member["item_type"] == "pdf" else "picture"
