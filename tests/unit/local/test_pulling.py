"""A copy of a project that is read through the SDK: how much of it, how often, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.local.conftest import WORKFLOW
from tests.unit.local.rows import saved

from encord_agents.local import LocalPlatform, LocalPlatformError, LocalProject, Workflow, pulling
from encord_agents.local.images import png


@pytest.fixture
def real(local_platform: LocalPlatform) -> LocalProject:
    """The project that is copied, of a platform that is served: five pictures, two of them in another stage."""
    made = local_platform.create_project(title="Real", description="of tests", workflow=WORKFLOW)
    made.add_placeholders(5, title="{index}.png")
    for task in made.tasks()[3:]:
        made.move(task.uuid, "Annotate")
    return made


@pytest.fixture
def copy() -> Iterator[LocalPlatform]:
    """The platform that the copy is on, which need not be served for that."""
    platform = LocalPlatform()
    yield platform
    platform.close()


def pull(local_platform: LocalPlatform, copy: LocalPlatform, real: LocalProject, **options: object) -> pulling.Pulled:
    client = local_platform.client(retries=False)
    return pulling.pull(copy._service, client, real.project_hash, **options)  # type: ignore[arg-type]


def test_the_same_project(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """Title, stages, pathways and uuids of tasks' data are those of the original; nothing is written there."""
    (project,) = [LocalProject(copy._service, pull(local_platform, copy, real).record)]
    assert (project.title, project._record.description) == ("Real", "of tests")
    assert [stage.to_wire() for stage in project._record.stages.values()] == [
        stage.to_wire() for stage in real._record.stages.values()
    ]
    assert [(task.data_hash, task.stage_title) for task in project.tasks()] == [
        (task.data_hash, task.stage_title) for task in real.tasks()
    ]
    assert not {entry.kind for entry in local_platform.journal} & {"save", "actions", "priorities", "label_create"}


@pytest.mark.parametrize("by", ["title", "uuid"])
def test_one_stage(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform, by: str) -> None:
    """Only its tasks come; the workflow is whole."""
    done = pull(local_platform, copy, real, stage=getattr(real.stage("Annotate"), by))
    project = LocalProject(copy._service, done.record)
    assert [task.data_title for task in project.tasks()] == ["3.png", "4.png"]
    assert len(project.stages) == 4
    with pytest.raises(LocalPlatformError, match="'Agent', 'Annotate', 'Review', 'Done'"):
        pull(local_platform, copy, real, stage="Nowhere")


def test_in_parts(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """So many of each stage; the next call adds the rest, counts what was there, and makes no second project."""
    told: list[tuple[int, str]] = []
    first = pull(local_platform, copy, real, max_tasks=1, progress=lambda done, what: told.append((done, what)))
    assert (first.tasks, first.there) == (2, 0)
    assert told[0] == (0, "Agent")
    assert told[-1] == (2, "")
    again = pull(local_platform, copy, real)
    assert (again.tasks, again.there, again.record.hash) == (3, 2, first.record.hash)
    assert len(copy.projects()) == 1
    assert pull(local_platform, copy, real).there == 5


def test_what_was_done_here_stays(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """A further call brings back neither a task that was moved here, nor a priority, nor labels."""
    hash = saved(real)["data_hash"]
    with real._database.write() as connection:
        connection.execute("UPDATE tasks SET priority = 0.75")
    project = LocalProject(copy._service, pull(local_platform, copy, real, with_labels=True).record)
    assert project.priority(hash) == 0.75
    saved(project, confidence=0.25)
    project.move(project.tasks()[0].uuid, "Done")
    with project._database.write() as connection:
        connection.execute("UPDATE tasks SET priority = 0.5")
    pull(local_platform, copy, real, with_labels=True, with_files=True)
    label = project.label(hash)
    assert label is not None
    assert label["data_units"][hash]["labels"]["objects"][0]["confidence"] == 0.25
    assert (project.tasks()[0].stage_title, project.priority(hash)) == ("Done", 0.5)


def test_files_later(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """Without them, items have their facts; a call that asks for them adds them to the tasks that are there."""
    pull(local_platform, copy, real)
    assert local_platform.journal.count("asset") == 0
    sql = "SELECT width, height, digest IS NOT NULL AS filed FROM items"
    with copy._service.database.read() as connection:
        assert [tuple(row) for row in connection.execute(sql)] == [(64, 48, 0)] * 5
    done = pull(local_platform, copy, real, with_files=True)
    assert (done.tasks, done.there) == (0, 5)
    with copy._service.database.read() as connection:
        assert [tuple(row) for row in connection.execute(sql)] == [(64, 48, 1)] * 5


def test_what_cannot_be_read(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """It is named with its reason, and keeps nothing else back; the next call tries it again."""
    forbidden = real.tasks()[1].data_hash
    broken = real.add_image("broken.png", png(7, 7))
    real.break_asset(broken)
    real.forbid_item(forbidden)
    done = pull(local_platform, copy, real, with_files=True)
    assert (done.tasks, sorted(reason.partition(":")[0] for reason in done.skipped)) == (4, ["1.png", "broken.png"])
    assert "storage item cannot be read" in next(reason for reason in done.skipped if reason.startswith("1.png"))
    real.break_asset(broken, None)
    real.forbid_item(forbidden, False)
    again = pull(local_platform, copy, real, with_files=True)
    assert (again.tasks, again.skipped) == (2, [])


def test_a_second_task_of_a_row(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """Where the SDK does not tell their branches, one of them is copied, and the other is named."""
    real.add_task(real.tasks()[0].data_hash, "Review")
    done = pull(local_platform, copy, real)
    assert done.tasks == 5
    assert done.skipped == ["0.png: it has another task, which was copied"]


def test_a_pathway_into_a_router(local_platform: LocalPlatform, copy: LocalPlatform) -> None:
    """The SDK shows no routers: such a pathway is kept by its name, and leads back to its own stage."""
    workflow = {
        "stages": [
            {"title": "A", "type": "agent", "pathways": {"on": "R", "off": "B"}},
            {"title": "R", "type": "router", "routes": {"B": 100}},
            {"title": "B", "type": "done"},
        ]
    }
    real = local_platform.create_project(workflow=Workflow.from_dict(workflow))
    record = pull(local_platform, copy, real).record
    agent, last = record.stages.values()
    assert {way.name: way.to for way in agent.pathways} == {"on": agent.uuid, "off": last.uuid}


def test_projects_that_share_a_dataset(local_platform: LocalPlatform, real: LocalProject, copy: LocalPlatform) -> None:
    """Their copies share it, too; the tasks that one of them has go with it, and are not left for a later project."""
    client = local_platform.client(retries=False)
    original = client.get_project(real.project_hash)
    twin = client.create_project(
        "Twin", [str(found.dataset_hash) for found in original.list_datasets()],
        ontology_hash=original.ontology_hash, workflow_template_hash=local_platform.add_workflow_template(WORKFLOW),
    )  # fmt: skip
    pull(local_platform, copy, real)
    second = LocalProject(copy._service, pulling.pull(copy._service, client, twin, max_tasks=2).record)
    titles = [row["title"] for row in copy._service.catalogue.datasets(second._record)]
    assert (sorted(titles), len(second.tasks())) == (["Real", "Twin"], 2)
    second.delete()
    later = copy.create_project(title="Later", workflow=WORKFLOW)
    assert later.tasks() == []
    assert len(copy.project("Real").tasks()) == 5
