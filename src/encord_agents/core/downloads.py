"""One try of a download: the body of an answer, written to a file, within bounds.

The other side chooses how fast a body comes, how long it is and how it is encoded. Each of these is bounded here, and
looked at after every read that returns, however little it brought.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from urllib3 import exceptions

from encord_agents.core.legible import cut, on_one_line
from encord_agents.core.transport import in_words, renew

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["Bounds", "Interrupted", "Progress", "Refused", "receive"]

BLOCK: Final = 1 << 18  # bytes, at most, of one read
SECONDS_PER_WINDOW: Final = 60.0
LEAST_PER_WINDOW: Final = 60 * 1024  # bytes
"""A host that sends less than 1 kB a second, over a minute, is taken for one that does not answer."""
LEAST_SECONDS: Final = 600.0
LEAST_RATE: Final = 100_000.0  # bytes per second, over the whole file
SIZE_UNKNOWN: Final = 360_000_000  # bytes: an hour


class Interrupted(Exception):  # noqa: N818 - never seen outside
    """One try failed. ``reason`` never holds the URL: its signature is a permission.

    Attributes:
        status: The HTTP status, where there was an answer.
        retry_after: Seconds that the host asked to wait.
        may_pass: True if another try may have more luck.
        certificate: True if the host's certificate was refused.
    """

    def __init__(
        self,
        reason: str,
        *,
        status: int | None = None,
        retry_after: float = 0.0,
        may_pass: bool = True,
        certificate: bool = False,
    ) -> None:
        self.reason = reason
        self.status = status
        self.retry_after = retry_after
        self.may_pass = may_pass
        self.certificate = certificate
        super().__init__(reason)


class Refused(Interrupted):
    """The storage host answered, but not with the file."""

    def __init__(self, response: HTTPResponse) -> None:
        after = response.headers.get("Retry-After", "")
        words = cut(on_one_line(response.reason or ""), 100)
        super().__init__(
            f"the storage host answered {response.status} {words}".rstrip(),
            status=response.status,
            retry_after=float(after) if after.isdecimal() and len(after) < 10 else 0.0,
            may_pass=response.status in {408, 425, 429} or response.status >= 500,
        )


@dataclass
class Bounds:
    """How much of a file is taken, and for how long.

    Attributes:
        size: Bytes that the platform says the file has; ``None`` where it does not say.
        deadline: When it must be here, on the clock; ``None``: see `Bounds.until`.
        clock: Monotonic seconds.
    """

    size: int | None = None
    deadline: float | None = None
    clock: Callable[[], float] = time.monotonic

    def until(self) -> float:
        """Return when the file must be here: the deadline, or ten minutes from now, more for a large file."""
        if self.deadline is not None:
            return self.deadline
        return self.clock() + max(LEAST_SECONDS, (self.size or SIZE_UNKNOWN) / LEAST_RATE)


class Writable(Protocol):
    """Takes the bytes of a file, in order."""

    def write(self, block: bytes, /) -> object: ...

    def restart(self) -> object:
        """Forget the bytes that were written so far."""
        ...


@dataclass
class Progress:
    """The progress of a download over several tries.

    Attributes:
        size: Bytes that are in the file.
        validator: The host's strong name for this version of the file; ``None``: only all of it can be asked for.
    """

    size: int = 0
    validator: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that ask for the rest of the same version, or else all of it."""
        if not self.size or self.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def begin(self, response: HTTPResponse, file: Writable) -> None:
        """Look at the head of an answer: whether its body goes on where the file ends.

        Raises:
            Interrupted: It does neither that nor begin at the beginning.
        """
        if response.status == 206 and self.headers:
            begins = f"bytes {self.size}-"
            if response.headers.get("Content-Range", "").startswith(begins):
                return
            self.validator = None
            raise Interrupted("the storage host sent another part of it than it was asked for")
        if response.status == 416 and self.headers:
            self.validator = None
            raise Interrupted("the storage host does not have the rest of it")
        if response.status != 200:
            raise Refused(response)
        if self.size:
            file.restart()
            self.size = 0
        tag = response.headers.get("ETag", "")
        self.validator = tag if tag.startswith('"') and response.headers.get("Accept-Ranges") != "none" else None


def receive(
    response: HTTPResponse,
    file: Writable,
    bounds: Bounds,
    *,
    check: Callable[[], None],
    progress: Progress | None = None,
) -> int:
    """Write the body of an answer to a file, and return the file's size.

    Args:
        check: Called after each read. What it raises passes.
        progress: What earlier tries have written, if they have; kept up to date.

    Raises:
        Interrupted: The host refused, sent too little, too much, too slowly, or what cannot be taken.
    """
    progress = Progress() if progress is None else progress
    progress.begin(response, file)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Interrupted(
            f"the storage host sent it compressed ({cut(on_one_line(encoding), 40)}), which was not asked for",
            may_pass=False,
        )
    rest = promised_size(response)
    expected = None if rest is None else progress.size + rest
    if bounds.size and expected is not None and expected > bounds.size:
        raise Interrupted(_too_large(bounds.size, expected), may_pass=False)
    clock, until = bounds.clock, bounds.until()
    size, window_size, window_ends = progress.size, 0, clock() + SECONDS_PER_WINDOW
    try:
        while True:
            renew(response)
            block = response.read1(BLOCK, decode_content=False)
            if not block:
                break
            check()
            now = clock()
            size += len(block)
            window_size += len(block)
            if bounds.size and size > bounds.size:
                raise Interrupted(_too_large(bounds.size, None), may_pass=False)
            file.write(block)
            progress.size = size
            if now > until:
                raise Interrupted("it took too long", may_pass=False)
            if now >= window_ends:
                if window_size < LEAST_PER_WINDOW and size != expected:
                    raise Interrupted(f"the storage host sent only {window_size:,} bytes in {SECONDS_PER_WINDOW:g} s")
                window_size, window_ends = 0, now + SECONDS_PER_WINDOW
    except exceptions.HTTPError as error:
        check()  # a connection that was cut because nobody waits any more is not the host's fault
        raise Interrupted(in_words(error)) from None
    check()
    if expected is not None and size != expected:
        raise Interrupted(f"{size} of {expected} bytes arrived")
    return size


def _too_large(size: int, promised: int | None) -> str:
    more = "more" if promised is None else f"{promised:,} bytes"
    return f"the file is larger than the platform says: {more} in place of {size:,} bytes"


def promised_size(response: HTTPResponse) -> int | None:
    """Return the size that the answer's head names, if it names one."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 19 else None
