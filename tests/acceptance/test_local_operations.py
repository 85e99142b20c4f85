"""Each operation that a program of the SDK may try: it does what it says, or is a 501 that says what to do instead."""

from __future__ import annotations

import copy
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from encord import EncordUserClient
from encord.exceptions import EncordException
from encord.http.bundle import Bundle
from encord.issues.issue_client import AnnotationIssue
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import RadioAttribute
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import (
    AudioCoordinates,
    BoundingBoxCoordinates,
    PointCoordinate,
    PolygonCoordinates,
    PolylineCoordinates,
    TextCoordinates,
)
from encord.objects.frames import Range
from encord.orm.dataset import DataLinkDuplicatesBehavior, DatasetUserRole, StorageLocation
from encord.orm.project import CopyDatasetAction, CopyDatasetOptions, CopyLabelsOptions, ProjectStatus
from encord.orm.storage import DataGroupCustom, StorageItemType
from encord.utilities.project_user import ProjectUserRole
from tests import kinds

from encord_agents.local import AgentStage, LocalPlatform, Stage, Workflow
from encord_agents.local.assets import MemoryAssets
from encord_agents.local.uploads import INTEGRATION
from encord_agents.local.users import OWNER

WORKFLOW = Workflow(
    [
        Stage("Annotate"),
        Stage("Review", "review"),
        AgentStage("Check", {"end": "Complete"}),
        Stage("Complete", "done"),
    ]
)
CORNERS = [PointCoordinate(0.1, 0.1), PointCoordinate(0.5, 0.1), PointCoordinate(0.5, 0.5)]
BOX = BoundingBoxCoordinates(height=0.2, width=0.3, top_left_x=0.1, top_left_y=0.1)
FUTURE, PAST = "2099-01-01", "1999-01-01"


class World:
    """A platform with one project of five kinds of files, and what a program of the SDK has of it."""

    def __init__(self, platform: LocalPlatform, files: Path) -> None:
        self.platform, self.files = platform, files
        self.client = platform.client(retries=False)
        self.folder = self.client.create_storage_folder("Folder")
        structure = OntologyStructure()
        for shape in (
            Shape.BOUNDING_BOX,
            Shape.POLYGON,
            Shape.POLYLINE,
            Shape.POINT,
            Shape.BITMASK,
            Shape.AUDIO,
            Shape.TEXT,
        ):
            structure.add_object(shape.value, shape)
        radio = structure.add_classification().add_attribute(RadioAttribute, "Scene")
        radio.add_option("Indoors")
        radio.add_option("Outdoors")
        self.ontology = self.client.create_ontology("Ontology", "of tests", structure)
        self.dataset = self.client.get_dataset(
            self.client.create_dataset("Dataset", StorageLocation.CORD_STORAGE).dataset_hash
        )
        self.template = platform.add_workflow_template(WORKFLOW)
        self.items = {
            "image": self.folder.upload_image(files / "picture.png", client_metadata={"a": 1}),
            "video": self.folder.upload_video(files / "film.mp4"),
            "audio": self.folder.upload_audio(files / "sound.wav"),
            "text": self.folder.upload_text(files / "words.txt"),
            "pdf": self.folder.upload_pdf(files / "pages.pdf"),
        }
        self.dataset.link_items(list(self.items.values()))
        self.project = self.client.get_project(self.new_project("Project"))

    def new_project(self, title: str) -> str:
        return self.client.create_project(
            title,
            [self.dataset.dataset_hash],
            ontology_hash=self.ontology.ontology_hash,
            workflow_template_hash=self.template,
        )

    def row(self, title: str = "picture.png") -> Any:
        (row,) = self.project.list_label_rows_v2(data_title_eq=title, include_workflow_graph_node=True)
        row.initialise_labels()
        return row

    def boxed(self, title: str = "picture.png") -> Any:
        """A row with a box that is saved."""
        row = self.row(title)
        self.add(row, Shape.BOUNDING_BOX, BOX)
        row.save()
        return row

    def add(self, row: Any, shape: Shape, coordinates: Any, frames: Any = 0) -> None:
        (object_,) = [found for found in self.project.ontology_structure.objects if found.shape == shape]
        instance = object_.create_instance()
        instance.set_for_frames(coordinates, frames) if frames is not None else instance.set_for_frames(coordinates)
        row.add_object_instance(instance)

    def kept(self, row: Any) -> Any:
        """The row, saved and read again."""
        row.save()
        return self.row(row.data_title)

    def stage(self, name: str) -> Any:
        return self.project.workflow.get_stage(name=name)

    def task(self, stage: str = "Annotate") -> Any:
        return next(iter(self.stage(stage).get_tasks()))

    def reviewed(self) -> Any:
        """A task that is in review, with labels."""
        self.boxed()
        for task in self.stage("Annotate").get_tasks(data_title="picture.png"):
            task.submit()
        return self.task("Review")

    def titles(self, **filters: Any) -> list[str]:
        return [project.title for project in self.client.list_projects(**filters)]

    def group(self) -> Any:
        """A row of an image group of two."""
        paths = [kinds.picture(self.files / "one" / name) for name in ("a.png", "b.png")]
        item = self.folder.create_image_group(paths, title="group")
        self.dataset.link_items([item])
        return self.row("group")


