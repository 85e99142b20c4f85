"""The threads of a stage run, where it depends on who comes first."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads give way to each other as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("workers", [1, 3])
def test_the_last_task_gets_its_second_attempt(world: World, workers: int) -> None:
    """Between an attempt that failed and the next, a task is never out of sight: the stage does not end without it."""
    world.project.add_placeholders(1)
    calls = iter(range(10_000))

    def agent() -> None:
        if next(calls) % 2 == 0:
            raise LookupError

    runner = world.agent(agent)
    for _ in range(60):
        report = runner(progress="none", num_retries=1, max_workers=workers)
        assert (report.held, report.attempts) == (1, 2)
