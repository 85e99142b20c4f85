"""Detections on label rows."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from encord.objects import Object
from tests.drawn import Columns, Results, Supervision

from encord_agents.exceptions import PrintableError
from encord_agents.labels import Detections, add_detections, marks, to_detections

BOX = [20.0, 10.0, 60.0, 30.0]


def found(*boxes: list[float], names: list[str] | None = None, **columns: Any) -> Detections:
    data = columns.pop("data", {})
    if names is not None:
        data = {**data, "class_name": names}
    return Detections(np.array(boxes, dtype="float64").reshape(-1, 4), data=data, **columns)


def shares(instance: Any, frame: int = 0) -> list[float]:
    box = instance.get_annotation(frame).coordinates
    return [round(v, 9) for v in (box.top_left_x, box.top_left_y, box.width, box.height)]


def test_a_box_is_saved_and_comes_back(row_of: Any) -> None:
    """In shares of the picture, with the model's confidence, as drawn by a machine."""
    row = row_of("image")
    add_detections(row, found(BOX, names=["Box"], confidence=np.array([0.75])))
    row.save()
    (instance,) = row_of("image").get_object_instances()
    assert instance.object_name == "Box"
    assert shares(instance) == [0.1, 0.1, 0.2, 0.2]
    annotation = instance.get_annotation(0)
    assert annotation.confidence == 0.75
    assert annotation.manual_annotation is False


# Classes


@pytest.mark.parametrize(
    "classes",
    [["Face", "Box"], ("Face", "Box"), {1: "Box"}, {"thing": "Box"}, {"thing": "Box", 1: "Mask"}],
)
def test_classes_by_order_number_or_name(row_of: Any, classes: Any) -> None:
    """Each leads to the ontology's object; names before numbers."""
    row = row_of("image")
    data = found(BOX, class_id=np.array([1]), names=["thing"] if isinstance(classes, dict) else None)
    (instance,) = add_detections(row, data, classes=classes)
    assert instance.object_name == "Box"


def test_a_mapping_leaves_others_out(row_of: Any) -> None:
    """As `None` does. An object of the ontology can stand for its title."""
    row = row_of("image")
    box = row.ontology_structure.get_child_by_title("Box", Object)
    three = found(BOX, BOX, BOX, names=["a", "b", "c"])
    assert [one.object_name for one in add_detections(row, three, classes={"a": box, "b": None})] == ["Box"]


def test_names_that_the_ontology_has_not_are_listed(row_of: Any) -> None:
    """All of them, with what there is, what was probably meant, and how to say so; nothing is drawn."""
    row = row_of("image")
    with pytest.raises(PrintableError) as caught:
        add_detections(row, found(BOX, BOX, BOX, names=["Box", "polygon", "Giraffe"]))
    text = str(caught.value)
    assert "no object 'polygon', 'Giraffe'" in text
    assert "It has 'Box', 'Turned', 'Polygon'" in text
    assert "classes={'polygon': 'Polygon'}" in text
    assert not row.get_object_instances()


def test_without_names_they_are_asked_for(row_of: Any) -> None:
    """A number alone says nothing."""
    with pytest.raises(PrintableError, match="do not tell the names of their classes"):
        add_detections(row_of("image"), np.array([BOX]))
    with pytest.raises(PrintableError, match="no object 'class 7'"):
        add_detections(row_of("image"), np.array([[*BOX, 0.5, 7]]), classes=["Box"])


def test_one_class_for_all(row_of: Any) -> None:
    """A detector of one thing needs no numbers."""
    (instance,) = add_detections(row_of("image"), np.array([BOX]), classes=["Box"])
    assert instance.object_name == "Box"


def test_little_confidence_is_left_out(row_of: Any) -> None:
    """Its classes are not looked for either."""
    row = row_of("image")
    data = found(BOX, BOX, names=["Giraffe", "Box"], confidence=np.array([0.4, 0.5]))
    assert len(add_detections(row, data, min_confidence=0.5)) == 1


# Shapes


def pixels(*places: tuple[slice, slice]) -> Any:
    mask = np.zeros((100, 200), dtype=bool)
    for place in places:
        mask[place] = True
    return mask


MASK = pixels((slice(10, 30), slice(20, 60)))


