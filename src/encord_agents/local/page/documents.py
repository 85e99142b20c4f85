"""Renders pages of PDF files as pictures."""

from __future__ import annotations

import json
import math
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from encord_agents.local.page.pictures import Kept
from encord_agents.pdfs import PDFIUM, open_pdf

if TYPE_CHECKING:
    from PIL.Image import Image

SCALE = 2.0
"""Pixels for each point of a page, which is 1/72 inch."""
MOST_PIXELS = 40_000_000
"""The most pixels of a page: larger pages are drawn at a lower resolution."""
MOST_PAGES = 2_000


def can_draw() -> bool:
    """Return True if pypdfium2 is installed. Without it, PDF files can only be downloaded."""
    return find_spec("pypdfium2") is not None


def sizes(kept: Kept, digest: str, source: Path | bytes | None) -> list[tuple[int, int]]:
    """Return the size of each rendered page in pixels; an empty list if the file cannot be read."""
    if source is None:
        return []
    return [(w, h) for w, h in json.loads(kept.get(("sizes", digest), lambda: _sizes(source)))]


def _sizes(source: Path | bytes) -> bytes:
    import pypdfium2

    found = []
    try:
        with PDFIUM, closing(open_pdf(source)) as document:
            for number in range(min(len(document), MOST_PAGES)):
                width, height = document.get_page_size(number)
                scale = _scale(width, height)
                found.append((max(1, round(width * scale)), max(1, round(height * scale))))
    except pypdfium2.PdfiumError:
        return b"[]"
    return json.dumps(found).encode()


def page(source: Path | bytes, number: int) -> Image:
    """Render a page.

    Raises:
        ValueError: There is no such page, or it cannot be rendered.
    """
    import pypdfium2

    try:
        with PDFIUM, closing(open_pdf(source)) as document, closing(document[number]) as found:
            width, height = found.get_size()
            with closing(found.render(scale=_scale(width, height))) as bitmap:
                image: Image = bitmap.to_pil().convert("RGB")
                return image
    except (pypdfium2.PdfiumError, IndexError) as error:
        raise ValueError(f"page {number} cannot be drawn") from error


def _scale(width: float, height: float) -> float:
    return min(SCALE, math.sqrt(MOST_PIXELS / max(1.0, width * height)))
