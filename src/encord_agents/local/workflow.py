"""A workflow: stages, and the pathways out of agent stages. From Python, a mapping, or a YAML or JSON file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from encord_agents.local.files import kind, read_mapping
from encord_agents.local.trouble import WorkflowError

STAGE_TYPES = ("agent", "annotation", "review", "consensus_annotation", "consensus_review", "done", "router")
ACTIONS = {"annotation": ("submit",), "review": ("approve", "reject")}
"""What people do in a stage of a type, and what its pathways are called."""


@dataclass(frozen=True)
class Pathway:
    """One way out of an agent stage.

    Args:
        name: What an agent returns to take it.
        to: The title, id or uuid of the stage it leads to.
        uuid: Chosen by the platform when not given.
    """

    name: str
    to: str
    uuid: str | None = None


@dataclass(frozen=True)
class Stage:
    """A stage. Tasks stay in it until an agent, or a person, sends them on. Only a router sends them on by itself.

    Args:
        title: What people call it.
        type: ``agent``, ``annotation``, ``review``, ``consensus_annotation``, ``consensus_review``, ``done`` or
            ``router``.
        uuid: Chosen by the platform when not given.
        id: A name to refer to it by within the workflow, where titles repeat.
        pathways: Of an agent stage: name -> destination, or a sequence of :class:`Pathway`. Of an annotation stage
            ``submit``; of a review stage ``approve`` and ``reject``. Left out, ``submit`` and ``approve`` lead to the
            stage that is listed next (from the last one: to the first ``done``), and ``reject`` to the annotation
            stage before it, or else to the start.
        routes: Of a router: destination -> percentage; together 100.
    """

    title: str
    type: str = "annotation"
    uuid: str | None = None
    id: str | None = None
    pathways: Mapping[str, str] | Sequence[Pathway] = ()
    routes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentStage(Stage):
    """A stage that an agent serves: ``AgentStage("Triage", {"review": "Review", "complete": "Done"})``."""

    # Redeclared to put the pathways second, where a reader looks for them.
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
    """A stage with its uuid, its pathways leading to uuids.

    Attributes:
        pathways: Of agents and of people, by the name of the action; of a router, by percentage.
        shares: Of a router: the percentage of each pathway.
    """

    uuid: str
    title: str
    type: str
    pathways: tuple[Pathway, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def is_consensus(self) -> bool:
        """True if tasks wait here until somebody moves them: consensus is not worked out."""
        return self.type.startswith("consensus")

    def leads(self, name: str) -> str | None:
        """The destination of a pathway by its name, if there is one."""
        return next((pathway.to for pathway in self.pathways if pathway.name == name), None)

    def to_wire(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"stageType": self.type.upper(), "uuid": self.uuid, "title": self.title}
        if self.type == "agent":
            wire["pathways"] = [{"uuid": p.uuid, "title": p.name, "destinationUuid": p.to} for p in self.pathways]
        return wire


@dataclass(frozen=True)
class Workflow:
    """Stages in order, and where tasks start (default: the first stage).

    Raises:
        WorkflowError: It makes no sense, and the message says where.
    """

    stages: Sequence[Stage]
    start: str | None = None
    resolved: tuple[ResolvedStage, ...] = field(init=False, repr=False, compare=False)
    start_uuid: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        resolved, start = _resolve(self.stages, self.start)
        object.__setattr__(self, "resolved", resolved)
        object.__setattr__(self, "start_uuid", start)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: str = "The workflow") -> Workflow:
        """From ``{"stages": [{"title", "type", "uuid"?, "id"?, "pathways"?}], "start"?}``. It must have an agent stage.

        Args:
            data: What a workflow file holds.
            source: What messages call it.
        """
        try:
            workflow = cls(_stages_from(data), _optional_text(data, "start", "the workflow"))
            if not any(stage.type == "agent" for stage in workflow.stages):
                raise WorkflowError("it has no agent stage, so no agent could ever run; give one stage `type: agent`")
        except WorkflowError as error:
            raise WorkflowError(f"{source}: {error}") from None
        return workflow

    @classmethod
    def from_file(cls, path: str | Path) -> Workflow:
        """From a YAML (``.yaml``, ``.yml``) or JSON file."""
        path = Path(path)
        return cls.from_dict(read_mapping(path), source=str(path))

    @classmethod
    def of(cls, given: Workflow | Mapping[str, Any] | str | Path) -> Workflow:
        """Whatever a user may give for a workflow, as one."""
        if isinstance(given, Workflow):
            return given
        if isinstance(given, (str, Path)):
            return cls.from_file(given)
        return cls.from_dict(given)


def _stages_from(data: Mapping[str, Any]) -> list[Stage]:
    if not isinstance(data, Mapping):
        raise WorkflowError(f"a workflow is a mapping with `stages`, not {kind(data)}")
    _only(data, {"stages", "start", "title"}, "the workflow")
    stages = data.get("stages")
    if not isinstance(stages, list) or not stages:
        raise WorkflowError("`stages` must be a list with at least one stage")
    return [_stage_from(stage, index) for index, stage in enumerate(stages)]


def _stage_from(data: Any, index: int) -> Stage:
    where = f"stage {index + 1}"
    if not isinstance(data, Mapping):
        raise WorkflowError(f"{where} must be a mapping with `title` and `type`, not {kind(data)}")
    _only(data, {"title", "type", "uuid", "id", "pathways", "routes"}, where)
    title = _optional_text(data, "title", where)
    if not title:
        raise WorkflowError(f"{where} has no `title`")
    where = f"stage {title!r}"
    return Stage(
        title=title,
        type=_optional_text(data, "type", where) or "annotation",
        uuid=_optional_text(data, "uuid", where),
        id=_optional_text(data, "id", where),
        pathways=_pathways_from(data.get("pathways"), where),
        routes=_routes_from(data.get("routes"), where),
    )


def _routes_from(data: Any, where: str) -> Mapping[str, float]:
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise WorkflowError(f"{where}: `routes` must be a mapping from stages to percentages, not {kind(data)}")
    for to, share in data.items():
        if isinstance(share, bool) or not isinstance(share, (int, float)):
            raise WorkflowError(f"{where}: the percentage of {to!r} must be a number, not {kind(share)}")
    return {_text(to, "a destination", where): float(share) for to, share in data.items()}


def _pathways_from(data: Any, where: str) -> Sequence[Pathway]:
    if data is None:
        return ()
    if isinstance(data, Mapping):
        return [
            Pathway(_text(name, "a pathway's name", where), _text(to, "a destination", where))
            for name, to in data.items()
        ]
    if not isinstance(data, list):
        raise WorkflowError(f"{where}: `pathways` must be a mapping from names to stages, not {kind(data)}")
    pathways = []
    for entry in data:
        if not isinstance(entry, Mapping):
            raise WorkflowError(f"{where}: a listed pathway is a mapping with `name` and `to`, not {kind(entry)}")
        _only(entry, {"name", "to", "uuid"}, f"a pathway of {where}")
        name = _optional_text(entry, "name", where)
        to = _optional_text(entry, "to", where)
        if not name or not to:
            raise WorkflowError(f"{where}: a pathway needs `name` and `to`")
        pathways.append(Pathway(name, to, _optional_text(entry, "uuid", where)))
    return pathways


def _resolve(stages: Sequence[Stage], start: str | None) -> tuple[tuple[ResolvedStage, ...], str]:
    if not stages:
        raise WorkflowError("a workflow needs at least one stage")
    by_name: dict[str, set[str]] = {}
    with_uuid: list[tuple[str, Stage]] = []
    for stage in stages:
        if stage.type not in STAGE_TYPES:
            raise WorkflowError(f"stage {stage.title!r} has the type {stage.type!r}; known: {', '.join(STAGE_TYPES)}")
        uuid = _uuid(stage.uuid, f"stage {stage.title!r}")
        if any(uuid == other for other, _ in with_uuid):
            raise WorkflowError(f"two stages have the uuid {uuid}")
        if stage.id is not None and any(stage.id == other.id for _, other in with_uuid):
            raise WorkflowError(f"two stages have the id {stage.id!r}")
        with_uuid.append((uuid, stage))
        for name in {stage.title, uuid, *([stage.id] if stage.id else [])}:
            by_name.setdefault(name, set()).add(uuid)
    ids = {stage.id: uuid for uuid, stage in with_uuid if stage.id}

    def find(name: str, where: str) -> str:
        found = {ids[name]} if name in ids else by_name.get(name) or by_name.get(name.lower(), set())
        if len(found) == 1:
            return next(iter(found))
        if found:
            raise WorkflowError(f"{where} is {name!r}, and {len(found)} stages are called so: use an `id` or a `uuid`")
        guess = get_close_matches(name, by_name, n=1)
        hint = f" Did you mean {guess[0]!r}?" if guess else ""
        raise WorkflowError(f"{where} is {name!r}, and there is no such stage.{hint}")

    begin = find(start, "`start`") if start is not None else with_uuid[0][0]
    if next(stage.type for uuid, stage in with_uuid if uuid == begin) == "router":
        raise WorkflowError("the workflow starts with a router: tasks start in a stage")
    resolved = []
    for index, (uuid, stage) in enumerate(with_uuid):
        pathways = _as_pathways(stage)
        if stage.type == "router":
            resolved.append(_router(uuid, stage, find))
            continue
        if stage.routes:
            raise WorkflowError(f"stage {stage.title!r} is of type {stage.type!r}: only routers have `routes`")
        _check_names(stage, pathways)
        pathways += _left_out(with_uuid, index, begin, {pathway.name for pathway in pathways})
        where = f"the destination of pathway {{!r}} of stage {stage.title!r}"
        resolved.append(
            ResolvedStage(
                uuid=uuid,
                title=stage.title,
                type=stage.type,
                pathways=tuple(
                    replace(p, to=find(p.to, where.format(p.name)), uuid=_uuid(p.uuid, f"pathway {p.name!r}"))
                    for p in pathways
                ),
            )
        )
    ids_of_pathways = [p.uuid for stage in resolved for p in stage.pathways]
    if len(set(ids_of_pathways)) != len(ids_of_pathways):
        raise WorkflowError("two pathways have the same uuid")
    return tuple(resolved), begin


def _router(uuid: str, stage: Stage, find: Callable[[str, str], str]) -> ResolvedStage:
    if stage.pathways:
        raise WorkflowError(f"stage {stage.title!r} is a router: it has `routes`, not pathways")
    shares = tuple(stage.routes.values())
    if not shares or any(share < 0 for share in shares) or abs(sum(shares) - 100) > 1e-6:
        raise WorkflowError(f"stage {stage.title!r}: `routes` must be percentages that make 100 together")
    where = f"a route of stage {stage.title!r}"
    ways = [Pathway(f"{share:g} %", find(to, where), str(uuid4())) for to, share in stage.routes.items()]
    if any(way.to == uuid for way in ways):
        raise WorkflowError(f"{where} leads to itself")
    return ResolvedStage(uuid, stage.title, "router", tuple(ways), shares)


def _check_names(stage: Stage, pathways: Sequence[Pathway]) -> None:
    if stage.type == "agent":
        return
    known = ACTIONS.get(stage.type, ())
    for pathway in pathways:
        if pathway.name not in known:
            raise WorkflowError(
                f"stage {stage.title!r} is of type {stage.type!r}: only agent stages have pathways of any name; "
                "an annotation stage has `submit`, a review stage `approve` and `reject`"
            )


def _left_out(stages: Sequence[tuple[str, Stage]], index: int, start: str, there: Set[str]) -> list[Pathway]:
    """The ways out of a stage where people work that nobody wrote down."""
    following = stages[index + 1 : index + 2] or [found for found in stages if found[1].type == "done"][:1]
    before = [uuid for uuid, stage in stages[:index] if stage.type == "annotation"]
    back = before[-1:] or [start]
    ways = {"submit": [uuid for uuid, _ in following], "approve": [uuid for uuid, _ in following], "reject": back}
    uuid, stage = stages[index]
    return [
        Pathway(name, ways[name][0])
        for name in ACTIONS.get(stage.type, ())
        if name not in there and ways[name] and ways[name] != [uuid]
    ]


def _as_pathways(stage: Stage) -> list[Pathway]:
    given = stage.pathways
    pathways = [Pathway(name, to) for name, to in given.items()] if isinstance(given, Mapping) else list(given)
    names = [pathway.name for pathway in pathways]
    for name in names:
        if names.count(name) > 1:
            raise WorkflowError(f"stage {stage.title!r} has two pathways named {name!r}")
    return pathways


def _uuid(given: str | None, where: str) -> str:
    if given is None:
        return str(uuid4())
    try:
        return str(UUID(given))
    except ValueError:
        raise WorkflowError(f"{where} has the uuid {given!r}, which is not a UUID") from None


def _only(data: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in data:
        if key not in known:
            raise WorkflowError(f"{where} has {key!r}; what may be there: {', '.join(sorted(known))}")


def _optional_text(data: Mapping[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    return None if value is None else _text(value, f"`{key}`", where)


def _text(value: Any, what: str, where: str) -> str:
    # YAML reads `yes`, `no` and `1` as something else than the words on the page; asking for quotes beats guessing.
    if not isinstance(value, str):
        raise WorkflowError(f"{where}: {what} must be text, not {kind(value)} (write it in quotes)")
    return value


DEFAULT = Workflow([Stage("Annotate"), Stage("Review", "review"), Stage("Complete", "done")])
"""The workflow of projects that are made without a template."""
