"""Each filter of each list of the SDK does what it says; what is not understood is refused, never ignored."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from encord.configs import SshConfig
from encord.constants.enums import DataType
from encord.exceptions import EncordException
from encord.http.constants import RequestsSettings
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.orm.analytics import TaskActionType
from encord.orm.dataset import StorageLocation
from encord.orm.label_row import AnnotationTaskStatus, ShadowDataState
from encord.orm.storage import FoldersSortBy, StorageItemType
from encord.utilities.project_user import ProjectUserRole
from encord.workflow.stages.annotation import AnnotationTaskStatus as TaskStatus
from encord.workflow.stages.review import ReviewTaskStatus
from tests import kinds

from encord_agents.local import LocalPlatform, Stage, Workflow, routes_v2
from encord_agents.local.uploads import INTEGRATION
from encord_agents.local.users import OWNER

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WORKFLOW = Workflow([Stage("Annotate"), Stage("Review", "review"), Stage("Complete", "done")])
PAST, FUTURE = "1999-01-01", "2099-01-01"
LONG_AGO, FAR_AHEAD = datetime(1999, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)
ANN = "ann@example.com"
ALL = {"a.png", "b.png", "film.mp4"}
BOX = BoundingBoxCoordinates(height=0.2, width=0.3, top_left_x=0.1, top_left_y=0.1)


class World:
    """Two projects, datasets, ontologies and folders called Cats and Dogs; in Cats, three files in different states.

    `a.png` has labels and is assigned to Ann, `b.png` is in review, `film.mp4` is untouched.
    """

    def __init__(self, platform: LocalPlatform, files: Any) -> None:
        self.platform = platform
        self.client = client = platform.client(retries=False)
        self.local = platform.create_project(title="Cats", description="of cats", workflow=WORKFLOW)
        other = platform.create_project(title="Dogs", workflow=WORKFLOW)
        paths = [kinds.picture(files / "a.png"), kinds.picture(files / "b.png"), kinds.video(files / "film.mp4")]
        self.local.add_files(paths)
        self.project = client.get_project(self.local.project_hash)
        self.dataset = client.get_dataset(str(next(iter(self.project.list_datasets())).dataset_hash))
        self.others = [str(found.dataset_hash) for found in client.get_project(other.project_hash).list_datasets()]
        self.folders = {folder.name: folder for folder in client.list_storage_folders()}
        self.folder = self.folders["Cats"]
        self.below = self.folder.create_subfolder("below")
        self.loose = self.below.upload_image(kinds.picture(files / "loose.png"))
        client.create_dataset("Mice", StorageLocation.CORD_STORAGE, dataset_description="of mice")
        self.project.add_users([ANN], ProjectUserRole.ANNOTATOR)
        (row,) = self.project.list_label_rows_v2(data_title_eq="a.png")
        row.initialise_labels()
        box = row.ontology_structure.objects[0].create_instance()
        box.set_for_frames(BOX, 0)
        row.add_object_instance(box)
        row.save()
        self.labelled = row
        next(iter(self.stage("Annotate").get_tasks(data_title="a.png"))).assign(ANN)
        next(iter(self.stage("Annotate").get_tasks(data_title="b.png"))).submit()
        self.hashes = {row.data_title: row.data_hash for row in self.project.list_label_rows_v2()}

    def stage(self, name: str) -> Any:
        return self.project.workflow.get_stage(name=name)

    def tasks(self, stage: str = "Annotate", **filters: Any) -> set[str]:
        return {task.data_title for task in self.stage(stage).get_tasks(**filters)}

    def rows(self, **filters: Any) -> set[str]:
        return {row.data_title for row in self.project.list_label_rows_v2(**filters)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with LocalPlatform() as platform, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield World(platform, tmp_path_factory.mktemp("files"))


BY_TITLE: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"Cats", "Dogs"}),
    ({"title_eq": "Cats"}, {"Cats"}),
    ({"title_eq": "cats"}, set()),
    ({"title_eq": "C_ts"}, set()),
    ({"title_like": "%ts"}, {"Cats"}),
    ({"title_like": "c_ts"}, {"Cats"}),
    ({"title_like": "ats"}, set()),
    ({"created_before": FUTURE}, {"Cats", "Dogs"}),
    ({"created_before": PAST}, set()),
    ({"created_after": PAST}, {"Cats", "Dogs"}),
    ({"created_after": FUTURE}, set()),
    ({"edited_before": FUTURE}, {"Cats", "Dogs"}),
    ({"edited_before": PAST}, set()),
    ({"edited_after": PAST}, {"Cats", "Dogs"}),
    ({"edited_after": FUTURE}, set()),
    ({"title_eq": "Cats", "created_after": FUTURE}, set()),
    ({"desc_eq": "nothing"}, set()),
    ({"desc_like": "%nothing%"}, set()),
]
LISTS: dict[str, Callable[[World, dict[str, Any]], set[str]]] = {
    "list_projects": lambda w, f: {found.title for found in w.client.list_projects(**f)},
    "get_projects": lambda w, f: {found["project"].title for found in w.client.get_projects(**f)},
    "get_datasets": lambda w, f: {found["dataset"].title for found in w.client.get_datasets(**f)} - {"Mice"},
    "get_ontologies": lambda w, f: {found["ontology"].title for found in w.client.get_ontologies(**f)},
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(("filters", "expected"), BY_TITLE)
def test_lists_of_titled_things(world: World, name: str, filters: dict[str, Any], expected: set[str]) -> None:
    """Projects, datasets and ontologies have the same filters, which mean the same."""
    assert LISTS[name](world, filters) == expected


def test_lists_by_description(world: World) -> None:
    """Of those that have one."""
    for name in ("list_projects", "get_projects"):
        for filters in ({"desc_eq": "of cats"}, {"desc_like": "OF%"}):
            assert LISTS[name](world, filters) == {"Cats"}
    for filters in ({"desc_eq": "of mice"}, {"desc_like": "%MICE"}):
        assert {found["dataset"].title for found in world.client.get_datasets(**filters)} == {"Mice"}


ROWS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, ALL),
    ({"data_title_eq": "a.png"}, {"a.png"}),
    ({"data_title_eq": "A.png"}, set()),
    ({"data_title_like": "%.PNG"}, {"a.png", "b.png"}),
    ({"data_title_like": "_.png"}, {"a.png", "b.png"}),
    ({"workflow_graph_node_title_eq": "Review"}, {"b.png"}),
    ({"workflow_graph_node_title_eq": "review"}, set()),
    ({"workflow_graph_node_title_like": "ann%"}, {"a.png", "film.mp4"}),
    ({"edited_before": FUTURE}, {"a.png"}),
    ({"edited_before": PAST}, set()),
    ({"edited_after": PAST}, {"a.png"}),
    ({"edited_after": FUTURE}, set()),
    ({"label_statuses": [AnnotationTaskStatus.ASSIGNED]}, {"a.png"}),
    ({"label_statuses": [AnnotationTaskStatus.IN_REVIEW]}, {"b.png"}),
    ({"label_statuses": [AnnotationTaskStatus.QUEUED]}, {"film.mp4"}),
    ({"label_statuses": [AnnotationTaskStatus.QUEUED, AnnotationTaskStatus.ASSIGNED]}, {"a.png", "film.mp4"}),
    ({"label_statuses": [AnnotationTaskStatus.COMPLETED]}, set()),
    ({"shadow_data_state": ShadowDataState.ALL_DATA}, ALL),
    ({"shadow_data_state": ShadowDataState.NOT_SHADOW_DATA}, ALL),
    ({"shadow_data_state": ShadowDataState.SHADOW_DATA}, set()),
    ({"branch_name": "second"}, ALL),
    ({"include_all_label_branches": True}, ALL),
]


@pytest.mark.parametrize(("filters", "expected"), ROWS)
def test_label_rows(world: World, filters: dict[str, Any], expected: set[str]) -> None:
    """By title, stage, date, status and branch."""
    assert world.rows(**filters) == expected


def test_label_rows_by_hash(world: World) -> None:
    """Of data and of labels; two filters leave those that fit both."""
    assert world.rows(data_hashes=[world.hashes["b.png"], world.hashes["film.mp4"]]) == {"b.png", "film.mp4"}
    assert world.rows(label_hashes=[world.labelled.label_hash]) == {"a.png"}
    assert world.rows(data_hashes=[world.hashes["b.png"]], data_title_eq="a.png") == set()
    assert world.rows(data_hashes=[INTEGRATION]) == set()


def test_what_label_rows_have_is_what_was_asked_for(world: World) -> None:
    """Client metadata and stages are there if they were asked for, and not else."""
    world.client.get_storage_item(world.labelled.backing_item_uuid).update(client_metadata={"k": 1})
    (row,) = world.project.list_label_rows_v2(data_title_eq="a.png", include_client_metadata=True)
    assert (row.client_metadata, row.workflow_graph_node.title) == ({"k": 1}, "Annotate")
    (row,) = world.project.list_label_rows_v2(data_title_eq="a.png", include_workflow_graph_node=False)
    assert row._label_row_read_only_data.client_metadata is None
    assert row._label_row_read_only_data.workflow_graph_node is None


TASKS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("Annotate", {}, {"a.png", "film.mp4"}),
    ("Review", {}, {"b.png"}),
    ("Complete", {}, set()),
    ("Annotate", {"data_title": "film"}, {"film.mp4"}),
    ("Annotate", {"data_title": "FILM"}, set()),
    ("Annotate", {"assignee": ANN}, {"a.png"}),
    ("Annotate", {"assignee": [OWNER, ANN]}, {"a.png"}),
    ("Annotate", {"assignee": OWNER}, set()),
    ("Annotate", {"status": TaskStatus.ASSIGNED}, {"a.png"}),
    ("Annotate", {"status": [TaskStatus.NEW, TaskStatus.REOPENED]}, {"film.mp4"}),
    ("Annotate", {"status": TaskStatus.RELEASED}, set()),
    ("Review", {"status": ReviewTaskStatus.NEW}, {"b.png"}),
    ("Annotate", {"assignee": ANN, "data_title": "film"}, set()),
]


@pytest.mark.parametrize(("stage", "filters", "expected"), TASKS)
def test_tasks(world: World, stage: str, filters: dict[str, Any], expected: set[str]) -> None:
    """By title, person and status."""
    assert world.tasks(stage, **filters) == expected


def test_tasks_by_hash(world: World) -> None:
    """Of data and of datasets."""
    assert world.tasks(data_hash=world.hashes["film.mp4"]) == {"film.mp4"}
    assert world.tasks(data_hash=[world.hashes["b.png"]]) == set()
    assert world.tasks(dataset_hash=world.dataset.dataset_hash) == {"a.png", "film.mp4"}
    assert world.tasks(dataset_hash=world.others) == set()


ITEMS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["a.png", "b.png", "film.mp4", "loose.png"]),
    ({"desc": True}, ["loose.png", "film.mp4", "b.png", "a.png"]),
    ({"order": FoldersSortBy.CREATED_AT, "desc": True}, ["loose.png", "film.mp4", "b.png", "a.png"]),
    ({"search": ".PNG"}, ["a.png", "b.png", "loose.png"]),
    ({"search": "%"}, []),
    ({"item_types": [StorageItemType.VIDEO]}, ["film.mp4"]),
    ({"item_types": [StorageItemType.VIDEO, StorageItemType.IMAGE], "search": "b"}, ["b.png"]),
    ({"item_types": [StorageItemType.AUDIO]}, []),
    ({"is_in_dataset": True}, ["a.png", "b.png", "film.mp4"]),
    ({"is_in_dataset": False}, ["loose.png"]),
    ({"page_size": 1}, ["a.png", "b.png", "film.mp4", "loose.png"]),
    ({"page_size": 3, "desc": True}, ["loose.png", "film.mp4", "b.png", "a.png"]),
]


@pytest.mark.parametrize(("filters", "expected"), ITEMS)
def test_storage_items(world: World, filters: dict[str, Any], expected: list[str]) -> None:
    """Of the whole platform, of a folder, and of a folder with all below it; in order, over all pages."""
    everywhere = {"search": "."} | filters if "item_types" not in filters else filters  # the SDK insists on one of them
    assert [item.name for item in world.client.find_storage_items(**everywhere)] == expected
    assert [item.name for item in world.folder.find_items(**everywhere)] == expected
    here = [name for name in expected if name != "loose.png"]
    assert [item.name for item in world.folder.list_items(**filters)] == here


def test_what_items_have_is_what_was_asked_for(world: World) -> None:
    """Signed addresses and client metadata."""
    world.client.get_storage_item(world.loose).update(client_metadata={"k": 1})
    (item,) = world.below.list_items(get_signed_urls=True)
    assert requests.get(str(item.get_signed_url()), timeout=60).status_code == 200
    assert item.client_metadata == {"k": 1}
    (item,) = world.below.list_items(include_client_metadata=False)
    assert item.client_metadata == {}
    assert item._orm_item.signed_url is None


FOLDERS: list[tuple[dict[str, Any], list[str], list[str], list[str]]] = [
    ({}, ["Cats", "Dogs", "Mice"], ["Cats", "Dogs", "Mice", "below"], ["below"]),
    ({"desc": True}, ["Mice", "Dogs", "Cats"], ["below", "Mice", "Dogs", "Cats"], ["below"]),
    ({"order": FoldersSortBy.CREATED_AT}, ["Cats", "Dogs", "Mice"], ["Cats", "Dogs", "below", "Mice"], ["below"]),
    ({"search": "AT"}, ["Cats"], ["Cats"], []),
    ({"dataset_synced": True}, ["Cats", "Dogs", "Mice"], ["Cats", "Dogs", "Mice"], []),
    ({"dataset_synced": False}, [], ["below"], ["below"]),
    ({"page_size": 1}, ["Cats", "Dogs", "Mice"], ["Cats", "Dogs", "Mice", "below"], ["below"]),
]


@pytest.mark.parametrize(("filters", "top", "everywhere", "inside"), FOLDERS)
def test_storage_folders(
    world: World, filters: dict[str, Any], top: list[str], everywhere: list[str], inside: list[str]
) -> None:
    """At the top, everywhere, and in a folder."""
    assert [folder.name for folder in world.client.list_storage_folders(**filters)] == top
    assert [folder.name for folder in world.client.find_storage_folders(**filters)] == everywhere
    assert [folder.name for folder in world.folder.list_subfolders(**filters)] == inside
    assert [folder.name for folder in world.folder.find_subfolders(**filters)] == inside


DATA_ROWS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, ALL),
    ({"title_eq": "a.png"}, {"a.png"}),
    ({"title_like": "%.PNG"}, {"a.png", "b.png"}),
    ({"created_before": FUTURE}, ALL),
    ({"created_before": PAST}, set()),
    ({"created_after": PAST}, ALL),
    ({"created_after": FUTURE}, set()),
    ({"data_types": [DataType.VIDEO]}, {"film.mp4"}),
    ({"data_types": [DataType.VIDEO, DataType.IMAGE]}, ALL),
    ({"data_types": [DataType.AUDIO]}, set()),
]


@pytest.mark.parametrize(("filters", "expected"), DATA_ROWS)
def test_data_rows(world: World, filters: dict[str, Any], expected: set[str]) -> None:
    """Of a dataset."""
    assert {row.title for row in world.dataset.list_data_rows(**filters)} == expected


def test_data_rows_by_hash(world: World) -> None:
    """And those of another dataset are refused."""
    assert {row.title for row in world.dataset.list_data_rows(data_hashes=[world.hashes["b.png"]])} == {"b.png"}
    with pytest.raises(EncordException):
        world.dataset.list_data_rows(data_hashes=[INTEGRATION])


def test_task_actions(world: World) -> None:
    """By time, person, kind, stage and data unit."""

    def found(**filters: Any) -> list[str]:
        given = {"after": LONG_AGO, "before": FAR_AHEAD} | filters
        return [action.action_type.value for action in world.project.get_task_actions(**given)]

    assert found() == ["assign", "submit"]
    assert found(after=datetime(2098, 1, 1, tzinfo=UTC)) == []
    assert found(before=datetime(2000, 1, 1, tzinfo=UTC)) == []
    assert found(actor_email=OWNER) == ["assign", "submit"]
    assert found(actor_email=[ANN]) == []
    assert found(action_type=TaskActionType.SUBMIT) == ["submit"]
    assert found(action_type=[TaskActionType.SUBMIT, TaskActionType.ASSIGN]) == ["assign", "submit"]
    assert found(workflow_stage_uuid=world.stage("Review").uuid) == []
    assert found(data_unit_uuid=world.hashes["a.png"]) == ["assign"]


def test_integrations_and_branches(world: World) -> None:
    """By uuid and title; branches that have labels."""
    titles = {found.title for found in world.client.get_cloud_integrations()}
    assert len(titles) == 1
    assert len(world.client.get_cloud_integrations(filter_integration_uuids=[INTEGRATION])) == 1
    assert world.client.get_cloud_integrations(filter_integration_uuids=[world.loose]) == []
    assert len(world.client.get_cloud_integrations(filter_integration_titles=list(titles))) == 1
    assert world.client.get_cloud_integrations(filter_integration_titles=["x"]) == []
    assert list(world.project.list_branches()) == ["main"]


@pytest.mark.parametrize(
    "call",
    [
        lambda w: list(w.client.list_projects(tags_anyof=["x"])),
        lambda w: list(w.client.list_projects(include_org_access=True)),
        lambda w: w.client.get_datasets(include_org_access=True),
        lambda w: w.client.get_ontologies(include_org_access=True),
        lambda w: list(w.client.list_storage_folders(org_access=True)),
        lambda w: list(w.client.find_storage_folders(organisation_tags_allof=[w.client.create_organisation_tag("x")])),
        lambda w: list(w.client.find_storage_items(search="x", org_access=True)),
        lambda w: w.client.get_cloud_integrations(include_org_access=True),
    ],
)
def test_filters_that_are_not_here(world: World, call: Callable[[World], Any]) -> None:
    """They are a 501 that names them, and says what to do instead."""
    with pytest.raises(EncordException, match=r"does not know the filter \w+ of .+?\. List without it"):
        call(world)


def asked(world: World, path: str) -> requests.Response:
    config = SshConfig.from_ssh_private_key(
        world.platform.ssh_key, domain=world.platform.domain, requests_settings=RequestsSettings()
    )
    request = requests.Request("GET", f"{world.platform.domain}/v2/public/{path}").prepare()
    with requests.Session() as session:
        return session.send(config.define_headers_v2(request), timeout=10)


@pytest.mark.parametrize("route", [route for route in routes_v2.ROUTES if route.startswith("GET ")])
def test_a_filter_that_nobody_knows(world: World, route: str) -> None:
    """Whatever is listed, it is refused, by its name."""
    path = re.sub(r"\{\w+\}", INTEGRATION, route.removeprefix("GET "))
    answer = asked(world, f"{path}?nobodyKnows=this")
    assert answer.status_code == 501
    assert "nobodyKnows" in answer.text


@pytest.mark.parametrize("path", ["projects", "ontologies", "projects/{project}/branches", "projects/{project}/issues"])
def test_a_page_that_there_is_not(world: World, path: str) -> None:
    """A token of a page where there is but one is not answered with the first page again."""
    path = path.format(project=world.project.project_hash)
    assert asked(world, f"{path}?pageToken=").status_code == 200
    assert asked(world, f"{path}?pageToken=2").status_code == 501
