"""The inputs of an editor agent, fetched."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from encord.objects import LabelRowV2
from encord.project import Project

from encord_agents import FrameData
from encord_agents.core.data_model import LabelRowMetadataIncludeArgs
from encord_agents.editor.loading import Inputs, item_of, load_row
from encord_agents.exceptions import EditorRequestError

if TYPE_CHECKING:
    from tests.conftest import World


def inputs(world: World, include_args: LabelRowMetadataIncludeArgs | None = None) -> Inputs:
    """The inputs for the first frame of a new image."""
    data_hash = world.project.add_image("cat")
    frame = FrameData.model_validate({"projectHash": world.project.project_hash, "dataHash": data_hash})
    world.platform.journal.clear()
    return Inputs(world.client, frame, include_args, None)


def test_each_is_fetched_when_it_is_needed_and_once(world: World) -> None:
    """Nothing is asked for at first; an input that is asked for again is the same."""
    given = inputs(world)
    assert world.requests() == []
    row, item = given.labelled_row, given.item
    assert row.is_labelling_initialised
    assert str(row.data_hash) == str(given.frame.data_hash)
    assert item.uuid == row.backing_item_uuid
    once = Counter(world.requests())
    assert once["label_create"] == once["item"] == 1
    assert (given.labelled_row, given.item, given.project) == (row, item, given.project)
    assert Counter(world.requests()) == once


@pytest.mark.parametrize("when", ["before", "after"])
def test_labels_that_were_never_opened(world: World, when: str) -> None:
    """They are loaded after the time of their last save is read: what a person saves around that is not lost."""
    given = inputs(world)
    saved: list[LabelRowV2] = []

    def save_theirs() -> None:
        saved.append(load_row(given.project, given.frame))
        world.mark(saved[0], 0.25)
        saved[0].save()

    class Busy:
        """The project, in which a person saves before or after the row is listed a second time."""

        project_hash = given.project.project_hash
        listings = 0

        def list_label_rows_v2(self, **options: Any) -> list[LabelRowV2]:
            self.listings += 1
            if self.listings == 2 and when == "before":
                save_theirs()
            listed = given.project.list_label_rows_v2(**options)
            if self.listings == 2 and when == "after":
                save_theirs()
            return listed

    row = load_row(cast("Project", Busy()), given.frame)
    assert len(saved) == 1
    world.mark(row, 0.5)
    with contextlib.nullcontext() if when == "before" else pytest.raises(EditorRequestError, match="Try again"):
        row.save()
    assert 0.25 in (world.marks(str(given.frame.data_hash)) or ())


def test_an_item_needs_no_labels(world: World) -> None:
    """An agent that asks for the item alone costs no loading of labels."""
    given = inputs(world)
    assert given.item.name == "cat"
    assert not {"label_create", "label_get"} & set(world.requests())
    assert len(world.requests("rows")) == 1


def test_options_of_the_listing_reach_the_row(world: World) -> None:
    """The row has the metadata that were asked for."""
    given = inputs(world, LabelRowMetadataIncludeArgs(include_client_metadata=True))
    assert given.labelled_row.client_metadata == {}
    plain = load_row(given.project, given.frame)
    assert plain.client_metadata is None


def test_data_without_an_item(world: World) -> None:
    """A row that has no storage item is an error that names the data unit, with the status of what is not there."""
    row = inputs(world).labelled_row
    row._label_row_read_only_data = replace(row._label_row_read_only_data, backing_item_uuid=None)
    with pytest.raises(EditorRequestError, match=f"{row.data_hash} has no storage item") as caught:
        item_of(world.client, row)
    assert caught.value.status == 404
