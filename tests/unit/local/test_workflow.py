"""Workflows: what is understood, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from encord_agents.exceptions import PrintableError
from encord_agents.local import AgentStage, Stage, Workflow, WorkflowError

DONE = {"title": "Done", "type": "done"}


def test_pathways_lead_to_uuids() -> None:
    """Titles are resolved once; tasks start in the first stage unless the workflow says otherwise."""
    workflow = Workflow([AgentStage("A", {"go": "Done"}), Stage("Done", "done")])
    first, done = workflow.resolved
    assert [p.to for p in first.pathways] == [done.uuid]
    assert workflow.start_uuid == first.uuid


def test_titles_may_repeat_with_ids() -> None:
    """An id tells two stages of one title apart."""
    workflow = Workflow(
        [AgentStage("A", {"go": "two"}), Stage("Done", "done", id="one"), Stage("Done", "done", id="two")]
    )
    assert workflow.resolved[0].pathways[0].to == workflow.resolved[2].uuid


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([], "stages: must not be empty"),
        ([DONE], "no agent stage"),
        (
            [{"title": "A", "type": "agent", "pathways": {"go": "Dome"}}, DONE],
            "stages[0].pathways.go: no stage named 'Dome'; stages are 'A', 'Done'; did you mean 'Done'?",
        ),
        ([{"title": "A", "type": "agnt"}], "stages[0].type: must be 'agent', 'annotation'"),
        ([{"title": "A", "type": "agent", "pathways": {"go": "Done"}}, DONE, DONE], "use an `id` or a `uuid`"),
        ([{"title": "A", "type": "agent", "pathways": [{"name": "x", "to": "A"}] * 2}], "two pathways named 'x'"),
        (
            [
                {"title": "Review", "type": "review"},
                {"title": "A", "type": "agent", "pathways": [{"name": "x", "to": "Reviw"}]},
            ],
            "stages[1].pathways[0].to: no stage named 'Reviw'; stages are 'Review', 'A'; did you mean 'Review'?",
        ),
        ([{"title": "A", "uuid": "x"}], "stages[0].uuid: 'x' is not a UUID"),
        ([{"title": "A", "id": "x"}, {"title": "B", "id": "x"}], "stages[1].id: another stage has 'x'"),
        ([{"title": "A", "routes": {"A": 100}}], "stages[0].routes: only routers have them"),
        ([DONE, {"title": "R", "type": "router", "routes": {"Done": 60}}], "percentages that make 100"),
        (
            [DONE, {"title": "R", "type": "router", "routes": {"R": 100}}],
            "stages[1].routes.R: the router leads to itself",
        ),
        (
            [DONE, {"title": "R", "type": "router", "routes": {"Done": "100"}}],
            "stages[1].routes.Done: must be a number",
        ),
        ([{"title": "A", "type": "agent"}, {**DONE, "pathways": {"x": "A"}}], "only agent stages have pathways"),
        ([{"title": "A", "type": "agent", "pathway": {}}], "stages[0]: there is no 'pathway' here"),
        ([{"title": "A", "type": "agent", "pathways": {True: "A"}}], "write it in quotes"),
    ],
)
def test_mistakes_say_what_is_wrong(stages: list[Any], says: str) -> None:
    """A mistake is an error for a person."""
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_dict({"stages": stages})
    assert says in str(caught.value)
    assert isinstance(caught.value, PrintableError)


def test_from_a_file(tmp_path: Path) -> None:
    """A mistake in it names the file, too."""
    path = tmp_path / "workflow.yaml"
    path.write_text("stages: [{title: A, type: agent, pathways: {go: Done}}, {title: Done, type: done}]")
    assert [stage.title for stage in Workflow.from_file(path).stages] == ["A", "Done"]
    path.write_text("stages: [{title: Done, type: done}]")
    with pytest.raises(WorkflowError, match=r"workflow\.yaml.*no agent stage"):
        Workflow.from_file(path)


def test_half_a_character() -> None:
    """A title that cannot be stored is refused when the workflow is made."""
    with pytest.raises(WorkflowError, match=r"stages\[0\]\.title: must be text that can be stored"):
        Workflow([AgentStage("\ud800"), Stage("Done", "done")])
