"""Single frames of a video by seeking, without decoding all frames before them, where that is exact.

All packets are scanned once, without decoding them. Their time stamps give the number of each frame, and the key frame
that it depends on. This works for containers that support seeking, and for files in which nothing contradicts it. For
all others there is no `Seeker`, and the caller reads from the start, as it does if a frame is not where it should be.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Collection, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.core.frame_numbers import FrameNumbers
from encord_agents.core.video_file import TABLED, ReadAnewError, av_errors, opened
from encord_agents.core.video_stream import Reader

if TYPE_CHECKING:
    import av

__all__ = ["LostError", "Seeker"]

SEEKABLE = frozenset({TABLED, "matroska,webm"})

SKIPPABLE = frozenset({"h264", "mpeg2video"})
"""Codecs whose decoder can skip pictures that no other picture refers to, which changes nothing in the others."""


class LostError(ReadAnewError):
    """A frame is not where its packet indicated: the video has to be read from the start."""


class Seeker:
    """The positions of the frames in a video's file. Created by `of`.

    Attributes:
        count: The number of frames.
        pixels: The number of pixels of a frame.
    """

    def __init__(self, path: Path, name: str | None, packets: _Packets, seconds_per_tick: float, pixels: int) -> None:
        self._path = path
        self._seconds_per_tick = seconds_per_tick
        self._name = name
        self._times = packets.times
        self._keys = packets.keys
        self._key_times = packets.key_times
        self._ordinals = packets.ordinals
        self._skips = True
        self.count = len(packets.times)
        self.pixels = pixels

    @classmethod
    def of(cls, path: Path, name: str | None = None) -> Seeker | None:
        """Return a seeker, or ``None`` if the frames' numbers are known only by decoding the video from its start.

        Raises:
            UnsupportedAssetError: The file is not a video.
        """
        with opened(path, name) as (container, stream):
            if container.format.name not in SEEKABLE:
                return None
            packets, watch = _Packets(), _Watch()
            reader = Reader(container, stream, watch)
            for packet in reader:
                if packet is None:
                    break
                if watch.suspicious or reader.errors or not packets.note(packet, stream.codec_context.name):
                    return None
            if watch.suspicious or reader.errors or not packets.finish():
                return None
            return cls(path, name, packets, float(stream.time_base), stream.width * stream.height)

    def at_seconds(self, every: float) -> Iterator[int]:
        """Yield the numbers of the frames shown at 0 s, and then every ``every`` seconds; each only once."""
        last, begin, end, step = -1, self._times[0], self._times[-1], 0
        ticks = max(every / self._seconds_per_tick, 1.0)  # with one, every frame is shown already
        # Half a tick: a time that is meant to be a frame's may miss it by a rounding error.
        while (time := begin + step * ticks + 0.5) <= end + 1:
            number = bisect_right(self._times, time) - 1
            if number > last:
                yield number
            last = number
            # The steps until the next frame are skipped, since a time stamp may be absurdly late.
            following = self._times[min(number + 1, self.count - 1)]
            step = max(step + 1, math.ceil((following - begin - 0.5) / ticks))

    def frames(self, numbers: Sequence[int]) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Yield the frames with these numbers, in the given order, repeats included. Numbers must be below `count`.

        Raises:
            LostError: A frame is not where it should be. The frames yielded before it are right.
        """
        wanted = {self._times[number] for number in numbers}
        with opened(self._path, self._name, threads="AUTO") as (container, stream):
            try:
                yield from self._frames(container, stream, numbers, wanted)
            except av_errors() as error:
                raise LostError from error

    def _frames(
        self, container: Any, stream: Any, numbers: Sequence[int], wanted: Collection[int]
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        decoder: _Decoder | None = None
        frame: Any = None
        at = -1
        for number in numbers:
            if number != at:
                key = self._keys[number]
                if decoder is None or number < at or key > decoder.sent:
                    decoder = self._decoder_at(container, stream, key, wanted)
                try:
                    frame = decoder.find(self._times[number])
                except LostError:
                    if not self._skips:
                        raise
                    # A decoder that has to guess the order of pictures may need to see all of them.
                    self._skips = False
                    decoder = self._decoder_at(container, stream, key, wanted)
                    frame = decoder.find(self._times[number])
                at = number
            yield number, frame

    def _decoder_at(self, container: Any, stream: Any, key: int, wanted: Collection[int]) -> _Decoder:
        """Start decoding at a key frame, or at an earlier one if the container seeks to that."""
        # Containers seek by decoding time or by presentation time: the earlier one is right for both.
        container.seek(self._key_times[key], stream=stream)
        return _Decoder(container, stream, key, self._ordinals, wanted if self._skips else None)


class _Decoder:
    """Decodes from a container's position after a seek.

    Args:
        wanted: The times of the requested frames: other pictures are skipped if no picture refers to them and the
            decoder supports it. ``None``: all are decoded.

    Attributes:
        sent: The position, in the file's order, of the packet that was sent to the decoder last.
    """

    def __init__(
        self, container: Any, stream: Any, key: int, ordinals: dict[int, int], wanted: Collection[int] | None
    ) -> None:
        self._ordinals = ordinals
        self._codec = stream.codec_context
        self._wanted = wanted if self._codec.name in SKIPPABLE else None
        self._may_be_interlaced = self._codec.name == "h264"
        self._codec.skip_frame = "DEFAULT"
        self.sent = -1
        self._decoded = self._decode(container, stream, key)

    def find(self, time: int) -> Any:
        """Return the frame with this time stamp, which lies ahead."""
        for frame in self._decoded:
            if frame.pts is None or frame.is_corrupt or (self._may_be_interlaced and frame.interlaced_frame):
                break
            if frame.pts >= time:
                if frame.pts == time:
                    return frame
                break
        raise LostError

    def _decode(self, container: Any, stream: Any, key: int) -> Iterator[Any]:
        skipping = False
        for packet in container.demux(stream):
            if packet.size:
                ordinal = self._ordinals.get(packet.pts)
                if ordinal is None or (self.sent < 0 and ordinal > key):
                    raise LostError
                self.sent = ordinal
                # Per packet, since by the time a frame comes out, the decoder has been sent several more.
                if self._wanted is not None and skipping != (packet.pts not in self._wanted):
                    skipping = not skipping
                    self._codec.skip_frame = "NONREF" if skipping else "DEFAULT"
                yield from packet.decode()
        self.sent = 1 << 62
        yield from self._codec.decode(None)


class _Watch(FrameNumbers):
    """Looks for signs of damage in a file while its packets are read.

    Attributes:
        suspicious: True if there were any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.suspicious = False
        self._count = 0

    def sent(self, pts: int | None, dts: int | None, *, key: bool = False, after_damage: bool = False) -> int:
        """Note a packet, without keeping it."""
        self.suspicious |= after_damage
        self._count += 1
        return self._count - 1

    def faulty(self) -> None:
        """Note that there is damage."""
        self.suspicious = True

    def doubt(self) -> None:
        """Note that numbers may be wrong."""
        self.suspicious = True

    def ended(self) -> None:
        """Ignore the end: nothing is counted here."""


class _Packets:
    """The time stamps and key frames of a stream's packets, in the file's order."""

    def __init__(self) -> None:
        self.times = array("q")  # of frames, ascending
        self.keys = array("q")  # the position of the key frame that each of them needs
        self.key_times: dict[int, int] = {}  # the times to seek to, by the position of a key frame
        self.ordinals: dict[int, int] = {}  # positions by time stamp
        self._shown: list[tuple[int, int]] = []  # time stamps and needed key frames
        self._keys: list[tuple[int, int]] = []  # time stamps and positions of key frames
        self._newest = -(1 << 62)

    def note(self, packet: Any, codec: str) -> bool:
        """Note a packet, and return True if the file can still be trusted."""
        time, decoding = packet.pts, packet.dts
        if time is None or packet.is_corrupt or time in self.ordinals:
            return False
        if decoding is not None:
            if decoding < self._newest:
                return False
            self._newest = decoding
        ordinal = len(self.ordinals)
        self.ordinals[time] = ordinal
        if packet.is_keyframe:
            self._keys.append((time, ordinal))
            self.key_times[ordinal] = time if decoding is None else min(decoding, time)
        if packet.is_discard or (codec == "vp8" and not memoryview(packet)[0] & 0x10):
            return True  # not shown: other pictures refer to it
        # A picture that is shown before a key frame, and stored after it, needs the previous key frame.
        needed = next((place for shown, place in reversed(self._keys) if shown <= time), None)
        if needed is None:
            return False
        self._shown.append((time, needed))
        return True

    def finish(self) -> bool:
        self._shown.sort()
        self.times.extend(time for time, _ in self._shown)
        self.keys.extend(key for _, key in self._shown)
        self._shown.clear()
        return bool(self.times)
