"""With `bundle_saves`, what an agent saves by its own hand goes with the others', to the same effect."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pytest
from encord.exceptions import EncordException, LabelRowError
from encord.objects import LabelRowV2
from encord.objects.coordinates import BoundingBoxCoordinates
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage, AgentTask
from pydantic import ValidationError
from tests.drivers import BUNDLING, DRIVERS, RUNNERS, Driver, Processes
from tests.waiting import until

from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs
from encord_agents.exceptions import UnknownPathwayError
from encord_agents.local import Fault
from encord_agents.tasks import Depends, QueueRunner
from encord_agents.tasks.engine.events import TaskWouldWrite
from encord_agents.tasks.engine.label_check import LabelValueError, PartialLabelRowError
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.models import TaskAgentReturnStruct, TaskCompletionResult

if TYPE_CHECKING:
    from tests.conftest import World

every_driver = pytest.mark.parametrize("driver", BUNDLING, ids=str)
BUNDLING_RUNNERS = [driver.having(bundle_saves=True) for driver in RUNNERS]
every_runner = pytest.mark.parametrize("driver", BUNDLING_RUNNERS, ids=str)


def writes(world: World) -> dict[str, int]:
    kinds = world.platform.journal.kinds()
    return {kind: kinds.get(kind, 0) for kind in ("save", "priorities", "actions")}


def is_alone(world: World) -> bool:
    """Return True if everything was saved, or set, together with moves."""
    made = writes(world)
    return made["save"] in (0, made["actions"]) and made["priorities"] in (0, made["actions"])


def saved(world: World, data_hash: str) -> list[float] | None:
    return world.marks(data_hash) if world.project.saves(data_hash) else None


class TestWhatIsBundled:
    """It costs no request of its own."""

    @every_driver
    def test_the_first_example(self, world: World, driver: Driver) -> None:
        """An agent that sets a priority and names a pathway: as many requests for priorities as for moves."""
        hashes = world.project.add_placeholders(40)

        def by_file_name(label_row: LabelRowV2) -> str:
            label_row.set_priority(int(label_row.data_title[6:11]) / 100)
            return "complete"

        assert driver.run(world, by_file_name).counts == {"moved": 40}
        assert [world.project.priority(data_hash) for data_hash in hashes] == [number / 100 for number in range(40)]
        assert writes(world)["priorities"] == writes(world)["actions"]
        assert str(driver) == "one-by-one" or writes(world)["priorities"] <= 4

    @every_driver
    def test_labels(self, world: World, driver: Driver) -> None:
        """Likewise an agent that saves labels, each row its own."""
        hashes = world.project.add_placeholders(40)

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row, int(label_row.data_title[6:11]) / 100)
            assert label_row.save() is None
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 40}
        assert [world.marks(data_hash) for data_hash in hashes] == [[number / 100] for number in range(40)]
        assert all(world.project.saves(data_hash) == 1 for data_hash in hashes)
        assert is_alone(world)
        assert str(driver) == "one-by-one" or writes(world)["save"] <= 4

    @every_driver
    def test_labels_before_the_move(self, world: World, driver: Driver) -> None:
        """Every row is saved before its task moves."""
        world.project.add_placeholders(7)

        def agent(label_row: LabelRowV2) -> str:
            label_row.save()
            label_row.set_priority(0.5)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 7}
        done = {"save": 0, "priorities": 0, "actions": 0}
        for entry in world.platform.journal:
            if entry.kind in done:
                done[entry.kind] += entry.items
            assert done["actions"] <= min(done["save"], done["priorities"])

    @pytest.mark.parametrize("place", ["dependency", "teardown", "thread", "pool"])
    @every_driver
    def test_wherever_it_is_called(self, world: World, driver: Driver, place: str) -> None:
        """In the agent, in a dependency and its teardown, in threads that the agent starts."""
        hashes = world.project.add_placeholders(3)

        def both(label_row: LabelRowV2) -> None:
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.5)

        def dependency(label_row: LabelRowV2) -> Iterator[None]:
            if place == "dependency":
                both(label_row)
            yield
            if place == "teardown":
                both(label_row)

        def agent(label_row: LabelRowV2, _: Annotated[None, Depends(dependency)]) -> str:
            if place == "thread":
                thread = threading.Thread(target=both, args=(label_row,))
                thread.start()
                thread.join()
            elif place == "pool":
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(both, label_row).result()
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 3}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * 3
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.5] * 3
        assert is_alone(world)

    @every_driver
    def test_async(self, world: World, driver: Driver) -> None:
        """In coroutines, and in what they have done in threads."""
        hashes = world.project.add_placeholders(3)

        async def dependency(label_row: LabelRowV2) -> None:
            label_row.set_priority(0.5)

        async def agent(label_row: LabelRowV2, _: Annotated[None, Depends(dependency)]) -> str:
            world.mark(label_row)
            await asyncio.to_thread(label_row.save)
            return "complete"

        if str(driver) == "async":  # that one makes coroutine functions of plain ones
            agent_, driver = agent, BUNDLING_RUNNERS[2]
        else:
            agent_ = agent
        assert driver.run(world, agent_).counts == {"moved": 3}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * 3
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.5] * 3
        assert is_alone(world)

    @every_driver
    def test_a_task_that_stays(self, world: World, driver: Driver) -> None:
        """A held task's labels and priority are written too."""
        (data_hash,) = world.project.add_placeholders(1)

        def agent(label_row: LabelRowV2) -> None:
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.5)

        assert driver.run(world, agent).counts == {"held": 1}
        assert world.marks(data_hash) == [0.25]
        assert world.project.priority(data_hash) == 0.5

    def test_over_processes(self, world: World, tmp_path: Path) -> None:
        """Worker processes are told."""
        hashes = world.project.add_placeholders(20)
        assert Processes(tmp_path, bundle_saves=True).run(world, sets_priority).counts == {"moved": 20}
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.5] * 20
        assert writes(world)["priorities"] == writes(world)["actions"] < 20

    @every_driver
    def test_the_last_of_several(self, world: World, driver: Driver) -> None:
        """Of several saves, and of several priorities, of one row the last counts, and one is sent."""
        hashes = world.project.add_placeholders(3)

        def agent(label_row: LabelRowV2) -> str:
            for number in range(3):
                world.mark(label_row, number / 10)
                label_row.save()
                label_row.set_priority(number / 10)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 3}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.0, 0.1, 0.2]] * 3
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.2] * 3
        assert [world.project.saves(data_hash) for data_hash in hashes] == [1] * 3

    @every_driver
    def test_what_is_returned_is_newer(self, world: World, driver: Driver) -> None:
        """A row, or a priority, that is returned too wins over what was saved before."""
        hashes = world.project.add_placeholders(3)

        def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
            world.mark(label_row, 0.1)
            label_row.save()
            label_row.set_priority(0.1)
            world.mark(label_row, 0.2)
            return TaskAgentReturnStruct("complete", label_row, 0.2)

        assert driver.run(world, agent).counts == {"moved": 3}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.1, 0.2]] * 3
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.2] * 3
        assert [world.project.saves(data_hash) for data_hash in hashes] == [1] * 3

    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    @every_driver
    def test_copies(self, world: World, driver: Driver, way: Callable[[Any], Any]) -> None:
        """A copy of the row is the task's row too: what is saved last, of it or of the row, counts."""
        hashes = world.project.add_placeholders(2)

        def agent(label_row: LabelRowV2) -> str:
            label_row.save()
            copied = way(label_row)
            if label_row.data_hash == hashes[0]:
                world.mark(copied, 0.1)
                copied.save()
            else:
                copied.save()
                world.mark(label_row, 0.2)
                label_row.save()
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 2}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.1], [0.2]]
        assert [world.project.saves(data_hash) for data_hash in hashes] == [1] * 2

    @every_driver
    def test_a_twin(self, world: World, driver: Driver) -> None:
        """A copy that has become another label row is saved at the call."""
        world.project.add_placeholders(1)
        seen = []

        def agent(label_row: LabelRowV2) -> str:
            label_row.save()
            twin = copy.copy(label_row)
            twin.from_labels_dict({**label_row.to_encord_dict(), "label_hash": "of another project"})
            with pytest.raises(EncordException):
                twin.save()
            seen.append(world.project.saves(label_row.data_hash))
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 1}
        assert seen == [1]

    @every_driver
    def test_as_it_was_when_it_was_saved(self, world: World, driver: Driver) -> None:
        """The agent's later changes to the row are not saved."""
        hashes = world.project.add_placeholders(2)

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            label_row.save()
            instance = label_row.get_object_instances()[0]
            box = BoundingBoxCoordinates(height=0.1, width=0.1, top_left_x=0.9, top_left_y=0.9)
            instance.set_for_frames(box, 0, overwrite=True)
            world.mark(label_row, 0.3)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 2}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * 2

    @every_driver
    def test_labels_to_be_validated(self, world: World, driver: Driver) -> None:
        """They go apart from others, which the platform would validate too."""
        world.project.add_placeholders(6)

        def agent(label_row: LabelRowV2) -> str:
            label_row.save(None, int(label_row.data_title[6:11]) % 2 == 0)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 6}
        flags = {
            validated: sum(entry.items for entry in world.platform.journal.of("save") if said in entry.body)
            for validated, said in (
                (True, '"validate_before_saving": true'),
                (False, '"validate_before_saving": false'),
            )
        }
        assert flags == {True: 3, False: 3}


