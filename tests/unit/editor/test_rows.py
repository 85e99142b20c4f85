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


def test_none_is_404(world: World) -> None:
    """Also where members of data groups are listed, too."""
    project = world.client.get_project(world.project.project_hash)
    with pytest.raises(EditorRequestError, match="has no data unit") as caught:
        find_row(project, frame(world, uuid4()))
    assert caught.value.status == 404
