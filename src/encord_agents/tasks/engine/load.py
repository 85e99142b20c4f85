"""Loading of tasks into contexts: all reads. Only the inputs in an agent's plan are fetched."""

from __future__ import annotations

import contextlib
import pickle
import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

from encord.constants.enums import DataType
from encord.exceptions import EncordException
from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.assets import Asset
from encord_agents.core.loaded_together import loaded_together
from encord_agents.core.sdk.as_loaded import LoadedLabels, can_keep_labels, state_of
from encord_agents.core.sdk.bundle import new_bundle
from encord_agents.tasks.engine.context import Agent, Context
from encord_agents.tasks.engine.download_tries import DownloadTries
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.verdict import is_platform_trouble

__all__ = ["Loader", "NotListedError"]

ABOUT_A_ROW: frozenset[type] = frozenset({LabelRowV2, StorageItem, Asset})


class NotListedError(EncordException):
    """The platform answered, but without a task's label row, its labels, or its storage item."""


class Loader:
    """Fetches the inputs of one agent's tasks, many at once. Everything is matched by id, never by position.

    Files go to the directory ``files``, which the run makes and removes: one directory per file would cost too much.
    An error of one task becomes that task's fault in phase ``load``; errors that concern all of them are raised (see
    `Gate.each`).
    """

    def __init__(
        self, agent: Agent, project: Project, client: EncordUserClient, gate: Gate, files: Path | None = None
    ) -> None:
        self._agent = agent
        self._project = project
        self._client = client
        self._gate = gate
        self._files = files

    def load(self, tasks: Sequence[AgentTask], *, seen_at: float | None = None) -> list[Context]:
        """Return contexts for tasks, in order. ``seen_at``: the time they were last seen in the stage. Default: now."""
        at = self._gate.clock() if seen_at is None else seen_at
        contexts = [Context(self._agent, task, at) for task in tasks]
        self.refresh(contexts)
        return contexts

    def refresh(self, contexts: Sequence[Context]) -> None:
        """Fetch all inputs of contexts, including those that may have changed since they were fetched. Files stay."""
        for context in contexts:
            if context.asset is None:
                context.item = None
            elif context.trouble is not None or not context.asset.nbytes:
                context.asset.forget()  # its URL may have expired
            context.row = context.trouble = context.loaded = context.in_part = None
        agent = self._agent
        if agent.needs_labels or agent.needs_item or agent.will_set_priority:
            # If every parameter that depends on a row accepts None, a missing row is not an error.
            self.list_rows(contexts, required=agent.requires(ABOUT_A_ROW))
        if agent.needs_labels:
            self._initialise([c for c in contexts if c.row is not None])
            loaded_together([c.row for c in contexts if c.row is not None])
        if agent.needs_item:
            self._fetch_items([c for c in contexts if c.asset is None and c.row is not None and c.trouble is None])

    def reload(self, context: Context) -> bool:
        """Prepare another attempt: load again after a failure, and drop the file, to fetch it with a fresh URL.

        The label row object, if there is one, stays the same. Its labels stay as the attempt left them, unless the
        agent has ``restore_labels`` set.

        Returns:
            False if there must be no other attempt: the run is stopping and the platform does not answer.
        """
        if context.asset is not None:
            context.asset.forget()
            if context.row is not None:  # the trouble was with the file, which the attempt downloads
                context.trouble = None
        if context.trouble is not None or self._is_loaded_to_restore(context):
            try:
                with self._gate.optional():
                    self.refresh([context])
            except Leaving:
                if self._gate.stop.leaving or not self._gate.stop.requested:
                    raise
                return False
        if self._agent.restore_labels and context.loaded is not None and context.row is not None:
            self._restore(context.loaded, context, context.row)
        return True

    def _is_loaded_to_restore(self, context: Context) -> bool:
        """Return True if a row's original labels could not be kept, so that they have to be loaded again."""
        restores = self._agent.restore_labels and context.row is not None and context.loaded is None
        return restores and not can_keep_labels()

    def _restore(self, loaded: LoadedLabels, context: Context, row: LabelRowV2) -> None:
        try:
            loaded.restore(row)
        except Exception as error:  # noqa: BLE001 - whatever the agent did to it, it is this task's trouble
            self._mark_without_row([context], error)

    def list_rows(self, contexts: Iterable[Context], *, required: bool = True) -> None:
        """Give each context its label row, without labels."""
        by_branch: dict[str, list[Context]] = {}
        for context in contexts:
            by_branch.setdefault(context.branch, []).append(context)
        for branch, group in by_branch.items():
            for part, reply in self._gate.each(group, partial(self._list, branch=branch), kind="rows"):
                if reply.error is not None:
                    self.mark(part, reply.error)
                else:
                    _match(part, branch, reply.value or [], required=required)

    def _list(self, contexts: Sequence[Context], branch: str) -> list[LabelRowV2]:
        args = self._agent.include_args
        allowed: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if args.include_children:  # deprecated by the SDK, but some projects still need it
            allowed = warnings.catch_warnings(action="ignore", category=DeprecationWarning)
        with allowed:
            return self._project.list_label_rows_v2(
                data_hashes=list(dict.fromkeys(str(context.task.data_hash) for context in contexts)),
                # Without it, label_row.set_priority() raises.
                include_workflow_graph_node=True,
                include_client_metadata=args.include_client_metadata,
                include_images_data=args.include_images_data,
                include_children=args.include_children,
                include_all_label_branches=args.include_all_label_branches,
                branch_name=None if args.include_all_label_branches else branch,
            )

    def _initialise(self, contexts: Sequence[Context]) -> None:
        # New and known rows need separate requests, and so does each branch of new rows: a bundle uses the branch of
        # its first row for all.
        new: dict[str, list[Context]] = {}
        known: list[Context] = []
        heavy: list[Context] = []
        for context in contexts:
            row = _row(context)
            if row.label_hash is None:
                new.setdefault(row.branch_name, []).append(context)
            elif row.data_type == DataType.VIDEO:
                heavy.append(context)
            else:
                known.append(context)
        for group in new.values():
            self._initialise_all(group, kind="label_create")
        self._initialise_all(known, kind="label_get")
        at_once = self._gate.limits.videos_at_once
        for start in range(0, len(heavy), at_once):
            self._initialise_all(heavy[start : start + at_once], kind="label_get")

    def _initialise_all(self, contexts: Sequence[Context], *, kind: str) -> None:
        if not contexts:
            return
        for part, reply in self._gate.each(contexts, self._initialise_bundle, kind=kind):
            if reply.error is not None:
                self._mark_without_row(part, reply.error)
        for context in contexts:
            if context.trouble is None and not _row(context).is_labelling_initialised:
                self._mark_without_row([context], NotListedError("The platform returned no labels for this row."))

    def _initialise_bundle(self, contexts: Sequence[Context]) -> None:
        args = self._agent.initialise_args
        answers: dict[str, bytes] = {}

        def keep(name: str, answer: object) -> None:
            answers[name] = pickle.dumps(answer)

        bundle = new_bundle(seen=keep if self._agent.keeps_labels else None)
        for context in contexts:
            _row(context).initialise_labels(
                include_object_feature_hashes=args.include_object_feature_hashes,
                include_classification_feature_hashes=args.include_classification_feature_hashes,
                include_reviews=args.include_reviews,
                include_signed_url=args.include_signed_url,
                # The SDK marks a row as initialised before it reads its labels. If an earlier try failed while they
                # were read, the row has only some of them, and saving it would delete the others.
                overwrite=True,
                bundle=bundle,
            )
        bundle.execute()
        for context in contexts:
            row = _row(context)
            if self._agent.loads_in_part:
                context.in_part = state_of(row)
            # Rows that have no labels yet are requested by their data unit.
            answer = answers.get(row.label_hash or "") or answers.get(row.data_hash)
            if answer is not None and can_keep_labels():
                context.loaded = LoadedLabels(row, answer)

    def _fetch_items(self, contexts: Sequence[Context]) -> None:
        wanted: dict[UUID, list[Context]] = {}
        for context in contexts:
            uuid = _row(context).backing_item_uuid
            if uuid is not None:
                wanted.setdefault(uuid, []).append(context)
            elif self._agent.requires({StorageItem, Asset}):
                self.mark([context], NotListedError("The label row names no storage item."))
        found: dict[UUID, StorageItem] = {}
        for part, reply in self._gate.each(list(wanted), self._items, kind="items"):
            if reply.error is not None:
                self.mark([c for uuid in part for c in wanted[uuid]], reply.error)
            else:
                found.update({item.uuid: item for item in reply.value or []})
        for uuid, group in wanted.items():
            for context in group:
                if context.trouble is not None:
                    continue
                if (item := found.get(uuid)) is None:
                    self.mark([context], NotListedError(f"The platform did not return the storage item {uuid}."))
                    continue
                context.item = item
                if self._agent.needs_asset and (Asset.exists_for(item) or Asset not in self._agent.plan.optional):
                    context.asset = Asset(
                        item,
                        directory=self._files,
                        limits=self._gate.limits.download,
                        call=partial(self._gate.call, kind="item"),
                        begin=partial(DownloadTries, self._gate),
                        cache=self._agent.cache,
                    )

    def _items(self, uuids: Sequence[UUID]) -> list[StorageItem]:
        return self._client.get_storage_items(list(uuids), sign_url=self._agent.needs_asset)

    def mark(self, contexts: Iterable[Context], error: Exception) -> None:
        """Record why contexts could not be loaded, as the fault of their next attempts."""
        for context in contexts:
            context.trouble = Fault(Phase.LOAD, error, context.attempts + 1, platform=is_platform_trouble(error))

    def _mark_without_row(self, contexts: Sequence[Context], error: Exception) -> None:
        """Do the same where labels could not be read. The rows may have some of them, and must not be used."""
        self.mark(contexts, error)
        for context in contexts:
            context.row = None


