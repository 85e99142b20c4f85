"""The deprecated way to storage items, as existing agents use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import pytest
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.data_lookup import DataLookup
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import dep_data_lookup

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.mark.filterwarnings("ignore:.* is deprecated. Ask for the StorageItem:DeprecationWarning")
def test_an_agent_looks_up_its_item(world: World) -> None:
    """By the task's data hash, with one lookup for the run."""
    world.project.add_placeholders(3)
    seen: list[tuple[str, str]] = []
    lookups: set[int] = set()

    def agent(task: AgentTask, lookup: Annotated[DataLookup, Depends(dep_data_lookup)]) -> str:
        lookups.add(id(lookup))
        seen.append((task.data_title, lookup.get_storage_item(task.data_hash).name))
        assert len(lookup.backing_item_uuids) == 3
        with pytest.raises(ValueError, match="no data row"):
            lookup.get_data_row(uuid4())
        return "complete"

    assert world.run(agent).failures == []
    assert len(seen) == 3
    assert all(title == name for title, name in seen)
    assert len(lookups) == 1


def test_it_says_that_it_is_deprecated(world: World) -> None:
    """And what to ask for instead."""
    project = world.client.get_project(world.project.project_hash)
    with pytest.deprecated_call(match="Ask for the StorageItem"):
        DataLookup.sharable(project, world.client)