def sets_priority(label_row: LabelRowV2) -> str:
    label_row.set_priority(0.5)
    return "complete"


WAYS_TO_ASK: dict[str, Callable[..., Any]] = {
    "row": lambda row, **_: row.initialise_labels(overwrite=True),
    "project": lambda project, **_: project.list_label_rows_v2(),
    "refetch": lambda project, **_: project.refetch_data(),
    "client": lambda client, project, **_: client.get_project(project.project_hash),
    "run-scoped client": lambda scoped, project, **_: scoped.get_project(project.project_hash),
    "item": lambda item, **_: item.refetch_data(),
    "stage": lambda stage, **_: list(stage.get_tasks()),
    "bundle": lambda row, project, **_: row.save(bundle=(made := project.create_bundle())) or made.execute(),
    "copy": lambda row, **_: copy.copy(row).initialise_labels(overwrite=True),
    "deep copy": lambda row, **_: copy.deepcopy(row).initialise_labels(overwrite=True),
    "deep copy of the project": lambda project, **_: copy.deepcopy(project).list_label_rows_v2(),
    "copy of the client": lambda client, project, **_: copy.copy(client).get_project(project.project_hash),
    "deep copy of the client": lambda client, project, **_: copy.deepcopy(client).get_project(project.project_hash),
}


