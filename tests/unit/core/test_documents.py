"""Pages as pictures, and text."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests import kinds

from encord_agents.core.documents import count_pages, iterate_pages, read_text
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.pdfs import PDFIUM


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    """Three pages of 72 x 36 points, red, green and blue."""
    first, *others = (Image.new("RGB", (72, 36), colour) for colour in ("#ff0000", "#00ff00", "#0000ff"))
    first.save(tmp_path / "pages.pdf", save_all=True, append_images=others, resolution=72)
    return tmp_path / "pages.pdf"


def test_pages_in_order(pdf: Path) -> None:
    """RGB, at the resolution that is asked for."""
    pages = list(iterate_pages(pdf, dpi=144))
    assert [page.frame for page in pages] == [0, 1, 2]
    assert {(page.content.shape, str(page.content.dtype)) for page in pages} == {((72, 144, 3), "uint8")}
    assert [int(np.argmax(page.content[10, 10])) for page in pages] == [0, 1, 2]
    assert count_pages(pdf) == 3


def test_some_pages(pdf: Path) -> None:
    """In the order that is asked for; one that is not there is an error that says how many there are."""
    assert [int(np.argmax(page.content[10, 10])) for page in iterate_pages(pdf, [2, 0, 2])] == [2, 0, 2]
    with pytest.raises(PrintableError, match=r"'report' has 3 pages \(0 to 2\), so there is no page 3"):
        list(iterate_pages(pdf, [3], name="report"))


@pytest.mark.parametrize("numbers", [np.arange(1, 3), [1.0, 2.0], np.linspace(1, 2, 2)])
def test_numbers_of_any_type(pdf: Path, numbers: Any) -> None:
    """Whole numbers of any type are numbers of pages, and come back as Python's; others are refused."""
    assert [(page.frame, type(page.frame)) for page in iterate_pages(pdf, numbers)] == [(1, int), (2, int)]
    for wrong in (0.5, -1, "0"):
        with pytest.raises(PrintableError, match=f"no page {wrong!r}"):
            list(iterate_pages(pdf, [wrong]))  # type: ignore[list-item]


def test_a_filled_form(tmp_path: Path) -> None:
    """The content of fields is on the page, as viewers show it."""
    (page,) = iterate_pages(kinds.form(tmp_path / "form.pdf"), dpi=72)
    assert page.content.shape == (200, 200, 3)
    assert int((page.content == 0).all(axis=2).sum()) == 180 * 30
    assert page.content[5, 5].tolist() == [255, 255, 255]


def test_pages_that_are_abandoned(pdf: Path, collect_garbage: Callable[[], int]) -> None:
    """The garbage collector may close a document while the same thread draws another."""
    pages: Any = iterate_pages(pdf)
    next(pages)
    circle = [pages]
    circle.append(circle)
    del pages, circle
    with PDFIUM:
        assert collect_garbage() > 0
    assert len(list(iterate_pages(pdf))) == 3


def test_pages_are_for_drawing_on(pdf: Path) -> None:
    """Each has its own memory."""
    pages = list(iterate_pages(pdf))
    pages[0].content[:] = 7
    assert pages[1].content.max() == 255


def test_what_is_no_pdf(tmp_path: Path, pdf: Path) -> None:
    """It is refused by its name, as is a page that would fill the memory."""
    (tmp_path / "a.pdf").write_bytes(b"words")
    for read in (count_pages, lambda path: list(iterate_pages(path))):
        with pytest.raises(UnsupportedAssetError, match=r"'a.pdf' cannot be read as a PDF"):
            read(tmp_path / "a.pdf")
    with pytest.raises(UnsupportedAssetError, match="too large to be drawn"):
        list(iterate_pages(pdf, dpi=30_000))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Zwölf".encode(), "Zwölf"),
        (codecs.BOM_UTF8 + "Zwölf".encode(), "Zwölf"),
        ("Zwölf".encode("utf-16"), "Zwölf"),
        (codecs.BOM_UTF16_BE + "Zwölf".encode("utf-16-be"), "Zwölf"),
        ("Zwölf".encode("utf-32"), "Zwölf"),
        (b"", ""),
    ],
)
def test_text(tmp_path: Path, content: bytes, text: str) -> None:
    """In the encoding that its mark names, else UTF-8."""
    (tmp_path / "a.txt").write_bytes(content)
    assert read_text(tmp_path / "a.txt") == text


def test_text_of_old_editors(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is read as Windows-1252, and the log says so."""
    (tmp_path / "a.txt").write_bytes("Zwölf “Euro” €".encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        assert read_text(tmp_path / "a.txt") == "Zwölf “Euro” €"
    assert "'a.txt' is not UTF-8 (byte 2)" in caplog.text
