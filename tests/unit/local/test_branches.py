"""Labels copied from branch to branch."""

from __future__ import annotations

from tests.unit.local.rows import saved

from encord_agents.local import LocalProject, branches, history, labels


def test_a_branch_is_copied(project: LocalProject) -> None:
    """Where there is none, or it may be overwritten; what is overwritten is a version in the history."""
    row = saved(project)
    copied = {"overwrite": False, "data_hashes": None, "label_hashes": None}
    assert branches.copy(project._database, project._record, "main", "second", **copied) == 1
    assert branches.copy(project._database, project._record, "main", "second", **copied) == 0
    assert labels.branches(project._database, project._record) == ["main", "second"]
    saved(project, confidence=0.9)
    assert branches.copy(project._database, project._record, "main", "second", **(copied | {"overwrite": True})) == 1
    assert branches.copy(project._database, project._record, "main", "x", **(copied | {"data_hashes": []})) == 0
    label = project.label(row["data_hash"], "second")
    assert label is not None
    assert label["data_units"][row["data_hash"]]["labels"]["objects"][0]["confidence"] == 0.9
    first = history.version(project._database, row["unit"], "second", 1)
    assert first is not None
    assert b"0.5" in first
