"""The legacy protocol's operations on datasets and projects."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, legacy, refused

from encord_agents.local import LocalPlatform, LocalProject, items, uploads, users
from encord_agents.local.images import png
from encord_agents.local.items import NewUnit

ANN = "ann@example.com"


@pytest.fixture
def dataset(project: LocalProject) -> tuple[str, str]:
    """The dataset of the project, as the resource of a query."""
    return "dataset", str(project._record.dataset)


def test_a_dataset_with_its_rows(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """Or without, for those who have many."""
    project.add_image_group("group", [png(4, 3), png(5, 3)])
    whole = legacy(platform, "GET dataset", dataset)
    assert [row["data_title"] for row in whole["data_rows"]] == ["a.png", "b.png", "c.png", "group"]
    assert [image["width"] for image in whole["data_rows"][3]["images_data"]] == [4, 5]
    assert whole["data_rows"][0]["client_metadata"] is None
    bare = legacy(platform, "GET dataset", dataset, dataset_access_settings={"fetch_rows": False})
    assert bare == whole | {"data_rows": []}
    for of in (("project", project.project_hash), ("dataset", NOBODY)):
        with refused(403):
            legacy(platform, "GET dataset", of)


def test_data_rows_by_filter(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """Each filter leaves those that fit."""
    project.add_file("d.txt", b"words", item_type="plainText", mime_type="text/plain")
    for payload, titles in (
        ({"title_eq": "b.png"}, ["b.png"]),
        ({"title_like": "%.TXT"}, ["d.txt"]),
        ({"data_types": ["PLAIN_TEXT"]}, ["d.txt"]),
        ({"data_hashes": [project.tasks()[2].data_hash]}, ["c.png"]),
        ({"created_before": "1999-01-01"}, []),
        ({"created_after": "1999-01-01", "title_eq": "a.png"}, ["a.png"]),
    ):
        assert [row["data_title"] for row in legacy(platform, "GET datarows", dataset, **payload)] == titles
    with refused(501):
        legacy(platform, "GET datarows", dataset, colour="red")


def test_a_data_row_is_changed(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """Its title and its metadata can be, and nothing else; a file's address is in it if it is asked for."""
    unit = project.tasks()[0].data_hash
    legacy(platform, "POST datarow", dataset, uid=unit, data_title="z.png", client_metadata={"a": 1})
    wanted = {"client_metadata": True, "signed_url": True}
    row = legacy(platform, "GET datarow", dataset, uid=unit, additional_data=wanted)
    assert (row["data_title"], row["client_metadata"], bool(row["signed_url"])) == ("z.png", {"a": 1}, True)
    plain = legacy(platform, "GET datarow", dataset, uid=unit)
    assert (plain["client_metadata"], plain["signed_url"]) == (None, None)
    for change in ({"width": 3}, {"data_title": ""}):
        with refused(400):
            legacy(platform, "POST datarow", dataset, uid=unit, **change)
    with refused(403):
        legacy(platform, "GET datarow", dataset, uid=NOBODY)


@pytest.mark.parametrize("own", [True, False])
def test_the_images_of_a_row_have_addresses_of_their_own(
    platform: LocalPlatform, project: LocalProject, dataset: Any, own: bool
) -> None:
    """They are signed if their addresses are asked for, and not because that of the row is."""
    unit = project.add_image_group("group", [png(4, 3), png(5, 3)])
    wanted = {"signed_url": not own, "images_data_fetch_options": {"fetch_signed_urls": own}}
    row = legacy(platform, "GET datarow", dataset, uid=unit, additional_data=wanted)
    assert [bool(image["signed_url"]) for image in row["images_data"]] == [own, own]


