"""Labelled objects as lines and areas in pixels, and painted on pictures. This module imports nothing of ours."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LARGEST_MASK", "RGB", "Canvas", "Edges", "Mark", "Mask", "Shape", "ink", "paint", "runs", "shape"]

RGB = tuple[int, int, int]
Point = tuple[float, float]

LARGEST_MASK = 64_000_000
"""The most pixels of a bitmask that is drawn. Saved labels may claim any size."""
_CORNERS_OF_A_CIRCLE = 64


@dataclass(frozen=True)
class Mask:
    """A bitmask: alternating runs of pixels that are off and on, row by row, in a rectangle of the picture."""

    left: int
    top: int
    width: int
    height: int
    runs: Sequence[int]

    def png(self, red: int, green: int, blue: int) -> bytes:
        """Return the mask as a PNG in one colour; pixels that are off are transparent."""
        return _png(self.width, self.height, self._rows(), (red, green, blue))

    def pixels(self) -> bytes:
        """Return a byte for each pixel, 255 or 0."""
        size = self.width * self.height
        parts = []
        total = 0
        for index, run in enumerate(self.runs):
            run = min(run, size - total)
            parts.append((b"\xff" if index % 2 else b"\0") * run)
            total += run
        return b"".join(parts) + b"\0" * (size - total)

    def _rows(self) -> Iterator[bytes]:
        pixels = self.pixels()
        for row in range(self.height):
            yield pixels[row * self.width : (row + 1) * self.width]


@dataclass(frozen=True)
class Shape:
    """The geometry of one object on one frame, in pixels.

    Attributes:
        rings: Closed outlines. An outline inside another one is a hole.
        lines: Open outlines.
        dots: Single points.
        mask: A bitmask.
    """

    rings: Sequence[Sequence[Point]] = ()
    lines: Sequence[Sequence[Point]] = ()
    dots: Sequence[Point] = ()
    mask: Mask | None = None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """Left, top, right and bottom; ``None`` if there is nothing to draw."""
        points = [point for part in (*self.rings, *self.lines, self.dots) for point in part]
        if self.mask is not None:
            left, top = self.mask.left, self.mask.top
            points += [(left, top), (left + self.mask.width, top + self.mask.height)]
        if not points:
            return None
        xs, ys = [x for x, _ in points], [y for _, y in points]
        return min(xs), min(ys), max(xs), max(ys)


Edges = Mapping[str, Sequence[tuple[str, str]]]
"""The name of a skeleton -> the pairs of its points that are joined."""


@dataclass(frozen=True)
class Canvas:
    """The size of a picture in pixels, and how points of skeletons are joined."""

    width: float
    height: float
    edges: Edges = field(default_factory=dict)


def shape(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    """Read the geometry of an object in a label row. Return an empty shape if it cannot be drawn."""
    read = _READERS.get(str(found.get("shape")))
    try:
        result = read(found, canvas) if read else Shape()
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):  # older labels, which were not validated
        return Shape()
    box = result.box
    return result if box is None or all(map(math.isfinite, box)) else Shape()


def _box(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    b = found["boundingBox"]
    left, top = b["x"] * canvas.width, b["y"] * canvas.height
    right, bottom = left + b["w"] * canvas.width, top + b["h"] * canvas.height
    return Shape(rings=[[(left, top), (right, top), (right, bottom), (left, bottom)]])


def _rotated_box(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    b = found["rotatableBoundingBox"]
    w, h = b["w"] * canvas.width / 2, b["h"] * canvas.height / 2
    x, y = b["x"] * canvas.width + w, b["y"] * canvas.height + h
    corners = [(-w, -h), (w, -h), (w, h), (-w, h)]
    return Shape(rings=[[_turned(x, y, dx, dy, b["theta"]) for dx, dy in corners]])


def _turned(x: float, y: float, dx: float, dy: float, degrees: float) -> Point:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    return x + dx * cosine - dy * sine, y + dx * sine + dy * cosine


def _circle(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    c = found["circle"]
    radius = c["r"] * canvas.width  # the radius is a fraction of the width
    stretched = radius * _or(c.get("stretch"), 1.0)
    return _round(c["x"] * canvas.width, c["y"] * canvas.height, radius, stretched, _or(c.get("theta"), 0.0))


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


def _ellipse(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    e = found["ellipse"]
    return _round(
        e["x"] * canvas.width,
        e["y"] * canvas.height,
        e["rx"] * canvas.width,
        e["ry"] * canvas.height,
        _or(e.get("theta"), 0.0),
    )


def _round(x: float, y: float, rx: float, ry: float, degrees: float) -> Shape:
    angles = (2 * math.pi * step / _CORNERS_OF_A_CIRCLE for step in range(_CORNERS_OF_A_CIRCLE))
    return Shape(rings=[[_turned(x, y, rx * math.cos(a), ry * math.sin(a), degrees) for a in angles]])


def _point(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    return Shape(dots=_points(found["point"], canvas))


def _polygon(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    several = found.get("polygons")
    if several:
        rings = [
            [(x * canvas.width, y * canvas.height) for x, y in _pairs(ring)] for polygon in several for ring in polygon
        ]
        return Shape(rings=rings)
    return Shape(rings=[_points(found["polygon"], canvas)])


def _polyline(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    return Shape(lines=[_points(found["polyline"], canvas)])


def _skeleton(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    points = {key: (p["x"] * canvas.width, p["y"] * canvas.height) for key, p in found["skeleton"].items()}
    joined = [(points[a], points[b]) for a, b in canvas.edges.get(found["name"], ()) if a in points and b in points]
    return Shape(lines=joined, dots=list(points.values()))


def _cuboid(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    """Read the front and back faces of a cuboid in a picture, and the edges between them."""
    c = found["cuboid_2d"]
    front = _pairs(c["front"])
    if "offset" in c:
        back = [(x + c["offset"]["x"], y + c["offset"]["y"]) for x, y in front]
    else:
        to, ratio = c["vanishingPoint"], c["scaleRatio"]
        back = [(to["x"] + (x - to["x"]) * ratio, to["y"] + (y - to["y"]) * ratio) for x, y in front]
    front, back = ([(x * canvas.width, y * canvas.height) for x, y in face] for face in (front, back))
    return Shape(rings=[front], lines=[[*back, *back[:1]], *zip(front, back, strict=True)])


def _pairs(flat: Sequence[float]) -> list[Point]:
    return list(zip(flat[::2], flat[1::2], strict=False))


def _points(given: Any, canvas: Canvas) -> list[Point]:
    """Return points, given as a list or by number."""
    listed = given if isinstance(given, list) else [given[key] for key in sorted(given, key=int)]
    return [(p["x"] * canvas.width, p["y"] * canvas.height) for p in listed]


def _bitmask(found: Mapping[str, Any], canvas: Canvas) -> Shape:
    mask = found["bitmask"]
    if not 0 < mask["width"] * mask["height"] <= LARGEST_MASK:
        return Shape()
    return Shape(mask=Mask(mask["left"], mask["top"], mask["width"], mask["height"], runs(mask["rleString"])))


def runs(text: str) -> list[int]:
    """Decode the run lengths of a bitmask: five bits per character, each run as its difference to the last but one.

    Raises:
        ValueError: The text is not an encoded bitmask.
    """
    found: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"A bitmask has no {character!r}.")
        value |= (code & 0x1F) << bits
        bits += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << bits
        if len(found) > 2:
            value += found[-2]
        found.append(max(0, value))
        value = bits = 0
    return found


def _png(width: int, height: int, rows: Iterator[bytes], colour: tuple[int, int, int]) -> bytes:
    packer = zlib.compressobj(1)
    # The first colour of the palette is transparent, and the last is the mask's: its rows are the rows of the PNG.
    palette = b"\0\0\0" * 255 + bytes(colour)
    parts = [packer.compress(b"\0" + row) for row in rows]
    data = b"".join(parts) + packer.flush()
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette),
        (b"tRNS", b"\0" * 255 + b"\xff"),
        (b"IDAT", data),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


_READERS: Mapping[str, Callable[[Mapping[str, Any], Canvas], Shape]] = {
    "bounding_box": _box,
    "rotatable_bounding_box": _rotated_box,
    "circle": _circle,
    "ellipse": _ellipse,
    "point": _point,
    "polygon": _polygon,
    "polyline": _polyline,
    "skeleton": _skeleton,
    "bitmask": _bitmask,
    "cuboid_2d": _cuboid,
}


@dataclass(frozen=True)
class Mark:
    """An object to be painted.

    Attributes:
        tag: The text next to it; it is painted on one line.
    """

    shape: Shape
    colour: RGB
    tag: str


def ink(colour: RGB) -> str:
    """Return black or white, whichever is legible on a colour."""
    shares = [channel / 255 for channel in colour]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if luminance > 0.179 else "#ffffff"


def paint(image: Image, marks: Sequence[Mark]) -> Image:
    """Return a copy of a picture with objects painted on it, each in its colour and with its tag."""
    from PIL import Image as ImageModule
    from PIL import ImageDraw, ImageFont

    canvas = image.convert("RGB")
    size = max(canvas.size)
    line = max(2, size // 350)
    font = ImageFont.load_default(size=max(11, size // 55))
    for mark in marks:
        mask = mark.shape.mask
        if mask is not None:
            stencil = ImageModule.frombytes("L", (mask.width, mask.height), mask.pixels()).point(lambda v: v // 2)
            canvas.paste(ImageModule.new("RGB", stencil.size, mark.colour), (mask.left, mask.top), stencil)
    drawing = ImageDraw.Draw(canvas)
    for mark in marks:
        for stroke in _strokes(mark.shape):
            drawing.line(stroke, fill=mark.colour, width=line, joint="curve")
        for x, y in mark.shape.dots:
            drawing.ellipse((x - 2 * line, y - 2 * line, x + 2 * line, y + 2 * line), fill=mark.colour)
        box = mark.shape.box
        if box is not None:
            tag = " ".join(mark.tag.split())  # Pillow does not measure several lines
            left, top, _, bottom = drawing.textbbox((box[0] + 3, 0), tag, font=font)
            height = bottom - top + 6
            at = box[1] - height if box[1] >= height else box[1]
            right = left + drawing.textlength(tag, font=font)
            drawing.rectangle((left - 3, at, right + 3, at + height), fill=mark.colour)
            drawing.text((left, at + 3 - top), tag, fill=ink(mark.colour), font=font)
    return canvas


def _strokes(shape: Shape) -> Iterator[list[Point]]:
    yield from ([*ring, ring[0]] for ring in shape.rings if ring)
    yield from (list(line) for line in shape.lines if line)
