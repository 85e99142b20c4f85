"""Label rows as they are sent: what each kind of data has, and what is left out of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from encord.objects.metadata import DataGroupMetadata

from encord_agents.local import LocalProject, label_wire

FACTS = {
    "width": None, "height": None, "frames": None, "fps": None, "duration": None, "sample_rate": None,
    "codec": None, "bit_depth": None, "channels": None, "mime_type": None,
}  # fmt: skip


def row(item_type: str, content: bytes | None = None, **more: Any) -> Any:
    """Return what the database says of a label row whose data unit is of this type."""
    plain = {
        "item_type": item_type, "content": content, "data_hash": "data", "item": "item", "title": "title", "stage": "",
        "label_hash": "label", "label_branch": None, "created_at": 0.0, "edited_at": 0.0, "dataset": "dataset",
        "dataset_title": "Dataset", "task": "task", "priority": None, "assignee": None, "actor": None, "status": "NEW",
        "metadata": "{}",
    }  # fmt: skip
    return plain | FACTS | more


def member(uuid: str, item_type: str, **more: Any) -> Any:
    """Return what the database says of a member of a group."""
    return {"uuid": uuid, "item_type": item_type, "title": uuid, "layout_key": uuid, "digest": "d"} | FACTS | more


def link(item: str, name: str) -> str:
    return f"signed {item} {name}"


@pytest.mark.parametrize(
    ("item_type", "kind", "own"),
    [
        ("image", "image", {"data_link"}),
        ("video", "video", {"data_link", "data_fps", "data_duration"}),
        (
            "audio", "audio",
            {"data_link", "data_duration", "audio_codec", "audio_sample_rate", "audio_bit_depth", "audio_num_channels"},
        ),
        ("plainText", "plain_text", {"data_link"}),
        ("pdf", "pdf", {"data_link"}),
        ("dicomFile", "dicom", set()),
        ("dicomSeries", "dicom", set()),
        ("nifti", "nifti", {"data_link"}),
        ("group", "group", {"metadata"}),
    ],
)  # fmt: skip
def test_the_facts_of_a_unit(project: LocalProject, item_type: str, kind: str, own: set[str]) -> None:
    """The kind of data decides which facts its unit has, and whether it has a file of its own."""
    label = label_wire.label(row(item_type), project._record, link)
    (unit,) = label["data_units"].values()
    shared = {"data_hash", "data_title", "data_type", "data_sequence", "width", "height", "labels"}
    assert label["data_type"] == unit["data_type"] == kind
    assert unit.keys() == shared | own
    assert unit.get("data_link", "signed item title") == "signed item title"


@pytest.mark.parametrize(
    ("item_type", "empty"),
    [("image", True), ("group", True), ("video", False), ("audio", False), ("pdf", False), ("nifti", False)],
)
def test_the_labels_of_a_row_without_any(project: LocalProject, item_type: str, empty: bool) -> None:
    """Units whose labels are those of one frame have empty lists; others have no frame that is labelled."""
    (unit,) = label_wire.label(row(item_type), project._record, None)["data_units"].values()
    assert unit["labels"] == ({"objects": [], "classifications": []} if empty else {})


def test_no_addresses_unless_asked_for(project: LocalProject) -> None:
    """An address is there, and is none, if nobody can sign it, and where there is no file."""
    members = [member("a", "image"), member("b", "image", digest=None)]
    for signer, expected in ((None, [None, None]), (link, ["signed a a", None])):
        spaces = label_wire.label(row("group"), project._record, signer, members)["spaces"]
        assert [space["child_info"]["data_link"] for space in spaces.values()] == expected
    (unit,) = label_wire.label(row("image"), project._record, None)["data_units"].values()
    assert unit["data_link"] is None


def test_the_units_of_an_image_group(project: LocalProject) -> None:
    """Each picture is a unit, in order, with the labels and the facts of its own."""
    saved = b'{"data_units": {"b": {"labels": {"objects": [1], "classifications": []}}, "gone": {"labels": {}}}}'
    members = [member("a", "image", width=1), member("b", "image", width=2, mime_type="image/png")]
    units = label_wire.label(row("imageGroup", saved), project._record, link, members)["data_units"]
    assert [(key, unit["data_sequence"], unit["width"], unit["data_type"]) for key, unit in units.items()] == [
        ("a", "0", 1, "img_group"),
        ("b", "1", 2, "image/png"),
    ]
    assert [unit["labels"]["objects"] for unit in units.values()] == [[], [1]]
    assert units["b"]["data_link"] == "signed b b"


SIZE = {"width": 0, "height": 0}


@pytest.mark.parametrize(
    ("given", "kind", "own"),
    [
        ({"item_type": "image", "width": 8}, "image", {"width": 8, "height": 0}),
        (
            {"item_type": "video", "frames": 7, "fps": 5.0, "duration": 1.4}, "video",
            SIZE | {"number_of_frames": 7, "data_fps": 5.0, "data_duration": 1.4},
        ),
        ({"item_type": "audio", "duration": 1.2345}, "audio", {"duration_ms": 1234}),
        ({"item_type": "audio"}, "audio", {"duration_ms": 0}),
        ({"item_type": "pdf", "frames": 3}, "pdf", {"number_of_pages": 3}),
        ({"item_type": "plainText", "mime_type": "text/plain"}, "text", {}),
        ({"item_type": "plainText", "mime_type": "text/html"}, "html", {}),
        ({"item_type": "imageSequence"}, "image_sequence", SIZE | {"number_of_frames": 1, "frames": []}),
        ({"item_type": "dicomFile", "frames": 2}, "medical_file", SIZE | {"number_of_frames": 2}),
        ({"item_type": "nifti", "frames": 4}, "medical_file", SIZE | {"number_of_frames": 4}),
    ],
)  # fmt: skip
def test_the_space_of_a_member(project: LocalProject, given: dict[str, Any], kind: str, own: dict[str, Any]) -> None:
    """A member of a data group is a space of its kind, with the facts of that kind, in a list as with its labels."""
    members = [member("m", **given)]
    listed = label_wire.label_row(row("group"), project._record, "main", metadata=False, node=False, members=members)
    saved = b'{"spaces": {"m": {"labels": {"0": 1}}}}'
    (space,) = label_wire.label(row("group", saved), project._record, None, members)["spaces"].values()
    assert space.pop("labels") == {"0": 1}
    assert listed["spaces"]["m"].pop("labels") == {}
    assert listed["spaces"] == {"m": space}
    child = {"layout_key": "m", "file_name": "m", "data_link": None}
    assert space == {"space_type": kind, "child_info": child, **own}


def test_the_members_in_the_metadata(project: LocalProject) -> None:
    """A data group's unit names its members by their keys, as the SDK reads its `row.metadata`."""
    members = [member("a", "image", layout_key="left"), member("b", "dicomSeries", layout_key=None)]
    (unit,) = label_wire.label(row("group"), project._record, None, members)["data_units"].values()
    children = DataGroupMetadata.from_dict(unit["metadata"]).children_
    assert [(one.data_hash, one.name, one.layout_key) for one in children] == [("a", "a", "left"), ("b", "b", "")]


