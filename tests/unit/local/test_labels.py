"""Label rows in the database: listing, initialising, saving, copying to a branch."""

from __future__ import annotations

import pytest
from tests.unit.local.rows import boxed, made, saved

from encord_agents.local import LocalPlatform, LocalProject, label_wire, labels
from encord_agents.local.labels import RowFilter
from encord_agents.local.trouble import Refusal


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


def test_a_row_knows_what_happened_to_its_task(project: LocalProject) -> None:
    """A task that was rejected is returned, as the list of rows says, too."""
    row = saved(project)
    project.move(project.tasks()[0].uuid, "Review")
    project.act("reject", "Review")
    database, record = project._database, project._record
    for found in (
        labels.create(database, record, [row["data_hash"]], "main")[0],
        labels.get(database, record, [row["label_hash"]])[0],
        labels.one(database, record, row["data_hash"], "main"),
        labels.rows(database, record, RowFilter(data_hashes=[row["data_hash"]]))[0],
    ):
        assert found is not None
        assert label_wire.label_status(found, record.stages) == ("LABEL_IN_PROGRESS", "RETURNED")


def test_titles_in_any_language(platform: LocalPlatform) -> None:
    """Case does not matter, in letters with accents either."""
    project = platform.create_project(workflow={"stages": [{"title": "Prüfung", "type": "agent"}]})
    project.add_image("ÜBER.png")
    for wanted in (RowFilter(title_like="%über%"), RowFilter(stage_like="PRÜF%")):
        assert [row["title"] for row in labels.rows(project._database, project._record, wanted)] == ["ÜBER.png"]
