"""The ready-made dependencies, by hand and with an asset that someone else fetched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import uuid4

import av
import numpy as np
import pytest
from encord.exceptions import AuthorisationError
from encord.objects import LabelRowV2
from encord.orm.storage import StorageItemType
from encord.storage import StorageItem

from encord_agents.core.assets import Asset
from encord_agents.core.data_model import ImageArray
from encord_agents.exceptions import DependencyError, PrintableError, UnsupportedAssetError
from encord_agents.local import LocalPlatform
from encord_agents.local.images import png
from encord_agents.tasks import Depends, Runner
from encord_agents.tasks.dependencies import (
    Twin,
    dep_asset,
    dep_client,
    dep_single_frame,
    dep_storage_item,
    dep_twin_label_row,
    dep_video_iterator,
    dep_video_sampler,
)

WORKFLOW = {
    "stages": [
        {"title": "Agent", "type": "agent", "pathways": {"go": "Done"}},
        {"title": "Done", "type": "done"},
    ]
}
T = TypeVar("T")


@contextmanager
def entered(dependency: Iterator[T]) -> Iterator[T]:
    """As the engine does it: up to the yield, the agent, and the rest."""
    yield next(dependency)
    assert next(dependency, "ended") == "ended"


def clip(path: Path, frames: int = 12) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 32, "yuv420p", 8_000_000
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((32, 64, 3), number * 20, np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path.read_bytes()


@pytest.fixture
def add(local_platform: LocalPlatform) -> Callable[..., StorageItem]:
    local = local_platform.create_project(workflow=WORKFLOW)

    def add(title: str, content: bytes | None = None, mime_type: str = "image/png") -> StorageItem:
        if content is None:
            data_hash = local.add_image(title)
        else:
            kind = mime_type.partition("/")[0]
            data_hash = local.add_file(title, content, item_type=kind, mime_type=mime_type)
        client = local_platform.client(retries=False)
        (row,) = client.get_project(local.project_hash).list_label_rows_v2(data_hashes=[data_hash])
        assert row.backing_item_uuid is not None
        return client.get_storage_item(row.backing_item_uuid)

    return add


@pytest.fixture
def video(add: Callable[..., StorageItem], tmp_path: Path) -> StorageItem:
    return add("clip.mp4", clip(tmp_path / "clip.mp4"), "video/mp4")


def test_the_client(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner's own client where there is one; by hand, one from the environment."""
    client = local_platform.client()
    assert dep_client(client) is client
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)
    project = local_platform.create_project(workflow=WORKFLOW, title="Here")
    assert dep_client().get_project(project.project_hash).title == "Here"


def test_the_item(add: Callable[..., StorageItem]) -> None:
    """The storage item is handed on as it is."""
    item = add("cat.png")
    assert dep_storage_item(item) is item


def test_a_file_by_hand(add: Callable[..., StorageItem]) -> None:
    """By hand, the file is downloaded, and removed afterwards."""
    with entered(dep_asset(add("cat.png"))) as path:
        assert path.read_bytes().startswith(b"\x89PNG")
    assert not path.exists()


def test_an_asset_is_used(add: Callable[..., StorageItem], video: StorageItem, local_platform: LocalPlatform) -> None:
    """With the engine's asset nothing is downloaded again, and the file stays the engine's."""
    with Asset(add("cat.png")) as image, Asset(video) as film:
        image.fetch()
        film.fetch()
        local_platform.journal.clear()
        with entered(dep_asset(image.item, image)) as path:
            assert path == image.path()
        assert dep_single_frame(image.item, image).shape == (48, 64, 3)
        with entered(dep_video_iterator(video, film)) as frames:
            assert len(list(frames)) == 12
        with entered(dep_video_sampler(video, film)) as sample:
            assert [frame.frame for frame in sample([5])] == [5]
        assert image.path().exists()
        assert film.path().exists()
        assert local_platform.journal.count() == 0


