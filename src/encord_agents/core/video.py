"""Videos: exact frames, decoded with PyAV.

Pixels are RGB, uint8, ``[height, width, 3]``. A rotation in the file's metadata *is* applied, in quarter turns, as
players do; mirroring is not. That is a decision: what the platform's coordinates refer to in a rotated video is not
documented where we could read it.

**Which frames.** Those of the main stream: an attached picture, such as a cover, is no video; of several streams it is
the one that ffmpeg would choose.

**Which numbers.** Frames are numbered from 0 in the order in which they are shown: by the rank of their time stamps,
not by the time itself. So with a variable rate, too, numbers have no holes: frame 100 is the hundred-and-first picture.

- What an edit list cuts off is not counted.
- A film that begins within a group of pictures begins with the first frame that can be decoded; a warning says how many
  pictures before it are not counted.
- A frame that cannot be decoded keeps its number: a gap is left, and later frames are not renumbered. Where damage took
  whole packets away, the frames that are missing are counted if the film had a steady rate until then; if it had not, a
  warning says from where on numbers may be wrong. In MPEG transport streams any hole in a steady rate counts as damage.
- Streams without time stamps of their own (raw H.264, AVI, MPEG program streams) are numbered as frames come out of the
  decoder. At the first damage a warning says that numbers from there on may be wrong.

**Damage** is told in one warning in the log: which frames are lost, which may show faults, where the film breaks off,
and from which frame on numbers may be wrong. ``on_damage="raise"`` makes an `UnsupportedAssetError` of it, before the
first frame that follows.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import operator
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.seeking import Seeker
from encord_agents.core.video_stream import Film, LostError, OnDamage, count_in_stream, opened, unreadable
from encord_agents.exceptions import PrintableError, UnsupportedAssetError

if TYPE_CHECKING:
    import av

__all__ = [
    "count_frames",
    "get_frame",
    "iter_video",
    "iter_video_with_indices",
    "iterate_frames",
    "read_video_frame",
    "sample_frames",
    "sample_seconds",
    "sample_share",
    "write_frame",
]

logger = logging.getLogger(__name__)

HELD_PIXELS = 1 << 25
"""Pixels of decoded frames that wait for their turn, if frames are wanted in another order than the file's: 48 MB, as
decoders store them; 36 frames of 720p, and 4 of 4K."""


def iterate_frames(
    path: Path, *, step: int = 1, name: str | None = None, on_damage: OnDamage = "warn"
) -> Iterator[Frame]:
    """Every ``step``-th frame, from frame 0 on. One frame is in memory at a time.

    Args:
        path: The file.
        step: At least 1.
        name: What to call the file in an error. Default: its name.
        on_damage: Whether frames that are lost are a gap and a warning, or an error.

    Raises:
        UnsupportedAssetError: It is no video, or has no frame that can be decoded; or ``on_damage="raise"``, and it is
            damaged. Frames before the damage have been given by then.
        ValueError: ``step`` is below 1.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, not {step}.")
    return _every(path, step, name, _known(on_damage))


def _every(path: Path, step: int, name: str | None, on_damage: OnDamage) -> Iterator[Frame]:
    with closing(Film(path, name, on_damage).frames()) as frames:
        for number, raw in frames:
            if number % step == 0:
                yield Frame(number, _pixels(raw, path, name))


def sample_frames(
    path: Path, numbers: Iterable[int], *, name: str | None = None, on_damage: OnDamage = "warn"
) -> Iterator[Frame]:
    """The frames of those numbers, in their order and as often as they are named.

    In ascending order one frame is in memory at a time; in another one, up to 48 MB of frames wait for their turn, so
    that nothing is decoded twice. What lies between is not decoded, where the container can be sought in and nothing in
    the file contradicts that the frames are then the same (MP4, QuickTime, Matroska, WebM). Others are read from the
    start, and again for each step back. Numbers beyond the last frame are left out, with a warning in the log, and so
    are frames that are lost.

    Args:
        path: The file.
        numbers: From 0, in any order.
        name: What to call the file in an error. Default: its name.
        on_damage: As for `iterate_frames`. With ``"raise"``, the file is read from the start.

    Raises:
        UnsupportedAssetError: As `iterate_frames` does.
        PrintableError: A number is negative.
    """
    wanted = [_checked(number) for number in numbers]
    return _sample(path, wanted, name, _known(on_damage))


def _sample(path: Path, wanted: list[int], name: str | None, on_damage: OnDamage) -> Iterator[Frame]:
    if not wanted:
        return
    seeker = Seeker.of(path, name) if on_damage == "warn" and not _is_dense(wanted) else None
    missing: tuple[int, int] | None = None
    if seeker is not None:
        there = [number for number in wanted if number < seeker.count]
        if len(there) < len(wanted):
            missing = seeker.count, next(number for number in wanted if number >= seeker.count)
        wanted = there
        given = 0
        try:
            for batch in _batches(wanted, seeker.pixels):
                for number, raw in _reordered(seeker, batch):
                    yield Frame(number, _pixels(raw, path, name))
                    given += 1
            wanted = []
        except LostError:
            wanted = wanted[given:]
    for run in _ascending_runs(wanted):
        missing = (yield from _pick(path, iter(run), name, on_damage)) or missing
    if missing is not None:
        logger.warning("%s It was left out, and what comes after it.", _no_such_frame(path, name, *missing))


