"""One delivery of a message: hold, run and account for each task of its batch."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from celery.exceptions import Reject, Retry
from celery.utils.quorum_queues import detect_quorum_queues

from encord_agents.core.logs import get_logger
from encord_agents.exceptions import EncordAgentsError, TasksFailedError
from encord_agents.integrations.celery.adapter import Registration
from encord_agents.integrations.celery.at_work import Found
from encord_agents.integrations.celery.holds import Holds
from encord_agents.integrations.celery.message import Batch
from encord_agents.integrations.celery.store import BrokerError, Seldom, told
from encord_agents.tasks.models import NO_TASK, TaskCompletionResult, TaskResult
from encord_agents.tasks.runner.queue_runner import QueueFunction

__all__ = ["AgentTasksFailed", "Delivery"]

logger = get_logger(__name__)

_seldom = Seldom()
_refused = 0
"""Messages in a row that this process could only return to the broker."""


class AgentTasksFailed(EncordAgentsError):  # noqa: N818 - Celery shows it as the result of a batch
    """Tasks of a batch failed for good. The message names them, with the reasons; the rest of the batch is done."""


class Delivery:
    """A batch that a worker is working on.

    Args:
        registration: The runner it is for.
        queue: The name of the stage's Celery task.
        celery_task: That task, bound.
        batch: The batch.
        malformed: Failures of the message's entries that name no task.
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
        self._given = batch.uuids
        self._malformed = malformed
        adapter = registration.adapter
        self._in_flight, self._at_work = adapter.marks
        self._timing, self._max_lost = adapter.timing, adapter.limits.lost
        self._holds = Holds(self._at_work, queue, registration.rows, self._row_of)

    def run(self) -> dict[str, int]:
        """Run the batch's tasks.

        Returns:
            Counts of outcomes, of all attempts.

        Raises:
            AgentTasksFailed: Tasks failed for good.
            celery.exceptions.Retry: Some tasks are tried again; or all, once the store of holds can be reached.
            celery.exceptions.Reject: The broker did not accept the tasks to be retried: it redelivers the message.
            BrokerError: It did not, and the message was acknowledged early, or Celery refused them: the next poll sends
                the tasks again.
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
                    self._in_flight.extend(self._queue, batch.uuids, self._timing.in_queue)
                results = self._call()
        except Exception:
            self._holds.end()
            raise
        # Not released if the process is told to exit meanwhile, as by a time limit: Celery then counts the message as
        # done, and only the holds show that its tasks are not.
        self._holds.end()
        if batch.specs:
            self._see_to(results)

    def _row_of(self, spec: dict[str, Any]) -> str:
        """Return the label row of a task. A task that does not name its branch is on the main one."""
        branch = self._function.branch_name or spec.get("label_branch_name", spec.get("labelBranchName")) or "main"
        return f"{spec['data_hash']} {branch}"

    @property
    def _redelivered(self) -> bool:
        return bool((self._task.request.delivery_info or {}).get("redelivered"))

    @property
    def _final(self) -> bool:
        return int(self._task.request.retries) >= self._registration.max_retries

    def _refuse_malformed(self) -> None:
        """Fail the entries that name no task."""
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
        """Redeliver the batch after a growing pause, since the store of holds cannot be reached now.

        The tasks have not begun, so this costs them no attempt.
        """
        batch, request = self._batch, self._task.request
        pause = self._timing.pause_after(batch.refused)
        trouble = self._warn("cannot see which tasks are at work; trying later", error)
        if request.is_eager:  # there is no worker to make the pause
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
        """Return this message unchanged to the broker, after a pause: the broker accepts no new one.

        If Celery refused it before it asked the broker, that would last: the tasks stay in their stage.
        """
        global _refused  # a message that is returned unchanged cannot carry a count
        pause = min(self._timing.pause_after(_refused), self._timing.longest_sleep)
        _refused += 1
        trouble = self._warn("cannot send the tasks to be retried; trying later", refusal)
        # Not late is the user's setting: the broker has forgotten the message, and takes none back.
        if isinstance(refusal, ValueError) or not self._task.acks_late:
            with self._note_taking():
                self._in_flight.release(self._queue, self._given)
            raise trouble
        time.sleep(pause)
        raise Reject(str(refusal), requeue=True) from None

    def _wait_for(self, specs: list[dict[str, Any]]) -> None:
        """Look at these again later: another delivery is working on them, and may still fail."""
        if not specs:
            return
        eager = self._task.request.is_eager  # its "later" is now, again and again
        logger.info(
            "%s: %d task(s) or their label rows are at work already; %s.",
            self._function.stage,
            len(specs),
            "enqueue sends them another time" if eager else "looking again later",
        )
        if eager:
            with self._note_taking():
                self._in_flight.release(self._queue, [spec["uuid"] for spec in specs])
            return
        waiting = Batch(specs, self._batch.lost, sure=True, first=self._batch.first)
        self._publish(waiting, countdown=self._timing.look_again)

    def _send_on(self, specs: list[dict[str, Any]]) -> None:
        """Retry each task in a message of its own: a worker was lost over them, perhaps because of one.

        A poison task then takes no other task down with it, and is given up after some lost workers.
        """
        if not specs:
            return
        again = []
        for spec in specs:
            times = self._batch.lost + 1  # if the store cannot be reached
            with self._note_taking():
                times = self._at_work.count_lost(self._queue, spec["uuid"], self._batch.lost)
            if times <= self._max_lost:
                again.append((spec, times))
                continue
            self._end([spec["uuid"]], failed=True)
            self._batch.errors.append(
                f"{spec.get('data_title', spec['uuid'])}: its worker was lost {times} times while working on it: "
                "killed, out of memory, over the time limit, or a crash in native code."
            )
        if again:
            logger.warning(
                "%s: a worker was lost over %d task(s); retrying each in a message of its own.",
                self._function.stage,
                len(again),
            )
        for spec, times in again:
            self._publish(Batch([spec], times, first=self._batch.first))

    def _publish(self, batch: Batch, *, countdown: float | None = None) -> None:
        """Send tasks that this delivery does not try: their next attempt has the number that it has now."""
        try:
            # Marked first: a quick worker could otherwise end the task before its mark is extended.
            with self._note_taking():
                self._in_flight.extend(self._queue, batch.uuids, self._timing.in_queue)
            retries = self._task.request.retries
            self._task.apply_async(args=[], kwargs=batch.message(), countdown=countdown, retries=retries)
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
            # The set-up is wrong, so every task would fail now. The tasks stay as they are, and are polled again.
            if not self._final:
                self._retry(error)
            with self._note_taking():
                self._in_flight.release(self._queue, self._batch.uuids)
            raise
        return answer.results

    def _see_to(self, results: Sequence[TaskResult]) -> None:
        """Record the outcome of each task, and retry those that may succeed another time."""
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
        logger.info("%s: %s%s", self._function.stage, said, f"; {len(again)} to be retried" if again else "")
        if again:
            batch.specs = batch.only({str(result.task_uuid) for result in again})
            first = {str(result.task_uuid): _first_line(result) for result in again}
            batch.first = {uuid: batch.first.get(uuid, error) for uuid, error in first.items()}
            # All go into one message, so the longest wait counts.
            after = max(result.retry_after or 0.0 for result in again)
            self._retry(AgentTasksFailed(_describe(again[0])), at_least=after)

    def _end(self, uuids: Sequence[str], *, failed: bool = False, counts: Counter[str] | None = None) -> None:
        if not uuids:
            return
        with self._note_taking():
            self._at_work.forget_lost(self._queue, uuids)
            if failed:
                self._in_flight.fail(self._queue, uuids, self._timing.failed)
                self._in_flight.ended(self._queue, {"failed": len(uuids)})
            else:
                self._in_flight.release(self._queue, uuids)
                self._in_flight.ended(self._queue, counts or {})

    @contextlib.contextmanager
    def _note_taking(self) -> Iterator[None]:
        """Log errors of the marks and go on: a missing mark costs another look at a task, and undoes no work."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever the store's trouble is
            self._warn("could not record the outcome of tasks", error)

    def _warn(self, problem: str, error: Exception) -> BrokerError:
        """Return an error as a message for a person, and log it, but not the same problem for every message."""
        trouble = told(error, self._registration.adapter.prefix)
        if _seldom(f"{problem} {type(error)}"):
            logger.warning("%s: %s. %s", self._function.stage, problem, trouble)
        return trouble

    def _retry(self, why: Exception, *, at_least: float = 0.0) -> NoReturn:
        """Ask Celery to redeliver the batch, with exponential backoff."""
        batch = Batch(self._batch.specs, 0, ended=self._batch.ended, errors=self._batch.errors, first=self._batch.first)
        # Jitter keeps batches that failed together from coming back together.
        delay = self._registration.retry_delay * 2.0 ** min(self._task.request.retries, 32)
        ceiling = min(delay, self._timing.longest_retry_delay)
        countdown = max(at_least, ceiling * (0.5 + 0.5 * random.random()))
        app = self._registration.app
        if 0 < countdown < 1 and detect_quorum_queues(app, app.connection_for_write().transport.driver_type)[0]:
            countdown = 1.0  # RabbitMQ's quorum queues delay by whole seconds, and Celery refuses less than one
        self._holds.end()  # first, since another worker may receive the retry at once and must not find it busy
        try:
            raise self._task.retry(args=[], kwargs=batch.message(), countdown=countdown, exc=why) from why
        except Reject as reject:  # Celery's way to say that the retry could not be sent: redeliver everything
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
