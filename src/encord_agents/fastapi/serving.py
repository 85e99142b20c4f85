"""A runner as a web app: notifications in, runs of stages out."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from fastapi import Depends, FastAPI
from starlette.concurrency import run_in_threadpool

from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import exc_info
from encord_agents.core.webhooks import TaskNotification
from encord_agents.exceptions import EditorRequestError, PrintableError, closest
from encord_agents.fastapi.notifications import add_notification_handlers, dep_task_notification_with_args
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.queue_runner import QueueRunner
from encord_agents.tasks.runner.run_options import NUMBERS, check_number
from encord_agents.tasks.runner.sequential_runner import SequentialRunner

__all__ = ["serve_runner"]

logger = get_logger(__name__)

NOT_STARTED = """\
The app that runs the stages is not running. Serve it by itself: an app that is mounted in another one is not \
started with it, nor is one by a TestClient without `with`."""

OURS: Final = ("stage", "project_hash", "stop")
"""Arguments of `run_stage` that are the notification's, or the server's."""

Stage = tuple[UUID, UUID]
"""A project and a stage of it."""

NO_QUEUE = """\
Say how its queue is filled: on Celery with register(runner, app, wake=True), on an engine of your own with \
runner.wake = function, which is called with a project's hash and a stage's uuid."""


def serve_runner(
    runner: SequentialRunner | QueueRunner,
    *,
    path: str = "/notifications",
    secret: str | None = None,
    **options: Any,
) -> FastAPI:
    """Return an app that runs a stage, or fills its queue, when the platform notifies it of tasks that wait there.

    A notification is verified and answered at once, with 200. Stages are run one after the other; a notification for a
    stage that is already queued adds nothing, and one for the stage that is running queues it once more. When the
    server shuts down, as on SIGTERM, the run stops as on Ctrl-C: finished tasks are written.

    ::

        app = serve_runner(runner)  # uvicorn agents:app

    Args:
        runner: The runner; one without a project serves the stages of any project. For a `QueueRunner`, the queue is
            filled: on Celery with ``register(runner, app, wake=True)``, on an engine of your own by ``runner.wake``.
        path: The path of the address that is notified.
        secret: The secret that the platform shows for the address. Default: ``ENCORD_WEBHOOK_SECRET``.
        options: For `SequentialRunner.run_stage`.

    Raises:
        PrintableError: The runner has no agent, an option is wrong, or the path does not begin with a slash. Or nothing
            says how the queue of a `QueueRunner` is filled.
    """
    if not path.startswith("/"):
        raise PrintableError(f"serve_runner(runner, path={path!r}): a path begins with a slash, as in {f'/{path}'!r}.")
    runs = _Runs(_work_of(runner, options))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runs.open()
        try:
            yield
        finally:
            await run_in_threadpool(runs.close)

    app = FastAPI(lifespan=lifespan)
    add_notification_handlers(app)
    received = dep_task_notification_with_args(secret)

    @app.post(path)  # 200: the platform treats any other status as a failure, and sends it again
    async def receive(notification: TaskNotification = Depends(received)) -> dict[str, str]:
        if not runs.add((notification.project_hash, notification.stage_uuid)):
            logger.error("%s", NOT_STARTED)
            raise EditorRequestError(NOT_STARTED, status=503)
        return {"message": "The stage will be run."}

    return app


Work = Callable[[Stage, Stop], object]
"""Serves a stage once, and returns something to log."""


def _work_of(runner: SequentialRunner | QueueRunner, options: dict[str, Any]) -> Work:
    if isinstance(runner, SequentialRunner):
        runner._check_has_agents("serve_runner(runner)")
        _check(options, inspect.signature(runner.run_stage).parameters)
        return lambda stage, stop: runner.run_stage(stage[1], project_hash=stage[0], stop=stop, **options)
    if runner.wake is None or options:
        said = f"It takes no {', '.join(options)}: those are options of a Runner." if options else NO_QUEUE
        raise PrintableError(f"serve_runner(runner): the runner is a QueueRunner. {said}")
    wake = runner.wake
    return lambda stage, stop: f"Stage {stage[1]} of project {stage[0]}: {wake(*stage)} task(s) sent."


def _check(options: dict[str, Any], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Check the options of runs now: by then, the notification is answered, and nobody would be told.

    Args:
        parameters: The parameters of the runner's `run_stage`, which a subclass may have extended.
    """
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [name for name, one in parameters.items() if one.kind in named and name not in OURS]
    for name, value in options.items():
        if name in OURS or not (name in names or takes_any):
            guess = f" Did you mean {meant!r}?" if (meant := closest(name, names)) else ""
            raise PrintableError(
                f"serve_runner(runner): runs of a stage have no option {name!r}.{guess} They have: {', '.join(names)}."
            )
        if name in NUMBERS:
            check_number(name, value, optional=name in names and parameters[name].default is None)


class _Runs:
    """Runs stages one after the other, in a thread: a runner holds one project and one report at a time."""

    def __init__(self, work: Work) -> None:
        self._do = work
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Stage, None] = OrderedDict()
        self._closed = True
        self._stop = Stop()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        self._closed, self._stop = False, Stop()
        self._thread = threading.Thread(target=self._work, name="encord-agents-notified")
        self._thread.start()

    def add(self, stage: Stage) -> bool:
        """Queue a stage. Return False if the thread does not run, yet or any more."""
        with self._changed:
            if self._closed:
                return False
            self._waiting[stage] = None
            self._changed.notify()
            return True

    def close(self) -> None:
        """Stop the run, and wait until finished tasks are written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._stop.request("terminate")
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (stage := self._next()) is not None:
            self._run(stage)

    def _next(self) -> Stage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            return None if self._closed else self._waiting.popitem(last=False)[0]

    def _run(self, stage: Stage) -> None:
        try:
            said = self._do(stage, self._stop)
        except BaseException as error:
            logger.error("Stage %s of project %s could not be run.", stage[1], stage[0], exc_info=exc_info(error))
        else:
            logger.info("%s", said)
