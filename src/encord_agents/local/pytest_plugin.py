"""Pytest fixtures. Installed as a plugin, so imported in every pytest run: everything heavy is imported when used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from encord_agents.local.platform import LocalPlatform

__all__ = ["local_platform"]


@pytest.fixture
def local_platform() -> Iterator[LocalPlatform]:
    """An empty platform in memory, on a free port.

    A request that it did not understand fails the test that caused it, whatever the code under test did with the 501.
    """
    from encord_agents.local import LocalPlatform

    with LocalPlatform() as platform:
        yield platform
        platform.check()
