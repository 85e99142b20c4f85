"""Items that consist of others: their facts, and the video of a sequence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from encord_agents.local import LocalPlatform, LocalProject, folders, sequences, uploads
from encord_agents.local.assets import MemoryAssets
from encord_agents.local.folders import Search
from encord_agents.local.images import png
from encord_agents.local.items import NewUnit
from encord_agents.local.users import OWNER
from encord_agents.pictures import Picture


def picture(assets: MemoryAssets, content: bytes, size: tuple[int | None, int | None]) -> NewUnit:
    return NewUnit("a.png", "image", "image/png", assets.put(content), len(content), *size, 1)


def film_of(assets: MemoryAssets, members: list[NewUnit]) -> Any:
    """Return the frames of the video of a sequence, as one array."""
    digest = sequences.group(assets, "imageSequence", "group", members).digest
    content = assets.get(digest or "")
    assert isinstance(content, bytes)
    with av.open(io.BytesIO(content)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


@pytest.mark.parametrize("kind", ["imageGroup", "dicomSeries", "imageSequence"])
def test_a_group(kind: str) -> None:
    """It is as large as its first member; only a sequence has a file, with a frame for each picture."""
    assets = MemoryAssets()
    members = [picture(assets, png(64, 48, grey), (64, 48)) for grey in (10, 20, 30)]
    unit = sequences.group(assets, kind, "group", members)
    assert (unit.title, unit.item_type, unit.width, unit.height, unit.frames) == ("group", kind, 64, 48, 3)
    assert (unit.digest is not None) is (kind == "imageSequence")
    if kind == "imageSequence":
        assert film_of(assets, members).shape == (3, 48, 64, 3)


def stored(image: Image.Image, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, "PNG", **options)
    return target.getvalue()


def test_frames_are_as_runners_see_the_pictures() -> None:
    """Upright, with sixteen bits scaled to eight, on white."""
    turned = Image.Exif()
    turned[0x0112] = 6
    half = np.zeros((40, 80, 3), np.uint8)
    half[:, :40] = 255
    see_through = Image.new("RGBA", (80, 40), (0, 0, 0, 0))
    for content in (
        stored(Image.fromarray(half), exif=turned),
        stored(Image.fromarray(np.full((40, 80), 40000, np.uint16))),
        stored(see_through),
    ):
        assets = MemoryAssets()
        with Picture(content) as seen:
            frames = film_of(assets, [picture(assets, content, seen.size)])
            assert np.abs(frames[0].astype(int) - seen.pixels()).mean() < 4


def test_a_picture_of_unknown_size() -> None:
    """The video is as large as the picture itself."""
    assets = MemoryAssets()
    assert film_of(assets, [picture(assets, png(21, 11), (None, None))]).shape == (1, 10, 20, 3)


def test_a_picture_that_cannot_be_read() -> None:
    """It is named, with the reason."""
    assets = MemoryAssets()
    with pytest.raises(ValueError, match=r"a\.png cannot be read as a picture"):
        sequences.group(assets, "imageSequence", "group", [picture(assets, b"no picture", (4, 3))])
    nothing = NewUnit("a.png", "image", "image/png", None, 0, 4, 3, 1)
    with pytest.raises(ValueError, match=r"a\.png has no file"):
        sequences.group(assets, "imageSequence", "group", [nothing])


@pytest.mark.parametrize("way", ["files", "upload"])
def test_nobody_waits_for_a_video(
    platform: LocalPlatform, project: LocalProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It is encoded outside of transactions, in which no other request and no other process could write."""
    database, within = platform._service.database, []
    film = sequences._film

    def watched(*values: Any) -> Any:
        within.append(database._connection.in_transaction)
        return film(*values)

    monkeypatch.setattr(sequences, "_film", watched)
    (tmp_path / "a.png").write_bytes(png(4, 3))
    if way == "files":
        project.add_files(tmp_path, groups="sequence")
        platform.create_project(title="Other", workflow={"stages": [{"title": "A", "type": "agent"}]}, files=tmp_path,
                                groups="sequence")  # fmt: skip
    else:
        (item,) = folders.find_items(database, Search(search="a.png"))
        given = {"imageGroupsFromItems": [{"title": "s", "imageItems": [item["uuid"]], "createVideo": True}]}
        uploads.run(platform._service, item["folder"], given, OWNER, ignore_errors=False)
    assert set(within) == {False}
    assert folders.find_items(database, Search(types=["imageSequence"]))
