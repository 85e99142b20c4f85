"""The tools of all pages: the things that addresses name, their labels, and what is made of them once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from tests.unit.local.asking import NOBODY, refused
from tests.unit.local.page.looking import request, row_of
from tests.unit.local.rows import BOX, saved

from encord_agents.local import LocalPlatform, LocalProject, items, labels
from encord_agents.local.images import png
from encord_agents.local.page import pages as module
from encord_agents.local.page.pages import Cover, Pages


def covers(pages: Pages, project: LocalProject, number: int = 0) -> dict[str, Cover]:
    return pages.covers([row_of(project, number)], pages.classes(project._record))


def cover(pages: Pages, project: LocalProject, number: int = 0) -> Cover:
    (found,) = covers(pages, project, number).values()
    return found


def put(project: LocalProject, content: dict[str, Any], number: int = -1) -> None:
    """Give a task labels, as they are."""
    row = row_of(project, number)
    with project._database.write() as connection:
        labels.put(connection, row["unit"], row["branch"], orjson.dumps(content))


def test_things_that_are_named(platform: LocalPlatform, pages: Pages, project: LocalProject) -> None:
    """They are found by their ids in either case of letters; a task is its own project's only."""
    other = platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]})
    task = project.tasks()[0].uuid
    assert pages.project(request(project=project.project_hash.upper())).hash == project.project_hash
    assert pages.task(project._record, request(task=task.upper()))["uuid"] == task
    for project_hash in (NOBODY, "", "x"):
        with refused(404):
            pages.project(request(project=project_hash))
    for record, uuid in ((project._record, NOBODY), (other._record, task)):
        with refused(404):
            pages.task(record, request(task=uuid))


def test_labels_of_a_version(pages: Pages, project: LocalProject) -> None:
    """They are those that are saved, or those of an earlier save; one that is not kept has none."""
    for confidence in (0.25, 0.75):
        saved(project, confidence=confidence)
    row, known = row_of(project), pages.classes(project._record)
    found = [pages.labels(row, known, version).objects() for version in (None, 1, 2, 3)]
    assert [[one.confidence for one in objects] for objects in found] == [[0.75], [0.25], [0.75], []]
    assert pages.labels(row_of(project, 1), known).objects() == []


def test_labels_of_a_group(pages: Pages, project: LocalProject) -> None:
    """Labels of each picture are in its own size."""
    project.add_image_group("group", [png(10, 10), png(100, 10)])
    row, known = row_of(project, -1), pages.classes(project._record)
    members = items.children(project._database, row["item"])
    put(project, {"data_units": {member["uuid"]: {"labels": {"objects": [BOX]}} for member in members}})
    boxes = [pages.labels(row, known).objects(frame)[0].shape.box for frame in (0, 1)]
    assert boxes == [pytest.approx((1, 1, 3, 3)), pytest.approx((10, 1, 30, 3))]


def test_a_cover(pages: Pages, project: LocalProject) -> None:
    """It has the labels of the first frame that has any, and counts each object once; without labels there is none."""
    assert covers(pages, project) == {}
    project.add_file("film", b"", item_type="video", mime_type="video/mp4", width=10, height=20, frames=9)
    other = BOX | {"objectHash": "o2"}
    frames = {"3": {"objects": [BOX]}, "4": {"objects": [BOX, other]}, "1": {"objects": []}}
    answers = {"c": {"featureHash": "old", "classifications": []}}
    put(project, {"data_units": {"d": {"labels": frames}}, "classification_answers": answers})
    found = cover(pages, project, -1)
    assert (found.frame, found.size, [one.hash for one in found.objects]) == (3, (10, 20), ["o1"])
    assert [(one.name, count) for one, count in found.counts] == [("Person", 2), ("old", 1)]


def test_what_has_no_picture_has_nothing_drawn(pages: Pages, project: LocalProject) -> None:
    """Its labels are counted all the same."""
    project.add_file("sound", b"", item_type="audio", mime_type="audio/wav")
    put(project, {"object_answers": {key: {"featureHash": BOX["featureHash"], "range": [[0, 1]]} for key in "ab"}})
    found = cover(pages, project, -1)
    assert (list(found.objects), [(one.name, count) for one, count in found.counts]) == ([], [("Person", 2)])


def test_a_crowded_cover(pages: Pages, project: LocalProject) -> None:
    """So many objects of it are drawn, and all are counted."""
    crowd = [BOX | {"objectHash": f"o{number}"} for number in range(module.MOST_DRAWN + 1)]
    put(project, {"data_units": {"d": {"labels": {"objects": crowd}}}})
    found = cover(pages, project, -1)
    assert (len(found.objects), found.counts[0][1]) == (module.MOST_DRAWN, module.MOST_DRAWN + 1)


def test_a_cover_is_made_once_for_each_save(pages: Pages, project: LocalProject) -> None:
    """The same is given until labels are saved again."""
    saved(project)
    first = cover(pages, project)
    assert cover(pages, project) is first
    with project._database.write() as connection:  # the clock may not have moved since
        connection.execute("UPDATE labels SET edited_at = edited_at - 1")
    assert cover(pages, project) is not first


def test_a_cover_follows_the_ontology(platform: LocalPlatform, pages: Pages, project: LocalProject) -> None:
    """A class that got another name has it on thumbnails that were made before, too."""
    saved(project)
    assert [one.name for one, _ in cover(pages, project).counts] == ["Person"]
    catalogue, hash = platform._service.catalogue, project._record.ontology
    ontology = catalogue.ontology(hash)
    assert ontology is not None
    ontology.editor["objects"][0]["name"] = "Human"
    catalogue.save_ontology(hash, ontology.title, ontology.description, ontology.editor)
    assert [one.name for one, _ in cover(pages, project).counts] == ["Human"]


def test_the_oldest_covers_make_room(pages: Pages, project: LocalProject, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of them is kept, and all are given that are asked for."""
    monkeypatch.setattr(module, "MOST_COVERS", 2)
    for number in range(3):
        saved(project, number)
    known = pages.classes(project._record)
    rows = [row_of(project, number) for number in range(3)]
    found = pages.covers(rows, known)
    assert list(found) == [row["uuid"] for row in rows]
    assert pages.covers(rows[2:], known)[rows[2]["uuid"]] is found[rows[2]["uuid"]]
    assert pages.covers(rows[:1], known)[rows[0]["uuid"]] is not found[rows[0]["uuid"]]
