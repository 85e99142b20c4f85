"""`runner.try_on()`: one task, nothing written, the labels to look at."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from PIL import Image
from tests.films import film, number_in

from encord_agents.core.assets import Asset
from encord_agents.exceptions import PrintableError
from encord_agents.tasks.models import TaskAgentReturnStruct
from encord_agents.tasks.runner.trying import _answer

if TYPE_CHECKING:
    from tests.conftest import World


def drawing(row: LabelRowV2) -> TaskAgentReturnStruct:
    from tests.conftest import World

    World.mark(row)
    return TaskAgentReturnStruct(pathway="review", label_row=row, label_row_priority=0.5)


def test_the_labels_are_shown_and_not_saved(world: World) -> None:
    """The trial has the row as the agent drew on it, painted on the picture; the platform has nothing of it."""
    world.project.add_image("a.png", width=200, height=100)
    trial = world.agent(drawing).try_on()
    assert trial.would == "would move along 'review', save 1 object and 0 classifications, set its priority to 0.5"
    assert trial.label_row is not None
    assert len(trial.label_row.get_object_instances()) == 1
    assert trial.picture is not None, trial.not_painted
    picture = Image.open(io.BytesIO(trial.picture)).convert("RGB")
    assert picture.size == (200, 100)
    # the left edge of the box, and a place far from it
    assert picture.getpixel((50, 45)) != picture.getpixel((190, 10))
    (task,) = world.project.tasks()
    assert (task.stage_title, task.priority) == ("Pre-label", None)
    assert world.project.label(task.data_hash) is None
    shown = trial._repr_html_()
    assert "data:image/jpeg;base64," in shown
    assert "drawing()" in shown


def test_what_agents_save_by_hand_is_not_saved(world: World) -> None:
    """A `label_row.save()` in the agent is not sent either."""
    data_hash = world.project.add_image("a.png")

    def by_hand(row: LabelRowV2) -> str:
        world.mark(row)
        row.save()
        row.set_priority(0.5)
        return "review"

    trial = world.agent(by_hand).try_on()
    assert trial.picture is not None
    assert "would move along 'review'" in str(trial.would)
    assert world.project.label(data_hash) is None
    assert world.titles("Pre-label") == ["a.png"]
    assert world.project.tasks()[0].priority is None


@pytest.mark.parametrize("by", ["title", "task", "data", "the task itself", "a label row"])
def test_which_task(world: World, by: str) -> None:
    """A task is given, or named by its title, its uuid or its data unit's, or its row; otherwise it is the first."""
    for title in ("a.png", "b.png", "b.png.png"):
        world.project.add_image(title)
    second = world.project.tasks()[1]
    runner = world.agent(lambda: "complete")
    project = world.client.get_project(world.project.project_hash)
    (row,) = project.list_label_rows_v2(data_hashes=[second.data_hash])
    (stage, *_) = runner.valid_stages or []
    wanted: Any = {
        "title": "b.png",
        "task": second.uuid,
        "data": UUID(second.data_hash),
        "the task itself": next(task for task in stage.get_tasks() if str(task.uuid) == second.uuid),
        "a label row": row,
    }[by]
    assert runner.try_on(wanted).data_title == "b.png"
    assert runner.try_on(world.project.tasks()[0].uuid).data_title == "a.png"
    assert world.count("Pre-label") == 3


def test_a_stage_further_on(world: World) -> None:
    """Every stage that the runner serves is looked through."""
    data_hash = world.project.add_image("a.png")
    world.project.add_task(data_hash, "Triage")
    runner = world.agent(lambda: "ok", stage="Triage")
    assert runner.try_on("a.png").stage == "Triage"


def test_no_such_task(world: World) -> None:
    """A message names what was asked for, and the stages."""
    runner = world.agent(lambda: "complete")
    with pytest.raises(PrintableError, match=r"no task in the stages.*'Pre-label'"):
        runner.try_on()
    with pytest.raises(PrintableError, match=r"'z\.png'"):
        runner.try_on("z.png")
    with pytest.raises(PrintableError, match="has no agent"):
        world.runner().try_on()


