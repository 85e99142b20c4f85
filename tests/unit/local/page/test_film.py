"""Frames of a video for the page."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests import films

from encord_agents.core.video import count_frames, iterate_frames
from encord_agents.local import media
from encord_agents.local.page.film import Film


@pytest.mark.parametrize("first", [True, False])
def test_a_cover_is_no_frame(first: bool, tmp_path: Path) -> None:
    """A video with a cover has the frames of the film, wherever the cover is in the file, as its facts say."""
    path = films.with_cover(films.film(tmp_path / "film.mp4", 5), first=first)
    facts = media.read_file(path, "film.mp4")
    film = Film(path)
    try:
        assert (film.frames, facts.frames, (facts.width, facts.height)) == (5, 5, (films.WIDTH, films.HEIGHT))
        assert [films.number_in(np.asarray(film.frame(number))) for number in (0, 4)] == [0, 4]
    finally:
        film.close()


def test_sound_with_a_cover_has_no_frames(tmp_path: Path) -> None:
    """It is a sound, and refused as a film."""
    path = films.with_cover(films.sound(tmp_path / "sound.m4a"), first=True)
    assert media.read_file(path, "sound.m4a").item_type == "audio"
    with pytest.raises(ValueError, match="no video in it"):
        Film(path)


def cut_by_an_edit_list(path: Path) -> Path:
    """It begins within a group of pictures, whose first ones are decoded and not shown."""
    whole = films.film(path.with_name("whole.mp4"), 40)
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream: Any = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                shift = round(1.5 / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                target.mux(packet)
    return path


def begun_late(path: Path) -> Path:
    """It begins with pictures that cannot be shown, as recordings do."""
    content, packets = films.film(path, 40).read_bytes(), films.packets(path)
    path.write_bytes(content[: packets[0][0] // 188 * 188] + content[packets[5][0] // 188 * 188 :])
    return path


REFRESH = {"bf": "0", "x264-params": "intra-refresh=1:keyint=20"}
LIKE_RUNNERS: dict[str, Callable[[Path], Path]] = {
    "edit-list.mp4": cut_by_an_edit_list,
    "begun-late.ts": begun_late,
    "refresh.mp4": lambda path: films.film(path, 60, options=REFRESH),
    "refresh.mkv": lambda path: films.film(path, 60, options=REFRESH),
    "program.mpg": lambda path: films.film(path, 40),
    "b-frames.avi": lambda path: films.film(path, 40),
    "raw.h264": lambda path: films.film(path, 40),
    "interlaced.mp4": lambda path: films.film(path, 40, options={"x264-params": "tff=1"}),
    "hidden.webm": lambda path: films.film(
        path, 40, codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "10"}
    ),
    "variable.ts": lambda path: films.film(path, 40, times=[number + number // 3 * 9 for number in range(40)]),
}


@pytest.mark.parametrize("name", LIKE_RUNNERS)
def test_numbers_are_those_of_runners(name: str, tmp_path: Path) -> None:
    """Each number has the frame that agents see under it, in whatever order they are asked for."""
    path = LIKE_RUNNERS[name](tmp_path / name)
    seen = [films.number_in(frame.content) for frame in iterate_frames(path)]
    film = Film(path)
    order = list(range(len(seen)))
    random.Random(3).shuffle(order)
    try:
        assert film.frames == media.read_file(path, name, "video").frames == count_frames(path) == len(seen)
        found = {number: films.number_in(np.asarray(film.frame(number))) for number in order}
        assert [found[number] for number in range(len(seen))] == seen
    finally:
        film.close()


@pytest.mark.parametrize("suffix", ["mp4", "flv"])
def test_a_lost_frame_has_no_substitute(suffix: str, tmp_path: Path) -> None:
    """Where a frame cannot be decoded, no other is shown under its number, and those around it keep theirs."""
    path = films.film(tmp_path / f"film.{suffix}", 30, options={"g": "1", "bf": "0"})
    content, (start, _) = bytearray(path.read_bytes()), films.packets(path)[12]
    content[content.index(b"\x65", start)] = 0x6C  # a kind of unit that decoders pass over
    path.write_bytes(content)
    film = Film(path)
    try:
        for number in (13, 12, 11, 12, 29):
            if number == 12:
                with pytest.raises(ValueError, match="frame 12 cannot be decoded"):
                    film.frame(number)
            else:
                assert films.number_in(np.asarray(film.frame(number))) == number
    finally:
        film.close()