def in_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def scoped_client(client: EncordUserClient) -> EncordUserClient:
    return client


@pytest.mark.parametrize("driver", [one for one in BUNDLING if str(one) not in ("workers", "async")], ids=str)
@pytest.mark.parametrize("returned", [False, True])
def test_a_row_that_is_saved_later(world: World, driver: Driver, returned: bool) -> None:
    """By another task's attempt: that save is the newer one, whether the first has been sent by then or not."""
    world.project.add_placeholders(2)
    kept: list[LabelRowV2] = []

    def agent(label_row: LabelRowV2) -> TaskAgentReturnStruct:
        if kept:
            world.mark(kept[0], 0.5)
            kept[0].save()
            kept[0].set_priority(0.5)
            return TaskAgentReturnStruct("complete")
        kept.append(label_row)
        world.mark(label_row)
        if returned:
            return TaskAgentReturnStruct("complete", label_row, 0.25)
        label_row.save()
        label_row.set_priority(0.25)
        return TaskAgentReturnStruct("complete")

    assert driver.run(world, agent).counts == {"moved": 2}
    (first,) = kept
    assert world.marks(first.data_hash) == [0.25, 0.5]
    assert world.project.priority(first.data_hash) == 0.5


class TestReadingWhatOneWrote:
    """Every other request of an attempt comes after the saves it has made so far."""

    @every_driver
    def test_every_way_to_ask(self, world: World, driver: Driver) -> None:
        """Through whatever object the agent was given. Each way is tried by a task of its own."""
        hashes = world.project.add_placeholders(len(WAYS_TO_ASK))
        ways = dict(zip(hashes, WAYS_TO_ASK, strict=True))
        seen: dict[str, tuple[list[float] | None, float | None]] = {}

        def agent(
            label_row: LabelRowV2,
            project: Project,
            client: EncordUserClient,
            stage: AgentStage,
            item: StorageItem,
            scoped: Annotated[EncordUserClient, Depends(scoped_client, scope="run")],
        ) -> str:
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.5)
            assert world.project.saves(label_row.data_hash) == 0
            way = ways[label_row.data_hash]
            ask = WAYS_TO_ASK[way]
            ask(row=label_row, project=project, client=client, stage=stage, item=item, scoped=scoped)
            seen[way] = saved(world, label_row.data_hash), world.project.priority(label_row.data_hash)
            return "complete"

        told = driver.run(world, agent)
        assert told.counts == {"moved": len(hashes)}, told.errors
        assert seen == dict.fromkeys(WAYS_TO_ASK, ([0.25], 0.5))
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * len(hashes)
        saves = {way: world.project.saves(data_hash) for data_hash, way in ways.items()}
        assert saves == {way: 2 if way == "bundle" else 1 for way in WAYS_TO_ASK}

    @pytest.mark.parametrize("place", ["thread", "pool"])
    @every_driver
    def test_in_whatever_thread(self, world: World, driver: Driver, place: str) -> None:
        """A thread of an unknown context has everybody's sent before it asks."""
        hashes = world.project.add_placeholders(3)
        seen = []

        def agent(label_row: LabelRowV2, project: Project) -> str:
            world.mark(label_row)
            label_row.save()
            if place == "thread":
                in_thread(project.list_label_rows_v2)
            else:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(label_row.initialise_labels, overwrite=True).result()
            seen.append(saved(world, label_row.data_hash))
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 3}
        assert seen == [[0.25]] * 3
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * 3

    @every_driver
    def test_two_threads(self, world: World, driver: Driver) -> None:
        """The request of one thread also waits for saves that another thread is sending."""
        world.project.add_placeholders(1)
        world.platform.faults.add(Fault("save", action="stall", seconds=600.0))

        def agent(label_row: LabelRowV2, project: Project) -> str:
            label_row.save()
            first = threading.Thread(target=project.list_label_rows_v2)
            first.start()
            assert until(lambda: not world.platform.faults.pending)
            world.platform.journal.clear()
            second = threading.Thread(target=project.list_label_rows_v2)
            second.start()
            second.join(0.1)  # for it to fail where it does not wait
            world.platform.faults.clear()
            first.join()
            second.join()
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 1}
        assert world.requests()[0] == "save"

    @every_driver
    def test_a_move_by_hand(self, world: World, driver: Driver) -> None:
        """An agent that moves its task itself moves it with its labels saved."""
        world.project.add_placeholders(2)
        seen = []

        def agent(task: AgentTask, label_row: LabelRowV2) -> None:
            world.mark(label_row)
            label_row.save()
            task.proceed(pathway_name="complete")
            seen.append(world.marks(label_row.data_hash))

        told = driver.run(world, agent)
        assert told.counts == {"held": 2}
        assert seen == [[0.25]] * 2
        assert world.count("Done") == 2

    @every_driver
    def test_a_thread_with_the_context_of_an_earlier_attempt(self, world: World, driver: Driver) -> None:
        """A worker of the agent's own that one attempt has started reads for all of them."""
        world.project.add_placeholders(3)
        seen = []
        work: SimpleQueue[tuple[Project, SimpleQueue[None]] | None] = SimpleQueue()
        started: list[threading.Thread] = []
        lock = threading.Lock()

        def serve() -> None:
            while (given := work.get()) is not None:
                project, done = given
                project.list_label_rows_v2()
                done.put(None)

        def agent(label_row: LabelRowV2, project: Project) -> str:
            with lock:
                if not started:
                    started.append(threading.Thread(target=contextvars.copy_context().run, args=(serve,)))
                    started[0].start()
            world.mark(label_row)
            label_row.save()
            done: SimpleQueue[None] = SimpleQueue()
            work.put((project, done))
            done.get()
            seen.append(saved(world, label_row.data_hash))
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 3}
        work.put(None)
        started[0].join()
        assert seen == [[0.25]] * 3

    @every_driver
    def test_more_after_that(self, world: World, driver: Driver) -> None:
        """Saves made after the request are bundled again."""
        hashes = world.project.add_placeholders(2)

        def agent(label_row: LabelRowV2, project: Project) -> str:
            label_row.save()
            project.list_label_rows_v2()
            world.mark(label_row)
            label_row.save()
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 2}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * 2
        assert [world.project.saves(data_hash) for data_hash in hashes] == [2] * 2


