"""Saves of the row on the screen: refused if they would delete labels that others saved or that were not loaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from encord.objects import LabelRowV2
from encord.project import Project

from encord_agents.core.data_model import FrameData, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.sdk.as_loaded import state_of
from encord_agents.core.sdk.bundle import new_bundle
from encord_agents.core.sdk.entrusted import Send, entrust, in_part_of
from encord_agents.editor.rows import find_row
from encord_agents.exceptions import EditorRequestError
from encord_agents.tasks.engine.label_check import refuse_partial

__all__ = ["guard"]

SAME_EDIT = timedelta(seconds=1)
"""Two timestamps of one edit may differ by this: the platform gives fractions of a second only in lists."""


def guard(
    row: LabelRowV2,
    project: Project,
    frame: FrameData,
    listed_at: datetime | None,
    initialise_args: LabelRowInitialiseLabelsArgs,
) -> None:
    """Check the row's saves from now on.

    Args:
        row: The row, with its labels.
        project: Its project.
        frame: The request's frame.
        listed_at: The last save of its labels, as the platform listed it before they were loaded.
        initialise_args: The options that its labels were loaded with.
    """
    is_in_part = (
        initialise_args.include_object_feature_hashes is not None
        or initialise_args.include_classification_feature_hashes is not None
    )
    saver = _Saver(row, project, frame, listed_at)
    entrust(row, saver, state_of(row) if is_in_part else None)


class _Saver:
    """Checks the first save of a request; later ones replace the request's own labels."""

    def __init__(self, row: LabelRowV2, project: Project, frame: FrameData, listed_at: datetime | None) -> None:
        self._project = project
        self._frame = frame
        self._options = LabelRowMetadataIncludeArgs(include_workflow_graph_node=False, branch_name=row.branch_name)
        self._state = state_of(row)
        self._listed_at = listed_at
        self._is_checked = False

    def check(self, row: LabelRowV2) -> None:
        self._refuse(row)
        # The agent sends its bundle later, and the next save must not take that for somebody else's.
        self._is_checked = True

    def save(self, row: LabelRowV2, send: Send) -> None:
        self._refuse(row)
        with new_bundle() as bundle:  # which sends the labels without copying them first
            send(bundle=bundle)
        self._is_checked = True

    def set_priority(self, row: LabelRowV2, send: Send) -> None:
        send()

    def _refuse(self, row: LabelRowV2) -> None:
        refuse_partial(row, in_part_of(row), "The agent saves")
        if not self._is_checked and self._is_edited(row):
            raise EditorRequestError(
                "Somebody saved the labels while the agent was at work. Theirs stand, and the agent's are not saved. "
                "Try again: the agent begins with them.",
                status=409,
                retry_after=1,
            )

    def _is_edited(self, row: LabelRowV2) -> bool:
        now = find_row(self._project, self._frame, self._options).last_edited_at
        if state_of(row) is self._state:
            return now != self._listed_at
        # The agent has loaded the labels again, and the timestamp of that has only whole seconds.
        again = row.last_edited_at
        return now is not None and again is not None and _utc(now) - _utc(again) >= SAME_EDIT


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
