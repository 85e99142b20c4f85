"""Editor agents on FastAPI beyond what all doors have: async agents, and dependencies of one's own."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import requests
from encord.objects import LabelRowV2
from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from tests.editors import listening
from tests.waiting import until

from encord_agents import FrameData
from encord_agents.editor.row_queue import ROW_QUEUE
from encord_agents.editor.wire import MAX_BODY
from encord_agents.fastapi import EditorAgentResponse, EncordEditorAgentException, get_encord_app
from encord_agents.fastapi.dependencies import dep_asset, dep_client, dep_label_row, dep_storage_item, dep_trace_id

if TYPE_CHECKING:
    from tests.conftest import World

Row = Annotated[LabelRowV2, Depends(dep_label_row)]


@pytest.fixture
def body(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    return {"projectHash": world.project.project_hash, "dataHash": world.project.add_image("a"), "frame": 0}


def test_async_agents_on_one_row_take_turns(world: World, body: dict[str, Any]) -> None:
    """An agent that awaits holds up neither the server nor, for longer than its turn, the others on its row."""
    app = get_encord_app()
    inside, most = [0], [0]

    @app.post("/agent")
    async def agent(frame_data: FrameData, row: Row) -> EditorAgentResponse:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        await asyncio.sleep(0.01)
        world.mark(row, frame_data.frame / 100)
        await asyncio.to_thread(row.save)
        inside[0] -= 1
        return EditorAgentResponse(message=str(frame_data.frame))

    def call(number: int) -> str:
        answer = requests.post(f"{address}/agent", json=body | {"frame": number}, timeout=120)
        return str(answer.json()["message"])

    with listening(app) as address, ThreadPoolExecutor(8) as pool:
        assert [*pool.map(call, range(1, 9))] == [str(number) for number in range(1, 9)]
    assert most == [1]
    assert len(world.marks(body["dataHash"]) or ()) == 8


@pytest.mark.parametrize("fails", [None, EncordEditorAgentException("no"), ZeroDivisionError()])
def test_dependencies_of_ones_own_are_torn_down(body: dict[str, Any], fails: Exception | None) -> None:
    """Once each, whatever the agent does, and the row is free again."""
    app = get_encord_app()
    torn_down: list[str] = []

    def plain(row: Row) -> Iterator[str]:
        try:
            yield "plain"
        finally:
            torn_down.append("plain")

    async def asynchronous(text: str = Depends(plain)) -> AsyncIterator[str]:
        try:
            yield f"{text}, async"
        finally:
            torn_down.append("async")

    @app.post("/agent")
    def agent(frame_data: FrameData, text: str = Depends(asynchronous)) -> EditorAgentResponse:
        if fails is not None:
            raise fails
        return EditorAgentResponse(message=text)

    with listening(app) as address:
        answer = requests.post(f"{address}/agent", json=body, timeout=60)
        assert until(lambda: len(ROW_QUEUE) == 0)
    assert torn_down == ["async", "plain"]
    assert answer.status_code == {type(None): 200, EncordEditorAgentException: 400, ZeroDivisionError: 500}[type(fails)]


def test_a_dependency_that_fails_is_answered(body: dict[str, Any]) -> None:
    """As the agent itself is: with its message, or as a failure; the row is free again."""
    app = get_encord_app()

    def refuse(row: Row) -> None:
        raise EncordEditorAgentException("Label it first.")

    def crash(row: Row) -> None:
        raise KeyError("x")

    @app.post("/refuse")
    def one(frame_data: FrameData, it: None = Depends(refuse)) -> None: ...

    @app.post("/crash")
    def other(frame_data: FrameData, it: None = Depends(crash)) -> None: ...

    with listening(app) as address:
        refused, crashed = (requests.post(f"{address}/{path}", json=body, timeout=60) for path in ("refuse", "crash"))
        assert until(lambda: len(ROW_QUEUE) == 0)
    assert (refused.status_code, refused.json()) == (400, {"message": "Label it first."})
    assert (crashed.status_code, "KeyError" in crashed.json()["message"]) == (500, True)


def test_a_body_that_is_not_sent_as_json(body: dict[str, Any]) -> None:
    """The sentence says what is missing, once, however many dependencies read the body."""
    app = get_encord_app()

    @app.post("/agent")
    def agent(frame_data: FrameData, row: Row) -> None: ...

    with listening(app) as address:
        answer = requests.post(
            f"{address}/agent", data=json.dumps(body), headers={"Content-Type": "text/plain"}, timeout=60
        )
    assert answer.status_code == 422
    assert answer.json()["message"].count("Content-Type: application/json") == 1


def test_dependencies_that_are_called_by_hand(body: dict[str, Any]) -> None:
    """With the arguments that they have in 0.2.10."""
    frame = FrameData.model_validate(body)
    row = dep_label_row(frame)
    item = dep_storage_item(row, dep_client(None))
    with contextmanager(dep_asset)(item, frame) as path:
        assert path.is_file()
    assert not path.exists()


@pytest.mark.parametrize("key", [Exception, 500])
def test_a_handler_of_ones_own_for_all_exceptions(body: dict[str, Any], key: Any) -> None:
    """It is called, as on any app; what the library has an answer to is answered as ever."""
    app = get_encord_app()

    @app.exception_handler(key)
    async def oops(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"message": f"Sorry: {error}"}, 503)

    @app.post("/crash")
    def crash(frame_data: FrameData) -> None:
        raise ValueError("x")

    @app.post("/refuse")
    def refuse(frame_data: FrameData) -> None:
        raise EncordEditorAgentException("no")

    with listening(app) as address:
        crashed, refused = (requests.post(f"{address}/{path}", json=body, timeout=60) for path in ("crash", "refuse"))
        huge = requests.post(f"{address}/refuse", json=body | {"more": "x" * MAX_BODY}, timeout=60)
    assert (crashed.status_code, crashed.json()) == (503, {"message": "Sorry: x"})
    assert (refused.status_code, huge.status_code) == (400, 413)


def test_trace_ids_of_many_requests_at_once(body: dict[str, Any]) -> None:
    """Each agent sees its own, in threads and on the event loop."""
    app = get_encord_app()
    together = threading.Barrier(8, timeout=60)

    @app.post("/thread")
    def in_a_thread(frame_data: FrameData, trace_id: Annotated[str, Depends(dep_trace_id)]) -> EditorAgentResponse:
        together.wait()
        return EditorAgentResponse(message=trace_id)

    @app.post("/loop")
    async def on_the_loop(
        frame_data: FrameData, trace_id: Annotated[str, Depends(dep_trace_id)]
    ) -> EditorAgentResponse:
        await asyncio.sleep(0)
        return EditorAgentResponse(message=trace_id)

    def call(number: int) -> bool:
        trace_id = f"{number:032x}"
        seen = [
            requests.post(
                f"{address}/{path}", json=body, headers={"X-Cloud-Trace-Context": f"{trace_id}/1"}, timeout=60
            ).json()["message"]
            for path in ("thread", "loop")
        ]
        return seen == [trace_id] * 2

    with listening(app) as address, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(8)))
