"""A forked process connects for itself."""

from __future__ import annotations

import multiprocessing
import os
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import TYPE_CHECKING

import pytest

from encord_agents.tasks import QueueRunner

if TYPE_CHECKING:
    from tests.conftest import World


def look(runner: QueueRunner, pipe: Pipe) -> None:
    """Report a child's view of a runner, and the title of the project that it opens."""
    inherited = (runner._connection, runner._project, runner._sending_client)
    pipe.send(([one is None for one in inherited], runner.project.title))
    pipe.recv()
    os._exit(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_inherits_no_connection(world: World) -> None:
    """Nor a client, nor a lock that another thread held: it opens the project by itself."""
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    title = runner.project.title
    here, there = multiprocessing.Pipe()
    with runner._lock:  # as a thread would that does not exist in the child
        child = multiprocessing.get_context("fork").Process(target=look, args=(runner, there))
        child.start()
    assert here.poll(60)
    assert here.recv() == ([True, True, True], title)
    here.send("end")
    child.join(60)
    assert runner._connection is not None
    runner.close()


def test_a_runner_is_not_kept(world: World, collect_garbage: Callable[[], int]) -> None:
    """What is to be done after a fork does not hold on to it."""
    runner = QueueRunner(world.project.project_hash, user_client=world.client)
    reference = weakref.ref(runner)
    del runner
    collect_garbage()
    assert reference() is None