def test_a_member_that_is_no_space(project: LocalProject) -> None:
    """A member of a kind that has no spaces is left out; so are the members of what is no data group."""
    members = [member("a", "dicomSeries"), member("b", "image")]
    assert label_wire.label(row("group"), project._record, None, members)["spaces"].keys() == {"b"}
    assert label_wire.label(row("imageGroup"), project._record, None, members)["spaces"] == {}


def found(*features: str) -> dict[str, Any]:
    return {"objects": [{"objectHash": feature.upper(), "featureHash": feature} for feature in features]}


@pytest.mark.parametrize(
    ("item_type", "content", "left"),
    [
        ("image", {"data_units": {"data": {"labels": found("f", "g")}}}, {"F"}),
        ("video", {"data_units": {"data": {"labels": {"0": found("g"), "9": found("f")}}}}, {"F"}),
        ("imageGroup", {"data_units": {"m": {"labels": found("f", "g")}}}, {"F"}),
        ("group", {"spaces": {"m": {"labels": {"0": found("f", "g")}}}}, {"F"}),
        ("audio", {}, set()),
    ],
)
def test_some_objects_only(project: LocalProject, item_type: str, content: dict[str, Any], left: set[str]) -> None:
    """A row that is asked for some features has only their objects and the answers to those, wherever its labels are.

    An answer that names its feature itself, as those to objects of sound do, is there by that.
    """
    answers = {"F": {"objectHash": "F"}, "G": {"objectHash": "G"}, "S": {"featureHash": "f"}, "T": {"featureHash": "g"}}
    saved = orjson.dumps(content | {"object_answers": answers})
    members = [member("m", "image")]
    label = label_wire.label(row(item_type, saved), project._record, None, members, objects={"f"})
    assert label["object_answers"].keys() == left | {"S"}
    holders = [*label["data_units"].values(), *label["spaces"].values()]
    assert {word for word in (b'"F"', b'"G"') if word in orjson.dumps([one["labels"] for one in holders])} == (
        {b'"F"'} if left else set()
    )
    full = label_wire.label(row(item_type, saved), project._record, None, members)
    assert full["object_answers"] == answers


