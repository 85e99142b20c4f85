"""Records on the wire: dates, and what is only there if it was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from encord_agents.local import LocalPlatform, LocalProject, folders, label_wire, labels, wire
from encord_agents.local.folders import Search
from encord_agents.local.items import TYPES
from encord_agents.local.labels import RowFilter


def test_dates() -> None:
    """Each protocol has its own form, all in UTC."""
    assert wire.iso(0.5) == "1970-01-01T00:00:00.500000+00:00"
    assert wire.legacy_date(0) == "Thu, 01 Jan 1970 00:00:00 UTC"
    assert wire.sql_date(0) == "1970-01-01 00:00:00"


def test_an_item(platform: LocalPlatform, project: LocalProject) -> None:
    """It has a signed address only if one was asked for, and there is a file."""
    row: Any = folders.find_items(platform._service.database, Search())[0]
    assert wire.item(row, None)["signedUrl"] is None
    assert wire.item(row, lambda item, name: f"{item} {name}")["signedUrl"] == f"{row['uuid']} a.png"
    assert wire.item({**row, "digest": None}, lambda item, name: "x")["signedUrl"] is None
    assert {wire.data_type(kind) for kind in TYPES} >= {"image", "video", "img_group", "dicom"}


@pytest.mark.parametrize(
    ("stage", "labelled", "status", "expected"),
    [
        ("Agent", False, "NEW", ("NOT_LABELLED", "QUEUED")),
        ("Agent", True, "NEW", ("LABEL_IN_PROGRESS", "QUEUED")),
        ("Annotate", True, "ASSIGNED", ("LABEL_IN_PROGRESS", "ASSIGNED")),
        ("Annotate", True, "REOPENED", ("LABEL_IN_PROGRESS", "RETURNED")),
        ("Review", True, "NEW", ("LABEL_IN_PROGRESS", "IN_REVIEW")),
        ("Done", True, "COMPLETED", ("LABELLED", "COMPLETED")),
    ],
)
def test_the_status_of_a_row(
    project: LocalProject, stage: str, labelled: bool, status: str, expected: tuple[str, str]
) -> None:
    """By the stage that its task is in, and what happened to it."""
    row = {"stage": project.stage(stage).uuid, "label_hash": "l" if labelled else None, "status": status}
    assert label_wire.label_status(row, project._record.stages) == expected  # type: ignore[arg-type]


def test_a_row_in_a_list(project: LocalProject) -> None:
    """Metadata and stage are there if they were asked for; a priority is, where none was set, the middle."""
    row = labels.rows(project._database, project._record, RowFilter())[0]
    plain = label_wire.label_row(row, project._record, "main", metadata=False, node=False)
    full = label_wire.label_row(row, project._record, "main", metadata=True, node=True)
    assert full.keys() - plain.keys() == {"client_metadata", "workflow_graph_node"}
    assert (plain["priority"], plain["branch_name"], plain["number_of_frames"]) == (0.5, "main", 1)
    assert full["workflow_graph_node"]["title"] == "Agent"
