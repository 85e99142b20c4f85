"""Label rows in the database: listing, initialising, saving, copying to a branch."""

from __future__ import annotations

from typing import Any

import pytest

from encord_agents.local import LocalProject, branches, contents, differing, history, labels
from encord_agents.local.labels import RowFilter
from encord_agents.local.trouble import Refusal

BOX = {
    "objectHash": "o1", "featureHash": "pErs0nB1", "shape": "bounding_box", "confidence": 0.5,
    "boundingBox": {"x": 0.1, "y": 0.1, "w": 0.2, "h": 0.2},
}  # fmt: skip


def boxed(data_hash: str, **more: Any) -> dict[str, Any]:
    frame = {"objects": [BOX | more], "classifications": []}
    return {
        "data_units": {data_hash: {"data_hash": data_hash, "labels": frame}},
        "object_answers": {"o1": {"objectHash": "o1", "classifications": []}},
        "classification_answers": {},
    }


def made(project: LocalProject, number: int = 0, branch: str = "main") -> Any:
    (row,) = labels.create(project._database, project._record, [project.tasks()[number].data_hash], branch)
    return row


def saved(project: LocalProject, number: int = 0, branch: str = "main", **more: Any) -> Any:
    row = made(project, number, branch)
    labels.save(project._database, project._record, {row["label_hash"]: boxed(row["data_hash"], **more)})
    return row


def test_a_row_is_made_once(project: LocalProject) -> None:
    """Whoever initialises it again gets the same; an unknown data unit is refused with nothing made."""
    assert made(project)["label_hash"] == made(project)["label_hash"]
    with pytest.raises(Refusal):
        labels.create(project._database, project._record, [project.tasks()[1].data_hash, "other"], "main")
    listed = labels.rows(project._database, project._record, RowFilter(include_uninitialised=False))
    assert [row["title"] for row in listed] == ["a.png"]


def test_saves_are_all_or_none(project: LocalProject) -> None:
    """If one row is refused, none is saved."""
    one, two = made(project, 0), made(project, 1)
    project.refuse_row(two["data_hash"], "no")
    both = {row["label_hash"]: boxed(row["data_hash"]) for row in (one, two)}
    with pytest.raises(Refusal, match="no"):
        labels.save(project._database, project._record, both)
    assert project.saves(one["data_hash"]) == 0
    project.refuse_row(two["data_hash"], None)
    labels.save(project._database, project._record, both)
    assert [project.saves(row["data_hash"]) for row in (one, two)] == [1, 1]


def test_rows_by_filter(project: LocalProject) -> None:
    """Each filter leaves those that fit, and an empty list fits none."""
    row = saved(project)
    later, now = 4_000_000_000.0, 0.0
    for wanted, expected in (
        (RowFilter(), ["a.png", "b.png", "c.png"]),
        (RowFilter(data_hashes=[row["data_hash"]]), ["a.png"]),
        (RowFilter(data_hashes=[]), []),
        (RowFilter(label_hashes=[row["label_hash"]]), ["a.png"]),
        (RowFilter(title_eq="b.png"), ["b.png"]),
        (RowFilter(title_like="%.PNG"), ["a.png", "b.png", "c.png"]),
        (RowFilter(stage_eq="Agent", title_like="c%"), ["c.png"]),
        (RowFilter(stage_eq="Done"), []),
        (RowFilter(stage_like="Ag%"), ["a.png", "b.png", "c.png"]),
        (RowFilter(edited_before=later), ["a.png"]),
        (RowFilter(edited_after=later), []),
        (RowFilter(edited_after=now), ["a.png"]),
        (RowFilter(branch="other", include_uninitialised=False), []),
        (RowFilter(all_branches=True), ["a.png", "b.png", "c.png"]),
    ):
        assert [row["title"] for row in labels.rows(project._database, project._record, wanted)] == expected


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


def test_classes_are_kept_beside_labels(project: LocalProject) -> None:
    """Counted by feature, with the lowest and highest confidence; a save replaces them, a reset forgets them."""
    row = saved(project)
    assert contents.classes(boxed(row["data_hash"])) == {"pErs0nB1": (1, 0.5, 0.5)}
    saved(project, confidence=0.7)

    def kept() -> list[tuple[Any, ...]]:
        with project._database.read() as connection:
            return [tuple(row) for row in connection.execute("SELECT feature, n, low, high FROM label_classes")]

    assert kept() == [("pErs0nB1", 1, 0.7, 0.7)]
    project.reset()
    assert kept() == []
    assert project.label(row["data_hash"]) is None


def test_differences_since_the_start(project: LocalProject) -> None:
    """Of objects by their hashes, and of stages; dates do not count."""
    assert project.differences() == []
    saved(project)
    project.move(project.tasks()[1].uuid, "Done")
    labelled, moved = project.differences()
    assert (labelled.data_title, labelled.added, labelled.removed, labelled.changed) == ("a.png", 1, 0, 0)
    assert (moved.data_title, moved.origin, moved.stage, moved.moved) == ("b.png", "Agent", "Done", True)
    assert differing._lasting({"createdAt": 1, "value": 2}) == {"value": 2}
