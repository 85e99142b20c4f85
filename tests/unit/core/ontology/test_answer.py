"""An answer on its way to a label row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from encord import Project
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.objects.frames import Range, frames_class_to_frames_list
from tests.ontologies import Things, answered

from encord_agents.core.ontology import Answer, OntologyDataModel
from encord_agents.exceptions import PrintableError
from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow

BOX = BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.3, top_left_y=0.4)


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def answer(things: Things) -> Answer:
    return OntologyDataModel(things.structure.classifications).read(things.answer())


@pytest.fixture
def project(local_platform: LocalPlatform, things: Things) -> Project:
    workflow = Workflow([AgentStage("Pre-label", {"end": "Done"}), Stage("Done", "done")])
    local = local_platform.create_project(workflow=workflow, ontology=things.structure)
    local.add_image("image")
    local.add_file(
        "video", b"", item_type="video", mime_type="video/mp4", width=8, height=6, frames=9, duration=1, fps=9
    )
    local.add_file("audio", b"", item_type="audio", mime_type="audio/mpeg", duration=1)
    local.add_file("text", b"", item_type="plainText", mime_type="text/plain")
    return local_platform.client().get_project(local.project_hash)


@pytest.fixture
def row_of(project: Project) -> Iterator[Callable[[str], LabelRowV2]]:
    def of(title: str) -> LabelRowV2:
        (row,) = project.list_label_rows_v2(data_title_eq=title)
        row.initialise_labels()
        return row

    return of  # type: ignore[return-value]


def told(row: LabelRowV2) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for instance in row.get_classification_instances():
        said |= answered(instance)
    return said


@pytest.mark.parametrize("title", ["image", "video", "audio", "text"])
def test_an_answer_is_saved_and_comes_back(row_of: Any, answer: Answer, title: str) -> None:
    """On every type of media, by one call."""
    row = row_of(title)
    answer.add_to(row)
    row.save()
    assert told(row_of(title)) == {
        "Quality?": "Bad!", "Why bad": ["Blurry"], "Comment": "hm", "Caption": "a cat",
        "Tags": ["Indoors"], "How many": 3.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (None, list(range(9))),
        (3, [3]),
        ([1, 2, 5], [1, 2, 5]),
        (Range(2, 4), [2, 3, 4]),
        ([Range(0, 1), Range(4, 4)], [0, 1, 4]),
        (np.int64(3), [3]),
        (range(2, 5), [2, 3, 4]),
        ({5, 1}, [1, 5]),
        (np.array([1, 2, 1]), [1, 2]),
        ((frame for frame in (7, 8)), [7, 8]),
    ],
)
def test_it_is_on_the_frames_that_are_named(row_of: Any, answer: Answer, frames: Any, expected: list[int]) -> None:
    """And on all of them where none are. Numbers may be numpy's, and in anything that can be iterated over."""
    row = row_of("video")
    for instance in answer.add_to(row, frames, confidence=0.5):
        annotations: list[Any] = list(instance.get_annotations())
        assert sorted(annotation.frame for annotation in annotations) == expected
        assert {annotation.confidence for annotation in annotations} == {0.5}
        assert not any(annotation.manual_annotation for annotation in annotations)


@pytest.mark.parametrize("title", ["image", "video", "audio", "text"])
def test_a_second_answer_replaces_the_first_if_asked_to(row_of: Any, things: Things, title: str) -> None:
    """Otherwise it is an error that says so, and the row is as it was."""
    model = OntologyDataModel(things.structure.classifications)
    row = row_of(title)
    model.read(things.answer()).add_to(row)
    row.save()
    row = row_of(title)
    other = things.answer() | {"caption": "a dog"}
    with pytest.raises(PrintableError, match=r"has an answer to 'Quality\?' already.*\n.*replace=True"):
        model.read(other).add_to(row)
    assert told(row)["Caption"] == "a cat"
    model.read(other).add_to(row, replace=True)
    assert told(row)["Caption"] == "a dog"
    assert len(row.get_classification_instances()) == 4
    row.save()
    assert told(row_of(title))["Caption"] == "a dog"


def test_replacing_touches_no_other_frame(row_of: Any, things: Things) -> None:
    """What was said of other frames stays."""
    model = OntologyDataModel(things.structure.classifications[1])
    row = row_of("video")
    model.read({"caption": "a cat"}).add_to(row)
    model.read({"caption": "a dog"}).add_to(row, [4, 5], replace=True)
    row.save()
    found = {
        annotation.frame: answered(instance)["Caption"]
        for instance in row_of("video").get_classification_instances()
        for annotation in instance.get_annotations()
    }
    assert found == {frame: "a dog" if frame in (4, 5) else "a cat" for frame in range(9)}


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "has no frame: give at least one"),
        (range(0), "has no frame: give at least one"),
        (1.5, "is of type float: give a number"),
        ("3", "is of type str: give a number"),
        ([1, "2"], "is of type list: give a number"),
        ([1, Range(2, 3)], "is of type list: give a number"),
    ],
)
@pytest.mark.parametrize("title", ["video", "audio"])
def test_frames_that_are_none(row_of: Any, answer: Answer, title: str, frames: Any, words: str) -> None:
    """They are refused, and the answers that are there stay."""
    row = row_of(title)
    answer.add_to(row)
    with pytest.raises(PrintableError, match=rf"frames=\.\.\. {words}"):
        answer.add_to(row, frames, replace=True)
    assert len(row.get_classification_instances()) == 4


