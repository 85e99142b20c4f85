"""The body of an answer: taken within bounds that the other side does not choose."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import zlib
from collections.abc import Callable
from contextlib import closing, suppress

import pytest
from tests.servers import answering
from tests.waiting import until

from encord_agents.core import transport
from encord_agents.core.downloads import Bounds, DownloadLimits, Interrupted, Progress, Refused, receive
from encord_agents.core.transport import TransportError, abort, hang_up, open_url

TIMEOUT = (5.0, 30.0)


def sends(*parts: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return answer


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode("latin-1")


class Clock:
    """A clock that goes on by so many seconds each time it is looked at."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def received(url: str, bounds: Bounds | None = None, check: Callable[[], None] = lambda: None) -> bytes:
    file = io.BytesIO()
    with closing(open_url(url, TIMEOUT)) as response:
        receive(response, file, bounds or Bounds(), check=check)
    return file.getvalue()


def test_a_file() -> None:
    """With a length, in chunks, or until the connection ends."""
    for answer in (
        sends(head("Content-Length: 8"), b"the file"),
        sends(head("Transfer-Encoding: chunked"), b"4\r\nthe \r\n4\r\nfile\r\n0\r\n\r\n"),
        sends(head(), b"the file"),
    ):
        with answering(answer) as url:
            assert received(url, Bounds(size=8)) == b"the file"


def test_a_body_without_end() -> None:
    """No more is taken than the platform says the file has, and it is not tried again."""

    def endless(connection: socket.socket) -> None:
        connection.sendall(head())
        while True:
            connection.sendall(b"x" * 65536)

    with answering(endless) as url, pytest.raises(Interrupted, match=r"larger .* in place of 100,000 bytes") as caught:
        received(url, Bounds(size=100_000))
    assert not caught.value.may_pass


@pytest.mark.parametrize("size", [None, 10**15])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_body_that_takes_the_disk_of_all_tasks(size: int | None, coding: str) -> None:
    """A file of unknown size may take half of the disk; then it is given up, and not tried again."""
    content = b"x" * 1_000_001
    body = gzip.compress(content) if coding else content
    lines = [f"Content-Encoding: {coding}", f"Content-Length: {len(body)}"] if coding else []
    with answering(sends(head(*lines), body)) as url:
        with pytest.raises(Interrupted, match="more than 1,000,000 bytes, half of the disk") as caught:
            received(url, Bounds(size=size, disk=2_000_000))
        assert not caught.value.may_pass
        assert received(url, Bounds(size=size, disk=2_000_002)) == content


def test_a_file_that_no_such_disk_can_hold() -> None:
    """It is given up by its announced length, before any of it is taken; one that fits an empty disk is taken."""
    file = io.BytesIO()
    with answering(sends(head("Content-Length: 1000"), b"x" * 1000)) as url:
        assert received(url, Bounds(disk=1000)) == b"x" * 1000
        with closing(open_url(url, TIMEOUT)) as response, pytest.raises(Interrupted, match=r"1,000 .* 999 ") as caught:
            receive(response, file, Bounds(disk=999), check=lambda: None)
    assert not caught.value.may_pass
    assert file.getvalue() == b""


@pytest.mark.parametrize("size", [1, 10, 5000])
def test_a_file_of_another_size(size: int) -> None:
    """The platform's size may be wrong, since customers may state it; what the host announces is taken."""
    with answering(sends(head("Content-Length: 1000"), b"x" * 1000)) as url:
        assert received(url, Bounds(size=size)) == b"x" * 1000


def test_the_time_for_a_large_file() -> None:
    """It is that for the larger of both sizes, the platform's and the announced one."""
    bounds = Bounds(size=1, clock=lambda: 0.0)
    assert (bounds.until(), bounds.until(10), bounds.until(100_000_000)) == (600, 600, 1000)
    assert Bounds(size=200_000_000, clock=lambda: 0.0).until(10) == 2000
    assert Bounds(clock=lambda: 0.0).until() == Bounds(clock=lambda: 0.0).until(10) == 3600


CONTENT = b"plain words\n" * 50_000


def compressed(coding: str) -> bytes:
    return {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}.get(coding, bytes)(CONTENT)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "utf-8", "aws-chunked", "identity", ""])
@pytest.mark.parametrize("size", [None, "stored", "decoded"])
@pytest.mark.parametrize("announced", [True, False])
def test_files_stored_with_a_coding(coding: str, size: str | None, announced: bool) -> None:
    """Compression is undone, and other names are passed over; the platform's size may be of either form."""
    body = compressed(coding)
    lines = [f"Content-Encoding: {coding}", *([f"Content-Length: {len(body)}"] if announced else [])]
    if size == "stored" and not announced and len(body) < len(CONTENT):
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    sizes = {None: None, "stored": len(compressed(coding)), "decoded": len(CONTENT)}
    with answering(sends(head(*lines), body)) as url:
        assert received(url, Bounds(size=sizes[size])) == CONTENT


