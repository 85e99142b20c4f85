"""The shapes that users see."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from pydantic import ValidationError

import encord_agents
from encord_agents.core.data_model import (
    EditorAgentResponse,
    Frame,
    FrameData,
    LabelRowInitialiseLabelsArgs,
    LabelRowMetadataIncludeArgs,
)

PROJECT = "11111111-1111-4111-8111-111111111111"
DATA = "22222222-2222-4222-8222-222222222222"


def test_frame_data() -> None:
    """Camel case, as the platform sends it, and snake case both work; what is not known is ignored."""
    camel = FrameData.model_validate_json(
        f'{{"projectHash": "{PROJECT}", "dataHash": "{DATA}", "frame": 3, "objectHashes": ["a"], "more": 1}}'
    )
    snake = FrameData.model_validate({"project_hash": PROJECT, "data_hash": DATA, "frame": 3, "object_hashes": ["a"]})
    assert camel == snake
    assert (camel.project_hash, camel.data_hash, camel.object_hashes) == (UUID(PROJECT), UUID(DATA), ["a"])
    assert encord_agents.FrameData is FrameData
    with pytest.raises(ValidationError):
        FrameData.model_validate({"projectHash": PROJECT, "dataHash": DATA, "frame": -1})


@pytest.mark.parametrize(("given", "sent"), [("a \ud83d\ude97", "a 🚗"), ("a \ud83d", "a ?"), (" ", None)])
def test_messages_that_can_be_sent(given: str, sent: str | None) -> None:
    """A character in two halves is whole, and a question mark stands for half of one."""
    assert EditorAgentResponse(message=given, decision=given).message == sent


FULL = {"projectHash": PROJECT, "dataHash": DATA, "frame": 3}


@pytest.mark.parametrize(
    ("body", "field", "meant"),
    [
        (FULL, "object_hash", "object_hashes"),
        (FULL, "objecthashes", "objectHashes"),
        ({"projectHash": PROJECT, "dataHash": DATA}, "frames", "frame"),
        ({"project_hash": PROJECT, "frame": 3}, "datahash", "dataHash"),
    ],
)
def test_misspelt_fields(body: dict[str, object], field: str, meant: str) -> None:
    """A misspelling of a field that is missing is refused, since its value would be left out."""
    with pytest.raises(ValidationError, match=f"{field}.*Did you mean '{meant}'"):
        FrameData.model_validate({**body, field: None})


@pytest.mark.parametrize(
    "field", ["projectName", "projectUuid", "project_title", "datasetHash", "data", "objects", "featureHash", "hash"]
)
def test_new_fields(field: str) -> None:
    """A complete request is read, whatever the platform adds to it, in camel case or snake case."""
    assert FrameData.model_validate({**FULL, field: "new"}).frame == 3
    snake = {"project_hash": PROJECT, "data_hash": DATA, "frame": 3, "object_hashes": ["a"]}
    assert FrameData.model_validate({**snake, field: "new", "objectHash": "a"}).frame == 3


def test_frame_data_in_camel_case() -> None:
    """Written by alias it is what the platform sends; written plainly it has its attributes' names."""
    data = FrameData(projectHash=UUID(PROJECT), dataHash=UUID(DATA), frame=3)
    camel = {"projectHash": PROJECT, "dataHash": DATA, "frame": 3, "objectHashes": None}
    assert data.model_dump(mode="json", by_alias=True) == camel
    assert [*data.model_dump()] == ["project_hash", "data_hash", "frame", "object_hashes"]


def test_the_package_has_no_other_names() -> None:
    """A name that the package does not have is an AttributeError that says which."""
    with pytest.raises(AttributeError, match="Nonsense"):
        encord_agents.Nonsense  # noqa: B018


def test_a_frame_is_not_its_pixels() -> None:
    """A frame prints its number, and compares without comparing arrays."""
    frame = Frame(4, np.zeros((2, 2, 3), np.uint8))
    assert repr(frame) == "Frame(frame=4)"
    assert frame == Frame(4, np.ones((2, 2, 3), np.uint8))


def test_what_to_load() -> None:
    """Misspelt options, and two that exclude each other, are refused; rows are listed so that priorities can be set."""
    assert LabelRowMetadataIncludeArgs().include_workflow_graph_node
    with pytest.raises(ValidationError, match="not for both"):
        LabelRowMetadataIncludeArgs(include_all_label_branches=True, branch_name="other")
    changed = LabelRowMetadataIncludeArgs()
    changed.branch_name = "other"
    assert changed == LabelRowMetadataIncludeArgs(branch_name="other")
    for model in (LabelRowMetadataIncludeArgs, LabelRowInitialiseLabelsArgs):
        with pytest.raises(ValidationError):
            model.model_validate({"include_everything": True})
