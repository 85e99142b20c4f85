"""Videos: exact frames, decoded with PyAV.

Pixels are RGB, uint8, ``[height, width, 3]``. A rotation in the file's metadata *is* applied, in quarter turns, as
players do; mirroring is not. That is our decision: we found no documentation of the orientation to which the platform's
coordinates refer.

**Which frames.** Those of the main stream: attached pictures, such as covers, do not count; of several streams, it is
the one that ffmpeg would choose.

**Which numbers.** Frames are numbered from 0 in the order in which they are shown: by the rank of their time stamps,
not by the time itself. So even with a variable frame rate, numbers have no holes: frame 100 is the 101st picture.

- Frames that an edit list cuts off are not counted.
- If a video begins within a group of pictures, frame 0 is the first frame that can be decoded; a warning gives the
  number of pictures before it, which are not counted.
- A frame that cannot be decoded keeps its number: a gap is left, and later frames are not renumbered. If whole packets
  are missing, their frames are counted if the frame rate was steady until then; otherwise a warning gives the frame
  from which on numbers may be wrong. In MPEG transport streams, any hole in a steady rate counts as damage.
- Streams without time stamps of their own (raw H.264, AVI, MPEG program streams) are numbered as frames come out of the
  decoder. After the first damage, a warning says that numbers from there on may be wrong.

**Damage** is reported in one warning in the log: which frames are lost, which may show faults, where the video breaks
off, and from which frame on numbers may be wrong. With ``on_damage="raise"``, it raises an `UnsupportedAssetError`
instead, before the first frame that follows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.core.sampling import (
    VideoSampler,
    checked_number,
    known_on_damage,
    no_such_frame,
    sample_frames,
    sample_seconds,
    sample_share,
)
from encord_agents.core.seeking import LostError, Seeker
from encord_agents.core.video_file import Pixels
from encord_agents.core.video_stream import Film, OnDamage, count_in_stream
from encord_agents.exceptions import PrintableError, UnsupportedAssetError

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


def iterate_frames(
    path: Path, *, step: int = 1, name: str | None = None, on_damage: OnDamage = "warn"
) -> Iterator[Frame]:
    """Yield every ``step``-th frame, from frame 0 on. One frame is in memory at a time.

    Args:
        path: The file.
        step: At least 1.
        name: The name of the file in errors. Default: its own.
        on_damage: Whether lost frames leave a gap and a warning, or raise an error.

    Raises:
        UnsupportedAssetError: The file is not a video, or has no frame that can be decoded; or it is damaged, with
            ``on_damage="raise"``. Frames before the damage have been yielded by then.
        ValueError: ``step`` is below 1.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, not {step}.")
    return _every(path, step, name, known_on_damage(on_damage))


def _every(path: Path, step: int, name: str | None, on_damage: OnDamage) -> Iterator[Frame]:
    pixels = Pixels(path, name)
    with closing(Film(path, name, on_damage).frames()) as frames:
        for number, raw in frames:
            if number % step == 0:
                yield Frame(number, pixels.of(raw))


def read_video_frame(path: Path, number: int = 0, *, name: str | None = None) -> ImageArray:
    """Return the pixels of one frame.

    Raises:
        UnsupportedAssetError: The file is not a video, or is damaged at this frame.
        PrintableError: There is no such frame.
    """
    number, last = checked_number(number), -1
    if number and (seeker := Seeker.of(path, name)) is not None:
        if number >= seeker.count:
            raise PrintableError(no_such_frame(path, name, seeker.count, number))
        with contextlib.suppress(LostError), closing(seeker.frames([number])) as sought:
            return Pixels(path, name).of(next(sought)[1])
    with closing(Film(path, name).frames()) as frames:
        for last, raw in frames:
            if last == number:
                return Pixels(path, name).of(raw)
            if last > number:
                break
    if last > number or number < count_in_stream(path, name):
        raise UnsupportedAssetError(
            f"Frame {number} of {name or path.name!r} cannot be decoded: the file is damaged there.",
            item=name or path.name,
        )
    raise PrintableError(no_such_frame(path, name, last + 1, number))


def count_frames(path: Path, *, name: str | None = None) -> int:
    """Return the number of frames, as `iterate_frames` numbers them, lost ones included.

    They are counted, because the metadata of files is often wrong; but mostly without decoding them.

    Raises:
        UnsupportedAssetError: The file is not a video, or has no frame that can be decoded.
    """
    return count_in_stream(path, name)


# Names that existing code imports. Two of them use the channel order of OpenCV, BGR.


def get_frame(video_path: Path, desired_frame: int) -> ImageArray:
    """Return the pixels of one frame in the order blue, green, red. Raises the same errors as `read_video_frame`."""
    return _reversed(read_video_frame(Path(video_path), desired_frame))


def write_frame(frame_path: Path, frame: ImageArray) -> None:
    """Write pixels in the order blue, green, red to a file, in the format that its suffix names.

    Raises:
        ValueError: Pillow knows no format with this suffix.
    """
    from encord_agents.core.vision import DATA_TYPES, encode_image, picture_of

    path, pixels = Path(frame_path), _reversed(frame)
    image_format: Any = path.suffix.lower()
    if image_format in DATA_TYPES:
        path.write_bytes(encode_image(pixels, image_format))
    else:
        picture_of(pixels).save(path)


def iter_video(video_path: Path) -> Iterator[Frame]:
    """Yield every frame, RGB. Another name for `iterate_frames`."""
    return iterate_frames(Path(video_path))


def iter_video_with_indices(video_path: Path, frame_indices: Iterable[int]) -> Iterator[Frame]:
    """Yield the frames with these numbers, RGB, as `sample_frames` does, but only up to the first number beyond the
    last frame: there may be infinitely many. A wrong number is an error in its turn."""
    return VideoSampler(Path(video_path)).in_turn(frame_indices)


def _reversed(pixels: ImageArray) -> ImageArray:
    import numpy as np

    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return pixels
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0, *range(3, pixels.shape[2])]])
