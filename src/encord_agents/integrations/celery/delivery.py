"""One delivery of a message: what is done with each task of its batch."""

from __future__ import annotations

import contextlib
import logging
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

from celery.exceptions import Reject

from encord_agents.exceptions import EncordAgentsError, TasksFailedError
from encord_agents.integrations.celery.adapter import Registration
from encord_agents.integrations.celery.at_work import BEAT, Found
from encord_agents.tasks.models import TaskCompletionResult, TaskResult
from encord_agents.tasks.runner.queue_runner import QueueFunction

__all__ = ["IN_QUEUE_FOR", "AgentTasksFailed", "Batch", "Delivery"]

logger = logging.getLogger(__name__)

MAX_LOST = 3
"""Workers that a task may take down with it and be tried again."""
MAX_RETRY_DELAY = 60.0
"""Seconds. A message that waits longer is held by a worker that could be doing something else."""
IN_QUEUE_FOR = 24 * 3600.0
"""Seconds after which a task that was sent, and of which nothing was heard, may be sent again."""
FAILED_FOR = 3600.0
"""Seconds for which a task that has failed is not sent again by polling."""
LOOK_AGAIN_AFTER = 2 * BEAT
"""Seconds after which a task that somebody else has at work is looked at again."""


class AgentTasksFailed(EncordAgentsError):  # noqa: N818 - what Celery shows as the result of a batch
    """Tasks of a batch have failed for good. The message says which, and why; the others of the batch are done."""


@dataclass
class Batch:
    """A message: tasks, and what became so far of those that were in it with them.

    Attributes:
        specs: The tasks, as JSON.
        lost: How many workers were lost over them.
        sure: Whether a holder of whom nothing is heard has been waited for.
        ended: Counts of outcomes.
        errors: What tasks that failed for good failed with.
        first: What tasks that are tried again failed with in their first attempt, by uuid.
    """

    specs: list[dict[str, Any]]
    lost: int = 0
    sure: bool = False
    ended: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def uuids(self) -> list[str]:
        return [spec["uuid"] for spec in self.specs]

    def only(self, uuids: set[str]) -> list[dict[str, Any]]:
        return [spec for spec in self.specs if spec["uuid"] in uuids]

    def message(self) -> dict[str, Any]:
        """As keyword arguments of the Celery task."""
        return asdict(self)


