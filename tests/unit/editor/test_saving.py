"""Saves of an agent's row: none deletes what somebody else has saved since, or what was not loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2

from encord_agents import FrameData
from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs
from encord_agents.editor.loading import load_row, open_project
from encord_agents.exceptions import EditorRequestError

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture(params=["labelled", "not labelled yet"])
def shown(request: pytest.FixtureRequest, world: World) -> FrameData:
    """A request for an image."""
    data_hash = world.project.add_image("image")
    frame = FrameData.model_validate({"projectHash": world.project.project_hash, "dataHash": data_hash, "frame": 0})
    if request.param == "labelled":
        row = load(world, frame)
        world.mark(row, 0.0)
        row.save()
    return frame


def load(world: World, frame: FrameData, **options: Any) -> LabelRowV2:
    args = LabelRowInitialiseLabelsArgs(**options) if options else None
    return load_row(open_project(world.client, frame), frame, None, args)


def marks(world: World, frame: FrameData) -> list[float]:
    return [x for x in world.marks(str(frame.data_hash)) or () if x]


def test_a_save_after_somebody_elses_is_refused(world: World, shown: FrameData) -> None:
    """Theirs stand, however short ago they were saved; a second try is refused, too; loaded anew, it is saved."""
    ours, theirs = load(world, shown), load(world, shown)
    world.mark(theirs, 0.25)
    theirs.save()
    world.mark(ours, 0.5)
    for _ in range(2):
        with pytest.raises(EditorRequestError, match="Try again") as caught:
            ours.save()
        assert (caught.value.status, caught.value.retry_after) == (409, 1)
    assert marks(world, shown) == [0.25]
    again = load(world, shown)
    world.mark(again, 0.5)
    again.save()
    assert sorted(marks(world, shown)) == [0.25, 0.5]


def test_an_agent_saves_as_often_as_it_likes(world: World, shown: FrameData) -> None:
    """Its own saves are not in its way, nor is loading the labels again."""
    row = load(world, shown)
    for x in (0.25, 0.5):
        world.mark(row, x)
        row.save()
    row.initialise_labels(overwrite=True)
    world.mark(row, 0.75)
    row.save()
    assert sorted(marks(world, shown)) == [0.25, 0.5, 0.75]


def test_labels_that_were_loaded_again_count_from_then(world: World, shown: FrameData) -> None:
    """An agent that has read what somebody else saved may save on top of it."""
    ours, theirs = load(world, shown), load(world, shown)
    world.mark(theirs, 0.25)
    theirs.save()
    ours.initialise_labels(overwrite=True)
    world.mark(ours, 0.5)
    ours.save()
    assert sorted(marks(world, shown)) == [0.25, 0.5]


def test_a_row_that_was_loaded_in_part_is_not_saved(world: World, shown: FrameData) -> None:
    """It would delete the rest."""
    row = load(world, shown, include_object_feature_hashes={"nothing"})
    with pytest.raises(ValueError, match="loaded in part"):
        row.save()
    row.initialise_labels(overwrite=True)
    row.save()


def test_a_save_in_a_bundle_of_the_agents_own(world: World, shown: FrameData) -> None:
    """It is refused as any other, after somebody else's and of a row in part; the agent's later ones are its own."""
    ours, theirs, part = load(world, shown), load(world, shown), load(world, shown, include_object_feature_hashes={"x"})
    world.mark(theirs, 0.25)
    theirs.save()
    world.mark(ours, 0.5)
    project = open_project(world.client, shown)
    with pytest.raises(EditorRequestError, match="Try again"), project.create_bundle() as bundle:
        ours.save(bundle=bundle)
    with pytest.raises(ValueError, match="loaded in part"), project.create_bundle() as bundle:
        part.save(bundle=bundle)
    assert marks(world, shown) == [0.25]
    again = load(world, shown)
    with project.create_bundle() as bundle:
        world.mark(again, 0.5)
        again.save(bundle=bundle)
    world.mark(again, 0.75)
    again.save()
    assert sorted(marks(world, shown)) == [0.25, 0.5, 0.75]


def test_a_request_that_failed_leaves_the_save_to_be_checked(world: World, shown: FrameData) -> None:
    """A save that was refused by the platform may be tried again, unless somebody else's came between."""
    from encord_agents.local import Fault

    row = load(world, shown)
    world.mark(row, 0.5)
    world.platform.faults.add(Fault("save", status=500))
    with pytest.raises(Exception, match=r".*"):
        row.save()
    row.save()
    assert marks(world, shown) == [0.5]
