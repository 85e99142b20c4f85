"""What a file is, by its content, and the facts that are read from it."""

from __future__ import annotations

import gzip
import mimetypes
import struct
import zlib
from pathlib import Path

import pytest
from tests import films, kinds

from encord_agents.core.video import iterate_frames
from encord_agents.local import LocalPlatform, media
from encord_agents.local.page.film import Film


def test_a_video(tmp_path: Path) -> None:
    """Its size, frames, rate and duration; whatever its name is."""
    film = kinds.video(tmp_path / "film.mp4", frames=7, size=(32, 24), rate=5)
    unit = media.read_file(film.rename(tmp_path / "film.dat"), "film.mp4")
    assert (unit.item_type, unit.mime_type) == ("video", "video/mp4")
    assert (unit.width, unit.height, unit.frames, unit.fps) == (32, 24, 7, 5)
    assert unit.duration == pytest.approx(1.4)


def test_a_name_with_a_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is the name of a file, and no protocol of FFmpeg's, in a relative path too."""
    monkeypatch.chdir(tmp_path)
    name = "2026-01-01T10:00.mp4"
    kinds.video(tmp_path / name, frames=7, size=(32, 24), rate=5)
    assert media.read_file(Path(name), name).frames == 7
    film = Film(Path(name))
    assert film.frames == 7
    film.close()


def test_a_transport_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a video also where the system's list of suffixes has its suffix as that of a text, which stays one."""
    mimetypes.init()
    monkeypatch.setitem(mimetypes.types_map, ".ts", "text/vnd.trolltech.linguist")
    unit = media.read_file(films.film(tmp_path / "a.ts", 7), "a.ts")
    assert (unit.item_type, unit.mime_type, unit.frames) == ("video", "video/mp2t", 7)
    (tmp_path / "b.ts").write_text("G" + " " * 300)
    assert media.read_file(tmp_path / "b.ts", "b.ts").item_type == "plainText"


def test_a_sound(tmp_path: Path) -> None:
    """Its sample rate, bits, channels, codec and duration."""
    unit = media.read_file(kinds.sound(tmp_path / "a.wav", seconds=0.25, rate=16000), "a.wav")
    assert (unit.item_type, unit.mime_type) == ("audio", "audio/x-wav")
    assert (unit.sample_rate, unit.bit_depth, unit.channels, unit.codec) == (16000, 16, 1, "pcm_s16le")
    assert unit.duration == pytest.approx(0.25)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_pdf(tmp_path: Path, compressed: bool) -> None:
    """Its pages, also where they are in compressed streams."""
    unit = media.read_file(kinds.pdf(tmp_path / "a.pdf", pages=12, compressed=compressed), "a.pdf")
    assert (unit.item_type, unit.frames) == ("pdf", 12)


