"""Opening of PDF files, in one thread at a time, for runners and the local platform alike.

PDFium is not thread-safe, not even if each thread has a document of its own: two threads in it end the process.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import RLock
from typing import Any, Final

__all__ = ["PDFIUM", "open_pdf"]

PDFIUM: Final = RLock()
"""Held while anything is done with a document, its closing included. Reentrant, since the garbage collector may close
an abandoned document in the middle of the drawing of another."""

if hasattr(os, "register_at_fork"):  # not on Windows
    # A fork waits until a page is drawn: otherwise the child would have half a drawing, and a lock that stays held.
    os.register_at_fork(before=PDFIUM.acquire, after_in_parent=PDFIUM.release, after_in_child=PDFIUM.release)


def open_pdf(source: Path | bytes) -> Any:
    """Return an open document of pypdfium2, whose pages are drawn with the fields of its forms. Call it under `PDFIUM`.

    Raises:
        pypdfium2.PdfiumError: It is not a PDF, is damaged, or needs a password.
    """
    import pypdfium2

    document = pypdfium2.PdfDocument(source)
    try:
        document.init_forms()
    except BaseException:
        document.close()
        raise
    return document
