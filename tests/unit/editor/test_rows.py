"""The label row on the screen, found."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from encord_agents import FrameData
from encord_agents.core.data_model import LabelRowMetadataIncludeArgs
from encord_agents.editor.rows import find_row
from encord_agents.exceptions import EditorRequestError

if TYPE_CHECKING:
    from tests.conftest import World


def frame(world: World, data_hash: object) -> FrameData:
    hashes: dict[str, Any] = {"projectHash": world.project.project_hash, "dataHash": data_hash}
    return FrameData.model_validate(hashes)


def test_one_request_finds_it(world: World) -> None:
    """Among others, with the options that were asked for, and without a warning of the SDK's."""
    hashes = [world.project.add_image(name) for name in ("a", "b")]
    project = world.client.get_project(world.project.project_hash)
    before = len(world.requests())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        row = find_row(project, frame(world, hashes[1]), LabelRowMetadataIncludeArgs(include_client_metadata=True))
    assert (str(row.data_hash), row.data_title, row.client_metadata) == (hashes[1], "b", {})
    assert len(world.requests()) == before + 1


def test_of_all_branches_it_is_the_main_one(world: World) -> None:
    """That is the one that the editor shows, whichever is listed first; another one is taken only by its name."""
    data_hash = world.project.add_image("a")
    project = world.client.get_project(world.project.project_hash)
    every = LabelRowMetadataIncludeArgs(include_all_label_branches=True)
    named = LabelRowMetadataIncludeArgs(branch_name="b-model")
    for branch, said in ("a-model", "on 'a-model', and none on 'main'"), ("b-model", "on 'a-model', 'b-model', and"):
        project.list_label_rows_v2(data_hashes=[data_hash], branch_name=branch)[0].initialise_labels()
        with pytest.raises(EditorRequestError, match=f"{said}.*branch_name='main'") as caught:
            find_row(project, frame(world, data_hash), every)
        assert caught.value.status == 404
    find_row(project, frame(world, data_hash)).initialise_labels()
    listed = project.list_label_rows_v2(data_hashes=[data_hash], include_all_label_branches=True)
    assert [row.branch_name for row in listed] == ["a-model", "b-model", "main"]
    assert find_row(project, frame(world, data_hash), every).branch_name == "main"
    assert find_row(project, frame(world, data_hash), named).branch_name == "b-model"


def test_none_is_404(world: World) -> None:
    """Also where members of data groups are listed, too."""
    project = world.client.get_project(world.project.project_hash)
    with pytest.raises(EditorRequestError, match="has no data unit") as caught:
        find_row(project, frame(world, uuid4()))
    assert caught.value.status == 404
