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
        ([], "at least one stage"),
        ([DONE], "no agent stage"),
        ([{"title": "A", "type": "agent", "pathways": {"go": "Dome"}}, DONE], "Did you mean 'Done'"),
        ([{"title": "A", "type": "agnt"}], "has the type 'agnt'"),
        ([{"title": "A", "type": "agent", "pathways": {"go": "Done"}}, DONE, DONE], "use an `id` or a `uuid`"),
        ([{"title": "A", "type": "agent", "pathways": [{"name": "x", "to": "A"}] * 2}], "two pathways named 'x'"),
        ([{"title": "A", "type": "agent"}, {**DONE, "pathways": {"x": "A"}}], "only agent stages have pathways"),
        ([{"title": "A", "type": "agent", "pathway": {}}], "has 'pathway'"),
        ([{"title": "A", "type": "agent", "pathways": {True: "A"}}], "write it in quotes"),
    ],
)
def test_mistakes_say_what_is_wrong(stages: list[Any], says: str) -> None:
    """A mistake is an error for a person."""
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_dict({"stages": stages})
    assert says in str(caught.value)
    assert isinstance(caught.value, PrintableError)


def test_yaml_says_nothing_twice(tmp_path: Path) -> None:
    """A key that is there twice is a mistake, not a choice of the last one; the message names the file."""
    path = tmp_path / "workflow.yaml"
    path.write_text("stages:\n  - {title: A, type: agent, pathways: {go: A, go: A}}\n")
    with pytest.raises(WorkflowError, match=r"workflow\.yaml.*'go' is there twice"):
        Workflow.from_file(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.yaml", None, "No such file"),
        ("bad.yaml", b"stages: [", "neither YAML nor JSON"),
        ("bad.json", b'{"stages": ', "neither YAML nor JSON"),
        ("binary.yaml", b"\xff\xfe\x00", "cannot be read"),
        ("list.yaml", b"- title: A", "must hold a mapping"),
        ("empty.yaml", b"", "must hold a mapping, and holds nothing"),
        ("keys.yaml", b"{[a]: b}", "neither YAML nor JSON"),
        ("done.yaml", b"stages: [{title: Done, type: done}]", "no agent stage"),
        ("twice.json", b'{"stages": [], "stages": []}', "'stages' is there twice"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    """The message names the file and says what is wrong."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkflowError) as caught:
        Workflow.from_file(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)