class Beginning:
    """The state that each test begins with: made once, as all the uploads cost more than most tests."""

    def __init__(self, world: World) -> None:
        self._world, self._service = world, world.platform._service
        self._state = sqlite3.connect(":memory:")
        with self._service.database.read() as connection:
            connection.backup(self._state)
        assert isinstance(self._service.assets, MemoryAssets)
        self._assets = {**self._service.assets._files}

    def close(self) -> None:
        self._state.close()

    def again(self, files: Path) -> World:
        """The world as it was, with objects of the SDK that no test has had."""
        platform = self._world.platform
        with self._service.database.read() as connection:
            self._state.backup(connection)
        assert isinstance(self._service.assets, MemoryAssets)
        self._service.assets._files = {**self._assets}
        assert platform._door is not None
        platform._door.unknown.clear()
        world = copy.copy(self._world)
        world.files = files
        world.client = platform.client(retries=False)
        world.folder = world.client.get_storage_folder(world.folder.uuid)
        world.ontology = world.client.get_ontology(world.ontology.ontology_hash)
        world.dataset = world.client.get_dataset(world.dataset.dataset_hash)
        world.project = world.client.get_project(world.project.project_hash)
        world.items = {**world.items}
        platform.journal.clear()
        return world


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beginning]:
    with LocalPlatform() as platform:
        beginning = Beginning(World(platform, kinds.five(tmp_path_factory.mktemp("files") / "files")))
        yield beginning
        beginning.close()


@pytest.fixture
def world(beginning: Beginning, tmp_path: Path) -> Iterator[World]:
    files = kinds.five(tmp_path / "files")
    (files / "one").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield beginning.again(files)


WORKS: dict[str, Callable[[World], Any]] = {}
LATER: dict[str, Callable[[World], Any]] = {}


def works(name: str) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    def keep(function: Callable[[World], Any]) -> Callable[[World], Any]:
        assert name not in WORKS
        WORKS[name] = function
        return function

    return keep


def check(name: str, test: Callable[[World], Any]) -> None:
    """An operation whose test is an expression that is true."""

    @works(name)
    def run(world: World) -> None:
        assert test(world)


# Projects
check("list_projects", lambda w: w.titles() == ["Project"])
check(
    "list_projects(title_eq)", lambda w: w.titles(title_eq="nope") == [] and w.titles(title_eq="Project") == ["Project"]
)
check("list_projects(desc_like)", lambda w: w.titles(desc_like="%nope%") == [])
check("list_projects(created_after)", lambda w: w.titles(created_after=FUTURE) == [] and w.titles(created_after=PAST))
check("list_projects(edited_before)", lambda w: w.titles(edited_before=PAST) == [] and w.titles(edited_before=FUTURE))
check("get_projects", lambda w: [p["project"].title for p in w.client.get_projects(title_like="Pro%")] == ["Project"])
check("get_project", lambda w: w.client.get_project(w.project.project_hash).title == "Project")
check("project.ontology_structure", lambda w: len(w.project.ontology_structure.objects) == 7)
check("project.workflow.stages", lambda w: [s.title for s in w.project.workflow.stages][-1] == "Complete")
check(
    "project.refetch_data",
    lambda w: (
        w.client.get_project(w.project.project_hash).set_status(ProjectStatus.PAUSED) is None
        and w.project.refetch_data() is None
        and w.project.status == ProjectStatus.PAUSED
    ),
)
check("project.label_rows", lambda w: len(w.project.label_rows) == 5)
check(
    "project.list_datasets",
    lambda w: [str(d.dataset_hash) for d in w.project.list_datasets()] == [w.dataset.dataset_hash],
)
check("project.list_branches", lambda w: list(w.project.list_branches()) == ["main"])
check("project.list_users", lambda w: [u.user_email for u in w.project.list_users()] == [OWNER])
check("project.get_tags", lambda w: w.project.get_tags() == [])


