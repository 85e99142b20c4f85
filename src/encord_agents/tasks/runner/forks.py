"""Forked processes open connections of their own."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["forget_after_fork"]

_inherited: list[object] = []
"""Objects that a forked child keeps alive: collecting them would finish the parent's run-scoped generators here."""


def forget_after_fork(runner: QueueRunner) -> None:
    """Make a forked child open its own connection: it keeps no connection, event loop or held lock of its parent."""
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(runner)  # the callback cannot be unregistered, and must not keep the runner alive

    def forget() -> None:
        if (there := reference()) is not None:
            there._lock = threading.RLock()  # the old one may be held by a thread that does not exist here
            _inherited.extend((there._connection, there._connecting, there._closing))
            there._connection = there._connecting = None
            there._closing = []
            there._project = None
            # The parent goes on using the connections of a client that the runner made.
            there._client, there._sending_client = there._given_client, None

    os.register_at_fork(after_in_child=forget)
