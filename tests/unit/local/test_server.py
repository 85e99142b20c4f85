"""The server beneath the local platform."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
import requests
from tests.waiting import until

from encord_agents.local import Fault, LocalPlatform


def test_answers_do_not_wait_for_acknowledgements(local_platform: LocalPlatform) -> None:
    """Nagle's algorithm is off: with it, each answer on a kept connection comes 40 ms late."""
    address = urlsplit(local_platform.domain)
    assert local_platform._server is not None
    server = local_platform._server._server
    assert server is not None
    with socket.create_connection((address.hostname, address.port), timeout=60):
        assert until(lambda: server.server_state.connections)
        (connection,) = server.server_state.connections
        accepted: socket.socket = connection.transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_connection_that_is_hung_up_is_the_one_that_asked(local_platform: LocalPlatform) -> None:
    """Whatever address a request says that it was forwarded for."""
    local_platform.faults.add(Fault(action="drop_before"))
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{local_platform.domain}/assets/x/y", headers={"X-Forwarded-For": "10.0.0.1"}, timeout=60)
