"""With ``vision`` alone: pictures and films are decoded, frames are cropped and encoded."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import numpy as np
from PIL import Image

from encord_agents.core.data_model import Frame
from encord_agents.core.video import count_frames, iter_video
from encord_agents.core.vision import read_first_frame

if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    Image.new("RGB", (64, 48), "red").save(folder / "picture.png")
    pixels = read_first_frame(folder / "picture.png", name="picture.png")
    assert pixels.shape == (48, 64, 3)
    assert Frame(0, pixels).b64_encoding().startswith("data:image/jpeg;base64,")
    with av.open(str(folder / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 * level, np.uint8), format="rgb24")
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
    assert count_frames(folder / "film.mp4") == 5
    assert [frame.frame for frame in iter_video(folder / "film.mp4")] == list(range(5))
