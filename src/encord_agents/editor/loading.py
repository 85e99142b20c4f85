"""The project, the label row and the storage item of the frame on the screen."""

from __future__ import annotations

import warnings
from functools import cached_property

from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient

from encord_agents.core.data_model import FrameData, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.exceptions import EditorRequestError

__all__ = ["Inputs", "find_row", "item_of", "load_row", "open_project"]

AS_EDITED = LabelRowMetadataIncludeArgs(include_children=True)
"""Members of data groups are rows of their own where they are asked for."""


def open_project(client: EncordUserClient, frame: FrameData) -> Project:
    """Return the project that is in the editor."""
    return client.get_project(str(frame.project_hash))


def find_row(project: Project, frame: FrameData, args: LabelRowMetadataIncludeArgs | None = None) -> LabelRowV2:
    """Return the label row that is in the editor, without its labels.

    Raises:
        EditorRequestError: The project has no such row.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of `include_children`
        rows = project.list_label_rows_v2(data_hashes=[str(frame.data_hash)], **(args or AS_EDITED).model_dump())
    for row in rows:
        if str(row.data_hash) == str(frame.data_hash):
            return row
    raise EditorRequestError(f"Project {frame.project_hash} has no data unit {frame.data_hash}.", status=404)


def load_row(
    project: Project,
    frame: FrameData,
    include_args: LabelRowMetadataIncludeArgs | None = None,
    initialise_args: LabelRowInitialiseLabelsArgs | None = None,
) -> LabelRowV2:
    """Return the label row that is in the editor, with its labels.

    Raises:
        EditorRequestError: The project has no such row.
    """
    row = find_row(project, frame, include_args)
    row.initialise_labels(**(initialise_args or LabelRowInitialiseLabelsArgs()).model_dump())
    return row


def item_of(client: EncordUserClient, row: LabelRowV2) -> StorageItem:
    """Return the storage item of a label row.

    Raises:
        EditorRequestError: It has none.
    """
    if row.backing_item_uuid is None:
        raise EditorRequestError(f"The data unit {row.data_hash} has no storage item.", status=404)
    return client.get_storage_item(row.backing_item_uuid, sign_url=True)


class Inputs:
    """What an agent may ask for by type, each fetched when it is needed."""

    def __init__(
        self,
        client: EncordUserClient,
        frame: FrameData,
        include_args: LabelRowMetadataIncludeArgs | None,
        initialise_args: LabelRowInitialiseLabelsArgs | None,
    ) -> None:
        self.client = client
        self.frame = frame
        self._include_args = include_args
        self._initialise_args = initialise_args

    @cached_property
    def project(self) -> Project:
        return open_project(self.client, self.frame)

    @cached_property
    def labelled_row(self) -> LabelRowV2:
        return load_row(self.project, self.frame, self._include_args, self._initialise_args)

    @cached_property
    def item(self) -> StorageItem:
        row = self.__dict__.get("labelled_row")
        return item_of(self.client, row if row is not None else find_row(self.project, self.frame))
