"""Videos: exact frames, decoded with PyAV.

Frames are numbered from 0 in the order in which they are shown. Pixels are RGB, uint8, ``[height, width, 3]``. A
rotation in the file's metadata *is* applied, in quarter turns, as players do; mirroring is not. That is a decision:
what the platform's coordinates refer to in a rotated video is not documented where we could read it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.core.data_model import Frame, ImageArray
from encord_agents.exceptions import PrintableError, UnsupportedAssetError

if TYPE_CHECKING:
    import av

__all__ = ["count_frames", "iterate_frames", "read_video_frame", "sample_frames"]


def iterate_frames(path: Path, *, step: int = 1, name: str | None = None) -> Iterator[Frame]:
    """Every ``step``-th frame, from frame 0 on. One frame is in memory at a time.

    Args:
        path: The file.
        step: At least 1.
        name: What to call the file in an error. Default: its name.

    Raises:
        UnsupportedAssetError: It is no video, or damaged. Frames before the damage have been given by then.
        ValueError: ``step`` is below 1.
    """
    if step < 1:
        raise ValueError(f"step must be at least 1, not {step}.")
    return (Frame(number, _pixels(raw)) for number, raw in _decode(path, name) if number % step == 0)


def sample_frames(path: Path, numbers: Iterable[int], *, name: str | None = None) -> Iterator[Frame]:
    """The frames of those numbers, ascending, each once. Decoding ends with the last of them.

    The video is read from its start: that is exact for every container and codec, which seeking is not.

    Args:
        path: The file.
        numbers: From 0.
        name: What to call the file in an error. Default: its name.

    Raises:
        UnsupportedAssetError: It is no video, or damaged.
        PrintableError: A number is negative, or beyond the last frame. The frames before it have been given by then.
    """
    wanted = sorted(set(numbers))
    if wanted and wanted[0] < 0:
        raise PrintableError(f"Frames are numbered from 0, so there is no frame {wanted[0]}.")
    return _sample(path, wanted, name)


def _sample(path: Path, wanted: list[int], name: str | None) -> Iterator[Frame]:
    left = iter(wanted)
    following = next(left, None)
    if following is None:
        return
    count = 0
    for number, raw in _decode(path, name):
        count = number + 1
        if number == following:
            yield Frame(number, _pixels(raw))
            following = next(left, None)
            if following is None:
                return
    raise PrintableError(
        f"{name or path.name!r} has {count} frames (0 to {count - 1}), so there is no frame {following}."
    )


def read_video_frame(path: Path, number: int = 0, *, name: str | None = None) -> ImageArray:
    """The pixels of one frame. Raises what :func:`sample_frames` raises."""
    return next(sample_frames(path, [number], name=name)).content


def count_frames(path: Path, *, name: str | None = None) -> int:
    """How many frames the video has: counted, because what files say about themselves is often wrong.

    Raises:
        UnsupportedAssetError: It is no video, or damaged.
    """
    return sum(1 for _ in _decode(path, name))


def _decode(path: Path, name: str | None) -> Iterator[tuple[int, av.VideoFrame]]:
    with _opened(path, name) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        number = -1
        for number, frame in enumerate(container.decode(stream)):
            yield number, frame
        if number < 0:
            raise _unreadable(path, name, "it has no frames")


@contextmanager
def _opened(path: Path, name: str | None) -> Iterator[Any]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise _unreadable(path, name, "it has no pictures in it")
            yield container
    except FileNotFoundError:
        raise
    except av.FFmpegError as error:
        raise _unreadable(path, name, f"it is damaged, or of an unknown kind: {error.strerror}") from error


def _unreadable(path: Path, name: str | None, reason: str) -> UnsupportedAssetError:
    return UnsupportedAssetError(f"{name or path.name!r} cannot be read as a video: {reason}.", item=name or path.name)


def _pixels(frame: av.VideoFrame) -> ImageArray:
    import numpy as np

    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    # PyAV and numpy both count counter-clockwise.
    if turns := round(frame.rotation / 90) % 4:
        pixels = np.ascontiguousarray(np.rot90(pixels, turns))
    return pixels
