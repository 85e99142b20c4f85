"""The server beneath the local platform."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from encord_agents.local import LocalPlatform


def test_answers_do_not_wait_for_acknowledgements(local_platform: LocalPlatform) -> None:
    """Nagle's algorithm is off: with it, each answer on a kept connection comes 40 ms late."""
    address = urlsplit(local_platform.domain)
    assert local_platform._server is not None
    server = local_platform._server._server
    assert server is not None
    with socket.create_connection((address.hostname, address.port), timeout=5):
        deadline = time.monotonic() + 5
        while not server.server_state.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        (connection,) = server.server_state.connections
        accepted: socket.socket = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
