"""The labels that an agent put on its row are saved, or its task fails alone and names the label."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from encord.objects import Classification, LabelRowV2, Object, ObjectInstance, OntologyStructure, Shape
from encord.objects.attributes import NumericAttribute, TextAttribute
from encord.objects.bitmask import BitmaskCoordinates
from encord.objects.coordinates import BoundingBoxCoordinates, PointCoordinate, PolygonCoordinates
from encord.project import Project
from encord.workflow.stages.agent import AgentTask
from tests.drivers import DRIVERS, RUNNERS, Driver, Processes

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs
from encord_agents.exceptions import TasksFailedError
from encord_agents.local import AgentStage, Stage, Workflow
from encord_agents.tasks import QueueRunner
from encord_agents.tasks.models import TaskAgentReturnStruct
from encord_agents.terminal.tables import show_report

if TYPE_CHECKING:
    from tests.conftest import World

LOGGER = "encord_agents.tasks"
WORKFLOW = Workflow([AgentStage("Pre-label", {"complete": "Done"}), Stage("Done", "done")])


def box(x: Any = 0.25, **fields: Any) -> BoundingBoxCoordinates:
    return BoundingBoxCoordinates(**{"height": 0.1, "width": 0.2, "top_left_x": x, "top_left_y": 0.4, **fields})


def draw(row: LabelRowV2, coordinates: Any, name: str = "Person", frames: Any = 0, **options: Any) -> ObjectInstance:
    instance = row.ontology_structure.get_child_by_title(name, Object).create_instance()
    instance.set_for_frames(coordinates, frames, **options)
    row.add_object_instance(instance)
    return instance


def number(task: AgentTask) -> int:
    return int(task.data_title.rpartition(" ")[2])


def objects(world: World, data_hash: str, frame: int | None = None) -> list[dict[str, Any]]:
    """The objects that were saved for a data unit, on an image or on one frame of a video."""
    label = world.project.label(data_hash)
    assert label is not None
    (unit,) = label["data_units"].values()
    labels = unit["labels"] if frame is None else unit["labels"][str(frame)]
    found: list[dict[str, Any]] = labels["objects"]
    return found


def video(world: World, title: str, *, frames: int) -> str:
    facts: dict[str, Any] = {"width": 64, "height": 48, "frames": frames, "fps": 25.0, "duration": frames / 25.0}
    return world.project.add_file(title, b"", item_type="video", mime_type="video/mp4", **facts)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == LOGGER and r.levelno == logging.WARNING]


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
class TestNumbers:
    def test_of_numpy_are_saved(self, world: World, driver: Driver) -> None:
        """Coordinates, confidence and priority of numpy's are saved as numbers, whatever their dtype."""
        hashes = world.project.add_placeholders(4, title="file {index}")
        make = [np.float32, np.float16, np.float64, np.array]

        def agent(row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
            number_of = make[number(task)]
            draw(row, box(number_of(0.25)), confidence=number_of(0.5))
            return TaskAgentReturnStruct("complete", row, number_of(0.75))

        assert driver.run(world, agent).counts == {"moved": 4}
        for data_hash in hashes:
            (found,) = objects(world, data_hash)
            assert (found["boundingBox"]["x"], found["confidence"]) == (0.25, 0.5)
        assert [task.priority for task in world.project.tasks("Done")] == [0.75] * 4

    def test_that_are_none_fail_their_task_alone(self, world: World, driver: Driver) -> None:
        """NaN and infinity name object, class, frame and field; the agent runs once, and nothing of the row is sent."""
        hashes = world.project.add_placeholders(6, title="file {index}")
        odd = {1: box(math.nan), 4: box(height=np.float32("inf"))}
        hashes_of: dict[int, str] = {}
        attempts = Counter[int]()

        def agent(row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
            attempts[number(task)] += 1
            hashes_of[number(task)] = draw(row, odd.get(number(task), box())).object_hash
            return TaskAgentReturnStruct("complete", row)

        told = driver.run(world, agent, num_retries=2)
        assert told.counts == {"moved": 4, "failed": 2}
        assert set(attempts.values()) == {1}
        texts = sorted(told.errors, key=lambda text: "nan" not in text)
        for text, which, field in zip(texts, (1, 4), ("top_left_x", "height"), strict=True):
            assert f"{field} of object 'Person' ({hashes_of[which]}) on frame 0 is" in text
        assert [world.project.saves(data_hash) for data_hash in hashes] == [1, 0, 1, 1, 0, 1]
        assert sum(entry.items for entry in world.platform.journal.of("save")) == 4, "no bundle was split"

    def test_out_of_place_are_warned_of_once(
        self, world: World, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Pixels in place of shares are saved, and the log says so once, with object and field."""
        world.project.add_placeholders(5)

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            draw(row, box(30))
            return TaskAgentReturnStruct("complete", row)

        with caplog.at_level(logging.WARNING, LOGGER):
            assert driver.run(world, agent).counts == {"moved": 5}
        (text,) = warned(caplog)
        assert "top_left_x of object 'Person'" in text
        assert "is 30: pixels?" in text


def of_numpy(row: LabelRowV2) -> TaskAgentReturnStruct:
    draw(row, box(np.float32(30)))
    return TaskAgentReturnStruct("complete", row)


def test_numbers_over_processes(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Worker processes save numpy's numbers too, and what they warn of is said once, where the run is."""
    world.project.add_placeholders(30)
    with caplog.at_level(logging.WARNING, LOGGER):
        assert Processes(tmp_path, batch_size=2).run(world, of_numpy).counts == {"moved": 30}
    assert len(warned(caplog)) == 1


SHAPES: dict[str, tuple[str, Callable[[], Any], str]] = {
    "outside": ("Box", lambda: box(-0.2), "top_left_x of .* is -0.2: pixels?"),
    "no width": ("Box", lambda: box(width=0), "width of .* is 0; such a shape is invisible"),
    "upside down": ("Box", lambda: box(height=-0.1), "height of .* is -0.1"),
    "a line": ("Poly", lambda: PolygonCoordinates([PointCoordinate(0.1, 0.1)] * 2), "polygon of .* of 2 points"),
    "far": ("Poly", lambda: PolygonCoordinates([PointCoordinate(0.1, y) for y in (0, 40, 1)]), "y of point 1 of .*40"),
    "empty": ("Mask", lambda: BitmaskCoordinates(np.zeros((48, 64), bool)), "bitmask of .* without a pixel"),
}


def shapes() -> OntologyStructure:
    structure = OntologyStructure()
    for name, shape in (("Box", Shape.BOUNDING_BOX), ("Poly", Shape.POLYGON), ("Mask", Shape.BITMASK)):
        structure.add_object(name, shape)
    return structure


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_that_nobody_can_see(world: World, shape: str, caplog: pytest.LogCaptureFixture) -> None:
    """Shapes that make no sense, but that the SDK keeps, are saved, with a warning of the same kind."""
    name, coordinates, message = SHAPES[shape]
    world.project = world.platform.create_project(workflow=WORKFLOW, ontology=shapes())
    world.project.add_placeholders(2)

    def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
        draw(row, coordinates(), name)
        return TaskAgentReturnStruct("complete", row)

    with caplog.at_level(logging.WARNING, LOGGER):
        assert world.run(agent).moved == 2
    (text,) = warned(caplog)
    assert re.search(message, text), text


def test_answers_and_attributes(world: World) -> None:
    """A numeric answer that is no number fails the task, and the question is named: static, dynamic, of a class."""
    structure = OntologyStructure()
    thing = structure.add_object("Thing", Shape.BOUNDING_BOX)
    thing.add_attribute(NumericAttribute, "Weight")
    thing.add_attribute(NumericAttribute, "Speed", dynamic=True)
    structure.add_classification().add_attribute(NumericAttribute, "Count")
    structure.add_classification().add_attribute(TextAttribute, "Note")
    world.project = world.platform.create_project(workflow=WORKFLOW, ontology=structure)
    for index in range(5):
        video(world, f"file {index}", frames=20)

    def agent(row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        which = number(task)
        instance = draw(row, box(), "Thing", frames=[3, 4])
        weight, speed = instance.ontology_item.attributes
        instance.set_answer(math.nan if which == 1 else np.float64(2.5), weight)
        instance.set_answer(math.inf if which == 2 else 3, speed, frames=4)
        for classification, answer in zip(row.ontology_structure.classifications, (1.5, "x"), strict=True):
            found = classification.create_instance()
            found.set_answer(math.nan if which == 3 and answer == 1.5 else answer)
            found.set_for_frames(0, confidence=np.float32(math.nan if which == 4 else 0.5))
            row.add_classification_instance(found)
        return TaskAgentReturnStruct("complete", row)

    report = world.run(agent)
    assert (report.moved, report.failed) == (1, 4)
    texts = [str(record.exception) for record in report.failures]
    for text, place in zip(
        texts,
        (
            "the answer to 'Weight' of object 'Thing' (",
            "the answer to 'Speed' of object 'Thing' (",
            "the answer to 'Count' of classification 'Count' (",
            "confidence of classification 'Count' (",
        ),
        strict=True,
    ):
        assert text.startswith(place), text
    label = world.project.label(next(task.data_hash for task in world.project.tasks("Done")))
    assert label is not None
    assert {answer["confidence"] for answer in label["classification_answers"].values()} == {0.5}


def test_a_video_of_many_frames(world: World) -> None:
    """The frame is named, also where there are thousands; numpy's numbers on each are saved."""
    good, bad = (video(world, f"file {index}", frames=3000) for index in range(2))

    def agent(row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        instance = draw(row, box(np.float32(0.25)), frames=list(range(2000)))
        instance.set_for_frames(box(math.nan if number(task) else np.float32(0.5)), 2345)
        return TaskAgentReturnStruct("complete", row)

    report = world.run(agent)
    assert (report.moved, report.failed) == (1, 1)
    assert "on frame 2345 is nan" in str(report.failures[0].exception)
    assert objects(world, good, 1999)[0]["boundingBox"]["x"] == 0.25
    assert objects(world, good, 2345)[0]["boundingBox"]["x"] == 0.5
    assert world.project.saves(bad) == 0


@pytest.mark.parametrize("driver", DRIVERS, ids=str)
def test_a_priority_that_is_none(world: World, driver: Driver) -> None:
    """A priority that was set after the struct was made is looked at all the same, and is this task's trouble alone."""
    world.project.add_placeholders(4, title="file {index}")

    def agent(row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
        struct = TaskAgentReturnStruct("complete", row)
        struct.label_row_priority = np.float32(math.nan) if number(task) == 2 else np.float32(0.5)  # type: ignore[assignment]
        return struct

    told = driver.run(world, agent)
    assert told.counts == {"moved": 3, "failed": 1}
    assert "label_row_priority must be a number from 0.0 to 1.0" in told.errors[0]


FILTERS = [
    LabelRowInitialiseLabelsArgs(include_object_feature_hashes={"nothing1"}),
    LabelRowInitialiseLabelsArgs(include_object_feature_hashes=set()),
    LabelRowInitialiseLabelsArgs(include_classification_feature_hashes={"nothing1"}),
]


class TestRowsLoadedInPart:
    @pytest.mark.filterwarnings("ignore:.*without some of their labels")
    @pytest.mark.parametrize("args", FILTERS, ids=["objects", "no objects", "classifications"])
    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_are_never_saved(self, world: World, driver: Driver, args: LabelRowInitialiseLabelsArgs) -> None:
        """A returned row fails its task before anything is sent, and the agent is not called again."""
        hashes = labelled(world, 2)
        before = [world.project.label(data_hash) for data_hash in hashes]
        calls = []

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            calls.append(row.data_hash)
            draw(row, box())
            return TaskAgentReturnStruct("complete", row, 0.5)

        told = driver.run(world, agent, num_retries=2, label_row_initialise_labels_args=args)
        assert told.counts == {"failed": 2}
        assert all("loaded in part" in text and "Leave these filters out" in text for text in told.errors)
        assert len(calls) == 2
        assert [world.project.label(data_hash) for data_hash in hashes] == before
        assert not world.requests("priorities", "actions")

    @pytest.mark.filterwarnings("ignore:.*without some of their labels")
    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_copies_are_not_saved_either(self, world: World, driver: Driver) -> None:
        """A copy is as incomplete as the row."""
        hashes = labelled(world, 2)
        before = [world.project.label(data_hash) for data_hash in hashes]

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            draw(made := copy.copy(row), box())
            return TaskAgentReturnStruct("complete", made)

        told = driver.run(world, agent, label_row_initialise_labels_args=FILTERS[0])
        assert told.counts == {"failed": 2}
        assert all("loaded in part" in text for text in told.errors)
        assert [world.project.label(data_hash) for data_hash in hashes] == before

    @pytest.mark.parametrize("bundled", [False, True])
    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_which_the_agent_itself_loaded_so(self, world: World, driver: Driver, bundled: bool) -> None:
        """An agent that loads its row again, with filters, does not delete the others' labels: not in this attempt, nor
        in a later one, on the row that a failed one has left."""
        hashes = labelled(world, 2)
        begun = set[str]()

        def agent(row: LabelRowV2, project: Project) -> TaskAgentReturnStruct:
            if row.data_hash not in begun:
                begun.add(row.data_hash)
                with project.create_bundle() if bundled else contextlib.nullcontext() as bundle:
                    row.initialise_labels({"nothing1"}, overwrite=True, bundle=bundle)
                if row.data_hash == hashes[0]:
                    raise ValueError("this attempt fails")
            draw(row, box())
            return TaskAgentReturnStruct("complete", row)

        told = driver.run(world, agent, num_retries=1)
        # Each call of a queue function loads the row anew, and whole.
        again = str(driver) in ("queue-function", "celery")
        assert told.counts == ({"failed": 1, "moved": 1} if again else {"failed": 2})
        assert all("loaded in part" in text for text in told.errors)
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.125, 0.25] if again else [0.125], [0.125]]

    @pytest.mark.filterwarnings("ignore:.*without some of their labels")
    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_may_be_loaded_whole_by_the_agent(self, world: World, driver: Driver) -> None:
        """A row that the agent has since loaded whole, or another object of its own, is saved."""
        hashes = labelled(world, 2)

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            assert not row.get_object_instances()
            row.initialise_labels(overwrite=True)
            draw(row, box(0.5))
            return TaskAgentReturnStruct("complete", row)

        assert driver.run(world, agent, label_row_initialise_labels_args=FILTERS[0]).counts == {"moved": 2}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.125, 0.5]] * 2

    @pytest.mark.filterwarnings("ignore:.*without some of their labels")
    def test_may_be_read(self, world: World) -> None:
        """An agent that only reads such a row moves its task."""
        labelled(world, 2)

        def agent(row: LabelRowV2) -> str:
            return "review" if row.get_object_instances() else "complete"

        assert world.agent(agent, label_row_initialise_labels_args=FILTERS[0])(progress="none").moved == 2
        assert world.count("Done") == 2

    @pytest.mark.parametrize("queue", [False, True])
    def test_are_warned_of_at_decoration(self, world: World, queue: bool) -> None:
        """Saves by the agent's own hand cannot be held back, so decorating says what they would do."""
        runner = QueueRunner(world.project.project_hash) if queue else world.runner()

        def reads(row: LabelRowV2) -> None: ...

        def needs_none(task: AgentTask) -> None: ...

        with pytest.warns(UserWarning, match=r"reads\(\) .*include_object_feature_hashes.*save\(\) by hand") as caught:
            runner.stage("Pre-label", label_row_initialise_labels_args=FILTERS[1])(reads)
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runner.stage("Pre-label", label_row_initialise_labels_args=FILTERS[1], overwrite=True)(needs_none)
            args = LabelRowInitialiseLabelsArgs(include_signed_url=True)
            runner.stage("Pre-label", label_row_initialise_labels_args=args, overwrite=True)(reads)

    def test_twins_are_not_the_tasks_own(self, world: World) -> None:
        """A row of the same data unit in another project is not saved, and no task moves as if its own had been."""
        world.project.add_placeholders(1)

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            twin = copy.copy(row)  # as `dep_twin_label_row` gives one
            twin.from_labels_dict({**row.to_encord_dict(), "label_hash": "of another project"})
            return TaskAgentReturnStruct("complete", twin)

        report = world.run(agent)
        assert report.failed == 1
        assert "in another project" in str(report.failures[0].exception)
        assert not world.requests("save")


def labelled(world: World, rows: int) -> list[str]:
    """Data units whose label rows have a box at 0.125."""
    hashes: list[str] = world.project.add_placeholders(rows)
    for row in world.client.get_project(world.project.project_hash).list_label_rows_v2():
        row.initialise_labels()
        world.mark(row, 0.125)
        row.save()
    return hashes


@pytest.mark.filterwarnings("ignore:_remove_from_frame_to_hashes_map:DeprecationWarning")  # the SDK's remove_object
class TestRetries:
    """A failed attempt's changes to the row stay, with a warning; with `restore_labels` they are undone."""

    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_begin_with_the_row_as_it_was_loaded(
        self, world: World, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With `restore_labels`: added, removed, moved, answered: all as it was, in the same label row object."""
        hashes = labelled(world, 3)
        failed: dict[str, list[Any]] = {}

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            boxes = [instance.get_annotation(0).coordinates for instance in row.get_object_instances()]
            assert [found.top_left_x for found in boxes] == [0.125]  # type: ignore[union-attr]
            assert not row.get_classification_instances()
            tries = failed.setdefault(row.data_hash, [])
            scene = row.ontology_structure.get_child_by_title("Scene", Classification).create_instance()
            scene.set_answer(scene.ontology_item.attributes[0].options[0])
            scene.set_for_frames(0)
            row.add_classification_instance(scene)
            (person,) = row.get_object_instances()
            if len(tries) == 2:
                world.mark(row, 0.5)
                return TaskAgentReturnStruct("complete", row)
            tries.append(row)
            world.mark(row, 0.75)
            if len(tries) == 1:
                row.remove_object(person)
            else:
                person.set_for_frames(box(0.875), 0, overwrite=True, confidence=0.25)
            raise TimeoutError("model overloaded")

        with caplog.at_level(logging.WARNING, LOGGER):
            told = driver.run(world, agent, num_retries=2, restore_labels=True)
        assert (told.counts, told.errors) == ({"moved": 3}, [])
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.125, 0.5]] * 3
        if driver in RUNNERS:
            assert all(len({id(row) for row in rows}) == 1 for rows in failed.values())
        assert not warned(caplog)

    @pytest.mark.parametrize("driver", RUNNERS, ids=str)
    def test_keep_what_the_failed_attempt_did(
        self, world: World, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """By default: with one warning for the stage, which names the remedy."""
        hashes = world.project.add_placeholders(4)
        tried = set[str]()

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            world.mark(row)
            if row.data_hash not in tried:
                tried.add(row.data_hash)
                raise TimeoutError("model overloaded")
            return TaskAgentReturnStruct("complete", row)

        with caplog.at_level(logging.WARNING, LOGGER):
            assert driver.run(world, agent, num_retries=1).counts == {"moved": 4}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25, 0.25]] * 4
        (text,) = warned(caplog)
        assert "restore_labels=True" in text

    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_say_nothing_of_a_row_that_is_as_it_was(
        self, world: World, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        """An attempt that failed before it drew, or took back what it drew, is no reason to warn."""
        labelled(world, 3)
        tried = set[str]()

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            instance = draw(row, box())
            if row.data_hash not in tried:
                tried.add(row.data_hash)
                row.remove_object(instance)
                raise TimeoutError("model overloaded")
            return TaskAgentReturnStruct("complete", row)

        with caplog.at_level(logging.WARNING, LOGGER):
            assert driver.run(world, agent, num_retries=1).counts == {"moved": 3}
        assert not warned(caplog)

    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_tell_the_first_error_too(
        self, world: World, driver: Driver, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """If the last attempt failed differently from the first, the failure has both errors."""
        world.project.add_placeholders(2)
        tried = Counter[str]()

        def agent(task: AgentTask) -> str:
            tried[task.data_title] += 1
            raise TimeoutError("overloaded") if tried[task.data_title] == 1 else ValueError("already added")

        told = driver.run(world, agent, num_retries=2)
        assert told.counts == {"failed": 2}
        if driver.name == "queue-function":  # a call is one attempt, and knows of no other
            assert told.errors == ["ValueError: already added"] * 2
            return
        if told.report is None:
            assert all(
                text.endswith("ValueError: already added (first: TimeoutError: overloaded)") for text in told.errors
            )
            return
        assert {record.first_error for record in told.report.failures} == {"TimeoutError: overloaded"}
        assert {record.to_dict()["first_error"] for record in told.report.failures} == {"TimeoutError: overloaded"}
        with pytest.raises(TasksFailedError, match="first: TimeoutError: overloaded"):
            told.report.raise_for_failures()
        assert sum("(first: TimeoutError: overloaded)" in record.getMessage() for record in caplog.records) == 2
        show_report(told.report)
        assert capsys.readouterr().out.count("ValueError: already added (first: TimeoutError: overloaded)") == 2

    @pytest.mark.parametrize("driver", RUNNERS, ids=str)
    def test_tell_the_first_error_of_what_could_not_be_saved(self, world: World, driver: Driver) -> None:
        """Also where the last attempt was good, and its labels were not."""
        world.project.add_placeholders(2)
        tried = set[str]()

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            if row.data_hash not in tried:
                tried.add(row.data_hash)
                raise TimeoutError("overloaded")
            draw(row, box(math.nan))
            return TaskAgentReturnStruct("complete", row)

        report = driver.run(world, agent, num_retries=1).report
        assert report is not None
        assert [(record.phase, record.first_error) for record in report.failures] == [
            ("save", "TimeoutError: overloaded")
        ] * 2

    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_that_fail_alike_are_told_once(self, world: World, driver: Driver) -> None:
        """If all attempts failed alike, the error appears once."""
        world.project.add_placeholders(1)

        def agent(task: AgentTask) -> str:
            raise TimeoutError("overloaded")

        assert "first" not in str(driver.run(world, agent, num_retries=1).errors)


@pytest.mark.filterwarnings("ignore:_remove_from_frame_to_hashes_map:DeprecationWarning")  # the SDK's remove_object
class TestInstancesThatTheAgentKept:
    """References from a failed attempt are good in the next one, with `restore_labels`."""

    def test_are_those_of_the_row(self, world: World) -> None:
        """Objects, with dynamic answers, and classifications are the same ones, as they were loaded."""
        structure = OntologyStructure()
        structure.add_object("Thing", Shape.BOUNDING_BOX).add_attribute(TextAttribute, "State", dynamic=True)
        structure.add_classification().add_attribute(TextAttribute, "Note")
        world.project = world.platform.create_project(workflow=WORKFLOW, ontology=structure)
        data_hash = video(world, "file 0", frames=20)
        (row,) = world.client.get_project(world.project.project_hash).list_label_rows_v2()
        row.initialise_labels()
        thing = draw(row, box(), "Thing", frames=[1, 2])
        thing.set_answer("parked", frames=2)
        note = row.ontology_structure.classifications[0].create_instance()
        note.set_answer("dusk")
        note.set_for_frames(1)
        row.add_classification_instance(note)
        row.save()
        kept: list[Any] = []

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            now = [*row.get_object_instances(), *row.get_classification_instances()]
            assert [one.get_annotation_frames() for one in now if isinstance(one, ObjectInstance)] == [{1, 2}]
            if not kept:
                kept.extend(now)
                thing, note = now
                thing.set_answer("moving", frames=1)
                thing.remove_from_frames([2])
                row.remove_classification(note)
                note.set_answer("dawn", overwrite=True)
                raise TimeoutError
            assert [id(one) for one in now] == [id(one) for one in kept]
            thing, note = kept
            assert [found.answer for found in thing.get_answer(thing.ontology_item.attributes[0])] == ["parked"]
            assert note.get_answer() == "dusk"
            thing.set_for_frames(box(0.5), 3)
            thing.set_answer("moving", frames=3)
            return TaskAgentReturnStruct("complete", row)

        runner = world.agent(agent, restore_labels=True)
        assert runner(progress="none", num_retries=1).raise_for_failures().moved == 1
        assert objects(world, data_hash, 3)[0]["boundingBox"]["x"] == 0.5
        label = world.project.label(data_hash)
        assert label is not None
        (actions,) = label["object_actions"].values()
        assert {action["answers"]: action["range"] for action in actions["actions"]} == {
            "parked": [[2, 2]],
            "moving": [[3, 3]],
        }

    @pytest.mark.parametrize("driver", RUNNERS, ids=str)
    def test_may_be_added_again(self, world: World, driver: Driver) -> None:
        """Objects that a failed attempt made and added belong to no row any more."""
        hashes = labelled(world, 2)
        made: dict[str, ObjectInstance] = {}

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            if row.data_hash not in made:
                made[row.data_hash] = draw(row, box(0.5))
                raise TimeoutError
            row.add_object_instance(made[row.data_hash])
            return TaskAgentReturnStruct("complete", row)

        assert driver.run(world, agent, num_retries=1, restore_labels=True).counts == {"moved": 2}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.125, 0.5]] * 2

    def test_hand_made_saves_are_overwritten(self, world: World) -> None:
        """A failed attempt's own saves are not loaded again, or the next attempt would draw them twice."""
        hashes = labelled(world, 1)
        tried: list[str] = []

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            world.mark(row, 0.5)
            if not tried:
                tried.append(row.data_hash)
                row.save()
                raise TimeoutError
            return TaskAgentReturnStruct("complete", row)

        assert world.agent(agent, restore_labels=True)(progress="none", num_retries=1).moved == 1
        assert world.marks(hashes[0]) == [0.125, 0.5]


class TestDryRun:
    def test_finds_what_would_be_refused_here(self, world: World) -> None:
        """NaN, or a mask of another size, fails as it would in a run that writes."""
        world.project = world.platform.create_project(workflow=WORKFLOW, ontology=shapes())
        world.project.add_placeholders(4, title="file {index}")
        coordinates = [
            ("Box", box()),
            ("Box", box(math.nan)),
            ("Mask", BitmaskCoordinates(np.ones((32, 32), bool))),
            ("Box", box(np.float32(0.5))),
        ]

        def agent(row: LabelRowV2, task: AgentTask) -> TaskAgentReturnStruct:
            name, found = coordinates[number(task)]
            draw(row, found, name)
            return TaskAgentReturnStruct("complete", row, np.float32(0.5))  # type: ignore[arg-type]

        told = [told_of(world, agent, dry_run=dry) for dry in (True, False)]
        assert told[0] == told[1] == [("file 1", "save", "LabelValueError"), ("file 2", "save", "ValueError")]

    @pytest.mark.filterwarnings("ignore:.*without some of their labels")
    def test_finds_partial_rows(self, world: World) -> None:
        """A dry run fails the tasks whose rows would not be saved."""
        world.project.add_placeholders(2)

        def agent(row: LabelRowV2) -> TaskAgentReturnStruct:
            return TaskAgentReturnStruct("complete", row)

        runner = world.agent(agent, label_row_initialise_labels_args=FILTERS[0])
        assert runner(progress="none", dry_run=True).failed == 2

    def test_lists_rows_for_priorities(self, world: World) -> None:
        """A priority goes to a label row, so a dry run looks whether there is one."""
        world.project.add_placeholders(2)

        def agent(task: AgentTask) -> TaskAgentReturnStruct:
            return TaskAgentReturnStruct("complete", label_row_priority=0.5)

        assert world.run(agent, dry_run=True).moved == 2
        assert len(world.requests("rows")) == 1
        assert not world.requests("save", "priorities", "actions")


def told_of(world: World, agent: Callable[..., Any], **options: Any) -> list[tuple[str, str | None, str]]:
    failures = world.run(agent, num_retries=0, **options).failures
    return sorted((record.data_title, record.phase, type(record.exception).__name__) for record in failures)