class TestChecked:
    """Checks that need no request are made at the call; the platform's refusals fail the task."""

    @every_driver
    def test_at_the_call(self, world: World, driver: Driver) -> None:
        """The SDK's exceptions, and values that cannot be sent, are raised in the agent, and nothing is sent."""
        world.project.add_placeholders(2)
        told: list[list[type[BaseException]]] = []

        def raised(work: Callable[[], object]) -> type[BaseException]:
            with pytest.raises(Exception) as caught:  # noqa: PT011
                work()
            return caught.type

        def agent(label_row: LabelRowV2, project: Project) -> str:
            blank = copy.copy(label_row)
            blank._is_labelling_initialised = False
            world.mark(label_row, float("nan"))
            told.append(
                [
                    raised(lambda: label_row.set_priority("high")),  # type: ignore[arg-type]
                    raised(lambda: label_row.set_priority(float("nan"))),
                    raised(label_row.set_priority),  # type: ignore[arg-type]
                    raised(blank.save),
                    raised(label_row.save),
                ]
            )
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 2}
        assert told == [[ValidationError, ValueError, TypeError, LabelRowError, LabelValueError]] * 2
        assert writes(world)["save"] == writes(world)["priorities"] == 0

    @every_driver
    def test_numbers_are_made_plain(self, world: World, driver: Driver) -> None:
        """As in a row that is returned."""
        (data_hash,) = world.project.add_placeholders(1)

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row, np.float32(0.25))  # type: ignore[arg-type]
            label_row.save()
            label_row.set_priority(np.float32(0.5))  # type: ignore[arg-type]
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 1}
        assert world.marks(data_hash) == [0.25]
        assert world.project.priority(data_hash) == 0.5

    @pytest.mark.filterwarnings("ignore:agent:UserWarning")
    @every_driver
    def test_a_row_in_part(self, world: World, driver: Driver) -> None:
        """It is refused at the call, unless it has been loaded whole since."""
        (data_hash,) = world.project.add_placeholders(1)
        refused = []

        def agent(label_row: LabelRowV2) -> str:
            try:
                label_row.save()
            except PartialLabelRowError as error:
                refused.append(str(error))
            label_row.initialise_labels(overwrite=True)
            world.mark(label_row)
            label_row.save()
            return "complete"

        args = LabelRowInitialiseLabelsArgs(include_object_feature_hashes=set())
        assert driver.run(world, agent, label_row_initialise_labels_args=args).counts == {"moved": 1}
        assert [text[:30] for text in refused] == ["agent() saved a label row that"]
        assert world.marks(data_hash) == [0.25]

    @pytest.mark.filterwarnings("ignore:agent:UserWarning")
    @pytest.mark.parametrize("in_part", [False, True])
    @every_driver
    def test_what_cannot_be_sent(self, world: World, driver: Driver, in_part: bool) -> None:
        """An agent that does not catch the exception fails its task as if it had returned the labels: in phase save, in
        one attempt, and not down its failure pathway."""
        world.project.add_placeholders(2, title="file {index}")
        calls = []

        def agent(label_row: LabelRowV2) -> str:
            calls.append(label_row.data_title)
            if in_part or label_row.data_title == "file 1":
                world.mark(label_row, 0.25 if in_part else float("nan"))
                label_row.save()
            return "complete"

        options: dict[str, Any] = {"failure_pathway": "review"}
        if in_part:
            options["label_row_initialise_labels_args"] = LabelRowInitialiseLabelsArgs(
                include_object_feature_hashes=set()
            )
        told = driver.run(world, agent, num_retries=2, **options)
        failed = ["file 0", "file 1"] if in_part else ["file 1"]
        assert sorted(told.failures) == failed
        assert sorted(calls) == ["file 0", "file 1"]
        assert sorted(world.titles("Pre-label")) == failed
        if told.report is not None:
            assert {record.phase for record in told.report.failures} == {"save"}

    @every_driver
    def test_a_refusal(self, world: World, driver: Driver) -> None:
        """It fails that task in phase save, the agent is not called again, and the others are written."""
        hashes = world.project.add_placeholders(6, title="file {index}")
        world.project.refuse_row(hashes[2])
        calls = []

        def agent(label_row: LabelRowV2) -> str:
            calls.append(label_row.data_title)
            world.mark(label_row)
            label_row.save()
            return "complete"

        told = driver.run(world, agent, num_retries=2)
        assert told.counts == {"moved": 5, "failed": 1}
        assert calls.count("file 2") == 1
        assert list(told.failures) == ["file 2"]
        if told.report is not None:
            assert [record.phase for record in told.report.failures] == ["save"]
        assert world.count("Done") == 5

    @every_driver
    def test_a_refusal_while_the_agent_runs(self, world: World, driver: Driver) -> None:
        """The same, whatever the agent made of it."""
        hashes = world.project.add_placeholders(4, title="file {index}")
        world.project.refuse_row(hashes[1])
        world.project.refuse_row(hashes[2])
        calls = []

        def agent(label_row: LabelRowV2, project: Project) -> str:
            calls.append(label_row.data_title)
            label_row.save()
            project.list_label_rows_v2()
            label_row.set_priority(0.5)
            if label_row.data_title == "file 2":
                raise ValueError("of its own")
            return "complete"

        told = driver.run(world, agent, num_retries=2)
        assert told.counts == {"moved": 2, "failed": 2}
        assert sorted(calls) == [f"file {number}" for number in range(4)]
        assert not any("of its own" in error.partition("\n")[0] for error in told.errors)
        if told.report is not None:
            assert [record.phase for record in told.report.failures] == ["save", "save"]
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.5, None, None, 0.5]


