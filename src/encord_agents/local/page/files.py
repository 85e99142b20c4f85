"""Serves the files for the pages: thumbnails, pictures, frames and original files. For our own pages only."""

from __future__ import annotations

import io
from html import escape
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from encord_agents.local import items
from encord_agents.local.origins import file_headers
from encord_agents.local.page import documents, frames, pictures, rendering
from encord_agents.local.page.pages import Pages
from encord_agents.local.trouble import Refusal

KEPT = {"Cache-Control": "private, max-age=86400, immutable"}
"""Cached for long, because each URL contains the digest of its file."""
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def static(pages: Pages, request: Request) -> Response:
    """Serve a static file of the page."""
    name = request.path_params["name"]
    if Path(name).suffix not in _TYPES or "/" in name:
        raise Refusal(404, "The page has no such file.")
    try:
        content = rendering.content(name)
    except (OSError, ValueError):  # a name that no file can have
        raise Refusal(404, "The page has no such file.") from None
    return Response(content, headers=KEPT, media_type=f"{_TYPES[Path(name).suffix]}; charset=utf-8")


def icon(pages: Pages, request: Request) -> Response:
    """Serve the icon that browsers request."""
    return Response(rendering.content("icon.svg"), headers=KEPT, media_type="image/svg+xml")


def thumbnail(pages: Pages, request: Request) -> Response:
    """Serve a small JPEG of a picture, a frame of a video, a page of a PDF, or a member of a group."""
    frame = _frame(request)
    members = items.children(pages.service.database, request.path_params["item"].lower())
    if members:
        parts = frames.group(pages, members).parts
        request.path_params["item"], frame = parts[min(frame, len(parts) - 1)]
    row, source = _file(pages, request)
    if row["mime_type"] == "application/pdf":
        number = frame
        return _jpeg(
            pages,
            ("thumbnail", row["digest"], number),
            lambda: pictures.jpeg(documents.page(source, number), pictures.THUMBNAIL),
        )
    if row["mime_type"] == "image/svg+xml":
        return as_it_is(pages, request)
    if (row["mime_type"] or "").startswith("video/"):
        return _jpeg(
            pages, ("thumbnail", row["digest"], frame), lambda: _decoded(pages, row, source, frame, small=True)
        )
    if not (row["mime_type"] or "").startswith("image/"):
        return card(pages, request)
    return _jpeg(pages, ("thumbnail", row["digest"]), lambda: pictures.thumbnail(source))


def card(pages: Pages, request: Request) -> Response:
    """Serve a placeholder for a file without a picture, with its title and type."""
    row = items.asset(pages.service.database, request.path_params["item"].lower())
    if row is None:
        raise Refusal(404, "There is no such file.")
    kind = (row["mime_type"] or "").partition("/")[0]
    lines = (row["title"].rpartition("/")[2][:40], {"audio": "sound", "text": "text"}.get(kind, "no picture"))
    text = "".join(
        f'<text x="320" y="{230 + 36 * index}" font-size="{24 - 4 * index}">{escape(line)}</text>'
        for index, line in enumerate(lines)
    )
    content = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 480" width="640" height="480"'
        ' font-family="sans-serif" text-anchor="middle" fill="#d6d6e0"><rect width="640" height="480" fill="#24242d"/>'
        f"{text}</svg>"
    )
    headers = file_headers("image/svg+xml") | {"Cache-Control": "no-store"}
    return Response(content.encode("utf-8", "replace"), headers=headers, media_type="image/svg+xml")


def picture(pages: Pages, request: Request) -> Response:
    """Serve a picture in full size, upright, in a format that browsers show."""
    row, source = _file(pages, request)
    shown = row["mime_type"] in pictures.SHOWN
    if shown and not (row["mime_type"] == "image/webp" and pictures.is_turned(source)):
        return as_it_is(pages, request)
    return _made(pages, ("picture", row["digest"]), lambda: pictures.shown(source), "image/png")


def frame(pages: Pages, request: Request) -> Response:
    """Serve exactly one frame of a video."""
    row, source = _file(pages, request)
    number = _frame(request)
    return _jpeg(pages, ("frame", row["digest"], number), lambda: _decoded(pages, row, source, number, small=False))


def page(pages: Pages, request: Request) -> Response:
    """Serve a page of a PDF file."""
    row, source = _file(pages, request)
    number = _frame(request)
    return _made(
        pages, ("page", row["digest"], number), lambda: pictures.png(documents.page(source, number)), "image/png"
    )


def as_it_is(pages: Pages, request: Request) -> Response:
    """Serve a file unchanged, but never as a page of this origin."""
    row, source = _file(pages, request)
    media_type = row["mime_type"] or "application/octet-stream"
    headers = file_headers(media_type) | KEPT
    if isinstance(source, Path):
        return FileResponse(source, headers=headers, media_type=media_type)
    return Response(source, headers=headers, media_type=media_type)


def _file(pages: Pages, request: Request) -> tuple[Any, Path | bytes]:
    row = items.asset(pages.service.database, request.path_params["item"].lower())
    content = pages.service.assets.get(row["digest"]) if row is not None and row["digest"] else None
    if row is None or content is None or row["broken"] == "missing":
        raise Refusal(404, "There is no such file.")
    return row, content


def _frame(request: Request) -> int:
    text = str(request.path_params.get("number", request.query_params.get("frame", "0")))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _decoded(pages: Pages, row: Any, source: Path | bytes, number: int, *, small: bool) -> bytes:
    found = pages.films.get(row["digest"], source if isinstance(source, Path) else lambda: io.BytesIO(source))
    return pictures.jpeg(found.frame(number), pictures.THUMBNAIL if small else None, quality=82 if small else 92)


def _jpeg(pages: Pages, key: object, make: Any) -> Response:
    return _made(pages, key, make, "image/jpeg")


def _made(pages: Pages, key: object, make: Any, media_type: str) -> Response:
    try:
        content = pages.kept.get(key, make)
    except (ImportError, ValueError, OSError) as error:
        raise Refusal(404, f"The file cannot be shown: {error}.") from error
    return Response(content, headers=KEPT, media_type=media_type)
