"""The columns of detections."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from encord_agents.labels import Detections


def test_the_fields_are_those_of_supervision_in_its_order() -> None:
    """A `Detections` of supervision's can be made of the first six by position."""
    names = [field.name for field in dataclasses.fields(Detections)]
    assert names == ["xyxy", "mask", "confidence", "class_id", "tracker_id", "data", "size"]


@pytest.mark.parametrize("number", [0, 3])
def test_boxes_are_enough(number: int) -> None:
    """There are as many detections as boxes, and no other column unless it is given."""
    found = Detections(np.zeros((number, 4)))
    assert len(found) == number
    assert (found.mask, found.confidence, found.class_id, found.tracker_id, found.size) == (None,) * 5
    assert found.data == {}
    assert found.data is not Detections(np.zeros((number, 4))).data


def test_columns_are_not_replaced() -> None:
    """A set of detections is the same from when it is read to when it is drawn."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Detections(np.zeros((0, 4))).size = (1, 1)  # type: ignore[misc]
