"""A queue function: how engines see it, and how it lists what waits."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from encord.workflow.stages.agent import AgentTask

from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

runner = QueueRunner(UUID(int=1))


@runner.stage("Pre-label")
def pre_label(task: AgentTask) -> str:
    """Label a file."""
    return "complete"


def test_how_engines_see_it() -> None:
    """By the agent's name and documentation, with parameters of its own, and sent by its name."""
    assert (pre_label.__name__, pre_label.__doc__) == ("pre_label", "Label a file.")
    assert list(inspect.signature(pre_label).parameters) == ["json_strs", "final"]
    assert list(inspect.signature(pre_label.__call__).parameters) == ["json_strs", "final"]
    assert pickle.loads(pickle.dumps(pre_label)) is pre_label
    assert repr(pre_label) == "<queue function pre_label of stage 'Pre-label'>"
    assert pre_label.branch_name is None
    assert runner._connection is None, "nothing of this connects"


def score(task: AgentTask, *, threshold: float) -> str:
    """Compare a score."""
    return "complete"


score = runner.stage("Score")(functools.partial(score, threshold=0.9))  # type: ignore[assignment]


def test_a_partial() -> None:
    """It has the names and the documentation of the function in it, so that it is found in that one's module."""
    assert (score.__module__, score.__qualname__, score.__doc__) == (__name__, "score", "Compare a score.")
    assert pickle.loads(pickle.dumps(score)) is score
    named = functools.partial(pre_label.agent)
    named.__name__ = "named"  # type: ignore[attr-defined]
    assert QueueRunner(UUID(int=1)).stage("Pre-label")(named).__name__ == "named"
    assert score.__wrapped__ is score.agent  # type: ignore[attr-defined]


class Detector:
    def __init__(self) -> None:
        self.connect, self.waiting, self.agent, self.size = "postgres://models", [1], "large", 3

    def __call__(self, task: AgentTask) -> str:
        return "complete"


def test_attributes_of_the_agents_own(world: World) -> None:
    """They are there, but hide no method."""
    detector = Detector()
    served = QueueRunner(world.project.project_hash, user_client=world.client)
    function = served.stage("Pre-label")(detector)
    world.project.add_placeholders(2)
    assert [function(spec) for spec in function.waiting()]
    assert (function.agent, function.size) == (detector, 3)  # type: ignore[attr-defined]
    served.close()


def test_tasks_that_are_none_cost_no_request(world: World) -> None:
    """The others of the call are done; results come in the order of the tasks."""
    served = QueueRunner(world.project.project_hash, user_client=world.client)
    function = served.stage("Pre-label")(lambda: "complete")
    world.project.add_placeholders(1)
    (spec,) = function.waiting()
    world.platform.journal.clear()
    answer = TaskCompletionResult.model_validate_json(function(["x", spec, spec]))
    assert [result.outcome for result in answer.results] == ["failed", "moved", "moved"]
    assert answer.results[0].phase == "spec"
    assert len(world.requests("actions")) == 1
    function(json_strs="x")  # the name of 0.2.10
    served.close()


@pytest.fixture
def served(world: World) -> Iterator[Any]:
    """A function whose stage has five pages, with tokens that are offsets."""
    world.platform.settings.page_size = 4
    world.platform.settings.page_tokens = "offset"
    world.project.add_placeholders(20)
    queue = QueueRunner(world.project.project_hash, user_client=world.client)
    yield queue.stage("Pre-label")(lambda: "complete")
    queue.close()


def test_tasks_that_move_while_pages_are_read(world: World, served: Any) -> None:
    """Each moves others up, past the place where the next page begins. Told of moves, it reads the stage again."""
    moves = 0

    def move(number: int) -> None:
        nonlocal moves
        for task in world.project.tasks("Pre-label")[:number]:
            world.project.move(task.uuid, "Done")
            moves += 1

    shown = []
    for spec in served.waiting(moves=lambda: moves):
        shown.append(spec)
        if len(shown) == 4:
            move(4)
    assert len(set(shown)) == len(shown) == 20


def test_nothing_moves(world: World, served: Any) -> None:
    """The pages are read once."""
    world.platform.journal.clear()
    assert len(list(served.waiting(moves=lambda: 0))) == 20
    once = len(world.requests("tasks"))
    world.platform.journal.clear()
    assert len(list(served.waiting())) == 20
    assert len(world.requests("tasks")) == once


def test_moves_without_end(world: World, served: Any) -> None:
    """A reading that shows nothing new is the last, however much moves."""
    counts = iter(range(1000))
    world.platform.journal.clear()
    assert len(list(served.waiting(moves=lambda: next(counts)))) == 20
    assert next(counts) < 10
