"""Trying an agent on one task without writing anything, to develop it cell by cell."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from encord.constants.enums import DataType
from encord.objects import LabelRowV2
from encord.objects.options import Option
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.assets import Asset
from encord_agents.core.legible import cut, literally, on_a_line, on_one_line
from encord_agents.core.room import temporary_directory
from encord_agents.core.sdk.entrusted import saving_itself
from encord_agents.core.tracebacks import described
from encord_agents.exceptions import PrintableError
from encord_agents.labels.painting import for_a_page, painted, some_labelled_frames
from encord_agents.tasks.engine.context import Agent, Context
from encord_agents.tasks.engine.events import Event, Events, TaskFinished, TaskWouldWrite
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.one_by_one import run_chunk
from encord_agents.tasks.engine.record import TaskRecord
from encord_agents.tasks.engine.report_html import PRE
from encord_agents.tasks.engine.stage import as_uuid
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.runner.base import RunnerBase
from encord_agents.tasks.runner.connection import Connection, tear_down
from encord_agents.tasks.runner.opening import MAX_OUTAGE

if TYPE_CHECKING:
    from encord_agents.core.data_model import ImageArray

__all__ = ["Trial", "Wanted", "try_on"]

Wanted: TypeAlias = str | UUID | AgentTask | LabelRowV2 | None
"""A task, or something that names one."""

MAX_FRAMES = 4
"""The maximum number of frames of a video that are painted."""
PIXELS = 960
"""Pixels of the longer side of a picture in a notebook; several pictures have half of it each."""
LONGEST_TRACEBACK = 10_000


@dataclass(frozen=True)
class Trial:
    """The result of trying an agent on one task, with nothing written. Notebooks show it with its picture.

    Attributes:
        data_title: The title of the task's data unit.
        stage: The title of the stage.
        function: The name of the agent's function.
        would: A description of the writes that a run would have made; ``None`` if the agent failed.
        label_row: The label row as the agent left it; ``None`` if it did not ask for one, or failed.
        frames: PNG files of the image, or of up to four of the video's frames with objects, by frame number, with the
            objects painted on them; empty if there is nothing to paint on.
        not_painted: The reason why there is no picture, if there should be one.
        exception: The exception that the agent failed with.
        traceback: Its traceback, as text.
    """

    data_title: str
    stage: str
    function: str
    would: str | None = None
    label_row: LabelRowV2 | None = None
    frames: dict[int, bytes] = field(default_factory=dict, hash=False)
    not_painted: str | None = None
    exception: BaseException | None = None
    traceback: str | None = None

    @property
    def picture(self) -> bytes | None:
        """The first of `frames`."""
        return next(iter(self.frames.values()), None)

    def __str__(self) -> str:
        said = self.would or (self.traceback or "it was not run").rstrip()
        return f"{self.function}() on {self.data_title!r} in {self.stage!r}: {said}"

    def __repr__(self) -> str:
        said = self.would or ("not run" if self.exception is None else described(self.exception))
        return f"<Trial {self.function}() on {self.data_title!r} in {self.stage!r}: {on_a_line(said)}>"

    def _repr_html_(self) -> str:
        said = escape(on_one_line(self.would or "failed"))
        parts = [f"<div><code>{escape(self.function)}()</code> on <b>{escape(on_one_line(self.data_title))}</b>"]
        parts.append(f" in {escape(on_one_line(self.stage))}: {said}</div>")
        if self.traceback is not None:
            parts.append(f"<pre{PRE}>{escape(cut(literally(self.traceback), LONGEST_TRACEBACK))}</pre>")
        parts += [f"<div>{escape(on_one_line(answer))}</div>" for answer in self._classifications()]
        if self.not_painted is not None:
            parts.append(f"<div>No picture: {escape(on_one_line(self.not_painted))}</div>")
        for frame, picture in self.frames.items():
            data = base64.b64encode(for_a_page(picture, most=PIXELS if len(self.frames) == 1 else PIXELS // 2)).decode()
            image = f'<img src="data:image/jpeg;base64,{data}" style="max-width:100%" alt="the labels">'
            caption = f"<figcaption>frame {frame}</figcaption>" if len(self.frames) > 1 else ""
            parts.append(f'<figure style="display:inline-block;margin:4px 8px 4px 0">{image}{caption}</figure>')
        return "".join(parts)

    def _classifications(self) -> list[str]:
        instances = [] if self.label_row is None else self.label_row.get_classification_instances()
        return [f"{instance.classification_name}: {_answer(instance.get_answer())}" for instance in instances]


def try_on(runner: RunnerBase, wanted: Wanted, project_hash: str | UUID | None) -> Trial:
    """See `SequentialRunner.try_on`."""
    stop = Stop()
    project = runner._project_for(project_hash)
    runner._check_has_agents("try_on()")
    agents = runner._bind_all(project, num_retries=0)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.at_work())
        connection = Connection(
            runner, project, max_outage=MAX_OUTAGE, stop=stop, bundle_saves=True, one_at_a_time=True
        )
        stack.callback(connection.loop.close)
        stack.callback(tear_down, connection.scope)
        gate = connection.gate(stop)
        agent, task = _find(agents, gate, wanted)
        try:
            return _Attempt(connection, agent, gate).run(task)
        except SetUpError as error:
            raise error.error from None


@dataclass(eq=False)
class _Attempt:
    """One attempt, from which a trial is made."""

    connection: Connection
    agent: Agent
    gate: Gate
    would: str | None = None
    record: TaskRecord | None = None
    row: LabelRowV2 | None = None

    def _hear(self, event: Event) -> None:
        if isinstance(event, TaskWouldWrite):
            self.would = event.summary
        elif isinstance(event, TaskFinished):
            self.record = TaskRecord.of(event)

    def _succeeded(self, context: Context) -> None:
        self.row = None if context.row is None else saving_itself(context.row)

    def run(self, task: AgentTask) -> Trial:
        agent = self.agent
        with temporary_directory() as files:
            run = self.connection.stage_run(
                agent,
                self.gate,
                Events([], record=self._hear),
                bundle_saves=True,
                dry_run=True,
                dead_letters=False,
                strict=False,
                files=files,
                on_success=self._succeeded,
            )
            loop = self.connection.loop if agent.plan.has_async else None
            run_chunk(run, [task], polled_at=self.gate.clock(), loop=loop)
        told = partial(Trial, task.data_title, agent.stage.title, agent.plan.name)
        if (record := self.record) is not None and record.exception is not None:
            return told(exception=record.exception, traceback=record.traceback or described(record.exception))
        frames, reason = self._painted()
        return told(would=self.would, label_row=self.row, frames=frames, not_painted=reason)

    def _painted(self) -> tuple[dict[int, bytes], str | None]:
        row = self.row
        uuid = None if row is None else row.backing_item_uuid
        if row is None or uuid is None or row.data_type not in (DataType.IMAGE, DataType.VIDEO):
            return {}, None
        frames: dict[int, bytes] = {}
        try:
            item = self.gate.call(lambda: self.connection.sender.get_storage_item(uuid), kind="item")
            with Asset(item, cache=self.agent.cache) as asset:
                for frame in some_labelled_frames(row, MAX_FRAMES):
                    frames[frame] = painted(self._pixels(asset, item.name, frame), row, frame)
        except Exception as error:  # noqa: BLE001 - the trial itself succeeded; only its picture is missing
            return frames, described(error)
        return frames, None

    def _pixels(self, asset: Asset, name: str, frame: int) -> ImageArray:
        if frame == 0:
            return asset.first_frame()
        from encord_agents.core.video import read_video_frame

        return read_video_frame(asset.path(), frame, name=name)


def _find(agents: list[Agent], gate: Gate, wanted: Wanted) -> tuple[Agent, AgentTask]:
    branch = wanted.branch_name if isinstance(wanted, LabelRowV2) else None
    if isinstance(wanted, AgentTask):
        wanted = wanted.uuid
    elif isinstance(wanted, LabelRowV2):
        wanted = wanted.data_hash
    uuid = None if wanted is None else as_uuid(wanted)
    for agent in agents:
        task = gate.call(lambda agent=agent: _first(agent, wanted, uuid, branch), kind="tasks")  # type: ignore[misc]
        if task is not None:
            return agent, task
    stages = ", ".join(repr(agent.stage.title) for agent in agents)
    what = "task" if wanted is None else f"task, data unit or title {str(wanted)!r}"
    raise PrintableError(f"There is no {what} in the stages that the runner serves: {stages}.")


def _first(agent: Agent, wanted: object, uuid: UUID | None, branch: str | None) -> AgentTask | None:
    if wanted is None:
        return next(iter(agent.stage.get_tasks()), None)
    named = agent.stage.get_tasks(data_title=str(wanted)) if uuid is None else agent.stage.get_tasks()
    matching = (t for t in named if t.data_title == wanted or (uuid is not None and uuid in (t.uuid, t.data_hash)))
    return next((t for t in matching if branch in (None, t.label_branch_name)), None)


def _answer(given: object) -> str:
    if isinstance(given, list | tuple | set):
        return ", ".join(_answer(one) for one in given)
    if isinstance(given, Option):
        return given.title
    return str(given)