@works("project.add_users")
def _(world: World) -> None:
    (added,) = world.project.add_users(["ann@example.com"], ProjectUserRole.ANNOTATOR)
    assert (added.user_email, added.user_role) == ("ann@example.com", ProjectUserRole.ANNOTATOR)
    world.project.remove_users(["ann@example.com"])
    assert [user.user_email for user in world.project.list_users()] == [OWNER]


@works("project.add_datasets, remove_datasets")
def _(world: World) -> None:
    other = world.client.create_dataset("Other", StorageLocation.CORD_STORAGE).dataset_hash
    world.client.get_dataset(other).link_items([world.items["image"]])
    assert world.project.add_datasets([other])
    assert len(world.project.list_label_rows_v2()) == 6
    assert world.project.remove_datasets([other])
    assert len(world.project.list_label_rows_v2()) == 5


@works("project.copy_project")
def _(world: World) -> None:
    world.boxed()
    copied = world.client.get_project(
        world.project.copy_project(copy_datasets=True, copy_labels=CopyLabelsOptions(), new_title="Twin")
    )
    (row,) = copied.list_label_rows_v2(data_title_eq="picture.png")
    row.initialise_labels()
    assert (copied.title, len(row.get_object_instances())) == ("Twin", 1)


@works("project.copy_project(CLONE)")
def _(world: World) -> None:
    world.boxed()
    options = CopyDatasetOptions(CopyDatasetAction.CLONE, dataset_title="Cloned")
    copied = world.client.get_project(
        world.project.copy_project(copy_datasets=options, copy_labels=CopyLabelsOptions())
    )
    (row,) = copied.list_label_rows_v2(data_title_eq="picture.png")
    row.initialise_labels()
    assert [found.title for found in copied.list_datasets()] == ["Cloned"]
    assert len(row.get_object_instances()) == 1


@works("project.set_status")
def _(world: World) -> None:
    world.project.set_status(ProjectStatus.PAUSED)
    assert world.client.get_project(world.project.project_hash).status == ProjectStatus.PAUSED


@works("project.get_issue_tags")
def _(world: World) -> None:
    world.project.add_issue_tags(["blurred"])
    assert [tag.name for tag in world.project.get_issue_tags()] == ["blurred"]


@works("project.get_data")
def _(world: World) -> None:
    rows = {row.data_title: row.data_hash for row in world.project.list_label_rows_v2()}
    video, images = world.project.get_data(rows["film.mp4"], get_signed_url=True)
    assert (video["title"], images) == ("film.mp4", None)
    assert requests.get(video.file_link, timeout=60).content == (world.files / "film.mp4").read_bytes()


@works("create_project")
def _(world: World) -> None:
    project = world.client.get_project(world.client.create_project("Plain", [world.dataset.dataset_hash]))
    assert [stage.title for stage in project.workflow.stages] == ["Annotate", "Review", "Complete"]


@works("the same data in a second project")
def _(world: World) -> None:
    twin = world.client.get_project(world.new_project("Twin"))
    assert {row.data_hash for row in twin.list_label_rows_v2()} == {
        row.data_hash for row in world.project.list_label_rows_v2()
    }


# Ontologies
check("get_ontology", lambda w: w.client.get_ontology(w.ontology.ontology_hash).title == "Ontology")
check(
    "get_ontologies",
    lambda w: len(w.client.get_ontologies(title_eq="Ontology")) == 1 and not w.client.get_ontologies(title_eq="x"),
)
check("create_ontology", lambda w: w.client.create_ontology("Empty").title == "Empty")


@works("ontology.save")
def _(world: World) -> None:
    world.ontology.structure.add_object("Later", Shape.BOUNDING_BOX)
    world.ontology.save()
    world.project.refetch_ontology()
    assert "Later" in [found.name for found in world.project.ontology_structure.objects]
    row = world.row()
    boxed = world.project.ontology_structure.objects[-1].create_instance()
    boxed.set_for_frames(BOX, 0)
    row.add_object_instance(boxed)
    assert len(world.kept(row).get_object_instances()) == 1


# Datasets
check("get_datasets", lambda w: [d["dataset"].title for d in w.client.get_datasets(title_like="data%")] == ["Dataset"])
check("get_dataset", lambda w: len(w.client.get_dataset(w.dataset.dataset_hash).data_rows) == 5)
check(
    "create_dataset",
    lambda w: w.client.create_dataset("D", StorageLocation.CORD_STORAGE).backing_folder_uuid is not None,
)
check(
    "dataset.list_data_rows",
    lambda w: [r.title for r in w.dataset.list_data_rows(title_like="%.png")] == ["picture.png"],
)
check(
    "dataset.upload_image", lambda w: w.dataset.upload_image(w.files / "picture.png", title="more")["title"] == "more"
)
check("dataset.upload_video", lambda w: w.dataset.upload_video(w.files / "film.mp4")["title"] == "film.mp4")
check(
    "dataset.link_items",
    lambda w: len(w.dataset.link_items([w.items["image"]], DataLinkDuplicatesBehavior.DUPLICATE)) == 1,
)
check(
    "dataset.add_users",
    lambda w: w.dataset.add_users(["b@example.com"], DatasetUserRole.USER)[0].user_email == "b@example.com",
)