@pytest.mark.parametrize("returned", [None, "nowhere"])
def test_an_agent_that_fails(world: World, returned: str | None) -> None:
    """It is tried once, and its error shown; so is a pathway that there is not."""
    world.project.add_image("<b>a</b>.png")
    calls: list[int] = []

    def failing() -> str:
        calls.append(1)
        if returned is None:
            raise ValueError("<i>bad</i> file")
        return returned

    trial = world.agent(failing).try_on()
    assert calls == [1]
    assert trial.would is None
    assert trial.exception is not None
    assert "bad" in str(trial) if returned is None else "nowhere" in str(trial)
    assert len(repr(trial).splitlines()) == 1
    assert type(trial.exception).__name__ in repr(trial)
    shown = trial._repr_html_()
    assert "<b>a</b>" not in shown
    assert "<i>bad" not in shown
    assert world.count("Pre-label") == 1


def test_dependencies_and_async(world: World) -> None:
    """Files are supplied and async agents awaited, as in a run."""
    world.project.add_image("a.png")

    async def agent(asset: Asset) -> str:
        return "complete" if asset.path().is_file() else "review"

    assert world.agent(agent).try_on().would == "would move along 'complete'"


def test_a_report_is_a_table_in_a_notebook(world: World) -> None:
    """It has a row per stage, and failures below, whatever is in their text."""
    world.project.add_image("<b>a</b>.png")
    world.project.add_image("b.png")

    def agent(row: LabelRowV2) -> str:
        if row.data_title == "b.png":
            return "complete"
        raise ValueError("<script>")

    shown = world.run(agent, num_retries=0)._repr_html_()
    assert re.findall(r"<td[^>]*>(\w*[^<]*)</td>", shown)[:5] == ["Pre-label", "1", "0", "1", "0"]
    assert "complete: 1" in shown
    assert "&lt;b&gt;a&lt;/b&gt;.png" in shown
    assert "ValueError: &lt;script&gt;" in shown
    assert "<script>" not in shown


def test_a_video_shows_its_first_frame_with_an_object(world: World, tmp_path: Path) -> None:
    """The picture is of that frame, at the video's size."""
    world.project.add_files(film(tmp_path / "film.mp4", 12))

    def agent(row: LabelRowV2) -> str:
        instance = row.ontology_structure.objects[0].create_instance()
        box = BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.25, top_left_y=0.0)
        instance.set_for_frames(box, [7, 9])
        row.add_object_instance(instance)
        return "review"

    trial = world.agent(agent).try_on()
    assert trial.picture is not None, trial.not_painted
    pixels = np.asarray(Image.open(io.BytesIO(trial.picture)).convert("RGB"))
    assert number_in(pixels) == 7
    assert list(trial.frames) == [7, 9]
    assert trial._repr_html_().count("<img") == 2


def test_a_long_video_shows_some_frames(world: World, tmp_path: Path) -> None:
    """Of many labelled frames four are painted: the first, the last, and two between, each with its number."""
    world.project.add_files(film(tmp_path / "film.mp4", 12))

    def agent(row: LabelRowV2) -> str:
        instance = row.ontology_structure.objects[0].create_instance()
        box = BoundingBoxCoordinates(height=0.1, width=0.2, top_left_x=0.25, top_left_y=0.0)
        instance.set_for_frames(box, list(range(1, 11)))
        row.add_object_instance(instance)
        return "review"

    trial = world.agent(agent).try_on()
    assert list(trial.frames) == [1, 4, 7, 10]
    for frame, picture in trial.frames.items():
        assert number_in(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))) == frame
    assert "frame 10" in trial._repr_html_()


def test_answers_are_shown(world: World) -> None:
    """Texts as they are, options by their titles."""
    world.project.add_image("a.png")

    def agent(row: LabelRowV2) -> str:
        for item in row.ontology_structure.classifications:
            instance = item.create_instance()
            instance.set_answer(item.attributes[0].options[0])
            instance.set_for_frames(0)
            row.add_classification_instance(instance)
        return "review"

    trial = world.agent(agent).try_on()
    assert trial.label_row is not None
    (instance,) = trial.label_row.get_classification_instances()
    answer: Any = instance.get_answer()
    assert f"{instance.classification_name}: {answer.title}</div>" in trial._repr_html_()
    assert _answer("a text") == "a text"
    assert _answer([answer, 3.5]) == f"{answer.title}, 3.5"


def test_what_has_no_picture(world: World) -> None:
    """An agent without a label row is tried all the same, and answers are shown without a picture."""
    world.project.add_image("a.png")
    trial = world.agent(lambda: "complete").try_on()
    assert (trial.picture, trial.not_painted, trial.label_row) == (None, None, None)
    assert "<img" not in trial._repr_html_()
