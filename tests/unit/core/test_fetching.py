"""The way of one item's file: tries, fresh URLs, and the cache. A host of the test's own answers by a script."""

from __future__ import annotations

import gzip
import http.server
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import pytest
from encord.orm import storage
from encord.orm.storage import StorageItemType
from encord.storage import StorageItem
from tests.servers import serving

from encord_agents.core.cache import AssetCache
from encord_agents.core.downloads import DownloadLimits
from encord_agents.core.fetching import WITHOUT_FILE, Fetcher
from encord_agents.exceptions import AssetDownloadError, NoRoomError, UnsupportedAssetError

CONTENT = b"the file"
TAG = {"ETag": '"v1"'}


def item(kind: StorageItemType = StorageItemType.IMAGE, *, size: int | None = len(CONTENT)) -> StorageItem:
    """An item as the SDK makes it of an answer; it can ask for nothing."""
    absent = dict.fromkeys(storage.StorageItem.model_fields)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    known: dict[str, Any] = {
        "uuid": UUID(int=1),
        "parent": UUID(int=2),
        "item_type": kind,
        "name": "cat",
        "description": "",
        "client_metadata": "{}",
        "owner": "someone@example.com",
        "created_at": now,
        "last_edited_at": now,
        "is_tombstone": False,
        "is_placeholder": False,
        "backed_data_units_count": 1,
        "storage_location": next(iter(storage.StorageLocationName)),
        "file_size": size,
        "mime_type": "image/png",
    }
    nobody: Any = None
    return StorageItem(nobody, storage.StorageItem.model_validate({**absent, **known}))


@dataclass
class Host:
    """A storage host: its answers to come, and the requests that were made of it.

    Attributes:
        answers: Status, headers and body of each answer; the last one is repeated.
        asked: The path and the headers of each request.
    """

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, CONTENT)])
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


@pytest.fixture(scope="module")
def listening() -> Iterator[list[Host]]:
    """One server for all tests, with a host for each at a path of its own; the first of the list has its address."""
    hosts: list[Host] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # each answer in one piece

        def do_GET(self) -> None:
            # By its own address: a request that was given up may come when the next test has begun.
            _, number, rest = self.path.split("/", 2)
            host = hosts[int(number)]
            host.asked.append((f"/{rest}", dict(self.headers)))
            status, headers, body = host.answers.pop(0) if len(host.answers) > 1 else host.answers[0]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]
    with serving(httpd):
        hosts.append(Host(address=f"http://127.0.0.1:{httpd.server_port}"))
        yield hosts


@pytest.fixture
def host(listening: list[Host]) -> Host:
    listening.append(Host(address=f"{listening[0].address}/{len(listening)}"))
    return listening[-1]


@dataclass
class Told:
    """`Tries` that note all they are told, and allow so many more."""

    more: int = 0
    log: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.log.append("enter")
        return self

    def __exit__(self, *_: object) -> None:
        self.log.append("exit")

    @contextmanager
    def _slot(self) -> Iterator[None]:
        self.log.append("try")
        yield
        self.log.append("tried")

    def slot(self) -> AbstractContextManager[None]:
        return self._slot()

    def again(self, error: AssetDownloadError, retry_after: float) -> bool:
        self.log.append(f"again? {error.status} {retry_after}")
        self.more -= 1
        return self.more >= 0

    def answered(self) -> None:
        self.log.append("answered")


def fetcher(host: Host, of: StorageItem | None = None, **options: Any) -> Fetcher:
    """A fetcher whose URLs have the numbers of the times that it asked for one."""
    urls = (f"{host.address}/{number}?signature=secret" for number in range(1, 100))
    given: dict[str, Any] = {
        "limits": DownloadLimits(tries=2),
        "max_seconds": None,
        "begin": None,
        "call": lambda _: next(urls),
        "cache": None,
        "sleep": lambda _: None,
        "clock": lambda: 0.0,
    }
    return Fetcher(of or item(), **{**given, **options})


