"""A notification's signature, and what is said where there is no answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

import pytest
from tests.ports import free_port
from tests.servers import answering, server
from tests.waiting import until

from encord_agents.core.constants import WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER
from encord_agents.core.webhooks import sign
from encord_agents.local import LocalPlatform, LocalProject, notifications, notifier


def test_the_signature_is_the_librarys() -> None:
    """Header names and signature are those that `core.webhooks` verifies."""
    assert (notifier.SIGNATURE, notifier.TIMESTAMP) == (WEBHOOK_SIGNATURE_HEADER, WEBHOOK_TIMESTAMP_HEADER)
    assert notifier.signature(b"{}", "1700000000", "secret") == sign(b"{}", timestamp="1700000000", secret="secret")


@pytest.mark.parametrize(
    ("status", "accepted", "said"),
    [(200, True, "200 OK"), (202, False, "202 Accepted"), (204, False, "204 No Content"), (302, False, "302 Found"),
     (401, False, "401 Unauthorized"), (503, False, "503 Service Unavailable"), (799, False, "799")],
)  # fmt: skip
def test_only_200_is_an_acceptance(status: int, accepted: bool, said: str) -> None:
    """As on the real platform. A redirect is not followed."""
    with server((status, b"x" * 1000)) as address:
        assert notifier.post(address, b"{}", "s") == (accepted, said)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is a few words: nobody listens, the connection is closed, or the wait is over."""
    assert notifier.post(f"http://127.0.0.1:{free_port()}/", b"{}", "s") == (False, "connection refused")
    with answering(lambda connection: None) as address:
        assert notifier.post(address, b"{}", "s")[1] in ("the connection was closed", "connection reset by peer")
    monkeypatch.setattr(notifier, "SECONDS_TO_ANSWER", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert notifier.post(address, b"{}", "s") == (False, "no answer within 0.05 s")


def test_an_answer_that_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is for the answer as a whole: one byte now and then does not prolong it."""
    monkeypatch.setattr(notifier, "SECONDS_TO_ANSWER", 0.2)
    given_up = threading.Event()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not given_up.wait(0.05):
                connection.sendall(b"x")

    with answering(drip) as address:
        try:
            assert notifier.post(address, b"{}", "s") == (False, "no answer within 0.2 s")
        finally:
            given_up.set()


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver here is reached whatever the environment says of proxies."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with server((200, b"")) as address:
        assert notifier.post(address, b"{}", "s") == (True, "200 OK")


def test_no_thread_to_spare(platform: LocalPlatform, project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no thread for a notification, it is sent at a later look."""
    with server((200, b"")) as address:
        platform.receivers.add(address, max_wait=0.01)
        looks = notifier.Notifier(platform._service)
        refused = []

        def refuse(self: threading.Thread) -> None:
            refused.append(self.name)
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            assert until(lambda: looks._look() or refused)
        assert until(lambda: looks._look() or all_accepted(platform))


def all_accepted(platform: LocalPlatform) -> bool:
    found = notifications.latest(platform._service.database, 10)
    return bool(found) and all(one.status == "delivered" for one in found)
