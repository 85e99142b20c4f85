"""Loading of tasks in the background, some at a time, as far ahead as the pace allows."""

from __future__ import annotations

from encord.workflow.stages.agent import AgentTask

from encord_agents.tasks.engine.files_ahead import FilesAhead
from encord_agents.tasks.engine.window import Window

__all__ = ["load_ahead", "load_next"]


def load_ahead(window: Window, files: FilesAhead) -> None:
    """Load tasks of the backlog into the window, in one of several threads, until no more will come."""
    while load_next(window, files):
        pass


def load_next(window: Window, files: FilesAhead) -> bool:
    """Load the next tasks, once there are some and slots for them. Return False if no more will come."""
    if (chunk := _take(window)) is None:
        return False
    first, tasks, polled_at = chunk
    try:
        contexts, left = window.run.load(tasks, polled_at)
    except BaseException:
        with window.lock:
            window.loading -= 1  # otherwise the ready queue would wait for tasks that never come
        raise
    by_uuid = {context.task.uuid: context for context in contexts}
    for task in left:
        window.run.skip(task)  # not under the lock: observers are the user's code
    with window.lock:
        # In one step with adding the tasks: a moment with neither would look like the end of the stage.
        window.loading -= 1
        for number, task in enumerate(tasks, first):
            context = by_uuid.get(task.uuid)
            if context is None:
                window.ready[number] = None
                window.leave(task.uuid, left=True, unused=True)
            elif context.asset is not None:
                files.add(number, context)
            else:
                window.ready[number] = context
        files.pump()
        window.wake_all()
    return True


def _take(window: Window) -> tuple[int, list[AgentTask], float] | None:
    """Return tasks to load, with the number of the first and the time at which all were still in the stage."""
    with window.lock:
        while True:
            if window.closing:
                return None
            room = window.size - len(window.open)
            if window.may_take() and (taken := window.backlog.take(min(window.to_take, room))):
                break
            window.takeable.wait(window.run.gate.timing.tick)
        window.stirred_at = window.run.gate.clock()
        first = window.next
        window.next += len(taken)
        window.loads += 1
        window.loading += 1
        window.room.notify()
        if window.may_take():
            window.takeable.notify()  # each loader wakes the next, so that no more wake than there is work for
        return first, [waiting.task for waiting in taken], min(waiting.seen_at for waiting in taken)
