"""Every ready-made dependency on every type of media: the cells of the table in the documentation."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.orm.storage import DataGroupCustom
from PIL import Image
from tests import films, kinds

from encord_agents.core.audio import Sound
from encord_agents.exceptions import PrintableError
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import (
    dep_asset,
    dep_audio,
    dep_object_crops,
    dep_objects,
    dep_pdf_pages,
    dep_single_frame,
    dep_text,
    dep_video_iterator,
    dep_video_sampler,
    of_child,
)

if TYPE_CHECKING:
    from tests.conftest import World

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "media.md"


def shade(value: int) -> Image.Image:
    return Image.new("RGB", (64, 48), (value, value, value))


def picture(value: int) -> bytes:
    file = io.BytesIO()
    shade(value).save(file, "PNG")
    return file.getvalue()


def an_image(world: World, directory: Path) -> None:
    world.project.add_image("image", picture(50))


def a_video(world: World, directory: Path) -> None:
    content = films.film(directory / "film.mp4", 12).read_bytes()
    world.project.add_file(
        "video.mp4", content, item_type="video", mime_type="video/mp4", width=256, height=64,
        frames=12, fps=10, duration=1.2,
    )  # fmt: skip


def a_group(world: World, directory: Path) -> None:
    world.project.add_image_group("group", [picture(value) for value in (10, 20, 30)])


def a_pdf(world: World, directory: Path) -> None:
    file = io.BytesIO()
    shade(40).save(file, "PDF", save_all=True, append_images=[shade(80)])
    world.project.add_file("pages.pdf", file.getvalue(), item_type="pdf", mime_type="application/pdf", frames=2)


def a_sound(world: World, directory: Path) -> None:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000, dtype=np.float32)
    content = Sound(np.stack([wave, -wave]), 8000).wav()
    world.project.add_file("sound.wav", content, item_type="audio", mime_type="audio/x-wav", duration=1)


def a_text(world: World, directory: Path) -> None:
    content = "Zwölf Boxkämpfer".encode()
    world.project.add_file("words.txt", content, item_type="plainText", mime_type="text/plain")


def a_data_group(world: World, directory: Path) -> None:
    for name, value in (("front.png", 10), ("back.png", 20)):
        (directory / name).write_bytes(picture(value))
    (directory / "notes.txt").write_text("Notes")
    folder = world.client.create_storage_folder("Members")
    contents = {
        "left": folder.upload_image(directory / "front.png"),
        "right": folder.upload_image(directory / "back.png"),
        "notes": folder.upload_text(directory / "notes.txt"),
    }
    link(world, folder.create_data_group(DataGroupCustom(name="group", layout_contents=contents)))


def a_series(world: World, directory: Path) -> None:
    folder = world.client.create_storage_folder("Scans")
    files = [kinds.dicom(directory / f"{name}.dcm") for name in "ab"]
    link(world, folder.create_dicom_series(files, title="series"))


def link(world: World, item: Any) -> None:
    project = world.client.get_project(world.project.project_hash)
    world.client.get_dataset(next(iter(project.list_datasets())).dataset_hash).link_items([item])


MEDIA: dict[str, Callable[[Any, Path], None]] = {
    "image": an_image,
    "video": a_video,
    "image group": a_group,
    "PDF": a_pdf,
    "audio": a_sound,
    "text": a_text,
    "data group": a_data_group,
    "DICOM series": a_series,
}


def shades(frames: Any) -> list[Any]:
    """The numbers of frames, and what they show."""
    told = []
    for frame in frames:
        wide = frame.content.shape[1] == films.WIDTH
        told.append((frame.frame, films.number_in(frame.content) if wide else round(float(frame.content.mean()))))
    return told


def suffix_of(path: Annotated[Path, Depends(dep_asset)]) -> Any:
    return sorted(one.name for one in path.iterdir()) if path.is_dir() else path.suffix


def first_frame(frame: Annotated[Any, Depends(dep_single_frame)]) -> Any:
    return films.number_in(frame) if frame.shape[1] == films.WIDTH else round(float(frame.mean()))


def all_frames(frames: Annotated[Any, Depends(dep_video_iterator)]) -> Any:
    return shades(frames)


def some_frames(sample: Annotated[Any, Depends(dep_video_sampler)]) -> Any:
    return [shades(sample([2, 0, 2])), shades(sample(0.5))]


def by_seconds(sample: Annotated[Any, Depends(dep_video_sampler)]) -> Any:
    return shades(sample(seconds=0.5))


def pages(found: Annotated[Any, Depends(dep_pdf_pages)]) -> Any:
    return shades(found)


def sound(found: Annotated[Sound, Depends(dep_audio)]) -> Any:
    return found.waveform.shape, found.rate, round(float(np.abs(found.waveform).max()), 2)


def text(found: Annotated[str, Depends(dep_text)]) -> Any:
    return found


def second_file(path: Annotated[Path, Depends(of_child(1, dep_asset))]) -> Any:
    return path.suffix


def second_child(frame: Annotated[Any, Depends(of_child(1, dep_single_frame))]) -> Any:
    return round(float(frame.mean()))


def crops(label_row: LabelRowV2, found: Annotated[Any, Depends(dep_object_crops())]) -> Any:
    return [(crop.frame, crop.content.shape) for crop in found]


DEPENDENCIES: dict[str, Callable[..., Any]] = {
    "dep_asset": suffix_of,
    "dep_single_frame": first_frame,
    "dep_video_iterator": all_frames,
    "dep_video_sampler": some_frames,
    "dep_video_sampler, seconds": by_seconds,
    "dep_pdf_pages": pages,
    "dep_audio": sound,
    "dep_text": text,
    "of_child, file": second_file,
    "of_child, frame": second_child,
}
GROUP = ["00000-group-0.png", "00001-group-1.png", "00002-group-2.png"]
FILM = [(number, number) for number in range(12)]
EXPECTED: dict[tuple[str, str], Any] = {
    ("dep_asset", "image"): ".png",
    ("dep_asset", "video"): ".mp4",
    ("dep_asset", "image group"): GROUP,
    ("dep_asset", "data group"): ["00000-front.png", "00001-back.png", "00002-notes.txt"],
    ("dep_asset", "DICOM series"): ["00000-a.dcm", "00001-b.dcm"],
    ("dep_asset", "PDF"): ".pdf",
    ("dep_asset", "audio"): ".wav",
    ("dep_asset", "text"): ".txt",
    ("dep_single_frame", "image"): 50,
    ("dep_single_frame", "video"): 0,
    ("dep_single_frame", "image group"): 10,
    ("dep_video_iterator", "video"): FILM,
    ("dep_video_iterator", "image group"): [(0, 10), (1, 20), (2, 30)],
    ("dep_video_sampler", "video"): [[(2, 2), (0, 0), (2, 2)], FILM[::2]],
    ("dep_video_sampler", "image group"): [[(2, 30), (0, 10), (2, 30)], [(0, 10), (2, 30)]],
    ("dep_video_sampler, seconds", "video"): [(0, 0), (5, 5), (10, 10)],
    ("dep_pdf_pages", "PDF"): [(0, 40), (1, 80)],
    ("dep_audio", "audio"): ((2, 8000), 8000, 0.5),
    ("dep_text", "text"): "Zwölf Boxkämpfer",
    ("of_child, file", "image group"): ".png",
    ("of_child, file", "data group"): ".png",
    ("of_child, file", "DICOM series"): ".dcm",
    ("of_child, frame", "image group"): 20,
    ("of_child, frame", "data group"): 20,
}
"""What each gives; where there is nothing, the task fails with words that say why."""


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_the_table(world: World, tmp_path: Path, dependency: str, media: str) -> None:
    """Each dependency gives what the table says of a type of media, and otherwise fails with the item's name."""
    MEDIA[media](world, tmp_path)
    seen: list[Any] = []
    ask = DEPENDENCIES[dependency]

    def agent(found: Annotated[Any, Depends(ask)]) -> str:
        seen.append(found)
        return "complete"

    report = world.run(agent)
    if (dependency, media) in EXPECTED:
        assert report.failures == []
        assert seen == [EXPECTED[dependency, media]]
    else:
        (failure,) = report.failures
        assert seen == []
        is_about_a_member = dependency == "of_child, frame" and media == "DICOM series"
        title = "b.dcm" if is_about_a_member else world.project.tasks()[0].data_title
        assert repr(title)[:5] in str(failure.exception)
        assert isinstance(failure.exception, PrintableError)


