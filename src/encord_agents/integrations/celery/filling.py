"""Filling the queue with the tasks that wait in the stages, and counting them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Celery

from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery.adapter import Registration, adapter_of
from encord_agents.integrations.celery.message import Batch
from encord_agents.integrations.celery.store import broker_trouble
from encord_agents.tasks.runner.queue_runner import QueueFunction
from encord_agents.tasks.runner.run_options import check_number

__all__ = ["Filled", "StageStatus", "enqueue", "fill", "fill_each", "status"]

TOO_LATE = """\
{function}(), which serves stage {stage!r}, was decorated after register(runner, app), so the app does not know it.
Call register(runner, app) below the last @runner.stage(...)."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """The numbers of a stage.

    Attributes:
        stage: Its title.
        waiting: Tasks in the stage, as the platform lists them, that are not in the queue.
        in_flight: Tasks in the queue or being worked on.
        done: Tasks that moved or were held, since the beginning.
        failed: Tasks that failed for good within the last hour, and are still in the stage.
    """

    stage: str
    waiting: int
    in_flight: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Filled:
    """The result of sending a stage's tasks.

    Attributes:
        stage: Its title.
        sent: Tasks that were sent.
        left_out: Tasks that were not sent, since they are in the queue already or failed lately.
    """

    stage: str
    sent: int
    left_out: int


def enqueue(app: Celery, *, stage: str | UUID | None = None, max_tasks: int | None = None, again: bool = False) -> int:
    """Send the tasks that wait in the stages and are not in flight already.

    Tasks that failed lately, which polling leaves alone for an hour, are sent too.

    Args:
        app: An app that `register` was called with.
        stage: One stage's title or uuid. Default: all.
        max_tasks: The maximum number of tasks to send. Default: all.
        again: Also send tasks that are marked as in flight: for use after the queue was purged.

    Returns:
        The number of tasks sent.

    Raises:
        PrintableError: The app was not registered, or not after the last function was decorated; no function serves
            that stage; or the set-up is wrong.
        BrokerError: The broker refuses, or cannot be reached.
        encord.exceptions.EncordException: The platform refuses.
    """
    return sum(filled.sent for filled in fill_each(app, stage=stage, max_tasks=max_tasks, again=again))


def fill_each(
    app: Celery, *, stage: str | UUID | None = None, max_tasks: int | None = None, again: bool = False
) -> Iterator[Filled]:
    """Do the same stage by stage, and yield each stage's result."""
    check_number("max_tasks", max_tasks, optional=True)
    left = max_tasks
    for registration, function, title in _stages(adapter_of(app).registrations, stage):
        if left != 0:
            filled = _fill(registration, function, title, left, failed=True, again=again)
            left = None if left is None else left - filled.sent
            yield filled


def fill(registration: Registration, stage: UUID | None = None) -> int:
    """Poll once: as `enqueue`, but tasks that failed lately are left alone. Return the number of tasks sent.

    Raises:
        PrintableError: No function serves that stage.
    """
    stages = list(_stages([registration], stage))
    return sum(_fill(*served, None, failed=False).sent for served in stages)


def _stages(
    registrations: Sequence[Registration], wanted: str | UUID | None
) -> Iterator[tuple[Registration, QueueFunction, str]]:
    """Yield the functions that serve a stage, or all stages, each with its stage's title.

    Raises:
        PrintableError: A function was decorated after its runner was registered; or, after the last one, no function
            serves that stage.
        BrokerError: Celery cannot use the address of the broker or of the result backend.
    """
    for registration in registrations:
        registration.adapter.check()
        for function in registration.runner.functions:
            if registration.functions.get(registration.queue(function)) is not function:
                raise PrintableError(TOO_LATE.format(function=function.__qualname__, stage=str(function.stage)))
    served, found = [], False
    for registration in registrations:
        runner = registration.runner
        for function, stage in zip(runner.functions, runner.get_agent_stages(), strict=True):
            served.append(repr(stage.title))
            if wanted is None or str(wanted) in (str(function.stage), stage.title, str(stage.uuid)):
                found = True
                yield registration, function, stage.title
    if not found:
        raise PrintableError(f"No function serves stage {str(wanted)!r}. Stages that are served: {', '.join(served)}.")


