"""The main stream, and true numbers whatever is damaged."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import pytest
from encord.orm.storage import StorageItemType
from tests import films

from encord_agents.core.video import count_frames, iterate_frames, read_video_frame, sample_frames
from encord_agents.core.vision import read_first_frame
from encord_agents.exceptions import UnsupportedAssetError


@pytest.fixture(autouse=True)
def quiet() -> None:
    av.logging.set_level(av.logging.PANIC)


def shown(path: Path, **options: str) -> dict[int, int | None]:
    """What each frame shows, by its number."""
    return {frame.frame: films.number_in(frame.content) for frame in iterate_frames(path, **options)}  # type: ignore[arg-type]


def damaged(path: Path, *which: int) -> Path:
    """The film without the content of some of its packets, in the file's order."""
    content, places = bytearray(path.read_bytes()), films.packets(path)
    for number in which:
        start, size = places[number]
        content[start + 4 : start + size] = bytes(size - 4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("first", [True, False])
def test_a_cover_is_no_video(first: bool, tmp_path: Path) -> None:
    """Wherever its box is."""
    path = films.with_cover(films.film(tmp_path / "film.mp4", 5), first=first)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert shown(path) == {number: number for number in range(5)}
    assert count_frames(path) == 5
    assert films.number_in(read_first_frame(path)) == 0
    assert films.number_in(read_video_frame(path, 3)) == 3
    assert [films.number_in(frame.content) for frame in sample_frames(path, [4, 2])] == [4, 2]


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    """Whatever type it is said to have."""
    path = films.with_cover(films.sound(tmp_path / "song"), first=True)
    for item_type in (None, StorageItemType.VIDEO):
        with pytest.raises(UnsupportedAssetError, match=r"'song' .*sound and an attached picture[\s\S]*dep_asset"):
            read_first_frame(path, item_type=item_type)
    with pytest.raises(UnsupportedAssetError):
        count_frames(path)


def test_the_film_is_what_ffmpeg_would_choose(tmp_path: Path) -> None:
    """A preview that comes before the film is not it."""
    preview = films.film(tmp_path / "preview.mp4", 2)
    path = films.joined(tmp_path / "both.mp4", preview, films.film(tmp_path / "film.mp4", 12), default=1)
    assert count_frames(path) == len(shown(path)) == 12


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_a_lost_frame_leaves_a_gap(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The film goes on, nothing is renumbered, and one warning says which frames."""
    path = films.film(tmp_path / f"film.{suffix}", 30, options={"g": "1", "bf": "0"})
    content, (start, size) = bytearray(path.read_bytes()), films.packets(path)[12]
    at = (
        content.index(b"\x65", start)
        if suffix in ("mp4", "mkv", "flv")
        else content.index(b"\x00\x00\x01\x65", start) + 3
    )
    content[at] = 0x6C  # a kind of unit that decoders pass over
    path.write_bytes(content)
    assert start <= at < start + size
    found = shown(path)
    if suffix == "ts":  # the picture after it has melted into the packet
        assert found == {number: 13 if number == 12 else number for number in range(30) if number != 13}
        assert "frames next to a gap may be one off" in caplog.text
        return
    assert found == {number: number for number in range(30) if number != 12}
    (warning,) = caplog.messages
    assert "Frame 12 could not be decoded" in warning
    caplog.clear()
    assert count_frames(path) == 30
    assert [frame.frame for frame in sample_frames(path, [11, 12, 13])] == [11, 13]
    with pytest.raises(UnsupportedAssetError, match="Frame 12 of 'film"):
        read_video_frame(path, 12)
    seen = []
    with pytest.raises(UnsupportedAssetError, match="Frame 12 could not be decoded"):
        seen.extend(frame.frame for frame in iterate_frames(path, on_damage="raise"))
    with pytest.raises(ValueError, match="'warn' or 'raise'"):
        iterate_frames(path, on_damage="ignore")  # type: ignore[arg-type]


def test_damage_at_the_first_frame(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Frame 0 is lost then, and the second is frame 1."""
    path = damaged(films.film(tmp_path / "film.mp4", 10, codec="mpeg4", options={"g": "1"}), 0)
    found = shown(path)
    assert found == {number: number for number in range(1, 10)} or "Frame 0" in caplog.text
    assert {number: value for number, value in found.items() if number} == {number: number for number in range(1, 10)}


def test_a_whole_film_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In no container, with B-frames or without: no warning, and counts agree."""
    caplog.set_level(logging.DEBUG, "encord_agents")
    made = [films.film(tmp_path / f"film.{suffix}") for suffix in ("mp4", "mkv", "ts", "flv", "avi", "h264")]
    made.append(films.film(tmp_path / "b.avi", codec="mpeg4", options={"bf": "2"}))
    made.append(films.film(tmp_path / "a.webm", codec="libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "10"}))
    made.append(films.film(tmp_path / "interlaced.ts", options={"x264-params": "tff=1"}))
    for path in made:
        assert shown(path) == {number: number for number in range(30)}, path
        assert count_frames(path) == 30
    assert caplog.messages == []


def test_a_variable_rate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers are ranks: a film that stands still for a while has no holes."""
    times = [0, 1, 2, 3, 40, 41, 42, 60, 61, 100, 101, 102]
    for suffix in ("mp4", "mkv"):
        path = films.film(tmp_path / f"film.{suffix}", len(times), times=times)
        assert shown(path) == {number: number for number in range(len(times))}
        assert count_frames(path) == len(times)
    assert caplog.messages == []


def test_a_film_that_begins_within_a_group_of_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Frame 0 is the first that can be shown, and a warning says how many pictures before it do not count."""
    path = films.film(tmp_path / "film.ts", 30)
    content = path.read_bytes()
    cut = films.packets(path)[5][0]
    tables = content[: films.packets(path)[0][0]]
    path.write_bytes(tables[: len(tables) // 188 * 188] + content[cut:])
    assert shown(path) == {number: number + 10 for number in range(20)}
    assert "begins with 5 pictures that cannot be shown" in caplog.text
    assert count_frames(path) == 20


def test_a_film_that_breaks_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is there is given, and where it ends is said; with ``raise``, it is an error."""
    path = films.film(tmp_path / "film.mp4", 30, movflags="faststart")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    found = shown(path)
    assert len(found) > 15
    assert all(value in (number, None) for number, value in found.items())
    assert "'film.mp4' is damaged" in caplog.text
    with pytest.raises(UnsupportedAssetError, match="is damaged"):
        shown(path, on_damage="raise")
