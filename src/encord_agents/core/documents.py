"""Documents: the pages of PDF files, rendered as images by pypdfium2, and the text of text files."""

from __future__ import annotations

import codecs
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.logs import get_logger
from encord_agents.core.sampling import checked_number
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.extras import needing
from encord_agents.pdfs import PDFIUM, open_pdf

__all__ = ["DPI", "count_pages", "iterate_pages", "read_text"]

logger = get_logger(__name__)

DPI = 150.0
"""Dots per inch of a rendered page: ten-point text is 21 pixels high."""

MAX_PAGE_PIXELS = 1 << 27
"""The most pixels of a rendered page: a file may claim that its pages are as large as a field."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def iterate_pages(
    path: Path, numbers: Iterable[int] | None = None, *, dpi: float = DPI, name: str | None = None
) -> Generator[Frame, None, None]:
    """Yield pages as images: RGB, uint8, ``[height, width, 3]``. One is in memory at a time.

    Filled fields of forms are drawn. A process draws one page at a time, whatever the number of its threads.

    Args:
        path: The file.
        numbers: From 0, in any order. Default: all pages.
        dpi: Dots per inch.
        name: The name of the file in error messages. Default: the file's name.

    Raises:
        UnsupportedAssetError: The file is not a PDF, is damaged, or needs a password.
        PrintableError: There is no such page, or a number is negative or not whole.
    """
    called = name or path.name
    with PDFIUM:
        document = _opened(path, called)
        count = len(document)
    try:
        for number in range(count) if numbers is None else (checked_number(given, "page") for given in numbers):
            if number >= count:
                raise PrintableError(f"{called!r} has {count} pages (0 to {count - 1}), so there is no page {number}.")
            yield Frame(number, _drawn(document, number, dpi, called))
    finally:
        with PDFIUM:
            document.close()


def _opened(path: Path, called: str) -> Any:
    with needing("pdf", "Reading a PDF"):
        import pypdfium2 as pdfium

    try:
        return open_pdf(path)
    except pdfium.PdfiumError as error:
        raise UnsupportedAssetError(f"{called!r} cannot be read as a PDF: {error}.", item=called) from error


def _drawn(document: Any, number: int, dpi: float, called: str) -> ImageArray:
    with needing("pdf", "Drawing a page"):
        import numpy as np
        import pypdfium2 as pdfium

    try:
        with PDFIUM, closing(document[number]) as page:
            width, height = page.get_size()
            if width * height * (dpi / 72) ** 2 > MAX_PAGE_PIXELS:
                raise UnsupportedAssetError(
                    f"Page {number} of {called!r} is too large to be drawn at {dpi:g} dpi.", item=called
                )
            with closing(page.render(scale=dpi / 72, rev_byteorder=True)) as bitmap:
                return np.array(bitmap.to_numpy()[:, :, :3])  # a copy, since closing the bitmap frees its memory
    except pdfium.PdfiumError as error:
        raise UnsupportedAssetError(f"Page {number} of {called!r} cannot be drawn: {error}.", item=called) from error


def count_pages(path: Path, *, name: str | None = None) -> int:
    """Return the number of pages.

    Raises:
        UnsupportedAssetError: The file is not a PDF, is damaged, or needs a password.
    """
    with PDFIUM, closing(_opened(path, name or path.name)) as document:
        return len(document)


def read_text(path: Path, *, name: str | None = None) -> str:
    """Return the text of a file, decoded by its byte order mark, or as UTF-8 or, if that fails, as Windows-1252.

    Args:
        path: The file.
        name: The name of the file in the log. Default: the file's name.
    """
    content = path.read_bytes()
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        logger.warning(
            "The text %r is not UTF-8 (byte %d); it is read as Windows-1252.", name or path.name, error.start
        )
        return content.decode("cp1252", "replace")
