"""When results are written, and when they wait before they move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.stage_runs import Clock, stage_run, waiting

from encord_agents.tasks.engine.context import Result
from encord_agents.tasks.engine.window import Window
from encord_agents.tasks.engine.write_behind import WriteBehind

if TYPE_CHECKING:
    from tests.conftest import World


class Behind:
    """The results of some tasks, in a window whose threads the test plays."""

    def __init__(self, world: World, tasks: int, *, size: int = 100, reading: bool = True) -> None:
        world.project.add_placeholders(tasks)
        self.clock = Clock()
        self.run = stage_run(world, lambda: "complete", clock=self.clock)
        self.window = Window(self.run, size, 1, lambda: False)
        self.writes = WriteBehind(self.window)
        backlog = self.window.backlog
        backlog.begin_reading()
        for task in waiting(self.run):
            backlog.add(task, self.clock())
        taken = backlog.take(tasks)
        if not reading:
            backlog.end_reading()
        contexts, _ = self.run.load([one.task for one in taken], self.clock())
        pathway = self.run.agent.pathways.find("complete")
        self.results = [Result(context, pathway, finished_at=self.clock()) for context in contexts]

    def read_again(self) -> None:
        """Begin another reading of the stage, which moves must not disturb."""
        self.window.backlog.begin_move()
        self.window.backlog.end_move()
        self.window.backlog.end_reading()
        self.window.backlog.begin_reading()


def test_results_are_gathered(world: World) -> None:
    """Until there are enough for a request, or the first has waited for a second."""
    behind = Behind(world, 30)
    behind.writes.finished.extend(behind.results[:24])
    assert not behind.writes.should_write()
    behind.writes.finished.append(behind.results[24])
    assert behind.writes.should_write()
    behind.writes.finished.pop()
    behind.clock.now += behind.run.gate.timing.gather
    assert behind.writes.should_write()


def test_the_last_results_are_written_at_once(world: World) -> None:
    """Where nothing else can go on, there is nothing to gather with."""
    behind = Behind(world, 2, reading=False)
    behind.writes.finished.extend(behind.results[:1])
    assert not behind.writes.should_write()
    behind.writes.finished.append(behind.results[1])
    assert behind.writes.should_write()


def test_moves_wait_while_a_stage_is_read_again(world: World) -> None:
    """For some seconds at most; the first reading holds nothing up."""
    behind = Behind(world, 2)
    assert not behind.writes._must_hold(behind.results)
    behind.read_again()
    assert behind.writes._must_hold(behind.results)
    behind.clock.now += behind.run.gate.timing.hold_moves
    assert not behind.writes._must_hold(behind.results)


def test_moves_do_not_wait_at_the_end(world: World) -> None:
    """When no attempt will be made any more, everything is written."""
    behind = Behind(world, 2)
    behind.read_again()
    behind.window.executed = True
    assert not behind.writes._must_hold(behind.results)


def test_what_must_not_move_yet_is_held(world: World) -> None:
    """It is saved, and is not taken for finished again."""
    behind = Behind(world, 2)
    behind.read_again()
    behind.writes.finished.extend(behind.results)
    behind.window.executed = False
    batch = [behind.writes.finished.popleft() for _ in range(2)]
    behind.writes._write_batch(batch, behind.run.writer())
    assert (list(behind.writes.held), batch) == (behind.results, [])
    assert behind.writes.waiting == 2
    assert world.count("Pre-label") == 2
    behind.clock.now += behind.run.gate.timing.hold_moves
    behind.window.executed = True
    behind.writes.write()
    assert world.count("Done") == 2
    assert behind.writes.is_saved()
    assert behind.window.open == set()


def test_nothing_is_taken_after_giving_up(world: World) -> None:
    """Results that were listed as unwritten are not written behind the report's back."""
    behind = Behind(world, 2)
    behind.writes.finished.extend(behind.results)
    behind.window.give_up = True
    behind.writes.write()
    assert behind.writes.left == behind.results
    assert world.count("Pre-label") == 2
