"""An editor agent: its plan, made once, and its answer to each request."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, closing
from typing import Any, Final

from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient

from encord_agents.core.assets import Asset
from encord_agents.core.data_model import FrameData, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.scope import RunScope
from encord_agents.core.dependencies.solve import Attempt, attempt, attempt_async
from encord_agents.core.logs import get_logger
from encord_agents.core.tracebacks import is_a
from encord_agents.editor.clients import client_for
from encord_agents.editor.loading import Inputs
from encord_agents.editor.row_queue import ROW_QUEUE
from encord_agents.editor.wire import Reply, Request, read_frame, reply_to_error, reply_with
from encord_agents.extras import require
from encord_agents.tasks.engine.event_loop import EventLoop
from encord_agents.tasks.media import extra_of

__all__ = ["EditorAgent", "log_request"]

logger = get_logger("encord_agents.editor")

INJECTABLE: Final[tuple[type, ...]] = (FrameData, EncordUserClient, Project, LabelRowV2, StorageItem, Asset)


class EditorAgent:
    """A function that serves the label editor. May be called from several threads.

    Each request has a client of its own, which forwards the request's trace id. Dependencies with ``scope="run"`` are
    made by the first request that needs them, and live as long as the process.

    Args:
        function: The agent. It may ask for `FrameData`, `LabelRowV2`, `StorageItem`, `Project`, `EncordUserClient`, and
            for dependencies. Nothing else is fetched.
        label_row_metadata_include_args: Options for listing the label row.
        label_row_initialise_labels_args: Options for loading its labels.

    Raises:
        DependencyError: A parameter that nothing can supply.
        MissingExtraError: A dependency needs an extra that is not installed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        label_row_metadata_include_args: LabelRowMetadataIncludeArgs | None = None,
        label_row_initialise_labels_args: LabelRowInitialiseLabelsArgs | None = None,
    ) -> None:
        self.plan = build_plan(function, injectable=INJECTABLE)
        for dependency in sorted(self.plan.dependencies, key=repr):
            if (extra := extra_of(dependency)) is not None:
                require(extra, f"{self.plan.name}() uses {getattr(dependency, '__name__', dependency)}, which")
        self._include_args = label_row_metadata_include_args
        self._initialise_args = label_row_initialise_labels_args
        self._loop = EventLoop()
        self._run = RunScope(loop=self._loop)

    def answer(self, request: Request, *, is_base64: bool = False) -> Reply:
        """Answer a request. Only interrupts are raised."""
        if request.is_test:
            return Reply(200)
        try:
            frame = read_frame(request.body, is_base64=is_base64)
            log_request(frame, request.trace_id)
            client = client_for(request.trace_id)
            inputs = Inputs(client, frame, self._include_args, self._initialise_args)
            with ExitStack() as until_answered:
                if LabelRowV2 in self.plan.needs:
                    until_answered.enter_context(ROW_QUEUE.locked(frame))
                ended = self._attempt(self._values(inputs, until_answered))
            if ended.exception is not None:
                return reply_to_error(ended.exception, name=f"{self.plan.name}()")
            return reply_with(ended.value)
        except Exception as error:  # noqa: BLE001 - the editor gets an answer to any failure
            return reply_to_error(error, name=f"{self.plan.name}()")

    def answer_within(self, seconds: float, request: Request, *, is_base64: bool = False) -> Reply:
        """Answer a request within a timeout: an agent that takes longer keeps running, and the answer is 504.

        The agent runs in a thread of its own, with the context variables of the caller.
        """
        answered: Future[Reply] = Future()

        def answer() -> None:
            try:
                # For agents that call `asyncio.get_event_loop()`, which makes one only in the main thread.
                with closing(asyncio.new_event_loop()) as loop:
                    asyncio.set_event_loop(loop)
                    answered.set_result(self.answer(request, is_base64=is_base64))
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                if not answered.done():
                    answered.set_exception(error)

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(answer,), name="encord-agents-editor", daemon=True).start()
        try:
            return answered.result(seconds)
        except TimeoutError:
            logger.error("%s() has not ended within %.1f s, the time that there is.", self.plan.name, seconds)
            return Reply(
                504,
                {"message": f"The agent has not ended within {seconds:.0f} s. Allow it more time, or have it do less."},
            )

    def _values(self, inputs: Inputs, until_answered: ExitStack) -> dict[type, object]:
        needs = self.plan.needs
        values: dict[type, object] = {FrameData: inputs.frame, EncordUserClient: inputs.client}
        if Project in needs:
            values[Project] = inputs.project
        if LabelRowV2 in needs:
            values[LabelRowV2] = inputs.labelled_row
        if StorageItem in needs or Asset in needs:
            values[StorageItem] = inputs.item
        if Asset in needs and Asset.exists_for(inputs.item):
            values[Asset] = until_answered.enter_context(Asset(inputs.item))
        return values

    def _attempt(self, values: dict[type, object]) -> Attempt:
        if self.plan.has_async:
            self._loop.revive()  # the agent of an earlier request may have ended it
            ended: Attempt = self._loop.submit(attempt_async(self.plan, values, self._run)).result()
        else:
            ended = attempt(self.plan, values, self._run)
        if is_a(ended.exception, KeyboardInterrupt):
            raise KeyboardInterrupt from ended.exception
        return ended


def log_request(frame: FrameData, trace_id: str | None) -> None:
    """Log which frame a request is about."""
    logger.info(
        "Project %s, data %s, frame %d, %d objects, trace id %s",
        frame.project_hash,
        frame.data_hash,
        frame.frame,
        len(frame.object_hashes or ()),
        trace_id or "none",
    )
