"""Whatever is done to labels before they are saved: they are refused, or the SDK can read them back."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from encord import Project
from encord.objects import LabelRowV2, OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, RadioAttribute, TextAttribute
from encord.objects.coordinates import (
    AudioCoordinates,
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    RotatableBoundingBoxCoordinates,
)
from encord.objects.frames import Range
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.thorough import examples

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

WORKFLOW = Workflow([AgentStage("Pre-label", {"end": "Done"}), Stage("Done", "done")])
MIME = {"image": "image/png", "video": "video/mp4", "audio": "audio/mpeg"}
SPOILT: list[Any] = [None, {}, [], 1, -1, 0.5, True, "x", {"a": None}, {"x": {}}, [None], [[]], [{}]]
KEYS = ("data_units", "object_answers", "classification_answers", "object_actions", "spaces")
PLACES = {
    Shape.BOUNDING_BOX: BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4),
    Shape.ROTATABLE_BOUNDING_BOX: RotatableBoundingBoxCoordinates(
        height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4, theta=10
    ),
    Shape.POLYGON: PolygonCoordinates([PointCoordinate(x, y) for x, y in ((0.1, 0.1), (0.2, 0.1), (0.2, 0.2))]),
    Shape.POLYLINE: PolylineCoordinates([PointCoordinate(0.1, 0.1), PointCoordinate(0.2, 0.1)]),
    Shape.POINT: PointCoordinate(0.1, 0.1),
}


def ontology() -> OntologyStructure:
    """An object of each shape, the first with attributes of every type, and a classification."""
    structure = OntologyStructure()
    for shape in (*PLACES, Shape.AUDIO):
        structure.add_object(shape.value, shape)
    first = structure.objects[0]
    first.add_attribute(RadioAttribute, "Colour").add_option("red").add_nested_attribute(TextAttribute, "Which red")
    first.add_attribute(ChecklistAttribute, "Parts", dynamic=True).add_option("head")
    first.add_attribute(TextAttribute, "Note")
    scene = structure.add_classification()
    scene.add_attribute(RadioAttribute, "Scene").add_option("indoors")
    return structure


def labelled(row: LabelRowV2) -> None:
    """Put one label of everything on a row."""
    structure = row.ontology_structure
    audio = row.data_type.value == "audio"
    for found in structure.objects:
        if (found.shape == Shape.AUDIO) is not audio:
            continue
        instance = found.create_instance()
        if audio:
            instance.set_for_frames(AudioCoordinates(range=[Range(0, 5)]))
        else:
            instance.set_for_frames(PLACES[found.shape], 0)
        row.add_object_instance(instance)
        if found is structure.objects[0]:
            colour, parts, note = found.attributes
            assert isinstance(colour, RadioAttribute)
            assert isinstance(parts, ChecklistAttribute)
            instance.set_answer(colour.options[0], colour)
            instance.set_answer([parts.options[0]], parts, frames=0)
            instance.set_answer("words", note)
    scene = structure.classifications[0]
    classified = scene.create_instance(range_only=audio)
    if audio:
        classified.set_for_frames(Range(0, 0))
    else:
        classified.set_for_frames(0)
    attribute = scene.attributes[0]
    assert isinstance(attribute, RadioAttribute)
    classified.set_answer(attribute.options[0])
    row.add_classification_instance(classified)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to everything in a value."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*path, key))


def changed(label: dict[str, Any], path: tuple[Any, ...], change: Any) -> dict[str, Any]:
    """A copy with another value there, or (``...``) none."""
    label = copy.deepcopy(label)
    inner: Any = label
    for key in path[:-1]:
        inner = inner[key]
    if change is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = change
    return label


@dataclass
class Labels:
    """A labelled row on a platform."""

    platform: LocalPlatform
    project: Project
    good: dict[str, Any]

    def saved(self, label: dict[str, Any]) -> bool:
        """Whether a save is accepted; anything but a 400 beside that is a failure."""
        config: Any = self.platform.client()._config
        values = {"uid": [self.good["label_hash"]], "payload": {"multi_request": True, "labels": [label]}}
        data = json.dumps({"query_type": "labelrow", "query_method": "POST", "values": values})
        headers = getattr(config, "config", config).define_headers(str(self.project.project_hash), "project", data)
        answer = requests.post(f"{self.platform.domain}/public", data=data, headers=headers, timeout=60).json()
        assert answer["status"] in (200, 400), answer
        return bool(answer["status"] == 200)

    def read_back(self) -> LabelRowV2:
        (row,) = self.project.list_label_rows_v2()
        row.initialise_labels()
        row.to_encord_dict()
        return row


@pytest.fixture(scope="module", params=list(MIME))
def labels(request: pytest.FixtureRequest) -> Iterator[Labels]:
    with LocalPlatform() as platform:
        local = platform.create_project(workflow=WORKFLOW, ontology=ontology())
        local.add_file(
            "a", b"", item_type=request.param, mime_type=MIME[request.param],
            width=8, height=6, frames=9, duration=1, fps=9,
        )  # fmt: skip
        project = platform.client(retries=False).get_project(local.project_hash)
        (row,) = project.list_label_rows_v2()
        row.initialise_labels()
        labelled(row)
        yield Labels(platform, project, row.to_encord_dict())
        platform.check()


def test_labels_as_the_sdk_writes_them(labels: Labels) -> None:
    """They are accepted, and come back as they were."""
    assert labels.saved(labels.good)
    row = labels.read_back()
    assert {key: row.to_encord_dict()[key] for key in KEYS[1:]} == {key: labels.good[key] for key in KEYS[1:]}


@settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_is_accepted_can_be_read_back(labels: Labels, data: st.DataObject) -> None:
    """One thing in the labels is missing or is something else."""
    ways = [path for path in paths(labels.good) if path[0] in KEYS]
    label = changed(labels.good, data.draw(st.sampled_from(ways)), data.draw(st.sampled_from([..., *SPOILT])))
    if labels.saved(label):
        labels.read_back()
