"""The file of a video: its container, its main stream, and decoded frames as pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.core.data_model import ImageArray
from encord_agents.exceptions import UnsupportedAssetError
from encord_agents.films import main_stream, open_film

if TYPE_CHECKING:
    import av

__all__ = ["TABLED", "Pixels", "ReadAnewError", "av_errors", "opened", "unreadable"]

TABLED = "mov,mp4,m4a,3gp,3g2,mj2"
"""The container that has a table of its packets, so that none of them is lost to damage."""

COPY_OPAQUE = 1 << 7
"""AV_CODEC_FLAG_COPY_OPAQUE: a frame carries the opaque value of its packet, which identifies the packet."""

MAX_FRAME_PIXELS = 1 << 27
"""The most pixels of a frame: small files can hold frames that fill the memory. 16K fits."""

_ADVICE = "Ask for the file instead: Annotated[Path, Depends(dep_asset)]"


class ReadAnewError(Exception):
    """The file has to be read in another way. Passes through `opened` unchanged."""


class Pixels:
    """Converts the decoded frames of one video to arrays: RGB, uint8, ``[height, width, 3]``, upright.

    The converter is set up once for all frames, since that costs as much as the conversion of a frame.
    """

    def __init__(self, path: Path, name: str | None) -> None:
        from av.video.reformatter import VideoReformatter

        self._path = path
        self._name = name
        self._reformatter = VideoReformatter()
        self._is_first = True

    def of(self, frame: av.VideoFrame) -> ImageArray:
        """Return the pixels of a frame.

        Raises:
            UnsupportedAssetError: They cannot be converted.
        """
        import numpy as np

        if self._is_first:
            # Until a somewhat larger block has been freed, glibc maps the memory of each frame from the system, which
            # takes a third of the whole time.
            self._is_first = False
            np.empty(frame.width * frame.height * 27 // 8, np.uint8)
        try:
            pixels = np.asarray(self._reformatter.reformat(frame, format="rgb24").to_ndarray(), dtype=np.uint8)
        except Exception as error:
            reason = f"its frames cannot be converted to RGB ({type(error).__name__})"
            raise unreadable(self._path, self._name, reason) from error
        # PyAV and numpy both count counter-clockwise.
        if turns := round(frame.rotation / 90) % 4:
            pixels = np.ascontiguousarray(np.rot90(pixels, turns))
        return pixels


@contextmanager
def opened(path: Path, name: str | None, *, threads: str = "SLICE") -> Iterator[tuple[Any, Any]]:
    """Open a video, and yield its container and main stream. Errors contain the file's name.

    Args:
        threads: How the decoder uses threads. With ``"SLICE"`` it loses the least if the file is damaged.

    Raises:
        UnsupportedAssetError: The file is not a video.
        FileNotFoundError: There is no such file.
    """
    import av

    try:
        with open_film(path) as container:
            stream = main_stream(container)
            if stream is None:
                raise unreadable(path, name, _without_film(container))
            if stream.codec_context is None:
                raise unreadable(path, name, "there is no decoder for its codec")
            if (pixels := stream.width * stream.height) > MAX_FRAME_PIXELS:
                raise unreadable(
                    path,
                    name,
                    f"each of its frames has {pixels:,} pixels, and the limit is {MAX_FRAME_PIXELS:,}. "
                    "To raise it, set encord_agents.core.video_file.MAX_FRAME_PIXELS before the run",
                )
            stream.thread_type = threads
            stream.codec_context.flags |= COPY_OPAQUE
            try:
                yield container, stream
            finally:
                let_decoders_finish(stream)
    except (FileNotFoundError, MemoryError, UnsupportedAssetError, ReadAnewError):
        raise
    except av.FFmpegError as error:
        raise unreadable(path, name, f"it is damaged, or of an unknown kind: {error.strerror}") from error
    except Exception as error:
        raise unreadable(path, name, f"it is damaged ({type(error).__name__})") from error


def let_decoders_finish(stream: Any) -> None:
    """Wait for the decoder's own threads, before the decoder is freed.

    PyAV holds the GIL while it frees the decoder and waits for its threads. A thread that logs a message about a
    damaged frame waits for the GIL: a deadlock. Flushing the decoder first releases the GIL while waiting.
    """
    with contextlib.suppress(Exception):
        stream.codec_context.flush_buffers()


def _without_film(container: Any) -> str:
    sound = "sound" if container.streams.audio else "something else"
    if container.streams.video:
        return f"it has {sound} and an attached picture (a cover), but no video.\n{_ADVICE}"
    return f"it has no pictures in it, only {sound}"


def unreadable(path: Path, name: str | None, reason: str) -> UnsupportedAssetError:
    """Return the error for a file that is not a video, or is damaged."""
    return UnsupportedAssetError(f"{name or path.name!r} cannot be read as a video: {reason}.", item=name or path.name)


def av_errors() -> tuple[type[Exception], ...]:
    """Return the types of the exceptions that PyAV raises when a file is damaged."""
    import av

    return (av.FFmpegError,)
