"""Tries of one download: its storage host is treated as the gate treats the platform."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from encord_agents.exceptions import OutageError
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.troubles import Troubles

__all__ = ["DownloadTries"]


class DownloadTries:
    """The tries of one file's download.

    A file that cannot be fetched does not end the run if no other download is in trouble. On exit from the context
    manager, the download no longer counts as in trouble, however it ended.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._troubles = Troubles("asset")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.downloads_in_trouble.discard(self)

    def slot(self) -> AbstractContextManager[None]:
        """Return a context manager that takes one of the slots for downloads in flight."""
        return self._gate.slot(self._gate.downloads)

    def again(self, error: Exception, retry_after: float) -> bool:
        """Wait. Return True if another try should be made."""
        self._gate.downloads_in_trouble.add(self)  # adding to a set is atomic, and so needs no lock
        try:
            # After a stop, an attempt may go on for a little while, but not for as long as an outage may last.
            return not self._gate.stop.requested and self._gate.recover(
                self._troubles, error, at_least=min(retry_after, self._gate.timing.longest_retry_after)
            )
        except OutageError:
            if len(self._gate.downloads_in_trouble) > 1:
                raise
            return False

    def answered(self) -> None:
        """Note that the host has answered."""
        self._gate.downloads_in_trouble.discard(self)
        self._gate.answered("asset")
