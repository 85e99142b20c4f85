"""Making a Celery app serve the stages of a runner."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from celery import Celery, Task
from celery.app.utils import Settings
from celery.concurrency import get_implementation
from celery.signals import beat_init, celeryd_after_setup, worker_init, worker_process_shutdown, worker_shutdown

from encord_agents.core.logs import get_logger
from encord_agents.exceptions import PrintableError
from encord_agents.integrations.celery.adapter import Adapter, Registration, adapter_of, visibility_timeout
from encord_agents.integrations.celery.delivery import AgentTasksFailed, Delivery
from encord_agents.integrations.celery.filling import fill
from encord_agents.integrations.celery.message import read
from encord_agents.integrations.celery.store import BrokerError, Seldom
from encord_agents.integrations.celery.waking import waker
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.runner.queue_runner import QueueFunction
from encord_agents.tasks.runner.run_options import check_number

__all__ = ["register"]

logger = get_logger(__name__)

TASK_DEFAULTS = {
    # Acknowledge a message only when its tasks are done, so that a lost worker's message is redelivered.
    "acks_late": True,
    "reject_on_worker_lost": True,
}
"""Options of the stages' Celery tasks, and of no other. The user's own ``task_acks_late`` and the like win."""

DEFAULTS = {
    # Agents take long: a message that one worker has prefetched could be running on another.
    "worker_prefetch_multiplier": 1,
    "broker_connection_retry_on_startup": True,
}
"""Settings of the app that suit agents. The user's own configuration wins."""


class StageTask(Task):  # type: ignore[misc]
    """A Celery task that serves a stage."""

    abstract = True

    @classmethod
    def bind(cls, app: Celery) -> Celery:
        """Set the safe options before Celery sets those of all tasks; the user's annotations come after both."""
        for name, value in TASK_DEFAULTS.items():
            if getattr(cls, name, None) is None and not _is_configured(app, f"task_{name}"):
                setattr(cls, name, value)
        return super().bind(app)


def _is_configured(app: Celery, setting: str) -> bool:
    """Return True if the user's configuration has a setting, under any name and prefix."""
    conf = app.conf
    _ = conf[setting]  # configures the app, if that has not happened yet
    return setting in Settings({}, conf.maps[:-1], conf._keys, conf.prefix)


def register(
    runner: QueueRunner,
    app: Celery,
    *,
    batch_size: int = 10,
    max_retries: int = 3,
    retry_delay: float = 1.0,
    poll_every: float | None = None,
    bundle_saves: bool = False,
    wake: bool = False,
) -> Celery:
    """Make a Celery task of each stage's function, and one that polls. Start nothing, and make no request.

    Call it after the functions are decorated. By default, the stages' Celery tasks are acknowledged late and rejected
    when a worker is lost; other tasks of the app are left as they are. The app's workers prefetch one message at a
    time. The app's own configuration wins.

    Args:
        runner: The runner, with its functions.
        app: The Celery app.
        batch_size: Tasks per message, 1 to 100. They are loaded and written together.
        max_retries: Attempts of a task after its first.
        retry_delay: Seconds before the second attempt; doubles with each, jittered, at most 60.
        poll_every: Seconds between two polls of the stages by ``celery beat`` (or ``celery worker -B``). ``None``: no
            polling, see `enqueue`.
        bundle_saves: Send agents' own saves with the others of their message: sets the runner's ``bundle_saves``.
        wake: Let notifications fill the queue: `encord_agents.fastapi.serve_runner(runner)` is the app that receives
            them.

    Returns:
        The app.

    Raises:
        PrintableError: A number is out of range, the runner has no function, or another runner of its project was
            registered.
    """
    check_number("batch_size", batch_size, most=100)
    check_number("max_retries", max_retries)
    check_number("retry_delay", retry_delay)
    check_number("poll_every", poll_every, optional=True)
    if not runner.functions:
        raise PrintableError(
            'The runner has no function yet. Decorate them with @runner.stage("...") before register(runner, app).'
        )
    if bundle_saves:
        runner.bundle_saves = True
    adapter = adapter_of(app, make=True)
    registration = next((known for known in adapter.registrations if known.runner is runner), None)
    if registration is None:
        if any(str(known.runner.project_hash) == str(runner.project_hash) for known in adapter.registrations):
            raise PrintableError(
                f"Another runner of project {runner.project_hash} is registered already, and their Celery tasks would "
                "have the same names. Decorate all functions of a project with one runner."
            )
        if not adapter.registrations:
            _suit_the_pool(adapter)
        registration = Registration(runner, app, batch_size, max_retries, retry_delay, poll_every)
        adapter.registrations.append(registration)
        _make_poll(registration)
        _when_configured(registration)
        _close_with_worker(runner)
    else:
        registration.batch_size, registration.max_retries = batch_size, max_retries
        registration.retry_delay, registration.poll_every = retry_delay, poll_every
    if wake:
        runner.wake = waker(registration)
    for function in runner.functions:
        _make_task(registration, function)
    return app


def _make_task(registration: Registration, function: QueueFunction) -> None:
    queue = registration.queue(function)
    is_new = queue not in registration.functions
    registration.functions[queue] = function
    if not is_new:
        return

    def run(self: Any, specs: Any = None, *_: Any, **more: Any) -> dict[str, int]:
        return Delivery(registration, queue, self, *read(specs, more)).run()

    run.__doc__ = f"Agent {function.__qualname__}() of stage {str(function.stage)!r}."
    # The delivery decides about retries, hence `max_retries=None`. Celery makes the task lazily, from the configuration
    # it has then. `throws`: a traceback of this package would not help, and the agent's own is in the log already.
    registration.app.task(
        name=queue,
        base=StageTask,
        bind=True,
        max_retries=None,
        throws=(AgentTasksFailed, BrokerError),
        shared=False,
    )(run)


