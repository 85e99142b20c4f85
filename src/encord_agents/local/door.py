"""The way of every request: faults, signature, handler, latency, journal."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from encord_agents.local import items, page, routes_v1, routes_v2, uploads
from encord_agents.local.admission import admit
from encord_agents.local.auth import Verifier
from encord_agents.local.controls import Controls
from encord_agents.local.faults import Fault, Faults
from encord_agents.local.history import LONGEST_CLIENT, Client, acting
from encord_agents.local.journal import Journal
from encord_agents.local.origins import file_headers, stranger
from encord_agents.local.remedies import remedy
from encord_agents.local.service import Answer, Call, Operation, Service, shallow
from encord_agents.local.trouble import NotKnown, Refusal, machine_trouble

logger = logging.getLogger(__name__)

Outage = Literal["refuse", "503"]

MOST_REMEMBERED = 100
"""Requests that were not known, and failures of ours, that are kept for the end of a test."""
MOST_KEPT = 256 * 2**20
"""Bytes of a body that are kept before it is known what is asked: as many as are ever taken."""
SECONDS_PER_BODY = 60.0
"""For a sender on this machine that is a long time for 256 MiB; one that is slower only holds a connection."""


class HangUp(Response):
    """Closes the connection: at once, or after the first part of an answer that promised more."""

    def __init__(
        self,
        hang_up: Callable[[Scope], None],
        content: bytes = b"",
        length: int = 0,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(content, status, headers)
        self._hang_up = hang_up
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._length:
            headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
            headers.append((b"content-length", str(self._length).encode()))
            await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": self.body, "more_body": True})
        self._hang_up(scope)
        while (await receive())["type"] != "http.disconnect":
            pass


class Door:
    """The ASGI application."""

    def __init__(
        self,
        service: Service,
        faults: Faults,
        journal: Journal,
        hang_up: Callable[[Scope], None],
        *,
        controls: bool = False,
    ) -> None:
        self._service = self.service = service
        self._faults = self.faults = faults
        self._journal = self.journal = journal
        self._hang_up = hang_up
        self._verifier = Verifier(service.database.knows_key)
        self._started = time.monotonic()
        self._in_flight = 0
        self.max_in_flight = 0
        self.outage: Outage | None = None
        self.unknown: list[str] = []
        self.bugs: list[BaseException] = []
        elsewhere = Route("/{path:path}", self._elsewhere)
        elsewhere.methods = set()  # any: what no other route takes is never silently a 405
        self.application = Starlette(
            routes=[
                Route("/v2/public/{path:path}", self._v2, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
                Route("/public", self._v1, methods=["POST"]),
                Route("/public/user", self._v1, methods=["POST"]),
                Route("/assets/{item}/{name:path}", self._asset, methods=["GET"]),
                Route("/uploads/{item}", self._upload, methods=["PUT"]),
                *(Controls(self).routes() if controls else ()),
                *page.routes(service, journal, self._now, self._failed),
                elsewhere,
            ]
        )

    def _now(self) -> float:
        """The journal's clock."""
        return time.monotonic() - self._started

    def _note(self, request: Request, kind: str, method: str, status: int, items: int, at: float, body: bytes) -> None:
        self._journal.add(
            kind,
            method,
            request.scope["path"],
            status,
            items,
            at,
            body,
            client=_client(request),
            seconds=self._now() - at,
        )

    async def _v1(self, request: Request) -> Response:
        return await self._api(request, legacy=True)

    async def _v2(self, request: Request) -> Response:
        return await self._api(request, legacy=False)

    async def _api(self, request: Request, *, legacy: bool) -> Response:
        self._in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            return await self._exchange(request, legacy=legacy)
        except ClientDisconnect:
            return Response()
        finally:
            self._in_flight -= 1

    async def _exchange(self, request: Request, *, legacy: bool) -> Response:
        if self.outage:
            return self._out()
        at = self._now()
        path = request.scope["path"]
        if (strange := stranger(request)) is not None:
            return self._refused(strange, request, at, legacy=False)
        try:
            body, user = await self._authenticated_body(request, legacy=legacy)
        except Refusal as refusal:
            return self._refused(refusal, request, at, legacy=legacy)
        method, operation, call = self._read_v1(request, body) if legacy else self._read_v2(request, body)
        kind = operation.kind if operation else "unknown"
        query = request.scope["query_string"].decode("latin-1")
        fault = self._faults.take(kind, body, f"{path}?{query}", envelope=legacy)
        early = await self._spoil(fault, request)
        if early is not None:
            self._note(request, kind, method, getattr(early, "status", early.status_code), 0, at, body)
            return early
        status, answer = 200, Answer(None)
        try:
            if len(body) > self._service.settings.body_limit:
                raise _too_large(len(body))
            if operation is None:
                asked_for = call if isinstance(call, str) else path
                raise NotKnown(f"{method} {asked_for}.", remedy(method, asked_for.partition(" ")[0]))
            asked = replace(call(), user=user)
            admit(self._service, operation, asked)
            with acting(Client(_client(request), user)):
                if operation.slow:
                    answer = await asyncio.to_thread(operation.handle, self._service, asked)
                else:
                    answer = operation.handle(self._service, asked)
            # Written here, so that what cannot be written is a bug like any other.
            response = _json({"status": 200, "response": answer.content} if legacy else answer.content)
        except Refusal as refusal:
            status = refusal.status
            if isinstance(refusal, NotKnown):
                self._remember(refusal)
            response = _refusal(refusal, legacy)
        except Exception as error:
            refused = machine_trouble(error)
            if refused is None:
                logger.exception("The local platform failed at %s %s.", method, path)
                refused = self._failed(error)
            else:
                logger.error("%s %s: %s", method, path, refused.message)
            status = refused.status
            response = _refusal(refused, legacy)
        settings = self._service.settings
        delay = settings.latency + settings.latency_per_item * answer.items
        if delay > 0:
            await asyncio.sleep(delay)
        dropped = fault is not None and fault.action == "drop_after"
        self._note(request, kind, method, 0 if dropped else status, answer.items, at, body)
        if dropped:
            return HangUp(self._hang_up)
        return response

    async def _authenticated_body(self, request: Request, *, legacy: bool) -> tuple[bytes, str]:
        """Return the body and the user, once it is known who sent it.

        Until then nothing is parsed, and no more kept than is taken.

        Raises:
            Refusal: 401, 413, or 408 for a sender that is too slow.
        """
        bearer = request.headers.get("authorization", "")
        try:
            if bearer.startswith("Bearer "):
                key, check = self._verifier.bearer(bearer.removeprefix("Bearer "))
            elif legacy:
                key, check = self._verifier.v1_head(request.headers.get("authorization"))
            else:
                target = request.scope["raw_path"].decode("latin-1")
                if query := request.scope["query_string"]:
                    target += "?" + query.decode("latin-1")
                key, check = self._verifier.v2_head(request.method, target, request.headers)
        except Refusal:
            await _read(request, keep=0)
            raise
        body, size = await _read(request, keep=MOST_KEPT)
        if size > MOST_KEPT:
            raise _too_large(size)
        check(body)
        return body, self._service.database.owner_of(key)

    def _read_v1(self, request: Request, body: bytes) -> tuple[str, Operation | None, Any]:
        """The method, the operation if there is one, and how to read the call, which may raise."""
        try:
            query = orjson.loads(body)
        except orjson.JSONDecodeError:
            query = None
        if not isinstance(query, dict):
            return request.method, Operation("malformed", _refuse), lambda: None
        method, kind, values = query.get("query_method"), query.get("query_type"), query.get("values")
        if not isinstance(method, str) or not isinstance(kind, str) or not isinstance(values, dict):
            return request.method, Operation("malformed", _refuse), lambda: None
        ids = {"type": request.headers.get("resourcetype", ""), "id": request.headers.get("resourceid", "").lower()}
        operation = routes_v1.OPERATIONS.get((kind, method))
        if operation is None:
            return method, None, f"{kind} ({request.scope['path']})"

        def read() -> Call:
            shallow(query)
            return Call(ids, {}, {"uid": values.get("uid"), "payload": values.get("payload")})

        return method, operation, read

    def _read_v2(self, request: Request, body: bytes) -> tuple[str, Operation | None, Any]:
        found = routes_v2.find(request.method, request.path_params["path"])
        if found is None:
            return request.method, None, request.scope["path"]
        operation, ids = found

        def read() -> Call:
            try:
                content = shallow(orjson.loads(body)) if body else None
            except orjson.JSONDecodeError:
                raise Refusal(400, "The body is not JSON.") from None
            query: dict[str, list[str]] = {}
            for key, value in request.query_params.multi_items():
                query.setdefault(key, []).append(value)
            return Call(routes_v2.checked(ids), query, content)

        return request.method, operation, read

    def _out(self) -> Response:
        return HangUp(self._hang_up) if self.outage == "refuse" else _json({"message": "The platform is down."}, 503)

    async def _spoil(self, fault: Fault | None, request: Request) -> Response | None:
        """The answer a fault gives instead of the handler, if it does."""
        if fault is None or fault.action == "drop_after":
            return None
        if fault.action == "stall":
            cleared = self._faults.cleared
            try:
                async with asyncio.timeout(fault.seconds):
                    while not await request.is_disconnected():
                        if self._faults.cleared != cleared:
                            return None
                        await asyncio.sleep(0.02)
            except TimeoutError:
                return None
            return HangUp(self._hang_up)
        if fault.action == "drop_before":
            return HangUp(self._hang_up)
        if fault.action == "envelope":
            return _json({"status": fault.status, "response": [fault.error], "payload": "A fault that was asked for."})
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return _json({"message": "A fault that was asked for."}, fault.status, headers)

    async def _asset(self, request: Request) -> Response:
        if self.outage:
            return self._out()
        at = self._now()
        settings = self._service.settings
        path = request.scope["path"]
        if (refusal := stranger(request)) is not None:
            return self._refused(refusal, request, at, legacy=False)
        fault = self._faults.take("asset", b"", path, envelope=False)
        response = await self._spoil(fault, request)
        if response is None:
            delay = settings.latency if settings.asset_latency is None else settings.asset_latency
            if delay > 0:
                await asyncio.sleep(delay)
            try:
                response = HangUp(self._hang_up) if fault and fault.action == "drop_after" else self._file(request)
            except Exception as error:
                logger.exception("The local platform failed at GET %s.", path)
                response = _refusal(self._failed(error), legacy=False)
        self._note(request, "asset", "GET", response.status_code, 1, at, b"")
        return response

    async def _upload(self, request: Request) -> Response:
        """Take a file that is sent to a signed address."""
        if self.outage:
            return self._out()
        at = self._now()
        if (refusal := stranger(request)) is not None:
            return self._refused(refusal, request, at, legacy=False)
        fault = self._faults.take("upload", b"", request.scope["path"], envelope=False)
        response = await self._spoil(fault, request)
        if response is None:
            try:
                response = await self._received(request)
            except ClientDisconnect:
                return Response()
            except Refusal as refused:
                response = _refusal(refused, legacy=False)
            except Exception as error:
                trouble = machine_trouble(error)
                if trouble is None:
                    logger.exception("The local platform failed at PUT %s.", request.scope["path"])
                response = _refusal(trouble or self._failed(error), legacy=False)
            if fault is not None and fault.action == "drop_after":
                response = HangUp(self._hang_up)
        self._note(request, "upload", "PUT", response.status_code, 1, at, b"")
        return response

    async def _received(self, request: Request) -> Response:
        item, query = request.path_params["item"], request.query_params
        if not self._service.signer.valid_upload(item, query.get("expires", ""), query.get("signature", "")):
            await _read(request, keep=0)
            raise Refusal(403, "This URL has expired, or was never good.")
        limit, size = self._service.settings.upload_limit, 0
        writer = self._service.assets.writer()
        try:
            async for part in request.stream():
                size += len(part)
                if size <= limit:
                    writer.write(part)
            if size > limit:
                raise _too_large(size)
            digest = writer.keep()
        finally:
            writer.drop()
        if not uploads.received(self._service, item, digest, size):
            raise Refusal(403, "This URL has expired, or was never good.")
        return Response(status_code=200)

    async def _elsewhere(self, request: Request) -> Response:
        """No door of the platform: as loud as an operation it does not know."""
        at = self._now()
        path = request.scope["path"]
        if (refusal := stranger(request)) is not None:
            return self._refused(refusal, request, at, legacy=False)
        unknown = NotKnown(f"{request.method} {path}.", "Leave it out: the SDK asks only below /v2/public and /public.")
        self._remember(unknown)
        self._note(request, "unknown", request.method, unknown.status, 0, at, b"")
        return _json({"message": unknown.message}, unknown.status)

    def _refused(self, refusal: Refusal, request: Request, at: float, *, legacy: bool) -> Response:
        """Answer a request of which nothing was looked at but where it comes from."""
        self._note(request, "refused", request.method, refusal.status, 0, at, b"")
        return _refusal(refusal, legacy)

    def _remember(self, unknown: NotKnown) -> None:
        logger.warning("%s", unknown.message)
        if len(self.unknown) < MOST_REMEMBERED:
            self.unknown.append(unknown.what)

    def _failed(self, error: Exception) -> Refusal:
        """A bug of ours: answered, and raised by ``LocalPlatform.check()``."""
        if len(self.bugs) < MOST_REMEMBERED:
            self.bugs.append(error)
        return Refusal(500, ascii(f"{type(error).__name__}: {error}")[1:-1])

    def _file(self, request: Request) -> Response:
        item = request.path_params["item"]
        query = request.query_params
        if not self._service.signer.valid(item, query.get("expires", ""), query.get("signature", "")):
            return _json({"message": "This URL has expired, or was never good."}, 403)
        row = items.asset(self._service.database, item)
        content = self._service.assets.get(row["digest"]) if row and row["digest"] else None
        if row is None or content is None or row["broken"] == "missing":
            return _json({"message": "There is no such file."}, 404)
        media_type = row["mime_type"] or "application/octet-stream"
        if row["broken"] is None:
            headers = file_headers(media_type)
            tag = f'"{row["digest"]}"'
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={**headers, "ETag": tag})
            if isinstance(content, Path):
                return FileResponse(content, headers={**headers, "ETag": tag}, media_type=media_type)
            start, status, part = _part(request, row["digest"], len(content))
            return Response(content[start:], status, headers={**headers, **part}, media_type=media_type)
        whole = content.read_bytes() if isinstance(content, Path) else content
        if row["broken"] == "corrupt":
            return Response(bytes(byte ^ 0xA5 for byte in whole), media_type=media_type)
        start, status, part = _part(request, row["digest"], len(whole))
        rest = whole[start:]
        half = rest[: len(rest) // 2]
        if row["broken"] == "truncated":
            return HangUp(self._hang_up, half, len(rest), status=status, headers=part)
        return HangUp(lambda scope: None, half, len(rest), status=status, headers=part)  # until the client gives up


def _part(request: Request, digest: str, size: int) -> tuple[int, int, dict[str, str]]:
    """Where to begin, as far as a client asks for the rest of a file that it has the beginning of, and what to say."""
    tag = f'"{digest}"'
    asked = re.fullmatch(r"bytes=(\d{1,18})-", request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", tag) != tag or not 0 < int(asked[1]) < size:
        return 0, 200, {"ETag": tag, "Accept-Ranges": "bytes"}
    start = int(asked[1])
    return start, 206, {"ETag": tag, "Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{size - 1}/{size}"}


def _client(request: Request) -> str:
    return request.headers.get("user-agent", "")[:LONGEST_CLIENT]


def _too_large(size: int) -> Refusal:
    return Refusal(413, f"The body has {size} bytes, more than are taken.")


async def _read(request: Request, *, keep: int) -> tuple[bytes, int]:
    """Return a body and its size. Of a body that is longer than ``keep`` nothing is kept.

    It is read to its end all the same: a client that is still sending does not look for an answer.

    Raises:
        Refusal: 408, it did not come in time.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and len(declared) < 20 and int(declared) > keep:
        keep = 0
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SECONDS_PER_BODY):
            async for part in request.stream():
                size += len(part)
                if size <= keep:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError:
        raise Refusal(408, f"The body did not come within {SECONDS_PER_BODY:g} s.") from None
    return b"".join(parts) if size <= keep else b"", size


def _refuse(service: Service, call: Call) -> Answer:
    raise Refusal(400, "The body must be JSON with query_type, query_method and values.")


def _refusal(refusal: Refusal, legacy: bool) -> Response:
    if not legacy or refusal.status in (408, 413):  # of the older protocol's statuses, those that are in no envelope
        return _json({"message": refusal.message}, refusal.status)
    return _json({"status": refusal.status, "response": [refusal.name], "payload": refusal.message})


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, media_type="application/json")
