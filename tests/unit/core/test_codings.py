"""The codings that files are stored with, undone piece by piece."""

from __future__ import annotations

import gzip
import zlib

import pytest

from encord_agents.core import codings
from encord_agents.core.codings import PIECE, CodingError, Decoder, coding_in

CONTENT = b"".join(b"%d words\n" % number for number in range(100_000))


def decoded(coding: str, *blocks: bytes) -> bytes:
    decoder = Decoder(coding)
    content = b"".join(piece for block in blocks for piece in decoder.decode(block))
    decoder.end()
    return content


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip", "gzip"),
        (" GZIP ", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate", "deflate"),
        ("aws-chunked,gzip", "gzip"),
        ("", None),
        ("identity", None),
        ("utf-8", None),
        ("aws-chunked", None),
        ("UTF-8, binary", None),
    ],
)
def test_names(header: str, coding: str | None) -> None:
    """Names that are no codings count for nothing, since a file may be stored with any."""
    assert coding_in(header) == coding


@pytest.mark.parametrize("header", ["br", "zstd", "compress", "gzip, gzip", "utf-8, BR"])
def test_names_of_others(header: str) -> None:
    """A coding that cannot be undone is refused by its name."""
    with pytest.raises(CodingError, match="cannot be decoded: store it without one"):
        coding_in(header)


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
@pytest.mark.parametrize("size", [1, 1000, 1 << 30])
def test_blocks_of_any_size(coding: str, compress: object, size: int) -> None:
    """The content is the same in however many blocks it comes."""
    body = gzip.compress(CONTENT) if coding == "gzip" else zlib.compress(CONTENT)
    assert decoded(coding, *(body[start : start + size] for start in range(0, len(body), size))) == CONTENT


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_pieces_are_small(length: int) -> None:
    """However much one block grows, it comes in pieces that fit into the memory."""
    decoder = Decoder("gzip")
    pieces = list(decoder.decode(gzip.compress(bytes(length))))
    decoder.end()
    assert b"".join(pieces) == bytes(length)
    assert max(map(len, pieces), default=0) <= PIECE


@pytest.mark.parametrize("size", [7, 1 << 30])
def test_files_that_were_joined(size: int) -> None:
    """Files of gzip that were put one after the other are one file."""
    body = gzip.compress(CONTENT) + gzip.compress(b"") + gzip.compress(b"and more")
    assert (
        decoded("gzip", *(body[start : start + size] for start in range(0, len(body), size))) == CONTENT + b"and more"
    )


def test_an_empty_body() -> None:
    """Nothing is nothing."""
    assert decoded("gzip") == b""


def test_what_cannot_be_decompressed() -> None:
    """A body that is not compressed, or not whole, is refused."""
    with pytest.raises(CodingError, match="cannot be decompressed"):
        decoded("gzip", CONTENT)
    with pytest.raises(CodingError, match="ends too early"):
        decoded("deflate", zlib.compress(CONTENT)[:-5])


def test_what_would_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that grows without measure is left; up to a size that does no harm, it may grow as it likes."""
    monkeypatch.setattr(codings, "FREE_GROWTH", 3 * PIECE)
    assert len(decoded("gzip", gzip.compress(bytes(3 * PIECE)))) == 3 * PIECE
    pieces = Decoder("gzip").decode(gzip.compress(bytes(9 * PIECE)))
    assert [len(next(pieces)) for _ in range(3)] == [PIECE] * 3
    with pytest.raises(CodingError, match="grows more than 100 times"):
        next(pieces)
