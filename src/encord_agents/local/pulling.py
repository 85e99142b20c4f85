"""A copy of a project of another platform, read through the SDK: to rehearse on what is real, without touching it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from encord_agents.local import contents, datasets, items
from encord_agents.local.assets import AssetStore
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.items import NewUnit
from encord_agents.local.label_shape import CONTENT
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.workflow import AgentStage, Pathway, Stage, Workflow

if TYPE_CHECKING:
    from encord import EncordUserClient
    from encord.objects import LabelRowV2
    from encord.project import Project
    from encord.storage import StorageItem

CHUNK = 100
"""Tasks that are asked about at a time."""
SECONDS_PER_FILE = 60


@dataclass
class Pulled:
    """What was copied.

    Attributes:
        record: The copy.
        tasks: How many tasks were added, and how many were there from before.
        skipped: Tasks that could not be copied, or not wholly, each with its reason.
    """

    record: ProjectRecord
    tasks: int = 0
    there: int = 0
    skipped: list[str] = field(default_factory=list)


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
    """Copy stages, pathways, ontology, tasks, label rows and files. Called again, it goes on where it ended.

    Args:
        stage: Only tasks of this stage, by title or uuid.
        max_tasks: At most so many tasks of each stage.
        with_labels: The labels, too.
        with_files: The files, too. Without them items have their facts, and no content.
        progress: Told how many tasks are done, and what is being read.

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
                service, client, project, done, str(found.uuid), chunk, with_labels=with_labels, with_files=with_files
            )
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
            # A pathway into a router leads to no stage that the SDK shows.
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
) -> None:
    known = _known(service, done.record, tasks)
    done.there += len(known)
    tasks = [task for task in tasks if str(task.data_hash) not in known]
    if not tasks:
        return
    rows = {
        str(row.data_hash): row
        for row in project.list_label_rows_v2(
            data_hashes=[task.data_hash for task in tasks], include_client_metadata=True
        )
    }
    wanted = [rows[str(task.data_hash)] for task in tasks if str(task.data_hash) in rows]
    uuids = [row.backing_item_uuid for row in wanted if row.backing_item_uuid is not None]
    found = {item.uuid: item for item in client.get_storage_items(uuids, sign_url=with_files)}
    if with_labels:
        with project.create_bundle() as bundle:
            for row in wanted:
                if row.label_hash is not None:
                    row.initialise_labels(bundle=bundle)
    for task in tasks:
        own = rows.get(str(task.data_hash))
        item = None if own is None or own.backing_item_uuid is None else found.get(own.backing_item_uuid)
        if own is None or item is None:
            done.skipped.append(f"{task.data_title}: its label row or its storage item cannot be read")
            continue
        try:
            units = _units(service.assets, item, with_files=with_files)
        except Exception as error:  # noqa: BLE001 -- whatever the SDK or the network says, it is this task's
            done.skipped.append(f"{task.data_title}: {error}")
            continue
        _keep(service, done, stage, task, own, units, labels=with_labels and own.label_hash is not None)
        done.tasks += 1


def _known(service: Service, record: ProjectRecord, tasks: Sequence[Any]) -> set[str]:
    listed = orjson.dumps([str(task.data_hash) for task in tasks]).decode()
    with service.database.read() as connection:
        return {
            row["data_hash"]
            for row in connection.execute(
                "SELECT data_hash FROM units WHERE project = ? AND data_hash IN (SELECT value FROM json_each(?))",
                (record.id, listed),
            )
        }


def _units(assets: AssetStore, item: StorageItem, *, with_files: bool) -> list[NewUnit]:
    """An item, and those that it consists of."""
    children = list(item.get_child_items(get_signed_urls=with_files))
    return [_unit(assets, one, with_files=with_files) for one in (item, *children)]


