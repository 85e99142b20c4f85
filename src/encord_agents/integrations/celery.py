"""Celery: a Celery task for each stage, and a poll that fills the queue without sending a task twice.

::

    runner = QueueRunner(project_hash="...")

    @runner.stage("Pre-label")
    def pre_label(label_row: LabelRowV2) -> str: ...

    app = register(runner, Celery("agents", broker="redis://..."), poll_every=60)

    # celery -A agents worker -B               workers, and a beat that polls
    # encord-agents celery enqueue agents:app  or once, by hand

A message holds a batch of tasks, as JSON. A worker gives it to the stage's queue function, which says what became of
each task; those that may end better another time are retried by Celery, the others are not sent again.
"""

from __future__ import annotations

import json
import logging
import random
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown, worker_shutdown

from encord_agents.exceptions import EncordAgentsError, PrintableError, TasksFailedError
from encord_agents.integrations.in_flight import InFlight, MemoryInFlight, RedisInFlight
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult, TaskResult
from encord_agents.tasks.runner.queue_runner import QueueFunction

__all__ = ["AgentTasksFailed", "StageStatus", "enqueue", "enqueue_each", "register", "status"]

logger = logging.getLogger(__name__)

DEFAULTS = {
    # A message is done when its tasks are: what a lost worker had taken is delivered again.
    "task_acks_late": True,
    "task_reject_on_worker_lost": True,
    # Agents take long; what one worker hoards another could be doing.
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
}
"""Settings that suit agents. Whatever the user's configuration says wins."""

MAX_LOST = 3
"""Workers that a task may take down with it before it is given up."""
MAX_RETRY_DELAY = 60.0
"""Seconds. A message that waits longer is held by a worker that could be doing something else."""
IN_QUEUE_FOR = 24 * 3600.0
"""Seconds after which a task that was sent, and of which nothing was heard, may be sent again."""
FAILED_FOR = 3600.0
"""Seconds for which a task that has failed is not sent again by polling."""
AT_WORK_FOR = 3600.0
"""Seconds, at least, for which a task that a worker has begun is not sent again."""
CLAIMED_AT_ONCE = 100
REDIS_TIMEOUT = 10.0


class AgentTasksFailed(EncordAgentsError):  # noqa: N818 - what Celery shows as the result of a batch
    """Tasks of a batch have failed for good. The message says which, and why; the others of the batch are done."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """How a stage stands.

    Attributes:
        stage: Its title.
        waiting: Tasks in the stage that no queue holds. Asked of the platform.
        in_flight: Tasks in the queue or at work.
        failed: Tasks that failed lately, and are not sent again for now.
        done: Tasks that moved or were held, since the beginning.
    """

    stage: str
    waiting: int
    in_flight: int
    failed: int
    done: int


@dataclass(eq=False)
class _Registration:
    """One runner on one app."""

    runner: QueueRunner
    app: Celery
    batch_size: int
    max_retries: int
    retry_delay: float
    poll_every: float | None
    functions: dict[str, QueueFunction] = field(default_factory=dict)

    @property
    def poll(self) -> str:
        """The name of the Celery task that polls."""
        return f"encord_agents.{self.runner.project_hash}.poll"

    def queue(self, function: QueueFunction) -> str:
        """The name of a stage's Celery task, made of what is known without asking anybody."""
        return f"encord_agents.{self.runner.project_hash}.stage.{function.stage}"


@dataclass(eq=False)
class _Adapter:
    """What an app has been given: its registrations, and where it keeps its marks."""

    registrations: list[_Registration]
    in_flight: InFlight | None = None


_adapters: weakref.WeakKeyDictionary[Celery, _Adapter] = weakref.WeakKeyDictionary()


