"""Decodes exact frames of a video by number: frame k is the k-th in presentation order."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from encord_agents.films import main_stream, open_film

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_OPEN = 4
"""Videos that are kept open, so that the next frame only takes decoding one frame, without a seek."""
_NEAR = 60
"""Up to this many frames are decoded and skipped rather than seeking."""


def can_decode() -> bool:
    """Return True if PyAV is installed. Without it, browsers play the video file."""
    return find_spec("av") is not None


class Film:
    """An open video with a current position.

    Args:
        source: The path of the file, or a function that opens it.

    Raises:
        ValueError: It has no frames that can be decoded.
    """

    def __init__(self, source: Path | Callable[[], Any]) -> None:
        import av

        try:
            self._container: Any = open_film(source) if isinstance(source, Path) else av.open(source())
            self._stream: Any = main_stream(self._container)
            if self._stream is None or self._stream.codec_context is None:
                raise ValueError("there is no video in it, only sound or a cover")
            self._stream.thread_type = "SLICE"  # waiting for frame threads may happen with the GIL held
            times: list[int] = []
            keys: list[int] = []
            for packet in self._container.demux(self._stream):
                if packet.pts is not None and packet.size:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except (av.FFmpegError, IndexError) as error:
            raise ValueError("it is damaged, or no video") from error
        if not times:
            raise ValueError("it has no frames")
        self._times = sorted(times)
        self._keys = sorted(keys) or [self._times[0]]
        self._at: int | None = None
        self._decoded: Any = None
        self._lock = Lock()

    @property
    def frames(self) -> int:
        return len(self._times)

    def frame(self, number: int) -> Image:
        """Return a frame, upright.

        Raises:
            ValueError: There is no such frame, or it cannot be decoded.
        """
        import av

        if not 0 <= number < len(self._times):
            raise ValueError(f"it has {len(self._times)} frames")
        with self._lock:
            try:
                found = self._find(self._times[number])
            except (av.FFmpegError, StopIteration) as error:
                self._at = None
                raise ValueError(f"frame {number} cannot be decoded") from error
            image: Image = found.to_image()
            turn = round(getattr(found, "rotation", 0) or 0)
        return image.rotate(turn, expand=True) if turn else image

    def _find(self, wanted: int) -> Any:
        """Decode up to a timestamp, from the current position or from the key frame before it."""
        key = self._keys[max(0, bisect.bisect_right(self._keys, wanted) - 1)]
        passed = bisect.bisect_left(self._times, wanted) - bisect.bisect_left(self._times, self._at or 0)
        if self._at is None or not (self._at < wanted and (key <= self._at or passed <= _NEAR)):
            self._seek(min(key, wanted))
        for frame in self._decoded:
            if frame.pts is None:
                continue
            self._at = frame.pts
            if frame.pts >= wanted:
                return frame
        raise StopIteration

    def _seek(self, to: int) -> None:
        self._container.seek(to, stream=self._stream, backward=True)
        self._decoded = self._container.decode(self._stream)
        self._at = None

    def close(self) -> None:
        with self._lock:
            self._container.close()


class Films:
    """The videos that were used last, which are kept open."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Film] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: str, source: Path | Callable[[], Any]) -> Film:
        """Return an open video, and close the least recently used one if there are too many.

        Raises:
            ValueError: It cannot be decoded.
        """
        with self._lock:
            film = self._open.get(digest)
            if film is None:
                film = self._open[digest] = Film(source)
                while len(self._open) > MOST_OPEN:
                    self._open.popitem(last=False)[1].close()
            self._open.move_to_end(digest)
            return film
