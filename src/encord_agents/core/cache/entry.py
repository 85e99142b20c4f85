"""One file of the cache: a header that describes the content, and the content."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol

from encord_agents.core.logs import get_logger
from encord_agents.core.regular_files import open_regular

__all__ = ["HEADER", "Entry", "Writable", "write_entry"]

logger = get_logger(__name__)

HEADER: Final = 1024
"""Bytes before the content."""

BLOCK: Final = 1 << 20
"""Bytes that are copied at once."""

_FORMAT = "encord-agents asset 2"
_CHECKSUM: Final = 9
"""Bytes of the header's own checksum at its end."""


class Writable(Protocol):
    """A file that takes a copy of the content."""

    def write(self, block: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class _Header:
    format: str
    uuid: str
    size: int  # of the content
    crc: int
    tag: str | None
    suffix: str

    def packed(self) -> bytes | None:
        """Return the header's bytes, or ``None`` if there are too many of them."""
        text = json.dumps(asdict(self)).encode().ljust(HEADER - _CHECKSUM)
        return text + _checksum(text) if len(text) + _CHECKSUM == HEADER else None

    @classmethod
    def read(cls, file: BinaryIO) -> _Header | None:
        """Return the header of an open file; ``None`` if it is damaged, or the content is not complete."""
        try:
            text, checksum = file.read(HEADER - _CHECKSUM), file.read(_CHECKSUM)
            if checksum != _checksum(text):
                return None
            header = cls(**json.loads(text))
            is_whole = os.fstat(file.fileno()).st_size == HEADER + header.size
        except (OSError, TypeError, ValueError):  # another version of the library may have written other fields
            return None
        return header if is_whole and header.format == _FORMAT else None


def _checksum(text: bytes) -> bytes:
    return b"%08x\n" % zlib.crc32(text)


class Entry:
    """A file of the cache, open for reading. As a context manager, it closes itself.

    Attributes:
        uuid: The uuid of the item whose file it holds.
        size: Bytes of the content.
        tag: The storage host's strong ETag of this version of the file, with which a newer one can be requested;
            ``None`` if the host sent none.
        suffix: The suffix of the file's name.
    """

    def __init__(self, file: BinaryIO, header: _Header) -> None:
        self._file = file
        self._crc = header.crc
        self.uuid = header.uuid
        self.size = header.size
        self.tag = header.tag
        self.suffix = header.suffix

    @classmethod
    def open(cls, path: Path) -> Entry | None:
        """Open a file; return ``None`` if it is not an entry, or is not complete.

        Raises:
            OSError: It cannot be opened.
        """
        file = open(path, "rb", opener=open_regular)  # noqa: SIM115 - the entry closes it
        header = _Header.read(file)
        if header is None:
            file.close()
            return None
        return cls(file, header)

    def __enter__(self) -> Entry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def copy_to(self, file: Writable, *, check: Callable[[], None]) -> bool:
        """Copy the content to a file, and count the entry as used.

        Args:
            file: The file. Its own errors must not be of type `OSError`.
            check: Called for each block. Its exceptions propagate.

        Returns:
            False if the entry is damaged, so that the bytes written are not the item's file.
        """
        crc, rest = 0, self.size
        try:
            self._file.seek(HEADER)
            while rest and (block := self._file.read(min(BLOCK, rest))):
                check()
                file.write(block)
                crc, rest = zlib.crc32(block, crc), rest - len(block)
        except OSError as error:
            logger.debug("An entry of the cache cannot be read (%s).", error)
            return False
        if rest or crc != self._crc:
            return False
        with contextlib.suppress(OSError):  # the disk may be read-only
            os.utime(self._file.fileno())
        return True


def write_entry(file: BinaryIO, content: Path, *, uuid: str, size: int, tag: str | None, suffix: str) -> bool:
    """Write an entry.

    Args:
        file: An empty file, or one whose content may be overwritten.
        content: The file to copy.
        uuid: The item's uuid.
        size: The bytes of the content.
        tag: The storage host's strong ETag of this version.
        suffix: The suffix of the file's name.

    Returns:
        False if the content does not have this size, or its description does not fit into the header.

    Raises:
        OSError: A file cannot be read or written.
    """
    crc, written = 0, 0
    file.seek(HEADER)
    with content.open("rb") as source:
        while block := source.read(BLOCK):
            written += len(block)
            if written > size:
                return False
            file.write(block)
            crc = zlib.crc32(block, crc)
    header = _Header(_FORMAT, uuid, size, crc, tag, suffix).packed()
    if written != size or header is None:
        return False
    file.seek(0)
    file.write(header)
    return True