def register(
    runner: QueueRunner,
    app: Celery,
    *,
    batch_size: int = 10,
    max_retries: int = 3,
    retry_delay: float = 1.0,
    poll_every: float | None = None,
) -> Celery:
    """Make a Celery task of each stage's function, and one that polls. Starts nothing, and makes no request.

    Call it after the functions are decorated. Sets late acknowledgement, rejection when a worker is lost, and a
    prefetch of 1, as defaults: what the app's own configuration says wins.

    Args:
        runner: The runner, with its functions.
        app: The Celery app.
        batch_size: Tasks in one message, 1 to 100: they are loaded and written together.
        max_retries: Attempts of a task after its first.
        retry_delay: Seconds before the second attempt; doubles with each, jittered, at most 60.
        poll_every: Seconds between two polls of the stages, by ``celery beat`` (or ``celery worker -B``). ``None``: no
            polling, see `enqueue`.

    Returns:
        The app.

    Raises:
        PrintableError: A number is out of range, or the runner has no function.
    """
    for name, value, least, most in (
        ("batch_size", batch_size, 1, 100),
        ("max_retries", max_retries, 0, None),
        ("retry_delay", retry_delay, 0, None),
        ("poll_every", poll_every, 1, None),
    ):
        if value is not None and (not value >= least or (most is not None and value > most)):
            bounds = f"at least {least}" if most is None else f"from {least} to {most}"
            raise PrintableError(f"{name}={value!r} is out of range: it must be {bounds}.")
    if not runner.functions:
        raise PrintableError(
            'The runner has no function yet. Decorate them with @runner.stage("...") before register(runner, app).'
        )
    adapter = _adapters.setdefault(app, _Adapter([]))
    registration = next((known for known in adapter.registrations if known.runner is runner), None)
    if registration is None:
        registration = _Registration(runner, app, batch_size, max_retries, retry_delay, poll_every)
        adapter.registrations.append(registration)
        app.add_defaults(dict(DEFAULTS))
        _make_poll(registration)
        _when_configured(app, registration)
        _close_with_worker(runner)
    else:
        registration.batch_size, registration.max_retries = batch_size, max_retries
        registration.retry_delay, registration.poll_every = retry_delay, poll_every
    for function in runner.functions:
        _make_task(registration, function)
    return app


def _make_task(registration: _Registration, function: QueueFunction) -> None:
    queue = registration.queue(function)
    if registration.functions.get(queue) is not None:
        registration.functions[queue] = function
        return
    registration.functions[queue] = function

    def run(
        self: Any,
        specs: list[dict[str, Any]],
        lost: int = 0,
        ended: dict[str, int] | None = None,
        errors: list[str] | None = None,
    ) -> dict[str, int]:
        return _run(registration, queue, self, _Batch(specs, lost, ended or {}, errors or []))

    run.__doc__ = f"Agent {function.__qualname__}() of stage {str(function.stage)!r}."
    # Whether to retry is decided here. Celery makes the task when it is needed, from the configuration of then.
    # A traceback of this module would say nothing: the agent's own is in the log already.
    registration.app.task(
        name=queue, bind=True, max_retries=None, serializer="json", throws=(AgentTasksFailed,), shared=False
    )(run)


def _make_poll(registration: _Registration) -> None:

    def poll() -> int:
        """Send what waits in the stages."""
        return sum(sent for _, sent in _enqueue(registration, None, None, again=False))

    registration.app.task(name=registration.poll, ignore_result=True, acks_late=False, shared=False)(poll)


@dataclass
class _Batch:
    """A message: tasks, and what became so far of those that were in it with them.

    Attributes:
        specs: The tasks, as JSON.
        lost: How many workers were lost over them.
        ended: Counts of outcomes.
        errors: What tasks that failed for good failed with.
    """

    specs: list[dict[str, Any]]
    lost: int
    ended: dict[str, int]
    errors: list[str]

    def uuids(self) -> list[str]:
        return [spec["uuid"] for spec in self.specs]


def _run(registration: _Registration, queue: str, celery_task: Any, batch: _Batch) -> dict[str, int]:
    """One delivery of a batch."""
    function = registration.functions[queue]
    in_flight = _in_flight(registration.app)
    request = celery_task.request
    if (request.delivery_info or {}).get("redelivered") and in_flight.was_begun(queue, request.id):
        return _redeliver(celery_task, queue, in_flight, batch)
    in_flight.begin(queue, request.id, batch.uuids(), _at_work_for(registration.app))
    try:
        return _attempt(registration, function, celery_task, batch)
    finally:
        in_flight.end(queue, request.id)