@works("dataset.delete_data")
def _(world: World) -> None:
    world.dataset.delete_data([world.dataset.list_data_rows()[0].uid])
    assert len(world.project.list_label_rows_v2()) == 4


@works("dataset.add_private_data_to_dataset")
def _(world: World) -> None:
    world.dataset.add_private_data_to_dataset(
        INTEGRATION, {"images": [{"objectUrl": f"file://{world.files / 'picture.png'}", "title": "private.png"}]}
    )
    assert world.row("private.png").width == 40


# Storage
check(
    "create_storage_folder",
    lambda w: w.client.create_storage_folder("F", client_metadata={"x": 1}).client_metadata == {"x": 1},
)
check("list_storage_folders", lambda w: "Folder" in [f.name for f in w.client.list_storage_folders()])
check("find_storage_folders", lambda w: [f.name for f in w.client.find_storage_folders(search="old")] == ["Folder"])
check("get_storage_folder", lambda w: w.client.get_storage_folder(w.folder.uuid).name == "Folder")
check("find_storage_items", lambda w: [i.name for i in w.client.find_storage_items(search=".WAV")] == ["sound.wav"])
check("item.parent_folder", lambda w: w.client.get_storage_item(w.items["image"]).parent_folder().uuid == w.folder.uuid)
check("item.get_summary", lambda w: w.client.get_storage_item(w.items["image"]).get_summary().used_in_datasets == 1)
check("folder.get_summary", lambda w: (s := w.folder.get_summary()).files == 5 and s.videos == s.audios == 1)
check(
    "folder.list_items",
    lambda w: [i.name for i in w.folder.list_items(item_types=[StorageItemType.PDF])] == ["pages.pdf"],
)
check("folder.create_subfolder", lambda w: w.folder.create_subfolder("below").parent_uuid == w.folder.uuid)
check(
    "folder.upload_image",
    lambda w: (i := w.client.get_storage_item(w.items["image"])).width == 40 and i.client_metadata == {"a": 1},
)
check("folder.upload_video", lambda w: w.client.get_storage_item(w.items["video"]).frame_count == 6)
check("folder.upload_audio", lambda w: w.client.get_storage_item(w.items["audio"]).audio_sample_rate == 8000)
check("folder.upload_text", lambda w: w.client.get_storage_item(w.items["text"]).mime_type == "text/plain")
check("folder.upload_pdf", lambda w: w.client.get_storage_item(w.items["pdf"]).frame_count == 2)
check(
    "folder.upload_nifti",
    lambda w: w.client.get_storage_item(w.folder.upload_nifti(kinds.nifti(w.files / "v.nii"))).width == 8,
)
check("get_storage_item(s)", lambda w: len(w.client.get_storage_items(list(w.items.values()), sign_url=True)) == 5)
check(
    "get_child_items",
    lambda w: w.group() and len(list(next(iter(w.client.find_storage_items(search="group"))).get_child_items())) == 2,
)


@works("folder.create_dicom_series")
def _(world: World) -> None:
    series = world.folder.create_dicom_series([kinds.dicom(world.files / f"{n}.dcm") for n in "ab"], title="series")
    world.dataset.link_items([series])
    assert len(list(world.client.get_storage_item(series).get_child_items())) == 2
    assert world.row("series").data_type == "dicom"


@works("folder.create_data_group")
def _(world: World) -> None:
    contents = {"left": world.items["image"], "right": world.items["video"], "notes": world.items["text"]}
    group = world.folder.create_data_group(DataGroupCustom(name="pair", layout_contents=contents))
    world.dataset.link_items([group])
    row = world.row("pair")
    space = row.get_space(layout_key="right", type_="video")
    instance = world.project.ontology_structure.objects[0].create_instance()
    space.put_object_instance(instance, frames=[2], coordinates=BOX)
    again = world.kept(row)
    (found,) = again.get_space(layout_key="right", type_="video").get_object_instances()
    assert found.object_hash == instance.object_hash
    assert world.client.get_storage_item(group).get_summary().data_group.layout_contents.keys() == contents.keys()


@works("folder.delete")
def _(world: World) -> None:
    below = world.folder.create_subfolder("below")
    below.delete()
    assert list(world.folder.list_subfolders()) == []


