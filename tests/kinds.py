"""Small files of every kind that the local platform takes."""

from __future__ import annotations

import functools
import io
import struct
import wave
import zlib
from pathlib import Path

from encord_agents.local.images import png


def video(path: Path, frames: int = 6, size: tuple[int, int] = (64, 48), rate: int = 10) -> Path:
    """A video of as many grey frames."""
    path.write_bytes(_video(frames, size, rate))
    return path


@functools.cache
def _video(frames: int, size: tuple[int, int], rate: int) -> bytes:
    import av
    import numpy as np

    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            grey = np.full((size[1], size[0], 3), 40 * (index % 6), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return content.getvalue()


def sound(path: Path, seconds: float = 0.5, rate: int = 8000) -> Path:
    """A WAV file of silence, mono, 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\0\0" * round(seconds * rate))
    return path


def pdf(path: Path, pages: int = 2, *, compressed: bool = False) -> Path:
    """A PDF of empty pages; with its objects in a compressed stream, as newer programs write them."""
    kids = " ".join(f"{index + 3} 0 R" for index in range(pages))
    tree = f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>"
    leaves = ["<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 100] >>" for _ in range(pages)]
    body = io.BytesIO(b"%PDF-1.5\n")
    body.seek(0, io.SEEK_END)
    if compressed:
        inner = zlib.compress("\n".join([tree, *leaves]).encode())
        body.write(b"9 0 obj << /Type /ObjStm /Filter /FlateDecode /Length %d >> stream\n" % len(inner))
        body.write(inner + b"\nendstream endobj\n")
    else:
        for number, content in enumerate(["<< /Type /Catalog /Pages 2 0 R >>", tree, *leaves], 1):
            body.write(f"{number} 0 obj {content} endobj\n".encode())
    body.write(b"trailer << /Root 1 0 R >>\n%%EOF\n")
    path.write_bytes(body.getvalue())
    return path


def written(path: Path, pages: int = 3) -> Path:
    """A PDF of pages that are full of words."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % (4 + 2 * n) for n in range(pages)), pages),
        b"<< /F << /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >> >>",
    ]
    lines = b"T* ".join(b"(Line %d of a page, with some words for PDFium to draw) Tj " % line for line in range(55))
    text = b"BT /F 10 Tf 12 TL 30 760 Td " + lines + b"ET"
    for number in range(pages):
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font 3 0 R >> /Contents %d 0 R >>"
            % (5 + 2 * number)
        )
        objects.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(text), text))
    return _of_objects(path, objects)


def form(path: Path) -> Path:
    """A PDF of one page of 200 x 200 points with a field, which is filled with black: the rest of the page is empty."""
    look = b"q 0 0 0 rg 0 0 180 30 re f Q"
    return _of_objects(
        path,
        [
            b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [4 0 R] /DA (/Helv 12 Tf 0 g) >> >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Annots [4 0 R] /Resources << >> >>",
            b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (Jane) /DA (/Helv 12 Tf 0 g) "
            b"/Rect [10 100 190 130] /F 4 /P 3 0 R /AP << /N 5 0 R >> >>",
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 180 30] /Resources << >> /Length %d >> stream\n%s\nendstream"
            % (len(look), look),
        ],
    )


def _of_objects(path: Path, objects: list[bytes]) -> Path:
    """A PDF of these objects, of which the first is the catalogue. Readers rebuild the table of them."""
    body = b"".join(b"%d 0 obj %s endobj\n" % (number, content) for number, content in enumerate(objects, 1))
    path.write_bytes(b"%PDF-1.7\n" + body + b"trailer << /Root 1 0 R >>\n%%EOF\n")
    return path


def dicom(path: Path, rows: int = 16, columns: int = 24, frames: int = 1) -> Path:
    """A DICOM file without pixels: explicit little endian."""

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    content = b"\0" * 128 + b"DICM" + element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0")
    content += element(0x28, 8, b"IS", str(frames).encode())
    content += element(0x28, 0x10, b"US", struct.pack("<H", rows))
    content += element(0x28, 0x11, b"US", struct.pack("<H", columns))
    path.write_bytes(content)
    return path


def nifti(path: Path, size: tuple[int, int, int] = (8, 6, 4)) -> Path:
    """A NIfTI volume of zeros."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *size, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 2, 8)
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + b"\0" * (size[0] * size[1] * size[2]))
    return path


def picture(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.write_bytes(png(*size))
    return path


def five(directory: Path) -> Path:
    """A directory with an image, a video, a sound, a text and a PDF."""
    directory.mkdir(parents=True, exist_ok=True)
    picture(directory / "picture.png")
    video(directory / "film.mp4")
    sound(directory / "sound.wav")
    pdf(directory / "pages.pdf")
    (directory / "words.txt").write_text("Five words are in here.")
    return directory
