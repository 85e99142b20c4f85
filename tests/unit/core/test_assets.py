"""A storage item's file: fetched once, whole or not at all, and gone afterwards. Over real HTTP, without sleeping."""

from __future__ import annotations

import logging
import shutil
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from encord.storage import StorageItem

from encord_agents.core.assets import Asset
from encord_agents.core.downloads import DownloadLimits
from encord_agents.exceptions import AssetDownloadError, UnsupportedAssetError
from encord_agents.local import Fault, LocalPlatform
from encord_agents.local.images import png

WORKFLOW = {
    "stages": [
        {"title": "Agent", "type": "agent", "pathways": {"go": "Done"}},
        {"title": "Done", "type": "done"},
    ]
}
CONTENT = png(64, 48)


@dataclass
class Waits:
    """Instead of sleeping: a list of how long it would have been."""

    seconds: list[float]

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits([])


@dataclass
class World:
    platform: LocalPlatform
    project: Any
    waits: Waits
    directory: Path

    def item(self, title: str = "cat.png", content: bytes = CONTENT, mime_type: str = "image/png") -> StorageItem:
        kind = {"image": "image", "video": "video", "text": "plainText"}[mime_type.partition("/")[0]]
        self.hash = self.project.add_file(title, content, item_type=kind, mime_type=mime_type)
        client = self.platform.client(retries=False)
        project = client.get_project(self.project.project_hash)
        (row,) = project.list_label_rows_v2(data_hashes=[self.hash])
        assert row.backing_item_uuid is not None
        return client.get_storage_item(row.backing_item_uuid, sign_url=True)

    def asset(self, item: StorageItem | None = None, **options: Any) -> Asset:
        return Asset(item or self.item(), directory=self.directory, sleep=self.waits, **options)

    @property
    def files(self) -> list[Path]:
        return list(self.directory.iterdir())

    def downloads(self) -> int:
        return self.platform.journal.count("asset")

    def item_requests(self) -> int:
        return self.platform.journal.count("item")


@pytest.fixture
def world(local_platform: LocalPlatform, waits: Waits, tmp_path: Path) -> World:
    return World(local_platform, local_platform.create_project(workflow=WORKFLOW), waits, tmp_path)


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_once(world: World) -> None:
    """The file is the item's, downloaded when first asked for and only once; close() removes it."""
    asset = world.asset()
    assert world.files == []
    path = asset.path()
    assert path.read_bytes() == CONTENT
    assert path.suffix == ".png"
    assert asset.path() == path
    assert asset.nbytes == len(CONTENT)
    assert world.downloads() == 1
    asset.close()
    assert world.files == []
    with pytest.raises(RuntimeError, match=r"cat\.png"):
        asset.path()
    asset.close()


def test_a_directory_of_its_own(world: World) -> None:
    """Without a directory the file is in a private one, which goes too."""
    with Asset(world.item()) as asset:
        path = asset.path()
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


def test_the_url_held_is_used(world: World) -> None:
    """A URL that came with the item costs no further request."""
    item = world.item()
    world.platform.journal.clear()
    world.asset(item).path()
    assert world.platform.journal.kinds() == {"asset": 1}


def test_a_hiccup(world: World) -> None:
    """A 503, a 429 and a dropped connection are waited out, longer each time, and asked for by Retry-After."""
    asset = world.asset()
    world.platform.faults.add(Fault("asset", status=503))
    world.platform.faults.add(Fault("asset", status=429, retry_after=7))
    world.platform.faults.add(Fault("asset", action="drop_before"))
    assert asset.path().read_bytes() == CONTENT
    first, second, third = world.waits.seconds
    backoff = DownloadLimits().first_backoff
    assert backoff / 2 <= first <= backoff
    assert second == 7
    assert backoff * 2 <= third <= backoff * 4


def test_a_long_retry_after(world: World) -> None:
    """A host that asks for an hour is asked again sooner."""
    asset = world.asset()
    world.platform.faults.add(Fault("asset", status=503, retry_after=3600))
    asset.path()
    assert world.waits.seconds == [DownloadLimits().longest_wait]


