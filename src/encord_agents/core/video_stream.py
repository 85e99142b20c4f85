"""A video's main stream, decoded: raw frames with their true numbers, even if the file is damaged."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from encord_agents.core.frame_numbers import FrameNumbers, spans
from encord_agents.core.logs import get_logger
from encord_agents.core.video_file import TABLED, ReadAnewError, av_errors, opened, unreadable
from encord_agents.exceptions import UnsupportedAssetError

if TYPE_CHECKING:
    import av

__all__ = ["Film", "OnDamage", "Reader", "count_in_stream"]

logger = get_logger(__name__)

OnDamage: TypeAlias = Literal["warn", "raise"]

LOOK_AHEAD = 64
"""Frames within which a picture that was passed over comes out, if it does at all: decoders hold back 16 or so."""

BROKEN_READS = 16
"""Failed reads in a row after which a file is taken to have ended."""

GAP = 100
"""The most bytes between two packets, in containers that silently skip unreadable data."""

CONTIGUOUS = frozenset({"matroska,webm", "flv", "avi"})

WITHOUT_TIME = frozenset({"avi", "mpeg"})
"""Containers whose time stamps are counted, packet by packet, so that missing packets shift them."""


@dataclass
class _Damage:
    """The damage of a video."""

    frames: int = 0
    faulty: list[int] = field(default_factory=list)  # frames whose pixels are partly made up
    breaks_off: bool = False  # its end could not be read
    last_error: Exception | None = None


class _SignOfDamage(ReadAnewError):  # noqa: N818 - never seen outside
    """The video has to be decoded again, carefully. ``by_time``: its time stamps can be trusted."""

    def __init__(self, *, by_time: bool = True) -> None:
        self.by_time = by_time
        super().__init__()


class Film:
    """One reading of a video's main stream.

    An undamaged video is decoded by several threads. At the first sign of damage it is decoded again from the start, by
    one thread: several threads lose all frames in flight at each error.

    Args:
        path: The file.
        name: The name of the file in errors and warnings. Default: its own.
        on_damage: Whether damage is logged as a warning at the end, or raised as an error at once.
    """

    def __init__(self, path: Path, name: str | None, on_damage: OnDamage = "warn") -> None:
        self.path = path
        self.name = name
        self.on_damage = on_damage
        self.numbers = FrameNumbers()
        self.damage = _Damage()

    def frames(self) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Yield the frames with their numbers, in ascending order. Call it only once.

        Raises:
            UnsupportedAssetError: The file is not a video, or has no frame that can be decoded; or it is damaged, and
                ``on_damage`` is ``"raise"``.
        """
        given = 0
        try:
            try:
                for number, frame in _decode_fast(self.path, self.name, self.numbers, self.damage):
                    given = number + 1
                    yield number, frame
                return
            except _SignOfDamage as sign:
                self.numbers, self.damage = FrameNumbers(by_time=sign.by_time), _Damage()
            for number, frame in _decode_carefully(self.path, self.name, self.numbers, self.damage):
                self._refuse()
                if number >= given:
                    yield number, frame
            self._refuse()
        finally:
            message = _described(self.path, self.name, self.numbers, self.damage)
            if message and self.damage.frames and self.on_damage == "warn":
                logger.warning("%s", message)

    def _refuse(self) -> None:
        """Raise an error for the damage so far, if there is any and ``on_damage`` is ``"raise"``."""
        damage = self.damage
        if self.on_damage == "warn" or not (
            self.numbers.lost or self.numbers.unsure_from is not None or damage.faulty or damage.breaks_off
        ):
            return
        message = _described(self.path, self.name, self.numbers, damage)
        raise UnsupportedAssetError(message, item=self.name or self.path.name) from damage.last_error


