"""Forked processes connect for themselves."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encord_agents.tasks.runner.queue_runner import QueueRunner

__all__ = ["forget_after_fork"]

_inherited: list[object] = []
"""Objects that forked processes must keep: the garbage collector would end the parent's run-scoped generators here."""


def forget_after_fork(runner: QueueRunner) -> None:
    """Have a forked process connect for itself: it inherits no connection, no event loop, and no lock that is held."""
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.ref(runner)

    def forget() -> None:
        if (there := reference()) is not None:
            there._lock = threading.RLock()  # a thread that held the other does not exist here
            _inherited.extend((there._connection, there._connecting, there._closing))
            there._connection = there._connecting = None
            there._closing = []
            there._project = None
            # A client of the runner's own has connections that the parent goes on using.
            there._client, there._sending_client = there._given_client, None

    os.register_at_fork(after_in_child=forget)
