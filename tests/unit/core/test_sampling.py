"""Some of a video's frames: exactly those that were asked for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import films
from tests.unit.core.clips import FRAMES, shown_number

from encord_agents.core.sampling import VideoSampler, sample_frames, sample_seconds, sample_share
from encord_agents.core.video import read_video_frame
from encord_agents.exceptions import PrintableError


def test_sampling(clip: Path) -> None:
    """Chosen frames come exactly, in the order and as often as they are named; no numbers, no frames."""
    frames = list(sample_frames(clip, [29, 3, 17, 3, 0]))
    assert [frame.frame for frame in frames] == [29, 3, 17, 3, 0]
    assert [shown_number(frame.content) for frame in frames] == [29, 3, 17, 3, 0]
    assert list(sample_frames(clip, [])) == []
    assert shown_number(read_video_frame(clip)) == 0
    assert shown_number(read_video_frame(clip, 13)) == 13


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
    """Numbers beyond the end are left out, with one warning that tells how many frames there are."""
    assert [frame.frame for frame in sample_frames(clip, [29, 30, 31], name="holiday")] == [29]
    assert "'holiday' has 30 frames (0 to 29), so there is no frame 30" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, math.nan, math.inf])
def test_no_such_share(share: float, clip: Path) -> None:
    """A share is above 0 and at most 1: said at the call, before a frame is asked for."""
    with pytest.raises(PrintableError, match="above 0 and at most 1"):
        sample_share(clip, share)


@pytest.mark.parametrize("every", [0.0, -1.0, math.nan, math.inf])
def test_no_such_seconds(every: float, clip: Path) -> None:
    """So is a distance that is not above 0."""
    with pytest.raises(PrintableError, match="above 0"):
        sample_seconds(clip, every)


@pytest.mark.parametrize("numbers", [[-1], [3, -2], [np.int64(-5)]])
def test_negative_numbers(numbers: list[int], clip: Path) -> None:
    """So are numbers below 0, wherever they are in the list."""
    with pytest.raises(PrintableError, match=f"no frame {min(numbers)}"):
        sample_frames(clip, numbers)


@pytest.mark.parametrize("numbers", [np.array([4, 2], np.uint8), [4.0, np.float32(2)], np.linspace(4, 2, 2)])
def test_numbers_of_any_type(numbers: Any, clip: Path) -> None:
    """Whole numbers of any type are numbers, and come back as Python's; fractions are refused, not cut."""
    frames = list(sample_frames(clip, numbers))
    assert [(frame.frame, type(frame.frame)) for frame in frames] == [(4, int), (2, int)]
    for wrong in (1.5, math.nan, math.inf, "3", None):
        with pytest.raises(PrintableError, match=f"no frame {wrong!r}. Round it"):
            sample_frames(clip, [*numbers, wrong])


@pytest.mark.parametrize("every", [1e-9, 1e-320])
@pytest.mark.parametrize("on_damage", ["warn", "raise"])  # by seeking, and from the start
def test_many_times_within_a_frame(clip: Path, every: float, on_damage: Any) -> None:
    """However short the time between two samples is, each frame is given once, and no sample is counted."""
    sampler = VideoSampler(clip, on_damage=on_damage)
    assert [frame.frame for frame in sampler.seconds(every)] == list(range(FRAMES))


@pytest.mark.parametrize("on_damage", ["warn", "raise"])
def test_a_frame_in_the_far_future(tmp_path: Path, on_damage: Any) -> None:
    """A time stamp that is centuries late costs no time."""
    path = films.film(tmp_path / "a.mkv", 4, times=[0, 1, 2, 1 << 40])
    sampler = VideoSampler(path, on_damage=on_damage)
    assert [frame.frame for frame in sampler.seconds(0.1)] == [0, 1, 2, 3]


def test_one_sampler_many_times(clip: Path) -> None:
    """One sampler samples in every way, also while another of its iterators is only half done."""
    sampler = VideoSampler(clip)
    half = sampler.frames([20, 10])
    assert next(half).frame == 20
    assert [frame.frame for frame in sampler.seconds(1.0)] == [0, 10, 20]
    assert [frame.frame for frame in sampler.share(0.1)] == [0, 10, 20]
    assert [shown_number(frame.content) for frame in half] == [10]


def test_damage_is_known_by_name(clip: Path) -> None:
    """Another word than "warn" and "raise" is refused with both."""
    assert len(list(sample_frames(clip, range(FRAMES), on_damage="raise"))) == FRAMES
    with pytest.raises(ValueError, match="'warn' or 'raise'"):
        sample_frames(clip, [0], on_damage="ignore")  # type: ignore[arg-type]
