"""One delivery of a message: what is done with each task of its batch."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from celery.exceptions import Reject, Retry

from encord_agents.exceptions import EncordAgentsError, TasksFailedError
from encord_agents.integrations.celery.adapter import Registration
from encord_agents.integrations.celery.at_work import BEAT, Found
from encord_agents.integrations.celery.holds import Holds
from encord_agents.integrations.celery.message import Batch
from encord_agents.integrations.celery.store import Seldom, pause_after, told
from encord_agents.tasks.models import NO_TASK, TaskCompletionResult, TaskResult
from encord_agents.tasks.runner.queue_runner import QueueFunction

__all__ = ["IN_QUEUE_FOR", "AgentTasksFailed", "Delivery"]

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
LONGEST_SLEEP = 10.0
"""Seconds that a worker sleeps, at most, before it gives a message back to a broker that takes no other: it can do
nothing else meanwhile, nor end."""

_seldom = Seldom()
_refused = 0
"""How many messages in a row this process could only give back."""


class AgentTasksFailed(EncordAgentsError):  # noqa: N818 - what Celery shows as the result of a batch
    """Tasks of a batch have failed for good. The message says which, and why; the others of the batch are done."""


class Delivery:
    """A batch in the hands of a worker.

    Args:
        registration: The runner it is for.
        queue: The name of the stage's Celery task.
        celery_task: That task, bound.
        batch: The batch.
        malformed: What was in the message and names no task.
    """

    def __init__(
        self,
        registration: Registration,
        queue: str,
        celery_task: Any,
        batch: Batch,
        malformed: Sequence[TaskResult] = (),
    ) -> None:
        self._registration = registration
        self._function: QueueFunction = registration.functions[queue]
        self._queue = queue
        self._task = celery_task
        self._batch = batch
        self._malformed = malformed
        self._in_flight = registration.adapter.in_flight
        self._at_work = registration.adapter.at_work
        self._holds = Holds(self._at_work, queue, registration.rows, self._row_of)

    def run(self) -> dict[str, int]:
        """Do what is to be done.

        Returns:
            Counts of outcomes, of all attempts.

        Raises:
            AgentTasksFailed: Tasks failed for good.
            celery.exceptions.Retry: Some are tried again, or all, when the store of holds can be asked.
            celery.exceptions.Reject: The broker did not take what is to be tried again: all is delivered again.
        """
        batch = self._batch
        self._refuse_malformed()
        if batch.specs:
            self._work()
        if batch.errors:
            raise AgentTasksFailed(_summary(batch))
        return batch.ended

    def _work(self) -> None:
        batch = self._batch
        try:
            state = self._holds.begin(batch.specs, redelivered=self._redelivered, sure=batch.sure)
        except Exception as error:  # noqa: BLE001 - the message is well-formed, so the trouble is the store's
            self._ask_again_later(error)
        lost = batch.only({uuid for uuid, how in state.items() if how is Found.LOST})
        busy = batch.only({uuid for uuid, how in state.items() if how in (Found.BUSY, Found.SILENT)})
        batch.specs = batch.only({uuid for uuid, how in state.items() if how is Found.FREE})
        try:
            self._wait_for(busy)
            self._send_on(lost)
            if batch.specs:
                with self._note_taking():
                    self._in_flight.extend(self._queue, batch.uuids, IN_QUEUE_FOR)
                results = self._call()
        except Exception:
            self._holds.end()
            raise
        # Not where the process is told to exit in the middle of it, as by a time limit: Celery counts the message as
        # done then, and what is still held is how it is seen that its tasks are not.
        self._holds.end()
        if batch.specs:
            self._see_to(results)

    def _row_of(self, spec: dict[str, Any]) -> str:
        """The label row of a task. One that does not name its branch is given the main one's."""
        branch = self._function.branch_name or spec.get("label_branch_name", spec.get("labelBranchName")) or "main"
        return f"{spec['data_hash']} {branch}"

    @property
    def _redelivered(self) -> bool:
        return bool((self._task.request.delivery_info or {}).get("redelivered"))

    @property
    def _final(self) -> bool:
        return int(self._task.request.retries) >= self._registration.max_retries

    def _refuse_malformed(self) -> None:
        """Fail what names no task."""
        malformed = self._malformed
        if not malformed:
            return
        self._batch.errors += [_describe(result) for result in malformed]
        self._end([str(result.task_uuid) for result in malformed if result.task_uuid != NO_TASK], failed=True)
        if nameless := sum(result.task_uuid == NO_TASK for result in malformed):
            with self._note_taking():
                self._in_flight.ended(self._queue, {"failed": nameless})
        logger.warning("%s: %d malformed task(s) in a message.", self._function.stage, len(malformed))

    def _ask_again_later(self, error: Exception) -> NoReturn:
        """Have the batch delivered again after a pause that grows: the store of holds cannot be asked now.

        Nothing is spent on it: not the attempts of the tasks, which have not begun.
        """
        trouble, batch, request = told(error, self._registration.adapter.prefix), self._batch, self._task.request
        pause = pause_after(batch.refused)
        if _seldom(f"begin {type(error)}"):
            logger.warning("%s: cannot see what is at work; asked again later. %s", self._function.stage, trouble)
        if request.is_eager:  # a worker's pauses are none here
            raise trouble from error
        again = self._task.signature_from_request(
            request,
            args=[],
            kwargs=replace(batch, refused=batch.refused + 1).message(),
            countdown=pause,
            retries=request.retries,
        )
        try:
            again.apply_async()
        except Exception as refusal:  # noqa: BLE001 - whatever the broker's trouble is
            self._give_back(refusal)
        _accepted()
        raise Retry(f"asked again in {pause:g} s", exc=trouble, when=pause) from None

    def _give_back(self, refusal: Exception) -> NoReturn:
        """Have the broker deliver this message again, as it is, after a pause: it takes no other."""
        global _refused  # a message that is given back cannot count
        pause = min(pause_after(_refused), LONGEST_SLEEP)
        _refused += 1
        if _seldom(f"publish {type(refusal)}"):
            trouble = told(refusal, self._registration.adapter.prefix)
            logger.warning("%s: cannot send what is tried again; tried later. %s", self._function.stage, trouble)
        time.sleep(pause)
        raise Reject(str(refusal), requeue=True) from None

    def _wait_for(self, specs: list[dict[str, Any]]) -> None:
        """Another delivery has these at work. It may fail yet, so they are not forgotten, but looked at again."""
        if not specs:
            return
        logger.info(
            "%s: %d task(s) or their label rows are at work already; looked at again later.",
            self._function.stage,
            len(specs),
        )
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
            times = self._batch.lost + 1  # where the store cannot be asked
            with self._note_taking():
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
        except Exception as error:  # noqa: BLE001 - whatever the broker's trouble is
            self._give_back(error)
        _accepted()

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
            if _seldom(f"note {type(error)}"):
                trouble = told(error, self._registration.adapter.prefix)
                logger.warning("%s: could not note what became of tasks. %s", self._function.stage, trouble)

    def _retry(self, why: Exception, *, at_least: float = 0.0) -> NoReturn:
        """Have Celery deliver the batch again, after a while."""
        batch = Batch(self._batch.specs, 0, ended=self._batch.ended, errors=self._batch.errors, first=self._batch.first)
        ceiling = min(self._registration.retry_delay * 2.0**self._task.request.retries, MAX_RETRY_DELAY)
        countdown = max(at_least, ceiling * (0.5 + 0.5 * random.random()))
        self._holds.end()  # else who takes it at once would find it busy
        try:
            raise self._task.retry(args=[], kwargs=batch.message(), countdown=countdown, exc=why) from why
        except Reject as reject:  # Celery's way to say that it could not be sent: then let all of it come again
            self._give_back(reject.reason)


def _accepted() -> None:
    global _refused
    _refused = 0


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
