"""Files that are kept from run to run: fetched once, current, and each task's own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.storage import StorageItem
from PIL import Image
from tests import preloaded
from tests.drivers import DRIVERS, Driver, Processes
from tests.servers import server

from encord_agents.core.assets import Asset
from encord_agents.core.cache import AssetCache, cache_for
from encord_agents.exceptions import AssetDownloadError
from encord_agents.tasks import Depends, QueueRunner, Runner
from encord_agents.tasks.dependencies import dep_asset, dep_video_iterator, of_child

if TYPE_CHECKING:
    from tests.conftest import World


def picture(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (value, value, value)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for files, named by the environment."""
    directory = tmp_path / "kept"
    monkeypatch.setenv("ENCORD_AGENTS_CACHE", str(directory))
    return directory


def downloads(world: World) -> dict[int, int]:
    """How often files were asked for, by the status of the answer, since the last call."""
    statuses = [entry.status for entry in world.platform.journal if entry.kind == "asset"]
    world.platform.journal.clear()
    return {status: statuses.count(status) for status in statuses}


def spoils_its_file(path: Annotated[Path, Depends(dep_asset)]) -> None:
    """An agent that finds its file as it should be, and leaves it as it should not."""
    assert path.read_bytes() == picture(90)
    path.write_bytes(b"spoiled")


def check_driver(world: World, driver: Driver) -> None:
    for number in range(6):
        world.project.add_image(f"image {number}", picture(90))
    assert driver.run(world, spoils_its_file).counts == {"held": 6}
    assert downloads(world) == {200: 6}
    assert driver.run(world, spoils_its_file).counts == {"held": 6}
    assert downloads(world) == {304: 6}


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_every_driver(world: World, kept: Path, driver: Driver) -> None:
    """A second run downloads nothing, and finds every file as it was, whatever the agents did to theirs."""
    check_driver(world, driver)


def test_worker_processes(world: World, kept: Path, tmp_path: Path) -> None:
    """They share it."""
    check_driver(world, Processes(tmp_path))


@pytest.mark.parametrize("kind", [Runner, QueueRunner])
def test_a_runners_own(world: World, tmp_path: Path, kind: Any) -> None:
    """A runner that is made with a directory uses it, also for the members of groups, and nobody else does."""
    world.project.add_image_group("group", [picture(value) for value in (10, 20)])

    def agent(
        folder: Annotated[Path, Depends(dep_asset)],
        one: Annotated[Path, Depends(of_child(1, dep_asset))],
        frames: Annotated[Any, Depends(dep_video_iterator)],
    ) -> None:
        assert [path.read_bytes() for path in sorted(folder.iterdir())] == [picture(10), picture(20)]
        assert one.read_bytes() == picture(20)
        assert [round(float(frame.content.mean())) for frame in frames] == [10, 20]

    def run(**options: Any) -> dict[int, int]:
        runner = kind(world.project.project_hash, user_client=world.client, **options)
        function = runner.stage("Pre-label")(agent)
        if kind is Runner:
            assert runner(progress="none").held == 1
        else:
            assert '"held"' in function(list(function.waiting()))
            runner.close()
        return downloads(world)

    assert run() == {200: 5}
    assert run(asset_cache=tmp_path / "kept") == {200: 2, 304: 3}
    assert run(asset_cache=tmp_path / "kept", asset_cache_size="1 MB") == {304: 5}
    assert run() == {200: 5}
    assert len(list((tmp_path / "kept").glob("*.asset"))) == 2


def item_of(world: World) -> StorageItem:
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    assert row.backing_item_uuid is not None
    return world.client.get_storage_item(row.backing_item_uuid, sign_url=True)


def test_a_retry(world: World, kept: Path) -> None:
    """After an attempt that failed, the file is downloaded again: it may be what the attempt failed on."""
    world.project.add_image("image", picture(90))
    attempts: list[int] = []

    def agent(path: Annotated[Path, Depends(dep_asset)]) -> None:
        attempts.append(len(attempts))
        if len(attempts) in (1, 3):
            raise ValueError("no picture")

    assert world.run(agent, num_retries=1).held == 1
    assert downloads(world) == {200: 2}
    assert world.run(agent, num_retries=1).held == 1
    assert downloads(world) == {304: 1, 200: 1}


def test_a_changed_file(world: World, kept: Path) -> None:
    """A file that was replaced on the storage host is downloaded, also if it has the same size; and then it is kept."""
    before, after = b"a" * 1000, b"b" * 1000
    hash_ = world.project.add_file("words.txt", before, item_type="plainText", mime_type="text/plain")
    with Asset(item_of(world)) as asset:
        assert asset.path().read_bytes() == before
    replace_content(world, hash_, after)
    downloads(world)
    for expected in ({200: 1}, {304: 1}):
        with Asset(item_of(world)) as asset:
            assert asset.path().read_bytes() == after
        assert downloads(world) == expected