@pytest.mark.parametrize("source", ["box", "mask", "polygon", "corners"])
def test_every_shape_from_whatever_there_is(row_of: Any, source: str) -> None:
    """A rectangle is the same as a box, turned box, polygon and bitmask, whichever of these the detector gives."""
    ring = np.array([(20.0, 10.0), (60.0, 10.0), (60.0, 30.0), (20.0, 30.0)])
    given: dict[str, Any] = {
        "box": {},
        "mask": {"mask": np.stack([MASK] * 4)},
        "polygon": {"data": {"polygons": [[[ring]]] * 4}},
        "corners": {"data": {"xyxyxyxy": np.stack([ring] * 4)}},
    }[source]
    row = row_of("image")
    add_detections(row, found(BOX, BOX, BOX, BOX, names=["Box", "Turned", "Polygon", "Mask"], **given))
    row.save()
    box, turned, polygon, mask = row_of("image").get_object_instances()
    assert shares(box) == [0.1, 0.1, 0.2, 0.2]
    assert shares(turned) == [0.1, 0.1, 0.2, 0.2]
    assert turned.get_annotation(0).coordinates.theta % 180 == pytest.approx(0)
    points = {(round(p.x, 9), round(p.y, 9)) for p in polygon.get_annotation(0).coordinates.values}
    assert points == {(0.1, 0.1), (0.3, 0.1), (0.3, 0.3), (0.1, 0.3)}
    assert np.array_equal(np.asarray(mask.get_annotation(0).coordinates), MASK)


def test_a_turned_box_keeps_its_angle(row_of: Any) -> None:
    """In pixels, though the picture is no square."""
    corners = np.array([[(100.0, 10.0), (130.0, 40.0), (110.0, 60.0), (80.0, 30.0)]])
    row = row_of("image")
    add_detections(row, found([80, 10, 130, 60], names=["Turned"], data={"xyxyxyxy": corners}))
    box = row.get_object_instances()[0].get_annotation(0).coordinates
    assert box.theta == pytest.approx(45)
    assert box.width * 200 == pytest.approx(30 * 2**0.5)
    assert box.height * 100 == pytest.approx(20 * 2**0.5)


def test_a_mask_with_a_hole_and_an_island(row_of: Any) -> None:
    """A polygon has rings for holes, and parts."""
    mask = pixels((slice(10, 40), slice(20, 60)), (slice(50, 60), slice(20, 30)))
    mask[20:30, 30:40] = False
    row = row_of("image")
    add_detections(row, mask, classes=["Polygon"])
    row.save()
    (instance,) = row_of("image").get_object_instances()
    assert sorted(len(p) for p in instance.get_annotation(0).coordinates.polygons) == [1, 2]


def test_keypoints_become_a_skeleton(row_of: Any) -> None:
    """In the order of its template; what is not seen is invisible."""
    points = np.array([[[20.0, 10.0, 0.9], [40.0, 50.0, 2], [0.0, 0.0, 0.0]]])
    row = row_of("image")
    add_detections(row, found(BOX, names=["Face"], data={"keypoints": points}))
    row.save()
    (instance,) = row_of("image").get_object_instances()
    told = [(v.name, v.x, v.y, v.visibility.value) for v in instance.get_annotation(0).coordinates.values]
    assert told == [("nose", 0.1, 0.1, "visible"), ("left", 0.2, 0.5, "visible"), ("right", 0, 0, "invisible")]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("Line", {}, "'Line' is of shape polyline, and detections are drawn as one of bounding_box"),
        ("Face", {}, "'Face' is a skeleton, and the detections have no keypoints"),
        ("Face", {"keypoints": np.ones((1, 17, 3))}, r"has 3 points \(nose, left, right\).*17 keypoints"),
    ],
)
def test_what_cannot_be_drawn_is_told(row_of: Any, name: str, data: Any, words: str) -> None:
    """And nothing is drawn."""
    row = row_of("image")
    with pytest.raises(PrintableError, match=words):
        add_detections(row, found(BOX, names=[name], data=data))
    assert not row.get_object_instances()