def _attempt(registration: _Registration, function: QueueFunction, celery_task: Any, batch: _Batch) -> dict[str, int]:
    """Give a batch to its function, and see to what becomes of each task."""
    queue = registration.queue(function)
    in_flight = _in_flight(registration.app)
    retries = celery_task.request.retries
    final = retries >= registration.max_retries
    try:
        results = _call(function, batch.specs, final=final)
    except Exception as error:
        # The set-up: every task has this trouble, now. They are left as they are, and polled again.
        if final:
            in_flight.release(queue, batch.uuids())
            raise
        raise celery_task.retry(
            args=[], kwargs=_kwargs(batch), countdown=_delay(registration, retries), exc=error
        ) from error
    counts = Counter[str](result.outcome for result in results)
    again = [] if final else [result for result in results if result.outcome == "failed" and result.retryable]
    failed = [result for result in results if result.outcome == "failed" and result not in again]
    counts["failed"] = len(failed)
    in_flight.release(queue, [str(result.task_uuid) for result in results if result.outcome != "failed"])
    in_flight.failed(queue, [str(result.task_uuid) for result in failed], FAILED_FOR)
    in_flight.ended(queue, {outcome: number for outcome, number in counts.items() if number})
    batch.ended = dict(Counter(batch.ended) + Counter({kind: n for kind, n in counts.items() if kind != "failed"}))
    batch.errors += [_describe(result) for result in failed]
    logger.info("%s: %s%s", function.stage, _in_words(counts), f"; {len(again)} to be tried again" if again else "")
    if again:
        uuids = {str(result.task_uuid) for result in again}
        batch.specs = [spec for spec in batch.specs if spec["uuid"] in uuids]
        raise celery_task.retry(
            args=[],
            kwargs=_kwargs(batch),
            countdown=_delay(registration, retries),
            exc=AgentTasksFailed(_describe(again[0])),
        )
    if batch.errors:
        raise AgentTasksFailed(_summary(batch))
    return batch.ended


def _call(function: QueueFunction, specs: Sequence[dict[str, Any]], *, final: bool) -> list[TaskResult]:
    try:
        answer = TaskCompletionResult.model_validate_json(function(list(specs), final=final))
    except TasksFailedError as failed:  # the stage was decorated with raise_on_failure=True
        answer = failed.report  # type: ignore[assignment]
    return answer.results


def _redeliver(celery_task: Any, queue: str, in_flight: InFlight, batch: _Batch) -> dict[str, int]:
    """A worker was lost over this batch, perhaps because of it. Nothing of it is run here.

    A message that comes back cannot be counted, so its tasks are sent on in new ones that say how often they were
    lost, each alone: the one that takes its worker down does so to no other.
    """
    lost = batch.lost + 1
    if lost > MAX_LOST and len(batch.specs) == 1:
        in_flight.failed(queue, batch.uuids(), FAILED_FOR)
        in_flight.ended(queue, {"failed": 1})
        in_flight.end(queue, celery_task.request.id)
        spec = batch.specs[0]
        batch.errors.append(
            f"{spec.get('data_title', spec['uuid'])}: its worker was lost {lost} times while it was at work: killed, "
            "out of memory, or a crash in native code."
        )
        raise AgentTasksFailed(_summary(batch))
    logger.warning("%s: a worker was lost over %d task(s); they are tried again, each alone.", queue, len(batch.specs))
    in_flight.extend(queue, batch.uuids(), IN_QUEUE_FOR)
    in_flight.end(queue, celery_task.request.id)
    for spec in batch.specs:
        celery_task.apply_async(args=[], kwargs=_kwargs(_Batch([spec], lost, {}, [])))
    return {"sent on": len(batch.specs)}


def _kwargs(batch: _Batch) -> dict[str, Any]:
    return {"specs": batch.specs, "lost": batch.lost, "ended": batch.ended, "errors": batch.errors}


