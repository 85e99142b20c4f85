"""Workflows: stages and the pathways between them, from Python, a mapping, or a YAML or JSON file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import Discriminator, Field, Tag, TypeAdapter

from encord_agents.local.files import read_mapping
from encord_agents.local.trouble import WorkflowError
from encord_agents.local.written import Number, Text, checked, choice, known

ACTIONS = {"annotation": ("submit",), "review": ("approve", "reject")}
"""The actions of people by the type of the stage; its pathways have the same names."""
StageType = Literal["agent", "annotation", "review", "consensus_annotation", "consensus_review", "done", "router"]


@dataclass(frozen=True)
class Pathway:
    """One way out of an agent stage.

    Args:
        name: The name that an agent returns to take it.
        to: The title, id or uuid of the stage it leads to.
        uuid: Chosen by the platform when not given.
    """

    name: Text
    to: Text
    uuid: Text | None = None


_STAGE = ("title", "type", "uuid", "id", "pathways", "routes")
# Tags in angle brackets are left out of the place in a message: see `written.place`.
_Pathways = Annotated[
    Annotated[Mapping[Text, Text], Tag("<mapping>")]
    | Annotated[Sequence[Annotated[Pathway, known("name", "to", "uuid")]], Tag("<list>")],
    Discriminator(lambda given: "<list>" if isinstance(given, (list, tuple)) else "<mapping>"),
]


@dataclass(frozen=True)
class Stage:
    """A stage. Tasks stay in it until an agent or a person sends them on. A router sends them on at once.

    Args:
        title: Its name for people.
        type: ``agent``, ``annotation``, ``review``, ``consensus_annotation``, ``consensus_review``, ``done`` or
            ``router``.
        uuid: Chosen by the platform when not given.
        id: A name to refer to it by within the workflow, if titles repeat.
        pathways: For an agent stage: name -> destination, or a sequence of :class:`Pathway`. For an annotation stage:
            ``submit``; for a review stage: ``approve`` and ``reject``. By default, ``submit`` and ``approve`` lead to
            the next stage in the list (from the last one: to the first ``done``), and ``reject`` leads to the
            annotation stage before it or, if there is none, to the start.
        routes: For a router: destination -> percentage; the sum must be 100.
    """

    title: Text
    type: StageType = "annotation"
    uuid: Text | None = None
    id: Text | None = None
    pathways: _Pathways = ()
    routes: Mapping[Text, Annotated[Number, Field(ge=0)]] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentStage(Stage):
    """A stage that an agent serves: ``AgentStage("Triage", {"review": "Review", "complete": "Done"})``."""

    # Redeclared to make the pathways the second argument, where readers expect them.
    def __init__(
        self,
        title: str,
        pathways: Mapping[str, str] | Sequence[Pathway] = (),
        *,
        uuid: str | None = None,
        id: str | None = None,
    ) -> None:
        given = {"title": title, "type": "agent", "uuid": uuid, "id": id, "pathways": pathways, "routes": {}}
        for name, value in given.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class ResolvedStage:
    """A stage with its uuid, whose pathways lead to uuids.

    Attributes:
        pathways: Named by an agent's pathway or a person's action; for a router, by percentage.
        shares: For a router: the percentage of each pathway.
    """

    uuid: str
    title: str
    type: str
    pathways: tuple[Pathway, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def is_consensus(self) -> bool:
        """True if tasks stay here until somebody moves them: consensus is not implemented."""
        return self.type.startswith("consensus")

    def leads(self, name: str) -> str | None:
        """Return the destination of a pathway by its name, if there is one."""
        return next((pathway.to for pathway in self.pathways if pathway.name == name), None)

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"stageType": self.type.upper(), "uuid": self.uuid, "title": self.title}
        if self.type == "agent":
            wire["pathways"] = [{"uuid": p.uuid, "title": p.name, "destinationUuid": p.to} for p in self.pathways]
        return wire


@dataclass(frozen=True)
class Workflow:
    """Stages in order, and the one where tasks start (default: the first stage).

    Raises:
        WorkflowError: The workflow is not valid; the message names the place.
    """

    stages: Sequence[Stage]
    start: str | None = None
    resolved: tuple[ResolvedStage, ...] = field(init=False, repr=False, compare=False)
    start_uuid: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        written = checked(_WRITTEN, {"stages": list(self.stages), "start": self.start}, error=WorkflowError)
        resolved, start = _Resolving(written.stages).all(written.start)
        object.__setattr__(self, "resolved", resolved)
        object.__setattr__(self, "start_uuid", start)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "The workflow") -> Workflow:
        """Read ``{"stages": [{"title", "type", "uuid"?, "id"?, "pathways"?}], "start"?}``. One must be an agent stage.

        Args:
            data: The content of a workflow file.
            source: Its name in messages.
        """
        written = checked(_WRITTEN, data, source, WorkflowError)
        try:
            workflow = cls(written.stages, written.start)
        except WorkflowError as error:
            raise WorkflowError(f"{source}: {error}") from None
        if not any(stage.type == "agent" for stage in workflow.stages):
            raise WorkflowError(
                f"{source}: stages: there is no agent stage, so no agent could ever run; give one stage `type: agent`"
            )
        return workflow

    @classmethod
    def from_file(cls, path: str | Path) -> Workflow:
        """Read a YAML (``.yaml``, ``.yml``) or JSON file."""
        path = Path(path)
        return cls.from_dict(read_mapping(path), source=str(path))

    @classmethod
    def of(cls, given: Workflow | Mapping[str, Any] | str | Path) -> Workflow:
        """Return a workflow from any form that users may give."""
        if isinstance(given, Workflow):
            return given
        if isinstance(given, (str, Path)):
            return cls.from_file(given)
        return cls.from_dict(given)


@dataclass(frozen=True)
class _Written:
    """A workflow as it is written in a file."""

    stages: Annotated[list[Annotated[Stage, known(*_STAGE)]], Field(min_length=1)]
    start: Text | None = None
    title: Text | None = None


_WRITTEN = TypeAdapter(Annotated[_Written, known("stages", "start", "title")])


class _Resolving:
    """Resolves titles and ids in a workflow to uuids.

    Raises:
        WorkflowError: A title or id leads nowhere, or is not unique.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = [
            (uuid, stage) for index, stage in enumerate(stages) for uuid in [_uuid(stage.uuid, f"stages[{index}].uuid")]
        ]
        self._named: dict[str, list[str]] = {}
        self._ids: dict[str, str] = {}
        for index, (uuid, stage) in enumerate(self._stages):
            if uuid in self._named:
                raise WorkflowError(f"stages[{index}].uuid: another stage has {uuid}")
            if stage.id in self._ids:
                raise WorkflowError(f"stages[{index}].id: another stage has {stage.id!r}")
            for name in {stage.title, uuid, stage.id or uuid}:
                self._named.setdefault(name, []).append(uuid)
            if stage.id is not None:
                self._ids[stage.id] = uuid

    def all(self, start: str | None) -> tuple[tuple[ResolvedStage, ...], str]:
        """Return the stages, and the uuid of the one where tasks start."""
        begin = self._find(start, "start") if start is not None else self._stages[0][0]
        if next(stage.type for uuid, stage in self._stages if uuid == begin) == "router":
            raise WorkflowError("start: it is a router, and tasks start in a stage")
        resolved = tuple(self._stage(index, begin) for index in range(len(self._stages)))
        ids = [pathway.uuid for stage in resolved for pathway in stage.pathways]
        if len(set(ids)) != len(ids):
            raise WorkflowError("stages: two pathways have the same uuid")
        return resolved, begin

    def _stage(self, index: int, begin: str) -> ResolvedStage:
        uuid, stage = self._stages[index]
        where = f"stages[{index}]"
        if stage.type == "router":
            return self._router(uuid, stage, where)
        if stage.routes:
            raise WorkflowError(f"{where}.routes: only routers have them, and {stage.title!r} is of type {stage.type}")
        pathways: list[Pathway] = []
        for place, way in _placed(stage.pathways, f"{where}.pathways"):
            if stage.type != "agent" and way.name not in ACTIONS.get(stage.type, ()):
                raise WorkflowError(
                    f"{place}: only agent stages have pathways of any name; an annotation stage has `submit`, a review "
                    f"stage `approve` and `reject`, and {stage.title!r} is of type {stage.type}"
                )
            if any(way.name == other.name for other in pathways):
                raise WorkflowError(f"{place}: stage {stage.title!r} has two pathways named {way.name!r}")
            to = self._find(way.to, place if isinstance(stage.pathways, Mapping) else f"{place}.to")
            pathways.append(Pathway(way.name, to, _uuid(way.uuid, f"{place}.uuid")))
        left_out = self._left_out(index, begin, {pathway.name for pathway in pathways})
        return ResolvedStage(uuid, stage.title, stage.type, (*pathways, *left_out))

    def _router(self, uuid: str, stage: Stage, where: str) -> ResolvedStage:
        if stage.pathways:
            raise WorkflowError(f"{where}.pathways: {stage.title!r} is a router, which has `routes` in their place")
        shares = tuple(stage.routes.values())
        if not shares or abs(sum(shares) - 100) > 1e-6:
            raise WorkflowError(f"{where}.routes: they must be percentages that make 100 together")
        ways = []
        for to, share in stage.routes.items():
            ways.append(Pathway(f"{share:g} %", self._find(to, f"{where}.routes"), str(uuid4())))
            if ways[-1].to == uuid:
                raise WorkflowError(f"{where}.routes.{to}: the router leads to itself")
        return ResolvedStage(uuid, stage.title, "router", tuple(ways), shares)

    def _left_out(self, index: int, start: str, there: Set[str]) -> list[Pathway]:
        """Return the default pathways of a stage where people work, as far as the workflow does not give them."""
        uuid, stage = self._stages[index]
        done = [found for found in self._stages if found[1].type == "done"]
        following = (self._stages[index + 1 : index + 2] or done[:1] or [(uuid, stage)])[0][0]
        before = [found for found, other in self._stages[:index] if other.type == "annotation"]
        ways = {"submit": following, "approve": following, "reject": (before[-1:] or [start])[0]}
        names = [name for name in ACTIONS.get(stage.type, ()) if name not in there and ways[name] != uuid]
        return [Pathway(name, ways[name], str(uuid4())) for name in names]

    def _find(self, name: str, where: str) -> str:
        found = [self._ids[name]] if name in self._ids else self._named.get(name) or self._named.get(name.lower(), [])
        if len(found) > 1:
            raise WorkflowError(f"{where}: {len(found)} stages are called {name!r}; use an `id` or a `uuid`")
        if not found:
            titles = (stage.title for _, stage in self._stages)
            raise WorkflowError(f"{where}: no stage named {name!r}; {choice(name, titles, 'stages')}")
        return found[0]


def _placed(given: Mapping[str, str] | Sequence[Pathway], where: str) -> Iterator[tuple[str, Pathway]]:
    """Yield pathways, each with its place in the file."""
    if isinstance(given, Mapping):
        yield from ((f"{where}.{name}", Pathway(name, to)) for name, to in given.items())
    else:
        yield from ((f"{where}[{index}]", way) for index, way in enumerate(given))


def _uuid(given: str | None, where: str) -> str:
    if given is None:
        return str(uuid4())
    try:
        return str(UUID(given))
    except ValueError:
        raise WorkflowError(f"{where}: {given!r} is not a UUID") from None


DEFAULT = Workflow([Stage("Annotate"), Stage("Review", "review"), Stage("Complete", "done")])
"""The workflow of projects that are created without a template."""
