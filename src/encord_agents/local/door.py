"""The ASGI application: checks each request for outages, its origin and faults, and records it in the journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from encord_agents.local import page
from encord_agents.local.api import Api
from encord_agents.local.controls import Controls
from encord_agents.local.exchange import Exchange, Prepare, Work
from encord_agents.local.faults import Fault, Faults
from encord_agents.local.journal import Journal
from encord_agents.local.origins import stranger
from encord_agents.local.responses import HangUp, HangUpOn, refused, written
from encord_agents.local.routing import route
from encord_agents.local.service import Service
from encord_agents.local.transfers import Transfers
from encord_agents.local.trouble import NotKnown, Refusal, machine_trouble

logger = logging.getLogger(__name__)

Outage = Literal["refuse", "503"]

MOST_REMEMBERED = 100
"""The most unknown requests, and bugs of the platform, that are kept for the end of a test."""


class Door:
    """The ASGI application."""

    def __init__(
        self, service: Service, faults: Faults, journal: Journal, hang_up: HangUpOn, *, controls: bool = False
    ) -> None:
        self.service = service
        self.faults = faults
        self.journal = journal
        self._hang_up = hang_up
        self._started = time.monotonic()
        self._in_flight = 0
        self.max_in_flight = 0
        self.outage: Outage | None = None
        self.unknown: list[str] = []
        self.bugs: list[BaseException] = []
        elsewhere = route("/{path:path}", self.answering(_elsewhere), ["GET"])
        elsewhere.methods = set()  # all methods, so that no unmatched request silently gets a 405
        self.application = Starlette(
            # Routes are tried in order, so those that agents use most come first.
            routes=[
                *Api(service).routes(self.answering),
                *Transfers(service, hang_up).routes(self.answering),
                *(Controls(self).routes() if controls else ()),
                *page.routes(service, journal, self._now, self._failed),
                elsewhere,
            ]
        )

    def _now(self) -> float:
        """Return the time by the journal's clock: seconds since the start."""
        return time.monotonic() - self._started

    def answering(self, prepare: Prepare, *, counted: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of a route.

        Args:
            counted: Whether its requests count as in flight.
        """

        async def answer(request: Request) -> Response:
            if self.outage == "refuse":
                return self._hung_up()
            if self.outage:
                return written({"message": "The platform is down."}, 503)
            self._in_flight += counted  # only on the event loop's thread, so that no lock is needed
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            try:
                return await self._answered(request, prepare)
            except ClientDisconnect:
                return Response()
            finally:
                self._in_flight -= counted

        return answer

    async def _answered(self, request: Request, prepare: Prepare) -> Response:
        exchange = Exchange(request, request.method)
        at = self._now()
        fault: Fault | None = None
        try:
            if (strange := stranger(request)) is not None:
                raise strange
            work = await prepare(exchange)
            # Only once the request is authenticated, so that strangers do not use up a test's faults.
            if self.faults:
                fault = self.faults.take(exchange.kind, exchange.body, exchange.target, envelope=exchange.envelope)
                early = await self._spoiled(fault, request)
                if early is not None:
                    self._note(exchange, 0 if isinstance(early, HangUp) else early.status_code, at)
                    return early
            response = await work()
            status = response.status_code
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 -- the client gets an answer, and check() raises what is a bug
            refusal = error if isinstance(error, Refusal) else self._trouble(error, exchange)
            if isinstance(refusal, NotKnown):
                self._remember(refusal)
            status = refusal.status
            response = refused(refusal, envelope=exchange.envelope)
        if (delay := exchange.latency + exchange.latency_per_item * exchange.items) > 0:
            await asyncio.sleep(delay)
        if fault is not None and fault.action == "drop_after":  # the work is done, but the client gets no answer
            response, status = self._hung_up(), 0
        self._note(exchange, status, at)
        return response

    def _hung_up(self) -> HangUp:
        return HangUp(self._hang_up)

    def _note(self, exchange: Exchange, status: int, at: float) -> None:
        self.journal.add(
            exchange.kind, exchange.method, exchange.path, status, exchange.items, at, exchange.body,
            client=exchange.client, seconds=self._now() - at,
        )  # fmt: skip

    async def _spoiled(self, fault: Fault | None, request: Request) -> Response | None:
        """Return the answer that a fault gives in place of the handler's, if any."""
        if fault is None or fault.action == "drop_after":
            return None
        if fault.action == "stall":
            cleared = self.faults.cleared
            try:
                async with asyncio.timeout(fault.seconds):
                    while not await request.is_disconnected():
                        if self.faults.cleared != cleared:
                            return None
                        await asyncio.sleep(0.02)
            except TimeoutError:
                return None
            return self._hung_up()
        if fault.action == "drop_before":
            return self._hung_up()
        if fault.action == "envelope":
            said = "A fault that was asked for."
            return written({"status": fault.status, "response": [fault.error], "payload": said})
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.body is not None:
            return Response(fault.body, fault.status, headers, media_type="text/html")
        return written({"message": "A fault that was asked for."}, fault.status, headers)

    def _remember(self, unknown: NotKnown) -> None:
        logger.warning("%s", unknown.message)
        if len(self.unknown) < MOST_REMEMBERED:
            self.unknown.append(unknown.what)

    def _trouble(self, error: Exception, exchange: Exchange) -> Refusal:
        """Return the answer to an exception, which is either trouble of the machine or a bug of the platform."""
        known = machine_trouble(error)
        if known is not None:
            logger.error("%s %s: %s", exchange.method, exchange.path, known.message)
            return known
        logger.exception("The local platform failed at %s %s.", exchange.method, exchange.path)
        return self._failed(error)

    def _failed(self, error: Exception) -> Refusal:
        """Keep a bug of the platform for ``LocalPlatform.check()``, which raises it, and return its answer."""
        if len(self.bugs) < MOST_REMEMBERED:
            self.bugs.append(error)
        return Refusal(500, ascii(f"{type(error).__name__}: {error}")[1:-1])


async def _elsewhere(exchange: Exchange) -> Work:
    """Refuse requests that match no route as loudly as operations that the platform does not know."""
    exchange.kind = "unknown"
    asked = f"{exchange.method} {exchange.path}."
    raise NotKnown(asked, "Leave it out: the SDK asks only below /v2/public and /public.")
