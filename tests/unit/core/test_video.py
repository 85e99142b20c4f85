"""Frames of videos: exactly the one that was asked for, upright, from real files."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from tests.unit.core.clips import FRAMES, numbered, shown_number, write

from encord_agents.core.video import (
    count_frames,
    get_frame,
    iter_video,
    iter_video_with_indices,
    iterate_frames,
    read_video_frame,
    write_frame,
)
from encord_agents.core.vision import read_image
from encord_agents.exceptions import PrintableError


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


def test_frames_are_for_drawing_on(clip: Path) -> None:
    """Pixels can be written to, and belong to one frame alone."""
    frames = list(iterate_frames(clip, step=10))
    frames[0].content[:] = 255
    assert [shown_number(frame.content) for frame in frames[1:]] == [10, 20]


def test_no_such_frame(clip: Path) -> None:
    """A single frame that there is not is an error, which tells how many there are."""
    with pytest.raises(PrintableError, match=r"'holiday' has 30 frames \(0 to 29\), so there is no frame 30"):
        read_video_frame(clip, 30, name="holiday")
    for number in (-1, 2.5):
        with pytest.raises(PrintableError, match=f"no frame {number}"):
            read_video_frame(clip, number)  # type: ignore[arg-type]


def test_old_names(clip: Path) -> None:
    """The names of 0.2.10 give the same frames; with indices, in their order."""
    assert [frame.frame for frame in iter_video(clip)] == list(range(FRAMES))
    frames = list(iter_video_with_indices(clip, iter([3, 1, 1, 20, 99])))
    assert [frame.frame for frame in frames] == [3, 1, 1, 20]
    assert [shown_number(frame.content) for frame in frames] == [3, 1, 1, 20]
    assert shown_number(get_frame(clip, 13)) == 13


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_numbers_without_end(tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    """As in 0.2.10, numbers are asked for one by one, and the first one beyond the last frame is the last."""
    clip = numbered(tmp_path / f"a{suffix}", **({} if suffix == ".mp4" else {"codec": "mpeg4"}))
    for numbers, expected in [
        (itertools.count(0, 10), [0, 10, 20]),
        (itertools.chain([20, 5], itertools.count(7, 9)), [20, 5, 7, 16, 25]),
        ([3, 30, 4, -1], [3]),
    ]:
        caplog.clear()
        frames = list(iter_video_with_indices(clip, numbers))
        assert [frame.frame for frame in frames] == expected
        assert [shown_number(frame.content) for frame in frames] == expected
        assert len(caplog.records) == 1
        assert "has 30 frames" in caplog.text
    with pytest.raises(PrintableError, match="no frame -1"):
        list(iter_video_with_indices(clip, iter([3, -1])))


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
    write_frame(tmp_path / "flat.png", found[:, :, 2:])
    assert np.array_equal(read_image(tmp_path / "flat.png")[:, :, 0], found[:, :, 2])


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".TIFF", ".PNG", ".ppm"])
def test_formats_to_write(tmp_path: Path, suffix: str) -> None:
    """Frames are written in every format that Pillow writes; other suffixes are refused by name."""
    found = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)
    write_frame(tmp_path / f"frame{suffix}", found)
    assert np.array_equal(read_image(tmp_path / f"frame{suffix}"), found[:, :, ::-1])
    with pytest.raises(ValueError, match=r"\.xyz"):
        write_frame(tmp_path / "frame.xyz", found)
