"""Pictures: read as they are, or refused with a reason."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from pathlib import Path

import pytest
from PIL import Image

from encord_agents.local.assets import MemoryAssets
from encord_agents.local.collecting import PICTURES, collect
from encord_agents.local.images import found_in, png, read, readable, told


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 50).convert("RGB").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_size_and_type_are_those_of_the_content(kind: str) -> None:
    """Whatever the name says."""
    unit = read(encoded(kind), "picture.png")
    assert (unit.width, unit.height, unit.mime_type) == (40, 30, f"image/{kind.lower()}")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_however_much_of_it_is_missing(kind: str) -> None:
    """A picture that is cut off is refused, or is whole enough to be read; nothing else ever happens."""
    whole = encoded(kind)
    for length in [*range(0, 64, 3), *range(64, len(whole) - 1, max(1, len(whole) // 40))]:
        # Some formats are whole without their last bytes.
        with contextlib.suppress(ValueError):
            assert read(whole[:length], "cut").width == 40


def test_an_oddity_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Pillow only warns about is still a picture."""
    load = Image.Image.load

    def odd(self: Image.Image) -> object:
        warnings.warn("Corrupt EXIF data", UserWarning, stacklevel=1)
        return load(self)

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", odd)
    assert read(png(5, 4), "odd.png").width == 5


def test_a_picture_that_is_suspiciously_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before its pixels are there, by the bound that the runner's reader has."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(png(12, 12), "medium.png").width == 12
    with pytest.raises(ValueError, match="10,000 pixels, and Pillow opens 200 at most"):
        read(png(100, 100), "large.png")


def test_what_is_looked_at(tmp_path: Path) -> None:
    """Every file, in folders below, too; not what systems leave behind, hidden folders, or a platform's data."""
    for name in ("a.png", "b.JPG", "below.png/c.webp", "notes.txt", "noext", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in (
        "._a.png",
        "__MACOSX/._a.png",
        "@eaDir/SYNOPHOTO_THUMB_M.jpg",
        "$RECYCLE.BIN/x.png",
        "lost+found/x.png",
        "Thumbs.db",
        ".DS_Store",
        ".git/x.png",
        "data/platform.sqlite3",
        "data/x.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names_in(tmp_path) == [".hidden.png", "a.png", "b.JPG", "below.png/c.webp", "noext", "notes.txt"]


def test_linked_folders(tmp_path: Path) -> None:
    """They are searched like others, each folder once, and a file below the directory keeps the name it has there."""
    pictures, elsewhere = tmp_path / "pictures", tmp_path / "elsewhere"
    for name in ("pictures/a.png", "pictures/z/b.png", "elsewhere/c.png", "elsewhere/deep/d.png", "not-linked.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (pictures / "again").symlink_to(pictures / "z")
    (pictures / "train").symlink_to(elsewhere)
    (pictures / "train-too").symlink_to(elsewhere)
    (pictures / "here").symlink_to(pictures)
    (pictures / "above").symlink_to(tmp_path)
    (elsewhere / "deep" / "back").symlink_to(elsewhere)
    assert names_in(pictures) == ["a.png", "train/c.png", "train/deep/d.png", "z/b.png"]


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    """They are found, so that the attempt to read them says what is wrong."""
    (tmp_path / "gone.png").symlink_to(tmp_path / "unplugged" / "a.png")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert names_in(tmp_path) == ["gone.png", "itself"]
    skipped = collect(tmp_path, MemoryAssets(), wanted=PICTURES).skipped
    assert [line.removeprefix(f"{tmp_path}/") for line in skipped] == [
        "gone.png: No such file or directory",
        "itself: Too many levels of symbolic links",
    ]


def names_in(directory: Path) -> list[str]:
    errors: list[OSError] = []
    found = [str(path.relative_to(directory)) for path in found_in(directory, errors.append)]
    assert errors == []
    return found


def test_a_folder_and_a_list_agree(tmp_path: Path) -> None:
    """Pictures are taken by their content, whatever their names, and the rest is named with a reason."""
    image = Image.effect_noise((40, 30), 50).convert("RGB")
    for name, kind in [
        ("a.jfif", "JPEG"), ("b.avif", "AVIF"), ("c.jp2", "JPEG2000"), ("d.mpo", "MPO"), ("e.ppm", "PPM"),
        ("f.tga", "TGA"), ("noext", "PNG"), ("wrong.jpg", "WEBP"), ("g.jpg_large", "JPEG"),
    ]:  # fmt: skip
        image.save(tmp_path / name, kind)
    (tmp_path / "z.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    (tmp_path / "z.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    image.save(tmp_path / "looks-like-a-tga.bin", "TGA")
    found = collect(tmp_path, MemoryAssets(), wanted=PICTURES)
    assert found == collect(sorted(tmp_path.iterdir()), MemoryAssets(), wanted=PICTURES)
    by_folder, left_out = found.units, found.skipped
    assert [unit.title for unit in by_folder] == [
        "a.jfif", "b.avif", "c.jp2", "d.mpo", "e.ppm", "f.tga", "g.jpg_large", "noext", "wrong.jpg",
    ]  # fmt: skip
    assert [unit.mime_type for unit in by_folder][-3:] == ["image/jpeg", "image/png", "image/webp"]
    reasons = {Path(line.partition(": ")[0]).name: line.partition(": ")[2] for line in left_out}
    assert reasons["looks-like-a-tga.bin"] == "no picture"
    assert "not a picture that Pillow can read" in reasons["z.heic"]
    assert "a video" in reasons["z.mp4"]
    assert "add_file" in reasons["z.mp4"]


def test_what_is_left_out_is_told_shortly() -> None:
    """Pictures and videos by name, up to twenty; the rest by suffix, counted."""
    skipped = [f"{n}.heic: not a picture that Pillow can read" for n in range(25)]
    lines = told([*skipped, *(f"{n}.json: no picture" for n in range(1000)), "README: no picture"])
    assert lines[0] == "left out: 0.heic: not a picture that Pillow can read"
    assert lines[20:] == [
        "left out: 5 more like these",
        "left out: 1001 files that are no picture: 1000 .json, 1 without a suffix",
    ]


def test_a_picture_without_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """It is taken, as the runner reads it, with a warning."""
    assert read(encoded("JPEG")[:-2], "short.jpg").width == 40
    assert "short.jpg ends too early" in caplog.text


@pytest.mark.parametrize(
    ("name", "title"),
    [(b"cat.png", "cat.png"), ("caf\xe9.png".encode(), "caf\xe9.png"), (b"caf\xe9\xff.png", "caf\ufffd\ufffd.png")],
)
def test_a_name_becomes_a_title(name: bytes, title: str) -> None:
    """What is UTF-8 stays, and the rest is text that can be stored, sent and shown."""
    assert readable(Path(os.fsdecode(name))) == title
