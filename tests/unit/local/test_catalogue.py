"""Projects, templates and ontologies: what is kept, and that whoever looks sees the latest."""

from __future__ import annotations

from encord_agents.local import LocalPlatform, LocalProject, Workflow, datasets
from encord_agents.local.catalogue import Catalogue


def test_a_change_is_seen_by_all(platform: LocalPlatform, project: LocalProject) -> None:
    """Also by another reader of the same database, which has a copy of its own."""
    database = platform._service.database
    mine, theirs = platform._service.catalogue, Catalogue(database)
    before = theirs.project(project.project_hash)
    assert before is not None
    mine.update(project.project_hash, title="New", status="paused")
    after = theirs.project(project.project_hash)
    assert after is not None
    assert (before.title, after.title, after.status) == ("Project", "New", "paused")
    record = mine.ontology(after.ontology)
    assert record is not None
    mine.save_ontology(after.ontology, "Empty", "", {"objects": [], "classifications": []})
    latest = theirs.project(project.project_hash)
    assert latest is not None
    assert (bool(after.features), latest.features) == (True, {})
    assert [found.title for found in theirs.ontologies()] == ["Empty"]
    project.delete()
    assert theirs.project(project.project_hash) is None


def test_a_template(platform: LocalPlatform, project: LocalProject) -> None:
    """Projects of one have its stages, under the same uuids."""
    catalogue = platform._service.catalogue
    workflow = Workflow.of({"stages": [{"title": "A", "type": "agent", "pathways": {"x": "B"}}, {"title": "B"}]})
    uuid = platform.add_workflow_template(workflow, title="T")
    row = catalogue.template(uuid)
    assert row is not None
    made = catalogue.create_from(
        title="Made", description="", ontology=project._record.ontology, stages=row["stages"], start=row["start"],
        dataset_hashes=[],
    )  # fmt: skip
    assert list(made.stages) == [stage.uuid for stage in workflow.resolved]
    assert made.start == workflow.start_uuid
    assert catalogue.template("other") is None


def test_a_project_takes_its_tasks_with_it(platform: LocalPlatform, project: LocalProject) -> None:
    """Those of data that is in none of its datasets, too: a later project with the same row id inherits none."""
    other = platform.create_project(title="Other", workflow={"stages": [{"title": "A", "type": "agent"}]})
    with platform._service.database.write() as connection:
        data = [row["data"] for row in connection.execute("SELECT data FROM entries")]
        datasets.enter(connection, other._record.id, data)
    assert len(other.tasks()) == 3
    other.delete()
    later = platform.create_project(title="Later", workflow={"stages": [{"title": "A", "type": "agent"}]})
    assert (later.tasks(), len(project.tasks())) == ([], 3)