def test_what_reaches_beyond_the_picture_is_cut_off(row_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is outside altogether is left out, and counted."""
    row = row_of("image")
    with caplog.at_level(logging.WARNING):
        boxes = ([-20.0, -10.0, 20.0, 10.0], [300.0, 0.0, 400.0, 10.0], [5.0, 5.0, 5.0, 9.0])
        (instance,) = add_detections(row, found(*boxes, names=["Box"] * 3))
    assert shares(instance) == [0, 0, 0.1, 0.1]
    assert "2 of 3 detections have no area on frame 0" in caplog.text


def test_a_picture_of_another_size(row_of: Any) -> None:
    """What a detector saw smaller or larger is scaled: by what it says, or by what it is told."""
    boxes = Columns(np.array([[10.0, 5.0, 30.0, 15.0]]), np.array([1.0]), np.array([0]))
    row = row_of("image")
    (by_result,) = add_detections(row, Results((50, 100), ["Box"], boxes))
    (by_argument,) = add_detections(row, found([10, 5, 30, 15], names=["Box"]), size=(100, 50))
    small = np.zeros((1, 50, 100), dtype=bool)
    small[0, 5:15, 10:30] = True
    (mask,) = add_detections(row, small, classes=["Mask"])
    assert shares(by_result) == shares(by_argument) == [0.1, 0.1, 0.2, 0.2]
    assert np.array_equal(np.asarray(mask.get_annotation(0).coordinates), MASK)


def test_masks_of_another_size_than_the_frame(row_of: Any) -> None:
    """Boxes and masks of one picture are scaled alike, so that they stay on each other."""
    row = row_of("image")
    small = np.stack([MASK[::2, ::2]] * 2)[:, None] * 0.9
    result = {"boxes": np.array([[10.0, 5, 30, 15]] * 2), "labels": np.array([0, 1]), "masks": small}
    box, mask = add_detections(row, result, classes=["Box", "Mask"])
    assert shares(box) == [0.1, 0.1, 0.2, 0.2]
    assert np.array_equal(np.asarray(mask.get_annotation(0).coordinates), MASK)


@pytest.mark.parametrize("size", [(0, 0), (200, 0), (-200, 100), (200, 100, 3), (200,)])
def test_a_size_that_is_none(row_of: Any, size: Any) -> None:
    """A width and a height are above 0, whether they are given or the detections' own."""
    words = r"size=.* is not a width and a height in pixels, both above 0"
    with pytest.raises(PrintableError, match=words):
        add_detections(row_of("image"), found(BOX, names=["Box"]), size=size)
    with pytest.raises(PrintableError, match=words):
        add_detections(row_of("image"), found(BOX, names=["Box"], size=size))
    with pytest.raises(PrintableError, match=words):
        to_detections(row_of("image"), size=size)


@pytest.mark.parametrize("title", ["sound", "words"])
def test_data_without_a_picture(row_of: Any, title: str) -> None:
    """Nothing is drawn on audio and text, and the row stays as it was."""
    row = row_of(title)
    kind = {"sound": "audio", "words": "plain_text"}[title]
    with pytest.raises(PrintableError, match=f"'{title}' is of type {kind}, and detections are drawn on pictures"):
        add_detections(row, np.array([BOX]), classes=["Box"], size=(200, 100), replace=True)
    assert not row.get_object_instances()


# Frames and tracks


def test_a_frame_that_is_none(row_of: Any) -> None:
    """It is told with how many there are."""
    for frame in (-1, 9):
        with pytest.raises(PrintableError, match=f"9 frames .*so there is no frame {frame}"):
            add_detections(row_of("video"), np.array([BOX]), classes=["Box"], frame=frame)


def tracked(*tracks: int, left: float = 20.0) -> Supervision:
    boxes = np.array([[left, 10.0, left + 40, 30.0]] * len(tracks))
    return Supervision(boxes, None, None, None, np.array(tracks), {"class_name": ["Box"] * len(tracks)})


def test_a_track_is_one_object(row_of: Any) -> None:
    """Over all frames, and another one for each class."""
    row = row_of("video")
    for frame in (0, 1, 4):
        add_detections(row, tracked(7, 8, left=frame * 10.0), frame=frame)
    add_detections(row, tracked(8), frame=5, classes={"Box": "Box!"})
    row.save()
    frames = {
        (instance.object_name, tuple(annotation.frame for annotation in instance.get_annotations()))
        for instance in row_of("video").get_object_instances()
    }
    assert frames == {("Box", (0, 1, 4)), ("Box!", (5,))}
    assert len(row.get_object_instances()) == 3


def test_tracks_of_one_s_own(row_of: Any) -> None:
    """A dictionary holds the objects; two are two trackers, whose numbers mean different things."""
    row = row_of("video")
    first: Any = {}
    second: Any = {}
    for frame in (0, 1):
        add_detections(row, tracked(1), frame=frame, tracker=first)
    add_detections(row, tracked(1), frame=2, tracker=second)
    assert [len(instance.get_annotations()) for instance in row.get_object_instances()] == [2, 1]
    assert list(first.values()) == row.get_object_instances()[:1]


def test_a_track_whose_object_was_removed_begins_anew(row_of: Any) -> None:
    """As when the row was loaded again."""
    row = row_of("video")
    (old,) = add_detections(row, tracked(1))
    row.remove_object(old)
    (new,) = add_detections(row, tracked(1), frame=1)
    assert new is not old
    row.initialise_labels(overwrite=True)
    (newest,) = add_detections(row, tracked(1), frame=2)
    assert row.get_object_instances() == [newest]


def test_a_track_whose_object_is_on_no_frame_any_more_begins_anew(row_of: Any) -> None:
    """The SDK takes such an object off the row, though the object still names the row."""
    row = row_of("video")
    (old,) = add_detections(row, tracked(1))
    old.remove_from_frames(0)
    (new,) = add_detections(row, tracked(1), frame=1)
    assert row.get_object_instances() == [new]


def test_detections_without_a_track(row_of: Any) -> None:
    """Trackers give them -1: each is an object of its own, on every frame."""
    row = row_of("video")
    for frame in (0, 1):
        assert len(set(add_detections(row, tracked(-1, -1, 3), frame=frame))) == 3
    assert sorted(len(instance.get_annotations()) for instance in row.get_object_instances()) == [1, 1, 1, 1, 2]


def test_a_track_twice_on_a_frame(row_of: Any) -> None:
    """An object is in one place, so the second is another: no detection is lost."""
    row = row_of("video")
    for frame in (0, 1):
        assert len(set(add_detections(row, tracked(3, 3), frame=frame))) == 2
    assert sorted(len(instance.get_annotations()) for instance in row.get_object_instances()) == [1, 1, 2]


def test_numbers_of_numpy(row_of: Any) -> None:
    """A frame may be one, and numbers of classes may be text, as in a mapping that was JSON."""
    row = row_of("video")
    found_ = np.array([[*BOX, 0.5, 1]], dtype="float16")
    (instance,) = add_detections(row, found_, classes={"1": "Box"}, frame=np.int64(4))
    assert instance.get_annotation_frames() == {4}
    assert len(to_detections(row, np.int64(4))) == 1
    row.save()


def test_several_shapes_in_one_file(row_of: Any) -> None:
    """Masks and outlines beside each other, as in COCO's files, are drawn as what they are."""
    row = row_of("image")
    mask = {"size": [100, 200], "counts": [100 * 10 + 20, 20, 100 * 190 - 40]}
    add_detections(
        row,
        [
            {"name": "Mask", "segmentation": mask},
            {"name": "Polygon", "segmentation": mask},
            {"name": "Mask", "segmentation": [[10, 20, 11, 20, 11, 40, 10, 40]]},
            {"name": "Face", "keypoints": [1, 2, 2, 3, 4, 0, 5, 6, 1]},
        ],
    )
    first, polygon, second, face = row.get_object_instances()
    assert np.array_equal(np.asarray(first.get_annotation(0).coordinates), pixels((slice(20, 40), slice(10, 11))))
    assert np.array_equal(
        np.asarray(first.get_annotation(0).coordinates), np.asarray(second.get_annotation(0).coordinates)
    )
    assert len(polygon.get_annotation(0).coordinates.values) == 4
    assert [v.name for v in face.get_annotation(0).coordinates.values] == ["nose", "left", "right"]


def test_tracks_keep_no_row_alive(row_of: Any, collect_garbage: Callable[[], int]) -> None:
    """Neither the row nor its objects."""
    row = row_of("video")
    add_detections(row, tracked(1))
    known = weakref.ref(row)
    del row
    collect_garbage()
    assert known() is None


# Twice


def test_a_second_run_draws_nothing_twice(row_of: Any) -> None:
    """`replace=True` takes away what was drawn before, also where the labels were saved in between."""
    for _ in range(3):
        row = row_of("image")
        add_detections(row, found(BOX, BOX, names=["Box", "Mask"]), replace=True)
        row.save()
    assert len(row_of("image").get_object_instances()) == 2
    row = row_of("image")
    add_detections(row, found(), replace=True)
    row.save()
    assert not row_of("image").get_object_instances()


def test_what_others_drew_stays(row_of: Any) -> None:
    """People's objects, those of other sources, and our own that a person has taken over."""
    row = row_of("image")
    box = row.ontology_structure.get_child_by_title("Box", Object)
    theirs = box.create_instance()
    theirs.set_for_frames(to_box(), 0, manual_annotation=False)
    row.add_object_instance(theirs)
    (other,) = add_detections(row, found(BOX, names=["Box"]), source="another model")
    ours, corrected, edited = add_detections(row, found(BOX, BOX, BOX, names=["Box"] * 3))
    corrected.set_for_frames(to_box(), 0, overwrite=True, manual_annotation=True)
    edited.set_for_frames(to_box(), 0, overwrite=True, created_by="robot@a.b", last_edited_by="person@a.b")
    add_detections(row, found(), replace=True)
    left = {instance.object_hash for instance in row.get_object_instances()}
    assert left == {instance.object_hash for instance in (theirs, other, corrected, edited)}
    assert ours.object_hash not in left


def to_box() -> Any:
    from encord.objects.coordinates import BoundingBoxCoordinates

    return BoundingBoxCoordinates(height=0.5, width=0.5, top_left_x=0.1, top_left_y=0.1)


def test_replacing_touches_one_frame(row_of: Any) -> None:
    """A track loses the frame that is drawn anew, and stays on others."""
    row = row_of("video")
    for frame in (0, 1, 2):
        add_detections(row, tracked(1), frame=frame)
    row.save()
    row = row_of("video")
    add_detections(row, tracked(1, left=50), frame=1, replace=True)
    row.save()
    frames = [[a.frame for a in instance.get_annotations()] for instance in row_of("video").get_object_instances()]
    assert sorted(frames) == [[0, 2], [1]]


def test_a_whole_film_again(row_of: Any) -> None:
    """A second run over all frames leaves each track as one object."""
    for _ in range(2):
        row = row_of("video")
        for frame in range(9):
            add_detections(row, tracked(1, 2), frame=frame, replace=True)
        row.save()
    instances = row_of("video").get_object_instances()
    assert [len(instance.get_annotations()) for instance in instances] == [9, 9]


def test_hashes_are_like_those_of_the_sdk(row_of: Any) -> None:
    """Eight characters, each of them once."""
    row = row_of("image")
    add_detections(row, found(*[BOX] * 500, names=["Box"] * 500))
    hashes = {instance.object_hash for instance in row.get_object_instances()}
    assert len(hashes) == 500
    assert {len(one) for one in hashes} == {8}


def test_a_hash_that_is_taken_is_not_given(row_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No object takes the place of another one: neither of the row's, nor of one drawn by the same call."""
    row = row_of("video")
    bytes_to_come = iter([b"\0\0\0", b"\0\0\0", b"\0\0\1", b"\0\0\1", b"\0\0\0", b"\0\0\2"])
    monkeypatch.setattr(marks, "os", SimpleNamespace(urandom=lambda _: next(bytes_to_come)))
    old = add_detections(row, found(BOX, names=["Box"]), source="model")
    new = add_detections(row, found(BOX, BOX, names=["Box", "Box"]), frame=1, source="model")
    assert [one.object_hash for one in old + new] == ["k3LEAAAA", "k3LEAAAB", "k3LEAAAC"]
    assert row.get_object_instances() == old + new
    assert [one.get_annotation_frames() for one in old + new] == [{0}, {1}, {1}]


def test_a_frame_costs_the_same_however_much_is_on_others(row_of: Any) -> None:
    """Else a long film takes hours: objects without a track are drawn without a look at those of other frames."""
    row = row_of("video")

    def calls(frame: int) -> int:
        number = 0

        def count(_frame: object, event: str, _argument: object) -> None:
            nonlocal number
            number += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            add_detections(row, found(BOX, names=["Box"]), frame=frame)
        finally:
            sys.setprofile(before)
        return number

    calls(0)
    few = calls(1)
    add_detections(row, found(*[BOX] * 1000, names=["Box"] * 1000), frame=2)
    assert calls(3) < few + 500


# Back


def test_of_a_frame_without_objects(row_of: Any) -> None:
    """All columns are there, and empty."""
    told = to_detections(row_of("video"), 3)
    assert len(told) == 0
    assert told.xyxy.shape == (0, 4)
    assert told.mask is None


def test_classes_tell_their_numbers(row_of: Any) -> None:
    """The place in the list; without a list, in the ontology."""
    row = row_of("image")
    add_detections(row, found(BOX, BOX, names=["Box!", "Mask"]))
    assert to_detections(row).class_id.tolist() == [6, 3]  # type: ignore[union-attr]
    told = to_detections(row, classes=["Giraffe", "Mask"])
    assert told.class_id.tolist() == [1]  # type: ignore[union-attr]
    assert told.data["class_name"].tolist() == ["Mask"]


def test_an_object_has_one_number_on_all_frames(row_of: Any) -> None:
    """So that what is told of frames can be drawn as tracks again."""
    row = row_of("video")
    for frame, tracks in enumerate([(1, 2), (2,), (3, 1)]):
        add_detections(row, tracked(*tracks), frame=frame)
    told = [to_detections(row, frame) for frame in range(3)]
    assert [one.tracker_id.tolist() for one in told] == [[0, 1], [1], [0, 2]]  # type: ignore[union-attr]
    hashes: dict[int, str] = {}
    for one in told:
        assert one.tracker_id is not None
        hashes.update(zip(one.tracker_id.tolist(), one.data["object_hash"], strict=True))
    assert len(set(hashes.values())) == 3
