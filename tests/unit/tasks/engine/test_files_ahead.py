"""Prefetch of files: order, bounds, and a machine without room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.stage_runs import stage_run
from tests.waiting import PATIENCE, until

from encord_agents.exceptions import AssetDownloadError, NoRoomError, OutageError
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.outcome import Phase
from encord_agents.tasks.engine.window import Window

if TYPE_CHECKING:
    from tests.conftest import World


class File:
    """A file that comes when the test lets it."""

    def __init__(self, nbytes: int = 10, error: Exception | None = None) -> None:
        self.nbytes = nbytes
        self.error = error
        self.may_come = threading.Event()
        self.asked = threading.Event()

    def fetch(self) -> None:
        self.asked.set()
        assert self.may_come.wait(PATIENCE)
        if self.error is not None:
            raise self.error

    def close(self) -> None: ...


@pytest.fixture
def files(world: World) -> Iterator[FilesAhead]:
    world.numbers |= {"files_ahead": 2, "bytes_ahead": 100}
    files = FilesAhead(Window(stage_run(world, lambda: None), 10, 1, lambda: False))
    yield files
    for thread in files.downloads.close():
        thread.join(PATIENCE)


def add(files: FilesAhead, number: int, file: File, size: int = 10) -> Context:
    item: Any = SimpleNamespace(width=None, height=None, file_size=size)
    task: Any = SimpleNamespace(uuid=number, data_title=str(number))
    asset: Any = file
    context = Context(files.run.agent, task, 0.0, item=item, asset=asset)
    with files._window.lock:
        files.add(number, context)
        files.pump()
    return context


def test_in_order_and_not_too_many(files: FilesAhead) -> None:
    """The third file is asked for when an agent is done with the first."""
    made = [File() for _ in range(3)]
    contexts = [add(files, number, file) for number, file in enumerate(made)]
    for file in made[:2]:
        file.may_come.set()
    assert until(lambda: set(files._window.ready) == {0, 1})
    assert not made[2].asked.is_set()
    files._window.first = 1
    contexts[0].close()
    assert made[2].asked.wait(PATIENCE)
    made[2].may_come.set()
    assert until(lambda: 2 in files._window.ready)


def test_sizes_are_counted_before_the_files_are_there(files: FilesAhead) -> None:
    """Downloads that begin together do not all find the same room."""
    first, second = File(nbytes=90), File()
    add(files, 0, first, size=150)
    add(files, 1, second)
    assert first.asked.wait(PATIENCE)
    assert not second.asked.is_set()
    first.may_come.set()  # it is smaller than was said, so there is room for another
    assert until(lambda: 0 in files._window.ready)
    with files._window.lock:
        files.pump()
    assert second.asked.wait(PATIENCE)
    second.may_come.set()


def test_the_task_whose_turn_it_is_always_gets_its_file(files: FilesAhead) -> None:
    """However large it is, and whatever else is there."""
    large = File(nbytes=1_000_000)
    large.may_come.set()
    add(files, 0, large, size=1_000_000)
    assert until(lambda: 0 in files._window.ready)


def test_a_failed_download_is_the_first_attempts_fault(files: FilesAhead) -> None:
    """The task is attempted like any other, and fails then."""
    file = File(error=AssetDownloadError("image.png", "0", "it is gone", status=404))
    file.may_come.set()
    context = add(files, 0, file)
    assert until(lambda: 0 in files._window.ready)
    assert context.trouble is not None
    assert (context.trouble.phase, context.trouble.attempt) == (Phase.LOAD, 1)


def test_no_room_puts_a_file_off(files: FilesAhead) -> None:
    """It is no fault: from then on, no more are fetched ahead than there is room for."""
    file = File(error=NoRoomError("There is no room", OSError("full")))
    file.may_come.set()
    context = add(files, 0, file)
    assert until(lambda: 0 in files._window.ready)
    assert context.trouble is None
    assert files.most_files == 0


def test_a_host_that_does_not_answer_ends_the_run(files: FilesAhead) -> None:
    """It is everybody's trouble."""
    file = File(error=OutageError(300.0, LookupError("no answer")))
    file.may_come.set()
    add(files, 0, file)
    assert until(lambda: files._window.error is not None)
    assert isinstance(files._window.error, OutageError)