def kept(tmp_path: Path, *, tag: str | None) -> AssetCache:
    """A cache that has another content of the same size for the item."""
    cache = AssetCache(tmp_path / "cache", 10_000)
    source = tmp_path / "source"
    source.write_bytes(CONTENT.upper())
    cache.add(item().uuid, source, tag=tag, suffix=".jpeg")
    return cache


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


def test_a_file_of_the_items_own(host: Host, directory: Path) -> None:
    """Every fetch is a new file, whose name has the item's uuid and a suffix for its type."""
    fetch = fetcher(host).fetch
    one, other = fetch(directory, reserve=0), fetch(directory, reserve=0)
    assert one.path != other.path
    assert sorted(directory.iterdir()) == sorted([one.path, other.path])
    for fetched in (one, other):
        assert fetched.path.read_bytes() == CONTENT
        assert fetched.size == len(CONTENT)
        assert fetched.path.name.startswith(f"{item().uuid}-")
        assert fetched.path.suffix == ".png"


@pytest.mark.parametrize(
    ("status", "fresh"),
    [(400, True), (401, True), (403, True), (404, True), (410, True), (402, False), (405, False), (416, False)],
)
def test_refusals_that_a_fresh_url_may_mend(host: Host, directory: Path, status: int, fresh: bool) -> None:
    """A URL that may be stale is replaced once, and nothing else is tried; then the refusal counts."""
    host.answers = [(status, {}, b"")]
    with pytest.raises(AssetDownloadError) as caught:
        fetcher(host).fetch(directory, reserve=0)
    assert caught.value.status == status
    assert host.paths == [f"/{number}?signature=secret" for number in ([1, 2] if fresh else [1])]
    assert list(directory.iterdir()) == []


def test_a_long_file_outlasts_its_urls(host: Host, directory: Path) -> None:
    """A URL is replaced each time that bytes have come since the last one: the file is resumed, as often as needed."""

    def part(start: int, end: int) -> tuple[int, dict[str, str], bytes]:
        """From here on, broken off there."""
        size = len(CONTENT)
        ranged = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
        headers = {**TAG, **ranged, "Content-Length": str(size - start), "Connection": "close"}
        return 206 if start else 200, headers, CONTENT[start:end]

    expired = (403, {}, b"")
    host.answers = [part(0, 3), expired, part(3, 5), expired, part(5, 6), expired, part(6, 8)]
    fetched = fetcher(host, limits=DownloadLimits(tries=4)).fetch(directory, reserve=0)
    assert fetched.path.read_bytes() == CONTENT
    assert [path.partition("?")[0] for path in host.paths] == ["/1", "/1", "/2", "/2", "/3", "/3", "/4"]
    host.asked.clear()
    host.answers = [part(0, 3), expired, expired]
    with pytest.raises(AssetDownloadError, match="403"):
        fetcher(host).fetch(directory, reserve=0)
    assert len(host.asked) == 3


@pytest.mark.parametrize("size", [len(CONTENT), 10**15, None])
def test_a_file_larger_than_the_disk(host: Host, directory: Path, size: int | None) -> None:
    """It is the fault of that file, not of this machine's room: the error is its task's, and nothing is tried again."""
    host.answers = [(200, {"Content-Length": str(10**15)}, CONTENT)]
    with pytest.raises(AssetDownloadError, match=r"announces 1,000,000,000,000,000 bytes.*TMPDIR"):
        fetcher(host, item(size=size)).fetch(directory, reserve=size or 0)
    assert len(host.asked) == 1
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("name", ["cat", "cat.png"])
@pytest.mark.parametrize("url", ["http://[::1", "http://[bad]/x", "http:///x", "nonsense"])
def test_a_url_that_is_none(host: Host, directory: Path, name: str, url: str) -> None:
    """It is an error of the download, whether the suffix of the file is the name's or the URL's."""
    named = item()
    named._orm_item = named._orm_item.model_copy(update={"name": name})
    with pytest.raises(AssetDownloadError, match="invalid URL"):
        fetcher(host, named, call=lambda _: url).fetch(directory, reserve=0)