@pytest.mark.parametrize(
    ("old", "new", "rest"),
    [
        ([0, 1, 2, 3], [3, 4], [0, 1, 2]),
        ([3, 4], Range(0, 3), [4]),
        ([0, 1, 5], [Range(1, 2), Range(4, 5)], [0]),
        ([3, 4], [2, 3, 4, 5], []),
        ([3, 4], [5], [3, 4]),
    ],
)
def test_replacing_where_answers_overlap(row_of: Any, things: Things, old: Any, new: Any, rest: list[int]) -> None:
    """The old answers go from the frames that both are on, and stay on their others."""
    model = OntologyDataModel(things.structure.classifications)
    row = row_of("video")
    first = model.read(things.answer()).add_to(row, old)
    second = model.read(things.answer()).add_to(row, new, replace=True)
    row.save()
    saved = {
        one.classification_hash: [annotation.frame for annotation in one.get_annotations()]
        for one in row_of("video").get_classification_instances()
    }
    for instances, frames in ((first, rest), (second, frames_class_to_frames_list(new))):
        assert [saved.pop(one.classification_hash, []) for one in instances] == [frames] * 4
    assert not saved


def test_dynamic_attributes_on_frames_of_numpy(row_of: Any, things: Things) -> None:
    """An object that is there takes them on the frames of an array, as it does on those of a list."""
    model: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects)
    answer = model.read(things.about_a_car())
    (instance,) = answer.add_to(row_of("video"), np.arange(2, 6), coordinates=BOX)
    other = things.about_a_car()
    other["choice"]["plate"]["value"] = "X 2"
    model.read(other).apply_to(instance, np.array([3, 4]))
    plate = instance.get_answer(instance.ontology_item.attributes[1])
    assert sorted((a.answer, [(r.start, r.end) for r in a.ranges]) for a in plate) == [
        ("X 1", [(2, 2), (5, 5)]),
        ("X 2", [(3, 4)]),
    ]


def test_a_frame_beyond_the_end_is_refused(row_of: Any, answer: Answer) -> None:
    """And nothing is put on the row."""
    row = row_of("video")
    with pytest.raises(PrintableError, match=r"9 frames .0 to 8., so there is no frame 9"):
        answer.add_to(row, [0, 9])
    assert not row.get_classification_instances()


def test_an_object_is_drawn_with_its_attributes(row_of: Any, things: Things) -> None:
    """Dynamic ones included, on its frames."""
    model: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects)
    row = row_of("video")
    model.read(things.about_a_car()).add_to(row, [2, 3], coordinates=BOX)
    row.save()
    (instance,) = row_of("video").get_object_instances()
    colour, plate = instance.ontology_item.attributes
    assert [annotation.frame for annotation in instance.get_annotations()] == [2, 3]
    assert instance.get_answer(colour).label == "Red"
    assert [(a.answer, [(r.start, r.end) for r in a.ranges]) for a in instance.get_answer(plate)] == [("X 1", [(2, 3)])]


def test_an_object_that_is_there_takes_attributes(row_of: Any, things: Things) -> None:
    """New ones in place of old ones; of another object it is an error."""
    model: OntologyDataModel[Any] = OntologyDataModel(things.structure.objects)
    row = row_of("image")
    (instance,) = model.read(things.about_a_car()).add_to(row, coordinates=BOX)
    blue = things.about_a_car()
    blue["choice"]["colour"]["choice"] = "Blue"
    model.read(blue).apply_to(instance)
    assert instance.get_answer(instance.ontology_item.attributes[0]).label == "Blue"
    with pytest.raises(PrintableError, match="'Tree', and this is one of 'Car'"):
        model.read({"choice": "Tree"}).apply_to(instance)


def test_objects_have_coordinates_and_classifications_none(row_of: Any, things: Things, answer: Answer) -> None:
    """Each the other way round is an error."""
    row = row_of("image")
    with pytest.raises(PrintableError, match=r"coordinates=\.\.\."):
        OntologyDataModel(things.structure.objects).read({"choice": "Tree"}).add_to(row)
    with pytest.raises(PrintableError, match="have no coordinates"):
        answer.add_to(row, coordinates=BOX)
    with pytest.raises(PrintableError, match="not about an object"):
        answer.object_instance()
