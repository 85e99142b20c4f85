"""Downloads and uploads of files, at signed URLs."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from encord_agents.local import items, uploads
from encord_agents.local.exchange import Exchange, Prepare, Work
from encord_agents.local.origins import file_headers
from encord_agents.local.responses import HangUp, HangUpOn, read, too_large
from encord_agents.local.routing import route
from encord_agents.local.service import Service
from encord_agents.local.trouble import Refusal


class Transfers:
    """Serves items' files, and receives uploads."""

    def __init__(self, service: Service, hang_up: HangUpOn) -> None:
        self._service = service
        self._hang_up = hang_up

    def routes(self, answering: Callable[[Prepare], Callable[[Request], Awaitable[Response]]]) -> list[Route]:
        """Return the routes below ``/assets`` and ``/uploads``."""
        return [
            route("/assets/{item}/{name:path}", answering(self._asset), ["GET"]),
            route("/uploads/{item}", answering(self._upload), ["PUT"]),
        ]

    async def _asset(self, exchange: Exchange) -> Work:
        settings = self._service.settings
        exchange.kind, exchange.items = "asset", 1
        exchange.latency = settings.latency if settings.asset_latency is None else settings.asset_latency

        async def work() -> Response:
            return self._file(exchange.request)

        return work

    async def _upload(self, exchange: Exchange) -> Work:
        exchange.kind, exchange.items = "upload", 1
        return lambda: self._received(exchange.request)

    async def _received(self, request: Request) -> Response:
        item, query = request.path_params["item"], request.query_params
        if not self._service.signer.valid_upload(item, query.get("expires", ""), query.get("signature", "")):
            await read(request, keep=0)
            raise _expired()
        limit, size = self._service.settings.upload_limit, 0
        # Streamed to a partial file: 16 GiB do not fit into memory, and an item must never get half a file.
        writer = self._service.assets.writer()
        try:
            async for part in request.stream():
                size += len(part)
                if size <= limit:  # the rest is read to its end, and dropped: see responses.read()
                    writer.write(part)
            if size > limit:
                raise too_large(size)
            digest = writer.keep()
        finally:
            writer.drop()
        if not uploads.received(self._service, item, digest, size):
            raise _expired()
        return Response(status_code=200)

    def _file(self, request: Request) -> Response:
        item, query = request.path_params["item"], request.query_params
        if not self._service.signer.valid(item, query.get("expires", ""), query.get("signature", "")):
            raise _expired()
        row = items.asset(self._service.database, item)
        content = self._service.assets.get(row["digest"]) if row and row["digest"] else None
        if row is None or content is None or row["broken"] == "missing":
            raise Refusal(404, "There is no such file.")
        media_type = row["mime_type"] or "application/octet-stream"
        tag = f'"{row["digest"]}"'
        headers = {**file_headers(media_type), "ETag": tag}
        if row["broken"] is None and request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        if row["broken"] is None and isinstance(content, Path):
            return FileResponse(content, headers=headers, media_type=media_type)
        whole = content.read_bytes() if isinstance(content, Path) else content
        if row["broken"] == "corrupt":
            return Response(bytes(byte ^ 0xA5 for byte in whole), headers=headers, media_type=media_type)
        start, status, part = _part(request, tag, len(whole))
        rest = whole[start:]
        if row["broken"] is None:
            return Response(rest, status, headers={**headers, **part}, media_type=media_type)
        # Truncated: the connection is closed halfway. Stalled: it stays open, but no more data is sent.
        hang_up = self._hang_up if row["broken"] == "truncated" else lambda scope: None
        return HangUp(hang_up, rest[: len(rest) // 2], len(rest), status=status, headers=part)


def _expired() -> Refusal:
    return Refusal(403, "This URL has expired, or was never good.")


def _part(request: Request, tag: str, size: int) -> tuple[int, int, dict[str, str]]:
    """Return the offset to send from, the status and the headers, for a client that may resume a download."""
    asked = re.fullmatch(r"bytes=(\d{1,18})-", request.headers.get("range", ""))
    if asked is None or request.headers.get("if-range", tag) != tag or not 0 < int(asked[1]) < size:
        return 0, 200, {"ETag": tag, "Accept-Ranges": "bytes"}
    start = int(asked[1])
    return start, 206, {"ETag": tag, "Accept-Ranges": "bytes", "Content-Range": f"bytes {start}-{size - 1}/{size}"}