def _batches(numbers: list[int], pixels: int) -> Iterator[list[int]]:
    """Split numbers into parts whose frames may wait for their turn together; ascending ones need not wait."""
    if all(a <= b for a, b in itertools.pairwise(numbers)):
        yield numbers
        return
    most = max(1, HELD_PIXELS // max(pixels, 1))
    yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def _reordered(seeker: Seeker, numbers: list[int]) -> Iterator[tuple[int, Any]]:
    """Yield frames in the order of their numbers, decoded in ascending order."""
    ascending = sorted(numbers)
    if ascending == numbers:
        yield from seeker.frames(numbers)
        return
    held = dict(seeker.frames(sorted(set(numbers))))
    for place, number in enumerate(numbers):
        yield number, held[number] if number in numbers[place + 1 :] else held.pop(number)


def _is_dense(numbers: list[int]) -> bool:
    """Whether most frames up to the last are wanted, in order: then there is nothing to pass over."""
    return 2 * len(numbers) > max(numbers) and all(a <= b for a, b in itertools.pairwise(numbers))


def _ascending_runs(numbers: list[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for number in numbers:
        if run and number < run[-1]:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def sample_share(path: Path, share: float, *, name: str | None = None, on_damage: OnDamage = "warn") -> Iterator[Frame]:
    """That share of the frames, evenly spaced from frame 0 on: 0.1 is every tenth, 0.4 is frames 0, 2, 5, 7, 10, ...

    What lies between is passed over as in `sample_frames`.

    Args:
        path: The file.
        share: Above 0 and up to 1.
        name: What to call the file in an error. Default: its name.
        on_damage: As for `iterate_frames`.

    Raises:
        UnsupportedAssetError: As `iterate_frames` does.
        PrintableError: The share is out of range.
    """
    if not 0.0 < share <= 1.0:
        raise PrintableError(f"The share of frames to sample must be above 0 and at most 1, not {share!r}.")
    step = 1.0 / share
    # 1 / 0.1 is a whole number but for a hair, which must not cost a frame.
    numbers = (int(number * step + 1e-9) for number in itertools.count())
    if share > 0.5:
        return _pick(path, numbers, name, _known(on_damage))
    return _passing_over(path, numbers, name, _known(on_damage))


def _passing_over(path: Path, ascending: Iterator[int], name: str | None, on_damage: OnDamage) -> Iterator[Frame]:
    """Frames by their numbers, as far as there are any."""
    seeker = Seeker.of(path, name) if on_damage == "warn" else None
    if seeker is not None:
        count = seeker.count
        yield from _sought(seeker, itertools.takewhile(lambda number: number < count, ascending), path, name)
    else:
        yield from _pick(path, ascending, name, on_damage)


def _sought(seeker: Seeker, ascending: Iterator[int], path: Path, name: str | None) -> Iterator[Frame]:
    asked: list[int] = []

    def asking() -> Iterator[int]:
        for number in ascending:
            asked[:] = [number]
            yield number

    try:
        for number, raw in seeker.frames(asking()):
            yield Frame(number, _pixels(raw, path, name))
    except LostError:
        yield from _pick(path, itertools.chain(asked, ascending), name, "warn")


def sample_seconds(path: Path, every: float, *, name: str | None = None) -> Iterator[Frame]:
    """The frames that are shown at 0 s, and then every so many seconds, each once; by their time stamps.

    Args:
        path: The file.
        every: Seconds, above 0.
        name: What to call the file in an error. Default: its name.

    Raises:
        UnsupportedAssetError: As `iterate_frames` does, or the file has no time stamps.
        PrintableError: ``every`` is not above 0.
    """
    if not (every > 0 and math.isfinite(every)):
        raise PrintableError(f"Frames can be sampled every so many seconds above 0, not every {every!r} s.")
    return _at_seconds(path, every, name)


def _at_seconds(path: Path, every: float, name: str | None) -> Iterator[Frame]:
    seeker = Seeker.of(path, name)
    if seeker is not None:
        yield from _sought(seeker, seeker.at_seconds(every), path, name)
        return
    shown: tuple[int, Any] | None = None  # the frame that is on the screen until the next one comes
    with opened(path, name) as (_, stream):
        tick = float(stream.time_base)
    begin, step = 0.0, 0
    with closing(Film(path, name).frames()) as frames:
        for number, raw in frames:
            if raw.pts is None:
                raise unreadable(path, name, "its frames have no time stamps to sample by")
            if shown is None:
                begin = raw.pts * tick
            time = raw.pts * tick - begin
            if shown is not None and step * every + 1e-9 < time:
                yield Frame(shown[0], _pixels(shown[1], path, name))
                while step * every + 1e-9 < time:
                    step += 1
            shown = number, raw
        if shown is not None and step * every <= shown[1].pts * tick - begin + 1e-9:
            yield Frame(shown[0], _pixels(shown[1], path, name))


def _pick(
    path: Path, ascending: Iterator[int], name: str | None, on_damage: OnDamage
) -> Generator[Frame, None, tuple[int, int] | None]:
    """Frames by their numbers. Returns, where the video ends before the numbers do, its length and the next of them."""
    following = next(ascending, None)
    if following is None:
        return None
    count = 0
    with closing(Film(path, name, on_damage).frames()) as frames:
        for number, raw in frames:
            count = number + 1
            while following <= number:  # below it: a frame that is lost, as is said in the log
                if following == number:
                    yield Frame(number, _pixels(raw, path, name))
                following = next(ascending, None)
                if following is None:
                    return None
    return count, following


def read_video_frame(path: Path, number: int = 0, *, name: str | None = None) -> ImageArray:
    """The pixels of one frame.

    Raises:
        UnsupportedAssetError: It is no video, or damaged where this frame is.
        PrintableError: There is no such frame.
    """
    number, last = _checked(number), -1
    if number and (seeker := Seeker.of(path, name)) is not None:
        if number >= seeker.count:
            raise PrintableError(_no_such_frame(path, name, seeker.count, number))
        with contextlib.suppress(LostError), closing(seeker.frames([number])) as sought:
            return _pixels(next(sought)[1], path, name)
    with closing(Film(path, name).frames()) as frames:
        for last, raw in frames:
            if last == number:
                return _pixels(raw, path, name)
            if last > number:
                break
    if last > number or number < count_in_stream(path, name):
        raise UnsupportedAssetError(
            f"Frame {number} of {name or path.name!r} cannot be decoded: the file is damaged there.",
            item=name or path.name,
        )
    raise PrintableError(_no_such_frame(path, name, last + 1, number))


def _known(on_damage: OnDamage) -> OnDamage:
    if on_damage not in ("warn", "raise"):
        raise ValueError(f"on_damage must be 'warn' or 'raise', not {on_damage!r}.")
    return on_damage


def _checked(number: int) -> int:
    if (number := operator.index(number)) < 0:  # numpy's whole numbers are welcome
        raise PrintableError(f"Frames are numbered from 0, so there is no frame {number}.")
    return number


def _no_such_frame(path: Path, name: str | None, count: int, number: int) -> str:
    return f"{name or path.name!r} has {count} frames (0 to {count - 1}), so there is no frame {number}."


def count_frames(path: Path, *, name: str | None = None) -> int:
    """How many frames the video has, numbered as when iterating; those that are lost count, too.

    Counted, because what files say about themselves is often wrong; but mostly without decoding them.

    Raises:
        UnsupportedAssetError: It is no video, or has no frame that can be decoded.
    """
    return count_in_stream(path, name)


def _pixels(frame: av.VideoFrame, path: Path, name: str | None) -> ImageArray:
    import numpy as np

    try:
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except Exception as error:
        raise unreadable(path, name, f"its frames cannot be converted to RGB ({type(error).__name__})") from error
    # PyAV and numpy both count counter-clockwise.
    if turns := round(frame.rotation / 90) % 4:
        pixels = np.ascontiguousarray(np.rot90(pixels, turns))
    return pixels


# Names that existing code imports. Two of them have the order of channels of OpenCV.


def get_frame(video_path: Path, desired_frame: int) -> ImageArray:
    """The pixels of one frame in the order blue, green, red. Raises what :func:`read_video_frame` raises."""
    return _reversed(read_video_frame(Path(video_path), desired_frame))


def write_frame(frame_path: Path, frame: ImageArray) -> None:
    """Write pixels in the order blue, green, red to a file, in the format that its suffix names.

    Raises:
        ValueError: The suffix is not ``.jpg``, ``.jpeg``, ``.png`` or ``.webp``.
    """
    from encord_agents.core.vision import encode_image

    image_format: Any = Path(frame_path).suffix
    Path(frame_path).write_bytes(encode_image(_reversed(frame), image_format))


def iter_video(video_path: Path) -> Iterator[Frame]:
    """Every frame, RGB. :func:`iterate_frames` by another name."""
    return iterate_frames(Path(video_path))


def iter_video_with_indices(video_path: Path, frame_indices: Iterable[int]) -> Iterator[Frame]:
    """The frames of those numbers, RGB. :func:`sample_frames` by another name."""
    return sample_frames(Path(video_path), frame_indices)


def _reversed(pixels: ImageArray) -> ImageArray:
    import numpy as np

    if pixels.ndim == 2:
        return pixels
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0, *range(3, pixels.shape[2])]])