@works("item.update(client_metadata)")
def _(world: World) -> None:
    item = world.client.get_storage_item(world.items["image"])
    item.update(client_metadata={"b": 2}, name="new.png")
    assert world.client.get_storage_item(item.uuid).client_metadata == {"b": 2}
    assert world.row("new.png")


@works("item.move_to_folder, delete")
def _(world: World) -> None:
    item = world.client.get_storage_item(world.folder.upload_image(world.files / "picture.png"))
    item.move_to_folder(world.client.create_storage_folder("Elsewhere"))
    item.delete()
    with pytest.raises(EncordException):
        world.client.get_storage_item(item.uuid)


@works("download")
def _(world: World) -> None:
    url = world.client.get_storage_item(world.items["image"], sign_url=True).get_signed_url()
    assert requests.get(url, timeout=60).content == (world.files / "picture.png").read_bytes()


# Label rows
check("list_label_rows_v2(data_title_like)", lambda w: len(w.project.list_label_rows_v2(data_title_like="%.p%")) == 2)
check("list_label_rows_v2(edited_after)", lambda w: w.boxed() and not w.project.list_label_rows_v2(edited_after=FUTURE))
check(
    "list_label_rows_v2(include_images_data)",
    lambda w: (
        w.group()
        and len(w.project.list_label_rows_v2(data_title_eq="group", include_images_data=True)[0].get_frames_metadata())
        == 2
    ),
)
check(
    "list_label_rows_v2(workflow_graph_node)",
    lambda w: len(w.project.list_label_rows_v2(workflow_graph_node_title_eq="Annotate")) == 5,
)
check(
    "list_label_rows_v2(include_client_metadata)",
    lambda w: (
        w.project.list_label_rows_v2(data_title_eq="picture.png", include_client_metadata=True)[0].client_metadata
        == {"a": 1}
    ),
)
check("image: box", lambda w: len(w.boxed().get_object_instances()) == 1)
check("audio_sample_rate", lambda w: w.row("sound.wav").audio_sample_rate == 8000)
check(
    "row.to_encord_dict, from_labels_dict",
    lambda w: (
        (r := w.boxed()).from_labels_dict(r.to_encord_dict()) is None and len(w.kept(r).get_object_instances()) == 1
    ),
)
check("row.get_validation_errors", lambda w: w.boxed().get_validation_errors() in ([], None))
check("row.save(validate_before_saving)", lambda w: w.boxed().save(validate_before_saving=True) is None)
check(
    "signed data_link",
    lambda w: (
        (r := w.project.list_label_rows_v2(data_title_eq="picture.png")[0]).initialise_labels(include_signed_url=True)
        is None
        and r.data_link.startswith("http")
    ),
)
check("row.set_priority", lambda w: w.row().set_priority(0.9) is None and w.task().data_title == "picture.png")
check(
    "project.get_label_classifications",
    lambda w: len(list(w.project.get_label_classifications([w.boxed().label_hash]))) == 1,
)


@works("image: bitmask, polygon, polyline, point, radio")
def _(world: World) -> None:
    row = world.row()
    mask = np.zeros((row.height, row.width), dtype=bool)
    mask[2:6, 3:9] = True
    for shape, place in {
        Shape.BITMASK: BitmaskCoordinates(mask),
        Shape.POLYGON: PolygonCoordinates(CORNERS),
        Shape.POLYLINE: PolylineCoordinates(CORNERS),
        Shape.POINT: CORNERS[0],
    }.items():
        world.add(row, shape, place)
    scene = world.project.ontology_structure.classifications[0]
    answer = scene.create_instance()
    answer.set_answer(scene.attributes[0].options[1])
    answer.set_for_frames(0)
    row.add_classification_instance(answer)
    again = world.kept(row)
    assert len(again.get_object_instances()) == 4
    assert again.get_classification_instances()[0].get_answer().label == "Outdoors"


@works("video: object over frames")
def _(world: World) -> None:
    row = world.row("film.mp4")
    world.add(row, Shape.BOUNDING_BOX, BOX, [0, 3, 5])
    (found,) = world.kept(row).get_object_instances()
    assert sorted(annotation.frame for annotation in found.get_annotations()) == [0, 3, 5]
    assert (row.number_of_frames, row.fps) == (6, 10)


@works("audio: object over a range")
def _(world: World) -> None:
    row = world.row("sound.wav")
    world.add(row, Shape.AUDIO, AudioCoordinates(range=[Range(10, 200)]), None)
    (found,) = world.kept(row).get_object_instances()
    assert [(r.start, r.end) for r in found.range_list] == [(10, 200)]


@works("text: object over characters")
def _(world: World) -> None:
    row = world.row("words.txt")
    world.add(row, Shape.TEXT, TextCoordinates(range=[Range(0, 3)]), None)
    assert len(world.kept(row).get_object_instances()) == 1


