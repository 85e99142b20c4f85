"""The project, the label row and the storage item of the frame on the screen."""

from __future__ import annotations

from functools import cached_property

from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient

from encord_agents.core.data_model import FrameData, LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.editor import clients
from encord_agents.editor.rows import find_row
from encord_agents.editor.saving import guard
from encord_agents.exceptions import EditorRequestError

__all__ = ["Inputs", "item_of", "load_row", "open_project"]


def open_project(client: EncordUserClient, frame: FrameData) -> Project:
    """Return the project that is in the editor."""
    return clients.open_project(client, str(frame.project_hash))


def load_row(
    project: Project,
    frame: FrameData,
    include_args: LabelRowMetadataIncludeArgs | None = None,
    initialise_args: LabelRowInitialiseLabelsArgs | None = None,
) -> LabelRowV2:
    """Return the label row that is in the editor, with its labels. Its saves are checked (`saving`).

    Raises:
        EditorRequestError: The project has no such row.
    """
    row = find_row(project, frame, include_args)
    if row.label_hash is None:  # loading labels that were never opened creates them: the time of that is listed, too
        row.initialise_labels()
        row = find_row(project, frame, include_args)
    listed_at = row.last_edited_at
    options = initialise_args or LabelRowInitialiseLabelsArgs()
    row.initialise_labels(**options.model_dump())
    guard(row, project, frame, listed_at, options)
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
    """The inputs that an agent may ask for by type, each fetched when it is needed."""

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
