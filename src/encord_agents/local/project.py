"""A project of the local platform, for use from Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter

from encord_agents.local import collecting, differing, images, items, label_wire, labels, people, tasks
from encord_agents.local.catalogue import ProjectRecord
from encord_agents.local.items import NewUnit
from encord_agents.local.service import Service
from encord_agents.local.trouble import LocalPlatformError, Refusal
from encord_agents.local.workflow import ResolvedStage
from encord_agents.local.written import checked, choice

if TYPE_CHECKING:
    from encord_agents.local.export import Exported


Broken = Literal["missing", "corrupt", "truncated", "stall"]
_BROKEN = TypeAdapter(Broken | None)


@dataclass(frozen=True)
class StageRecord:
    """A stage and the number of its tasks."""

    uuid: str
    title: str
    type: str
    tasks: int


@dataclass(frozen=True)
class TaskRecord:
    """A task as the platform sees it."""

    uuid: str
    data_hash: str
    data_title: str
    stage_title: str
    branch_name: str
    status: str
    priority: float | None


class LocalProject:
    """A project, for tests and scripts that do not use the SDK. Made by ``LocalPlatform``."""

    def __init__(self, service: Service, record: ProjectRecord) -> None:
        self._service = service
        self._database = service.database
        self._hash = record.hash
        self.skipped: list[str] = []
        """The files that the latest :meth:`add_images` skipped, each with its reason."""

    @property
    def _record(self) -> ProjectRecord:
        record = self._service.catalogue.project(self._hash)
        if record is None:
            raise LocalPlatformError(f"The project {self._hash} is gone.")
        return record

    @property
    def project_hash(self) -> str:
        return self._hash

    @property
    def title(self) -> str:
        return self._record.title

    @property
    def stages(self) -> list[StageRecord]:
        """The stages in order, each with the number of its tasks."""
        counts = tasks.counts(self._database, self._record)
        return [StageRecord(s.uuid, s.title, s.type, counts.get(s.uuid, 0)) for s in self._record.stages.values()]

    def stage(self, title: str) -> StageRecord:
        """Return a stage by title or uuid."""
        uuid = self._stage(title).uuid
        return next(stage for stage in self.stages if stage.uuid == uuid)

    def tasks(self, stage_title: str | None = None) -> list[TaskRecord]:
        """Return all tasks, or those of a stage, oldest first."""
        stage = None if stage_title is None else self._stage(stage_title).uuid
        return [
            TaskRecord(
                row["uuid"], row["data_hash"], row["title"], self._record.stages[row["stage"]].title, row["branch"],
                row["status"], row["priority"],
            )
            for row in tasks.records(self._database, self._record, stage)
        ]  # fmt: skip

    def add_images(self, paths: str | Path | Iterable[str | Path]) -> list[str]:
        """Add picture files, or all pictures below a directory. Return their data hashes; see :attr:`skipped`."""
        return self._add(collecting.collect(paths, self._service.assets, wanted=collecting.PICTURES))

    def add_files(
        self, paths: str | Path | Iterable[str | Path], *, groups: collecting.Groups | None = None
    ) -> list[str]:
        """Add files of every kind, or all files below a directory. Return their data hashes; see :attr:`skipped`.

        Args:
            groups: Make an image group or sequence of the pictures of each directory.
        """
        return self._add(collecting.collect(paths, self._service.assets, groups=groups))

    def _add(self, found: collecting.Collected) -> list[str]:
        self.skipped = found.skipped
        return collecting.add(self._database, self._record, found)

    def add_image(self, title: str, content: bytes | None = None, *, width: int = 64, height: int = 48) -> str:
        """Add a picture; without ``content``, a grey one of that size. Return its data hash."""
        content = images.png(width, height) if content is None else content
        mime = "image/jpeg" if content[:2] == b"\xff\xd8" else "image/png"
        return self.add_file(title, content, item_type="image", mime_type=mime, width=width, height=height, frames=1)

    def add_placeholders(self, n: int, *, title: str = "image-{index:05d}.png") -> list[str]:
        """Add ``n`` pictures that share one small file. Return their data hashes."""
        content = images.png(64, 48)
        digest = self._service.assets.put(content)
        units = [
            NewUnit(title.format(index=i), "image", "image/png", digest, len(content), 64, 48, 1) for i in range(n)
        ]
        return items.add(self._database, self._record, units)

    def add_file(
        self,
        title: str,
        content: bytes,
        *,
        item_type: str,
        mime_type: str,
        width: int | None = None,
        height: int | None = None,
        frames: int | None = None,
        fps: float | None = None,
        duration: float | None = None,
    ) -> str:
        """Add any file without validating its content. Return its data hash.

        Args:
            item_type: ``image``, ``video``, ``audio``, ``plainText`` or ``pdf``.
            duration: Seconds.
        """
        if item_type not in {"image", "video", "audio", "plainText", "pdf"}:
            raise LocalPlatformError(f"The local platform has no items of type {item_type!r}.")
        digest = self._service.assets.put(content)
        unit = NewUnit(title, item_type, mime_type, digest, len(content), width, height, frames, fps, duration)
        return items.add(self._database, self._record, [unit])[0]

    def add_image_group(self, title: str, contents: Sequence[bytes]) -> str:
        """Add a group of pictures: one data unit with one task, and no file of its own. Return its data hash.

        Its storage item and the items of its pictures are complete.
        """
        pictures = [
            dataclasses.replace(images.read(content, f"{title}-{index}"), digest=self._service.assets.put(content))
            for index, content in enumerate(contents)
        ]
        group = NewUnit(title, "imageGroup", None, None, 0, frames=len(pictures))
        return items.add_group(self._database, self._record, group, pictures)

    def add_task(self, data_hash: str, stage: str | None = None, *, branch: str = "main") -> str:
        """Add another task for a data unit, as if it were linked twice. Return the task's uuid."""
        uuid = self._stage(stage).uuid if stage is not None else self._record.start
        with self._database.write() as connection:
            return tasks.add(connection, self._record, [self._unit(data_hash)], uuid, branch)[0]

    def label(self, data_hash: str, branch: str = "main") -> dict[str, Any] | None:
        """Return the labels that were saved last, as the SDK would get them; ``None`` if none were saved."""
        row = labels.one(self._database, self._record, data_hash, branch)
        if row is None or not row["saves"]:
            return None
        members = items.members(self._database, [row["item"]]).get(row["item"], ())
        return label_wire.label(row, self._record, None, members)

    def saves(self, data_hash: str, branch: str = "main") -> int:
        """Return the number of accepted saves of this row."""
        row = labels.one(self._database, self._record, data_hash, branch)
        return row["saves"] if row is not None else 0

    def moves(self, task_uuid: str) -> int:
        """Return the number of times that a task has left a stage."""
        return int(self._task(task_uuid)["moves"])

    def priority(self, data_hash: str) -> float | None:
        """Return the priority that was set last, or ``None``."""
        unit = self._unit(data_hash)
        with self._database.read() as connection:
            row = connection.execute("SELECT priority FROM tasks WHERE unit = ? LIMIT 1", (unit,)).fetchone()
        return None if row is None else row["priority"]

    def item_types(self) -> list[str]:
        """Return the type of each data unit, oldest first, in the storage items' words."""
        with self._database.read() as connection:
            return [
                row["item_type"]
                for row in connection.execute(
                    "SELECT item_type FROM units WHERE project = ? ORDER BY id", (self._record.id,)
                )
            ]

    def act(self, action: str, stage_title: str, *, title: str | None = None, destination: str | None = None) -> int:
        """Submit, approve, reject or move the tasks of a stage, as people do. Return the number of tasks.

        Args:
            action: ``submit``, ``approve``, ``reject`` or ``move``.
            title: Only tasks whose data title contains this text.
            destination: The title of the stage to move them to.

        Raises:
            LocalPlatformError: The stage has no such action, or no such task.
        """
        acts = {"submit": people.submit, "approve": people.approve, "reject": people.reject}
        if action not in (*acts, "move"):
            raise LocalPlatformError(f"action: no action is called {action!r}; {choice(action, (*acts, 'move'))}")
        stage = self._stage(stage_title)
        uuids = [task.uuid for task in self.tasks(stage.uuid) if title is None or title in task.data_title]
        if not uuids:
            which = "" if title is None else f" whose title contains {title!r}"
            raise LocalPlatformError(f"There is no task{which} in the stage {stage.title!r}.")
        try:
            if action == "move":
                there = self._stage(destination or "").uuid
                people.move(self._database, self._record, stage, uuids, there)
            else:
                acts[action](self._database, self._record, stage, uuids)
        except Refusal as refusal:
            raise LocalPlatformError(refusal.message) from None
        return len(uuids)

    def differences(self) -> list[differing.Difference]:
        """Return the changes of tasks, labels and moves, since the project was pulled or created."""
        return differing.differences(self._database, self._record)

    def delete(self) -> None:
        """Delete the project with its tasks and labels. Its files stay with its dataset."""
        self._service.catalogue.delete(self._record)

    def move(self, task_uuid: str, stage_title: str) -> None:
        """Move a task, as if another client did."""
        task = self._task(task_uuid)
        tasks.move(self._database, self._record, task["stage"], [(task_uuid, self._stage(stage_title).uuid)])

    def refuse_row(self, data_hash: str, message: str | None = "This label row is refused.") -> None:
        """Refuse every later request that saves this row, as a whole; ``None`` undoes that."""
        self._mark(data_hash, "refusal", message)

    def delete_row(self, data_hash: str) -> None:
        """Delete the label row, but not its task."""
        self._mark(data_hash, "deleted", 1)

    def break_asset(self, data_hash: str, how: Broken | None = "missing") -> None:
        """Make the file a 404, corrupt it, truncate it, or let its download stall halfway; ``None`` undoes that."""
        self._mark(data_hash, "broken", checked(_BROKEN, how, "how"))

    def forbid_item(self, data_hash: str, forbidden: bool = True) -> None:
        """Answer requests for the storage item with 403, including bulk requests that contain it."""
        self._mark(data_hash, "forbidden", int(forbidden))

    def reset(self, *, keep_labels: bool = False) -> int:
        """Send all tasks back to where they started. Return the number of tasks."""
        return tasks.reset(self._database, self._record, keep_labels=keep_labels)

    def export_labels(
        self, out: str | Path, *, draw: bool = False, progress: Callable[[int], None] = lambda done: None
    ) -> Exported:
        """Write the labels of each row to a directory as JSON and, with ``draw``, drawn on its pictures.

        Args:
            progress: Called with the number of label rows written so far.

        Raises:
            LocalPlatformError: A file cannot be written.
        """
        from encord_agents.local.export import export

        return export(self, self._service, Path(out), draw=draw, progress=progress)

    def _mark(self, data_hash: str, column: str, value: str | int | None) -> None:
        if not items.mark(self._database, self._record, data_hash, column, value):
            raise LocalPlatformError(f"The project has no data unit {data_hash}.")

    def _unit(self, data_hash: str) -> int:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT id FROM units WHERE project = ? AND data_hash = ?", (self._record.id, data_hash)
            ).fetchone()
        if row is None:
            raise LocalPlatformError(f"The project has no data unit {data_hash}.")
        return int(row["id"])

    def _task(self, task_uuid: str) -> Any:
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT * FROM tasks WHERE project = ? AND uuid = ?", (self._record.id, task_uuid)
            ).fetchone()
        if row is None:
            raise LocalPlatformError(f"The project has no task {task_uuid}.")
        return row

    def _stage(self, title: str) -> ResolvedStage:
        stages = list(self._record.stages.values())
        found = [stage for stage in stages if title in (stage.title, stage.uuid)]
        found = found or [stage for stage in stages if title.casefold() == stage.title.casefold()]
        if len(found) != 1:
            there = ", ".join(repr(stage.title) for stage in self._record.stages.values())
            raise LocalPlatformError(
                f"{'No' if not found else 'More than one'} stage is called {title!r}; there are {there}."
            )
        return found[0]
