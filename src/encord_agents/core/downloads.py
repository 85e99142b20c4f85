"""One attempt at a download: the body of a response, written to a file within limits.

The host decides how fast a body arrives, how long it is and how it is encoded. All of this is limited here; speed and
size are checked after every read, however few bytes it returned. The platform's size of a file may be wrong, since
customers may state it: it only limits bodies whose length the host does not announce. Nor may such a body take more
than half of the disk, which other tasks need, or one of any length more than there is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from urllib3 import exceptions

from encord_agents.core.codings import CodingError, Decoder, coding_in
from encord_agents.core.legible import on_a_line
from encord_agents.core.transport import in_words, renew

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

__all__ = ["Bounds", "DownloadLimits", "Interrupted", "Progress", "Refused", "receive"]

BLOCK: Final = 1 << 18
"""The maximum number of bytes of one read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """The timeouts, retry counts and sizes of a download.

    Attributes:
        connect: The connect timeout, in seconds.
        silence: The read timeout, in seconds without a byte.
        tries: The number of attempts in all, if a download breaks off, is refused for the moment, or gets no response.
        first_backoff: Seconds before the second attempt, doubled for each further one (exponential backoff).
        longest_wait: The most seconds before any attempt, even if the host asks for more.
        window: Seconds in which a host has to send `least_per_window` bytes. Otherwise it counts as not responding.
        least_per_window: Bytes.
        least_seconds: Seconds that any attempt may take, however small the file.
        least_rate: Bytes per second over the whole file: larger files may take longer at this rate.
        unknown_size: Bytes that a file of unknown size is taken to have: an hour's at `least_rate`.
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
        """The connect and read timeouts, in seconds."""
        return self.connect, self.silence

    def wait_after(self, tried: int, asked: float, *, jitter: float = 1.0) -> float:
        """Return the seconds to wait after ``tried`` attempts, if the host asks for a wait of ``asked`` seconds."""
        backoff: float = self.first_backoff * 2 ** (tried - 1) * jitter
        return min(max(backoff, asked), self.longest_wait)


class Interrupted(Exception):  # noqa: N818 - never seen outside
    """A failed attempt. ``reason`` never contains the URL, whose signature grants access to the file.

    Attributes:
        status: The HTTP status, if there was a response.
        retry_after: Seconds that the host asked to wait.
        may_pass: True if another attempt may succeed.
        certificate: True if the host's certificate was rejected.
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
    """A response from the storage host that is not the file."""

    def __init__(self, response: HTTPResponse) -> None:
        after = response.headers.get("Retry-After", "")
        words = on_a_line(response.reason or "", 100)
        super().__init__(
            f"the storage host answered {response.status} {words}".rstrip(),
            status=response.status,
            retry_after=float(after) if after.isdecimal() and len(after) < 10 else 0.0,
            may_pass=response.status in {408, 425, 429} or response.status >= 500,
        )


@dataclass
class Bounds:
    """The size and time limits of one attempt.

    Attributes:
        size: The file's size in bytes according to the platform; ``None`` if that is unknown.
        deadline: The time of the clock by which the download must be complete; ``None``: see `Bounds.until`.
        clock: Returns monotonic seconds.
        limits: The limits of all downloads.
        disk: The bytes of the whole file system on which the file is kept, used ones included.
    """

    size: int | None = None
    deadline: float | None = None
    clock: Callable[[], float] = time.monotonic
    limits: DownloadLimits = field(default_factory=DownloadLimits)
    disk: int = sys.maxsize

    def until(self, announced: int | None = None) -> float:
        """Return the time at which the download times out: the deadline, or in ten minutes, later for large files.

        Args:
            announced: The size that the host announces, if it does.
        """
        if self.deadline is not None:
            return self.deadline
        limits = self.limits
        size = max(self.size or limits.unknown_size, announced or 0)
        return self.clock() + max(limits.least_seconds, size / limits.least_rate)


class Writable(Protocol):
    """Takes the bytes of a file, in order."""

    def write(self, block: bytes, /) -> object: ...

    def restart(self) -> object:
        """Discard the bytes written so far."""
        ...


