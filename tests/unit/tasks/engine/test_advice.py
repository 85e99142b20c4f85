"""Notes on exceptions whose own message does not say what to do."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from encord.exceptions import OntologyError
from encord.objects import OntologyStructure

from encord_agents.core.tracebacks import notes
from encord_agents.tasks.engine.advice import (
    ABOUT_DAEMONIC,
    ABOUT_LOOPS,
    ABOUT_OPENCV,
    ABOUT_OTHER_LOOPS,
    ABOUT_THE_ONTOLOGY,
    advise,
)


@pytest.fixture
def daemonic(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may have no children, as Celery's prefork workers may not."""
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("daemonic")
@pytest.mark.parametrize(
    "start",
    [
        lambda: multiprocessing.get_context("spawn").Pool(1),
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
        lambda: ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")).submit(print).result(),
    ],
)
def test_a_process_that_may_have_no_children(start: Any) -> None:
    """The note says which pools may, once, whoever wraps the exception."""
    with pytest.raises(AssertionError) as raised:
        start()
    wrapped = RuntimeError("no workers")
    wrapped.__cause__ = raised.value
    for _ in range(2):
        advise(wrapped)
    assert notes(raised.value) == [ABOUT_DAEMONIC]
    assert notes(wrapped) == []


@pytest.mark.usefixtures("daemonic")
def test_what_it_may_have() -> None:
    """Threads, as the note says."""
    with ThreadPool(1) as pool:
        assert pool.map(len, ["ab"]) == [2]


def test_others_have_no_note() -> None:
    """An assertion of the agent's own is its own."""
    error = AssertionError("no cats")
    advise(error)
    assert notes(error) == []


def test_a_loop_that_runs() -> None:
    """An agent that starts a loop where one runs, as in a notebook, is told of the two ways out."""

    async def nothing() -> None: ...

    async def cell() -> list[BaseException]:
        met: list[BaseException] = []
        for start in (asyncio.run, asyncio.get_running_loop().run_until_complete):
            coroutine = nothing()
            try:
                start(coroutine)
            except RuntimeError as error:
                met.append(error)
            await coroutine
        return met

    met = asyncio.run(cell())
    assert len(met) == 2
    for error in met:
        advise(error)
        assert notes(error) == [ABOUT_LOOPS]


def test_a_loop_that_is_another() -> None:
    """An agent whose client or lock is older than the loop of the call is told where to make it."""
    event = asyncio.Event()

    async def waits() -> None:
        asyncio.get_running_loop().call_soon(event.set)
        await event.wait()
        event.clear()

    async def make() -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()

    async def awaits(future: asyncio.Future[None]) -> None:
        await future

    asyncio.run(waits())
    future = asyncio.run(make())
    met: list[BaseException] = []
    for use in (
        lambda: asyncio.run(waits()),
        lambda: asyncio.run(awaits(future)),
        lambda: future.get_loop().call_soon(print),
    ):
        with pytest.raises(RuntimeError) as raised:
            use()
        met.append(raised.value)
    for error in met:
        advise(error)
        assert notes(error) == [ABOUT_OTHER_LOOPS]


def test_opencv_that_is_not_there() -> None:
    """An agent that imports it, directly or by a package of its own, is told which extra brings it."""
    missing = ModuleNotFoundError("No module named 'cv2'", name="cv2")
    outer = RuntimeError("the detector cannot be loaded")
    outer.__cause__ = missing
    advise(outer)
    assert notes(missing) == [ABOUT_OPENCV]
    other = ModuleNotFoundError("No module named 'torch'", name="torch")
    advise(other)
    assert notes(other) == []


def test_labels_of_a_class_that_the_ontology_does_not_have() -> None:
    """A run that has read the ontology before a class was added is told to start again; what is asked for by name, and
    is not there, has no such note."""
    with pytest.raises(OntologyError) as raised:
        OntologyStructure().get_child_by_hash("gone1234")
    advise(raised.value)
    assert notes(raised.value) == [ABOUT_THE_ONTOLOGY]
    with pytest.raises(OntologyError) as raised:
        OntologyStructure().get_child_by_title("Cat")
    advise(raised.value)
    assert notes(raised.value) == []