def test_a_single_frame(add: Callable[..., StorageItem], video: StorageItem) -> None:
    """An image's pixels, or a video's first frame: RGB bytes, height first."""
    image = dep_single_frame(add("cat.png"))
    assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
    first = dep_single_frame(video)
    assert first.shape == (32, 64, 3)
    assert first.mean() < 5


def test_a_single_frame_of_a_group(local_platform: LocalPlatform) -> None:
    """An image group's first image, also in a run that downloads ahead."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_image_group("holiday", [png(8, 4, grey) for grey in (10, 20)])
    runner = Runner(local.project_hash, user_client=local_platform.client(retries=False))
    seen: list[Any] = []

    @runner.stage("Agent")
    def agent(image: Annotated[ImageArray, Depends(dep_single_frame)]) -> str:
        seen.append(image.tolist())
        return "go"

    runner(progress="none").raise_for_failures()
    assert seen == [np.full((4, 8, 3), 10).tolist()]


def test_all_frames(video: StorageItem) -> None:
    """The frames of a video in order, each with its number."""
    with entered(dep_video_iterator(video)) as frames:
        numbers = [(frame.frame, round(float(frame.content.mean()) / 20)) for frame in frames]
    assert numbers == [(n, n) for n in range(12)]


def test_sampled_frames(video: StorageItem) -> None:
    """A share of the frames, or chosen ones, as often as one likes; also by the name that existing code uses."""
    with entered(dep_video_sampler(video)) as sample:
        assert [frame.frame for frame in sample(0.25)] == [0, 4, 8]
        assert [frame.frame for frame in sample(frame_indexer=0.25)] == [0, 4, 8]
        assert [frame.frame for frame in sample(1)] == list(range(12))
        assert [round(float(frame.content.mean()) / 20) for frame in sample([7, 2])] == [7, 2]
        for share in (0.0, -1.0, 1.5, float("nan")):
            with pytest.raises(PrintableError, match="share of frames"):
                sample(share)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (range(0, 100, 5), [0, 5, 10]),
        (np.linspace(0, 11, 3).astype(int), [0, 5, 11]),
        ({4, 2}, [2, 4]),
        (iter([8, 7, 8]), [8, 7, 8]),
        (np.float64(0.5), [0, 2, 4, 6, 8, 10]),
        (np.int64(1), [*range(12)]),
    ],
    ids=["a range", "an array", "a set", "an iterator", "numpy's float", "numpy's int"],
)
def test_what_a_sampler_takes(numbers: Any, expected: list[int], video: StorageItem) -> None:
    """Any iterable of frame numbers will do, and any number for a share; what lies beyond the end is left out."""
    with entered(dep_video_sampler(video)) as sample:
        assert [frame.frame for frame in sample(numbers)] == expected


@pytest.mark.parametrize("dependency", [dep_video_iterator, dep_video_sampler])
def test_a_picture_is_no_video(
    dependency: Callable[..., Any], add: Callable[..., StorageItem], local_platform: LocalPlatform
) -> None:
    """A file that is not a video is refused at once, by its name, and is not downloaded. Existing code expects a
    `NotImplementedError`.
    """
    item = add("cat.png")
    with pytest.raises(UnsupportedAssetError, match=r"'cat\.png' is of type image, not a video") as caught:
        next(dependency(item))
    assert isinstance(caught.value, NotImplementedError)
    assert local_platform.journal.count("asset") == 0


def test_a_corrupt_video(add: Callable[..., StorageItem]) -> None:
    """A damaged video is refused by its name, when it is read."""
    broken = add("broken.mp4", b"no video", "video/mp4")
    with pytest.raises(UnsupportedAssetError, match=r"broken\.mp4"):
        dep_single_frame(broken)
    with entered(dep_video_iterator(broken)) as frames, pytest.raises(UnsupportedAssetError, match=r"broken\.mp4"):
        next(frames)


@pytest.mark.parametrize("dependency", [dep_asset, dep_video_iterator, dep_video_sampler])
def test_no_file_of_its_own(dependency: Callable[..., Any], add: Callable[..., StorageItem]) -> None:
    """A scene has no file: the error says so, and what to do instead."""
    group = copy.copy(add("holiday"))
    group._orm_item = group._orm_item.model_copy(update={"item_type": StorageItemType.SCENE})
    with pytest.raises(UnsupportedAssetError, match=r"'holiday'[\s\S]*SceneReader"):
        next(dependency(group))


@pytest.fixture
def environment(local_platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment leads to the local platform."""
    monkeypatch.delenv("ENCORD_SSH_KEY_FILE", raising=False)
    for name, value in local_platform.environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_no_twin(local_platform: LocalPlatform) -> None:
    """A data unit that the other project does not have has no twin."""
    here, there = (local_platform.create_project(workflow=WORKFLOW) for _ in range(2))
    here.add_image("cat.png")
    there.add_image("dog.png")
    (row,) = local_platform.client().get_project(here.project_hash).list_label_rows_v2()
    assert dep_twin_label_row(there.project_hash)(row) is None


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("include_task", [False, True])
def test_a_twin(include_task: bool, local_platform: LocalPlatform) -> None:
    """The twin is matched by data hash, its labels loaded, its task looked up only on request."""
    local = local_platform.create_project(workflow=WORKFLOW)
    hashes = [local.add_image(f"{n}.png") for n in range(3)]
    client = local_platform.client(retries=False)
    (row,) = client.get_project(local.project_hash).list_label_rows_v2(data_hashes=[hashes[1]])
    find = dep_twin_label_row(local.project_hash, include_task=include_task)
    local_platform.journal.clear()
    twin = find(lr_original=row)
    assert twin is not None
    assert twin.label_row.data_hash == hashes[1]
    assert twin.label_row.is_labelling_initialised
    assert (str(twin.task.data_hash) if twin.task else None) == (hashes[1] if include_task else None)
    assert local_platform.journal.count("tasks") == int(include_task)
    assert find(row) is not None
    assert local_platform.journal.count("project") == 1


