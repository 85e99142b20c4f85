"""Single frames without those before them: the same as when everything is decoded."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests import films

from encord_agents.core import sampling, seeking
from encord_agents.core.seeking import LostError, Seeker
from encord_agents.core.video import (
    iterate_frames,
    read_video_frame,
    sample_frames,
    sample_seconds,
    sample_share,
)
from encord_agents.exceptions import PrintableError

FRAMES = 60
OPEN = {"bf": "2", "g": "10", "x264-params": "open-gop=1:keyint=10:min-keyint=10"}
FILMS: dict[str, dict[str, Any]] = {
    "b-frames.mp4": {},
    "open-gop.mp4": {"options": OPEN},
    "open-gop.mkv": {"options": OPEN},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=10:open-gop=1:log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "10"}},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "10", "auto-alt-ref": "1", "lag-in-frames": "10"}},
    "mpeg4.mov": {"codec": "mpeg4", "options": {"bf": "2", "g": "10"}},
    "mpeg2.mkv": {"codec": "mpeg2video", "options": {"bf": "2", "g": "10"}},
    "pyramid.mp4": {"options": {"bf": "7", "g": "30", "x264-params": "b-pyramid=normal:b-adapt=0:ref=4:weightp=2"}},
    "strict-pyramid.mkv": {"options": {"bf": "4", "g": "25", "x264-params": "b-pyramid=strict:b-adapt=0:open-gop=1"}},
    "variable.mp4": {"times": [2 * n + n % 5 * (n % 3) for n in range(FRAMES)]},
    "variable.mkv": {"times": [2 * n + n % 5 * (n % 3) for n in range(FRAMES)]},
}


@pytest.fixture(params=FILMS)
def film(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    options = dict(FILMS[request.param])
    if "times" in options:
        options["times"] = sorted(set(options["times"]))[:FRAMES]
        return films.film(tmp_path / request.param, len(options["times"]), **options)
    return films.film(tmp_path / request.param, FRAMES, **options)


def test_any_frame_in_any_order(film: Path) -> None:
    """Pixel by pixel as when iterating, whatever lies between, forwards and back."""
    expected = [frame.content for frame in iterate_frames(film)]
    seeker = Seeker.of(film)
    assert seeker is not None
    assert seeker.count == len(expected)
    numbers = [random.Random(1).randrange(seeker.count) for _ in range(40)]
    numbers += [5, 5, 4, seeker.count - 1, 0]
    found = list(sample_frames(film, numbers))
    assert [frame.frame for frame in found] == numbers
    for frame in found:
        assert np.array_equal(frame.content, expected[frame.frame])


def test_only_what_is_needed_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame costs those since the key frame before it, and no more for those that follow it."""
    path = films.film(tmp_path / "a.mp4", FRAMES, options={"bf": "0", "g": "10"})
    seeker = Seeker.of(path)
    assert seeker is not None
    sent: list[int] = []
    real = seeking._Decoder._decode

    def counting(self: Any, *arguments: Any) -> Any:
        for frame in real(self, *arguments):
            sent.append(self.sent)
            yield frame

    monkeypatch.setattr(seeking._Decoder, "_decode", counting)
    assert [number for number, _ in seeker.frames([45, 45, 47, 3])] == [45, 45, 47, 3]
    decoders_hold_back = 8
    assert len(sent) <= (47 - 40 + 1) + (3 + 1) + 2 * decoders_hold_back
    assert min(sent) < 10


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.mkv", "mpeg2video")])
def test_pictures_that_no_other_refers_to(
    tmp_path: Path, name: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are decoded only if they are asked for."""
    options = {"bf": "2", "g": "60", "b_strategy": "0"}
    path = films.film(tmp_path / name, FRAMES, codec=codec, options=options)
    wanted = [7, 20, 21, 59]
    shown: list[int] = []
    real = seeking._Decoder._decode

    def counting(self: Any, *arguments: Any) -> Any:
        for frame in real(self, *arguments):
            shown.append(frame.pts)
            yield frame

    monkeypatch.setattr(seeking._Decoder, "_decode", counting)
    assert [films.number_in(frame.content) for frame in sample_frames(path, wanted)] == wanted
    assert len(wanted) < len(shown) < FRAMES * 0.75


def test_a_decoder_that_has_to_see_all_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given them, without reading the film from its start."""
    path = films.film(tmp_path / "a.mp4", FRAMES, options={"bf": "2", "g": "20"})
    real = seeking._Decoder.find
    lost: list[bool] = []

    def losing(self: Any, time: int) -> Any:
        if self._wanted is not None and time > 20_000:
            lost.append(True)
            raise LostError
        return real(self, time)

    monkeypatch.setattr(seeking._Decoder, "find", losing)
    monkeypatch.setattr(sampling, "Film", None)
    numbers = [5, 30, 55, 31]
    assert [films.number_in(frame.content) for frame in sample_frames(path, numbers)] == numbers
    assert lost == [True]


def test_a_sampler_looks_at_the_packets_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked."""
    path = films.film(tmp_path / "a.mp4", 30)
    looks: list[Path] = []
    real = Seeker.of

    def counting(path: Path, name: str | None = None) -> Seeker | None:
        looks.append(path)
        return real(path, name)

    monkeypatch.setattr(Seeker, "of", counting)
    sampler = sampling.VideoSampler(path)
    for _ in range(3):
        assert [films.number_in(frame.content) for frame in sampler.frames([7, 3])] == [7, 3]
        assert [films.number_in(frame.content) for frame in sampler.share(0.1)] == [0, 10, 20]
        assert [films.number_in(frame.content) for frame in sampler.seconds(1.0)] == [0, 10, 20]
    assert looks == [path]


def test_the_way_is_as_exact_where_there_is_none(tmp_path: Path) -> None:
    """In containers that cannot be sought in exactly, the film is read from its start."""
    for name in ("a.ts", "a.avi", "a.h264"):
        path = films.film(tmp_path / name, 30)
        assert Seeker.of(path) is None
        numbers = [20, 3, 3, 29]
        assert [films.number_in(frame.content) for frame in sample_frames(path, numbers)] == numbers
        assert films.number_in(read_video_frame(path, 17)) == 17


@pytest.mark.parametrize("held", [1, 3, 100])
def test_few_frames_wait_for_their_turn(tmp_path: Path, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the order, and however many may wait, they are the frames that were asked for."""
    monkeypatch.setattr(sampling, "HELD_PIXELS", held * films.WIDTH * films.HEIGHT)
    path = films.film(tmp_path / "a.mp4", 30)
    numbers = [20, 3, 25, 3, 11, 29, 0, 25]
    assert [films.number_in(frame.content) for frame in sample_frames(path, numbers)] == numbers


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_surprise_on_the_way(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not where it was promised is looked for from the start; frames until then are not given twice."""
    path = films.film(tmp_path / f"a.{suffix}", 30)
    real = seeking._Decoder.find
    left = [2]

    def losing(self: Any, time: int) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise LostError
        return real(self, time)

    monkeypatch.setattr(seeking._Decoder, "find", losing)
    numbers = [20, 3, 25, 11, 29]
    assert [films.number_in(frame.content) for frame in sample_frames(path, numbers)] == numbers
    left[0] = 2
    assert [films.number_in(frame.content) for frame in sample_frames(path, sorted(numbers))] == sorted(numbers)
    left[0] = 2
    assert [films.number_in(frame.content) for frame in sample_share(path, 0.2)] == [0, 5, 10, 15, 20, 25]
    left[0] = 0
    assert films.number_in(read_video_frame(path, 11)) == 11


def test_a_film_that_was_cut(tmp_path: Path) -> None:
    """An edit list hides frames that others refer to: they have no number, and are decoded all the same."""
    whole = films.film(tmp_path / "whole.mp4", 40, options={"bf": "0", "g": "10"})
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream: Any = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:
                continue
            shift = round(1.5 / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = stream
            target.mux(packet)
    shown = [films.number_in(frame.content) for frame in iterate_frames(cut)]
    for number in (len(shown) - 1, 0, 7, 3):
        (frame,) = sample_frames(cut, [number])
        assert films.number_in(frame.content) == shown[number]


# By time


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_by_seconds(tmp_path: Path, suffix: str) -> None:
    """The frame that is shown then, at ten frames a second; each once, however close the times are."""
    path = films.film(tmp_path / f"a.{suffix}", 30)
    for every, expected in ((0.5, [0, 5, 10, 15, 20, 25]), (0.25, [0, 2, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27]),
                            (0.04, list(range(29))), (10.0, [0])):  # fmt: skip
        frames = list(sample_seconds(path, every))
        assert [frame.frame for frame in frames] == expected
        assert [films.number_in(frame.content) for frame in frames] == expected


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_by_seconds_where_the_rate_varies(tmp_path: Path, suffix: str) -> None:
    """A frame stays on the screen until the next one comes."""
    path = films.film(tmp_path / f"a.{suffix}", 6, times=[0, 1, 2, 12, 13, 30])
    assert [frame.frame for frame in sample_seconds(path, 1.0)] == [0, 2, 4, 5]


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf")])
def test_seconds_that_make_no_sense(tmp_path: Path, every: float) -> None:
    """They are refused before anything is read."""
    with pytest.raises(PrintableError, match="every so many seconds above 0"):
        sample_seconds(tmp_path / "none.mp4", every)
