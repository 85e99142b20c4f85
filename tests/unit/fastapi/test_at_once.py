"""Dependencies that FastAPI calls on its event loop."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests
from fastapi import Depends, FastAPI, Request
from tests.editors import listening

from encord_agents.fastapi.at_once import AtOnce


def seen_in(app: FastAPI) -> Any:
    with listening(app) as address:
        return requests.get(f"{address}/", headers={"X-Name": "me"}, timeout=60).json()


@pytest.mark.parametrize("is_overridden", [False, True])
def test_it_is_the_function_itself_to_fastapi(is_overridden: bool) -> None:
    """It is called on the event loop, made once in a request whoever asks for it, and overridden as the function."""
    app = FastAPI()
    called_in: list[str] = []

    def name(request: Request) -> str:
        called_in.append(threading.current_thread().name)
        return request.headers["x-name"]

    def greeting(whom: str = Depends(AtOnce(name))) -> str:
        return f"Hello {whom}"

    async def loop() -> str:
        return threading.current_thread().name

    if is_overridden:
        app.dependency_overrides[name] = lambda: "you"

    @app.get("/")
    def agent(said: str = Depends(greeting), again: str = Depends(name), thread: str = Depends(loop)) -> list[str]:
        return [said, again, thread]

    *said, on_the_loop = seen_in(app)
    assert said == (["Hello you", "you"] if is_overridden else ["Hello me", "me"])
    assert called_in == ([] if is_overridden else [on_the_loop])


def test_it_equals_its_function_only() -> None:
    """And whatever wraps the same one."""

    def one() -> None: ...

    def other() -> None: ...

    assert AtOnce(one) == one == AtOnce(one)
    assert AtOnce(one) not in (other, AtOnce(other), None)
    assert {one: 1}[AtOnce(one)] == {AtOnce(one): 1}[one] == 1
