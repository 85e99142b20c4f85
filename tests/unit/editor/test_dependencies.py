"""The dependencies of editor agents, called by hand: the frame on the screen, and the objects selected on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.storage import StorageItem
from tests.films import film, number_in

from encord_agents import FrameData
from encord_agents.core.assets import Asset
from encord_agents.core.data_lookup import DataLookup
from encord_agents.core.data_model import EditorAgentResponse
from encord_agents.core.dependencies import Depends
from encord_agents.editor import EditorAgent
from encord_agents.editor.dependencies import dep_data_lookup, dep_object_crops, dep_objects, dep_single_frame
from encord_agents.editor.wire import Request
from encord_agents.exceptions import EditorRequestError, UnsupportedAssetError
from encord_agents.local.images import png
from encord_agents.tasks.media import extra_of

if TYPE_CHECKING:
    from tests.conftest import World


def frame(number: int = 0, objects: list[str] | None = None) -> FrameData:
    hashes = {"projectHash": f"{1:032x}", "dataHash": f"{2:032x}"}
    return FrameData.model_validate({**hashes, "frame": number, "objectHashes": objects})


def loaded(world: World, data_hash: str) -> tuple[LabelRowV2, StorageItem]:
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2(data_hashes=[data_hash])
    row.initialise_labels()
    assert row.backing_item_uuid is not None
    item = world.client.get_storage_item(row.backing_item_uuid, sign_url=True)
    world.platform.journal.clear()
    return row, item


@pytest.fixture
def image(world: World) -> tuple[LabelRowV2, StorageItem]:
    """A row with three boxes, and its item."""
    row, item = loaded(world, world.project.add_image("cat.png"))
    for x in (0.0, 0.25, 0.5):
        world.mark(row, x)
    return row, item


@pytest.fixture
def video(world: World, tmp_path: Path) -> tuple[LabelRowV2, StorageItem]:
    """A row of a film of twelve frames, with a box on frames 3 and 7, and another on frame 7."""
    (data_hash,) = world.project.add_files(film(tmp_path / "film.mp4", 12))
    row, item = loaded(world, data_hash)
    for frames in ([3, 7], [7]):
        instance = row.ontology_structure.objects[0].create_instance()
        box = BoundingBoxCoordinates(height=0.5, width=1.0, top_left_x=0.0, top_left_y=0.25)
        instance.set_for_frames(box, frames)
        row.add_object_instance(instance)
    return row, item


def hashes(row: LabelRowV2) -> list[str]:
    return [instance.object_hash for instance in row.get_object_instances()]


def test_the_picture(image: tuple[LabelRowV2, StorageItem]) -> None:
    """An image is its frame 0: bytes, height first, with three colours."""
    pixels = dep_single_frame(image[1], frame())
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("number", [0, 7, 11])
def test_a_frame_of_a_film(video: tuple[LabelRowV2, StorageItem], number: int) -> None:
    """It is the one on the screen, exactly, from the first to the last."""
    assert number_in(dep_single_frame(video[1], frame(number))) == number


def test_a_member_of_a_group(world: World) -> None:
    """The number on the screen is that of the picture in its group."""
    _, item = loaded(world, world.project.add_image_group("holiday", [png(8, 4, grey) for grey in (10, 20)]))
    assert [int(dep_single_frame(item, frame(number))[0, 0, 0]) for number in (0, 1)] == [10, 20]
    with pytest.raises(EditorRequestError, match="'holiday' has no frame 2"):
        dep_single_frame(item, frame(2))


def test_a_picture_has_no_second_frame(world: World, image: tuple[LabelRowV2, StorageItem]) -> None:
    """It is refused by name and number as not there, and no file is fetched for that."""
    with pytest.raises(EditorRequestError, match=r"^'cat\.png' has no frame 1\.$") as caught:
        dep_single_frame(image[1], frame(1))
    assert caught.value.status == 404
    assert world.requests("asset") == []


def test_a_film_has_no_frame_beyond_its_last(video: tuple[LabelRowV2, StorageItem]) -> None:
    """The number after the last is refused as not there."""
    with pytest.raises(EditorRequestError, match=r"'film\.mp4' has no frame 12\.") as caught:
        dep_single_frame(video[1], frame(12))
    assert caught.value.status == 404


def test_a_file_without_frames(world: World) -> None:
    """A text has none: the error names it."""
    data_hash = world.project.add_file("a.txt", b"text", item_type="plainText", mime_type="text/plain")
    with pytest.raises(UnsupportedAssetError, match=r"'a\.txt'"):
        dep_single_frame(loaded(world, data_hash)[1], frame())


def test_a_file_that_is_there(world: World, image: tuple[LabelRowV2, StorageItem]) -> None:
    """The request's file is used by all that need it, and is not removed by them."""
    row, item = image
    with Asset(item) as asset:
        path = asset.path()
        dep_single_frame(item, frame(), asset)
        assert len(dep_object_crops()(frame(), row, storage_item=item, asset=asset)) == 3
        assert path.exists()
    assert len(world.requests("asset")) == 1


def test_objects_in_the_order_of_the_request(image: tuple[LabelRowV2, StorageItem]) -> None:
    """They are the row's own instances, also one that is asked for twice."""
    row, _ = image
    first, second, third = row.get_object_instances()
    wanted = [third.object_hash, first.object_hash, third.object_hash]
    found = dep_objects(frame(objects=wanted), row)
    assert [one is other for one, other in zip(found, (third, first, third), strict=True)] == [True] * 3
    assert second not in found