def test_some_classifications_only(project: LocalProject) -> None:
    """The answers to those classifications are left whose features are asked for; none, if the list is empty."""
    saved = b'{"classification_answers": {"a": {"featureHash": "f"}, "b": {"featureHash": "g"}}}'
    for wanted, left in ((None, {"a", "b"}), (["f"], {"a"}), ([], set())):
        label = label_wire.label(row("image", saved), project._record, None, classifications=wanted)
        assert label["classification_answers"].keys() == left


@pytest.mark.parametrize(
    ("given", "frames"),
    [
        ({"item_type": "image"}, 1),
        ({"item_type": "video", "frames": 12}, 12),
        ({"item_type": "audio", "duration": 1.0, "sample_rate": 8000}, 8000),
        ({"item_type": "audio", "duration": 0.50001, "sample_rate": 1000}, 501),
        ({"item_type": "audio", "frames": None}, 1),
    ],
)
def test_the_number_of_frames(project: LocalProject, given: dict[str, Any], frames: int) -> None:
    """A file has one frame at least; of sound, samples are counted, and one that has begun counts."""
    listed = label_wire.label_row(row(**given), project._record, "main", metadata=False, node=False)
    assert listed["number_of_frames"] == frames


def test_a_row_that_nobody_has_initialised(project: LocalProject) -> None:
    """It has no dates, and the branch that was asked for; an initialised one has its own, a done one no priority."""
    done = project.stage("Done").uuid
    for given, expected in (
        ({"label_hash": None}, (None, None, "asked", 0.5)),
        ({"label_branch": "own", "priority": 0.0}, (*2 * ("1970-01-01T00:00:00+00:00",), "own", 0.0)),
        ({"stage": done, "priority": 0.9}, (*2 * ("1970-01-01T00:00:00+00:00",), "asked", None)),
    ):
        listed = label_wire.label_row(row("image", **given), project._record, "asked", metadata=False, node=False)
        names = ("created_at", "last_edited_at", "branch_name", "priority")
        assert tuple(listed[name] for name in names) == expected


def test_the_pictures_of_a_group_in_a_list(project: LocalProject) -> None:
    """They are told, in order, if they were asked for; of other kinds of data there are none."""
    members = [member("a", "image"), member("b", "image", width=2)]
    for item_type, images, pictures in (
        ("imageGroup", True, [(0, "a", None), (1, "b", 2)]),
        ("imageGroup", False, None),
        ("group", True, None),
    ):
        listed = label_wire.label_row(
            row(item_type), project._record, "main", metadata=False, node=False, members=members, images=images
        )
        told = listed.get("images_data")
        assert told is None or [(one["index"], one["image_hash"], one["width"]) for one in told] == pictures
        assert (told is None) == (pictures is None)