def _delay(registration: _Registration, retries: int) -> float:
    ceiling = min(registration.retry_delay * 2.0**retries, MAX_RETRY_DELAY)
    return ceiling * (0.5 + 0.5 * random.random())


def _describe(result: TaskResult) -> str:
    where = f" (in {result.phase})" if result.phase else ""
    return f"{result.data_title or result.task_uuid}{where}: {result.error}"


def _summary(batch: _Batch) -> str:
    others = f" The others of the batch: {_in_words(batch.ended)}." if any(batch.ended.values()) else ""
    number = len(batch.errors)
    return "\n".join([f"{number} task{'' if number == 1 else 's'} failed for good.{others}", *batch.errors])


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number) or "nothing done"


# Filling the queue


def enqueue(app: Celery, *, stage: object = None, max_tasks: int | None = None, again: bool = False) -> int:
    """Send the tasks that wait in the stages, those that are in flight already, or failed lately, left out.

    Args:
        app: An app that `register` was called with.
        stage: One stage's title or uuid. Default: all.
        max_tasks: How many to send at most.
        again: Send also what is marked as in flight or failed.

    Returns:
        How many were sent.

    Raises:
        PrintableError: The app was not registered, no function serves that stage, or the set-up is wrong.
        encord.exceptions.EncordException: The platform refuses.
    """
    return sum(sent for _, sent in enqueue_each(app, stage=stage, max_tasks=max_tasks, again=again))


def enqueue_each(
    app: Celery, *, stage: object = None, max_tasks: int | None = None, again: bool = False
) -> Iterator[tuple[str, int]]:
    """The same, stage by stage: its title, and how many were sent."""
    if max_tasks is not None and max_tasks < 1:
        raise PrintableError(f"max_tasks={max_tasks!r} is out of range: at least 1; leave it out for all.")
    left = max_tasks
    served: list[str] = []
    found = False
    for registration in _registrations(app):
        for title, sent in _enqueue(registration, stage, left, again=again, served=served):
            found = True
            left = None if left is None else left - sent
            yield title, sent
    if not found:
        raise PrintableError(f"No function serves stage {str(stage)!r}. Stages that are served: {', '.join(served)}.")


def _enqueue(
    registration: _Registration,
    wanted: object,
    max_tasks: int | None,
    *,
    again: bool,
    served: list[str] | None = None,
) -> Iterator[tuple[str, int]]:
    stages = registration.runner.get_agent_stages()
    for function, stage in zip(registration.runner.functions, stages, strict=True):
        if served is not None:
            served.append(repr(stage.title))
        if wanted is not None and str(wanted) not in (str(function.stage), stage.title, str(stage.uuid)):
            continue
        queue = registration.queue(function)
        # All pages before the first message: tasks that move while pages are read would have others skipped.
        specs = [json.loads(spec) for spec in function.waiting()]
        sent = 0
        for start in range(0, len(specs), CLAIMED_AT_ONCE):
            if max_tasks is not None and sent >= max_tasks:
                break
            page = specs[start : start + CLAIMED_AT_ONCE]
            sent += _send(registration, queue, page, None if max_tasks is None else max_tasks - sent, again=again)
        yield stage.title, sent
        max_tasks = None if max_tasks is None else max_tasks - sent
        if max_tasks == 0:
            return


def _send(
    registration: _Registration,
    queue: str,
    specs: Sequence[dict[str, Any]],
    at_most: int | None,
    *,
    again: bool,
) -> int:
    """Send those tasks that are not in flight, in batches. How many they were."""
    in_flight = _in_flight(registration.app)
    taken = in_flight.claim(queue, [spec["uuid"] for spec in specs], IN_QUEUE_FOR, again=again)
    free = [spec for spec, is_free in zip(specs, taken, strict=True) if is_free]
    send = free[:at_most]
    sent = 0
    try:
        while sent < len(send):
            batch = send[sent : sent + registration.batch_size]
            registration.app.tasks[queue].apply_async(args=[], kwargs=_kwargs(_Batch(batch, 0, {}, [])))
            sent += len(batch)
    finally:  # what was not sent, because enough was or because the broker is gone, is free again
        in_flight.release(queue, [spec["uuid"] for spec in free[sent:]])
    return sent


