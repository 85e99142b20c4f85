"""Audio: a file's samples, decoded with PyAV."""

from __future__ import annotations

import contextlib
import io
import itertools
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from encord.objects.ontology_object_instance import ObjectInstance

from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.films import open_film

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Waveform: TypeAlias = NDArray[np.float32]
else:
    Waveform = Any

__all__ = ["Sound", "read_audio"]

PIECE = 1 << 16
"""Samples of each channel that are converted at once."""


@dataclass(frozen=True)
class Sound:
    """Decoded audio.

    Attributes:
        waveform: Samples, float32 ``[channels, samples]``. The full scale is -1 to 1; loud files of lossy formats or of
            floating-point numbers may exceed it.
        rate: Samples per second.
    """

    waveform: Waveform = field(repr=False, compare=False)
    rate: int

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return float(self.waveform.shape[1] / self.rate)

    def between(self, start: float, end: float) -> Sound:
        """Return the part from ``start`` to ``end`` seconds, clipped to the audio. A view, not a copy."""
        first, last = max(0, round(start * self.rate)), max(0, round(end * self.rate))
        return Sound(self.waveform[:, first:last], self.rate)

    def crops(self, instance: ObjectInstance) -> list[Sound]:
        """Return the part in each range of a labelled region. The ranges are in milliseconds.

        Raises:
            PrintableError: The object is not an audio region.
        """
        ranges = instance.range_list if instance.is_range_only() else None
        if ranges is None:
            raise PrintableError(f"The object {instance.object_hash} ({instance.object_name!r}) has no ranges of time.")
        return [self.between(one.start / 1000, one.end / 1000) for one in ranges]

    def wav(self) -> bytes:
        """Return the bytes of a 16-bit WAV file, for models that accept one."""
        import numpy as np

        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(self.waveform.shape[0])
            file.setsampwidth(2)
            file.setframerate(self.rate)
            for start in range(0, self.waveform.shape[1], PIECE):
                piece = self.waveform[:, start : start + PIECE]
                file.writeframesraw((np.clip(piece, -1.0, 1.0).T * 32767).round().astype("<i2").tobytes())
        return buffer.getvalue()


def read_audio(path: Path, *, rate: int | None = None, mono: bool = False, name: str | None = None) -> Sound:
    """Return the audio of an audio or video file.

    Args:
        path: The file.
        rate: Samples per second to resample to. Default: the file's own.
        mono: Whether to mix all channels down to one, their mean.
        name: The name of the file in error messages. Default: the file's name.

    Raises:
        UnsupportedAssetError: The file has no audio, or is damaged.
        FileNotFoundError: There is no such file.
    """
    import av
    import numpy as np

    called = name or path.name
    try:
        with open_film(path) as container:
            if not container.streams.audio:
                raise UnsupportedAssetError(f"{called!r} has no sound in it.", item=called)
            stream = container.streams.audio[0]
            if stream.codec_context is None:
                raise UnsupportedAssetError(
                    f"{called!r} cannot be read as sound: there is no decoder for its codec.", item=called
                )
            wanted = rate or stream.codec_context.sample_rate
            # Each of them grows in place, so that the sound is in memory only once.
            channels: list[bytearray] = []
            for block in _blocks(_frames(container, stream), wanted, 1 if mono else None):
                channels = channels or [bytearray() for _ in block]
                for channel, samples in zip(channels, block, strict=True):
                    channel += samples.data
    except FileNotFoundError:
        raise
    except av.FFmpegError as error:
        raise UnsupportedAssetError(
            f"{called!r} cannot be read as sound: it is damaged, or of an unknown kind: {error.strerror}.", item=called
        ) from error
    if not channels:
        raise UnsupportedAssetError(f"{called!r} has no sound in it.", item=called)
    count, joined = len(channels), channels.pop(0)
    while channels:
        joined += channels.pop(0)
    return Sound(np.frombuffer(joined, np.float32).reshape(count, -1), wanted)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    # PyAV raises an IndexError for streams that appear midway, at the end, when all frames of this one have come out.
    with contextlib.suppress(IndexError):
        yield from container.decode(stream)


def _blocks(frames: Iterable[Any], rate: int, channels: int | None) -> Iterator[Any]:
    """Yield the samples of decoded frames as arrays, all with this rate and this number of channels.

    Args:
        channels: Default: as many as the first frame has. Frames that have another number give each channel their mean.
    """
    import av
    import numpy as np

    # A resampler accepts frames of one kind only, and files that were joined, such as MP3s, change in the middle.
    for _, alike in itertools.groupby(frames, lambda frame: (frame.format.name, frame.layout.name, frame.sample_rate)):
        # Packed, since PyAV reads beyond the memory of frames that have a plane for each of many channels. FFmpeg does
        # not mix channels, since the sum of loud ones exceeds the full scale.
        resampler = av.AudioResampler(format="flt", rate=rate)
        for frame in itertools.chain(alike, [None]):
            if frame is not None:
                frame.pts = None  # samples are counted: gaps in time stamps do not become silence
            for block in resampler.resample(frame):
                samples = block.to_ndarray().reshape(-1, block.layout.nb_channels).T
                channels = channels or len(samples)
                if len(samples) != channels:
                    samples = np.broadcast_to(samples.mean(axis=0), (channels, samples.shape[1]))
                yield np.ascontiguousarray(samples)