def count_in_stream(path: Path, name: str | None) -> int:
    """Return the number of frames that a `Film` numbers, lost ones at the end included.

    If the container has a table of its packets, these are counted, and only the first frame is decoded.
    """
    numbers = FrameNumbers()
    with opened(path, name) as (container, stream):
        if container.format.name == TABLED:
            frame = None
            reader = Reader(container, stream, numbers)
            for packet in reader:
                if frame is None and (frame := _first_of(reader, packet)) is not None:
                    numbers.shown(_ordinal_of(frame, numbers))
            if frame is not None and numbers.by_time and not _makes_one_frame_of_two_packets(stream, frame):
                numbers.take_the_rest_as_shown()
                return numbers.count
    film = Film(path, name)
    for _ in film.frames():
        pass
    return film.numbers.count


def _first_of(reader: Reader, packet: Any) -> Any | None:
    try:
        return next(iter(reader.decoded(packet)), None)
    except av_errors():
        return None


def _decode_fast(
    path: Path, name: str | None, numbers: FrameNumbers, damage: _Damage
) -> Iterator[tuple[int, av.VideoFrame]]:
    with opened(path, name, threads="AUTO") as (container, stream):
        reader = Reader(container, stream, numbers)
        try:
            for packet in reader:
                for frame in reader.decoded(packet):
                    number = numbers.shown(_ordinal_of(frame, numbers), interlaced=frame.interlaced_frame)
                    damage.frames += 1
                    if numbers.lost or numbers.unsure_from is not None or frame.is_corrupt or reader.errors:
                        raise _SignOfDamage(by_time=not _come_later(reader, numbers))
                    yield number, frame
        except av_errors() as error:
            raise _SignOfDamage from error
        numbers.end()
        if reader.errors or numbers.lost or numbers.unsure_from is not None or not damage.frames:
            raise _SignOfDamage


def _decode_carefully(
    path: Path, name: str | None, numbers: FrameNumbers, damage: _Damage
) -> Iterator[tuple[int, av.VideoFrame]]:
    with opened(path, name) as (container, stream):
        reader = Reader(container, stream, numbers)
        for packet in reader:
            try:
                frames = list(reader.decoded(packet))
            except av_errors() as error:
                damage.last_error = error
                reader.beside_damage()
                continue
            for frame in frames:
                number = numbers.shown(_ordinal_of(frame, numbers), interlaced=frame.interlaced_frame)
                damage.frames += 1
                if frame.is_corrupt:
                    damage.faulty.append(number)
                    reader.beside_damage()
                yield number, frame
        numbers.end()
        damage.last_error = damage.last_error or reader.last_error
        damage.breaks_off = reader.breaks_off
    if not damage.frames:
        reason = "it is damaged" if damage.last_error or numbers.count else "it has no frames"
        raise unreadable(path, name, reason) from damage.last_error


def _come_later(reader: Reader, numbers: FrameNumbers) -> bool:
    """Return True if pictures that were passed over come out later: then time stamps do not give the display order."""
    if numbers.unsure_from is not None or not numbers.lost:
        return False
    seen = 0
    try:
        for packet in reader:
            for frame in reader.decoded(packet):
                numbers.shown(_ordinal_of(frame, numbers), interlaced=frame.interlaced_frame)
                seen += 1
            if seen >= LOOK_AHEAD or numbers.unsure_from is not None:
                break
    except av_errors():
        return False
    return numbers.unsure_from is not None