def test_members_by_name_and_by_key(world: World, tmp_path: Path) -> None:
    """A data group's member has a number, a name, and a key in its layout."""
    a_data_group(world, tmp_path)
    seen: list[int] = []

    def agent(
        by_number: Annotated[Any, Depends(of_child(1, dep_single_frame))],
        by_name: Annotated[Any, Depends(of_child("back.png", dep_single_frame))],
        by_key: Annotated[Any, Depends(of_child("right", dep_single_frame))],
        words: Annotated[str, Depends(of_child("notes", dep_text))],
    ) -> str:
        seen.extend(round(float(frame.mean())) for frame in (by_number, by_name, by_key))
        assert words == "Notes"
        return "complete"

    assert world.run(agent).failures == []
    assert seen == [20, 20, 20]


@pytest.mark.parametrize("member", [3, -1, "middle"])
def test_a_member_that_is_not_there(world: World, tmp_path: Path, member: Any) -> None:
    """The error lists those that are."""
    a_data_group(world, tmp_path)

    def agent(path: Annotated[Path, Depends(of_child(member, dep_asset))]) -> str:
        return "complete"

    (failure,) = world.run(agent).failures
    assert f"no single member {member!r}. It has 3: 'front.png', 'back.png', 'notes.txt'" in str(failure.exception)


