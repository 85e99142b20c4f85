"""The base of all runners: the project, the client, and the agents with their stages."""

from __future__ import annotations

import types
import typing
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from encord.objects import LabelRowV2
from encord.orm.project import ProjectType
from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentStage

from encord_agents.core.cache import AssetCache, cache_for
from encord_agents.core.client import get_user_client
from encord_agents.core.data_model import LabelRowInitialiseLabelsArgs, LabelRowMetadataIncludeArgs
from encord_agents.core.dependencies.build import build_plan
from encord_agents.core.dependencies.plan import Plan
from encord_agents.core.dependencies.signature import without_alias
from encord_agents.core.legible import quotable
from encord_agents.core.sdk.once import sending_once
from encord_agents.exceptions import PrintableError, ProjectError, StageAlreadyAssignedError
from encord_agents.extras import require
from encord_agents.tasks.engine.context import INJECTABLE, RUN_INJECTABLE, Agent
from encord_agents.tasks.engine.events import Observer
from encord_agents.tasks.engine.history import History
from encord_agents.tasks.engine.report import RunReport
from encord_agents.tasks.engine.retry import RetryPolicy
from encord_agents.tasks.engine.stage import Pathways, as_uuid, find_stage, names_stage
from encord_agents.tasks.engine.stop import Stop
from encord_agents.tasks.engine.timing import Limits, Timing
from encord_agents.tasks.media import extra_of
from encord_agents.tasks.runner.opening import MAX_OUTAGE, open_project
from encord_agents.tasks.runner.typed_in import is_defined_again

__all__ = ["RegisteredAgent", "RunnerBase"]

FILTERS = ("include_object_feature_hashes", "include_classification_feature_hashes")
IN_PART = """\
{function}() is given label rows without some of their labels ({filters}), and saving such a row deletes the others. \
Only read from it: if it is returned to be saved, its task fails; label_row.save() by hand is not held back."""

NO_PROJECT = """\
The runner has no project. Give it one in one of three ways:
  - Runner(project_hash="...") in the code,
  - runner(project_hash="...") when it is called,
  - --project-hash ... on the command line."""


@dataclass(slots=True, eq=False)
class RegisteredAgent:
    """A user's function and the stage it serves, as they were written.

    Attributes:
        identity: The stage's title or uuid, as given.
        callable: The function.
        plan: The inputs that it needs.
        overwrite: True if it may replace another function of its stage.
        stage_title: The stage's title, known once there is a project.
    """

    identity: str | UUID
    callable: Callable[..., Any]
    plan: Plan
    label_row_metadata_include_args: LabelRowMetadataIncludeArgs = field(default_factory=LabelRowMetadataIncludeArgs)
    label_row_initialise_labels_args: LabelRowInitialiseLabelsArgs = field(default_factory=LabelRowInitialiseLabelsArgs)
    will_set_priority: bool = False
    give_up_on: tuple[type[Exception], ...] = ()
    failure_pathway: str | UUID | None = None
    restore_labels: bool = False
    overwrite: bool = False
    stage_title: str | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self.plan.name

    @property
    def printable_name(self) -> str:
        """The stage's title; before there is a project, the stage as it was given."""
        return self.stage_title or str(self.identity)


