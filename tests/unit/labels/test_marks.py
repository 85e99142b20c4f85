"""Marks by which an agent's objects are known again."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import pytest
from encord.objects import LabelRowV2, ObjectInstance
from encord.objects.coordinates import BoundingBoxCoordinates

from encord_agents.labels.marks import drawn_before, new_hash, take_off

ALPHABET = set(string.ascii_letters + string.digits + "+/")
PLACE = BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=0.1, top_left_y=0.1)


def put(row: LabelRowV2, source: str, *frames: int, **facts: Any) -> ObjectInstance:
    """An object of a source's on some frames."""
    (box,) = [one for one in row.ontology_structure.objects if one.title == "Box"]
    instance = box.create_instance()
    instance._object_hash = new_hash(source)
    instance.set_for_frames(PLACE, list(frames), **{"manual_annotation": False, **facts})
    row.add_object_instance(instance)
    return instance


def test_hashes_have_the_form_of_the_platforms() -> None:
    """Eight characters, of which the first four are the source's and stay the same from run to run."""
    found = {new_hash("model") for _ in range(100)}
    assert len(found) > 90
    assert {len(one) for one in found} == {8}
    assert set("".join(found)) <= ALPHABET
    assert {one[:4] for one in found} == {"k3LE"}
    assert new_hash("another")[:4] != "k3LE"


def test_the_objects_of_a_source_on_a_frame(row_of: Callable[[str], LabelRowV2]) -> None:
    """Objects of other sources and on other frames are not among them."""
    row = row_of("video")
    here, both = put(row, "model", 1), put(row, "model", 1, 2)
    put(row, "model", 2)
    put(row, "another", 1)
    assert drawn_before(row, "model", 1) == [here, both]
    assert drawn_before(row, "model", 3) == []


@pytest.mark.parametrize(
    ("facts", "ours"),
    [
        ({}, True),
        ({"created_by": "robot@a.b"}, True),
        ({"created_by": "robot@a.b", "last_edited_by": "robot@a.b"}, True),
        ({"created_by": "robot@a.b", "last_edited_by": "person@a.b"}, False),
        ({"manual_annotation": True}, False),
    ],
)
def test_objects_that_a_person_took_over(
    row_of: Callable[[str], LabelRowV2], facts: dict[str, Any], ours: bool
) -> None:
    """An object that was drawn or edited by a person is not the source's any more."""
    row = row_of("image")
    instance = put(row, "model", 0, **facts)
    assert drawn_before(row, "model", 0) == ([instance] if ours else [])


def test_taking_an_object_off(row_of: Callable[[str], LabelRowV2]) -> None:
    """An object leaves one frame, and with its last frame the row."""
    row = row_of("video")
    instance = put(row, "model", 1, 2)
    take_off(row, instance, 1)
    assert [annotation.frame for annotation in instance.get_annotations()] == [2]
    assert row.get_object_instances() == [instance]
    take_off(row, instance, 2)
    assert row.get_object_instances() == []
