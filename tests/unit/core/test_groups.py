"""Image groups: one image at a time, in the group's order, and all files by name."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from encord.storage import StorageItem

from encord_agents.core.groups import ImageGroup, folder_of
from encord_agents.exceptions import PrintableError
from encord_agents.local import LocalPlatform
from encord_agents.local.images import png

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import World

    from encord_agents.core.data_model import Frame

GREYS = [10, 20, 30, 40]


@pytest.fixture
def item(world: World) -> StorageItem:
    world.project.add_image_group("holiday", [png(8, 4, grey) for grey in GREYS])
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    assert row.backing_item_uuid is not None
    return world.client.get_storage_item(row.backing_item_uuid)


def shown(frames: Iterable[Frame]) -> list[tuple[int, int]]:
    """The numbers of images, and their greys."""
    return [(frame.frame, int(frame.content[0, 0, 0])) for frame in frames]


def test_all_images(item: StorageItem) -> None:
    """In their order, each with its number and all of its pixels."""
    group = ImageGroup(item)
    assert len(group) == 4
    assert shown(group.frames()) == [(0, 10), (1, 20), (2, 30), (3, 40)]
    assert group.image(2).shape == (4, 8, 3)


def test_some_images(item: StorageItem) -> None:
    """In the order and as often as they are named; none, if none is named."""
    group = ImageGroup(item)
    assert shown(group.frames([3, 0, 3])) == [(3, 40), (0, 10), (3, 40)]
    assert shown(group.frames([])) == []
    assert shown(group.frames([1.0])) == [(1, 20)]  # type: ignore[list-item]


@pytest.mark.parametrize(("share", "expected"), [(1, [0, 1, 2, 3]), (0.5, [0, 2]), (0.25, [0]), (0.75, [0, 1, 2])])
def test_a_share(share: float, expected: list[int], item: StorageItem) -> None:
    """Evenly spaced from the first."""
    assert [number for number, _ in shown(ImageGroup(item).share(share))] == expected


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, math.nan])
def test_no_such_share(share: float, item: StorageItem) -> None:
    """A share is above 0 and at most 1."""
    with pytest.raises(PrintableError, match="share of images"):
        ImageGroup(item).share(share)


def test_no_such_image(item: StorageItem, caplog: pytest.LogCaptureFixture) -> None:
    """Numbers beyond the last are left out with one warning; one below 0 is an error before anything is fetched."""
    group = ImageGroup(item)
    assert shown(group.frames([1, 4, 9])) == [(1, 20)]
    assert "'holiday' has 4 images, so there is no image 4" in caplog.text
    for number in (-2, 0.5):
        with pytest.raises(PrintableError, match=f"no image {number}"):
            group.frames([0, number])  # type: ignore[list-item]


def test_images_are_fetched_when_they_are_asked_for(local_platform: LocalPlatform, item: StorageItem) -> None:
    """Listing a group costs one request, and one image is fetched for each that is taken."""
    group = ImageGroup(item)
    local_platform.journal.clear()
    frames = group.frames()
    assert local_platform.journal.count() == 0
    next(frames)
    assert local_platform.journal.count("asset") == 1


def test_a_folder(item: StorageItem) -> None:
    """All files in the group's order by name, gone afterwards."""
    with contextmanager(folder_of)(item) as directory:
        paths = sorted(directory.iterdir())
        assert [path.name[:6] for path in paths] == ["00000-", "00001-", "00002-", "00003-"]
        assert [path.read_bytes() for path in paths] == [png(8, 4, grey) for grey in GREYS]
    assert not directory.exists()


def test_a_suffix_in_capitals(world: World, tmp_path: Path) -> None:
    """It is not in the name twice."""
    (tmp_path / "DSC_1.PNG").write_bytes(png(8, 4, 10))
    (data_hash,) = world.project.add_files(tmp_path, groups="group")
    rows = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    assert rows[0].backing_item_uuid is not None
    with contextmanager(folder_of)(world.client.get_storage_item(rows[0].backing_item_uuid)) as directory:
        assert [path.name for path in directory.iterdir()] == ["00000-DSC_1.png"]


@pytest.mark.parametrize(
    "title", ["e" * 250, "\N{PILE OF POO}" * 80, "a\nb\0c", "x/y", ".."], ids=["long", "bytes", "odd", "path", "dots"]
)
def test_titles_that_are_no_file_names(world: World, title: str) -> None:
    """Files are named by titles as far as file systems allow."""
    world.project.add_image_group(title, [png(8, 4, 10)])
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    assert row.backing_item_uuid is not None
    with contextmanager(folder_of)(world.client.get_storage_item(row.backing_item_uuid)) as directory:
        (path,) = directory.iterdir()
        assert path.name.startswith("00000-")
        assert path.suffix == ".png"
        assert path.read_bytes() == png(8, 4, 10)
