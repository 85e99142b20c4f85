"""Faults, latency, journal and clock over HTTP, for tests in another process. Off by default."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from encord_agents.local.faults import read_fault
from encord_agents.local.origins import stranger
from encord_agents.local.routing import route
from encord_agents.local.service import Settings
from encord_agents.local.trouble import LocalPlatformError, Refusal, malformed

if TYPE_CHECKING:
    from encord_agents.local.door import Door

PREFIX = "/local-platform"
LARGEST_BODY = 2**20


class Controls:
    """The routes below :data:`PREFIX`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> list[Route]:
        table: dict[str, dict[str, Callable[[dict[str, Any], Request], Any]]] = {
            "faults": {"GET": self._faults, "POST": self._add_fault, "DELETE": self._clear_faults},
            "settings": {"GET": self._settings, "PATCH": self._set},
            "journal": {"GET": self._journal, "DELETE": self._clear_journal},
            "clock": {"GET": self._clock, "PATCH": self._set_clock},
            "outage": {"PUT": self._outage},
        }
        return [route(f"{PREFIX}/{name}", _answering(acts), list(acts)) for name, acts in table.items()]

    def _faults(self, body: dict[str, Any], request: Request) -> Any:
        return [dataclasses.asdict(fault) for fault in self._door.faults.pending]

    def _add_fault(self, body: dict[str, Any], request: Request) -> Any:
        self._door.faults.add(read_fault(body))

    def _clear_faults(self, body: dict[str, Any], request: Request) -> Any:
        self._door.faults.clear()

    def _settings(self, body: dict[str, Any], request: Request) -> Any:
        return self._door.service.settings.model_dump()

    def _set(self, body: dict[str, Any], request: Request) -> Any:
        settings = self._door.service.settings
        Settings(**{**settings.model_dump(), **body})  # validates all of them before any is set
        for name, value in body.items():
            setattr(settings, name, value)
        return settings.model_dump()

    def _journal(self, body: dict[str, Any], request: Request) -> Any:
        kind = request.query_params.get("kind")
        entries = [dataclasses.asdict(entry) for entry in self._door.journal if kind in (None, entry.kind)]
        return {"counts": self._door.journal.kinds(), "entries": entries[-1000:]}

    def _clear_journal(self, body: dict[str, Any], request: Request) -> Any:
        self._door.journal.clear()

    def _clock(self, body: dict[str, Any], request: Request) -> Any:
        clock = self._door.service.clock
        return {"now": clock(), "ahead": clock.ahead}

    def _set_clock(self, body: dict[str, Any], request: Request) -> Any:
        ahead = body.get("ahead")
        if isinstance(ahead, bool) or not isinstance(ahead, (int, float)) or not abs(ahead) < 1e9:
            raise malformed("ahead is a number of seconds.")
        self._door.service.clock.ahead = float(ahead)
        return self._clock({}, request)

    def _outage(self, body: dict[str, Any], request: Request) -> Any:
        how = body.get("how")
        if how not in (None, "refuse", "503"):
            raise malformed("how is refuse, 503 or null.")
        self._door.outage = how


def _answering(acts: dict[str, Callable[[dict[str, Any], Request], Any]]) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            if (refusal := stranger(request)) is not None:
                raise refusal
            body = b""
            async for part in request.stream():
                body += part
                if len(body) > LARGEST_BODY:
                    raise Refusal(413, "The body is too large.")
            given = orjson.loads(body) if body else {}
            if not isinstance(given, dict):
                raise malformed("The body must be an object.")
            act = acts["GET" if request.method == "HEAD" else request.method]
            content, status = act(given, request), 200
        except orjson.JSONDecodeError:
            content, status = {"message": "The body is not JSON."}, 400
        except LocalPlatformError as error:
            content, status = {"message": str(error)}, 400
        except Refusal as refusal:
            content, status = {"message": refusal.message}, refusal.status
        return Response(orjson.dumps(content), status, media_type="application/json")

    return answer
