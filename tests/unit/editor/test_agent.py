"""An editor agent without a door: what it is called with, and what is fetched for it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from tests.waiting import until

from encord_agents import FrameData
from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.dependencies import Depends
from encord_agents.editor import EditorAgent
from encord_agents.editor.aliases import DAssetPath, DEncordClient, DObjectCrops, DObjectsInstances, DSingleFrame
from encord_agents.editor.row_queue import ROW_QUEUE
from encord_agents.editor.wire import Request
from encord_agents.exceptions import DependencyError

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def shown(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A request for an image with two boxes."""
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    data_hash = world.project.add_image("image")
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    row.initialise_labels()
    world.mark(row, 0.25)
    world.mark(row, 0.5)
    row.save()
    hashes = [instance.object_hash for instance in row.get_object_instances()]
    return {"projectHash": world.project.project_hash, "dataHash": data_hash, "frame": 0, "objectHashes": hashes[1:]}


def test_everything_that_can_be_asked_for(shown: dict[str, Any]) -> None:
    """Types and ready-made dependencies are about what is on the screen and selected."""

    def agent(
        frame: FrameData,
        row: LabelRowV2,
        item: StorageItem,
        project: Project,
        client: DEncordClient,
        image: DSingleFrame,
        path: DAssetPath,
        objects: DObjectsInstances,
        crops: DObjectCrops,
    ) -> EditorAgentResponse:
        assert str(frame.data_hash) == row.data_hash
        assert item.uuid == row.backing_item_uuid
        assert str(project.project_hash) == shown["projectHash"]
        assert path.is_file()
        assert image.ndim == 3
        assert [one.object_hash for one in objects] == shown["objectHashes"]
        assert [one.instance.object_hash for one in crops] == shown["objectHashes"]
        return EditorAgentResponse(message="all there")

    assert EditorAgent(agent).answer(Request(shown)).body == {"message": "all there"}
    assert len(ROW_QUEUE) == 0


def test_only_what_is_asked_for_is_fetched(world: World, shown: dict[str, Any]) -> None:
    """An agent that wants nothing has no request made for it; one that wants the row does not get the item."""
    before = len(world.requests())
    assert EditorAgent(lambda: None).answer(Request(shown)).status == 200
    assert len(world.requests()) == before

    def agent(row: LabelRowV2) -> None: ...

    assert EditorAgent(agent).answer(Request(shown)).status == 200
    assert "items" not in world.requests()[before:]


@pytest.mark.parametrize(("changed", "told"), [({"objectHashes": ["nothing"]}, "no object"), ({"frame": 9}, "frame")])
def test_what_is_not_there_is_said(shown: dict[str, Any], changed: dict[str, Any], told: str) -> None:
    """An object that is not on the row and a frame that the file does not have are no failures of the agent."""

    def agent(objects: DObjectsInstances, image: DSingleFrame) -> None: ...

    reply = EditorAgent(agent).answer(Request(shown | changed))
    assert reply.body is not None
    assert told in reply.body["message"]
    assert reply.status == 404


def test_async_agents_and_what_lives_as_long_as_the_process(shown: dict[str, Any]) -> None:
    """An ``async def`` agent is awaited; a run-scoped dependency is made once, others anew and torn down."""
    made: list[str] = []

    def model() -> str:
        made.append("model")
        return "model"

    async def session() -> Any:
        made.append("session")
        yield "session"
        made.append("closed")

    async def agent(
        a: Annotated[str, Depends(model, scope="run")], b: Annotated[str, Depends(session)]
    ) -> EditorAgentResponse:
        return EditorAgentResponse(message=f"{a} {b}")

    served = EditorAgent(agent)
    for _ in range(2):
        assert served.answer(Request(shown)).body == {"message": "model session"}
    assert made == ["model", "session", "closed", "session", "closed"]


def test_a_teardown_that_fails_is_an_error(shown: dict[str, Any]) -> None:
    """The labels may not be what the agent says they are."""

    def session() -> Iterator[int]:
        yield 1
        raise OSError("disk")

    def agent(it: Annotated[int, Depends(session)]) -> EditorAgentResponse:
        return EditorAgentResponse(message="fine")

    assert EditorAgent(agent).answer(Request(shown)).status == 500


def test_an_exit_is_an_answer(shown: dict[str, Any]) -> None:
    """An agent that calls ``sys.exit()`` does not end the server."""

    def agent() -> None:
        raise SystemExit(3)

    assert EditorAgent(agent).answer(Request(shown)).status == 500


def test_an_answer_in_time(shown: dict[str, Any]) -> None:
    """Where the time is limited, a slow agent is answered for, and says so."""
    go_on = threading.Event()

    def agent() -> None:
        go_on.wait(60)

    try:
        reply = EditorAgent(agent).answer_within(0.01, Request(shown))
    finally:
        go_on.set()
    assert reply.status == 504
    assert EditorAgent(agent).answer_within(60, Request(shown)).status == 200


REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="lost")


def test_an_agent_with_a_time_limit_is_at_home(shown: dict[str, Any]) -> None:
    """It has the caller's context variables, and an event loop that is its own and closed after it."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def ask() -> str:
        return REQUEST_ID.get()

    def agent() -> EditorAgentResponse:
        loops.append(asyncio.get_event_loop())
        return EditorAgentResponse(message=loops[-1].run_until_complete(ask()))

    served = EditorAgent(agent)
    REQUEST_ID.set("42")
    for _ in range(2):
        assert served.answer_within(60, Request(shown)).body == {"message": "42"}
    assert loops[0] is not loops[1]
    assert until(lambda: all(loop.is_closed() for loop in loops))


def test_an_interrupt_is_not_an_answer(shown: dict[str, Any]) -> None:
    """It is raised where the agent was called, with a time limit too, and is no lack of time."""

    def agent() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        EditorAgent(agent).answer(Request(shown))
    with pytest.raises(KeyboardInterrupt):
        EditorAgent(agent).answer_within(60, Request(shown))


def test_an_agent_that_ends_the_event_loop(shown: dict[str, Any]) -> None:
    """Its request is answered with 500, and later ones are served, on another loop."""
    exits = [True]

    async def leave() -> None:
        sys.exit(3)

    async def agent() -> EditorAgentResponse:
        if exits.pop() if exits else False:
            await asyncio.gather(asyncio.create_task(leave()))
        return EditorAgentResponse(message="still here")

    served = EditorAgent(agent)
    assert served.answer(Request(shown)).status == 500
    for _ in range(2):
        assert served.answer(Request(shown)).body == {"message": "still here"}


def test_parameters_that_nothing_supplies_are_refused_at_decoration() -> None:
    """As those of task agents."""
    with pytest.raises(DependencyError, match="lamp"):
        EditorAgent(lambda lamp: None)
