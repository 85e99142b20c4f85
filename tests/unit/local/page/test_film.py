"""Frames of a video for the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import films

from encord_agents.local import media
from encord_agents.local.page.film import Film


@pytest.mark.parametrize("first", [True, False])
def test_a_cover_is_no_frame(first: bool, tmp_path: Path) -> None:
    """A video with a cover has the frames of the film, wherever the cover is in the file, as its facts say."""
    path = films.with_cover(films.film(tmp_path / "film.mp4", 5), first=first)
    facts = media.read_file(path, "film.mp4")
    film = Film(path)
    try:
        assert (film.frames, facts.frames, (facts.width, facts.height)) == (5, 5, (films.WIDTH, films.HEIGHT))
        assert [films.number_in(np.asarray(film.frame(number))) for number in (0, 4)] == [0, 4]
    finally:
        film.close()


def test_sound_with_a_cover_has_no_frames(tmp_path: Path) -> None:
    """It is a sound, and refused as a film."""
    path = films.with_cover(films.sound(tmp_path / "sound.m4a"), first=True)
    assert media.read_file(path, "sound.m4a").item_type == "audio"
    with pytest.raises(ValueError, match="no video in it"):
        Film(path)