def _row(context: Context) -> LabelRowV2:
    assert context.row is not None
    return context.row


def _match(contexts: Sequence[Context], branch: str, rows: Iterable[LabelRowV2], *, required: bool) -> None:
    """Match rows to contexts: by task uuid if the platform lists it, otherwise by data hash and branch."""
    by_task: dict[UUID, LabelRowV2] = {}
    by_key: dict[tuple[str, str], list[LabelRowV2]] = {}
    for row in rows:
        if row.task_uuid is not None and row.branch_name == branch:
            by_task[row.task_uuid] = row
        by_key.setdefault((row.data_hash, row.branch_name), []).append(row)
    for context in contexts:
        data_hash = str(context.task.data_hash)
        found = by_task.get(context.task.uuid)
        if found is None or found.data_hash != data_hash:
            same = by_key.get((data_hash, branch), [])
            unclaimed = [r for r in same if r.task_uuid is None]
            found = unclaimed[0] if unclaimed else same[0] if len(same) == 1 else None
        if found is None and required:
            error = NotListedError(f"The platform lists no label row for data unit {data_hash} on branch {branch!r}.")
            context.trouble = Fault(Phase.LOAD, error, context.attempts + 1)
        elif found is not None:
            context.row, context.edited_at = found, found.last_edited_at
