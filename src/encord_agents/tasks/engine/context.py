"""The data that passes through the engine: an agent, the fetched inputs of a task, and the result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from encord.objects import LabelRowV2
from encord.project import Project
from encord.storage import StorageItem
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage, AgentTask

from encord_agents.core.assets import Asset
from encord_agents.core.cache import AssetCache
from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.plan import Plan
from encord_agents.core.sdk.as_loaded import LoadedLabels
from encord_agents.core.sdk.bundle import Parcel
from encord_agents.tasks.dependencies import OtherProjects, dep_single_frame
from encord_agents.tasks.engine.events import TaskRef
from encord_agents.tasks.engine.held import Held
from encord_agents.tasks.engine.history import CHANGED_ROW, History
from encord_agents.tasks.engine.outcome import Fault, Pathway
from encord_agents.tasks.engine.retry import RetryPolicy
from encord_agents.tasks.engine.stage import Pathways

__all__ = ["INJECTABLE", "RUN_INJECTABLE", "Agent", "Context", "Result"]

INJECTABLE: frozenset[type] = frozenset(
    {LabelRowV2, AgentTask, AgentStage, Project, StorageItem, EncordUserClient, Asset}
)
"""The types a parameter may ask for."""

RUN_INJECTABLE: frozenset[type] = frozenset({Project, EncordUserClient, OtherProjects})
"""The types that outlive a task, so that run-scoped dependencies may ask for them."""


@dataclass(frozen=True, slots=True, eq=False)
class Agent:
    """A user's function with its declared options, bound to the stage it serves for one run.

    Attributes:
        history: The part that changes during the run. Copies of the agent share it.
    """

    stage: AgentStage
    pathways: Pathways
    plan: Plan
    policy: RetryPolicy
    include_args: LabelRowMetadataIncludeArgs
    initialise_args: LabelRowInitialiseLabelsArgs
    will_set_priority: bool = False
    failure_pathway: Pathway | None = None
    restore_labels: bool = False
    cache: AssetCache | None = None
    history: History = field(default_factory=History)

    @property
    def needs_labels(self) -> bool:
        return LabelRowV2 in self.plan.needs

    @property
    def needs_item(self) -> bool:
        return not self.plan.needs.isdisjoint({StorageItem, Asset})

    @property
    def needs_asset(self) -> bool:
        return Asset in self.plan.needs

    @property
    def wants_first_frame(self) -> bool:
        return dep_single_frame in self.plan.dependencies

    @property
    def loads_in_part(self) -> bool:
        """True if rows are loaded without some of their labels. Saving such a row would delete those."""
        args = self.initialise_args
        return not (args.include_object_feature_hashes is None and args.include_classification_feature_hashes is None)

    @property
    def keeps_labels(self) -> bool:
        """True if another attempt needs a row's labels as they were loaded."""
        wanted = self.restore_labels or not self.history.has_warned_of(CHANGED_ROW)
        return wanted and self.policy.num_retries > 0

    def requires(self, types: Collection[type]) -> bool:
        """Return True if a parameter that does not accept ``None`` needs one of these types."""
        return not (self.plan.needs - self.plan.optional).isdisjoint(types)

    def branch_of(self, task: AgentTask) -> str:
        """Return the branch whose labels a task gets: an explicit ``branch_name`` wins over the task's own."""
        return self.include_args.branch_name or task.label_branch_name

    def row_of(self, task: AgentTask) -> tuple[UUID, str]:
        """Return the key of a task's label row. Two tasks of one row are never in flight together."""
        return task.data_hash, self.branch_of(task)

    def ref(self, task: AgentTask) -> TaskRef:
        return TaskRef(task.uuid, task.data_hash, task.data_title, self.stage.uuid, self.stage.title)


@dataclass(slots=True, eq=False)
class Context:
    """The fetched inputs of one task, and its state between attempts.

    Attributes:
        seen_at: The time at which the platform last showed the task in the stage, on the gate's clock.
        trouble: The fault of loading, which is the next attempt's fault unless the task is loaded again.
        attempts: The number of attempts begun so far.
        seconds: Their total duration in seconds.
        loaded: The row's labels as they were loaded, if another attempt may need them.
        in_part: The state of a row that was loaded in part. If the row's state differs, it has been loaded again since.
        first_error: The error of the first attempt, if it failed.
        ticket: The ticket of the current or next attempt, see `Quiet`.
        heard: The last attempt whose exception was examined for a rate limit.
        limited: Seconds for which a service that refused that attempt wants no calls; ``None`` if none refused it.
        handed_back: ``attempts`` when the task was last handed back, for the platform to be asked about it.
        gone: True if the task had left the stage when the platform was asked, or refused to move it.
        edited_at: The time of the last save of the labels, as the platform listed it when they were loaded.
        used_client: True if the agent made requests of its own with the runner's client, and so may have saved labels.
        postponed: True if an attempt was aborted because this machine had no room, and does not count.
        held: The agent's own saves, once an attempt has begun.
    """

    agent: Agent
    task: AgentTask
    seen_at: float
    row: LabelRowV2 | None = None
    item: StorageItem | None = None
    asset: Asset | None = None
    trouble: Fault | None = None
    attempts: int = 0
    seconds: float = 0.0
    ticket: int | None = None
    heard: int = 0
    limited: float | None = None
    handed_back: int = -1
    gone: bool = False
    edited_at: datetime | None = None
    used_client: bool = False
    release: list[Callable[[], None]] = field(default_factory=list)
    loaded: LoadedLabels | None = None
    in_part: object = None
    first_error: str | None = None
    postponed: bool = False
    held: Held | None = None

    @property
    def ref(self) -> TaskRef:
        return self.agent.ref(self.task)

    @property
    def branch(self) -> str:
        return self.agent.branch_of(self.task)

    def values(self, fixed: Mapping[type, object]) -> dict[type, object]:
        """Return the values to inject, by type."""
        return {
            **fixed,
            AgentTask: self.task,
            AgentStage: self.agent.stage,
            LabelRowV2: self.row,
            StorageItem: self.item,
            Asset: self.asset,
        }

    def close(self) -> None:
        """Release the files: the task has its outcome, or only its labels are still needed."""
        if self.asset is not None:
            self.asset.close()
        self._release()

    def close_file(self) -> None:
        """Release the file, which the next attempt downloads again."""
        if self.asset is not None:
            self.asset.forget()
        self._release()

    def _release(self) -> None:
        for release in self.release:
            release()
        self.release.clear()


@dataclass(slots=True, eq=False)
class Result:
    """An agent's return value for a task, checked and resolved; or, with a ``fault``, the final failure of the task.

    A failed task is moved only if it has a pathway: its stage's failure pathway.
    """

    context: Context
    pathway: Pathway | None = None
    label_row: LabelRowV2 | None = None
    labels: Parcel | None = None
    """The payload of the row's labels, from the attempt until it is accepted."""
    priority: float | None = None
    fault: Fault | None = None
    finished_at: float = 0.0
    prioritised: bool = False
    """True if the priority was accepted."""
    move_unclear: bool = False
    """True if a move was sent whose answer is unknown."""
    moved: bool = False
    """True if the move was accepted."""
    oddity: str | None = None
    """A probable mistake in the labels, if they were checked for that."""
