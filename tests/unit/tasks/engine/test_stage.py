"""Names and uuids to stages and pathways, on the workflow that the SDK reads from the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from encord_agents.exceptions import UnknownPathwayError, UnknownStageError
from encord_agents.local import AgentStage, Stage, Workflow
from encord_agents.tasks.engine.stage import Pathways, as_uuid, find_stage

if TYPE_CHECKING:
    from encord_agents.local import LocalPlatform

TEXT = "12345678-1234-4234-8234-123456789abc"


@pytest.mark.parametrize("given", [UUID(TEXT), TEXT, TEXT.upper(), TEXT.replace("-", ""), f"{{{TEXT}}}"])
def test_what_is_a_uuid(given: Any) -> None:
    """In every form that a uuid is written."""
    assert as_uuid(given) == UUID(TEXT)


@pytest.mark.parametrize("given", ["", "Pre-label", "1234", None, 7, b"x"])
def test_what_is_not(given: Any) -> None:
    """Titles, and whatever else somebody may give."""
    assert as_uuid(given) is None


@pytest.fixture
def stages(local_platform: LocalPlatform) -> list[Any]:
    workflow = Workflow(
        [
            AgentStage("Pre-label", {"go": "Triage", "also": "Triage", "end": "Done", "Done": "Review"}),
            AgentStage("Triage", {"end": "Done"}),
            AgentStage(TEXT, {"end": "Done"}),
            Stage("Review", "review"),
            Stage("Done", "done"),
        ]
    )
    project = local_platform.create_project(workflow=workflow)
    return local_platform.client().get_project(project.project_hash).workflow.stages


def test_a_stage_by_title_or_uuid(stages: list[Any]) -> None:
    """A title that looks like a uuid is a title where no stage has that uuid."""
    triage = stages[1]
    for given in ("Triage", triage.uuid, str(triage.uuid)):
        assert find_stage(stages, given) is triage
    assert find_stage(stages, TEXT).title == TEXT


@pytest.mark.parametrize("given", ["triage ", "Pre-labl", "", uuid4(), "Done", "Review"])
def test_no_such_stage(stages: list[Any], given: Any) -> None:
    """The error lists the agent stages."""
    with pytest.raises(UnknownStageError) as caught:
        find_stage(stages, given)
    assert [stage.title for stage in caught.value.valid] == ["Pre-label", "Triage", TEXT]


def test_a_pathway_by_name_or_uuid(stages: list[Any]) -> None:
    """Names come before the titles of destinations."""
    pathways = Pathways(stages[0], stages)
    for pathway in pathways.all:
        assert pathways.find(pathway.name) is pathway
        assert pathways.find(pathway.uuid) is pathway
        assert pathways.find(str(pathway.uuid).upper()) is pathway


def test_no_such_pathway(stages: list[Any]) -> None:
    """A destination is suggested only where exactly one pathway leads there."""
    pathways = Pathways(stages[0], stages)
    with pytest.raises(UnknownPathwayError, match="Did you mean 'Done'"):
        pathways.find("Review")
    with pytest.raises(UnknownPathwayError) as caught:
        pathways.find("Triage")
    assert "Did you mean" not in str(caught.value)
    assert [pathway.title for pathway in caught.value.valid] == ["go", "also", "end", "Done"]