class RunnerBase:
    """Collects agents, and binds them to the stages of a project.

    Attributes:
        agents: The registered agents, in order of definition.
        dependency_overrides: For tests: functions to use in place of others as dependencies.
        timing, limits: For tests: the numbers that the engine goes by.
        report: The last run's report, even if the run raised.
        observers: Called with each event of a run, see `encord_agents.tasks.engine.report`.
    """

    def __init__(
        self,
        project_hash: str | UUID | None = None,
        *,
        user_client: EncordUserClient | None = None,
        asset_cache: str | Path | None = None,
        asset_cache_size: int | str | None = None,
    ) -> None:
        if asset_cache is not None or asset_cache_size is not None:
            self._cache = cache_for(asset_cache, asset_cache_size)
        self._project: Project | None = None
        self.agents: list[RegisteredAgent] = []
        self.dependency_overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.timing = Timing()
        self.limits = Limits()
        self.observers: list[Observer] = []
        self.report: RunReport | None = None
        self._client = self._given_client = user_client
        self._sending_client: EncordUserClient | None = None
        self._project_hash: UUID | None = None
        if project_hash:  # an empty text, as of an environment variable that is not set, is none
            self._project_hash = checked_hash(project_hash)
            self._project = open_project(self._sender, self._project_hash)
        self._validate_project(self._project)

    @property
    def project_hash(self) -> str | None:
        """The hash of the project that the runner was made for; ``None`` if it was made without one."""
        return None if self._project_hash is None else str(self._project_hash)

    @property
    def project(self) -> Project | None:
        """The project: the runner's own, or the last call's; ``None`` before there is one."""
        return self._project

    @property
    def valid_stages(self) -> list[AgentStage] | None:
        """The agent stages of `project`; ``None`` as long as there is no project."""
        if (project := self.project) is None:
            return None
        return [stage for stage in project.workflow.stages if isinstance(stage, AgentStage)]

    @property
    def client(self) -> EncordUserClient:
        """The client that everything uses, dependencies included: the one that was given, unchanged.

        Raises:
            CredentialsError: There is no key, or it cannot be used.
        """
        if self._client is None:
            self._client = get_user_client()
        return self._client

    @client.setter
    def client(self, client: EncordUserClient) -> None:
        """Use another client from now on. Subclasses that were written for 0.2.10 set it."""
        self._client = self._given_client = client
        self._sending_client = None

    @cached_property
    def _cache(self) -> AssetCache | None:
        """The cache of the tasks' files. The environment is read by the first run, as it is for the key.

        Raises:
            PrintableError: The environment names one that cannot be used.
        """
        return cache_for()

    @property
    def _sender(self) -> EncordUserClient:
        """The engine's copy of `client`, which leaves retries to the engine."""
        if self._sending_client is None:
            self._sending_client = sending_once(self.client)
        return self._sending_client

    @staticmethod
    def _validate_project(project: Project | None) -> None:
        """Check that agents can serve the project.

        Subclasses override it to check more, or to read from the project. It is called when the runner is made, with
        ``None`` if there is no project yet, and once per call.

        Raises:
            ProjectError: It has no workflow, or one without an agent stage.
        """
        if project is None:
            return
        where = f"project {project.title!r} ({project.project_hash})"
        if project.project_type != ProjectType.WORKFLOW:
            raise ProjectError(
                f"P{where[1:]} is of type {project.project_type.value!r}. "
                "Agents serve the stages of a workflow: use a project that has one.",
                given=UUID(str(project.project_hash)),
            )
        if not any(isinstance(stage, AgentStage) for stage in project.workflow.stages):
            raise ProjectError(
                f"The workflow of {where} has no agent stage. Add one to it, on the platform, and name it in "
                "@runner.stage(...).",
                given=UUID(str(project.project_hash)),
            )

    def _project_for(
        self, project_hash: str | UUID | None, *, stop: Stop | None = None, max_outage: float = MAX_OUTAGE
    ) -> Project:
        """Return the project for a call: the runner's own, or the one given for the call.

        Raises:
            Leaving: A stop was requested while the platform was in trouble, so that there is no project.
        """
        wanted = self._project_hash if project_hash is None else checked_hash(project_hash)
        if wanted is None:
            raise ProjectError(NO_PROJECT)
        if self._project_hash not in (None, wanted):
            raise ProjectError(
                f"This runner was made for project {self._project_hash} and cannot run project {wanted}. "
                "Make a Runner() without a project to give one with each call.",
                given=project_hash,
            )
        project = self._project
        if project is None or UUID(str(project.project_hash)) != wanted:
            project = open_project(self._sender, wanted, stop=stop, max_outage=max_outage)
        self._validate_project(project)
        self._project = project
        return project

    @property
    def _own_project(self) -> Project | None:
        """The project that the runner was made for, once it is open; not that of a call."""
        return self._project if self._project_hash is not None else None

    def _check_has_agents(self, call: str = "it") -> None:
        if not self.agents:
            raise PrintableError(
                f'The runner has no agent. Decorate a function with @runner.stage("...") before calling {call}.'
            )

    def _register(self, agent: RegisteredAgent, *, overwrite: bool) -> None:
        if (project := self._own_project) is not None:
            self._bind(agent, project)  # fail now, not after an hour of loading a model
        agent.overwrite = overwrite
        for place, other in enumerate(self.agents):
            if self._same_stage(agent.identity, other.identity):
                if not overwrite and not is_defined_again(agent.callable, other.callable):
                    raise StageAlreadyAssignedError(str(agent.identity), other.name)
                self.agents[place] = agent
                return
        self.agents.append(agent)

    def _same_stage(self, one: str | UUID, other: str | UUID) -> bool:
        if (project := self._own_project) is not None:
            stages = project.workflow.stages
            return find_stage(stages, one).uuid == find_stage(stages, other).uuid
        return one == other or (as_uuid(one) is not None and as_uuid(one) == as_uuid(other))

    def _bind(
        self, agent: RegisteredAgent, project: Project, *, num_retries: int = 3, retry_delay: float = 0.0
    ) -> Agent:
        """Return an agent for a run.

        Raises:
            UnknownStageError: The project has no such agent stage.
            UnknownPathwayError: ``failure_pathway``, or a `Literal` return type, names no pathway of the stage.
        """
        stages = project.workflow.stages
        stage = find_stage(stages, agent.identity)
        agent.stage_title = stage.title
        pathways = Pathways(stage, stages)
        failure_pathway = None if agent.failure_pathway is None else pathways.find(agent.failure_pathway)
        for value in literals(agent.plan.returns):
            if isinstance(value, str | UUID):
                pathways.find(value)
        return Agent(
            stage=stage,
            pathways=pathways,
            plan=self._plan_with_overrides(agent),
            policy=RetryPolicy(num_retries, retry_delay, agent.give_up_on),
            include_args=agent.label_row_metadata_include_args,
            initialise_args=agent.label_row_initialise_labels_args,
            will_set_priority=agent.will_set_priority,
            failure_pathway=failure_pathway,
            restore_labels=agent.restore_labels,
            cache=self._cache,
            history=History(self.timing, self.limits),
        )

    def _bind_all(self, project: Project, *, only: AgentStage | None = None, **options: Any) -> list[Agent]:
        """Return the agents for a run: all, or only those of one stage, since the others may be of other projects."""
        wanted = [agent for agent in self.agents if only is None or names_stage(agent.identity, only)]
        bound: dict[UUID, tuple[RegisteredAgent, Agent]] = {}
        for registered in wanted:
            agent = self._bind(registered, project, **options)
            # A title and a uuid may turn out to name the same stage once there is a project.
            if agent.stage.uuid in bound:
                other, _ = bound[agent.stage.uuid]
                if not registered.overwrite and not is_defined_again(registered.callable, other.callable):
                    raise StageAlreadyAssignedError(agent.stage.title, other.name)
                self.agents.remove(registered)
                self.agents[self.agents.index(other)] = registered
            bound[agent.stage.uuid] = registered, agent  # in the place of the other, if there was one
        return [agent for _, agent in bound.values()]

    def _plan_with_overrides(self, agent: RegisteredAgent) -> Plan:
        if agent.plan.dependencies.isdisjoint(self.dependency_overrides):
            return agent.plan
        return build_plan(
            agent.callable,
            injectable=INJECTABLE,
            run_injectable=RUN_INJECTABLE,
            overrides=self.dependency_overrides,
            signatures=agent.plan.signatures,
        )


