"""Labels that somebody else has saved since they were loaded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from encord.objects import LabelRowV2
from tests.stage_runs import stage_run, waiting

from encord_agents.tasks.engine.changes import LabelsChangedError, changed_labels
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.stage_run import StageRun

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def loaded(world: World) -> tuple[StageRun, list[Context]]:
    """Three tasks, of which somebody saves the second's labels after they were loaded."""
    world.project.add_placeholders(3, title="file {index}")

    def agent(label_row: LabelRowV2) -> None: ...

    run = stage_run(world, agent)
    contexts, _ = run.load(waiting(run), run.gate.clock())
    person = world.platform.client(retries=False).get_project(world.project.project_hash)
    (row,) = person.list_label_rows_v2(data_hashes=[str(contexts[1].task.data_hash)])
    row.initialise_labels()
    world.mark(row)
    row.save()
    world.platform.journal.clear()
    return run, contexts


def test_somebody_elses(world: World, loaded: tuple[StageRun, list[Context]]) -> None:
    """They are found with one request, however many tasks there are."""
    run, contexts = loaded
    found = changed_labels(run.loader, [(context, None) for context in contexts], same_edit=1e-6)
    assert [*found] == [id(contexts[1])]
    (error,) = found.values()
    assert isinstance(error, LabelsChangedError)
    assert "'file 1'" in str(error)
    assert world.requests() == ["rows"]


def test_the_agents_own(loaded: tuple[StageRun, list[Context]], caplog: pytest.LogCaptureFixture) -> None:
    """An agent that has made requests may have saved them itself: that is logged, and no error."""
    run, contexts = loaded
    contexts[1].used_client = True
    with caplog.at_level(logging.WARNING, logger="encord_agents"):
        assert not changed_labels(run.loader, [(context, None) for context in contexts], same_edit=1e-6)
    (record,) = caplog.records
    assert "file 1 (" in record.getMessage()


def test_a_row_that_the_agent_has_loaded_later(world: World, loaded: tuple[StageRun, list[Context]]) -> None:
    """Nobody has saved that one since."""
    run, contexts = loaded
    (row,) = run.project.list_label_rows_v2(data_hashes=[str(contexts[1].task.data_hash)])
    assert not changed_labels(run.loader, [(contexts[1], row)], same_edit=1e-6)


def test_saves_at_nearly_the_same_time(loaded: tuple[StageRun, list[Context]]) -> None:
    """They count as one: the platform's times of one save may differ."""
    run, contexts = loaded
    assert not changed_labels(run.loader, [(context, None) for context in contexts], same_edit=3600)
