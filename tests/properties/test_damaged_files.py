"""Damage of any kind, thousands of times: no raw error, no pixel lost to metadata, no wrong number without a warning.

Derandomised: the same files are made on every machine. ``ENCORD_AGENTS_DAMAGED_FILES=10`` makes ten times as many.
"""

from __future__ import annotations

import io
import logging
import os
import random
import struct
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from tests import films

from encord_agents.core.video import count_frames, iterate_frames
from encord_agents.core.vision import read_image
from encord_agents.exceptions import UnsupportedAssetError

TIMES = int(os.environ.get("ENCORD_AGENTS_DAMAGED_FILES", "1"))
PICTURES = 60 * TIMES  # of each of five formats
FILMS = 5 * TIMES  # of each of five kinds, damaged in two ways

# Pictures

PHOTO = Image.fromarray(
    (np.add.outer(np.arange(32) * 3, np.arange(48) * 2)[:, :, None] + np.array([0, 40, 80])).astype(np.uint8)
)


def photo(kind: str) -> bytes:
    """A picture with all the metadata that its format can hold, on its side."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x011A], exif[0x0110] = 6, "a description", 72.5, "a camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'
    texts = PngImagePlugin.PngInfo()
    texts.add_text("a", "hello" * 20)
    texts.add_itxt("b", "w" * 50, zip=True)
    texts.add_text("c", "z" * 90, zip=True)
    options = {
        "JPEG": {"quality": 95, "comment": b"hi", "xmp": xmp},
        "PNG": {"pnginfo": texts},
        "WEBP": {"lossless": True, "xmp": xmp},
        "TIFF": {},
        "AVIF": {"quality": 90},
    }[kind]
    file = io.BytesIO()
    PHOTO.save(file, kind, exif=exif if kind == "TIFF" else exif.tobytes(), icc_profile=profile, **options)  # type: ignore[arg-type]
    return file.getvalue()


def metadata_of(content: bytes) -> Iterator[tuple[int, int]]:
    """Where a file's metadata is; of formats in which it is everywhere, the whole file."""
    if content[:2] == b"\xff\xd8":
        at = 2
        while (marker := struct.unpack_from(">HH", content, at))[0] != 0xFFDA:
            if (0xFFE1 <= marker[0] <= 0xFFEF and marker[0] != 0xFFEE) or marker[0] == 0xFFFE:
                yield at + 4, at + 2 + marker[1]
            at += 2 + marker[1]
    elif content[:4] == b"\x89PNG":
        at = 8
        while at < len(content):
            size, name = struct.unpack_from(">I4s", content, at)
            if name[0] & 0x20:
                yield at + 8, at + 12 + size  # the sum, too
            at += 12 + size
    elif content[:4] == b"RIFF":
        at = 12
        while at < len(content):
            name, size = struct.unpack_from("<4sI", content, at)
            if name in (b"EXIF", b"XMP ", b"ICCP"):
                yield at + 8, at + 8 + size
            at += 8 + size + size % 2
    else:
        yield 0, len(content)


def with_damage(content: bytes, places: list[tuple[int, int]], chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 5])):
        start, end = chance.choice(places)
        at = chance.randrange(start, end)
        size = min(chance.choice([1, 2, 4, 30]), end - at)
        damaged[at : at + size] = chance.choice([bytes(size), b"\xff" * size, chance.randbytes(size)])
    return bytes(damaged)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_with_damaged_metadata(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The pixels are those of the whole file, turned or not; an error only where the two cannot be told apart."""
    content = photo(kind)
    places = list(metadata_of(content))
    path = tmp_path / "picture"
    path.write_bytes(content)
    whole = read_image(path)
    turned = [np.rot90(pixels, turns).astype(int) for pixels in (whole, whole[:, ::-1]) for turns in range(4)]
    refused: list[str] = []
    for seed in range(PICTURES):
        path.write_bytes(with_damage(content, places, random.Random(f"{kind} {seed}")))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore" if seed % 2 else "error")
                pixels = read_image(path, name="holiday")
        except UnsupportedAssetError as error:
            refused.append(str(error))
            continue
        assert (pixels.dtype, pixels.shape[2:]) == (np.uint8, (3,))
        if kind not in ("TIFF", "AVIF"):
            assert any(t.shape == pixels.shape and np.abs(t - pixels).max() <= 2 for t in turned), seed
    assert all("'holiday'" in message for message in refused)
    assert not refused or kind in ("TIFF", "AVIF")
    capfd.readouterr()  # libtiff speaks its mind


# Films


def a_film(kind: str, directory: Path) -> Path:
    """Each frame by itself, so that what it shows is its own number, whatever happens to the others."""
    return {
        "mp4": lambda: films.film(directory / "film.mp4", options={"g": "1", "bf": "0"}),
        "mkv": lambda: films.film(directory / "film.mkv", options={"g": "1", "bf": "0"}),
        "ts": lambda: films.film(directory / "film.ts", options={"g": "1", "bf": "0"}),
        "avi": lambda: films.film(directory / "film.avi", codec="mpeg4", options={"g": "1"}),
        "webm": lambda: films.film(directory / "film.webm", codec="libvpx", options={"g": "1", "lag-in-frames": "0"}),
    }[kind]()


def with_damaged_packets(content: bytes, places: list[tuple[int, int]], chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice([1, 1, 3])):
        start, size = chance.choice(places)
        at = start + chance.randrange(size)
        length = min(chance.choice([1, 8, 200, size]), start + size - at)
        damaged[at : at + length] = chance.choice([bytes(length), chance.randbytes(length)])
    return bytes(damaged)


def with_damage_anywhere(content: bytes, places: list[tuple[int, int]], chance: random.Random) -> bytes:
    at, size = chance.randrange(len(content)), chance.choice([1, 8, 200, 2000])
    middle = chance.choice([b"", bytes(size), chance.randbytes(size)])
    return content[:at] + middle + content[at + size :]


@pytest.mark.parametrize("damage", [with_damaged_packets, with_damage_anywhere], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts", "avi", "webm"])
def test_damaged_films(
    kind: str, damage: Callable[..., bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each frame that is given shows the number it has, or there is a warning; numbers ascend, and counting agrees."""
    av.logging.set_level(av.logging.PANIC)
    caplog.set_level(logging.WARNING, "encord_agents")
    path = a_film(kind, tmp_path)
    content, places = path.read_bytes(), films.packets(path)
    refused: list[str] = []
    for seed in range(FILMS):
        path.write_bytes(damage(content, places, random.Random(f"{kind} {damage.__name__} {seed}")))
        caplog.clear()
        found = []
        try:
            found = [(frame.frame, films.number_in(frame.content)) for frame in iterate_frames(path, name="holiday")]
        except UnsupportedAssetError as error:
            refused.append(str(error))
            continue
        said = list(caplog.messages)
        assert len(said) <= 1
        numbers = [number for number, _ in found]
        assert numbers == sorted(set(numbers)), seed
        count = count_frames(path)
        assert count > numbers[-1], seed
        wrong = [(number, shown) for number, shown in found if shown is not None and shown != number]
        if wrong:
            assert said, f"{seed}: {wrong}"
            assert "may be wrong" in said[0] or "may show faults" in said[0] or "may be one off" in said[0], (
                f"{seed}: {said}"
            )
        if damage is with_damaged_packets and len(found) < 30:
            assert said, f"{seed}: {numbers}"
    assert all("'holiday'" in message for message in refused)