def test_a_series_has_no_file_of_its_own(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """The permanent address of DICOM is none, as the SDK says; other kinds have one."""
    items.add(project._database, project._record, [NewUnit("scan", "dicomSeries", None, None, 0)])
    links = {row["data_title"]: row["file_link"] for row in legacy(platform, "GET dataset", dataset)["data_rows"]}
    assert (links["scan"], bool(links["a.png"])) == (None, True)


def test_items_are_linked_and_unlinked(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """What is linked gets a task in the project, and what is deleted loses it."""
    item = legacy(platform, "GET dataset", dataset)["data_rows"][0]["backing_item_uuid"]
    assert legacy(platform, "POST datasetlinkitems", dataset, item_uuids=[item]) == []
    (row,) = legacy(platform, "POST datasetlinkitems", dataset, item_uuids=[item], duplicates_behavior="DUPLICATE")
    assert len(project.tasks()) == 4
    with refused(400):
        legacy(platform, "POST datasetlinkitems", dataset, item_uuids=[item], duplicates_behavior="TWICE")
    with refused(403):
        legacy(platform, "DELETE video", dataset, uid=[row["data_hash"], NOBODY])
    legacy(platform, "DELETE video", dataset, uid=[row["data_hash"]])
    assert [task.data_title for task in project.tasks()] == ["a.png", "b.png", "c.png"]


def test_an_upload_into_a_dataset(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """It is answered with a job, whose state names the new data; a job that is not there is refused."""
    service, content = platform._service, png(4, 3)
    (place,) = uploads.signed(service, None, 1)
    uploads.received(service, place["itemUuid"], service.assets.put(content), len(content))
    files = {"images": [{"objectUrl": place["objectKey"], "title": "new.png"}]}
    job = legacy(platform, "POST datasetdatalongpolling", dataset, files=files)
    state = legacy(platform, "GET datasetdatalongpolling", dataset, process_hash=job["process_hash"])
    assert (state["status"], [one["title"] for one in state["data_hashes_with_titles"]]) == ("DONE", ["new.png"])
    assert project.tasks()[-1].data_title == "new.png"
    for unknown in (NOBODY, None):
        with refused(400):
            legacy(platform, "GET datasetdatalongpolling", dataset, process_hash=unknown)


def test_a_new_project(platform: LocalPlatform, dataset: Any) -> None:
    """It has the default workflow, an empty ontology and the datasets that are named; its maker manages it."""
    none = ("", "")
    legacy(platform, "POST datasetusers", dataset, user_emails=[ANN], user_role=users.ANNOTATOR)
    hash = legacy(platform, "POST project", none, user=ANN, title="New", dataset_hashes=[dataset[1], dataset[1]])
    made = platform.project(hash)
    assert (made.title, len(made.tasks())) == ("New", 3)
    assert users.role(platform._service.database, "project", hash, ANN) == users.ADMIN
    for payload, status in (
        ({}, 400),
        ({"title": "x", "source_projects": [hash]}, 501),
        ({"title": "x", "dataset_hashes": [NOBODY]}, 403),
        ({"title": "x", "ontology_hash": NOBODY}, 403),
        ({"title": "x", "workflow_template_id": NOBODY}, 403),
    ):
        with refused(status):
            legacy(platform, "POST project", none, **payload)
    assert len(platform.projects()) == 2
    legacy(platform, "DELETE project", none, uid=hash, user=ANN)
    assert len(platform.projects()) == 1


def test_projects_of_a_user(platform: LocalPlatform, project: LocalProject) -> None:
    """Who is in none sees none, and cannot delete one; roles are those of the SDK."""
    of = ("project", project.project_hash)
    assert legacy(platform, "GET projectwithuserrole", ("", ""), user=ANN) == []
    with refused(403):
        legacy(platform, "DELETE project", ("", ""), uid=project.project_hash, user=ANN)
    (added,) = legacy(platform, "POST projectusers", of, user_emails=[ANN], user_role=users.ANNOTATOR)
    assert (added["user_email"], added["user_role"]) == (ANN, users.ANNOTATOR)
    (found,) = legacy(platform, "GET projectwithuserrole", ("", ""), user=ANN, filter={"title_eq": "Project"})
    assert (found["project"]["title"], found["user_role"]) == ("Project", users.ANNOTATOR)
    with refused(403):
        legacy(platform, "POST projectusers", of, user=ANN, user_emails=["bob@example.com"], user_role=users.ADMIN)
    with refused(400):
        legacy(platform, "POST projectusers", of, user_emails=["bob@example.com"], user_role=9)


def test_the_datasets_of_a_project(platform: LocalPlatform, project: LocalProject, dataset: Any) -> None:
    """With a dataset its tasks come and go; new files go to the first of those that are left."""
    of = ("project", project.project_hash)
    other = platform.create_project(title="Other", workflow={"stages": [{"title": "A", "type": "agent"}]})
    other.add_image("other.png")
    theirs = str(other._record.dataset)
    legacy(platform, "POST projectdataset", of, dataset_hashes=[theirs])
    assert len(project.tasks()) == 4
    with refused(403):
        legacy(platform, "DELETE projectdataset", of, uid=[dataset[1], NOBODY])
    assert len(project.tasks()) == 4
    legacy(platform, "DELETE projectdataset", of, uid=[dataset[1]])
    assert ([task.data_title for task in project.tasks()], project._record.dataset) == (["other.png"], theirs)
    legacy(platform, "DELETE projectdataset", of, uid=theirs)
    assert (project.tasks(), project._record.dataset) == ([], None)
    legacy(platform, "POST projectdataset", of, dataset_hashes=[dataset[1]])
    assert project._record.dataset == dataset[1]


def test_where_files_are(platform: LocalPlatform, project: LocalProject) -> None:
    """A picture, a film and the pictures of a group, each where the SDK looks for it; signed if that is asked for."""
    of = ("project", project.project_hash)
    film = project.add_file("film.mp4", b"film", item_type="video", mime_type="video/mp4")
    group = project.add_image_group("group", [png(4, 3), png(5, 3)])

    def files(data_hash: str, **more: Any) -> Any:
        return legacy(platform, "GET datasetdata", of, uid={"data_hash": data_hash, **more})

    picture = files(project.tasks()[0].data_hash, get_signed_url=True)
    assert (picture["video"], len(picture["images"])) == (None, 1)
    assert "signature=" in picture["images"][0]["file_link"]
    assert files(film)["images"] is None
    assert files(film)["video"]["file_link"] == files(film)["video"]["backing_item_uuid"]
    assert [image["title"] for image in files(group)["images"]] == ["group-0", "group-1"]
    with refused(403):
        files(NOBODY)


def test_a_project_in_old_words(platform: LocalPlatform, project: LocalProject) -> None:
    """With its label rows, if they are asked for."""
    of = ("project", project.project_hash)
    assert legacy(platform, "GET project", of)["label_rows"] == []
    whole = legacy(platform, "GET project", of, include_labels_metadata=True)
    assert [row["data_title"] for row in whole["label_rows"]] == ["a.png", "b.png", "c.png"]
    assert whole["datasets"][0]["dataset_hash"] == project._record.dataset
