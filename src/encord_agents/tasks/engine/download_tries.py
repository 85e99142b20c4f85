"""Tries of one download: its storage host is treated as the gate treats the platform."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Self

from encord_agents.exceptions import OutageError
from encord_agents.tasks.engine.gate import Gate, Troubles

__all__ = ["DownloadTries"]


class DownloadTries:
    """The tries of one download of a file.

    That one file alone cannot be had, when nothing else is asked for, ends no run. As a context manager it is no longer
    in trouble when it is left, however that is.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._troubles = Troubles("asset")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._gate.downloads_in_trouble.discard(self)

    def slot(self) -> AbstractContextManager[None]:
        """Enter one of the slots for downloads on their way."""
        return self._gate.slot(self._gate.downloads)

    def again(self, error: Exception, retry_after: float) -> bool:
        """Wait. Return True if there is to be another try."""
        self._gate.downloads_in_trouble.add(self)  # adding to a set is atomic, and so needs no lock
        try:
            # An attempt that goes on after a stop does so for a little while, not as long as an outage may last.
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
