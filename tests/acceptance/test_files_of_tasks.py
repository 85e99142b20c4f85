"""A task's file: the right picture, what can be read of a damaged one, and no second download of a bad one."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from encord.workflow.stages.agent import AgentTask
from PIL import Image
from tests import films
from tests.drivers import DRIVERS, Driver, Processes

from encord_agents.core.data_model import ImageArray
from encord_agents.core.utils import download_asset
from encord_agents.core.vision import read_image
from encord_agents.tasks import Depends
from encord_agents.tasks.dependencies import dep_asset, dep_single_frame, dep_video_iterator, dep_video_sampler

if TYPE_CHECKING:
    from tests.conftest import World


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 50).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def look(task: AgentTask, image: Annotated[ImageArray, Depends(dep_single_frame)]) -> str:
    assert image.shape == (48, 64, 3), task.data_title
    return "complete"


def check_one_download(world: World, driver: Driver) -> None:
    contents = {"whole": jpeg(), "short": jpeg()[:-2], "words": b"no picture", "nothing": b"", "head": jpeg()[:200]}
    for title, content in contents.items():
        world.project.add_file(title, content, item_type="image", mime_type="image/jpeg", width=64, height=48, frames=1)
    told = driver.run(world, look, num_retries=3)
    assert told.counts == {"moved": 2, "failed": 3}
    assert Counter(
        title for title in ("words", "nothing", "head") for error in told.errors if f"'{title}'" in error
    ) == {
        "words": 1,
        "nothing": 1,
        "head": 1,
    }
    assert world.platform.journal.count("asset") == len(contents)


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_file_that_is_wrong_in_itself_is_fetched_once(world: World, driver: Driver) -> None:
    """The same bytes cannot end better; a JPEG that only lacks its end is read."""
    check_one_download(world, driver)


def test_a_file_that_is_wrong_in_itself_is_fetched_once_by_processes(world: World, tmp_path: Path) -> None:
    """In worker processes, too."""
    check_one_download(world, Processes(tmp_path))


def test_the_right_picture(world: World, tmp_path: Path) -> None:
    """Of a film with a cover before it, every dependency gives the film."""
    content = films.with_cover(films.film(tmp_path / "film.mp4", 5), first=True).read_bytes()
    world.project.add_file("film", content, item_type="video", mime_type="video/mp4", width=256, height=64, frames=5)
    seen: dict[str, Any] = {}

    def agent(
        path: Annotated[Path, Depends(dep_asset)],
        frame: Annotated[ImageArray, Depends(dep_single_frame)],
        frames: Annotated[Any, Depends(dep_video_iterator)],
        sample: Annotated[Any, Depends(dep_video_sampler)],
    ) -> str:
        seen["suffix"] = path.suffix
        seen["first"] = films.number_in(frame)
        seen["all"] = [films.number_in(one.content) for one in frames]
        seen["some"] = [(one.frame, films.number_in(one.content)) for one in sample([3, 1])]
        return "complete"

    report = world.run(agent)
    assert report.failures == []
    assert seen == {"suffix": ".mp4", "first": 0, "all": [0, 1, 2, 3, 4], "some": [(3, 3), (1, 1)]}
    (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
    item = world.client.get_storage_item(str(row.backing_item_uuid))
    with download_asset(item, frame=3) as still:
        assert films.number_in(read_image(still)) == 3


def test_a_song_with_a_cover(world: World, tmp_path: Path) -> None:
    """It has no frame, whatever type the platform says, and is asked for once."""
    content = films.with_cover(films.sound(tmp_path / "song"), first=True).read_bytes()
    world.project.add_file("song", content, item_type="audio", mime_type="application/octet-stream", duration=1)
    report = world.run(look)
    (failure,) = report.failures
    assert "'song' is of type audio, which has no frames" in str(failure.exception)
    assert report.attempts == 1
    assert world.platform.journal.count("asset") == 1