class Delivery:
    """A batch in the hands of a worker.

    Args:
        registration: The runner it is for.
        queue: The name of the stage's Celery task.
        celery_task: That task, bound.
        batch: The batch.
    """

    def __init__(self, registration: Registration, queue: str, celery_task: Any, batch: Batch) -> None:
        self._registration = registration
        self._function: QueueFunction = registration.functions[queue]
        self._queue = queue
        self._task = celery_task
        self._batch = batch
        self._in_flight = registration.adapter.in_flight
        self._at_work = registration.adapter.at_work

    def run(self) -> dict[str, int]:
        """Do what is to be done.

        Returns:
            Counts of outcomes, of all attempts.

        Raises:
            AgentTasksFailed: Tasks failed for good.
            celery.exceptions.Retry: Some are tried again.
            celery.exceptions.Reject: The broker did not take what is to be tried again: all is delivered again.
        """
        batch = self._batch
        try:
            found = self._at_work.begin(self._queue, batch.uuids, redelivered=self._redelivered, sure=batch.sure)
        except Exception as error:
            logger.warning("%s: cannot see what is at work: %s", self._function.stage, error)
            raise Reject(str(error), requeue=True) from error
        state = dict(zip(batch.uuids, found, strict=True))
        lost = batch.only({uuid for uuid, how in state.items() if how is Found.LOST})
        busy = batch.only({uuid for uuid, how in state.items() if how in (Found.BUSY, Found.SILENT)})
        batch.specs = batch.only({uuid for uuid, how in state.items() if how is Found.FREE})
        held = batch.uuids
        try:
            self._wait_for(busy)
            self._send_on(lost)
            if batch.specs:
                with self._note_taking():
                    self._in_flight.extend(self._queue, held, IN_QUEUE_FOR)
                results = self._call()
        except Exception:
            self._at_work.end(self._queue, held)
            raise
        # Not where the process is told to exit in the middle of it, as by a time limit: Celery counts the message as
        # done then, and what is still held is how it is seen that its tasks are not.
        self._at_work.end(self._queue, held)
        if batch.specs:
            self._see_to(results)
        if batch.errors:
            raise AgentTasksFailed(_summary(batch))
        return batch.ended

    @property
    def _redelivered(self) -> bool:
        return bool((self._task.request.delivery_info or {}).get("redelivered"))

    @property
    def _final(self) -> bool:
        return int(self._task.request.retries) >= self._registration.max_retries

    def _wait_for(self, specs: list[dict[str, Any]]) -> None:
        """Another delivery has these at work. It may fail yet, so they are not forgotten, but looked at again."""
        if not specs:
            return
        logger.info("%s: %d task(s) are at work already; looked at again later.", self._function.stage, len(specs))
        waiting = Batch(specs, self._batch.lost, sure=True)
        self._publish(waiting, countdown=LOOK_AGAIN_AFTER)

    def _send_on(self, specs: list[dict[str, Any]]) -> None:
        """A worker was lost over these, perhaps because of one of them. They are tried again, each alone.

        The one that takes its worker down then does so to no other, and after a few times it is given up.
        """
        if not specs:
            return
        again = []
        for spec in specs:
            times = self._at_work.count_lost(self._queue, spec["uuid"], self._batch.lost)
            if times <= MAX_LOST:
                again.append((spec, times))
                continue
            self._end([spec["uuid"]], failed=True)
            self._batch.errors.append(
                f"{spec.get('data_title', spec['uuid'])}: its worker was lost {times} times while it was at work: "
                "killed, out of memory, over the time limit, or a crash in native code."
            )
        if again:
            logger.warning(
                "%s: a worker was lost over %d task(s); they are tried again, each alone.",
                self._function.stage,
                len(again),
            )
        for spec, times in again:
            self._publish(Batch([spec], times))

    def _publish(self, batch: Batch, *, countdown: float | None = None) -> None:
        try:
            with self._note_taking():
                self._in_flight.extend(self._queue, batch.uuids, IN_QUEUE_FOR)
            self._task.apply_async(args=[], kwargs=batch.message(), countdown=countdown)
        except Exception as error:
            raise Reject(str(error), requeue=True) from error

    def _call(self) -> list[TaskResult]:
        try:
            answer = TaskCompletionResult.model_validate_json(
                self._function(list(self._batch.specs), final=self._final)
            )
        except TasksFailedError as failed:  # the stage was decorated with raise_on_failure=True
            answer = failed.report  # type: ignore[assignment]
        except Exception as error:
            # The set-up: every task has this trouble, now. They are left as they are, and polled again.
            if not self._final:
                self._retry(error)
            with self._note_taking():
                self._in_flight.release(self._queue, self._batch.uuids)
            raise
        return answer.results

    def _see_to(self, results: Sequence[TaskResult]) -> None:
        """What became of each task: noted, and tried again where that may end better."""
        batch = self._batch
        failures = [result for result in results if result.outcome == "failed"]
        again = [] if self._final else [result for result in failures if result.retryable]
        failed = [result for result in failures if result not in again]
        counts = Counter[str](result.outcome for result in results if result.outcome != "failed")
        self._end([str(result.task_uuid) for result in results if result.outcome != "failed"], counts=counts)
        self._end([str(result.task_uuid) for result in failed], failed=True)
        batch.ended = dict(Counter(batch.ended) + counts)
        batch.errors += [_describe(result, batch.first.get(str(result.task_uuid))) for result in failed]
        said = _in_words({**counts, "failed": len(failed)})
        logger.info("%s: %s%s", self._function.stage, said, f"; {len(again)} to be tried again" if again else "")
        if again:
            batch.specs = batch.only({str(result.task_uuid) for result in again})
            first = {str(result.task_uuid): _first_line(result) for result in again}
            batch.first = {uuid: batch.first.get(uuid, error) for uuid, error in first.items()}
            after = max(result.retry_after or 0.0 for result in again)
            self._retry(AgentTasksFailed(_describe(again[0])), at_least=after)

    def _end(self, uuids: Sequence[str], *, failed: bool = False, counts: Counter[str] | None = None) -> None:
        if not uuids:
            return
        with self._note_taking():
            self._at_work.forget_lost(self._queue, uuids)
            if failed:
                self._in_flight.fail(self._queue, uuids, FAILED_FOR)
                self._in_flight.ended(self._queue, {"failed": len(uuids)})
            else:
                self._in_flight.release(self._queue, uuids)
                self._in_flight.ended(self._queue, counts or {})

    @contextlib.contextmanager
    def _note_taking(self) -> Iterator[None]:
        """Marks that cannot be set cost another look at a task some day. What is done stays done."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever the store's trouble is
            logger.warning("%s: could not note what became of tasks: %s", self._function.stage, error)

    def _retry(self, why: Exception, *, at_least: float = 0.0) -> NoReturn:
        """Have Celery deliver the batch again, after a while."""
        batch = Batch(self._batch.specs, 0, ended=self._batch.ended, errors=self._batch.errors, first=self._batch.first)
        ceiling = min(self._registration.retry_delay * 2.0**self._task.request.retries, MAX_RETRY_DELAY)
        countdown = max(at_least, ceiling * (0.5 + 0.5 * random.random()))
        self._at_work.end(self._queue, batch.uuids)  # else who takes it at once would find it busy
        try:
            raise self._task.retry(args=[], kwargs=batch.message(), countdown=countdown, exc=why) from why
        except Reject as reject:  # Celery's way to say that it could not be sent: then let all of it come again
            raise Reject(reject.reason, requeue=True) from why


def _first_line(result: TaskResult) -> str:
    return (result.error or "").partition("\n")[0]


def _describe(result: TaskResult, first: str | None = None) -> str:
    where = f" (in {result.phase})" if result.phase else ""
    error = _first_line(result)
    too = f" (first: {first})" if first and first != error else ""
    return f"{result.data_title or result.task_uuid}{where}: {result.error}{too}"


def _summary(batch: Batch) -> str:
    others = f" The others of the batch: {_in_words(batch.ended)}." if any(batch.ended.values()) else ""
    number = len(batch.errors)
    return "\n".join([f"{number} task{'' if number == 1 else 's'} failed for good.{others}", *batch.errors])


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in counts.items() if number) or "nothing done"