def test_a_gzip_file_with_a_coding() -> None:
    """Of a file that is compressed by its own name, the coding only says so."""
    body = compressed("gzip")
    answer = sends(head("Content-Encoding: gzip", f"Content-Length: {len(body)}"), body)
    file = io.BytesIO()
    with answering(answer) as url, closing(open_url(url, TIMEOUT)) as response:
        assert receive(response, file, Bounds(), check=lambda: None, is_compressed=True) == len(body)
    assert file.getvalue() == body


@pytest.mark.parametrize(
    ("coding", "body", "words"),
    [
        ("br", b"x", r"Content-Encoding br, which cannot be decoded"),
        ("gzip", CONTENT, r"compressed \(gzip\), and cannot be decompressed"),
        ("gzip", compressed("gzip")[:-10], r"compressed \(gzip\), and ends too early"),
    ],
)
def test_codings_that_cannot_be_undone(coding: str, body: bytes, words: str) -> None:
    """They are refused with the reason, and not tried again."""
    answer = sends(head(f"Content-Encoding: {coding}", f"Content-Length: {len(body)}"), body)
    with answering(answer) as url, pytest.raises(Interrupted, match=words) as caught:
        received(url)
    assert not caught.value.may_pass


def test_a_compressed_file_that_breaks_off() -> None:
    """It is tried again from the beginning, since the rest of it has no place in the file."""
    body, begun = compressed("gzip"), Progress()
    answer = head("Content-Encoding: gzip", f"Content-Length: {len(body)}", 'ETag: "v1"') + body[:-10]
    with pytest.raises(Interrupted) as caught:
        resumed(answer, begun, Kept())
    assert caught.value.may_pass
    assert begun.headers == {}


def test_a_rest_with_a_coding() -> None:
    """A host that has sent the beginning without one is asked again for all of it."""
    begun = Progress(5, '"v"', 6)
    lines = ("Content-Encoding: gzip", "Content-Length: 1", "Content-Range: bytes 5-5/6", 'ETag: "v"')
    with pytest.raises(Interrupted, match="unlike the beginning") as caught:
        resumed(head(*lines, status="206 Partial Content") + b"x", begun, Kept(b"hello"))
    assert caught.value.may_pass
    assert begun.headers == {}