@pytest.mark.parametrize("kind", WITHOUT_FILE)
def test_items_without_a_file(host: Host, directory: Path, kind: StorageItemType) -> None:
    """An item that has no file of its own is refused with advice, and no URL is asked for."""
    with pytest.raises(UnsupportedAssetError) as caught:
        fetcher(host, item(kind), call=lambda _: pytest.fail("asked")).fetch(directory, reserve=0)
    assert str(caught.value).endswith(WITHOUT_FILE[kind])
    assert kind.value in str(caught.value)
    assert caught.value.item == "cat"


@pytest.mark.parametrize("url", [None, ""])
def test_an_item_without_a_url(host: Host, directory: Path, url: str | None) -> None:
    """A platform that gives no URL has no file, which is not tried again."""
    with pytest.raises(UnsupportedAssetError, match="has no file for 'cat'"):
        fetcher(host, call=lambda _: url).fetch(directory, reserve=0)
    assert host.asked == []


BUSY = (503, {"Retry-After": "7"}, b"")


@pytest.mark.parametrize(
    ("answers", "more", "log", "words"),
    [
        ([(200, {}, CONTENT)], 0, ["try", "tried", "answered"], None),
        ([BUSY, (200, {}, CONTENT)], 1, ["try", "again? 503 7.0", "try", "tried", "answered"], None),
        ([BUSY], 1, ["try", "again? 503 7.0"] * 2, "503.*it was tried again and again"),
        ([(402, {}, b"")], 9, ["try", "answered"], "402"),
        ([(403, {}, b""), (200, {}, CONTENT)], 0, ["try", "answered", "try", "tried", "answered"], None),
    ],
)
def test_tries_of_the_callers_own(
    host: Host, directory: Path, answers: list[Any], more: int, log: list[str], words: str | None
) -> None:
    """The caller's rules are asked after each try that may be repeated, and told of each answer that may not."""
    host.answers = answers
    told = Told(more)
    one = fetcher(host, begin=lambda: told)
    if words is None:
        assert one.fetch(directory, reserve=0).path.read_bytes() == CONTENT
    else:
        with pytest.raises(AssetDownloadError, match=words):
            one.fetch(directory, reserve=0)
    assert told.log == ["enter", *log, "exit"]


@pytest.mark.parametrize("answer", [BUSY, (200, {}, CONTENT)])
@pytest.mark.parametrize("before", [True, False])
def test_a_file_that_nobody_wants(host: Host, directory: Path, before: bool, answer: Any) -> None:
    """After `cancel`, before a download or between two tries of one, no file comes, and it is not tried again."""
    host.answers = [answer if before else BUSY, answer]
    one: Fetcher = fetcher(host, sleep=lambda _: one.cancel())
    if before:
        one.cancel()
    with pytest.raises(RuntimeError, match="'cat' was asked for after its task had ended"):
        one.fetch(directory, reserve=0)
    assert one.cancelled
    assert len(host.asked) <= 1
    assert list(directory.iterdir()) == []


# The cache


def test_a_kept_file_of_a_known_size_costs_no_request(host: Host, directory: Path, tmp_path: Path) -> None:
    """An entry without a tag is current if its size is; it keeps its suffix, and no host is asked for a place."""
    told = Told()
    fetched = fetcher(host, cache=kept(tmp_path, tag=None), begin=lambda: told).fetch(directory, reserve=0)
    assert fetched.path.read_bytes() == CONTENT.upper()
    assert (fetched.size, fetched.path.suffix) == (len(CONTENT), ".jpeg")
    assert (host.asked, told.log) == ([], [])


@pytest.mark.parametrize(
    ("answer", "content"), [((304, {}, b""), CONTENT.upper()), ((200, {"ETag": '"v2"'}, CONTENT), CONTENT)]
)
def test_a_kept_file_with_a_tag_is_asked_about(
    host: Host, directory: Path, tmp_path: Path, answer: Any, content: bytes
) -> None:
    """The host says whether it is current; a newer version takes its place, in the cache as well."""
    host.answers = [answer]
    cache = kept(tmp_path, tag='"v1"')
    assert fetcher(host, cache=cache).fetch(directory, reserve=0).path.read_bytes() == content
    ((_, headers),) = host.asked
    assert headers["If-None-Match"] == '"v1"'
    entry = cache.find(item().uuid, len(CONTENT))
    assert entry is not None
    with entry:
        assert entry.tag == ('"v1"' if answer[0] == 304 else '"v2"')


