"""Detections that are drawn on a label row, saved and read back are the same detections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from encord import Project
from encord.objects import LabelRowV2
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.drawn import VERTICES, ontology
from tests.thorough import examples

from encord_agents.labels import Detections, add_detections, to_detections
from encord_agents.labels.outlines import filled
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

WIDTH, HEIGHT = 40, 24
NAMES = ["Box", "Turned", "Polygon", "Mask", "Face"]


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with LocalPlatform() as platform:
        workflow = Workflow([AgentStage("Pre-label", {"end": "Done"}), Stage("Done", "done")])
        local = platform.create_project(workflow=workflow, ontology=ontology())
        local.add_image("image", width=WIDTH, height=HEIGHT)
        yield platform.client(retries=False).get_project(local.project_hash)
        platform.check()


def row_of(project: Project) -> LabelRowV2:
    (row,) = project.list_label_rows_v2()
    row.initialise_labels()
    return row


def emptied(project: Project) -> LabelRowV2:
    row = row_of(project)
    for instance in row.get_object_instances():
        row.remove_object(instance)
    return row


COORDINATE = st.integers(0, 16)


def detections(data: st.DataObject) -> Detections:
    count = data.draw(st.integers(0, 4))
    boxes, names, masks, corners, points = [], [], [], [], []
    for _ in range(count):
        left, top = data.draw(st.floats(0, 30)), data.draw(st.floats(0, 15))
        boxes.append([left, top, left + data.draw(st.floats(0.5, 10)), top + data.draw(st.floats(0.5, 9))])
        names.append(data.draw(st.sampled_from(NAMES)))
        bits = data.draw(st.binary(min_size=WIDTH * HEIGHT // 8, max_size=WIDTH * HEIGHT // 8))
        mask = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool).reshape(HEIGHT, WIDTH)
        assume(mask.any())
        masks.append(mask)
        angle = data.draw(st.floats(0, 6))
        side = np.array([np.cos(angle), np.sin(angle)])
        down = np.array([-side[1], side[0]]) * data.draw(st.floats(1, 8))
        start = np.array([data.draw(st.floats(5, 30)), data.draw(st.floats(5, 20))])
        side = side * data.draw(st.floats(1, 8))
        corners.append([start, start + side, start + side + down, start + down])
        seen = data.draw(st.lists(st.booleans(), min_size=len(VERTICES), max_size=len(VERTICES)))
        points.append([(left + i, top + i, float(one)) for i, one in enumerate(seen)])
    return Detections(
        np.array(boxes).reshape(-1, 4),
        np.array(masks).reshape(-1, HEIGHT, WIDTH),
        np.array([data.draw(st.floats(0, 1)) for _ in range(count)]),
        None,
        None,
        {
            "class_name": names,
            "xyxyxyxy": np.array(corners).reshape(-1, 4, 2),
            "keypoints": np.array(points).reshape(-1, len(VERTICES), 3),
        },
    )


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_there_and_back(project: Project, data: st.DataObject) -> None:
    """And once more: what was read back is drawn as the same labels."""
    found = detections(data)
    assert found.mask is not None
    row = emptied(project)
    add_detections(row, found)
    row.save()
    row = row_of(project)
    told = to_detections(row)
    assert told.confidence is not None
    assert found.confidence is not None
    assert np.allclose(told.confidence, found.confidence)
    assert list(told.data["class_name"]) == found.data["class_name"]
    for number, name in enumerate(found.data["class_name"]):
        if name == "Box":
            assert np.allclose(told.xyxy[number], found.xyxy[number])
        elif name == "Turned":
            assert np.allclose(told.data["xyxyxyxy"][number], found.data["xyxyxyxy"][number], atol=1e-3)
        elif name == "Polygon":
            assert np.array_equal(filled(rounded(told.data["polygons"][number]), (WIDTH, HEIGHT)), found.mask[number])
        elif name == "Mask":
            assert told.mask is not None
            assert np.array_equal(told.mask[number], found.mask[number])
        else:
            assert np.allclose(told.data["keypoints"][number], found.data["keypoints"][number])

    before = places(row)
    row = emptied(project)
    add_detections(row, told)
    row.save()
    after = places(row_of(project))
    assert len(after) == len(before)
    for (name, old), (same_name, new) in zip(before, after, strict=True):
        assert name == same_name
        assert old.shape == new.shape
        assert np.allclose(old, new, atol=1e-4)


def rounded(polygons: Any) -> Any:
    """Pixels' corners are whole numbers but for a hair."""
    return [[np.round(ring, 6) for ring in polygon] for polygon in polygons]


def places(row: LabelRowV2) -> list[tuple[str, Any]]:
    told = to_detections(row)
    found: list[tuple[str, Any]] = []
    for number, name in enumerate(told.data["class_name"]):
        if name == "Mask":
            assert told.mask is not None
            value = told.mask[number]
        elif name == "Polygon":
            value = np.concatenate([ring for polygon in told.data["polygons"][number] for ring in polygon])
        elif name == "Face":
            value = told.data["keypoints"][number]
        else:
            value = told.data["xyxyxyxy"][number] if name == "Turned" else told.xyxy[number]
        found.append((name, np.asarray(value, dtype=float)))
    return found