def test_the_table_is_as_documented() -> None:
    """A cell has a value where the tests expect one, and a dash where they do not."""
    rows = re.findall(
        r"^\| `(dep_\w+|of_child)([^`]*)`([^|]*)\|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    kinds_of = {", by seconds": ", seconds", "dep_asset)": ", file", "dep_single_frame)": ", frame"}
    told = set()
    for name, given, more, cells in rows:
        full = name + next((kind for words, kind in kinds_of.items() if words in given + more), "")
        for media, cell in zip(MEDIA, cells.split("|"), strict=False):
            if not cell.strip().startswith("—") and full in DEPENDENCIES:
                told.add((full, media))
    assert told == set(EXPECTED)


@pytest.mark.parametrize("mime_type", ["application/pdf", "application/octet-stream"])
def test_pages_in_many_threads(world: World, tmp_path: Path, mime_type: str) -> None:
    """Several workers draw pages at a time, and each task gets all pages of its own PDF."""
    for pages in range(1, 4):
        content = kinds.written(tmp_path / "a.pdf", pages).read_bytes()
        for _ in range(8):
            world.project.add_file(f"{pages} pages", content, item_type="pdf", mime_type=mime_type, frames=pages)
    seen = []

    def agent(label_row: LabelRowV2, found: Annotated[Any, Depends(dep_pdf_pages)]) -> str:
        seen.append((label_row.data_title, [page.frame for page in found]))
        return "complete"

    assert world.run(agent, max_workers=8).failures == []
    assert sorted(seen) == [(f"{pages} pages", list(range(pages))) for pages in range(1, 4) for _ in range(8)]


def draw(row: LabelRowV2, frames: list[int]) -> None:
    thing = row.ontology_structure.objects[0]
    for place, frame in enumerate(frames):
        instance = thing.create_instance()
        box = BoundingBoxCoordinates(height=0.5, width=0.25, top_left_x=0.1 * place, top_left_y=0.25)
        instance.set_for_frames(box, frame)
        row.add_object_instance(instance)


@pytest.mark.parametrize(
    ("media", "frames", "expected"),
    [
        ("image", [0, 0], [(0, (24, 16, 3)), (0, (24, 17, 3))]),
        ("video", [3, 0, 7], [(0, (32, 65, 3)), (3, (32, 64, 3)), (7, (32, 65, 3))]),
    ],
)
def test_objects_and_their_crops(
    world: World, tmp_path: Path, media: str, frames: list[int], expected: list[Any]
) -> None:
    """In the order of frames; each contains its box, and no more than the pixels that it touches."""
    MEDIA[media](world, tmp_path)
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    row.initialise_labels()
    draw(row, frames)
    row.save()
    seen: list[Any] = []

    def agent(
        found: Annotated[Any, Depends(crops)],
        none: Annotated[Any, Depends(dep_object_crops(filter_titles="Nothing"))],
        objects: Annotated[Any, Depends(dep_objects)],
    ) -> str:
        seen.append((found, none, len(objects)))
        return "complete"

    assert world.run(agent).failures == []
    assert seen == [(expected, [], len(frames))]


def test_sampling_by_nothing_or_both(world: World, tmp_path: Path) -> None:
    """One of a share, numbers and seconds."""
    a_video(world, tmp_path)

    def agent(sample: Annotated[Any, Depends(dep_video_sampler)]) -> str:
        for wrong in ({}, {"seconds": 1}):
            with pytest.raises(ValueError, match="one of"):
                sample(*([0.5] if wrong else []), **wrong)
        return "complete"

    assert world.run(agent).failures == []