@works("pdf: object on a page")
def _(world: World) -> None:
    row = world.row("pages.pdf")
    world.add(row, Shape.BOUNDING_BOX, BOX, 1)
    assert len(world.kept(row).get_object_instances()) == 1


@works("image group: labels frame by frame")
def _(world: World) -> None:
    row = world.group()
    assert row.number_of_frames == 2
    world.add(row, Shape.BOUNDING_BOX, BOX, [0, 1])
    world.add(row, Shape.POINT, CORNERS[0], 1)
    again = world.kept(row)
    counts = [len(view.get_object_instances()) for view in again.get_frame_views()]
    assert counts == [1, 2]


@works("image sequence: labels frame by frame")
def _(world: World) -> None:
    paths = [kinds.picture(world.files / "one" / name) for name in ("c.png", "d.png")]
    item = world.folder.create_image_sequence(paths, title="sequence")
    world.dataset.link_items([item])
    row = world.row("sequence")
    world.add(row, Shape.BOUNDING_BOX, BOX, [1])
    assert len(world.kept(row).get_object_instances()) == 1
    film = world.client.get_storage_item(item, sign_url=True)
    assert film.mime_type == "video/mp4"
    assert b"ftyp" in requests.get(film.get_signed_url(), timeout=60).content[:32]


@works("bundles")
def _(world: World) -> None:
    rows = world.project.list_label_rows_v2()
    with world.project.create_bundle() as bundle:
        for row in rows:
            row.initialise_labels(bundle=bundle)
    world.add(rows[0], Shape.BOUNDING_BOX, BOX)
    with world.project.create_bundle() as bundle:
        for row in rows:
            row.save(bundle=bundle)
    assert [bool(world.row(row.data_title).get_object_instances()) for row in rows] == [True] + [False] * 4


@works("save on a branch, copy_labels_to_branch")
def _(world: World) -> None:
    world.boxed()
    assert world.project.copy_labels_to_branch("second") == 1
    (row,) = [row for row in world.project.list_label_rows_v2(branch_name="second") if row.label_hash]
    row.initialise_labels()
    assert len(row.get_object_instances()) == 1
    assert list(world.project.list_branches()) == ["main", "second"]


@works("row.workflow_complete, workflow_reopen")
def _(world: World) -> None:
    row = world.boxed()
    row.workflow_complete()
    assert world.task("Complete").data_title == "picture.png"
    row.workflow_reopen()
    assert len(list(world.stage("Annotate").get_tasks())) == 5


# Tasks
check(
    "stage.get_tasks(filters)",
    lambda w: [t.data_title for t in w.stage("Annotate").get_tasks(data_title="film")] == ["film.mp4"],
)
check("task.assign", lambda w: w.task().assign(OWNER) is None and w.task().assignee == OWNER)
check("task.release", lambda w: (t := w.task()).assign(OWNER) is None and t.release() is None and not w.task().assignee)
check("task.submit", lambda w: w.task().submit() is None and w.task("Review"))
check("task.approve", lambda w: w.reviewed().approve() is None and w.task("Check").last_actioned_by == OWNER)
check(
    "task.reject",
    lambda w: w.reviewed().reject() is None and any(t.status == "REOPENED" for t in w.stage("Annotate").get_tasks()),
)
check("task.get_label_reviews", lambda w: [r.status for r in w.reviewed().get_label_reviews()] == ["NEW"])
check(
    "task.move", lambda w: w.task().move(destination_stage_uuid=w.stage("Complete").uuid) is None and w.task("Complete")
)


@works("agent task.proceed")
def _(world: World) -> None:
    world.task().move(destination_stage_uuid=world.stage("Check").uuid)
    world.task("Check").proceed("end")
    assert world.task("Complete")


@works("task.issues")
def _(world: World) -> None:
    task = world.task()
    task.issues.add_file_issue("blurred", ["quality"])
    task.issues.add_frame_issue(0, "here", [])
    task.issues.add_coordinate_issue(0, 0.5, 0.5, "exactly here", [])
    assert {issue.comments[0].content for issue in task.issues.list()} == {"blurred", "here", "exactly here"}


@works("project.get_task_actions")
def _(world: World) -> None:
    world.task().submit()
    world.task("Review").reject()
    now = datetime.now()
    found = world.project.get_task_actions(after=now - timedelta(days=1), before=now + timedelta(days=1))
    assert [action.action_type for action in found] == ["submit", "reject"]