def check_stage(stage: object) -> None:
    """Check that a value can name a stage.

    Raises:
        PrintableError: It is neither text nor a uuid, as with a decorator that was written without its call.
    """
    if not isinstance(stage, str | UUID):
        raise PrintableError(
            f"@runner.stage({getattr(stage, '__name__', stage)!s}): a stage is named by its title or its uuid. "
            'With a decorator there must be one: @runner.stage("Pre-label").'
        )


def make_agent(function: Callable[..., Any], stage: str | UUID, **options: Any) -> RegisteredAgent:
    """Return an agent for a decorator, and warn if it is given label rows with only some of their labels.

    Args:
        options: The options of `SequentialRunner.stage`.

    Raises:
        DependencyError: A parameter asks for something that nothing can supply.
        MissingExtraError: A dependency of ours needs packages that are not installed.
        PrintableError: An option is of the wrong type.
    """
    for name, kind in (
        ("label_row_metadata_include_args", LabelRowMetadataIncludeArgs),
        ("label_row_initialise_labels_args", LabelRowInitialiseLabelsArgs),
    ):
        if options[name] is None:
            options[name] = kind()
        elif not isinstance(options[name], kind):
            raise PrintableError(
                f"@runner.stage({str(stage)!r}): {name} is of type {type(options[name]).__name__}. "
                f"Write it as {name}={kind.__name__}(...)."
            )
    if not _are_exception_types(give_up_on := options["give_up_on"]):
        raise PrintableError(
            f"@runner.stage({str(stage)!r}): give_up_on={give_up_on!r} is not a tuple of exception types. "
            "Write it as in give_up_on=(ValueError,)."
        )
    plan = build_plan(function, injectable=INJECTABLE, run_injectable=RUN_INJECTABLE)
    for dependency in plan.dependencies:
        if (extra := extra_of(dependency)) is not None:
            require(extra, f"{plan.name}() uses {getattr(dependency, '__name__', dependency)}, which")
    agent = RegisteredAgent(stage, function, plan, **options)
    filters = {name for name in FILTERS if getattr(agent.label_row_initialise_labels_args, name) is not None}
    if filters and LabelRowV2 in plan.needs:
        warnings.warn(IN_PART.format(function=plan.name, filters=" and ".join(sorted(filters))), stacklevel=3)
    return agent


def _are_exception_types(given: object) -> bool:
    kinds = given if isinstance(given, tuple) else [given, None]
    return all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds)


def checked_hash(project_hash: str | UUID) -> UUID:
    """Return a project hash as a uuid.

    Raises:
        ProjectError: It is not a uuid.
    """
    if (uuid := as_uuid(project_hash)) is None:
        raise ProjectError(
            f"{quotable(project_hash)} is not a project hash. A hash looks like 12345678-1234-1234-1234-123456789abc; "
            "the platform shows it in the project's address and settings.",
            given=project_hash,
        )
    return uuid


def literals(annotation: Any) -> Iterable[object]:
    """Yield the values of the `Literal` types in a return annotation: ``Literal["a"] | None`` yields ``"a"``."""
    annotation = without_alias(annotation)
    origin = typing.get_origin(annotation)
    if origin is Literal:
        yield from typing.get_args(annotation)
    elif origin in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            yield from literals(part)
