"""Decodes exact frames of a video by number: frame k is the k-th in presentation order, as it is for runners."""

from __future__ import annotations

import contextlib
import itertools
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

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


class _Packet(NamedTuple):
    """A packet that holds a picture: its time stamp, the time to seek to, its place in the file, its rank there."""

    time: int
    sought: int
    place: int
    ordinal: int
    is_key: bool


class Film:
    """An open video with a current position.

    A frame's number is the rank of its time stamp; where time stamps do not tell, frames are counted as they come out.

    Args:
        source: The path of the file, or a function that opens it.

    Attributes:
        frames: The number of frames.
        is_turned: True if they are shown turned by a quarter: phones store upright videos on their side.

    Raises:
        ValueError: It has no frames.
    """

    def __init__(self, source: Path | Callable[[], Any]) -> None:
        import av

        self._source = source
        try:
            self._container, self._stream = self._open()
            self._look_through()
        except (av.FFmpegError, IndexError) as error:
            raise ValueError("it is damaged, or no video") from error
        if not self.frames:
            raise ValueError("it has no frames")
        self._decoded: Iterator[tuple[int, Any]] = iter(())
        self._at = self.frames
        self._from_start = False
        self._lock = Lock()

    def _open(self) -> tuple[Any, Any]:
        container: Any = open_film(self._source if isinstance(self._source, Path) else self._source())
        stream: Any = main_stream(container)
        if stream is None or stream.codec_context is None:
            raise ValueError("there is no video in it, only sound or a cover")
        stream.thread_type = "SLICE"  # waiting for frame threads may happen with the GIL held
        return container, stream

    def _look_through(self) -> None:
        """Read all packets, and decode the first frame."""
        import av

        codec = self._stream.codec_context
        # FFmpeg takes the order of an AVI's packets for the order of presentation.
        self._by_time = not (self._container.format.name == "avi" and codec.has_b_frames)
        shown: list[_Packet] = []
        keys: list[_Packet] = []
        newest: int | None = None
        first: Any = None
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue
            if first is None:
                with contextlib.suppress(av.FFmpegError):  # of a damaged frame: a later one tells as well
                    first = next(iter(packet.decode()), None)
            time, decoding = packet.pts, packet.dts
            if time is None or (decoding is not None and newest is not None and decoding < newest):
                self._by_time = False
                time = 0
            newest = newest if decoding is None else decoding
            sought = time if decoding is None else min(time, decoding)
            one = _Packet(time, sought, -1 if packet.pos is None else packet.pos, len(shown), packet.is_keyframe)
            if one.is_key:
                keys.append(one)
            # Others are cut off by an edit list, or are only there for pictures to refer to.
            if not (packet.is_discard or (codec.name == "vp8" and not memoryview(packet)[0] & 0x10)):
                shown.append(one)
        if first is None:
            with contextlib.suppress(av.FFmpegError):
                first = next(iter(codec.decode(None)), None)
        self.is_turned = first is not None and bool(round(first.rotation / 90) % 2)
        if self._by_time:
            shown = sorted(_numbered(shown, None if first is None else first.pts))
            self._by_time = all(one.time < other.time for one, other in itertools.pairwise(shown))
        self.frames = len(shown)
        self._times = array("q", (packet.time for packet in shown))
        self._places = array("q", (packet.place for packet in shown))
        self._keys = sorted(keys)

    def frame(self, number: int) -> Image:
        """Return a frame, upright.

        Raises:
            ValueError: There is no such frame, or it cannot be decoded.
        """
        import av

        if not 0 <= number < self.frames:
            raise ValueError(f"it has {self.frames} frames")
        with self._lock:
            try:
                found = self._find(number)
            except av.FFmpegError:
                found = None
            if found is None:
                self._at = self.frames
                raise ValueError(f"frame {number} cannot be decoded")
            image: Image = found.to_image()
            turn = round(getattr(found, "rotation", 0) or 0)
        return image.rotate(turn, expand=True) if turn else image

    def _find(self, number: int) -> Any | None:
        """Decode up to a frame: from the current position, from the key frame before it, or from the start."""
        place = bisect_right(self._keys, self._times[number], key=lambda key: key.time) if self._by_time else 0
        key = self._keys[place - 1] if place else None
        is_near = number - self._at <= _NEAR or key is None or key.time <= self._times[max(0, self._at)]
        if self._at >= number or not is_near:
            self._go_to(key)
        found = self._next(number)
        if found is None and not self._from_start:
            self._go_to(None)
            found = self._next(number)
        return found

    def _go_to(self, key: _Packet | None) -> None:
        if key is None:
            old = self._container
            self._container, self._stream = self._open()
            old.close()
        self._from_start = key is None
        self._at = -1
        self._decoded = self._frames(key)

    def _next(self, number: int) -> Any | None:
        """Return a frame that lies ahead, or ``None`` if it is not there."""
        import av

        with contextlib.suppress(av.FFmpegError):
            for at, frame in self._decoded:
                self._at = at
                if at >= number:
                    return frame if at == number and (self._from_start or not frame.is_corrupt) else None
        return None

    def _frames(self, key: _Packet | None) -> Iterator[tuple[int, Any]]:
        """Yield frames with their numbers, as long as these are certain."""
        if not self._by_time:
            yield from enumerate(self._decode(None))
            return
        last = -(1 << 63)
        for frame in self._decode(key):
            # The two fields of a picture may be in two packets, which both have a time stamp.
            may_be_two = frame.interlaced_frame and self._stream.codec_context.name == "h264"
            if may_be_two or frame.pts is None or frame.pts < last:
                self._by_time = key is not None and not may_be_two
                self._from_start = False
                return
            last = frame.pts
            number = bisect_left(self._times, last)
            if number < self.frames and self._times[number] == last:
                yield number, frame

    def _decode(self, key: _Packet | None) -> Iterator[Any]:
        """Yield the frames from a key frame on, or from the start, as long as packets are where they were."""
        import av

        if key is not None:
            self._container.seek(key.sought, stream=self._stream)
        begun = key is None
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue
            if key is not None:
                if not begun and packet.pts is not None and packet.pts > key.time and packet.is_keyframe:
                    return
                begun = begun or (packet.pts, packet.pos) == (key.time, key.place)
                if begun and not self._is_in_place(packet):
                    return
            if begun:
                with contextlib.suppress(av.FFmpegError):  # of a damaged frame: others follow
                    yield from packet.decode()
        with contextlib.suppress(av.FFmpegError):
            yield from self._stream.codec_context.decode(None)

    def _is_in_place(self, packet: Any) -> bool:
        """Return True if a packet is the one that had this time stamp before: containers without an index guess."""
        if packet.pts is None:
            return False
        number = bisect_left(self._times, packet.pts)
        return number == self.frames or self._times[number] != packet.pts or self._places[number] == packet.pos

    def close(self) -> None:
        with self._lock:
            self._container.close()


def _numbered(packets: list[_Packet], first: int | None) -> list[_Packet]:
    """Return the packets that have a number: not those that cannot be shown without others from before the beginning.

    Args:
        packets: All, in the file's order.
        first: The time stamp of the frame that is decoded first.
    """
    key = next((packet for packet in packets if packet.is_key), None)
    if key is None or first is None:
        return packets
    shown = next((packet for packet in packets if packet.time == first), key)
    if shown.ordinal < key.ordinal:  # its decoder needs no key frame
        return [packet for packet in packets if packet.time >= first or packet.ordinal > shown.ordinal]
    after = packets[key.ordinal :]
    return after if first < key.time else [packet for packet in after if packet.time >= key.time]


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
