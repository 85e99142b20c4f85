"""Films whose frames show their number, and covers; for tests of which frame is which."""

from __future__ import annotations

import functools
import io
import struct
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 256, 64
BITS = 8


def picture(number: int) -> NDArray[np.uint8]:
    """The number in eight black or white fields, over grain that gives packets some size."""
    grain = np.random.default_rng(number).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    pixels = grain.repeat(4, 0).repeat(4, 1)
    for bit in range(BITS):
        pixels[16:48, bit * 32 : bit * 32 + 32] = 255 * (number >> bit & 1)
    return pixels


def number_in(pixels: NDArray[np.uint8]) -> int | None:
    """The number that a frame shows, or `None` where damage has made it illegible."""
    fields = pixels[22:42].mean(axis=(0, 2)).reshape(BITS, 32)[:, 6:26].mean(axis=1)
    if np.abs(fields - 128).min() < 80:
        return None
    return int(sum(1 << bit for bit in range(BITS) if fields[bit] > 128))


def film(
    path: Path,
    frames: int = 30,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    **container_options: str,
) -> Path:
    """A film at ten frames a second, or with frames at ``times``, in tenths of a second."""
    if options is None and codec == "libx264":
        options = {"bf": "2", "g": "10", "crf": "20"}
    given = (options or {}, container_options)
    path.write_bytes(
        _content(path.suffix, frames, codec, times and tuple(times), *(tuple(sorted(one.items())) for one in given))
    )
    return path


@functools.cache
def _content(
    suffix: str,
    frames: int,
    codec: str,
    times: tuple[int, ...] | None,
    options: tuple[tuple[str, str], ...],
    container_options: tuple[tuple[str, str], ...],
) -> bytes:
    """Make a film, once in a process: a second of processor time for those of many frames."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"film{suffix}"
        _encode(path, frames, codec, times, dict(options), dict(container_options))
        return path.read_bytes()


def _encode(
    path: Path,
    frames: int,
    codec: str,
    times: tuple[int, ...] | None,
    options: dict[str, str],
    container_options: dict[str, str],
) -> None:
    with av.open(str(path), "w", options=container_options) as container:
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.bit_rate = 4_000_000
        stream.options = options
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            if times is not None:
                frame.pts = times[number]
                frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def packets(path: Path) -> list[tuple[int, int]]:
    """Where the packets of a film's first video stream are in the file, and how long, in the file's order."""
    with av.open(str(path)) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def cover() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def with_cover(path: Path, *, first: bool) -> Path:
    """Give an MP4 file a cover, as music programs do: its box before that of the film, or after it."""
    content = path.read_bytes()
    data = _box(b"data", struct.pack(">II", 13, 0) + cover())
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    udta = _box(b"udta", _box(b"meta", bytes(4) + handler + _box(b"ilst", _box(b"covr", data))))
    start = content.rindex(b"moov") - 4
    size = struct.unpack_from(">I", content, start)[0]
    assert start + size == len(content), "the film's data comes first, so that nothing moves it"
    place = content.index(b"trak", start) - 4 if first else start + size
    moov = content[start + 8 : place] + udta + content[place : start + size]
    path.write_bytes(content[:start] + _box(b"moov", moov))
    return path


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def sound(path: Path) -> Path:
    return spoken(path, 44100, 1, format="mp4")


def spoken(path: Path, rate: int, channels: int, *, format: str = "adts", loud: bool = False) -> Path:
    """A second of silence, or of a loud tone."""
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(str(path), "w", format=format) as container:
        stream: Any = container.add_stream("aac", rate=rate, layout=layout)
        tone = np.tile(0.9 * np.sin(np.arange(rate) / 10) if loud else np.zeros(rate), (channels, 1))
        frame = av.AudioFrame.from_ndarray(tone.astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def late_film(path: Path, seconds: int) -> Path:
    """An FLV file of silence, whose film begins after so many seconds, where nobody looks for it."""
    film_path = film(path.with_name("film.flv"), 3, codec="flv1")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=44100, layout="stereo")
        for second in range(seconds):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * 44100), np.int16), format="s16", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 44100, second * 44100, Fraction(1, 44100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes() + film_path.read_bytes()[13:])  # without its header
    return path


def joined(path: Path, *films: Path, default: int) -> Path:
    """Several films as the streams of one file; one of them is marked as the one to play."""
    sources = [av.open(str(film)) for film in films]
    with av.open(str(path), "w") as container:
        streams = []
        for number, source in enumerate(sources):
            stream: Any = container.add_stream_from_template(source.streams.video[0])
            stream.disposition = av.stream.Disposition.default.value if number == default else 0
            streams.append(stream)
        for source, stream in zip(sources, streams, strict=True):
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    container.mux(packet)
    for source in sources:
        source.close()
    return path
