"""The legacy protocol's operations on label rows."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.local.asking import NOBODY, legacy, refused
from tests.unit.local.rows import boxed, made, saved

from encord_agents.local import LocalPlatform, LocalProject, users
from encord_agents.local.images import png
from encord_agents.local.trouble import NotKnown


def rows(platform: LocalPlatform, project: LocalProject, **payload: Any) -> list[str]:
    """The titles of the label rows that a listing has."""
    found = legacy(platform, "GET labelrowmetadata", ("project", project.project_hash), **payload)
    return [row["data_title"] for row in found]


def test_rows_by_status(platform: LocalPlatform, project: LocalProject) -> None:
    """A status is that of the task or that of the label, as newer and older clients ask for it."""
    saved(project)
    project.move(project.tasks()[1].uuid, "Done")
    project.move(project.tasks()[2].uuid, "Review")
    for statuses, titles in (
        (["LABEL_IN_PROGRESS"], ["a.png"]),
        (["QUEUED"], ["a.png"]),
        (["COMPLETED"], ["b.png"]),
        (["LABELLED", "IN_REVIEW"], ["b.png", "c.png"]),
        (["RETURNED"], []),
    ):
        assert rows(platform, project, label_statuses=statuses) == titles
    assert rows(platform, project, shadow_data_state="SHADOW_DATA") == []


def test_a_listing_has_what_was_asked_for(platform: LocalPlatform, project: LocalProject) -> None:
    """Client metadata, the stage and the images of a group are in it if they are wanted, and only then."""
    project.add_image_group("group", [png(4, 3), png(5, 3)])
    of = ("project", project.project_hash)
    (row,) = legacy(
        platform, "GET labelrowmetadata", of, data_title_eq="group", include_client_metadata=True,
        include_workflow_graph_node=True, include_images_data=True,
    )  # fmt: skip
    assert row["client_metadata"] == {}
    assert row["workflow_graph_node"]["title"] == "Agent"
    assert [(image["index"], image["width"]) for image in row["images_data"]] == [(0, 4), (1, 5)]
    (row,) = legacy(platform, "GET labelrowmetadata", of, data_title_eq="group")
    assert not {"client_metadata", "images_data"} & row.keys()


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"colour": "red"}, 501),
        ({"data_hashes": "a"}, 400),
        ({"data_hashes": [1]}, 400),
        ({"data_title_like": "%" * 1001}, 400),
        ({"data_title_eq": 3}, 400),
        ({"edited_after": "yesterday"}, 400),
    ],
)
def test_a_filter_that_is_none(
    platform: LocalPlatform, project: LocalProject, payload: dict[str, Any], status: int
) -> None:
    """It is refused: a filter that was passed over would list rows that nobody asked for."""
    with refused(status):
        rows(platform, project, **payload)


def test_another_order(platform: LocalPlatform, project: LocalProject) -> None:
    """With `shuffle`, a list is never in the order that was asked for, and lacks nothing."""
    platform.settings.shuffle = True
    found = rows(platform, project)
    assert found[0] != "a.png"
    assert sorted(found) == ["a.png", "b.png", "c.png"]


def test_one_row_or_several(platform: LocalPlatform, project: LocalProject) -> None:
    """An id is answered with a row, a list with a list; a row that is gone is a 404, and lacks in the list."""
    of = ("project", project.project_hash)
    hashes = [task.data_hash for task in project.tasks()]
    one = legacy(platform, "PUT labelrow", of, uid=hashes[0], get_signed_url=True)
    assert one["data_hash"] == hashes[0]
    several = legacy(platform, "PUT labelrow", of, uid=hashes)
    labels = {row["data_hash"]: row["label_hash"] for row in several}
    assert labels.keys() == {*hashes}
    assert labels[hashes[0]] == one["label_hash"]
    project.delete_row(hashes[0])
    found = legacy(platform, "GET labelrow", of, uid=[*labels.values()])
    assert {row["data_hash"] for row in found} == {*hashes[1:]}
    with refused(404):
        legacy(platform, "GET labelrow", of, uid=one["label_hash"])
    with refused(403):
        legacy(platform, "GET labelrow", of, uid=NOBODY)


@pytest.mark.parametrize("objects", [["pErs0nB1"], ["other"], []])
def test_some_of_the_labels(platform: LocalPlatform, project: LocalProject, objects: list[str]) -> None:
    """With a filter of features, a row has the objects of those."""
    row = saved(project)
    found = legacy(
        platform, "GET labelrow", ("project", project.project_hash), uid=row["label_hash"],
        include_object_feature_hashes=objects,
    )  # fmt: skip
    (unit,) = found["data_units"].values()
    assert len(unit["labels"]["objects"]) == objects.count("pErs0nB1")


@pytest.mark.parametrize("given", [None, {}, [], ["one"], ["one", "one"], ["one", "two", "three"]])
def test_labels_for_each_row(platform: LocalPlatform, project: LocalProject, given: Any) -> None:
    """Several rows are saved with as many labels, or not at all."""
    pair = [made(project, 0), made(project, 1)]
    labels = [boxed(pair[0]["data_hash"]) for _ in given] if isinstance(given, list) else given
    with refused(400):
        legacy(
            platform, "POST labelrow", ("project", project.project_hash),
            uid=[row["label_hash"] for row in pair], labels=labels,
        )  # fmt: skip
    assert [project.saves(row["data_hash"]) for row in pair] == [0, 0]


def test_a_row_twice(platform: LocalPlatform, project: LocalProject) -> None:
    """It is not clear which labels it would have: refused."""
    row = made(project)
    labels = [boxed(row["data_hash"])] * 2
    with refused(400):
        legacy(platform, "POST labelrow", ("project", project.project_hash), uid=[row["label_hash"]] * 2, labels=labels)
    assert project.saves(row["data_hash"]) == 0


def test_complete_and_reopen(platform: LocalPlatform, project: LocalProject) -> None:
    """The tasks of label rows go to the final stage, and back to where people annotate."""
    row, of = saved(project), ("project", project.project_hash)
    for action, stage in (("complete", "Done"), ("reopen", "Annotate")):
        legacy(platform, "POST labelworkflowgraphnode", of, uid=[row["label_hash"]], action=action)
        assert project.tasks()[0].stage_title == stage
    with refused(400):
        legacy(platform, "POST labelworkflowgraphnode", of, uid=[row["label_hash"]], action="delete")


@pytest.mark.parametrize("uid", [None, 3, {}, [3]])
def test_ids_that_are_none(platform: LocalPlatform, project: LocalProject, uid: Any) -> None:
    """They are refused."""
    with refused(400):
        legacy(platform, "GET labelrow", ("project", project.project_hash), uid=uid)


def test_asked_of_something_else(platform: LocalPlatform, project: LocalProject) -> None:
    """Label rows are a project's: neither a dataset nor nothing at all has any."""
    for kind in ("dataset", ""):
        with refused(403):
            legacy(platform, "GET labelrowmetadata", (kind, project.project_hash))
    with refused(403):
        legacy(platform, "GET labelrowmetadata", ("project", NOBODY))