class TestFailures:
    """Saves that an attempt made before it failed are sent, as they would be without the option."""

    @every_driver
    def test_a_failed_task(self, world: World, driver: Driver) -> None:
        """It has what was saved in its last attempt; it stays, and its fault is its own."""
        hashes = world.project.add_placeholders(3)

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.5)
            raise ValueError("too bad")

        told = driver.run(world, agent)
        assert told.counts == {"failed": 3}
        assert all("too bad" in error for error in told.errors)
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]] * 3
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.5] * 3

    @every_driver
    def test_an_earlier_attempt(self, world: World, driver: Driver) -> None:
        """Saves that only the first attempt made are there in the end; otherwise those of the second win."""
        hashes = world.project.add_placeholders(2)
        lock, tried = threading.Lock(), set[str]()

        def agent(label_row: LabelRowV2) -> str:
            with lock:
                first = label_row.data_hash not in tried
                tried.add(label_row.data_hash)
            if first:
                world.mark(label_row, 0.1)
                label_row.save()
                label_row.set_priority(0.1)
                raise TimeoutError
            label_row.set_priority(0.2)
            return "complete"

        assert driver.run(world, agent, num_retries=1, restore_labels=True).counts == {"moved": 2}
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.1]] * 2
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.2] * 2

    @every_runner
    def test_restored_labels(self, world: World, driver: Driver) -> None:
        """The second attempt begins with the row as it was loaded, and what it saves is what is there."""
        hashes = world.project.add_placeholders(2)
        seen: dict[str, list[int]] = {data_hash: [] for data_hash in hashes}

        def agent(label_row: LabelRowV2) -> str:
            attempts = seen[label_row.data_hash]
            attempts.append(len(label_row.get_object_instances()))
            world.mark(label_row, len(attempts) / 10)
            label_row.save()
            if len(attempts) == 1:
                raise TimeoutError
            return "complete"

        assert driver.run(world, agent, num_retries=1, restore_labels=True).counts == {"moved": 2}
        assert list(seen.values()) == [[0, 0], [0, 0]]
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.2]] * 2

    @every_runner
    def test_before_a_delay(self, world: World, driver: Driver) -> None:
        """If the next attempt comes later, saves are not held until then."""
        (data_hash,) = world.project.add_placeholders(1)
        seen = []

        def agent(label_row: LabelRowV2) -> str:
            seen.append(saved(world, data_hash))
            world.mark(label_row)
            label_row.save()
            if len(seen) == 1:
                raise TimeoutError
            return "complete"

        told = driver.having(retry_delay=0.01).run(world, agent, num_retries=1, restore_labels=True)
        assert told.counts == {"moved": 1}
        assert seen == [None, [0.25]]

    @every_runner
    def test_a_failure_pathway(self, world: World, driver: Driver) -> None:
        """Saves are written before the task goes down the failure pathway."""
        hashes = world.project.add_placeholders(3)

        def agent(label_row: LabelRowV2) -> str:
            if label_row.data_hash == hashes[0]:
                return "complete"
            world.mark(label_row)
            label_row.save()
            raise ValueError("too bad")

        told = driver.run(world, agent, failure_pathway="review")
        assert told.counts == {"moved": 1, "failed": 2}
        assert world.count("Review") == 2
        assert [world.marks(data_hash) for data_hash in hashes[1:]] == [[0.25]] * 2

    @every_driver
    def test_refused_after_a_failure(self, world: World, driver: Driver) -> None:
        """The task fails in phase save: its labels were not accepted, so it goes nowhere."""
        hashes = world.project.add_placeholders(3, title="file {index}")
        world.project.refuse_row(hashes[2])

        def agent(label_row: LabelRowV2) -> str:
            if label_row.data_hash == hashes[0]:
                return "complete"
            label_row.save()
            raise ValueError("too bad")

        told = driver.run(world, agent, failure_pathway="review")
        assert told.counts == {"moved": 1, "failed": 2}
        assert "refused" in told.failures["file 2"]
        assert "file 2" in world.titles("Pre-label")