def test_twins_in_a_run(local_platform: LocalPlatform) -> None:
    """The other project is opened once in a run, with the runner's client."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_placeholders(3)
    runner = Runner(local.project_hash, user_client=local_platform.client(retries=False))
    find = dep_twin_label_row(local.project_hash)

    @runner.stage("Agent")
    def agent(row: LabelRowV2, twin: Annotated[Twin | None, Depends(find)]) -> str | None:
        return "go" if twin is not None and twin.label_row.data_hash == row.data_hash else None

    local_platform.journal.clear()
    assert runner(progress="none").moved == 3
    assert local_platform.journal.count("project") == 1


def test_a_twin_project_that_cannot_be_opened(local_platform: LocalPlatform) -> None:
    """It concerns all tasks, so it ends the run at the first, with a note that says where it came from."""
    local = local_platform.create_project(workflow=WORKFLOW)
    local.add_placeholders(3)
    runner = Runner(local.project_hash, user_client=local_platform.client(retries=False))
    unknown = uuid4()
    find = dep_twin_label_row(unknown)
    calls: list[int] = []

    @runner.stage("Agent")
    def agent(twin: Annotated[Twin | None, Depends(find)]) -> None:
        calls.append(1)

    with pytest.raises(DependencyError, match=f"No access to the project {unknown}") as caught:
        runner(progress="none", task_batch_size=1)
    cause = caught.value.__cause__
    assert isinstance(cause, AuthorisationError)
    assert any(f"twin project {unknown}" in note for note in cause.__notes__)
    assert runner.report is not None
    assert (calls, runner.report.failed) == ([], 1)


def test_a_twin_of_no_project() -> None:
    """A hash that is no uuid is refused when the dependency is made."""
    with pytest.raises(PrintableError, match="'my-project'"):
        dep_twin_label_row("my-project")
