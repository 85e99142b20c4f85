"""The pictures of a task by number: how many there are, their sizes and their addresses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import kinds
from tests.unit.local.page.looking import row_of, without_a_file

from encord_agents.local import LocalProject, items
from encord_agents.local.items import NewUnit
from encord_agents.local.page import documents, film, frames
from encord_agents.local.page.frames import UNKNOWN, Frames
from encord_agents.local.page.pages import Pages


def of(pages: Pages, project: LocalProject) -> Frames:
    """Return the pictures of the last task."""
    return frames.of(pages, row_of(project, -1))


@pytest.mark.parametrize(
    ("kind", "is_drawn", "is_played", "noun"),
    [
        ("image", True, False, "frame"), ("video", True, True, "frame"), ("film", True, True, "frame"),
        ("pages", True, True, "page"), ("group", True, True, "picture"), ("audio", False, False, "frame"),
        ("text", False, False, "frame"), ("file", False, False, "frame"), ("none", False, False, "frame"),
    ],
)  # fmt: skip
def test_kinds(kind: str, is_drawn: bool, is_played: bool, noun: str) -> None:
    """A kind is drawn or not, has one picture or several, and they have a name."""
    found = Frames(kind)
    assert (found.is_drawn, found.is_played, found.noun) == (is_drawn, is_played, noun)


def test_a_size_and_an_address_for_all() -> None:
    """One stands for each picture, with its number in the address; several are each their own."""
    for found, sizes, addresses in (
        (Frames("video", 3, [(1, 2)], ["/f/{k}?v"]), [(1, 2)] * 3, ["/f/0?v", "/f/1?v", "/f/2?v"]),
        (Frames("pages", 2, [(1, 2), (3, 4)], ["/a", "/b{k}"]), [(1, 2), (3, 4)], ["/a", "/b{k}"]),
        (Frames("none"), [UNKNOWN], [""]),
    ):
        assert [found.size(number) for number in range(found.count)] == sizes
        assert [found.address(number) for number in range(found.count)] == addresses


@pytest.mark.parametrize(
    ("item_type", "mime", "kind"),
    [
        ("audio", "audio/wav", "audio"), ("plainText", "text/plain", "text"), ("dicomFile", None, "file"),
        ("nifti", None, "file"), ("pdf", "application/pdf", "file"), ("image", "image/png", "image"),
    ],
)  # fmt: skip
def test_the_kind_of_a_file(pages: Pages, project: LocalProject, item_type: str, mime: str | None, kind: str) -> None:
    """It is by what the file is; a PDF that cannot be read is any file, and one that is not here is none."""
    digest = pages.service.assets.put(b"garbage")
    items.add(project._database, project._record, [NewUnit("file", item_type, mime, digest, 7)])
    assert (of(pages, project).kind, of(pages, project).count) == (kind, 1)
    without_a_file(project, item_type)
    assert of(pages, project).kind == "none"


def test_a_picture(pages: Pages, project: LocalProject) -> None:
    """Its address changes with its content; a size that nobody has said is a usual one."""
    for number, (width, size) in enumerate(((7, (7, 5)), (None, (UNKNOWN[0], 5)))):
        project.add_file("a", bytes([number]), item_type="image", mime_type="image/png", width=width, height=5)
        row = row_of(project, -1)
        found = of(pages, project)
        assert (found.size(0), found.address(0)) == (size, f"/media/{row['item']}/picture?v={row['digest'][:12]}")


@pytest.mark.parametrize(("frames_of_it", "count"), [(9, 9), (None, 1), (0, 1)])
@pytest.mark.parametrize("can_decode", [True, False])
def test_a_video(
    pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch,
    frames_of_it: int | None, count: int, can_decode: bool,
) -> None:  # fmt: skip
    """Its frames are pictures, or the browser plays it by itself where no decoder is installed."""
    monkeypatch.setattr(film, "can_decode", lambda: can_decode)
    project.add_file("film", b"x", item_type="video", mime_type="video/mp4", frames=frames_of_it)
    found = of(pages, project)
    assert (found.kind, found.count) == ("video" if can_decode else "film", count)
    assert found.address(8).partition("?")[0].endswith("/frame/8" if can_decode else "/file")


@pytest.mark.parametrize("can_draw", [True, False])
def test_a_pdf(
    pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, can_draw: bool
) -> None:
    """Its pages are pictures in their own sizes, or it is any file where nothing can draw them."""
    monkeypatch.setattr(documents, "can_draw", lambda: can_draw)
    content = kinds.pdf(tmp_path / "pages.pdf", pages=2).read_bytes()
    project.add_file("pages", content, item_type="pdf", mime_type="application/pdf")
    found = of(pages, project)
    assert (found.kind, found.count) == (("pages", 2) if can_draw else ("file", 1))
    assert found.size(1) == ((400, 200) if can_draw else UNKNOWN)


def group(project: LocalProject, *members: NewUnit) -> list[str]:
    """Add a data group. Returns the uuids of its members."""
    items.add_group(project._database, project._record, NewUnit("group", "group", None, None, 0), members)
    return [member["uuid"] for member in items.children(project._database, row_of(project, -1)["item"])]


def test_a_group(pages: Pages, project: LocalProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members' pictures are in turn, each knows whose it is, and a card stands for what has none."""
    monkeypatch.setattr(frames, "MOST_OF_A_MEMBER", 2)
    put = pages.service.assets.put
    picture, video, pdf, sound, absent = group(
        project,
        NewUnit("picture", "image", "image/png", put(b"1"), 1, width=7, height=5),
        NewUnit("video", "video", "video/mp4", put(b"2"), 1, width=8, height=6, frames=9),
        NewUnit("pdf", "pdf", "application/pdf", put(kinds.pdf(tmp_path / "pages.pdf", pages=2).read_bytes()), 1),
        NewUnit("sound", "audio", "audio/wav", put(b"3"), 1),
        NewUnit("absent", "image", "image/png", None, 0, width=7, height=5),
    )
    found = of(pages, project)
    assert list(found.parts) == [
        (picture, 0), (video, 0), (video, 1), (pdf, 0), (pdf, 1), (sound, 0), (absent, 0),
    ]  # fmt: skip
    assert list(found.sizes) == [(7, 5), (8, 6), (8, 6), (400, 200), (400, 200), UNKNOWN, UNKNOWN]
    assert [address.partition("?")[0] for address in found.addresses] == [
        f"/media/{picture}/picture", f"/media/{video}/frame/0", f"/media/{video}/frame/1", f"/media/{pdf}/page/0",
        f"/media/{pdf}/page/1", f"/media/{sound}/card", f"/media/{absent}/card",
    ]  # fmt: skip
    assert (found.kind, found.count) == ("group", 7)


def test_a_group_of_nothing(pages: Pages, project: LocalProject) -> None:
    """It has no pictures."""
    group(project)
    assert of(pages, project) == Frames("none")