class TestAsBefore:
    """Rows other than the task's own, and runs without the option, behave as before."""

    @pytest.mark.parametrize("driver", DRIVERS, ids=str)
    def test_off_by_default(self, world: World, driver: Driver) -> None:
        """A save is a request, and raises what the platform says."""
        hashes = world.project.add_placeholders(3)
        world.project.refuse_row(hashes[1])
        caught = []

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            try:
                label_row.save()
            except Exception as error:
                caught.append(error)
            else:
                assert world.marks(label_row.data_hash) == [0.25]
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 3}
        assert len(caught) == 1

    @every_driver
    def test_rows_of_others(self, world: World, driver: Driver) -> None:
        """Another row, and a row that the agent has listed itself, are saved at the call."""
        *_, other = world.project.add_placeholders(3)
        world.project.move(world.task_of(other), "Review")
        seen = []

        def agent(label_row: LabelRowV2, project: Project) -> str:
            label_row.set_priority(0.5)
            for data_hash in (other, label_row.data_hash):
                (row,) = project.list_label_rows_v2(data_hashes=[data_hash])
                row.initialise_labels(overwrite=True)
                before = len(row.get_object_instances())
                world.mark(row)
                row.save()
                seen.append(len(world.marks(data_hash) or []) > before)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 2}
        assert seen == [True] * 4

    @every_driver
    @pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
    def test_a_forked_process(self, world: World, driver: Driver) -> None:
        """It saves at the call: nothing that it holds would ever be sent."""
        hashes = world.project.add_placeholders(3)

        def agent(row: LabelRowV2) -> str:
            world.mark(row)
            if (child := os.fork()) == 0:
                try:
                    row.save()
                    row.set_priority(0.75)
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 3}
        assert [saved(world, data_hash) for data_hash in hashes] == [[0.25]] * 3
        assert [world.project.priority(data_hash) for data_hash in hashes] == [0.75] * 3

    @every_driver
    def test_the_row_after_that(self, world: World, driver: Driver) -> None:
        """It is in the state that the SDK leaves it in, and is copied like others."""
        world.project.add_placeholders(1)
        seen = []

        def state(row: LabelRowV2) -> tuple[Any, ...]:
            return row.is_labelling_initialised, row.label_hash, row.last_edited_at, row.to_encord_dict()

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            before = state(label_row)
            label_row.save()
            label_row.set_priority(0.5)
            seen.append(before == state(label_row))
            seen.extend(state(copied) == before for copied in (copy.copy(label_row), copy.deepcopy(label_row)))
            seen.append(isinstance(label_row, LabelRowV2) and type(label_row).__name__ == "LabelRowV2")
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 1}
        assert seen == [True] * 4

    @every_driver
    def test_after_the_attempt(self, world: World, driver: Driver) -> None:
        """A row that is kept beyond its attempt saves by itself: nothing is held that would never be sent."""
        (data_hash,) = world.project.add_placeholders(1)
        kept = []

        def agent(label_row: LabelRowV2) -> str:
            kept.append(label_row)
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 1}
        world.mark(kept[0])
        kept[0].save()
        assert world.marks(data_hash) == [0.25]