def test_an_expired_url(world: World) -> None:
    """Refused with the URL at hand, a fresh one is asked for, once, without waiting."""
    asset = world.asset()
    world.platform.journal.clear()
    world.platform.faults.add(Fault("asset", status=404))
    assert asset.path().read_bytes() == CONTENT
    assert (world.downloads(), world.item_requests(), world.waits.seconds) == (2, 1, [])


def test_a_missing_file(world: World) -> None:
    """A file that is not there with a fresh URL either is an error that names the item, at once."""
    asset = world.asset()
    world.project.break_asset(world.hash, "missing")
    world.platform.journal.clear()
    with pytest.raises(AssetDownloadError, match=r"'cat\.png'.* 404 ") as error:
        asset.path()
    assert error.value.item == "cat.png"
    assert error.value.item_uuid == str(asset.item.uuid)
    assert error.value.status == 404
    assert (world.downloads(), world.item_requests(), world.waits.seconds) == (2, 1, [])
    assert world.files == []


@pytest.mark.parametrize(
    ("how", "words"), [("truncated", "before all of the file"), ("stall", "did not answer in time")]
)
def test_half_a_file(world: World, how: Literal["truncated", "stall"], words: str) -> None:
    """A body that breaks off, or stops coming, is never taken for the file; tried again, then an error that says so."""
    asset = world.asset(limits=DownloadLimits(connect=1.0, silence=0.05, tries=2))
    world.project.break_asset(world.hash, how)
    with pytest.raises(AssetDownloadError, match=f"{words}.*tried 2 times"):
        asset.path()
    assert world.files == []
    assert len(world.waits.seconds) == 1
    world.project.break_asset(world.hash, None)
    assert asset.path().read_bytes() == CONTENT


def test_nobody_there(world: World) -> None:
    """Where nothing listens, the error says so after the last try."""
    asset = world.asset(limits=DownloadLimits(tries=3))
    world.platform.down()
    with pytest.raises(AssetDownloadError, match=r"no connection to the storage host.*tried 3 times") as error:
        asset.path()
    assert error.value.status is None


def test_max_seconds(world: World) -> None:
    """No wait is begun that would end after the time is up."""
    asset = world.asset(max_seconds=1.0, clock=lambda: 0.0)
    world.platform.faults.add(Fault("asset", status=503, retry_after=2, times=None))
    with pytest.raises(AssetDownloadError, match="tried once"):
        asset.path()
    assert world.waits.seconds == []


@pytest.mark.parametrize("trouble", ["down", "missing", "truncated", "no address"])
def test_signed_urls_are_not_shown(
    world: World, trouble: Literal["down", "missing", "truncated", "no address"], caplog: pytest.LogCaptureFixture
) -> None:
    """No message, printed traceback, chained exception or record of ours holds the URL: it is a permission to read."""
    caplog.set_level(logging.DEBUG, logger="encord_agents")
    item = world.item()
    url = "nonsense?signature=secret" if trouble == "no address" else item.get_signed_url()
    assert url is not None
    asset = world.asset(item, limits=DownloadLimits(tries=2), call=lambda request: url)
    if trouble == "down":
        world.platform.down()
    elif trouble != "no address":
        world.project.break_asset(world.hash, trouble)
    with pytest.raises(AssetDownloadError) as error:
        asset.path()
    signature = url.rpartition("signature=")[2]
    assert signature not in shown(error.value)
    assert error.value.__context__ is None
    assert signature not in "".join(r.getMessage() for r in caplog.records if r.name.startswith("encord_agents"))
    assert signature not in repr(asset)


def test_shared(world: World) -> None:
    """Callers at the same time get one file from one download."""
    asset = world.asset()
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: asset.path(), range(8)))
    assert len(paths) == 1
    assert world.downloads() == 1


