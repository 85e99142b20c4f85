"""Reviews of labels, without HTTP."""

from __future__ import annotations

import pytest

from encord_agents.local import LocalPlatform, LocalProject, reviews
from encord_agents.local.trouble import Refusal


def test_reviews_follow_the_labels(platform: LocalPlatform, project: LocalProject) -> None:
    """One for each label that there is; those of labels that are gone are forgotten."""
    task = project.tasks()[0]
    record = project._record
    with platform._service.database.write() as connection:
        unit = connection.execute("SELECT unit FROM tasks WHERE uuid = ?", (task.uuid,)).fetchone()["unit"]
        content = b'{"object_answers": {"o1": {}}, "classification_answers": {"c1": {}}}'
        connection.execute("INSERT INTO labels VALUES (?, 'main', 'hash', ?, 1, 0, 0)", (unit, content))
        found = reviews.of_task(connection, record, task.uuid)
        assert [(row["label_id"], row["label_type"]) for row in found] == [("c1", "Classification"), ("o1", "Object")]
        reviews.act(connection, task.uuid, [(found[0]["uuid"], "REJECTED", "blurred")])
        reviews.settle(connection, record, [task.uuid], "NEW", "APPROVED")
        connection.execute("""UPDATE labels SET content = '{"classification_answers": {"c1": {}}}'""")
        assert [row["status"] for row in reviews.of_task(connection, record, task.uuid)] == ["REJECTED"]
        with pytest.raises(Refusal):
            reviews.act(connection, task.uuid, [("other", "APPROVED", None)])
