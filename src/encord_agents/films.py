"""Video and sound files, opened with PyAV for runners and the local platform alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["main_stream", "open_film"]


def open_film(source: Path | Any) -> Any:
    """Open a path, or a file object, as a container of PyAV's, however its metadata is encoded.

    Raises:
        av.FFmpegError: It is damaged, or of an unknown kind.
        FileNotFoundError: There is no such file.
    """
    import av

    # PyAV 19 decodes any metadata, and has no such option. Before, text that is not UTF-8 fails unless replaced.
    options: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    # Absolute, since FFmpeg takes text before a colon for a protocol.
    return av.open(str(source.absolute()) if isinstance(source, Path) else source, **options)


def main_stream(container: Any) -> Any | None:
    """Return the video stream, ignoring attached pictures such as covers; if there are several, ffmpeg's choice.

    Its ``codec_context`` is ``None`` if there is no decoder for it, nor for any other.
    """
    import av

    cover = av.stream.Disposition.attached_pic
    films = [stream for stream in container.streams.video if not stream.disposition & cover]
    films = [stream for stream in films if stream.codec_context is not None] or films
    if len(films) > 1:
        best = container.streams.best("video")
        return next((stream for stream in films if best is not None and stream.index == best.index), films[0])
    return films[0] if films else None
