"""Copies a project of another platform through the SDK, to rehearse on real data without changing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from encord_agents.local import contents, datasets, items, tasks
from encord_agents.local.assets import AssetStore
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.database import SOME, listed
from encord_agents.local.items import NewUnit
from encord_agents.local.label_shape import CONTENT
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.workflow import AgentStage, Pathway, Stage, Workflow

if TYPE_CHECKING:
    from encord import EncordUserClient
    from encord.exceptions import EncordException
    from encord.objects import LabelRowV2
    from encord.project import Project
    from encord.storage import StorageItem

CHUNK = 100
"""Tasks per request to the other platform."""
SECONDS_PER_FILE = 60
WITHOUT_FILE = ("imageGroup", "dicomSeries", "group")
"""Types of items that consist of other items, and have no file of their own."""


@dataclass
class Pulled:
    """The result of a copy.

    Attributes:
        record: The copy.
        tasks, there: The number of tasks that were added, and that had been copied before.
        skipped: Tasks that could not be copied, or only in part, each with its reason.
    """

    record: ProjectRecord
    tasks: int = 0
    there: int = 0
    skipped: list[str] = field(default_factory=list)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    """The first task that was seen of each data hash and branch."""


def pull(
    service: Service,
    client: EncordUserClient,
    project_hash: str,
    *,
    stage: str | None = None,
    max_tasks: int | None = None,
    with_labels: bool = False,
    with_files: bool = False,
    progress: Callable[[int, str], None] = lambda done, what: None,
) -> Pulled:
    """Copy stages, pathways, ontology, tasks, label rows and files. A further call resumes the copy.

    Labels or files that an earlier call did not ask for are added to the tasks that it copied.

    Args:
        stage: Only tasks of this stage, by title or uuid.
        max_tasks: The most tasks of each stage.
        with_labels: Copy the labels, too.
        with_files: Copy the files, too. Without them, items have their facts but no content.
        progress: Called with the number of tasks done, and the stage that is being read.

    Raises:
        LocalPlatformError: The project has no such stage.
    """
    project = client.get_project(project_hash)
    stages = [found for found in project.workflow.stages if stage is None or stage in (found.title, str(found.uuid))]
    if not stages:
        there = ", ".join(repr(found.title) for found in project.workflow.stages)
        raise LocalPlatformError(f"The project has no stage {stage!r}; there are {there}.")
    done = Pulled(_copy_of(service, project) or _new(service, project))
    for found in stages:
        if not hasattr(found, "get_tasks"):
            continue
        tasks = iter(islice(found.get_tasks(), max_tasks))
        while chunk := list(islice(tasks, CHUNK)):
            progress(done.tasks + done.there, found.title)
            _take(
                service, client, project, done, str(found.uuid), chunk, with_labels=with_labels, with_files=with_files,
                progress=lambda: progress(done.tasks + done.there, found.title),  # noqa: B023 -- called within the loop
            )  # fmt: skip
    progress(done.tasks + done.there, "")
    return done


def _copy_of(service: Service, project: Project) -> ProjectRecord | None:
    known = service.setting(f"pulled {project.project_hash}")
    return service.catalogue.project(known) if known is not None else None


def _new(service: Service, project: Project) -> ProjectRecord:
    workflow = Workflow(list(_stages(project)))
    with service.database.write():
        record = service.catalogue.create(
            title=project.title, description=project.description, type="workflow", workflow=workflow,
            editor=project.ontology_structure.to_dict(),
        )  # fmt: skip
        service.set_setting(f"pulled {project.project_hash}", record.hash)
    return record


def _stages(project: Project) -> Iterator[Stage]:
    there = {str(stage.uuid) for stage in project.workflow.stages}
    for stage in project.workflow.stages:
        uuid, kind = str(stage.uuid), stage.stage_type.value.lower()
        if kind == "agent":
            # The SDK does not show routers: a pathway into one leads back to the stage itself here.
            ways = [(way.name, str(way.destination_uuid), str(way.uuid)) for way in getattr(stage, "pathways", ())]
            yield AgentStage(stage.title, [Pathway(n, to if to in there else uuid, u) for n, to, u in ways], uuid=uuid)
        else:
            yield Stage(stage.title, kind, uuid=uuid)


def _take(
    service: Service,
    client: EncordUserClient,
    project: Project,
    done: Pulled,
    stage: str,
    tasks: Sequence[Any],
    *,
    with_labels: bool,
    with_files: bool,
    progress: Callable[[], None],
) -> None:
    there, complete = _known(service, done.record, tasks, with_labels=with_labels, with_files=with_files)
    # The SDK does not report the branch of a reviewed or finished task, so two tasks may look as if on the same one.
    further = [task for task in tasks if done.seen.setdefault(_key(task), str(task.uuid)) != str(task.uuid)]
    done.skipped += [f"{task.data_title}: it has another task, which was copied" for task in further]
    tasks = [task for task in tasks if task not in further]
    done.there += sum(_key(task) in there for task in tasks)
    tasks = [task for task in tasks if _key(task) not in complete]
    rows: dict[tuple[str, str], LabelRowV2] = {}
    for branch in sorted({branch for _, branch in map(_key, tasks)}):
        hashes = [task.data_hash for task in tasks if _key(task)[1] == branch]
        for row in project.list_label_rows_v2(data_hashes=hashes, branch_name=branch, include_client_metadata=True):
            rows[str(row.data_hash), branch] = row
    found = _items(client, [row.backing_item_uuid for row in rows.values()], sign_url=with_files)
    unlabelled = _initialise(project, rows.values()) if with_labels else {}
    for task in tasks:
        own = rows.get(_key(task))
        item = None if own is None or own.backing_item_uuid is None else found.get(str(own.backing_item_uuid))
        if own is None or item is None:
            done.skipped.append(f"{task.data_title}: its label row or its storage item cannot be read")
            continue
        if (reason := unlabelled.get(id(own))) is not None:
            done.skipped.append(f"{task.data_title}: its labels cannot be read ({reason})")
        try:
            units, keys = _units(service.assets, item, with_files=with_files)
            labelled = with_labels and own.label_hash is not None and reason is None
            content = _content(own, units, keys) if labelled else None
        except Exception as error:  # noqa: BLE001 -- whatever the SDK or the network says, it is this task's
            done.skipped.append(f"{task.data_title}: {error}")
            continue
        _keep(service, done.record, stage, task, own, units, keys, content)
        done.tasks += _key(task) not in there
        progress()


def _key(task: Any) -> tuple[str, str]:
    """Return the data hash and the branch of a task."""
    return str(task.data_hash), getattr(task, "label_branch_name", None) or "main"


def _items(client: EncordUserClient, uuids: Iterable[Any], *, sign_url: bool) -> dict[str, StorageItem]:
    """Return the storage items that can be read, by their uuids: a forbidden one does not fail the others."""
    refusals = _refusals()
    wanted = list({str(uuid): uuid for uuid in uuids if uuid is not None}.values())
    if not wanted:
        return {}
    try:
        return {str(item.uuid): item for item in client.get_storage_items(wanted, sign_url=sign_url)}
    except refusals:
        found = {}
        for uuid in wanted:
            with suppress(*refusals):
                found[str(uuid)] = client.get_storage_item(uuid, sign_url=sign_url)
        return found


def _initialise(project: Project, rows: Iterable[LabelRowV2]) -> dict[int, EncordException]:
    """Load labels in one bundle or, if that is refused, one by one. Return the errors of rows that cannot be read."""
    refusals = _refusals()
    labelled = [row for row in rows if row.label_hash is not None]
    refused: dict[int, EncordException] = {}
    try:
        with project.create_bundle() as bundle:
            for row in labelled:
                row.initialise_labels(bundle=bundle)
    except refusals:
        for row in labelled:
            try:
                row.initialise_labels(overwrite=True)
            except refusals as error:
                refused[id(row)] = error
    return refused


def _refusals() -> tuple[type[EncordException], ...]:
    """Return the SDK's exceptions for objects that cannot be read, not those for an unreachable platform."""
    from encord import exceptions

    return (
        exceptions.AuthorisationError, exceptions.ResourceNotFoundError, exceptions.InvalidArgumentsError,
        exceptions.CorruptedLabelError,
    )  # fmt: skip


