"""One try of a download: the body of an answer, written to a file, within bounds.

The other side chooses how fast a body comes, how long it is and how it is encoded. Each of these is bounded here, and
looked at after every read that returns, however little it brought.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from urllib3 import exceptions

from encord_agents.core.legible import cut, on_one_line
from encord_agents.core.transport import in_words, renew

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["Bounds", "DownloadLimits", "Interrupted", "Progress", "Refused", "receive"]

BLOCK: Final = 1 << 18
"""The maximum number of bytes of one read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """The seconds, counts and sizes of a download.

    Attributes:
        connect: Seconds to connect.
        silence: Seconds without a byte.
        tries: How often a download that was cut short, refused for the moment, or never answered is tried in all.
        first_backoff: Seconds before the second try; doubled with each.
        longest_wait: Seconds before any try, also if the host asks for more.
        window: Seconds over which a host has to send `least_per_window` bytes. If it sends less, it does not answer.
        least_per_window: Bytes.
        least_seconds: Seconds that any try may take.
        least_rate: Bytes per second over the whole file, for larger ones.
        unknown_size: Bytes of a file whose size is unknown: an hour's.
    """

    connect: float = 10.0
    silence: float = 60.0
    tries: int = 4
    first_backoff: float = 0.5
    longest_wait: float = 30.0
    window: float = 60.0
    least_per_window: int = 60 * 1024
    least_seconds: float = 600.0
    least_rate: float = 100_000.0
    unknown_size: int = 360_000_000

    @property
    def timeout(self) -> tuple[float, float]:
        """Seconds to connect, and seconds without a byte."""
        return self.connect, self.silence

    def wait_after(self, tried: int, asked: float, *, jitter: float = 1.0) -> float:
        """Return the seconds to wait after so many tries, if the host asks for a wait of ``asked`` seconds."""
        backoff: float = self.first_backoff * 2 ** (tried - 1) * jitter
        return min(max(backoff, asked), self.longest_wait)


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
    """The bounds of one try: of size and time.

    Attributes:
        size: The file's size in bytes according to the platform; ``None`` if the platform does not say.
        deadline: The time on the clock by which the file must be here; ``None``: see `Bounds.until`.
        clock: Monotonic seconds.
        limits: The limits of any download.
    """

    size: int | None = None
    deadline: float | None = None
    clock: Callable[[], float] = time.monotonic
    limits: DownloadLimits = field(default_factory=DownloadLimits)

    def until(self) -> float:
        """Return the time by which the file must be here: the deadline, or in ten minutes, later for large files."""
        if self.deadline is not None:
            return self.deadline
        limits = self.limits
        return self.clock() + max(limits.least_seconds, (self.size or limits.unknown_size) / limits.least_rate)


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
    clock, until, limits = bounds.clock, bounds.until(), bounds.limits
    size, window_size, window_ends = progress.size, 0, clock() + limits.window
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
                if window_size < limits.least_per_window and size != expected:
                    raise Interrupted(f"the storage host sent only {window_size:,} bytes in {limits.window:g} s")
                window_size, window_ends = 0, now + limits.window
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
