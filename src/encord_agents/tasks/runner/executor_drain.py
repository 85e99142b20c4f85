"""A stage's turn over an executor that was given: its driver, mapped over batches, whose messages are replayed.

An executor only answers a call, so it cannot promise all that processes of our own do: events arrive when their batch
is answered; a worker has one batch at a time, loads nothing ahead of it, and waits through the delays of its retries;
nobody is blamed for a worker that dies, which ends the run; and a batch in another process cannot be stopped.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any

from encord_agents.exceptions import PrintableError
from encord_agents.tasks.engine.context import Agent
from encord_agents.tasks.engine.events import AttemptFailed
from encord_agents.tasks.engine.outcome import Failed, Fault, Phase
from encord_agents.tasks.runner import messages
from encord_agents.tasks.runner.messages import WorkerError
from encord_agents.tasks.runner.queue_function import QueueFunction
from encord_agents.tasks.runner.stage_drain import DrainRun, Hand, StageDrain
from encord_agents.tasks.runner.workers import ExecutorWorkers

__all__ = ["ExecutorDrain"]

CANCELLED = "Its batch was cancelled twice, by somebody else. It is not known whether its tasks were worked on."

CANCELLED_FIRST = (
    "The executor cancelled the first call, which only tries whether its workers can work. Nothing was done."
)


class ExecutorDrain(StageDrain):
    """One agent's turn over an executor.

    Args:
        function: Serves the agent's stage in the workers.
    """

    def __init__(self, run: DrainRun, agent: Agent, function: QueueFunction, workers: ExecutorWorkers) -> None:
        super().__init__(run, agent, workers.most_out)
        self._function = function
        self._workers = workers
        self._out: dict[Future[list[Any] | None], Hand] = {}
        self._shows_running = False

    @property
    def _all_hands(self) -> Collection[Hand]:
        return self._out.values()

    @property
    def _is_out(self) -> bool:
        return bool(self._out)

    def _held_back(self) -> float:
        return self._history.quiet.wait(self._run.gate.clock()) if self._waits or self._backlog.available else 0.0

    def _send(self) -> None:
        while not self._closing and (self._waits or self._backlog.available) and not self._held_back():
            hand = Hand()
            if not self._workers.is_untried:
                if not self._workers.room or self._busy >= self._most_busy:
                    return
                if not (some := self._next(self._options.batch_size)):
                    return
                # An executor may keep them for long: whoever gets them asks for them.
                tasks = [replace(one, age=math.inf) for one in self._give(hand, some)]
            else:
                tasks = []  # to see whether a worker can work
            try:
                self._out[self._workers.submit(self._function, tasks)] = hand
            except Exception as error:  # noqa: BLE001 - an executor that takes nothing ends the run
                self._fail(error)

    def _collect(self, timeout: float) -> None:
        done, running = wait(self._out, timeout, FIRST_COMPLETED)
        self._shows_running = self._shows_running or any(future.running() for future in running)
        for future in [future for future in self._out if future in done]:
            hand = self._out.pop(future)
            if future.cancelled():
                self._cancelled(hand)
            elif (error := future.exception()) is not None:
                self._fail(error)
            else:
                self._replay(hand, future.result() or [])
            for uuid in tuple(hand.tasks):  # those without an outcome stay in their stage
                self._take_back(hand, uuid)
            self._send_down()

    def _replay(self, hand: Hand, said: list[Any]) -> None:
        # A task that did well is known before another one is blamed for a failure that all would share.
        for good in (message for message in said if isinstance(message, messages.Succeeded)):
            self._history.has_succeeded = True
            self._history.has_named_a_pathway |= good.named_a_pathway
        for message in said:
            self._hear(hand, message)
            if isinstance(message, messages.Ended) and message.hold_back > 0:
                self._history.quiet.hold_back(message.hold_back, self._run.gate.clock())

    def _cancelled(self, hand: Hand) -> None:
        """Send a batch once more that somebody else has cancelled."""
        if self._closing:
            return
        if not hand.tasks:
            self._fail(PrintableError(CANCELLED_FIRST))
        for uuid in tuple(hand.tasks):
            if (sent := self._take_back(hand, uuid)) is None:
                continue
            if not sent.lost:  # its tasks may have moved all the same
                sent.lost = True
                self._again.append(sent)
                continue
            fault = Fault(Phase.LOAD, WorkerError(CANCELLED), 1)
            self._run.events.emit(AttemptFailed(self._agent.ref(sent.task), fault, None))
            self._finish(sent, Failed(fault), 1)

    def _wind_up(self) -> None:
        """Call back the batches that wait; of those at work, finished tasks count."""
        if self._out:
            self._workers.stop()
            # Some executors never show a batch as running: there, one that is called back may be at work.
            if self._shows_running or any(future.running() for future in self._out):
                self._out = {future: hand for future, hand in self._out.items() if not future.cancel()}
        while self._out and not self._run.stop.leaving:
            self._collect(self._run.gate.timing.tick)
