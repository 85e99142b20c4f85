"""With ``pdf`` alone: pages are drawn as pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from encord_agents.core.documents import count_pages, iterate_pages

if __name__ == "__main__":
    path = Path(tempfile.mkdtemp()) / "pages.pdf"
    Image.new("RGB", (72, 36), "red").save(path, save_all=True, append_images=[Image.new("RGB", (72, 36), "blue")])
    assert count_pages(path) == 2
    assert [page.frame for page in iterate_pages(path, dpi=72)] == [0, 1]
