"""A runner of queue functions for the world's project, closed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from encord_agents.tasks import QueueRunner

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def runner(world: World) -> Iterator[QueueRunner]:
    made = QueueRunner(world.project.project_hash, user_client=world.client)
    yield made
    made.close()