@pytest.mark.parametrize("word", [b"stream\n", b"/ObjStm ", b"/ObjStm stream\n"])
def test_a_pdf_of_streams_without_an_end(tmp_path: Path, word: bytes) -> None:
    """It is read in one go, however many streams begin: others would wait for it meanwhile."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n/Type /Page \n" + word * 1_000_000)
    assert media.read_file(tmp_path / "a.pdf", "a.pdf").frames == 1


def test_a_pdf_that_unpacks_to_much_more(tmp_path: Path) -> None:
    """It is unpacked within a bound for all of its streams, whatever is in them."""
    inner = zlib.compress(bytes(media._LARGEST_STREAM))
    stream = b"<< /Type /ObjStm >> stream\r\n" + inner + b"\nendstream\n"
    assert sum(len(part) for part in media._object_streams(stream * 12)) == media._LARGEST_STREAMS
    broken = stream.replace(inner, inner[:-4] + b"oops")
    assert not list(media._object_streams(broken * 8 + stream))


def test_a_pdf_with_an_empty_outline(tmp_path: Path) -> None:
    """The count of something else that has nothing in it is not the number of pages."""
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\n<< /Type /Outlines /Count 0 >>\n<< /Type /Page >>")
    assert media.read_file(tmp_path / "a.pdf", "a.pdf").frames == 1


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\xef\xbb\xbf\n<?xml version='1.0'?><!-- a > b --><!-- c -->\n",
        b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'svg11.dtd'>",
        b"<!DOCTYPE svg SYSTEM 'svg10.dtd' [ <!ENTITY ns 'http://ns.adobe.com/'> ] >",
    ],
)
def test_an_svg(tmp_path: Path, before: bytes) -> None:
    """It is one whatever its name is, and comes with the advice to convert it."""
    (tmp_path / "a.txt").write_bytes(before + b"<svg width='8'></svg>")
    with pytest.raises(ValueError, match="convert it to a PNG"):
        media.read_file(tmp_path / "a.txt", "a.txt")


def test_a_text_of_comments(tmp_path: Path) -> None:
    """It is no SVG, and this is clear at once however many comments there are."""
    (tmp_path / "a.html").write_bytes(b"<!---->" * 140 + b"<p>")
    assert media.read_file(tmp_path / "a.html", "a.html").item_type == "plainText"


def test_text_and_html(tmp_path: Path) -> None:
    """HTML by its beginning, text by its name and that it is UTF-8."""
    for name, text, mime in (
        ("a.txt", "words", "text/plain"),
        ("a.csv", "1,2", "text/csv"),
        ("a.json", "{}", "application/json"),
        ("page.txt", " <!DOCTYPE html><p>", "text/html"),
    ):
        (tmp_path / name).write_text(text)
        unit = media.read_file(tmp_path / name, name)
        assert (unit.item_type, unit.mime_type) == ("plainText", mime)


def test_dicom_and_nifti(tmp_path: Path) -> None:
    """Rows, columns and frames of the one; the dimensions of the other, packed too."""
    unit = media.read_file(kinds.dicom(tmp_path / "a.dcm", rows=16, columns=24, frames=3), "a.dcm")
    assert (unit.item_type, unit.width, unit.height, unit.frames) == ("dicomFile", 24, 16, 3)
    volume = kinds.nifti(tmp_path / "a.nii", (8, 6, 4))
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(volume.read_bytes()))
    for path in (volume, packed):
        unit = media.read_file(path, path.name)
        assert (unit.item_type, unit.width, unit.height, unit.frames) == ("nifti", 8, 6, 4)


@pytest.mark.parametrize("frames", [2**31 - 1, 10**30, "9" * 4400], ids=["31 bits", "30 digits", "4400 digits"])
def test_frames_that_cannot_be(tmp_path: Path, frames: int | str) -> None:
    """A file that states more frames than can be in it is left out of a project, and the others are taken."""
    kinds.dicom(tmp_path / "a.dcm", frames=frames)  # type: ignore[arg-type]
    film = kinds.video(tmp_path / "b.mp4")
    content = bytearray(film.read_bytes())
    struct.pack_into(">I", content, content.index(b"stts") + 12, 2**32 - 1)
    film.write_bytes(content)
    kinds.picture(tmp_path / "c.png")
    with LocalPlatform() as platform:
        project = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}, files=tmp_path)
        assert [task.data_title for task in project.tasks()] == ["c.png"]
    assert [line.rpartition(": ")[2] for line in project.skipped] == ["it states more frames than it has bytes"] * 2


def test_a_sound_without_a_decoder(tmp_path: Path) -> None:
    """It is left out with a reason, as a file that cannot be read."""
    content = bytearray(kinds.sound(tmp_path / "a.wav").read_bytes())
    struct.pack_into("<H", content, content.index(b"fmt ") + 22, 99)  # bits of a sample
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match="of no kind"):
        media.read_file(tmp_path / "a.wav", "a.wav")
    with pytest.raises(ValueError, match="no audio in it"):
        media.read_file(tmp_path / "a.wav", "a.wav", "audio")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.png", b"", "it is empty"),
        ("a.mp4", b"no video", "cannot be read as a video or sound"),
        ("a.txt", b"\xff\xfe\x00x", "not UTF-8"),
        ("a.pdf", b"%PDF-1.5\nnothing", "no page"),
        ("a.nii.gz", b"\x1f\x8bnothing", "cannot be unpacked"),
        ("a.bin", b"\x00\x01\x02", media.UNKNOWN),
        ("a.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 3, None),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, name: str, content: bytes, says: str | None) -> None:
    """A damaged file is a reason, and never an exception of another kind."""
    (tmp_path / name).write_bytes(content)
    if says is None:
        assert media.read_file(tmp_path / name, name).frames == 1
        return
    with pytest.raises(ValueError, match=says):
        media.read_file(tmp_path / name, name)


def test_a_kind_that_was_asked_for(tmp_path: Path) -> None:
    """A sound is no video, and a picture no PDF."""
    sound = kinds.sound(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="no video in it"):
        media.read_file(sound, "a.wav", "video")
    with pytest.raises(ValueError, match="no PDF"):
        media.read_file(kinds.picture(tmp_path / "a.png"), "a.png", "pdf")


@pytest.mark.parametrize(
    ("matrix", "size"),
    [((0, 1, -1, 0), (24, 32)), ((0, -1, 1, 0), (24, 32)), ((-1, 0, 0, -1), (32, 24)), ((1, 0, 0, 1), (32, 24))],
)
def test_a_video_of_a_phone(matrix: tuple[int, int, int, int], size: tuple[int, int], tmp_path: Path) -> None:
    """It is as wide and as high as the upright frames that runners and the page have."""
    path = kinds.video(tmp_path / "film.mp4", size=(32, 24))
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    a, b, c, d = (number << 16 for number in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    unit = media.read_file(path, "film.mp4")
    height, width = next(iter(iterate_frames(path))).content.shape[:2]
    assert (unit.width, unit.height) == (width, height) == size
    assert unit.frames == 6
