"""Video and sound files, opened as runners and the local platform do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
from tests.films import film, spoken

from encord_agents.core.audio import read_audio
from encord_agents.core.video import iterate_frames
from encord_agents.local.media import read_file
from encord_agents.local.page.film import Film


def titled(path: Path, source: Path) -> Path:
    """Copy a file, and give it a title that is not UTF-8, as older programs write them."""
    with av.open(str(source)) as read, av.open(str(path), "w") as container:
        container.metadata["title"] = "Schl#ssel"
        stream: Any = container.add_stream_from_template((read.streams.video or read.streams.audio)[0])
        for packet in read.demux(read.streams[0]):
            if packet.size:
                packet.stream = stream
                container.mux(packet)
    content = path.read_bytes()
    assert b"Schl#ssel" in content
    path.write_bytes(content.replace(b"Schl#ssel", "Schlüssel".encode("latin-1")))
    return path


def test_titles_in_any_encoding(tmp_path: Path) -> None:
    """Metadata that is not UTF-8 stops no reader of the file."""
    video = titled(tmp_path / "video.mkv", film(tmp_path / "film.mkv", 3))
    audio = titled(tmp_path / "audio.mkv", spoken(tmp_path / "sound.aac", 8000, 1))
    assert len(list(iterate_frames(video))) == 3
    assert read_audio(audio).rate == 8000
    assert read_file(video, "video").frames == 3
    assert read_file(audio, "audio").sample_rate == 8000
    for source in (video, lambda: io.BytesIO(video.read_bytes())):
        shown = Film(source)
        assert np.asarray(shown.frame(0)).any()
        shown.close()