def _known(
    service: Service, record: ProjectRecord, tasks: Sequence[Any], *, with_labels: bool, with_files: bool
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the keys of the tasks that were copied before, and of those that are complete: data hash and branch."""
    with service.database.read() as connection:
        rows = connection.execute(
            "SELECT u.data_hash, t.branch,"
            " b.content IS NOT NULL OR EXISTS (SELECT 1 FROM labels l WHERE l.unit = t.unit AND l.branch = t.branch)"
            " AS labelled,"
            " NOT EXISTS (SELECT 1 FROM items i WHERE i.digest IS NULL AND i.item_type NOT IN (?, ?, ?)"
            " AND (i.uuid = u.item OR i.uuid IN (SELECT c.item FROM children c WHERE c.parent = u.item))) AS filed"
            " FROM tasks t JOIN units u ON u.id = t.unit"
            " LEFT JOIN baselines b ON b.unit = t.unit AND b.branch = t.branch"
            f" WHERE +t.project = ? AND u.data_hash IN {SOME}",
            (*WITHOUT_FILE, record.id, listed(str(task.data_hash) for task in tasks)),
        ).fetchall()
    complete = [row for row in rows if (row["labelled"] or not with_labels) and (row["filed"] or not with_files)]
    return {(row["data_hash"], row["branch"]) for row in rows}, {(row["data_hash"], row["branch"]) for row in complete}


def _units(assets: AssetStore, item: StorageItem, *, with_files: bool) -> tuple[list[NewUnit], dict[str, str]]:
    """Return an item and its children, and, for a data group, the keys of its layout, by the children's uuids."""
    own = _unit(assets, item, with_files=with_files)
    children = [_unit(assets, one, with_files=with_files) for one in item.get_child_items(get_signed_urls=with_files)]
    group = item.get_summary().data_group if own.item_type == "group" else None
    if group is None:
        return [own, *children], {}
    layout = group.model_dump(mode="json", include={"layout", "layout_settings", "timeline"})
    layout["settings"] = layout.pop("layout_settings")
    keys = {str(child.uuid): key for key, child in group.layout_contents.items()}
    return [replace(own, layout=orjson.dumps(layout).decode()), *children], keys


def _unit(assets: AssetStore, item: StorageItem, *, with_files: bool) -> NewUnit:
    kind = str(item.item_type.value)
    if kind not in items.TYPES:
        raise LocalPlatformError(f"the local platform has no items of type {kind}")
    unit = NewUnit(
        item.name, kind, item.mime_type, None, item.file_size or 0, item.width, item.height, item.frame_count, item.fps,
        item.duration, item.audio_sample_rate, item.audio_bit_depth, item.audio_codec, item.audio_num_channels,
        orjson.dumps(dict(item.client_metadata or {})).decode(), uuid=str(item.uuid),
    )  # fmt: skip
    url = item.get_signed_url() if with_files and kind not in WITHOUT_FILE else None
    return unit if url is None else replace(unit, digest=_download(assets, url))


def _download(assets: AssetStore, url: str) -> str:
    import requests

    writer = assets.writer()
    try:
        with requests.get(url, stream=True, timeout=SECONDS_PER_FILE) as answer:
            answer.raise_for_status()
            for part in answer.iter_content(2**20):
                writer.write(part)
        return writer.keep()
    finally:
        writer.drop()


def _keep(
    service: Service,
    record: ProjectRecord,
    stage: str,
    task: Any,
    row: LabelRowV2,
    units: Sequence[NewUnit],
    keys: Mapping[str, str],
    content: dict[str, Any] | None,
) -> None:
    """Store a task with everything that belongs to it, in one transaction. Complete a task that was copied before."""
    now, branch = time.time(), _key(task)[1]
    with service.database.write() as connection:
        dataset, folder = items.home(connection, record)
        ids = [_item(connection, folder, unit) for unit in units]
        for position, child in enumerate(units[1:]):
            connection.execute(
                "INSERT OR IGNORE INTO children (parent, position, item, layout_key) VALUES (?, ?, ?, ?)",
                (units[0].uuid, position, child.uuid, keys.get(str(child.uuid), str(position))),
            )
        data = connection.execute("SELECT id, dataset FROM data WHERE data_hash = ?", (str(task.data_hash),)).fetchone()
        if data is None:
            added = connection.execute(
                "INSERT INTO data (data_hash, dataset, item, created_at) VALUES (?, ?, ?, ?)",
                (str(task.data_hash), dataset, ids[0], now),
            ).lastrowid
            assert added is not None
        else:
            added = data["id"]
            # Projects may share a dataset. Its other rows get no tasks here, since they may not be copied.
            connection.execute("INSERT OR IGNORE INTO project_datasets VALUES (?, ?)", (record.id, data["dataset"]))
        entry = _entry(connection, record, added, stage, branch, row.priority)
        copied = orjson.dumps(content) if content is not None else None
        if copied is not None and not _labelled(connection, entry, branch):
            connection.execute(
                "INSERT INTO labels (unit, branch, hash, content, saves, created_at, edited_at)"
                " VALUES (?, ?, ?, ?, 1, ?, ?)",
                (entry, branch, str(uuid4()), copied, now, now),
            )
            contents.keep(connection, [(entry, branch, content or {})])
            connection.execute(
                "UPDATE baselines SET content = ? WHERE unit = ? AND branch = ?", (copied, entry, branch)
            )


def _entry(
    connection: Connection, record: ProjectRecord, data: int, stage: str, branch: str, priority: float | None
) -> int:
    """Return the project's row of a data unit with a task on the branch in that stage, creating what is missing."""
    find = "SELECT id FROM entries WHERE project = ? AND data = ?"
    known = connection.execute(find, (record.id, data)).fetchone()
    if known is None:
        datasets.enter(connection, record.id, [data], stage=stage)
        known = connection.execute(find, (record.id, data)).fetchone()
        connection.execute("UPDATE tasks SET branch = ? WHERE unit = ?", (branch, known["id"]))
    entry = int(known["id"])
    if connection.execute("SELECT 1 FROM tasks WHERE unit = ? AND branch = ?", (entry, branch)).fetchone() is None:
        tasks.add(connection, record, [entry], stage, branch)
    fresh = connection.execute(
        "INSERT OR IGNORE INTO baselines (unit, branch, stage, content) VALUES (?, ?, ?, NULL)", (entry, branch, stage)
    )
    if fresh.rowcount:  # only once: later, agents set priorities here
        connection.execute("UPDATE tasks SET priority = ? WHERE unit = ? AND branch = ?", (priority, entry, branch))
    return entry


def _labelled(connection: Connection, entry: int, branch: str) -> bool:
    sql = "SELECT 1 FROM labels WHERE unit = ? AND branch = ?"
    return connection.execute(sql, (entry, branch)).fetchone() is not None


def _item(connection: Connection, folder: str, unit: NewUnit) -> int:
    there = connection.execute("SELECT id, digest FROM items WHERE uuid = ?", (unit.uuid,)).fetchone()
    if there is None:
        return items.insert(connection, folder, [unit])[0]
    if there["digest"] is None and unit.digest is not None:
        connection.execute("UPDATE items SET digest = ? WHERE id = ?", (unit.digest, there["id"]))
    return int(there["id"])


def _content(row: LabelRowV2, units: Sequence[NewUnit], keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the labels of a row as the local platform stores them."""
    kind = units[0].item_type
    labels: Mapping[str, Any] = row.to_encord_dict()
    content = {key: labels[key] for key in CONTENT if key in labels}
    if kind in ("imageGroup", "imageSequence"):  # here, an image of a group has its item's uuid as its hash
        ordered = sorted(content["data_units"].values(), key=lambda unit: int(unit["data_sequence"]))
        content["data_units"] = {
            str(child.uuid): {**unit, "data_hash": str(child.uuid)}
            for unit, child in zip(ordered, units[1:], strict=True)
        }
    if kind == "group":  # likewise, a member's space has its item's uuid as its id
        by_key = {key: uuid for uuid, key in keys.items()}
        here = {
            space.space_id: by_key.get(getattr(space.metadata, "layout_key", None) or "", space.space_id)
            for space in row.get_spaces()
        }
        content["spaces"] = {
            here.get(id, id): {"labels": space.get("labels", {})} for id, space in content.get("spaces", {}).items()
        }
        for answers in (content.get("object_answers", {}), content.get("classification_answers", {})):
            for answer in answers.values():
                if answer.get("spaces"):
                    answer["spaces"] = {here.get(id, id): found for id, found in answer["spaces"].items()}
    return content