def status(app: Celery) -> list[StageStatus]:
    """How each stage stands, in order of definition. Asks the platform, and the broker's Redis.

    Raises:
        PrintableError: The app was not registered, or its broker is no Redis and other processes' marks are unknown.
    """
    found = []
    in_flight = _in_flight(app)
    for registration in _registrations(app):
        stages = registration.runner.get_agent_stages()
        for function, stage in zip(registration.runner.functions, stages, strict=True):
            queue = registration.queue(function)
            going, failed = in_flight.marked(queue)
            waiting = sum(json.loads(spec)["uuid"] not in going | failed for spec in function.waiting())
            counts = in_flight.counts(queue)
            done = counts.get("moved", 0) + counts.get("held", 0)
            found.append(StageStatus(stage.title, waiting, len(going), len(failed), done))
    return found


def is_shared(app: Celery) -> bool:
    """Whether the marks are in the broker's Redis, and so the same for all processes."""
    return isinstance(_in_flight(app), RedisInFlight)


def _registrations(app: Celery) -> list[_Registration]:
    adapter = _adapters.get(app)
    if adapter is None:
        raise PrintableError(
            f"The Celery app {app.main!r} has no agents: call encord_agents.integrations.celery.register(runner, app) "
            "in the module that makes it."
        )
    return adapter.registrations


def _in_flight(app: Celery) -> InFlight:
    """Where the marks are: in the broker's Redis when it is one, else in this process."""
    adapter = _adapters[app]
    if adapter.in_flight is None:
        url = app.conf.broker_write_url or app.conf.broker_url or ""
        adapter.in_flight = _redis_at(url) or MemoryInFlight()
    return adapter.in_flight


def _redis_at(url: str) -> RedisInFlight | None:
    if not url.startswith(("redis://", "rediss://", "redis+socket://")) or ";" in url:
        return None
    import redis

    client = redis.Redis.from_url(
        url.replace("redis+socket://", "unix://", 1),
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        retry=redis.retry.Retry(redis.backoff.ExponentialBackoff(cap=5, base=0.2), 8),
        retry_on_error=[redis.ConnectionError, redis.TimeoutError],
        health_check_interval=30,
    )
    return RedisInFlight(client)


def _visibility_timeout(app: Celery) -> float:
    return float((app.conf.broker_transport_options or {}).get("visibility_timeout", 3600))


def _at_work_for(app: Celery) -> float:
    limit = app.conf.task_time_limit or app.conf.task_soft_time_limit or 0
    return float(max(AT_WORK_FOR, 2 * limit, 2 * _visibility_timeout(app)))


# The app's life


def _when_configured(app: Celery, registration: _Registration) -> None:
    """What needs the app's configuration is done when there is one: asking for it now would end configuring."""

    def configured(sender: Any = None, **_: object) -> None:
        if registration.poll_every is not None:
            app.conf.beat_schedule = {
                **(app.conf.beat_schedule or {}),
                registration.poll: {
                    "task": registration.poll,
                    "schedule": registration.poll_every,
                    # A poll that nobody has taken by the next one has nothing to add to it.
                    "options": {"expires": registration.poll_every},
                },
            }
        limit = app.conf.task_time_limit or app.conf.task_soft_time_limit
        url = app.conf.broker_url or ""
        if limit and url.startswith("redis") and _visibility_timeout(app) < limit:
            logger.warning(
                "Redis delivers a message again after %.0f s (broker_transport_options['visibility_timeout']), but a "
                "batch may run for %.0f s (task_time_limit): it would be at work twice at once. Raise the former.",
                _visibility_timeout(app),
                limit,
            )

    if app.configured:
        configured()
    else:
        app.on_after_configure.connect(configured, weak=False)


def _close_with_worker(runner: QueueRunner) -> None:
    """Run-scoped dependencies live as long as the worker process that made them: a child's, or the only one's."""

    def close(**_: object) -> None:
        runner.close()

    worker_process_shutdown.connect(close, weak=False)
    worker_shutdown.connect(close, weak=False)
