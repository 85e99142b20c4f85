"""Projects of one task, for an agent to be tried on."""

from __future__ import annotations

from tests.unit.local.hanging import counts, filled

from encord_agents.local import LocalPlatform, LocalProject, singles


def test_a_copy_of_one_task_leaves_no_trace(platform: LocalPlatform, project: LocalProject) -> None:
    """An agent can be tried on it; afterwards it is as if it had never been there."""
    filled(platform, project)
    before = counts(platform)
    service = platform._service
    record = singles.copy(service, project._record, project.tasks()[1].uuid)
    copied = LocalProject(service, record)
    assert [task.data_title for task in copied.tasks()] == ["b.png"]
    copied.move(copied.tasks()[0].uuid, "Done")
    singles.delete(service, record)
    assert counts(platform) == before
    assert singles.find(service, project.tasks()[0].uuid).hash == project.project_hash
