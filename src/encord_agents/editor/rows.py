"""The label row on the screen, found in its project."""

from __future__ import annotations

import warnings
from typing import Final

from encord.objects import LabelRowV2
from encord.project import Project

from encord_agents.core.data_model import FrameData, LabelRowMetadataIncludeArgs
from encord_agents.exceptions import EditorRequestError

__all__ = ["find_row"]

MAIN: Final = "main"
"""The branch that the label editor shows."""


def find_row(project: Project, frame: FrameData, args: LabelRowMetadataIncludeArgs | None = None) -> LabelRowV2:
    """Return the label row that is in the editor, without its labels. If all branches are listed, it is that of `MAIN`.

    Raises:
        EditorRequestError: The project has no such row, or only on other branches.
    """
    args = args or LabelRowMetadataIncludeArgs()
    row = _listed(project, frame, args)
    if row is None and not args.include_children:
        # A member of a data group is a row of its own, which is listed only on request.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            row = _listed(project, frame, args.model_copy(update={"include_children": True}))
    if row is None:
        raise EditorRequestError(f"Project {frame.project_hash} has no data unit {frame.data_hash}.", status=404)
    return row


def _listed(project: Project, frame: FrameData, args: LabelRowMetadataIncludeArgs) -> LabelRowV2 | None:
    data_hash = str(frame.data_hash)
    rows = project.list_label_rows_v2(data_hashes=[data_hash], **args.model_dump())
    rows = [row for row in rows if str(row.data_hash) == data_hash]
    if not rows or not args.include_all_label_branches:
        return rows[0] if rows else None
    for row in rows:
        if row.branch_name == MAIN:
            return row
    raise EditorRequestError(
        f"The data unit {data_hash} has labels on {', '.join(repr(row.branch_name) for row in rows)}, and none on "
        f"{MAIN!r} yet. In place of include_all_label_branches, name the branch: branch_name={MAIN!r}, or another one.",
        status=404,
    )