def test_a_drip() -> None:
    """A byte now and then is no answer, however long the host may go on; it is tried again as a silence would be."""
    going = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(head("Content-Length: 100000"))
        while not going.wait(0.001):
            connection.sendall(b"x")

    with answering(drip) as url:
        with pytest.raises(Interrupted, match="sent only") as caught:
            received(url, Bounds(clock=Clock(DownloadLimits().window / 10)))
        assert caught.value.may_pass
        with pytest.raises(Interrupted, match="took too long") as caught:
            received(url, Bounds(deadline=50.0, clock=Clock(20.0)))
        assert not caught.value.may_pass
        going.set()


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nX-Long: ", b"", head("Transfer-Encoding: chunked") + b"1;"],
    ids=["head", "status line", "chunk"],
)
def test_a_drip_where_no_read_returns(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of heads and of chunks that never end are left in time, too, though no silence is long."""
    monkeypatch.setattr(transport, "LONGEST_READ", 0.05)
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(begin)
        while not over.wait(0.001):
            connection.sendall(b"x")

    with answering(drip) as url:
        with pytest.raises((TransportError, Interrupted), match="did not answer in time"):
            received(url)
        over.set()


def test_given_up_before_it_is_answered() -> None:
    """A download is left at once also while nothing has come of its answer."""
    sockets: list[socket.socket] = []
    asked = threading.Event()

    def silence(connection: socket.socket) -> None:
        asked.set()
        connection.recv(1)  # until the client ends it

    with answering(silence) as url:

        def give_up() -> None:
            asked.wait()
            until(lambda: bool(sockets))
            hang_up(sockets[0])

        thread = threading.Thread(target=give_up)
        thread.start()
        with pytest.raises(TransportError):
            open_url(url, TIMEOUT, begun=sockets.append)
        thread.join()


def test_given_up_while_it_waits() -> None:
    """A download is left at once when nobody wants it any more, also while nothing comes."""
    waiting = threading.Event()
    wanted = [True]

    def silence(connection: socket.socket) -> None:
        connection.sendall(head("Content-Length: 100") + b"x")
        waiting.set()
        connection.recv(1)  # until the client ends it

    def check() -> None:
        if not wanted[0]:
            raise RuntimeError("nobody wants it")

    with answering(silence) as url, closing(open_url(url, TIMEOUT)) as response:

        def give_up() -> None:
            waiting.wait()
            wanted[0] = False
            abort(response)

        thread = threading.Thread(target=give_up)
        thread.start()
        with pytest.raises(RuntimeError, match="nobody wants it"):
            receive(response, io.BytesIO(), Bounds(), check=check)
        thread.join()


@pytest.mark.parametrize(
    ("answer", "words", "status"),
    [
        (head("Content-Length: 0", status="404 " + "x" * 5000), r"answered 404 x{100}\.\.\. \(4,900 more", 404),
        (head("Content-Length: 0", status="404 \x1b[31mRED"), r"answered 404 \\x1b\[31mRED", 404),
        (head("Content-Length: 100") + b"half", "50|4 of 100|broke", None),
    ],
)
def test_refusals(answer: bytes, words: str, status: int | None) -> None:
    """What the host says is cut and cannot steer a terminal."""
    with answering(sends(answer)) as url, pytest.raises(Interrupted, match=words) as caught:
        received(url)
    assert caught.value.status == status


def test_a_length_of_many_digits() -> None:
    """A head that makes no sense is an answer like any other that cannot be used."""
    answer = sends(head("Content-Length: " + "9" * 5000), b"x")
    with answering(answer) as url, suppress(Interrupted, TransportError):
        assert received(url) == b"x"


# The rest of a file


class Kept(io.BytesIO):
    """A file that can be begun anew."""

    def restart(self) -> None:
        self.seek(0)
        self.truncate()


def resumed(answer: bytes, begun: Progress, kept: Kept) -> int:
    """Take what a host answers, after what is there already."""
    kept.seek(0, io.SEEK_END)
    with answering(sends(answer)) as url, closing(open_url(url, TIMEOUT, headers=begun.headers)) as response:
        return receive(response, kept, Bounds(), check=lambda: None, progress=begun)


def test_the_rest_is_asked_for_by_the_name_of_the_version() -> None:
    """Without a strong name, or the size by which the rest is known to be all of it, everything is."""
    assert Progress(5, '"v1"').headers == {"Range": "bytes=5-", "If-Range": '"v1"'}
    assert Progress(0, '"v1"').headers == Progress(5, None).headers == {}
    length = "Content-Length: 3"
    for lines in ([length, 'ETag: W/"v1"'], [length], [length, 'ETag: "v1"', "Accept-Ranges: none"], ['ETag: "v1"']):
        begun = Progress()
        resumed(head(*lines) + b"abc", begun, Kept())
        assert begun.size == 3
        assert begun.headers == {}


def part(*lines: str) -> bytes:
    return head(*lines, status="206 Partial Content")


def begun() -> Progress:
    """The progress of a file of 9 bytes, 5 of which have arrived."""
    return Progress(5, '"v"', 9)


def test_a_host_that_goes_on() -> None:
    """What it sends is added; the size is that of the whole."""
    kept = Kept(b"hello")
    assert resumed(part("Content-Length: 4", "Content-Range: bytes 5-8/9", 'ETag: "v"') + b" you", begun(), kept) == 9
    assert kept.getvalue() == b"hello you"


def test_a_host_that_begins_anew() -> None:
    """It does not know of parts, or has another version."""
    kept, begun = Kept(b"hello"), Progress(5, '"v"')
    assert resumed(head("Content-Length: 3", 'ETag: "w"') + b"all", begun, kept) == 3
    assert kept.getvalue() == b"all"
    assert begun.validator == '"w"'


@pytest.mark.parametrize(
    "answer",
    [
        part("Content-Length: 4", "Content-Range: bytes 0-8/9", 'ETag: "v"'),
        part("Content-Length: 4", 'ETag: "v"'),
        part("Content-Length: 4", "Content-Range: bytes 5-8/9", 'ETag: "w"'),
        part("Content-Length: 4", "Content-Range: bytes 5-8/9", 'ETag: W/"v"'),
        part("Content-Length: 4", "Content-Range: bytes 5-8/9"),
        part("Content-Length: 4", "Content-Range: bytes 5-8/10", 'ETag: "v"'),
        part("Content-Length: 3", "Content-Range: bytes 5-7/9", 'ETag: "v"'),
        head("Content-Length: 0", "Content-Range: bytes */3", status="416 Range Not Satisfiable"),
    ],
)
def test_a_host_that_sends_another_part(answer: bytes) -> None:
    """Nothing of another version, or of a part that is not all of the rest, is added: it is begun anew."""
    progress, kept = begun(), Kept(b"hello")
    with pytest.raises(Interrupted) as caught:
        resumed(answer + b" you", progress, kept)
    assert caught.value.may_pass
    assert progress.headers == {}
    assert kept.getvalue() == b"hello"


def test_a_rest_that_breaks_off() -> None:
    """It counts as far as it came, and is not taken for the whole."""
    progress, kept = begun(), Kept(b"hello")
    lines = ("Content-Range: bytes 5-8/9", 'ETag: "v"')
    with pytest.raises(Interrupted, match="7 of 9"):
        resumed(part(*lines) + b" y", progress, kept)
    assert progress.headers["Range"] == "bytes=7-"
    kept.seek(0)
    assert resumed(part("Content-Range: bytes 7-8/9", 'ETag: "v"') + b"ou", progress, kept) == 9
    assert kept.getvalue() == b"hello you"


def test_a_part_that_nobody_asked_for() -> None:
    """It is no file."""
    answer = head("Content-Length: 1", "Content-Range: bytes 0-0/9", status="206 Partial Content") + b"x"
    with pytest.raises(Refused):
        resumed(answer, Progress(), Kept())