def replace_content(world: World, data_hash: str, content: bytes) -> None:
    """Replace a file behind the platform's back, as the owner of a bucket may."""
    service = world.platform._service
    digest = service.assets.put(content)
    with service.database.write() as connection:
        connection.execute("update items set digest = ? where digest is not null", (digest,))


def test_a_damaged_entry(world: World, kept: Path) -> None:
    """It is never given to an agent: the file is downloaded in its place."""
    world.project.add_image("image", picture(90))
    with Asset(item_of(world)) as asset:
        asset.path()
    (entry,) = kept.glob("*.asset")
    content = bytearray(entry.read_bytes())
    content[-10] ^= 1
    entry.write_bytes(content)
    downloads(world)
    with Asset(item_of(world)) as asset:
        assert asset.path().read_bytes() == picture(90)
    assert downloads(world) == {304: 1, 200: 1}
    with Asset(item_of(world)) as asset:
        assert asset.path().read_bytes() == picture(90)
    assert downloads(world) == {304: 1}


def test_a_file_that_cannot_be_fetched(world: World, kept: Path) -> None:
    """Nothing of it is kept."""
    hash_ = world.project.add_image("image", picture(90))
    world.project.break_asset(hash_, "truncated")
    with Asset(item_of(world), sleep=lambda seconds: None) as asset, pytest.raises(AssetDownloadError):
        asset.path()
    assert list(kept.glob("*")) == []


def test_a_host_without_names_for_versions(world: World, kept: Path) -> None:
    """Its files are known by item and size: for a second use not even an address is asked for."""
    world.project.add_image("image", picture(90))

    def refuse(request: Callable[[], str | None]) -> str | None:
        raise AssertionError("an address was asked for")

    with server((200, picture(90))) as url, Asset(item_of(world), call=lambda request: url) as asset:
        asset.path()
    with Asset(item_of(world), call=refuse) as asset:
        assert asset.path().read_bytes() == picture(90)
        assert asset.path().suffix == ".png"


def test_a_full_disk(
    world: World, kept: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on, with one warning."""
    from encord_agents.core.cache import directory

    def full(descriptor: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(directory, "allocate", full)
    for number in range(5):
        world.project.add_image(f"image {number}", picture(90))
    assert world.run(spoils_its_file).held == 5
    assert len([message for message in caplog.messages if "cache" in message]) == 1


def test_room_for_a_tasks_own_file(world: World, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept files make room for it: a cache never ends a run."""
    from encord_agents.core import room

    for number in range(3):
        world.project.add_image(f"image {number}", picture(90))
    assert world.run(spoils_its_file, task_batch_size=1).held == 3
    asked: list[int] = []

    def allocate(descriptor: int, size: int) -> None:
        asked.append(size)
        if list(kept.glob("*.asset")):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(room, "WORTH_RESERVING", 1)
    monkeypatch.setattr(room, "allocate", allocate)
    assert world.run(spoils_its_file, task_batch_size=1).held == 3
    assert asked


WRITER = """
import sys
from pathlib import Path
from uuid import UUID
from encord_agents.core.cache import AssetCache
cache = AssetCache(Path(sys.argv[1]), 200_000)
source = Path(sys.argv[2])
for number in range(200):
    uuid = UUID(int=number % 12 + 1)
    source.write_bytes(bytes([number % 12 + 1]) * 30_000)
    cache.add(uuid, source, tag=None, suffix=".bin")
    entry = cache.find(UUID(int=(number * 7) % 12 + 1), 30_000)
    if entry is not None:
        with entry, open(sys.argv[2] + ".copy", "wb") as copy:
            assert entry.copy_to(copy, check=lambda: None)
        assert set(Path(sys.argv[2] + ".copy").read_bytes()) == {(number * 7) % 12 + 1}
"""


def test_several_processes(tmp_path: Path) -> None:
    """While some add files for which others have to go, what each of them reads is whole, and the right one."""
    command: Callable[[int], list[str]] = lambda number: [  # noqa: E731
        sys.executable, "-c", WRITER, str(tmp_path / "kept"), str(tmp_path / f"source {number}"),
    ]  # fmt: skip
    children = [preloaded.Popen(command(number)) for number in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    sizes = [path.stat().st_size for path in (tmp_path / "kept").glob("*.asset")]
    assert 0 < sum(sizes) <= 200_000


def test_the_same_in_a_process(tmp_path: Path) -> None:
    """Runners of one directory and size share what they know of it."""
    assert cache_for(tmp_path) is cache_for(str(tmp_path) + os.sep)
    assert isinstance(cache_for(tmp_path), AssetCache)
