"""Content codings: the compression that a storage host says a file has, and its undoing, piece by piece.

No compression is asked for; but storage hosts send a file as it is stored, with the ``Content-Encoding`` that it was
stored with, which may be any text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

__all__ = ["CodingError", "Decoder", "coding_in"]

DECODED: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
OTHERS: Final = frozenset({"br", "compress", "x-compress", "dcb", "dcz", "zstd"})

PIECE: Final = 1 << 18
"""The most bytes of one piece."""

GROWTH: Final = 100
FREE_GROWTH: Final = 1 << 30
"""A file may decode to more bytes than this only if it does not grow more than so many times: a small file can hold one
that fills the disk."""


class CodingError(Exception):
    """A body cannot be decoded. The message is the reason."""


def coding_in(header: str) -> str | None:
    """Return the coding in a ``Content-Encoding`` header, ``gzip`` or ``deflate``; ``None`` if nothing is to be undone.

    Names that are no codings, such as ``utf-8`` or ``aws-chunked``, count for nothing.

    Raises:
        CodingError: It is another one.
    """
    names = [name.strip().lower() for name in header.split(",")]
    codings = [name for name in names if name in DECODED or name in OTHERS]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] in OTHERS:
        raise CodingError(
            f"it is stored with the Content-Encoding {', '.join(codings)}, which cannot be decoded: "
            "store it without one, or with gzip"
        )
    return DECODED[codings[0]]


class Decoder:
    """Decodes a body, whose blocks it is given in order.

    Raises:
        CodingError: By all methods.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream = _stream()
        self._taken = self._given = 0

    def decode(self, block: bytes) -> Iterator[bytes]:
        """Yield the pieces that come out when this block goes in."""
        self._taken += len(block)
        while True:
            try:
                piece = self._stream.decompress(block, PIECE)
            except zlib.error:
                raise CodingError(f"it is said to be compressed ({self._coding}), and cannot be decompressed") from None
            self._given += len(piece)
            if self._given > max(FREE_GROWTH, GROWTH * self._taken):
                raise CodingError(f"it is compressed ({self._coding}), and grows more than {GROWTH} times")
            if piece:
                yield piece
            block = self._stream.unconsumed_tail
            if self._stream.eof and self._stream.unused_data:  # files of gzip may be joined
                block = self._stream.unused_data
                self._stream = _stream()
            elif not block and len(piece) < PIECE:
                return

    def end(self) -> None:
        """Check that the body was whole."""
        if self._taken and not self._stream.eof:
            raise CodingError(f"it is compressed ({self._coding}), and ends too early")


def _stream() -> zlib._Decompress:
    return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # of gzip or zlib, whichever the header shows
