"""The files behind the pages: what each address answers with, and which are refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.responses import FileResponse
from tests import kinds
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import html, request, row_of, without_a_file

from encord_agents.local import AgentStage, LocalPlatform, LocalProject, Workflow
from encord_agents.local.images import png
from encord_agents.local.page import files
from encord_agents.local.page.files import KEPT
from encord_agents.local.page.pages import Pages
from encord_agents.local.trouble import Refusal

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def size_of(content: bytes | memoryview) -> tuple[int, int]:
    return Image.open(io.BytesIO(bytes(content))).size


def item(project: LocalProject, number: int = -1) -> str:
    return str(row_of(project, number)["item"])


@pytest.mark.parametrize(
    ("name", "kind"), [("page.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")]
)
def test_a_file_of_the_page(pages: Pages, name: str, kind: str) -> None:
    """It has its type, and browsers keep it, since its address has its content in it."""
    answer = files.static(pages, request(name=name))
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert answer.headers["cache-control"] == KEPT["Cache-Control"]
    assert answer.body


@pytest.mark.parametrize(
    "name", ["none.css", "page.py", "page", "", "../static/page.css", "/etc/x.css", "\0.css", f"{'x' * 300}.css"]
)
def test_no_file_of_the_page(pages: Pages, name: str) -> None:
    """Any other name is refused, and leads to no other file."""
    with refused(404):
        files.static(pages, request(name=name))


@pytest.mark.parametrize("answer", [files.thumbnail, files.picture, files.frame, files.page, files.as_it_is])
def test_no_such_file(pages: Pages, project: LocalProject, answer: Any) -> None:
    """A file that nobody knows, that is not here, or that a test has taken away is refused by each address."""
    without_a_file(project)
    project.break_asset(project.tasks()[0].data_hash, "missing")
    for uuid in (NOBODY, "no uuid", item(project, 0), item(project, -1)):
        with refused(404):
            answer(pages, request(item=uuid, number="0"))


@pytest.mark.parametrize(
    ("number", "frame"),
    [("0", 0), ("7", 7), ("007", 7), ("-1", 0), ("1.5", 0), ("", 0), ("²", 0), ("٣", 0), ("9" * 9, 999_999_999)],
)
def test_the_number_of_a_frame(number: str, frame: int) -> None:
    """It is in the path or the query; what is no number is the first."""
    assert files._frame(request(number=number)) == frame
    assert files._frame(request(f"/?frame={number}" if number.isascii() else "/?frame=%C2%B2")) == frame
    assert files._frame(request(number="9" * 10)) == files._frame(request()) == 0


def test_a_picture_in_full(pages: Pages, project: LocalProject) -> None:
    """It is the file itself where browsers show its format, and a PNG where they do not."""
    packed = io.BytesIO()
    Image.new("RGB", (5, 3)).save(packed, "TIFF")
    for content, mime in ((png(6, 4), "image/png"), (packed.getvalue(), "image/tiff")):
        project.add_file("picture", content, item_type="image", mime_type=mime)
        answer = files.picture(pages, request(item=item(project).upper()))
        assert answer.media_type == "image/png"
        assert (answer.body == content) == (mime == "image/png")
        assert size_of(answer.body) in ((6, 4), (5, 3))


def test_a_webp_in_full(pages: Pages, project: LocalProject) -> None:
    """It is the file itself, but upright where Exif data turn it: browsers leave WebP files as they are stored."""
    image = Image.new("RGB", (6, 4))
    exif = image.getexif()
    for orientation, size in ((1, (6, 4)), (6, (4, 6))):
        exif[0x0112] = orientation
        packed = io.BytesIO()
        image.save(packed, "WEBP", exif=exif)
        project.add_file("picture", packed.getvalue(), item_type="image", mime_type="image/webp")
        answer = files.picture(pages, request(item=item(project)))
        assert (answer.body == packed.getvalue()) == (orientation == 1)
        assert size_of(answer.body) == size


@pytest.mark.parametrize("answer", [files.thumbnail, files.picture, files.frame, files.page])
def test_a_file_that_cannot_be_read(pages: Pages, project: LocalProject, answer: Any) -> None:
    """It is refused with the reason, from whichever address."""
    kind = {files.frame: ("video", "video/mp4"), files.page: ("pdf", "application/pdf")}
    item_type, mime = kind.get(answer, ("image", "image/tiff"))
    project.add_file("garbage", b"garbage", item_type=item_type, mime_type=mime)
    with pytest.raises(Refusal, match="The file cannot be shown: ") as caught:
        answer(pages, request(item=item(project), number="0"))
    assert caught.value.status == 404


@pytest.mark.parametrize("answer", [files.thumbnail, files.picture, files.as_it_is])
def test_an_svg_is_no_page(pages: Pages, project: LocalProject, answer: Any) -> None:
    """It is sent as it is, shown as a picture, and neither opened nor run as a page of this origin."""
    project.add_file("drawing", SVG, item_type="image", mime_type="image/svg+xml")
    found = answer(pages, request(item=item(project)))
    assert found.body == SVG
    assert found.headers["content-disposition"] == "attachment"
    assert found.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert found.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("mime", ["text/plain", "audio/wav", "application/dicom"])
def test_a_thumbnail_of_what_has_no_picture(pages: Pages, project: LocalProject, mime: str) -> None:
    """It is a card that says what the file is; the file is not kept by browsers under that address."""
    project.add_file("folder/<b>&.bin", b"x", item_type="plainText", mime_type=mime)
    answer = files.thumbnail(pages, request(item=item(project)))
    kind = {"text/plain": "text", "audio/wav": "sound"}.get(mime, "no picture")
    assert f">{kind}</text>" in html(answer)
    assert ">&lt;b&gt;&amp;.bin</text>" in html(answer)
    assert (answer.media_type, answer.headers["cache-control"]) == ("image/svg+xml", "no-store")


def test_the_title_on_a_card(pages: Pages, project: LocalProject) -> None:
    """A long title is cut, before it is escaped; any characters can be in it; an unknown file has no card."""
    project.add_file("&" * 60, b"x", item_type="plainText", mime_type="text/plain")
    assert f">{'&amp;' * 40}</text>" in html(files.card(pages, request(item=item(project))))
    with refused(404):
        files.card(pages, request(item=NOBODY))


def test_the_thumbnail_of_a_group(pages: Pages, project: LocalProject) -> None:
    """It is of the member that the number is of; behind the last, of the last."""
    project.add_image_group("group", [png(8, 8), png(16, 8), png(24, 8)])
    for number, size in (("0", (8, 8)), ("1", (16, 8)), ("2", (24, 8)), ("99", (24, 8))):
        answer = files.thumbnail(pages, request(f"/?frame={number}", item=item(project)))
        assert size_of(answer.body) == size


def test_thumbnails_of_pages_and_frames(pages: Pages, project: LocalProject, tmp_path: Path) -> None:
    """A page and a frame have one of their own, a page in full is exact, and one that is not there is refused."""
    content = kinds.pdf(tmp_path / "pages.pdf").read_bytes()
    project.add_file("pages", content, item_type="pdf", mime_type="application/pdf")
    thumbnail = files.thumbnail(pages, request("/?frame=1", item=item(project)))
    full = files.page(pages, request(item=item(project), number="1"))
    assert (thumbnail.media_type, size_of(thumbnail.body)) == ("image/jpeg", (400, 200))
    assert (full.media_type, size_of(full.body)) == ("image/png", (400, 200))
    assert bytes(full.body).startswith(b"\x89PNG")
    with refused(404):
        files.page(pages, request(item=item(project), number="2"))


def test_a_file_on_disk(tmp_path: Path) -> None:
    """It is sent from there, in the type that it is known by, or as bytes."""
    platform = LocalPlatform(tmp_path / "data")
    try:
        project = platform.create_project(workflow=Workflow([AgentStage("A", {})]), files=None)
        project.add_file("a", b"abc", item_type="plainText", mime_type="text/plain")
        pages = Pages(platform._service, platform.journal, lambda: 0.0)
        answer = files.as_it_is(pages, request(item=item(project)))
        assert isinstance(answer, FileResponse)
        assert Path(answer.path).read_bytes() == b"abc"
        with project._database.write() as connection:
            connection.execute("UPDATE items SET mime_type = NULL")
        assert files.as_it_is(pages, request(item=item(project))).media_type == "application/octet-stream"
    finally:
        platform.close()