@pytest.mark.parametrize("objects", [None, []])
def test_no_objects(image: tuple[LabelRowV2, StorageItem], objects: list[str] | None) -> None:
    """Where nothing is selected, there are no objects to work on."""
    assert dep_objects(frame(objects=objects), image[0]) == []


def test_an_object_that_is_not_saved(image: tuple[LabelRowV2, StorageItem]) -> None:
    """One that the row does not have is named, shortened, with the remedy; the others do not hide it."""
    row, _ = image
    with pytest.raises(EditorRequestError, match="Save the labels") as caught:
        dep_objects(frame(objects=[*hashes(row), "x" * 81]), row)
    assert caught.value.status == 404
    assert f"'{'x' * 80}'" in str(caught.value)


def crops(row: LabelRowV2, item: StorageItem, of: FrameData, **filters: Any) -> list[str]:
    return [crop.instance.object_hash for crop in dep_object_crops(**filters)(of, row, storage_item=item)]


@pytest.mark.parametrize(
    ("selected", "expected"),
    [(None, [0, 1, 2]), ([], [0, 1, 2]), ([2, 0], [0, 2]), ([1], [1])],
    ids=["no selection", "an empty one", "two", "one"],
)
def test_crops_of_the_selection(
    image: tuple[LabelRowV2, StorageItem], selected: list[int] | None, expected: list[int]
) -> None:
    """Selected objects are cut out, in the row's order; without a selection, all on the frame are."""
    row, item = image
    known = hashes(row)
    objects = None if selected is None else [known[number] for number in selected]
    assert crops(row, item, frame(objects=objects)) == [known[number] for number in expected]


def test_crops_of_an_object_that_is_not_there(world: World, image: tuple[LabelRowV2, StorageItem]) -> None:
    """A selection of others is no selection of all: nothing is cut out, or fetched."""
    assert crops(*image, frame(objects=["other"])) == []
    assert world.requests("asset") == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"filter_titles": "Person"}, [0, 1, 2]),
        ({"filter_titles": ["Lamp"]}, []),
        ({"filter_titles": []}, []),
        ({"filter_ontology_objects": ["other"]}, []),
        ({"filter_ontology_objects": []}, [0, 1, 2]),
    ],
    ids=str,
)
def test_filters(image: tuple[LabelRowV2, StorageItem], filters: dict[str, Any], expected: list[int]) -> None:
    """Filters and selection must both let an object pass."""
    row, item = image
    known = hashes(row)
    assert crops(row, item, frame(), **filters) == [known[number] for number in expected]
    both = crops(row, item, frame(objects=[known[1]]), **filters)
    assert both == [known[number] for number in expected if number == 1]


def test_crops_of_one_frame(video: tuple[LabelRowV2, StorageItem]) -> None:
    """Objects of a film are cut out of the frame on the screen, and of no other that they are on."""
    row, item = video
    first, second = hashes(row)
    found = dep_object_crops()(frame(7), row, storage_item=item)
    assert [(crop.frame, crop.instance.object_hash) for crop in found] == [(7, first), (7, second)]
    assert {crop.content.shape for crop in found} == {(32, 256, 3)}
    assert crops(row, item, frame(3)) == [first]
    assert crops(row, item, frame(4)) == []


def test_crops_by_hand(world: World, image: tuple[LabelRowV2, StorageItem], monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is given is cut, and nothing is fetched; without one, the frame is fetched for the label row."""
    row, item = image
    picture = dep_single_frame(item, frame())
    picture[:, :16] = 7
    world.platform.journal.clear()
    cut = dep_object_crops()
    for found in (cut(frame(), row, picture), cut(frame_data=frame(), lr=row, frame=picture)):
        assert [crop.instance.object_hash for crop in found] == hashes(row)
        assert int(found[0].content.max()) == 7
    assert world.platform.journal.count() == 0

    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    assert len(cut(frame(), row)) == 3
    assert len(world.requests("asset")) == 1


@pytest.mark.filterwarnings("ignore:DataLookup is deprecated:DeprecationWarning")
def test_a_lookup(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request's lookup finds the data of the project's datasets as they are now, and not another project's. By hand,
    the function takes a lookup.
    """
    for name, value in world.platform.environment().items():
        monkeypatch.setenv(name, value)
    other = world.platform.create_project(workflow={"stages": [{"title": "A", "type": "agent"}]}).add_image("elsewhere")

    def agent(of: FrameData, lookup: Annotated[DataLookup, Depends(dep_data_lookup)]) -> EditorAgentResponse:
        with pytest.raises(ValueError, match=f"no data row {other}"):
            lookup.get_data_row(other)
        return EditorAgentResponse(message=lookup.get_storage_item(of.data_hash).name)

    served = EditorAgent(agent)
    for title in ("one.png", "two.png"):
        data_hash = world.project.add_image(title)
        request = Request({"projectHash": world.project.project_hash, "dataHash": data_hash})
        assert served.answer(request).body == {"message": title}
    lookup = DataLookup(client=world.client)
    assert dep_data_lookup(lookup) is lookup


def test_extras() -> None:
    """Dependencies about pixels need one, and so does each that is made of them; the others need none."""
    assert [extra_of(one) for one in (dep_single_frame, dep_object_crops())] == ["vision", "vision"]
    assert [extra_of(one) for one in (dep_objects, dep_data_lookup)] == [None, None]