# The organisation
check("get_bearer_token", lambda w: len(w.client.get_bearer_token()) > 20)
check("get_cloud_integrations", lambda w: [i.id for i in w.client.get_cloud_integrations()] == [INTEGRATION])
check("list_organisation_users", lambda w: [u.email for u in w.client.list_organisation_users()] == [OWNER])
check("list_groups", lambda w: list(w.client.list_groups()) == [])


@works("metadata_schema")
def _(world: World) -> None:
    schema = world.client.metadata_schema()
    schema.add_scalar("speed", data_type="number")
    schema.save()
    assert "speed" in world.client.metadata_schema().keys()  # noqa: SIM118 -- it is no mapping


# Less frequent ones, each with what can be read back afterwards
@works("dataset.update_data_item, data_row.save")
def _(world: World) -> None:
    row = world.dataset.list_data_rows(title_eq="picture.png")[0]
    assert world.dataset.update_data_item(row.uid, "renamed.png")
    row.refetch_data()
    assert row.title == "renamed.png"
    row.title, row.client_metadata = "again.png", {"c": 3}
    row.save()
    item = world.client.get_storage_item(world.items["image"])
    assert (item.name, item.client_metadata) == ("again.png", {"c": 3})


@works("dataset.remove_users, list_users")
def _(world: World) -> None:
    world.dataset.add_users(["b@example.com"], DatasetUserRole.USER)
    assert [user.user_email for user in world.dataset.list_users()] == [OWNER, "b@example.com"]
    world.dataset.remove_users(["b@example.com"])
    assert [user.user_email for user in world.dataset.list_users()] == [OWNER]


@works("dataset.create_image_group")
def _(world: World) -> None:
    paths = [str(kinds.picture(world.files / "one" / name)) for name in ("a.png", "b.png")]
    world.dataset.create_image_group(paths, title="grouped")
    (row,) = world.dataset.list_data_rows(title_eq="grouped")
    assert [image.title for image in row.images_data] == ["a.png", "b.png"]


@works("folder.update, update(bundle=...)")
def _(world: World) -> None:
    other = world.client.create_storage_folder("Other")
    world.folder.update(name="New", description="d", client_metadata={"k": 1})
    with Bundle() as bundle:
        other.update(name="Newer", bundle=bundle)
        world.folder.update(client_metadata={"k": 2}, bundle=bundle)
    found = {folder.name: folder for folder in world.client.list_storage_folders()}
    assert (found["New"].description, found["New"].client_metadata) == ("d", {"k": 2})
    assert found["Newer"].uuid == other.uuid


@works("folder.move_to_folder")
def _(world: World) -> None:
    other = world.client.create_storage_folder("Other")
    other.move_to_folder(world.folder)
    assert [folder.name for folder in world.folder.list_subfolders()] == ["Other"]
    other.move_to_folder(None)
    assert list(world.folder.list_subfolders()) == []


@works("folder.move_items_to_folder, delete_storage_items")
def _(world: World) -> None:
    other = world.client.create_storage_folder("Other")
    world.folder.move_items_to_folder(other, [world.items["image"], world.items["pdf"]])
    assert {item.name for item in other.list_items()} == {"picture.png", "pages.pdf"}
    other.delete_storage_items([world.items["image"]])
    assert [item.name for item in other.list_items()] == ["pages.pdf"]
    assert len(world.project.list_label_rows_v2()) == 4


@works("item.update(bundle=...)")
def _(world: World) -> None:
    items = world.client.get_storage_items([world.items["image"], world.items["pdf"]])
    with Bundle() as bundle:
        for item in items:
            item.update(description=f"the {item.name}", client_metadata={"n": item.name}, bundle=bundle)
    again = world.client.get_storage_items([world.items["image"], world.items["pdf"]])
    assert [(item.description, item.client_metadata) for item in again] == [
        ("the picture.png", {"n": "picture.png"}), ("the pages.pdf", {"n": "pages.pdf"}),
    ]  # fmt: skip


@works("folder.create_data_groups")
def _(world: World) -> None:
    first, second = world.folder.create_data_groups(
        [
            [world.items["image"], world.items["video"]],
            DataGroupCustom(name="b", layout_contents={"x": world.items["pdf"]}),
        ]
    )
    children = [len(list(world.client.get_storage_item(group).get_child_items())) for group in (first, second)]
    assert children == [2, 1]


@works("folder.add_private_data_to_folder_start, get_result, job_cancel")
def _(world: World) -> None:
    good, bad = f"file://{world.files / 'picture.png'}", "file:///no/such.png"
    files = {"images": [{"objectUrl": good, "title": "good"}, {"objectUrl": bad, "title": "bad"}]}
    job = world.folder.add_private_data_to_folder_start(INTEGRATION, files, ignore_errors=True)
    result = world.folder.add_private_data_to_folder_get_result(job)
    assert [item.name for item in result.items_with_names] == ["good"]
    assert (result.units_done_count, result.units_error_count) == (1, 1)
    assert result.unit_errors[0].object_urls == [bad]
    assert world.folder.add_data_to_folder_job_cancel(job).units_cancelled_count == 0
    assert world.folder.add_private_data_to_folder_get_result(job).status.value == "DONE"


