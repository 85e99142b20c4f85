from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.core.clips import numbered


@pytest.fixture(scope="module", params=["mp4", "ts", "mkv", "avi"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("clips")
    codec = "mpeg4" if request.param == "avi" else "libx264"
    return numbered(directory / f"clip.{request.param}", codec)
