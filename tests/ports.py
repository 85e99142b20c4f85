"""Ports for servers that do not choose one themselves."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

FROM, TO = 15_000, 32_000
"""Below those that systems give to connections: of these, a busy machine opens thousands, and one might take the port
before the server does."""


def free_port() -> int:
    """Return a port of this machine on which nobody listens, and on which a server can be started a while later."""
    while True:
        port = random.SystemRandom().randrange(FROM, TO)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
