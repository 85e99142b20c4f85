"""Names that scripts import."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from encord.storage import StorageItem

from encord_agents.core.utils import batch_iterator, download_asset
from encord_agents.core.vision import encode_image, read_image
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.local import LocalPlatform
from encord_agents.local.images import png

WORKFLOW = {
    "stages": [
        {"title": "Agent", "type": "agent", "pathways": {"go": "Done"}},
        {"title": "Done", "type": "done"},
    ]
}
CONTENT = encode_image(np.full((4, 8, 3), 7, np.uint8), ".png")


@pytest.fixture
def item(local_platform: LocalPlatform) -> StorageItem:
    local = local_platform.create_project(workflow=WORKFLOW)
    data_hash = local.add_image("cat.png", CONTENT)
    client = local_platform.client(retries=False)
    (row,) = client.get_project(local.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    assert row.backing_item_uuid is not None
    return client.get_storage_item(row.backing_item_uuid)


def test_a_file_for_a_while(item: StorageItem) -> None:
    """The file is there inside the block, and gone after it, also when the block raises."""
    with pytest.raises(KeyError), download_asset(item) as path:  # noqa: PT012
        assert path.read_bytes() == CONTENT
        raise KeyError
    assert not path.exists()


def test_one_frame(item: StorageItem) -> None:
    """Frame 0 of an image is the image, as PNG; another frame of it is an error."""
    with download_asset(item, frame=0) as path:
        assert path.suffix == ".png"
        assert read_image(path).tolist() == np.full((4, 8, 3), 7).tolist()
    assert not path.exists()
    with pytest.raises(PrintableError, match=r"cat\.png"), download_asset(item, frame=1):
        pass


def test_one_image_of_a_group(local_platform: LocalPlatform) -> None:
    """Frame ``k`` of an image group is its image ``k``, as it is; the group as a whole is refused."""
    local = local_platform.create_project(workflow=WORKFLOW)
    data_hash = local.add_image_group("holiday", [png(8, 4, grey) for grey in (10, 20)])
    client = local_platform.client(retries=False)
    (row,) = client.get_project(local.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    assert row.backing_item_uuid is not None
    group = client.get_storage_item(row.backing_item_uuid)
    with download_asset(group, frame=1) as path:
        assert path.read_bytes() == png(8, 4, 20)
    assert not path.exists()
    with pytest.raises(PrintableError, match=r"'holiday' has 2 images \(0 to 1\), so there is no frame 2"):
        download_asset(group, frame=2).__enter__()
    with pytest.raises(UnsupportedAssetError, match=r"'holiday'[\s\S]*frame=1"):
        download_asset(group).__enter__()


def test_batches() -> None:
    """Batches are full but for the last, and take no more from the source than they give."""
    assert list(batch_iterator(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(batch_iterator([], 2)) == []
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(9):
            taken.append(number)
            yield number

    assert next(batch_iterator(source(), 3)) == [0, 1, 2]
    assert taken == [0, 1, 2]
    with pytest.raises(ValueError, match="at least 1"):
        batch_iterator([1], 0)
