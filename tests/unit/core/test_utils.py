"""Names that scripts import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from encord.storage import StorageItem
from tests import films

from encord_agents.core.data_model import FrameData, LabelRowMetadataIncludeArgs
from encord_agents.core.settings import Settings
from encord_agents.core.utils import (
    batch_iterator,
    download_asset,
    get_frame_count,
    get_initialised_label_row,
    get_user_client_from_settings,
    translate_suffixes_to_filesystem_suffixes,
)
from encord_agents.core.vision import encode_image, read_image
from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.local import LocalPlatform, LocalProject
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


@pytest.mark.parametrize(
    ("title", "item_type"), [("cat.jpg", "image"), ("pages.pdf", "pdf"), ("words.txt", "plainText"), ("a.wav", "audio")]
)
@pytest.mark.parametrize("frame", [0, 2])
def test_a_frame_of_other_files(local_platform: LocalPlatform, title: str, item_type: str, frame: int) -> None:
    """A file without frames, such as an image, is yielded as it is for every number, as in existing code."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_file(title, b"content", item_type=item_type, mime_type="application/octet-stream")
    with download_asset(only_item(local_platform, local), frame=frame) as path:
        assert (path.suffix, path.read_bytes()) == (Path(title).suffix, b"content")
    assert not path.exists()


def test_a_frame_of_a_video(local_platform: LocalPlatform, tmp_path: Path) -> None:
    """It is yielded as a PNG file, whatever the MIME type of the video; there is an error if it is not there."""
    local = local_platform.create_project(workflow=WORKFLOW)
    content = films.film(tmp_path / "film.mp4", 5).read_bytes()
    local.add_file("film.mp4", content, item_type="video", mime_type="application/octet-stream")
    video = only_item(local_platform, local)
    with download_asset(video, frame=3) as path:
        assert path.suffix == ".png"
        assert films.number_in(read_image(path)) == 3
    assert not path.exists()
    with pytest.raises(PrintableError, match=r"'film\.mp4' has 5 frames"), download_asset(video, frame=5):
        pass


def only_item(local_platform: LocalPlatform, local: LocalProject) -> StorageItem:
    client = local_platform.client(retries=False)
    (row,) = client.get_project(local.project_hash).list_label_rows_v2()
    assert row.backing_item_uuid is not None
    return client.get_storage_item(row.backing_item_uuid)


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


@pytest.fixture
def environment(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment leads to the local platform."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_a_label_row_of_frame_data(local_platform: LocalPlatform) -> None:
    """The row of the data unit, initialised, listed as asked for; without such a unit, an error that names it."""
    local = local_platform.create_project(workflow=WORKFLOW)
    hashes = [local.add_image(f"{n}.png") for n in range(2)]
    ids = {"projectHash": local.project_hash, "frame": 0}
    frame_data = FrameData.model_validate({**ids, "dataHash": hashes[1]})
    row = get_initialised_label_row(frame_data, LabelRowMetadataIncludeArgs(include_client_metadata=True))
    assert row.data_hash == hashes[1]
    assert row.is_labelling_initialised
    assert row.client_metadata == {}
    with pytest.raises(PrintableError, match=f"no label rows for data unit {UUID(int=1)}"):
        get_initialised_label_row(FrameData.model_validate({**ids, "dataHash": UUID(int=1)}))


@pytest.mark.usefixtures("environment")
def test_a_client_of_settings(local_platform: LocalPlatform) -> None:
    """Settings make a client, as they do with `get_user_client`; equal ones give the same, until it is dropped."""
    local = local_platform.create_project(workflow=WORKFLOW, title="Here")
    client = get_user_client_from_settings(Settings())
    assert client.get_project(local.project_hash).title == "Here"
    assert get_user_client_from_settings(Settings()) is client
    get_user_client_from_settings.cache_clear()
    assert get_user_client_from_settings(Settings()) is not client


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"frames": 7}, 7),
        ({"fps": 10.0, "duration": 2.59}, 25),
        ({"fps": 30.0, "duration": 4.1}, 123),
        ({"fps": 10.0}, None),
    ],
)
def test_how_many_frames(facts: dict[str, Any], expected: int | None, local_platform: LocalPlatform) -> None:
    """The platform's count of a video's frames, or what its duration comes to."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_file("clip.mp4", b"", item_type="video", mime_type="video/mp4", **facts)
    client = local_platform.client(retries=False)
    (row,) = client.get_project(local.project_hash).list_label_rows_v2()
    assert row.backing_item_uuid is not None
    video = client.get_storage_item(row.backing_item_uuid)
    if expected is not None:
        assert get_frame_count(video) == expected
        return
    with pytest.raises(PrintableError, match=r"'clip\.mp4'"):
        get_frame_count(video)


def test_pictures_have_no_frame_count(item: StorageItem) -> None:
    """What is no video is refused by its name."""
    with pytest.raises(PrintableError, match=r"'cat\.png' is of type image"):
        get_frame_count(item)


@pytest.mark.parametrize(
    ("given", "expected"), [("plain", "txt"), (".plain", ".txt"), ("mpeg", "mp3"), (".jpeg", ".jpeg"), ("", "")]
)
def test_suffixes(given: str, expected: str) -> None:
    """Suffixes that nothing opens become ones that are known; the dot stays where there is one."""
    assert translate_suffixes_to_filesystem_suffixes(given) == expected


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
