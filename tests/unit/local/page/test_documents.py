"""Pages of PDF files: their sizes, and pictures of them that are never too large."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import kinds

from encord_agents.local.page import documents
from encord_agents.local.page.pictures import Kept


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    return kinds.pdf(tmp_path / "pages.pdf", pages=3)


def sized(pdf: Path, width: str, height: str) -> Path:
    """Give the pages of a file another size, in points."""
    pdf.write_bytes(pdf.read_bytes().replace(b"[0 0 200 100]", f"[0 0 {width} {height}]".encode()))
    return pdf


def test_sizes_are_those_of_the_pictures(pdf: Path) -> None:
    """Each page has the size in which it is drawn, from a file or from bytes."""
    for source in (pdf, pdf.read_bytes()):
        sizes = documents.sizes(Kept(), "digest", source)
        assert sizes == [(400, 200)] * 3
        assert [documents.page(source, number).size for number in range(3)] == sizes


def test_sizes_are_read_once(pdf: Path) -> None:
    """A file that is known by its digest is not read again; one that is not here has no pages."""
    kept = Kept()
    assert documents.sizes(kept, "digest", None) == []
    first = documents.sizes(kept, "digest", pdf)
    assert documents.sizes(kept, "digest", pdf.with_name("gone.pdf")) == first != []


@pytest.mark.parametrize("content", [b"", b"%PDF-1.5\nnothing", b"\x00" * 100])
def test_what_is_no_pdf(content: bytes) -> None:
    """It has no pages, and drawing one is an error in words."""
    assert documents.sizes(Kept(), "digest", content) == []
    with pytest.raises(ValueError, match="page 0 cannot be drawn"):
        documents.page(content, 0)


@pytest.mark.parametrize("number", [3, 999_999_999])
def test_a_page_that_is_not_there(pdf: Path, number: int) -> None:
    """It is refused, with its number."""
    with pytest.raises(ValueError, match=f"page {number} cannot be drawn"):
        documents.page(pdf, number)


def test_a_large_page(pdf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is drawn coarser, in its own shape, within the pixels that are allowed."""
    monkeypatch.setattr(documents, "MOST_PIXELS", 20_000)
    (width, height), *_ = documents.sizes(Kept(), "digest", sized(pdf, "2000", "1000"))
    assert (width, height) == documents.page(pdf, 0).size == (200, 100)


def test_a_file_of_many_pages(pdf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of them are shown."""
    monkeypatch.setattr(documents, "MOST_PAGES", 2)
    assert len(documents.sizes(Kept(), "digest", pdf)) == 2


def test_a_filled_form(tmp_path: Path) -> None:
    """The content of its fields is shown."""
    image = documents.page(kinds.form(tmp_path / "form.pdf"), 0)
    assert image.size == (400, 400)
    assert image.getpixel((200, 170)) == (0, 0, 0)


def test_the_pixels_of_a_page(pdf: Path) -> None:
    """It is in RGB, and white where nothing is on it."""
    image = documents.page(pdf, 0)
    assert (image.mode, image.getpixel((5, 5))) == ("RGB", (255, 255, 255))