class TestFreshness:
    """Held saves are written by the engine, by the engine's rules."""

    @pytest.fixture(autouse=True)
    def always_stale(self, world: World) -> None:
        """As if a minute had passed whenever that is asked."""
        world.numbers |= {"stale_after": 0.0, "same_edit": 1e-06}

    def save_as_a_person(self, world: World, data_hash: str) -> None:
        project = world.platform.client(retries=False).get_project(world.project.project_hash)
        (row,) = project.list_label_rows_v2(data_hashes=[data_hash])
        row.initialise_labels()
        world.mark(row, 0.5)
        row.save()

    @pytest.mark.parametrize("then", ["returns", "reads", "fails", "fails once"])
    @every_driver
    def test_labels_of_a_person(self, world: World, driver: Driver, then: str) -> None:
        """Saved while the agent ran, they stand, and the task fails; its agent is not called again."""
        (data_hash,) = world.project.add_placeholders(1)
        calls = []

        def agent(label_row: LabelRowV2, project: Project) -> str:
            calls.append(1)
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.75)
            self.save_as_a_person(world, data_hash)
            if then == "reads":
                project.list_label_rows_v2()
            if then in ("fails", "fails once"):
                raise LookupError
            return "complete"

        told = driver.run(world, agent, num_retries=int(then == "fails once"))
        assert told.counts == {"failed": 1}
        assert "Somebody saved the labels" in told.errors[0]
        assert world.marks(data_hash) == [0.5]
        assert len(calls) == 1

    @every_driver
    def test_a_task_that_somebody_has_moved(self, world: World, driver: Driver) -> None:
        """Its held saves are not written any more, even if its attempt fails and another would follow."""
        (data_hash,) = world.project.add_placeholders(1)
        calls = []

        def agent(task: AgentTask, label_row: LabelRowV2) -> str:
            calls.append(1)
            world.mark(label_row)
            label_row.save()
            self.save_as_a_person(world, data_hash)
            world.project.move(str(task.uuid), "Review")
            raise LookupError

        driver.run(world, agent, num_retries=1)
        assert world.marks(data_hash) == [0.5]
        assert (world.project.priority(data_hash), world.count("Review"), len(calls)) == (None, 1, 1)

    @every_driver
    def test_sent_while_the_agent_ran(self, world: World, driver: Driver) -> None:
        """A save that was sent before another request of the agent is not taken for somebody else's."""
        (data_hash,) = world.project.add_placeholders(1)

        def agent(label_row: LabelRowV2, project: Project) -> str:
            label_row.save()
            project.list_label_rows_v2()
            world.mark(label_row)
            label_row.save()
            return "complete"

        assert driver.run(world, agent).counts == {"moved": 1}
        assert world.marks(data_hash) == [0.25]

    @every_runner
    def test_loaded_anew(self, world: World, driver: Driver) -> None:
        """Another attempt on a row that is loaded anew sees what the first one saved."""
        (data_hash,) = world.project.add_placeholders(1)
        seen = []

        def agent(label_row: LabelRowV2) -> str:
            seen.append(len(label_row.get_object_instances()))
            world.mark(label_row, len(seen) / 10)
            label_row.save()
            if len(seen) == 1:
                raise TimeoutError
            return "complete"

        assert driver.run(world, agent, num_retries=1).counts == {"moved": 1}
        assert seen == [0, 1]
        assert world.marks(data_hash) == [0.1, 0.2]


class TestDryRun:
    """It holds these back, too, and tells them."""

    @every_runner
    def test_told(self, world: World, driver: Driver) -> None:
        """Agents' own saves are reported together with their return values, and nothing is sent."""
        world.project.add_placeholders(2)
        told: list[str] = []

        def watch(event: object) -> None:
            if isinstance(event, TaskWouldWrite):
                told.append(event.summary)

        def agent(label_row: LabelRowV2, project: Project) -> str:
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.5)
            project.list_label_rows_v2()
            return "complete"

        assert driver.having(dry_run=True).run(world, agent, observers=[watch]).counts == {"moved": 2}
        would = "would move along 'complete', save 1 object and 0 classifications, set its priority to 0.5"
        assert told == [would] * 2
        assert writes(world) == {"save": 0, "priorities": 0, "actions": 0}

    @pytest.mark.parametrize("how", ["thread", "later attempt", "teardown of the run"])
    @pytest.mark.parametrize("driver", [*BUNDLING_RUNNERS, "try_on"], ids=str)
    def test_after_the_attempt(self, world: World, driver: Driver | str, how: str) -> None:
        """Nor is a row that the agent has kept sent later, in whatever way."""
        (data_hash, *_) = world.project.add_placeholders(2)
        over = threading.Event()
        threads: list[threading.Thread] = []

        def keep() -> Iterator[list[LabelRowV2]]:
            rows: list[LabelRowV2] = []
            yield rows
            if how == "teardown of the run":
                for row in rows:
                    row.save()

        def save_later(row: LabelRowV2) -> None:
            over.wait()
            row.save()
            row.set_priority(0.5)

        def agent(label_row: LabelRowV2, rows: Annotated[list[LabelRowV2], Depends(keep, scope="run")]) -> str:
            if how == "later attempt":
                for row in rows:
                    row.save()
            if how == "thread":
                threads.append(threading.Thread(target=save_later, args=(label_row,)))
                threads[-1].start()
            world.mark(label_row)
            rows.append(label_row)
            return "complete"

        if isinstance(driver, str):
            trial = world.agent(agent).try_on(data_hash)
            assert trial.would == "would move along 'complete'"
        else:
            assert driver.having(dry_run=True).run(world, agent).counts == {"moved": 2}
        over.set()
        for thread in threads:
            thread.join()
        assert writes(world) == {"save": 0, "priorities": 0, "actions": 0}
        if isinstance(driver, str):  # the user's own save, of the row that the trial has given
            assert trial.label_row is not None
            trial.label_row.save()
            assert world.marks(data_hash) == [0.25]