def _unit(assets: AssetStore, item: StorageItem, *, with_files: bool) -> NewUnit:
    kind = str(item.item_type.value)
    if kind not in items.TYPES:
        raise LocalPlatformError(f"the local platform has no items of type {kind}")
    unit = NewUnit(
        item.name, kind, item.mime_type, None, item.file_size or 0, item.width, item.height, item.frame_count, item.fps,
        item.duration, item.audio_sample_rate, item.audio_bit_depth, item.audio_codec, item.audio_num_channels,
        orjson.dumps(dict(item.client_metadata or {})).decode(), uuid=str(item.uuid),
    )  # fmt: skip
    url = item.get_signed_url() if with_files and kind not in ("imageGroup", "dicomSeries", "group") else None
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
    service: Service, done: Pulled, stage: str, task: Any, row: LabelRowV2, units: Sequence[NewUnit], *, labels: bool
) -> None:
    """Keep a task with all that belongs to it, or nothing of it."""
    record, now = done.record, time.time()
    with service.database.write() as connection:
        dataset, folder = items.home(connection, record)
        ids = [_item(connection, folder, unit) for unit in units]
        for position, child in enumerate(units[1:]):
            connection.execute(
                "INSERT OR IGNORE INTO children (parent, position, item, layout_key) VALUES (?, ?, ?, ?)",
                (units[0].uuid, position, child.uuid, str(position)),
            )
        data = connection.execute("SELECT id FROM data WHERE data_hash = ?", (str(task.data_hash),)).fetchone()
        if data is None:
            added = connection.execute(
                "INSERT INTO data (data_hash, dataset, item, created_at) VALUES (?, ?, ?, ?)",
                (str(task.data_hash), dataset, ids[0], now),
            ).lastrowid
            assert added is not None
        else:
            added = data["id"]
        datasets.enter(connection, record.id, [added], stage=stage)
        entry = connection.execute(
            "SELECT id FROM entries WHERE project = ? AND data = ?", (record.id, added)
        ).fetchone()["id"]
        branch = getattr(task, "label_branch_name", "main")
        connection.execute("UPDATE tasks SET branch = ?, priority = ? WHERE unit = ?", (branch, row.priority, entry))
        content = _content(row, units) if labels else None
        if labels and content is None:
            done.skipped.append(f"{task.data_title}: labels of data groups are not copied")
        if content is not None:
            connection.execute(
                "INSERT INTO labels (unit, branch, hash, content, saves, created_at, edited_at)"
                " VALUES (?, ?, ?, ?, 1, ?, ?)",
                (entry, row.branch_name, str(uuid4()), orjson.dumps(content), now, now),
            )
            contents.keep(connection, [(entry, row.branch_name, content)])
        connection.execute(
            "INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?)",
            (entry, branch, stage, orjson.dumps(content) if content is not None else None),
        )


def _item(connection: Any, folder: str, unit: NewUnit) -> int:
    there = connection.execute("SELECT id, digest FROM items WHERE uuid = ?", (unit.uuid,)).fetchone()
    if there is None:
        return items.insert(connection, folder, [unit])[0]
    if there["digest"] is None and unit.digest is not None:
        connection.execute("UPDATE items SET digest = ? WHERE id = ?", (unit.digest, there["id"]))
    return int(there["id"])


def _content(row: LabelRowV2, units: Sequence[NewUnit]) -> dict[str, Any] | None:
    """The labels of a row, as they are kept here; ``None`` if they cannot be."""
    kind = units[0].item_type
    if kind == "group":
        return None
    labels: Mapping[str, Any] = row.to_encord_dict()
    content = {key: labels[key] for key in CONTENT if key in labels}
    if kind in ("imageGroup", "imageSequence"):  # here an image of a group has the hash of its item
        ordered = sorted(content["data_units"].values(), key=lambda unit: int(unit["data_sequence"]))
        content["data_units"] = {
            str(child.uuid): {**unit, "data_hash": str(child.uuid)}
            for unit, child in zip(ordered, units[1:], strict=True)
        }
    return content
