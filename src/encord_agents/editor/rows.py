"""The label row on the screen, found in its project."""

from __future__ import annotations

import warnings

from encord.objects import LabelRowV2
from encord.project import Project

from encord_agents.core.data_model import FrameData, LabelRowMetadataIncludeArgs
from encord_agents.exceptions import EditorRequestError

__all__ = ["find_row"]


def find_row(project: Project, frame: FrameData, args: LabelRowMetadataIncludeArgs | None = None) -> LabelRowV2:
    """Return the label row that is in the editor, without its labels.

    Raises:
        EditorRequestError: The project has no such row.
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
    return next((row for row in rows if str(row.data_hash) == data_hash), None)