INTERRUPTED = [driver for driver in BUNDLING if str(driver) in ("one-by-one", "window", "async", "queue-function")]


class TestStopping:
    """Saves made before a run is stopped are sent, or reported as not sent."""

    @pytest.mark.parametrize("driver", INTERRUPTED, ids=str)
    def test_an_interrupt(self, world: World, driver: Driver) -> None:
        """An attempt that is interrupted has no outcome, but what it saved by then is there."""
        hashes = world.project.add_placeholders(1)

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            label_row.save()
            label_row.set_priority(0.5)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            driver.run(world, agent)
        assert [world.marks(data_hash) for data_hash in hashes] == [[0.25]]
        assert world.project.priority(hashes[0]) == 0.5
        assert world.count("Pre-label") == 1

    @pytest.mark.parametrize("driver", INTERRUPTED[:3], ids=str)
    def test_what_cannot_be_sent(self, world: World, driver: Driver) -> None:
        """It is listed as unwritten, with a warning in the log."""
        world.numbers |= {"time_to_write": 0.3}
        (data_hash,) = world.project.add_placeholders(1)
        world.platform.faults.add(Fault("save", times=None, status=503))

        def agent(label_row: LabelRowV2) -> str:
            label_row.save()
            raise KeyboardInterrupt

        runner = world.agent(as_coroutine(agent) if str(driver) == "async" else agent)
        with pytest.raises(KeyboardInterrupt):
            runner(progress="none", max_outage=60.0, **driver.options)
        assert runner.report is not None
        assert [str(task.data_hash) for task in runner.report.unwritten] == [data_hash]
        assert world.project.saves(data_hash) == 0

    @every_runner
    def test_a_stop(self, world: World, driver: Driver) -> None:
        """Finished tasks are written as usual, and so are the saves of a task that waits for another attempt."""
        hashes = world.project.add_placeholders(2)
        stop = Stop()

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            label_row.save()
            stop.request()
            raise TimeoutError

        runner = world.agent(as_coroutine(agent) if str(driver) == "async" else agent)
        report = runner(progress="none", num_retries=1, retry_delay=3600.0, stop=stop, **driver.options)
        assert report.stopped is not None
        begun = [data_hash for data_hash in hashes if world.project.saves(data_hash)]
        assert [world.marks(data_hash) for data_hash in begun] == [[0.25]] * len(begun)
        assert begun
        assert report.unwritten == ()

    @every_runner
    def test_what_ends_the_run(self, world: World, driver: Driver) -> None:
        """A fault that is every task's ends the run, and what was saved before is there."""
        (data_hash,) = world.project.add_placeholders(1)

        def agent(label_row: LabelRowV2) -> str:
            world.mark(label_row)
            label_row.save()
            return "nowhere"

        with pytest.raises(UnknownPathwayError):
            driver.run(world, agent)
        assert world.marks(data_hash) == [0.25]


def as_coroutine(function: Callable[..., str]) -> Callable[..., Any]:
    async def agent(label_row: LabelRowV2) -> str:
        return function(label_row)

    return agent


class TestTheReport:
    """Nobody should have to know the option: the report's last line names it."""

    @pytest.mark.parametrize("bundled", [False, True])
    @pytest.mark.parametrize(
        "driver", [one for one in DRIVERS if str(one) not in ("queue-function", "celery")], ids=str
    )
    def test_own_saves(self, world: World, driver: Driver, bundled: bool) -> None:
        """It says how long agents waited for saves of their own, where that was over a fifth of the time."""
        world.project.add_placeholders(4)

        def agent(label_row: LabelRowV2) -> str:
            label_row.set_priority(0.5)
            return "complete"

        report = driver.having(bundle_saves=bundled).run(world, agent).report
        assert report is not None
        assert (report.own_saves > 0) is not bundled
        assert report.to_dict()["own_saves"] == round(report.own_saves, 3)
        much = report.own_saves > 0.2 * max(report.seconds, report.running)
        much = much and driver.options.get("task_batch_size") != 1  # where no save could be sent with another
        last_line = str(report).splitlines()[-1]
        assert ("bundle_saves=True" in last_line) is much
        assert not (bundled and much)

    def test_of_a_queue_function(self, world: World) -> None:
        """The results of a call say it too."""
        world.project.add_placeholders(1)
        runner = QueueRunner(world.project.project_hash, user_client=world.client)
        function = runner.stage("Pre-label")(sets_priority)
        result = TaskCompletionResult.model_validate_json(function(list(function.waiting())))
        assert 0 < result.results[0].own_saves <= result.results[0].seconds