class Reader:
    """Reads the packets of a stream, and records them in ``numbers``. Unreadable data is skipped.

    Attributes:
        errors: The number of reads that failed.
        last_error: The exception of the latest of them.
        breaks_off: True if nothing could be read after it.
    """

    def __init__(self, container: Any, stream: Any, numbers: FrameNumbers) -> None:
        self._container = container
        self._stream = stream
        self._numbers = numbers
        self._context = stream.codec_context
        self._container_name = container.format.name
        self._contiguous = self._container_name in CONTIGUOUS
        numbers.trusts_rate = self._container_name == "mpegts"  # damage can merge two pictures into one packet
        self._end = 0  # the position in the file after the packets read so far
        self._torn = 0  # the number of next packets that may have lost a neighbour
        self.errors = 0
        self.last_error: Exception | None = None
        self.breaks_off = False
        self._packets = self._read()

    def __iter__(self) -> Iterator[Any]:
        return self._packets

    def decoded(self, packet: Any) -> list[Any]:
        """Return the frames that come out of the decoder when this packet goes in."""
        if packet is None or not packet.size:
            return list(self._context.decode(None))
        return list(packet.decode())

    def beside_damage(self) -> None:
        """Record that a picture was damaged: whole ones may be missing next to it."""
        if self._container_name in WITHOUT_TIME or not self._numbers.by_time:
            self._numbers.doubt()
        elif self._container_name != TABLED:
            self._numbers.faulty()

    def _read(self) -> Iterator[Any]:
        # Read all streams if the bytes between packets are checked: audio packets lie between pictures.
        wanted = () if self._contiguous else (self._stream,)
        source = self._container.demux(*wanted)
        failed = 0
        # PyAV raises an IndexError for streams that appear midway.
        read_errors: tuple[type[Exception], ...] = (*av_errors(), IndexError)
        while failed < BROKEN_READS:
            try:
                packet = next(source, None)
            except read_errors as error:
                failed += 1
                self.errors += 1
                self.last_error = error
                self._torn = 2
                source = self._container.demux(*wanted)
                continue
            if packet is None:
                break
            if packet.size:
                failed = 0
                self._look_between(packet)
            if packet.stream_index == self._stream.index and packet.size:
                self._note(packet)
                yield packet
        self.breaks_off = failed > 0
        self._numbers.ended()
        yield None

    def _look_between(self, packet: Any) -> None:
        if packet.is_corrupt:
            self._torn = 2
        if self._contiguous and packet.pos is not None:
            if self._end and packet.pos - self._end > GAP:
                self._torn = 2
                self.beside_damage()
            self._end = max(self._end, packet.pos + packet.size)

    def _note(self, packet: Any) -> None:
        if packet.is_discard or (self._context.name == "vp8" and not memoryview(packet)[0] & 0x10):
            return  # cut off by an edit list; or not shown: other pictures refer to it
        packet.opaque = self._numbers.sent(packet.pts, packet.dts, key=packet.is_keyframe, after_damage=self._torn > 0)
        self._torn = max(0, self._torn - 1)


def _ordinal_of(frame: Any, numbers: FrameNumbers) -> int | None:
    ordinal: int | None = frame.opaque
    return numbers.ordinal_at(frame.pts) if ordinal is None else ordinal


def _makes_one_frame_of_two_packets(stream: Any, frame: Any) -> bool:
    """Return True if the decoder may do so, because each packet holds one field."""
    return stream.codec_context.name == "h264" and bool(frame.interlaced_frame)


def _described(path: Path, name: str | None, numbers: FrameNumbers, damage: _Damage) -> str:
    """Describe the damage of a video; return an empty text if there is none."""
    parts = []
    if numbers.lost:
        be = (
            "could not be decoded: a gap is left for it"
            if len(numbers.lost) == 1
            else "could not be decoded: gaps are left"
        )
        parts.append(f"{_frames(numbers.lost)} {be}.")
        if numbers.trusts_rate:
            parts.append("Damage in such files can melt two pictures into one: frames next to a gap may be one off.")
    if damage.faulty:
        parts.append(f"{_frames(damage.faulty)} may show faults.")
    if damage.breaks_off:
        parts.append(f"It breaks off after frame {numbers.count - 1}.")
    if numbers.unsure_from is not None:
        parts.append(
            f"Its time stamps contradict each other: numbers from frame {numbers.unsure_from} on may be wrong."
        )
    if parts:
        parts.insert(0, f"The video {name or path.name!r} is damaged.")
    if numbers.left_out:
        parts.append(
            f"{name or path.name!r} begins with {numbers.left_out} pictures that cannot be shown without those before "
            "them: they are not counted, and frame 0 is the first that can be."
        )
    return " ".join(parts)


def _frames(numbers: list[int]) -> str:
    return f"{'Frame' if len(numbers) == 1 else 'Frames'} {spans(numbers)}"
