"""Loading tasks in the background, some at a time, as far ahead as their pace allows."""

from __future__ import annotations

from encord.workflow.stages.agent import AgentTask

from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.window import Window

__all__ = ["BackgroundLoader"]


class BackgroundLoader:
    """Takes tasks from the backlog, loads them, and puts them in the window, in threads."""

    def __init__(self, window: Window, files: FilesAhead) -> None:
        self.run = window.run
        self._window = window
        self._files = files
        self._timing = window.run.gate.timing

    def load(self) -> None:
        while (chunk := self._take()) is not None:
            first, tasks, polled_at = chunk
            try:
                contexts, left = self.run.load(tasks, polled_at)
            except BaseException:
                with self._window.lock:
                    self._window.loading -= 1  # else the queue would wait for tasks that never come
                raise
            by_uuid = {context.task.uuid: context for context in contexts}
            for task in left:
                self.run.skip(task)  # not under the lock: observers are the user's code
            with self._window.lock:
                # In one step with the tasks' coming: a moment without either would look like the end of the stage.
                self._window.loading -= 1
                for number, task in enumerate(tasks, first):
                    context = by_uuid.get(task.uuid)
                    if context is None:
                        self._window.ready[number] = None
                        self._window.leave(task.uuid, unused=True)
                    elif context.asset is not None:
                        self._files.add(number, context)
                    else:
                        self._window.ready[number] = context
                self._files.pump()
                self._window.wake_all()

    def _take(self) -> tuple[int, list[AgentTask], float] | None:
        """Return the next chunk to load, when there are tasks and slots for it; ``None`` if there will be no more."""
        with self._window.lock:
            while True:
                if self._window.closing:
                    return None
                room = self._window.size - len(self._window.open)
                if self._window.may_take() and (taken := self._window.backlog.take(min(self._window.to_take, room))):
                    break
                self._window.takeable.wait(self._timing.tick)
            self._window.open.update(waiting.task.uuid for waiting in taken)
            self._window.stirred_at = self.run.gate.clock()
            first = self._window.next
            self._window.next += len(taken)
            self._window.loads += 1
            self._window.loading += 1
            self._window.room.notify()
            if self._window.may_take():
                self._window.takeable.notify()  # one wakes the next, so that no more wake than there is work for
            return first, [waiting.task for waiting in taken], min(waiting.seen_at for waiting in taken)
