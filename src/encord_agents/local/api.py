"""Both protocols of the SDK: authenticates each request, finds its operation and answers it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from encord_agents.local import filters, routes_v1, routes_v2
from encord_agents.local.admission import admit
from encord_agents.local.auth import Verifier
from encord_agents.local.calls import TRACE_HEADER
from encord_agents.local.exchange import Exchange, Prepare, Work
from encord_agents.local.history import Client, acting
from encord_agents.local.remedies import remedy
from encord_agents.local.responses import MOST_KEPT, read, too_large, written
from encord_agents.local.routing import operation_route, route
from encord_agents.local.service import Answer, Call, Operation, Service, parsed, shallow
from encord_agents.local.trouble import NotKnown, Refusal, malformed

PREFIX = "/v2/public"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Answering(Protocol):
    """Wraps a function that prepares an answer as an endpoint."""

    def __call__(self, prepare: Prepare, *, counted: bool = False) -> Callable[[Request], Any]: ...


class Api:
    """The operations of :data:`routes_v1.OPERATIONS` and :data:`routes_v2.ROUTES` as HTTP."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._verifier = Verifier(service.database.knows_key)

    def routes(self, answering: Answering) -> list[Route]:
        """Return a route for each operation, and a catch-all below the prefix for requests that match none."""
        v1 = answering(self._v1, counted=True)
        known = [(request.partition(" "), found) for request, found in routes_v2.ROUTES.items()]
        return [
            route("/public", v1, ["POST"]),
            route("/public/user", v1, ["POST"]),
            *(
                operation_route(f"{PREFIX}/{path}", answering(partial(self._v2, found), counted=True), method)
                for (method, _, path), found in known
            ),
            route(f"{PREFIX}/{{path:path}}", answering(partial(self._v2, None), counted=True), METHODS),
        ]

    async def _v1(self, exchange: Exchange) -> Work:
        exchange.envelope = True
        user = await self._authenticated(exchange)
        request = exchange.request
        try:
            query = parsed(exchange.body)
        except Refusal as refusal:
            return self._malformed(exchange, refusal)
        given = query if isinstance(query, dict) else {}
        method, kind, values = given.get("query_method"), given.get("query_type"), given.get("values")
        if not isinstance(method, str) or not isinstance(kind, str) or not isinstance(values, dict):
            return self._malformed(exchange, malformed("The body must have query_type, query_method and values."))
        exchange.method = method
        operation = routes_v1.OPERATIONS.get((kind, method))
        if operation is None:
            return self._unknown(exchange, f"{method} {kind} ({exchange.path})", remedy(method, kind))
        ids = {"type": request.headers.get("resourcetype", ""), "id": request.headers.get("resourceid", "").lower()}

        def read() -> Call:
            shallow(query)
            return Call(ids, {}, {"uid": values.get("uid"), "payload": values.get("payload")}, user)

        return self._work(exchange, operation, read)

    async def _v2(self, operation: Operation | None, exchange: Exchange) -> Work:
        user = await self._authenticated(exchange)
        request = exchange.request
        if operation is None:
            return self._unknown(exchange, f"{exchange.method} {exchange.path}", remedy(exchange.method, exchange.path))

        def read() -> Call:
            content = shallow(parsed(exchange.body)) if exchange.body else None
            query: dict[str, list[str]] = {}
            for key, value in request.query_params.multi_items():
                query.setdefault(key, []).append(value)
            what = request.scope["path"].removeprefix(f"{PREFIX}/")
            filters.only(query, what, *operation.query, off=operation.off)
            return Call(routes_v2.checked(request.path_params), query, content, user)

        return self._work(exchange, operation, read)

    async def _authenticated(self, exchange: Exchange) -> str:
        """Read the body, authenticate the request, and return its user.

        Until the request is authenticated, nothing is parsed, and no more of the body is kept than the limit.

        Raises:
            Refusal: 401; 413; or 408 if the client sends too slowly.
        """
        request, verifier = exchange.request, self._verifier
        authorization = request.headers.get("authorization", "")
        try:
            if authorization.startswith("Bearer "):
                key, check = verifier.bearer(authorization.removeprefix("Bearer "))
            elif exchange.envelope:
                key, check = verifier.v1_head(authorization)
            else:
                target = request.scope["raw_path"].decode("latin-1")
                if query := request.scope["query_string"]:
                    target += "?" + query.decode("latin-1")
                key, check = verifier.v2_head(request.method, target, request.headers)
        except Refusal:
            await read(request, keep=0)  # a client does not read the answer while it is still sending
            raise
        body, size = await read(request, keep=MOST_KEPT)
        if size > MOST_KEPT:
            raise too_large(size)
        check(body)
        exchange.body = body
        user = self._service.database.owner_of(key)
        if not user:  # the verifier caches keys, and this one has been removed since
            raise Refusal(401, "Not authenticated: no user has this key any more.")
        return user

    def _malformed(self, exchange: Exchange, refusal: Refusal) -> Work:
        def refuse() -> Call:
            raise refusal

        return self._work(exchange, Operation("malformed", lambda service, call: Answer(None)), refuse)

    def _unknown(self, exchange: Exchange, asked: str, instead: str) -> Work:
        def refuse(service: Service, call: Call) -> Answer:
            raise NotKnown(f"{asked}.", instead)

        return self._work(exchange, Operation("unknown", refuse), lambda: Call({}, {}, None))

    def _work(self, exchange: Exchange, operation: Operation, read: Callable[[], Call]) -> Work:
        """Return the work that an operation does. ``read`` parses the request, and may refuse it."""
        service, settings = self._service, self._service.settings
        exchange.kind = operation.kind
        exchange.latency, exchange.latency_per_item = settings.latency, settings.latency_per_item

        async def work() -> Response:
            if len(exchange.body) > settings.body_limit:
                raise too_large(len(exchange.body))
            call = read()
            admit(service, operation, call)
            agent = service.calls.caller(exchange.request.headers.get(TRACE_HEADER))
            with acting(Client(agent or exchange.client, call.user)):
                # Other operations take less time than a switch of threads, and hold the database's lock anyway.
                if operation.slow:
                    answer = await asyncio.to_thread(operation.handle, service, call)
                else:
                    answer = operation.handle(service, call)
            exchange.items = answer.items
            # Serialised here, so that an answer that cannot be serialised is reported as a bug like any other.
            return written({"status": 200, "response": answer.content} if exchange.envelope else answer.content)

        return work