@dataclass
class Progress:
    """The progress of a download over several attempts.

    Attributes:
        size: Bytes written to the file.
        validator: The host's strong ETag for this version of the file; ``None`` if the download cannot be resumed.
        total: The bytes of all of its body, if the host announces them.
    """

    size: int = 0
    validator: str | None = None
    total: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a range request for the rest of the same version; empty to request the whole file."""
        if not self.size or self.validator is None:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.validator}

    def begin(self, response: HTTPResponse, file: Writable) -> None:
        """Check that a response's body is all the rest of the same version; if it starts over, restart the file.

        Raises:
            Interrupted: It is neither.
        """
        tag = response.headers.get("ETag", "")
        if response.status == 206 and self.headers:
            # Some hosts and proxies ignore If-Range, and send the rest of a newer version.
            rest = f"bytes {self.size}-{(self.total or 0) - 1}/{self.total}"
            if (tag, response.headers.get("Content-Range")) == (self.validator, rest):
                return
            self.validator = None
            raise Interrupted("the storage host sent another part of it, or of another version, than it was asked for")
        if response.status == 416 and self.headers:
            self.validator = None
            raise Interrupted("the storage host does not have the rest of it")
        if response.status != 200:
            raise Refused(response)
        if self.size:
            file.restart()
            self.size = 0
        self.total = promised_size(response)
        may_resume = tag.startswith('"') and self.total and response.headers.get("Accept-Ranges") != "none"
        self.validator = tag if may_resume else None


def receive(
    response: HTTPResponse,
    file: Writable,
    bounds: Bounds,
    *,
    check: Callable[[], None],
    progress: Progress | None = None,
    is_compressed: bool = False,
) -> int:
    """Write the body of a response to a file, and return the file's size. A body with a content coding is decoded.

    Args:
        check: Called after each read. Its exceptions propagate.
        progress: The progress of earlier attempts, if any; kept up to date.
        is_compressed: True if the file is a gzip file by its name: a coding then only says so, and is not undone.

    Raises:
        Interrupted: The host refused, or sent too little, too much, too slowly, or an unusable body.
    """
    progress = Progress() if progress is None else progress
    progress.begin(response, file)
    decoder = _decoder(response, progress, is_compressed=is_compressed)
    expected = progress.total
    if (expected or 0) > bounds.disk:
        raise Interrupted(
            f"the storage host announces {expected:,} bytes, and the disk of this machine has {bounds.disk:,} in all "
            "(the environment variable TMPDIR names the directory for files)",
            may_pass=False,
        )
    most = bounds.disk if decoder is None and expected is not None else bounds.disk // 2
    clock, until, limits = bounds.clock, bounds.until(expected), bounds.limits
    taken, window_size, window_ends = progress.size, 0, clock() + limits.window
    try:
        while True:
            renew(response)
            block = response.read1(BLOCK, decode_content=False)
            if not block:
                break
            check()
            now = clock()
            taken += len(block)
            window_size += len(block)
            for piece in (block,) if decoder is None else decoder.decode(block):
                if bounds.size and expected is None and min(taken, progress.size + len(piece)) > bounds.size:
                    raise Interrupted(
                        f"the file is larger than the platform says: more in place of {bounds.size:,} bytes",
                        may_pass=False,
                    )
                if progress.size + len(piece) > most:
                    raise Interrupted(
                        f"the storage host does not say how large it is, and it has more than {most:,} bytes, half of "
                        "the disk of this machine",
                        may_pass=False,
                    )
                file.write(piece)
                progress.size += len(piece)
            if now > until:
                raise Interrupted("it took too long", may_pass=False)
            if now >= window_ends:
                if window_size < limits.least_per_window and taken != expected:
                    raise Interrupted(f"the storage host sent only {window_size:,} bytes in {limits.window:g} s")
                window_size, window_ends = 0, now + limits.window
        check()
        if expected is not None and taken != expected:
            raise Interrupted(f"{taken} of {expected} bytes arrived")
        if decoder is not None:
            decoder.end()
    except exceptions.HTTPError as error:
        check()  # a connection that was cut by a cancellation is not the host's fault
        raise Interrupted(in_words(error)) from None
    except CodingError as error:
        raise Interrupted(str(error), may_pass=False) from None
    return progress.size


def _decoder(response: HTTPResponse, progress: Progress, *, is_compressed: bool) -> Decoder | None:
    try:
        coding = coding_in(response.headers.get("Content-Encoding", ""))
    except CodingError as error:
        raise Interrupted(str(error), may_pass=False) from None
    if coding is None or (coding == "gzip" and is_compressed):
        return None
    progress.validator = None  # the rest of it cannot be requested: bytes of the file are not those of the body
    if progress.size:
        raise Interrupted("the storage host sent the rest of it with a content coding, unlike the beginning")
    return Decoder(coding)


def promised_size(response: HTTPResponse) -> int | None:
    """Return the size of the body that the response's headers give, or ``None``."""
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() and len(length) < 19 else None