def _fill(
    registration: Registration,
    function: QueueFunction,
    title: str,
    max_tasks: int | None,
    *,
    failed: bool,
    again: bool = False,
) -> Filled:
    queue = registration.queue(function)
    adapter = registration.adapter

    def ended() -> object:
        with broker_trouble(adapter.prefix):
            return adapter.in_flight.counts(queue)

    # Read all pages before sending the first message, and again if workers ended tasks meanwhile: tasks that move while
    # pages are read shift them, and hide others.
    specs = [json.loads(spec) for spec in function.waiting(moves=ended)]
    if not adapter.is_shared:  # outcomes of other processes are unknown here: tasks that left the stage have ended
        going, _ = adapter.in_flight.marked(queue)
        adapter.in_flight.release(queue, sorted(going - {spec["uuid"] for spec in specs}))
    sent = seen = 0
    for start in range(0, len(specs), adapter.limits.claimed):
        if max_tasks is not None and sent >= max_tasks:
            break
        page = specs[start : start + adapter.limits.claimed]
        seen += len(page)
        at_most = None if max_tasks is None else max_tasks - sent
        with broker_trouble(adapter.prefix):
            sent += _send(registration, queue, page, at_most, failed=failed, again=again)
    return Filled(title, sent, 0 if max_tasks is not None and sent >= max_tasks else seen - sent)


def _send(
    registration: Registration,
    queue: str,
    specs: Sequence[dict[str, Any]],
    at_most: int | None,
    *,
    failed: bool,
    again: bool,
) -> int:
    """Send the tasks that are not in flight, in batches. Return their number."""
    in_flight, at_work = registration.adapter.marks
    seconds = registration.adapter.timing.in_queue
    uuids = [spec["uuid"] for spec in specs]
    send: list[dict[str, Any]] = []
    sent = 0
    try:
        # These are left over from a lost worker. Without this they would wait for Redis' visibility timeout.
        in_flight.release(queue, sorted(at_work.abandoned(queue, uuids)))
        # Claimed before they are sent, so that two polls at the same time send each task once.
        claimed = in_flight.claim(queue, uuids, seconds, most=at_most, failed=failed, again=again)
        send = [spec for spec, is_claimed in zip(specs, claimed, strict=True) if is_claimed]
        while sent < len(send):
            batch = send[sent : sent + registration.batch_size]
            registration.app.tasks[queue].apply_async(args=[], kwargs=Batch(batch).message())
            sent += len(batch)
    except BaseException:  # also an interrupt: nobody else would release tasks that were claimed and not sent
        with contextlib.suppress(Exception):  # the first error is the one to report
            in_flight.release(queue, [spec["uuid"] for spec in send[sent:]])
        raise
    return sent


def status(app: Celery) -> list[StageStatus]:
    """Return the numbers of each stage, in order of definition. Asks the platform and the broker's Redis.

    If the broker is no Redis, the marks of other processes are unknown, and all tasks of a stage count as waiting.

    Raises:
        PrintableError: The app was not registered, or the set-up is wrong.
        BrokerError: The broker's Redis refuses, or cannot be reached.
        encord.exceptions.EncordException: The platform refuses.
    """
    adapter = adapter_of(app)
    found = []
    for registration, function, title in _stages(adapter.registrations, None):
        queue = registration.queue(function)
        uuids = {json.loads(spec)["uuid"] for spec in function.waiting()}
        with broker_trouble(adapter.prefix):
            going, failed = adapter.in_flight.marked(queue)
            counts = adapter.in_flight.counts(queue)
        done = counts.get("moved", 0) + counts.get("held", 0)
        found.append(StageStatus(title, len(uuids - going - failed), len(uuids & going), done, len(uuids & failed)))
    return found