def test_what_only_managers_may(platform: LocalPlatform, project: LocalProject) -> None:
    """Viewers of a project do not copy it; other users of a dataset change neither its users nor its data."""
    here, data = ("project", project.project_hash), ("dataset", str(project._record.dataset))
    with platform._service.database.write() as connection:
        for kind, hash in (here, data):
            users.add(connection, kind, hash, ["view@example.com"], users.VIEWER if kind == "project" else 1)  # type: ignore[arg-type]
    requests: list[tuple[str, tuple[str, str], dict[str, Any]]] = [
        ("POST projectcopy", here, {}),
        ("POST datasetusers", data, {"user_emails": ["a@example.com"], "user_role": users.ADMIN}),
        ("DELETE video", data, {}),
    ]
    for request, of, payload in requests:
        with refused(403):
            legacy(platform, request, of, user="view@example.com", uid=[], **payload)
        legacy(platform, request, of, uid=[], **payload)


def test_a_project_of_a_dataset_of_others(platform: LocalPlatform, project: LocalProject) -> None:
    """Nobody makes one of a dataset that they do not see, or puts it into a project of their own."""
    user, hashes = "out@example.com", [str(project._record.dataset)]
    with refused(403):
        legacy(platform, "POST project", ("", ""), user=user, title="Theirs", dataset_hashes=hashes)
    own = legacy(platform, "POST project", ("", ""), user=user, title="Own", dataset_hashes=[])
    with refused(403):
        legacy(platform, "POST projectdataset", ("project", own), user=user, dataset_hashes=hashes)


def test_a_project_whose_classes_are_to_change(platform: LocalPlatform, project: LocalProject) -> None:
    """The older way of adding a class is answered with the newer one."""
    with pytest.raises(NotKnown, match=r"add_object.*structure of the ontology"):
        legacy(platform, "POST project", ("project", project.project_hash), editor={"objects": []})