def test_a_shared_failure(world: World) -> None:
    """Callers who waited for a download that failed get its failure, not a download each; the next one tries again."""
    item = world.item()
    world.project.break_asset(world.hash, "missing")
    entered, go_on = threading.Event(), threading.Event()
    requests = []

    def call(request: Callable[[], str | None]) -> str | None:
        requests.append(request)
        entered.set()
        assert go_on.wait(10)
        return request()

    asset = world.asset(item, call=call)
    errors: list[BaseException | None] = []

    def ask() -> None:
        with pytest.raises(AssetDownloadError) as error:
            asset.path()
        errors.append(error.value)

    first = threading.Thread(target=ask)
    first.start()
    assert entered.wait(10)
    others = [threading.Thread(target=ask) for _ in range(3)]
    for thread in others:
        thread.start()
    go_on.set()
    for thread in (first, *others):
        thread.join(10)
    assert len(errors) == 4
    # One download is two URLs: the one at hand and a fresh one. A late thread may honestly have begun one of its own.
    assert len(requests) < 8
    world.project.break_asset(world.hash, None)
    assert asset.path().read_bytes() == CONTENT


def test_a_file_that_others_removed(world: World) -> None:
    """It is fetched again, with its directory, when it is asked for."""
    world.directory /= "files"
    asset = world.asset()
    asset.fetch()
    shutil.rmtree(world.directory)
    assert asset.path().read_bytes() == CONTENT
    assert (world.downloads(), asset.nbytes) == (2, len(CONTENT))
    asset.close()
    assert world.files == []


def test_forget(world: World) -> None:
    """After forget() the next use asks for a fresh URL and a fresh file."""
    asset = world.asset()
    old = asset.path()
    world.platform.journal.clear()
    asset.forget()
    assert not old.exists()
    assert asset.nbytes == 0
    assert asset.path().read_bytes() == CONTENT
    assert (world.item_requests(), world.downloads()) == (1, 1)


def test_first_frame(world: World) -> None:
    """Each caller has an array of its own to draw on; a prepared one is handed out once and counted while held."""
    asset = world.asset()
    asset.prepare(first_frame=True)
    assert asset.nbytes == len(CONTENT) + 64 * 48 * 3
    frame = asset.first_frame()
    assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)
    assert asset.nbytes == len(CONTENT)
    frame[:] = 0
    assert asset.first_frame().min() == 128
    assert world.downloads() == 1


def test_a_corrupt_file(world: World) -> None:
    """A file that is no picture is refused by the item's name, not by that of a temporary file."""
    asset = world.asset()
    world.project.break_asset(world.hash, "corrupt")
    with pytest.raises(UnsupportedAssetError, match=r"'?cat\.png'? cannot be read as an image"):
        asset.first_frame()


def test_closed_while_waiting(world: World) -> None:
    """A download whose asset was closed meanwhile is given up, and leaves nothing behind."""
    item = world.item()
    asset = Asset(item, directory=world.directory, sleep=lambda seconds: asset.close())
    world.platform.faults.add(Fault("asset", status=503, times=None))
    with pytest.raises(RuntimeError, match="after its task had ended"):
        asset.path()
    assert world.files == []
    assert world.downloads() == 1


# What arrived is not fetched again


def test_the_rest_of_a_file(world: World) -> None:
    """After a connection that broke, only the rest is asked for, and the file is whole."""
    content = bytes(range(256)) * 400
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            world.project.break_asset(world.hash, None)

    with Asset(world.item("film.mp4", content, "video/mp4"), directory=world.directory, sleep=wait) as asset:
        world.project.break_asset(world.hash, "truncated")
        world.platform.journal.clear()
        assert asset.path().read_bytes() == content
        assert asset.nbytes == len(content)
    assert [entry.status for entry in world.platform.journal if entry.kind == "asset"] == [200, 206, 206]
    assert world.files == []


def test_an_address_that_expires_on_the_way(world: World) -> None:
    """A fresh one is asked for, and only the rest of the file with it."""
    content = b"x" * 100_000

    def wait(_: float) -> None:
        world.project.break_asset(world.hash, None)
        world.platform.faults.add(Fault("asset", status=403))

    with Asset(world.item("film.mp4", content, "video/mp4"), directory=world.directory, sleep=wait) as asset:
        world.project.break_asset(world.hash, "truncated")
        world.platform.journal.clear()
        assert asset.path().read_bytes() == content
    assert [entry.status for entry in world.platform.journal if entry.kind == "asset"] == [200, 403, 206]
