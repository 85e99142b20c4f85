"""Small videos whose frames say which one they are."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

FRAMES = 30
STEP = 8  # of brightness, from frame to frame


def write(path: Path, pictures: list[NDArray[np.uint8]], codec: str = "libx264", **options: str) -> Path:
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 8_000_000
        if codec == "libx264":
            stream.options = {"bf": "3", "g": "12", "crf": "8"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def numbered(path: Path, codec: str = "libx264", **options: str) -> Path:
    """A video whose frame ``n`` is grey of brightness ``n * STEP``."""
    return write(path, [np.full((32, 64, 3), n * STEP, np.uint8) for n in range(FRAMES)], codec, **options)


def shown_number(pixels: NDArray[np.uint8]) -> int:
    return round(float(pixels.mean()) / STEP)
