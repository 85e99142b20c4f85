"""Whether a row is as it was loaded, and having it back."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import Classification, LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates

from encord_agents.core.sdk.as_loaded import LoadedLabels

# The SDK warns of a method of its own that its `remove_object` calls.
pytestmark = pytest.mark.filterwarnings("ignore:_remove_from_frame_to_hashes_map:DeprecationWarning")

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def row(world: World) -> LabelRowV2:
    """A row with a person, and a scene."""
    world.project.add_placeholders(1)
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    world.mark(row)
    scene = row.ontology_structure.get_child_by_title("Scene", Classification).create_instance()
    scene.set_answer(scene.ontology_item.attributes[0].options[0])
    scene.set_for_frames(0)
    row.add_classification_instance(scene)
    row.save()
    row.initialise_labels(overwrite=True)
    return row


def kept(row: LabelRowV2) -> LoadedLabels:
    return LoadedLabels(row, pickle.dumps(row.to_encord_dict()))


def person(row: LabelRowV2) -> Any:
    return row.get_object_instances()[0]


def scene(row: LabelRowV2) -> Any:
    return row.get_classification_instances()[0]


def add(row: LabelRowV2) -> None:
    row.add_object_instance(person(row).copy())


def answer(row: LabelRowV2) -> None:
    scene(row).set_answer(scene(row).ontology_item.attributes[0].options[1], overwrite=True)


def less_sure(row: LabelRowV2) -> None:
    found = scene(row)  # in older versions of the SDK, confidence is by frame
    (found if hasattr(type(found), "confidence") else found.get_annotation(0)).confidence = 0.5


def cannot_be_written(row: LabelRowV2) -> None:
    object.__setattr__(person(row).get_annotation(0).coordinates, "to_dict", None)


CHANGES: list[Callable[[LabelRowV2], object]] = [
    add,
    answer,
    cannot_be_written,
    lambda row: row.remove_object(person(row)),
    lambda row: row.remove_classification(scene(row)),
    lambda row: setattr(person(row).get_annotation(0), "confidence", 0.5),
    less_sure,
    lambda row: setattr(person(row).get_annotation(0), "coordinates", BoundingBoxCoordinates(0.1, 0.1, 0.1, 0.1)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_seen_and_undone(row: LabelRowV2, change: Callable[[LabelRowV2], object]) -> None:
    """Whatever was added, removed, answered or moved; the instances are the same ones again."""
    labels, before = kept(row), row.to_encord_dict()
    instances = [person(row), scene(row)]
    assert not labels.differ_from(row)
    change(row)
    assert labels.differ_from(row)
    labels.restore(row)
    assert not labels.differ_from(row)
    assert row.to_encord_dict() == before
    assert [person(row), scene(row)] == instances
    assert person(row) is instances[0]


def test_what_was_changed_and_taken_back_is_no_change(row: LabelRowV2) -> None:
    """Labels count, not what was done to them."""
    labels = kept(row)
    add(row)
    row.remove_object(row.get_object_instances()[1])
    assert not labels.differ_from(row)


def test_a_row_that_is_broken(row: LabelRowV2) -> None:
    """An agent may do anything to the object, and has changed it."""
    labels = kept(row)
    row.__dict__.clear()
    assert labels.differ_from(row)


def test_it_can_be_had_back_more_than_once(row: LabelRowV2) -> None:
    """Each attempt may change it."""
    labels, before = kept(row), row.to_encord_dict()
    for change in CHANGES:
        change(row)
        labels.restore(row)
        assert row.to_encord_dict() == before


def test_what_was_added_belongs_to_no_row(row: LabelRowV2) -> None:
    """It can be added again, here or elsewhere."""
    labels = kept(row)
    added = person(row).copy()
    row.add_object_instance(added)
    labels.restore(row)
    assert added.is_assigned_to_label_row() is None
    row.add_object_instance(added)
    assert len(row.get_object_instances()) == 2
