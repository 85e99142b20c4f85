"""A video's file: upright pixels of its main stream, and clear errors where it is none."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from tests import films
from tests.unit.core.clips import numbered, write

from encord_agents.core import video_file
from encord_agents.core.video import count_frames, iterate_frames, read_video_frame
from encord_agents.exceptions import UnsupportedAssetError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize(
    ("matrix", "corners"),
    [
        # a, b, c, d of a track's matrix: (x, y) is shown at (a x + c y, b x + d y), y downwards (ISO 14496-12, 8.3.2).
        ((1, 0, 0, 1), [RED, GREEN, BLUE, WHITE]),
        ((0, 1, -1, 0), [BLUE, RED, WHITE, GREEN]),  # a quarter turn clockwise: what a phone held upright writes
        ((-1, 0, 0, -1), [WHITE, BLUE, GREEN, RED]),
        ((0, -1, 1, 0), [GREEN, WHITE, RED, BLUE]),
    ],
    ids=["upright", "clockwise", "upside down", "counter-clockwise"],
)
def test_rotation(matrix: tuple[int, int, int, int], corners: list[tuple[int, int, int]], tmp_path: Path) -> None:
    """A rotated video comes upright: top left, top right, bottom left, bottom right are where players show them."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:16, :32], picture[:16, 32:], picture[16:, :32], picture[16:, 32:] = RED, GREEN, BLUE, WHITE
    path = write(tmp_path / "phone.mp4", [picture] * 2)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # version 0: 4 type, 4 flags, 20 times and ids, 16 layer and volume
    assert content[start : start + 36] == struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    a, b, c, d = (value << 16 for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)

    pixels = read_video_frame(path)
    quarter_turned = matrix[0] == 0
    assert pixels.shape == ((64, 32, 3) if quarter_turned else (32, 64, 3))
    assert pixels.flags.c_contiguous
    found = [pixels[4, 4], pixels[4, -5], pixels[-5, 4], pixels[-5, -5]]
    for corner, expected in zip(found, corners, strict=True):
        assert np.abs(corner.astype(int) - expected).max() < 60


def test_damaged(tmp_path: Path) -> None:
    """Whatever is no video, or half of one, is refused by the item's name."""
    whole = numbered(tmp_path / "clip.mp4").read_bytes()
    early_index = numbered(tmp_path / "fast.mp4", movflags="faststart").read_bytes()
    contents = [b"", b"hello" * 100, whole[:1000], early_index[: len(early_index) * 3 // 4]]
    for number, content in enumerate(contents):
        path = tmp_path / f"tmp-{number}.mp4"
        path.write_bytes(content)
        with pytest.raises(UnsupportedAssetError, match=r"'holiday\.mp4' cannot be read as a video") as error:
            list(iterate_frames(path, name="holiday.mp4"))
        assert error.value.item == "holiday.mp4"
        with pytest.raises(UnsupportedAssetError):
            read_video_frame(path, 29)


def test_sound_only(tmp_path: Path) -> None:
    """A file with sound and no pictures is no video."""
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UnsupportedAssetError, match="no pictures"):
        count_frames(path)


def test_missing_file(tmp_path: Path) -> None:
    """A path that is not there is a FileNotFoundError, as everywhere."""
    with pytest.raises(FileNotFoundError):
        count_frames(tmp_path / "none.mp4")


def test_a_name_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is a path, also if its name begins as an address does."""
    monkeypatch.chdir(tmp_path)
    for name in ("2024-05-01T12:30:00.mp4", "file:clip.mp4"):
        assert count_frames(films.film(tmp_path / "film.mp4", 3).rename(name)) == 3


def test_frames_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused before one is decoded, and the message says how to have them."""
    monkeypatch.setattr(video_file, "MAX_FRAME_PIXELS", films.WIDTH * films.HEIGHT - 1)
    with pytest.raises(UnsupportedAssetError, match=r"16,384 pixels, and the limit is 16,383.*MAX_FRAME_PIXELS"):
        count_frames(films.film(tmp_path / "film.mp4", 2))


def test_metadata_that_is_not_text(tmp_path: Path) -> None:
    """A title that is not UTF-8 costs nothing."""
    path = films.film(tmp_path / "film.mp4", 3)
    content = path.read_bytes()
    assert b"Lavf" in content
    path.write_bytes(content.replace(b"Lavf", b"\xff\xfe\xfa\xff"))
    assert count_frames(path) == 3


def test_the_name_is_the_items(tmp_path: Path) -> None:
    """Errors name the item where its name is given, and the file where it is not."""
    path = tmp_path / "tmp-123.mp4"
    path.write_bytes(b"nothing")
    for name, said in (("holiday", "holiday"), (None, path.name)):
        with pytest.raises(UnsupportedAssetError, match="cannot be read as a video") as raised:
            video_file.opened(path, name).__enter__()
        assert str(raised.value).startswith(f"'{said}' ")
        assert raised.value.item == said
