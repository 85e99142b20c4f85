"""Filters of objects, marks of extras, and members of groups by number or name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from encord.objects import LabelRowV2, OntologyStructure, Shape
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.orm.storage import StorageItemType
from encord.storage import StorageItem
from tests import films, kinds

from encord_agents.exceptions import PrintableError, UnsupportedAssetError
from encord_agents.local.images import png
from encord_agents.tasks.dependencies import (
    dep_asset,
    dep_single_frame,
    dep_storage_item,
    dep_text,
    dep_video_sampler,
)
from encord_agents.tasks.media import (
    cut_out,
    dep_pdf_pages,
    extra_of,
    frames_by_number,
    needs_extra,
    of_child,
    wanted_instances,
)

if TYPE_CHECKING:
    from tests.conftest import World


@pytest.fixture
def row(world: World) -> LabelRowV2:
    """A row with two boxes of the first object of its ontology, and one of the second."""
    structure = OntologyStructure()
    for title in ("Cat", "Dog"):
        structure.add_object(title, Shape.BOUNDING_BOX)
    stages = [
        {"title": "Agent", "type": "agent", "pathways": {"go": "Done"}},
        {"title": "Done", "type": "done"},
    ]
    world.project = world.platform.create_project(workflow={"stages": stages}, ontology=structure)
    world.project.add_image("cat.png", png(64, 48, 50))
    (made,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    made.initialise_labels()
    for number, thing in enumerate([0, 0, 1]):
        instance = made.ontology_structure.objects[thing].create_instance()
        box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=0.25 * number, top_left_y=0.25)
        instance.set_for_frames(box, 0)
        made.add_object_instance(instance)
    return made


@pytest.fixture
def group(world: World) -> StorageItem:
    world.project.add_image_group("holiday", [png(8, 4, grey) for grey in (10, 20)])
    return item_of(world)


def item_of(world: World) -> StorageItem:
    (made,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    assert made.backing_item_uuid is not None
    return world.client.get_storage_item(made.backing_item_uuid)


def test_filters(row: LabelRowV2) -> None:
    """By object of the ontology or its hash, by title, by instance or its hash; all of them must let it pass."""
    instances = row.get_object_instances()
    first, second = (row.ontology_structure.objects[number] for number in (0, 1))

    def passing(*filters: Any) -> list[int]:
        is_wanted = wanted_instances(*filters)
        return [number for number, instance in enumerate(instances) if is_wanted(instance)]

    assert passing(None, None, None) == [0, 1, 2]
    assert passing([first], None, None) == passing([first.feature_node_hash], None, None) == [0, 1]
    assert passing([first, second.feature_node_hash], None, None) == [0, 1, 2]
    assert passing(None, second.title, None) == passing(None, [second.title], None) == [2]
    assert passing(None, None, [instances[1]]) == passing(None, None, [instances[1].object_hash]) == [1]
    assert passing([first], None, [instances[1], instances[2]]) == [1]
    assert passing([], None, None) == passing(None, [], None) == passing(None, None, []) == []
    assert passing(["no such hash"], None, None) == passing(None, "No such title", None) == []


@pytest.mark.parametrize("number", [3, 0])
def test_crops_of_objects(world: World, row: LabelRowV2, number: int) -> None:
    """The file is fetched once, and where there is nothing to crop it is not fetched."""
    world.platform.journal.clear()
    crops = cut_out(row.get_object_instances()[:number], item_of(world), None)
    assert len(crops) == number
    assert world.platform.journal.count("asset") == (1 if number else 0)


VAGUE = ["application/pdf", "application/pdf; charset=binary", "application/octet-stream", "image/png", None]


@pytest.mark.parametrize("mime_type", VAGUE)
def test_a_pdf_by_its_type_on_the_platform(world: World, tmp_path: Path, mime_type: str | None) -> None:
    """The pages of a PDF are its frames, and it has no first frame, whatever MIME type its storage host has for it."""
    world.project.add_file("scan", kinds.pdf(tmp_path / "a.pdf").read_bytes(), item_type="pdf", mime_type="text/plain")
    item = with_mime_type(item_of(world), mime_type)
    with ExitStack() as mine:
        found = [(frame.frame, frame.content.shape) for frame in frames_by_number(item, None, [0, 1], mine)]
    assert found == [(0, (209, 417, 3)), (1, (209, 417, 3))]
    with pytest.raises(UnsupportedAssetError, match="'scan' is of type pdf, which has no frames"):
        dep_single_frame(item)
    with pytest.raises(UnsupportedAssetError, match="'scan' is of type pdf, not text"):
        dep_text(item)


@pytest.mark.parametrize("mime_type", ["video/mp4", "application/octet-stream", "application/pdf", None])
@pytest.mark.parametrize("item_type", ["image", "video", "audio"])
def test_text_by_its_type_on_the_platform(world: World, item_type: str, mime_type: str | None) -> None:
    """A file that is not text is refused as text, whatever its MIME type; and text is read."""
    world.project.add_file("thing", png(8, 4), item_type=item_type, mime_type="text/plain")
    item = with_mime_type(item_of(world), mime_type)
    with pytest.raises(UnsupportedAssetError, match=f"'thing' is of type {item_type}, not text"):
        dep_text(item)
    item._orm_item = item._orm_item.model_copy(update={"item_type": StorageItemType.PLAIN_TEXT})
    assert "PNG" in dep_text(item)


@pytest.mark.parametrize("mime_type", ["application/octet-stream", "image/png", None])
def test_a_video_by_its_type_on_the_platform(world: World, tmp_path: Path, mime_type: str | None) -> None:
    """Its frames are those that are asked for, and it can be sampled."""
    content = films.film(tmp_path / "film.mp4", 5).read_bytes()
    world.project.add_file("film", content, item_type="video", mime_type="text/plain")
    item = with_mime_type(item_of(world), mime_type)
    with ExitStack() as mine:
        found = [films.number_in(frame.content) for frame in frames_by_number(item, None, [1, 3], mine)]
    assert found == [1, 3]
    assert films.number_in(dep_single_frame(item)) == 0
    for sample in dep_video_sampler(item):
        assert [frame.frame for frame in sample([4])] == [4]


def with_mime_type(item: StorageItem, mime_type: str | None) -> StorageItem:
    item._orm_item = item._orm_item.model_copy(update={"mime_type": mime_type})
    return item


def test_a_mark_is_the_functions_own() -> None:
    """A dependency that is made of one which needs an extra needs it too; others need none."""

    @needs_extra("pdf")
    def marked() -> None: ...

    def plain() -> None: ...

    assert extra_of(marked) == "pdf"
    assert extra_of(plain) is None
    assert extra_of(of_child(0, dep_pdf_pages)) == "pdf"
    assert extra_of(of_child(0, dep_asset)) is None


@pytest.mark.parametrize("child", [1, "holiday-1"])
def test_a_member(group: StorageItem, child: int | str) -> None:
    """By its number or its name, given to a function that returns, or to one that yields."""
    get: Any = of_child(child, dep_storage_item)
    assert get(group).name == "holiday-1"
    picture: Any = of_child(child, dep_single_frame)
    assert int(picture(group)[0, 0, 0]) == 20

    closed = []

    def yielding(storage_item: StorageItem) -> Iterator[str]:
        yield storage_item.name
        closed.append(storage_item.name)

    got: Any = of_child(child, yielding)
    assert inspect.isgeneratorfunction(got)
    assert list(got(group)) == ["holiday-1"]
    assert closed == ["holiday-1"]


@pytest.mark.parametrize("child", [2, -1, "holiday", ""])
def test_no_such_member(group: StorageItem, child: int | str) -> None:
    """The error lists those that are there."""
    get: Any = of_child(child, dep_storage_item)
    with pytest.raises(PrintableError, match=r"'holiday' has no single member .*It has 2: 'holiday-0', 'holiday-1'"):
        get(group)


def test_its_name_tells_the_member() -> None:
    """Errors and `--check` name the member and the dependency."""
    assert of_child("left", dep_asset).__name__ == "of_child('left', dep_asset)"
    assert of_child(3, dep_single_frame).__name__ == "of_child(3, dep_single_frame)"
