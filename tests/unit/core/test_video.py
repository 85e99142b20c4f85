"""Frames of videos: exactly the one that was asked for, upright, from real files."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from encord_agents.core.video import (
    count_frames,
    get_frame,
    iter_video,
    iter_video_with_indices,
    iterate_frames,
    read_video_frame,
    sample_frames,
    sample_share,
    write_frame,
)
from encord_agents.core.vision import read_image
from encord_agents.exceptions import PrintableError, UnsupportedAssetError

FRAMES = 30
STEP = 8  # of brightness, from frame to frame


def write(path: Path, pictures: list[NDArray[np.uint8]], codec: str = "libx264", **options: str) -> Path:
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 8_000_000
        if codec == "libx264":
            stream.options = {"bf": "3", "g": "12", "crf": "8"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def numbered(path: Path, codec: str = "libx264", **options: str) -> Path:
    """A video whose frame ``n`` is grey of brightness ``n * STEP``."""
    return write(path, [np.full((32, 64, 3), n * STEP, np.uint8) for n in range(FRAMES)], codec, **options)


def shown_number(pixels: NDArray[np.uint8]) -> int:
    return round(float(pixels.mean()) / STEP)


@pytest.fixture(scope="module", params=["mp4", "ts", "mkv", "avi"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clips")
    codec = "mpeg4" if request.param == "avi" else "libx264"
    return numbered(directory / f"clip.{request.param}", codec)


def test_the_clip_has_b_frames(tmp_path: Path) -> None:
    """The frames of the clip are stored in another order than they are shown in, or these tests would prove little."""
    with av.open(str(numbered(tmp_path / "clip.mp4"))) as container:
        shown = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert shown != sorted(shown)


def test_every_frame(clip: Path) -> None:
    """Iterating gives every frame once, in order, with its number, as RGB bytes."""
    frames = list(iterate_frames(clip))
    assert [frame.frame for frame in frames] == list(range(FRAMES))
    assert [shown_number(frame.content) for frame in frames] == list(range(FRAMES))
    assert {(frame.content.shape, frame.content.dtype) for frame in frames} == {((32, 64, 3), np.dtype(np.uint8))}
    assert count_frames(clip) == FRAMES


def test_every_nth_frame(clip: Path) -> None:
    """A step keeps the numbers of the frames it gives."""
    frames = list(iterate_frames(clip, step=7))
    assert [frame.frame for frame in frames] == [0, 7, 14, 21, 28]
    assert [shown_number(frame.content) for frame in frames] == [0, 7, 14, 21, 28]
    with pytest.raises(ValueError, match="at least 1"):
        iterate_frames(clip, step=0)


def test_sampling(clip: Path) -> None:
    """Chosen frames come exactly, in the order and as often as they are named; no numbers, no frames."""
    frames = list(sample_frames(clip, [29, 3, 17, 3, 0]))
    assert [frame.frame for frame in frames] == [29, 3, 17, 3, 0]
    assert [shown_number(frame.content) for frame in frames] == [29, 3, 17, 3, 0]
    assert list(sample_frames(clip, [])) == []
    assert shown_number(read_video_frame(clip)) == 0
    assert shown_number(read_video_frame(clip, 13)) == 13


def test_frames_are_for_drawing_on(clip: Path) -> None:
    """Pixels can be written to, and belong to one frame alone."""
    frames = list(iterate_frames(clip, step=10))
    frames[0].content[:] = 255
    assert [shown_number(frame.content) for frame in frames[1:]] == [10, 20]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (1, list(range(30))),
        (0.1, [0, 10, 20]),
        (1 / 3, [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]),
        (0.3, [0, 3, 6, 10, 13, 16, 20, 23, 26]),
        (0.7, [0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 14, 15, 17, 18, 20, 21, 22, 24, 25, 27, 28]),
    ],
)
def test_a_share(share: float, expected: list[int], clip: Path) -> None:
    """A share of the frames is evenly spaced, also where its step is no whole number."""
    frames = list(sample_share(clip, share))
    assert [frame.frame for frame in frames] == expected
    assert [shown_number(frame.content) for frame in frames] == expected


def test_no_such_frame(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A number beyond the end is a warning that says how many frames there are; alone, it is an error."""
    assert [frame.frame for frame in sample_frames(clip, [29, 30, 31], name="holiday")] == [29]
    assert "'holiday' has 30 frames (0 to 29), so there is no frame 30" in caplog.text
    with pytest.raises(PrintableError, match=r"'holiday' has 30 frames \(0 to 29\), so there is no frame 30"):
        read_video_frame(clip, 30, name="holiday")
    for first in (sample_frames, lambda path, numbers: read_video_frame(path, numbers[0])):
        with pytest.raises(PrintableError, match="no frame -1"):
            first(clip, [-1])


def test_old_names(clip: Path) -> None:
    """The names of 0.2.10 give the same frames; with indices, in their order."""
    assert [frame.frame for frame in iter_video(clip)] == list(range(FRAMES))
    frames = list(iter_video_with_indices(clip, iter([3, 1, 1, 20, 99])))
    assert [frame.frame for frame in frames] == [3, 1, 1, 20]
    assert [shown_number(frame.content) for frame in frames] == [3, 1, 1, 20]
    assert shown_number(get_frame(clip, 13)) == 13


def test_blue_comes_first(tmp_path: Path) -> None:
    """`get_frame` gives, and `write_frame` takes, blue before green before red; grey and transparency pass."""
    red = np.zeros((32, 64, 3), np.uint8) + np.array([200, 40, 0], np.uint8)
    found = get_frame(write(tmp_path / "red.mp4", [red]), 0)
    assert np.abs(found.astype(int) - [0, 40, 200]).max() <= 12
    write_frame(tmp_path / "red.png", found)
    assert np.array_equal(read_image(tmp_path / "red.png"), found[:, :, ::-1])
    write_frame(tmp_path / "grey.png", found[:, :, 2])
    assert np.array_equal(read_image(tmp_path / "grey.png")[:, :, 0], found[:, :, 2])
    write_frame(tmp_path / "clear.png", np.dstack([found, np.full((32, 64), 255, np.uint8)]))
    assert np.array_equal(read_image(tmp_path / "clear.png"), found[:, :, ::-1])
    with pytest.raises(ValueError, match=r"'\.bmp'"):
        write_frame(tmp_path / "red.bmp", found)


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
