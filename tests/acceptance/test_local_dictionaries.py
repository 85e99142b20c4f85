"""Label rows as dictionaries, in the SDK's older protocol: classifications that are saved are read back, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from encord.exceptions import AnswerDictionaryError, CorruptedLabelError
from encord.project import Project
from encord.utilities.label_utilities import construct_answer_dictionaries
from tests.films import film

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.local.images import png
from encord_agents.local.ontologies import DEFAULT

WORKFLOW = Workflow([AgentStage("A", {"b": "B"}), Stage("B", "done")])
SCENE = DEFAULT["classifications"][0]
ATTRIBUTE = SCENE["attributes"][0]
OPTION = ATTRIBUTE["options"][0]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def project(local_platform: LocalPlatform, tmp_path: Path) -> Project:
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_image("a.png")
    local.add_image_group("group", [png(40, 30), png(40, 30)])
    local.add_files([film(tmp_path / "film.mp4", 12)])
    return local_platform.client().get_project(local.project_hash)


def dictionary(project: Project, title: str) -> dict[str, Any]:
    (row,) = project.list_label_rows_v2(data_title_eq=title)
    row.initialise_labels()
    assert row.label_hash is not None
    found: dict[str, Any] = project.get_label_row(row.label_hash)
    return found


def classification(hash: str) -> dict[str, Any]:
    return {
        "classificationHash": hash, "featureHash": SCENE["featureNodeHash"], "name": ATTRIBUTE["name"],
        "value": "scene", "createdAt": "Tue, 02 Jan 2024 10:00:00 GMT", "createdBy": "robot@example.com",
        "confidence": 0.5, "manualAnnotation": False, "reviews": [],
    }  # fmt: skip


def answer(hash: str) -> dict[str, Any]:
    """Return an answer as the SDK's `construct_answer_dictionaries` leaves it: without a feature and a range."""
    chosen = {"name": OPTION["label"], "value": OPTION["value"], "featureHash": OPTION["featureNodeHash"]}
    given = {"answers": [chosen], "featureHash": ATTRIBUTE["featureNodeHash"], "manualAnnotation": False}
    return {"classificationHash": hash, "classifications": [given]}


def put(row: dict[str, Any], frame: int, hash: str) -> None:
    """Put a classification on a frame, of a video or by the order of a group's images."""
    units = list(row["data_units"].values())
    if row["data_type"] == "video":
        labels = units[0]["labels"].setdefault(str(frame), {"objects": [], "classifications": []})
    else:
        labels = units[frame]["labels"]
    labels["classifications"].append(classification(hash))


def read_back(project: Project, title: str) -> list[tuple[str, list[int], float, str | None]]:
    (row,) = project.list_label_rows_v2(data_title_eq=title)
    row.initialise_labels()
    found = []
    for one in row.get_classification_instances():
        chosen: Any = one.get_answer()
        on = one.get_annotations()
        found.append((chosen.label, [about.frame for about in on], on[0].confidence, on[0].created_by))
    return found


@pytest.mark.parametrize(("title", "frames"), [("a.png", [0]), ("group", [1]), ("film.mp4", [3, 4, 7])])
def test_as_the_tutorial_makes_them(project: Project, title: str, frames: list[int]) -> None:
    """Classifications that are placed on frames, with answers that leave it there, come back on just these frames."""
    row = dictionary(project, title)
    for frame in frames:
        put(row, frame, "abcd1234")
    row["classification_answers"]["abcd1234"] = answer("abcd1234")
    label_hash = row["label_hash"]
    assert project.save_label_row(label_hash, construct_answer_dictionaries(row))
    expected = [(OPTION["label"], frames, 0.5, "robot@example.com")]
    assert read_back(project, title) == expected
    assert project.save_label_row(label_hash, project.get_label_row(label_hash)), "as they are read"
    assert read_back(project, title) == expected


def test_a_classification_without_an_answer(project: Project) -> None:
    """The SDK's own exception for it is raised, and nothing is saved."""
    row = dictionary(project, "film.mp4")
    put(row, 3, "abcd1234")
    with pytest.raises(AnswerDictionaryError):
        project.save_label_row(row["label_hash"], row)
    assert read_back(project, "film.mp4") == []


def test_an_answer_without_a_classification(project: Project) -> None:
    """If neither it nor a frame says of which class it is, it is refused as an answer, not as an unknown feature."""
    row = dictionary(project, "film.mp4")
    row["classification_answers"]["abcd1234"] = answer("abcd1234")
    with pytest.raises(AnswerDictionaryError):
        project.save_label_row(row["label_hash"], row)


def test_a_frame_that_the_range_leaves_out(project: Project) -> None:
    """A known classification is not lost on another frame: its answer must name the frame, or nothing is saved."""
    row = dictionary(project, "film.mp4")
    put(row, 3, "abcd1234")
    row["classification_answers"]["abcd1234"] = answer("abcd1234")
    assert project.save_label_row(row["label_hash"], row)
    row = project.get_label_row(row["label_hash"])
    put(row, 5, "abcd1234")
    with pytest.raises(CorruptedLabelError, match="on frame 5, which the range of its answer leaves out: add"):
        project.save_label_row(row["label_hash"], row)
    row["classification_answers"]["abcd1234"]["range"].append([5, 5])
    assert project.save_label_row(row["label_hash"], row)
    assert [frames for _, frames, _, _ in read_back(project, "film.mp4")] == [[3, 5]]


def test_two_of_one_class(project: Project) -> None:
    """The SDK reads no row with two classifications of one class on a frame, so they are refused; elsewhere they are
    read."""
    row = dictionary(project, "film.mp4")
    for hash, frame in (("abcd1234", 3), ("efgh5678", 4)):
        put(row, frame, hash)
        row["classification_answers"][hash] = answer(hash)
    assert project.save_label_row(row["label_hash"], row)
    assert len(read_back(project, "film.mp4")) == 2
    row["classification_answers"]["efgh5678"]["range"] = [[2, 4]]
    row["classification_answers"]["abcd1234"]["range"] = [[3, 3]]
    with pytest.raises(CorruptedLabelError, match="two classifications of one class on frame 3"):
        project.save_label_row(row["label_hash"], row)
