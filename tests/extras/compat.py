"""With ``compat`` alone: an agent that imports OpenCV reads a film beside the library's own decoder, frame by frame."""

from __future__ import annotations

import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

from encord_agents.core.video import iter_video
from encord_agents.tasks import Runner

if __name__ == "__main__":
    path = Path(tempfile.mkdtemp()) / "film.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 * level, np.uint8), format="rgb24")
            film.mux(stream.encode(picture))
        film.mux(stream.encode())
    capture = cv2.VideoCapture(str(path))
    for frame in iter_video(path):
        found, pixels = capture.read()
        assert found
        assert np.abs(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(int) - frame.content).max() < 8
    assert not capture.read()[0]
    assert Runner().agents == []
