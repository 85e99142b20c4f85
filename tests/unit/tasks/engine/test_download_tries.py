"""Tries of one download, waited for like requests to the platform."""

from __future__ import annotations

import pytest

from encord_agents.exceptions import AssetDownloadError, OutageError
from encord_agents.tasks.engine.download_tries import DownloadTries
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.stop import Stop

BUSY = AssetDownloadError("a.png", "uuid", "busy", status=429)
DOWN = AssetDownloadError("a.png", "uuid", "down")


class World:
    """A gate whose waiting takes no time."""

    def __init__(self, max_outage: float) -> None:
        self.now = 0.0
        self.stop = Stop()
        self.gate = Gate(self.stop, max_outage, lambda: self.now, lambda: 1.0, self.wait)

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_storage_host_that_asks_to_wait() -> None:
    """It is waited for at most 30 s at a time, and in all not longer than `max_outage`."""
    world = World(max_outage=50.0)
    with DownloadTries(world.gate) as tries:
        again = [tries.again(BUSY, 3600.0) for _ in range(3)]
    assert again == [True, True, False]
    assert world.now == 50.0


def test_a_download_that_is_left_is_in_no_trouble() -> None:
    """However it is left: what is counted as in trouble decides whether another one ends the run."""
    world = World(max_outage=10.0)

    def download() -> None:
        with DownloadTries(world.gate) as tries:
            assert tries.again(DOWN, 0.0)
            assert len(world.gate.downloads_in_trouble) == 1
            raise OSError("disk is full")

    with pytest.raises(OSError, match="disk"):
        download()
    assert len(world.gate.downloads_in_trouble) == 0
    with DownloadTries(world.gate) as tries:
        while tries.again(DOWN, 0.0):
            pass
        tries.answered()
    assert len(world.gate.downloads_in_trouble) == 0


def test_several_files_that_cannot_be_had_are_an_outage() -> None:
    """One alone may be to blame itself, and ends no run."""
    world = World(max_outage=10.0)
    with DownloadTries(world.gate) as one, DownloadTries(world.gate) as other:
        assert other.again(DOWN, 0.0)
        with pytest.raises(OutageError):
            all(one.again(DOWN, 0.0) for _ in range(100))


def test_no_try_after_a_stop() -> None:
    """An attempt that goes on does not wait for a host."""
    world = World(max_outage=10.0)
    world.stop.request()
    with DownloadTries(world.gate) as tries:
        assert not tries.again(DOWN, 0.0)
    assert world.now == 0.0