def _make_poll(registration: Registration) -> None:

    def poll() -> int:
        """Send the tasks that wait in the stages."""
        try:
            return fill(registration)
        except BrokerError as error:
            if seldom(f"poll {error}"):
                logger.warning("The stages could not be polled. %s", error)
            raise

    seldom = Seldom()

    registration.app.task(
        name=registration.poll, ignore_result=True, acks_late=False, throws=(BrokerError,), shared=False
    )(poll)


def _when_configured(registration: Registration) -> None:
    """Apply defaults and the schedule once the app is configured: reading its configuration now would finalize it."""
    app = registration.app

    def configured(sender: Any = None, **_: object) -> None:
        _set_defaults(app, DEFAULTS)
        _schedule(registration)
        limit = app.conf.task_time_limit or app.conf.task_soft_time_limit
        if limit and str(app.conf.broker_url).startswith("redis") and visibility_timeout(app) < limit:
            logger.warning(
                "Redis delivers a message again after %.0f s (broker_transport_options['visibility_timeout']), but a "
                "batch may run for %.0f s (task_time_limit). Raise the former.",
                visibility_timeout(app),
                limit,
            )

    if app.configured:
        configured()
    else:
        app.on_after_configure.connect(configured, weak=False)


def _set_defaults(app: Celery, defaults: Mapping[str, object]) -> None:
    """Replace Celery's own defaults. Those of `Celery.add_defaults` would win over a configuration module."""
    app.conf.maps[-1].update(defaults)


def _schedule(registration: Registration) -> None:
    """Make beat poll: through a Celery task if all workers see the same marks, otherwise in beat's own process."""
    app, every = registration.app, registration.poll_every
    if not registration.adapter.is_shared:
        # When a connection is lost, its messages are redelivered while they are still being worked on, and without a
        # shared store no worker can see that. This is Celery's own remedy; the user's configuration wins. See
        # `_suit_the_pool` for pools that have none.
        _set_defaults(app, {"worker_cancel_long_running_tasks_on_connection_loss": True})
        if every is not None:
            _poll_in_beat(registration, every)
        return
    if every is not None:
        app.conf.beat_schedule = {
            **(app.conf.beat_schedule or {}),
            registration.poll: {
                "task": registration.poll,
                "schedule": every,
                # A poll that no worker has received by the time of the next is superfluous.
                "options": {"expires": every},
            },
        }


def _poll_in_beat(registration: Registration, every: float) -> None:
    """Poll in the process of beat: there is only one, so its memory of the tasks it sent is enough."""

    def begin(sender: Any, **_: object) -> None:
        if sender.app != registration.app:  # the signal comes from any app's beat
            return
        # A daemon, so that beat can exit during a poll.
        threading.Thread(target=poll, name="encord-agents-poll", daemon=True).start()

    def poll() -> None:
        logger.info("Polling every %g s in this process; no other process knows which tasks it has sent.", every)
        pause = threading.Event()
        while True:
            try:
                if sent := fill(registration):
                    logger.info("%d task(s) sent.", sent)
            except BrokerError as error:
                logger.warning("The stages could not be polled; trying again in %g s. %s", every, error)
            except Exception:
                logger.exception("The stages could not be polled; trying again in %g s.", every)
            pause.wait(every)

    beat_init.connect(begin, weak=False)  # sent by the beat of ``celery worker -B`` too


def _suit_the_pool(adapter: Adapter) -> None:
    """If marks are not shared, let a worker whose pool cannot end its batches keep its connection, and say so."""
    app = adapter.app

    def begin(sender: Any, **_: object) -> None:
        if sender.app != app or adapter.is_shared:
            return
        pool = get_implementation(sender.pool_cls)
        if not issubclass(pool, get_implementation("prefork")):
            # Celery cannot cancel threads, and fails if it tries; a cancelled greenlet looks like a failed agent.
            _set_defaults(app, {"worker_cancel_long_running_tasks_on_connection_loss": False})
        if issubclass(pool, get_implementation("solo")):
            # It sends no heartbeat while a batch runs, and RabbitMQ closes a connection without them. TCP's keepalive
            # remains.
            _set_defaults(app, {"broker_heartbeat": 0})

    def warn(instance: Any, **_: object) -> None:  # the first signal comes before Celery has set up its log
        if instance.app != app or adapter.is_shared or app.conf.worker_cancel_long_running_tasks_on_connection_loss:
            return
        logger.warning(
            "If this worker loses its connection to the broker, its batches go on while they are delivered to another: "
            "tasks may run twice at the same time. Use --pool prefork, or a Redis as the result backend."
        )

    worker_init.connect(begin, weak=False)
    celeryd_after_setup.connect(warn, weak=False)


def _close_with_worker(runner: QueueRunner) -> None:
    """Close the runner, and with it run-scoped dependencies, when the worker process that made them ends."""

    def close(**_: object) -> None:
        runner.close()

    # The first is sent in prefork's children, the second in the main process, where the other pools run tasks.
    worker_process_shutdown.connect(close, weak=False)
    worker_shutdown.connect(close, weak=False)