def test_a_damaged_file_is_fetched_again(host: Host, directory: Path, tmp_path: Path) -> None:
    """A kept file whose content is not as it was is removed, though the host says that it is current."""
    host.answers = [(304, {}, b""), (200, {}, CONTENT)]
    cache = kept(tmp_path, tag='"v1"')
    (path,) = cache.directory.glob("*.asset")
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    assert fetcher(host, item(size=None), cache=cache).fetch(directory, reserve=0).path.read_bytes() == CONTENT
    assert ["If-None-Match" in headers for _, headers in host.asked] == [True, False]
    assert len(list(directory.iterdir())) == 1
    assert not path.exists()


@pytest.mark.parametrize(
    ("renewals", "content"),
    [([False], CONTENT.upper()), ([True], CONTENT), ([True, False], CONTENT), ([False, True], CONTENT)],
)
def test_renewal(host: Host, directory: Path, tmp_path: Path, renewals: list[bool], content: bytes) -> None:
    """A renewed file is the host's, whatever is kept; a renewed URL alone leaves the cache in use."""
    one = fetcher(host, cache=kept(tmp_path, tag=None))
    for file in renewals:
        one.renew(file=file)
    assert one.fetch(directory, reserve=0).path.read_bytes() == content


@pytest.mark.parametrize(
    ("headers", "size", "tag"),
    [
        ({}, len(CONTENT), None),
        (TAG, len(CONTENT), '"v1"'),
        (TAG, None, '"v1"'),
        ({"ETag": 'W/"v1"'}, len(CONTENT), None),
        ({"ETag": 'W/"v1"'}, None, "not kept"),
        ({}, None, "not kept"),
    ],
)
def test_files_that_are_kept(
    host: Host, directory: Path, tmp_path: Path, headers: dict[str, str], size: int | None, tag: str | None
) -> None:
    """A file is kept if its version can be told later: by its size, or by a strong name of the host's."""
    host.answers = [(200, headers, CONTENT)]
    cache = AssetCache(tmp_path / "cache", 10_000)
    fetcher(host, item(size=size), cache=cache).fetch(directory, reserve=0)
    entry = cache.find(item().uuid, len(CONTENT))
    if entry is None:
        assert tag == "not kept"
        return
    with entry:
        assert (entry.tag, entry.suffix) == (tag, ".png")


@pytest.mark.parametrize("size", [1, 5000])
def test_a_file_of_another_size_is_not_kept(host: Host, directory: Path, tmp_path: Path, size: int) -> None:
    """It is fetched all the same, but would never be taken for the current one later."""
    host.answers = [(200, TAG, CONTENT)]
    cache = AssetCache(tmp_path / "cache", 10_000)
    fetched = fetcher(host, item(size=size), cache=cache).fetch(directory, reserve=0)
    assert (fetched.path.read_bytes(), fetched.size) == (CONTENT, len(CONTENT))
    assert not list(tmp_path.glob("cache/*.asset"))


@pytest.mark.parametrize(("name", "decodes"), [("words.txt", True), ("scan.nii.gz", False), ("all.tgz", False)])
def test_files_stored_with_a_coding(host: Host, directory: Path, name: str, decodes: bool) -> None:
    """A coding is undone, unless the file is compressed by its own name, as its readers expect it."""
    stored = gzip.compress(CONTENT)
    host.answers = [(200, {"Content-Encoding": "gzip", **TAG}, stored)]
    compressed = item(size=len(stored))
    compressed._orm_item = compressed._orm_item.model_copy(update={"name": name, "mime_type": None})
    fetched = fetcher(host, compressed).fetch(directory, reserve=0)
    assert fetched.path.name.endswith(name.partition(".")[2])
    assert fetched.path.read_bytes() == (CONTENT if decodes else stored)


def test_no_cache_has_no_room_to_give(host: Host) -> None:
    """Without a cache, nothing gives way to a file."""
    assert not fetcher(host).give_way(NoRoomError("no", OSError(28, "No space left on device")))