@works("metadata schema of the older kind")
def _(world: World) -> None:
    assert world.client.get_client_metadata_schema() is None
    world.client.set_client_metadata_schema_from_dict({"speed": "number", "night": "boolean"})
    found = world.client.get_client_metadata_schema()
    assert found is not None
    assert {key: getattr(kind, "value", kind) for key, kind in found.items()} == {"speed": "number", "night": "boolean"}


@works("organisation tags")
def _(world: World) -> None:
    tag = world.client.create_organisation_tag("night")
    assert [found.name for found in world.client.list_organisation_tags()] == ["night"]
    world.client.delete_organisation_tag(tag)
    assert world.client.list_organisation_tags() == []
    assert (
        list(world.ontology.list_groups())
        == list(world.dataset.list_groups())
        == list(world.project.list_groups())
        == []
    )


@works("create_with_bearer_token")
def _(world: World) -> None:
    client = EncordUserClient.create_with_bearer_token(world.client.get_bearer_token(), domain=world.platform.domain)
    assert [project.title for project in client.list_projects()] == ["Project"]


@works("label_review.approve, reject, reopen")
def _(world: World) -> None:
    task = world.reviewed()
    (review,) = task.get_label_reviews()
    for act, status in ((review.reject, "REJECTED"), (review.reopen, "REOPENED"), (review.approve, "APPROVED")):
        act()
        assert [found.status.value for found in task.get_label_reviews()] == [status]


@works("label_review.reject(comment, issue_tags)")
def _(world: World) -> None:
    task = world.reviewed()
    (review,) = task.get_label_reviews()
    review.reject(comment="too loose", issue_tags=["loose"])
    (issue,) = task.issues.list()
    assert isinstance(issue, AnnotationIssue)
    assert (issue.annotation_id, issue.comments[0].content) == (review.label_id, "too loose")
    assert [tag.name for tag in issue.tags] == ["loose"]


@works("task.issues.delete")
def _(world: World) -> None:
    task = world.task()
    task.issues.add_file_issue("one", [])
    task.issues.add_file_issue("two", [])
    first = next(issue for issue in task.issues.list() if issue.comments[0].content == "one")
    task.issues.delete([first.uuid])
    assert [issue.comments[0].content for issue in task.issues.list()] == ["two"]
    assert [list(other.issues.list()) for other in world.stage("Annotate").get_tasks() if other.uuid != task.uuid] == [
        []
    ] * 4


AFTER = datetime.now() - timedelta(days=1)
LATER |= {
    "project.list_time_spent": lambda w: list(w.project.list_time_spent(start=AFTER)),
    "project.list_collaborator_timers": lambda w: list(w.project.list_collaborator_timers(after=AFTER)),
    "project.get_editor_logs": lambda w: list(w.project.get_editor_logs(AFTER, datetime.now())),
    "project.get_label_logs": lambda w: w.project.get_label_logs(),
    "client.list_collections": lambda w: list(w.client.list_collections()),
    "client.create_collection": lambda w: w.client.create_collection(w.folder.uuid, "c"),
    "project.list_collections": lambda w: list(w.project.list_collections()),
    "client.list_presets": lambda w: list(w.client.list_presets()),
    "project.list_filter_presets": lambda w: list(w.project.list_filter_presets()),
    "project.active_sync": lambda w: w.project.active_sync(),
    "folder.upload_time_series": lambda w: w.folder.upload_time_series(w.files / "words.txt"),
    "folder.re_encode_videos": lambda w: w.folder.re_encode_videos([w.items["video"]], "t", False),
    "client.create_group": lambda w: w.client.create_group("g"),
}


@pytest.mark.parametrize("name", WORKS)
def test_it_works(world: World, name: str) -> None:
    """The operation does what it says, and nothing is asked for that the platform does not know."""
    WORKS[name](world)
    world.platform.check()


@pytest.mark.parametrize("name", LATER)
def test_it_is_refused_with_a_remedy(world: World, name: str) -> None:
    """A 501, and the message says what to do instead."""
    with pytest.raises(EncordException, match=r"The local platform does not know .+?\. [A-Z].+\."):
        LATER[name](world)


def test_most_operations_work() -> None:
    """Of about a hundred operations, at least ninety."""
    assert len(WORKS) >= 90
    assert len(LATER) <= 15
