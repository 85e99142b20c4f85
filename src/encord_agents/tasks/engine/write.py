"""All writes to the platform. Labels and priorities come first, concurrently; moves after both were accepted.

Nothing here calls an agent again, and nothing takes effect twice: saves and priorities are idempotent, and after an
unclear answer to a move the stage is asked which tasks it still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from encord.exceptions import EncordException
from encord.project import Project
from encord.user_client import EncordUserClient
from encord.workflow.stages.agent import AgentTask

from encord_agents.core.logs import get_logger
from encord_agents.core.sdk.bundle import Parcel, new_bundle, packed
from encord_agents.core.tracebacks import add_note, described
from encord_agents.exceptions import CertificateError
from encord_agents.tasks.engine.changes import overtaken
from encord_agents.tasks.engine.context import Agent, Result
from encord_agents.tasks.engine.gate import Gate, Reply, SetUpError
from encord_agents.tasks.engine.held import Kind, send_together, validated_apart
from encord_agents.tasks.engine.load import Loader
from encord_agents.tasks.engine.outcome import Failed, Fault, Held, Moved, Outcome, Pathway, Phase, Skipped
from encord_agents.tasks.engine.poll import still_in
from encord_agents.tasks.engine.troubles import Troubles, split
from encord_agents.tasks.engine.verdict import END_ALL, Verdict, is_platform_trouble
from encord_agents.tasks.engine.weight import by_weight

__all__ = ["Settle", "Writer", "sequentially"]

logger = get_logger(__name__)


Settle = Callable[[Result, Outcome], None]
RunBoth = Callable[[Callable[[], None], Callable[[], None]], None]


def sequentially(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Call both, one after the other. The overlapping driver calls them at the same time."""
    first()
    second()


class Writer:
    """Writes results of one agent's tasks and reports the outcome of each.

    Every outcome is reported as soon as it is known, so that a written task is also in the report if something goes
    wrong with the rest.
    """

    def __init__(
        self,
        agent: Agent,
        project: Project,
        client: EncordUserClient,
        gate: Gate,
        run_both: RunBoth = sequentially,
        may_dead_letter: Callable[[], bool] = lambda: True,
    ) -> None:
        self._agent = agent
        self._project = project
        self._gate = gate
        self._run_both = run_both
        self._may_dead_letter = may_dead_letter
        self._loader = Loader(agent, project, client, gate)

    def write(self, results: Sequence[Result], settle: Settle, may_move: Callable[[], bool] = lambda: True) -> None:
        """Write results and settle each of them.

        Args:
            may_move: Called once labels and priorities are written. If it returns False, tasks that should move are
                left for another call, which moves them and writes nothing twice.

        Raises:
            SetUpError: The key is refused, or nothing is permitted and never was. Results not settled by then are not
                written.
            OutageError, Leaving: Likewise.
        """
        at_once = self._gate.limits.at_once
        for start in range(0, len(results), at_once):
            self._write_chunk(results[start : start + at_once], settle, may_move)

    def rehearse(self, results: Sequence[Result]) -> dict[int, Fault]:
        """Prepare the writes without making them. Return faults, by the ids of results. Labels were serialised right
        after the attempts."""
        refused: dict[int, Fault] = {}
        for result in self._listed([r for r in results if r.priority is not None], refused):
            try:
                _pack_priority(result)
            except Exception as error:  # noqa: BLE001 - refused by the SDK
                refused[id(result)] = _fault(result, Phase.SAVE, error)
        return refused

    def arrived(self, tasks: Sequence[AgentTask]) -> dict[UUID, Pathway]:
        """Return the tasks that are now where a pathway leads, with that pathway. Costs a request per such stage.

        Raises:
            OutageError, Leaving, Exception: The platform does not answer.
        """
        stages = {stage.uuid: stage for stage in self._project.workflow.stages}
        found: dict[UUID, Pathway] = {}
        for pathway in self._agent.pathways.all:
            missing = [task for task in tasks if task.uuid not in found]
            if missing and (destination := stages.get(pathway.destination_uuid)) is not None:
                found |= dict.fromkeys(still_in(destination, missing, self._gate)[0], pathway)
        return found

    def _write_chunk(self, results: Sequence[Result], settle: Settle, may_move: Callable[[], bool]) -> None:
        for result in (r for r in results if r.moved):  # an interrupt came before this was reported
            self._settle_moved(result, settle, confirmed=True)
        current = self._still_there([r for r in results if not r.moved], settle)
        refused: dict[int, Fault] = {}
        # A task that failed has labels and a priority only if its agent saved them itself.
        to_save = [r for r in current if r.labels is not None]
        to_prioritise = [r for r in current if r.priority is not None and not r.prioritised]
        if to_save and to_prioritise:
            self._run_both(lambda: self._save(to_save, refused), lambda: self._prioritise(to_prioritise, refused))
        else:
            self._save(to_save, refused)
            self._prioritise(to_prioritise, refused)
        to_move = []
        for result in current:
            if (fault := refused.get(id(result))) is not None:
                settle(result, Failed(fault))
            elif result.pathway is not None and (result.fault is None or self._may_dead_letter()):
                to_move.append(result)
            else:
                settle(result, Failed(result.fault) if result.fault else Held())
        if to_move and may_move():
            self._move(to_move, settle)

    def _still_there(self, results: Sequence[Result], settle: Settle) -> list[Result]:
        """Return the results that may be written: of tasks that are still in their stage, and whose labels nobody else
        has saved. Only tasks not seen there lately are checked."""
        now = self._gate.clock()
        stale = [r for r in results if self._gate.age(r.context.seen_at) >= self._gate.timing.stale_after]
        found = overtaken(self._loader, self._gate, [(r.context, r.labels is not None, r.label_row) for r in stale])
        for result in stale:
            context = result.context
            if id(context) not in found:
                context.seen_at = now
            elif (error := found[id(context)]) is not None:
                settle(result, Failed(_fault(result, Phase.SAVE, error)))
            else:
                more = "more " if context.held is not None and context.held.sent else ""
                self._settle_gone(
                    result, settle, f"the task left the stage while its agent ran; nothing {more}was written"
                )
        return [r for r in results if id(r.context) not in found]

    def _save(self, results: Sequence[Result], refused: dict[int, Fault]) -> None:
        limits = self._gate.limits
        for part in (part for alike in validated_apart(results, _labels) for part in by_weight(alike, _labels, limits)):
            for items, reply in self._gate.each(part, self._save_bundle, kind="save"):
                _note(items, reply, refused)
                for result in items if reply.error is None else ():
                    result.labels = None

    def _save_bundle(self, results: Sequence[Result]) -> None:
        send_together(_labels(result) for result in results if not _is_superseded(result, "save"))

    def _prioritise(self, results: Sequence[Result], refused: dict[int, Fault]) -> None:
        listed = self._listed(results, refused)
        for items, reply in self._gate.each(listed, self._priority_bundle, kind="priorities"):
            _note(items, reply, refused)
            for result in items:
                result.prioritised = reply.error is None

    def _listed(self, results: Sequence[Result], refused: dict[int, Fault]) -> list[Result]:
        """Return the results that have a label row to set a priority on."""
        # An agent that needs no label row may still set a priority, which the SDK sets on label rows.
        rowless = [r.context for r in results if r.context.row is None]
        if rowless:
            self._loader.list_rows(rowless)
        listed = []
        for result in results:
            if result.context.row is None:
                trouble = result.context.trouble
                assert trouble is not None
                refused[id(result)] = replace(trouble, phase=Phase.SAVE, attempt=result.context.attempts)
            else:
                listed.append(result)
        return listed

    def _priority_bundle(self, results: Sequence[Result]) -> None:
        send_together(_pack_priority(result) for result in results if not _is_superseded(result, "priorities"))

    def _move(self, results: Sequence[Result], settle: Settle) -> None:
        """Send tasks down their pathways: once each, even if answers are lost."""
        # If an interrupt came between a move and its answer, the move may have been made.
        results = self._still_to_move(results, [r for r in results if r.move_unclear], settle)
        pending: list[tuple[Sequence[Result], Troubles]] = [(results, Troubles("actions"))] if results else []
        forbidden = 0
        while pending:
            part, troubles = pending.pop(0)
            unclear_before = [r.move_unclear for r in part]
            for result in part:  # before the request: an interrupt may come before its answer
                result.move_unclear = True
            reply = self._gate.send(partial(self._proceed, part), kind="actions")
            if reply.error is None:
                for result in part:  # first of all: an interrupt may come between any two lines
                    result.moved = True
            # Only the platform can say that nothing was moved. Any other error may have come after the move.
            if reply.error is None or (
                isinstance(reply.error, EncordException | CertificateError) and reply.verdict is not Verdict.OUTAGE
            ):
                for result, unclear in zip(part, unclear_before, strict=True):
                    result.move_unclear = unclear
            if reply.error is None:
                for result in part:
                    self._settle_moved(result, settle, confirmed=True)
                continue
            meaning = reply.verdict
            if meaning in END_ALL:
                raise SetUpError(reply.error) from reply.error
            if meaning is Verdict.TOO_LARGE and len(part) > 1:
                pending[:0] = split(part, troubles)
                continue
            if meaning in (Verdict.OUTAGE, Verdict.RATE_LIMIT):
                self._gate.recover(troubles, reply.error)
                if meaning is Verdict.RATE_LIMIT:
                    pending.insert(0, (part, troubles))
                    continue
            stay = self._still_to_move(part, part, settle)
            patient = meaning is Verdict.OUTAGE and not troubles.hopeless
            if not stay:
                continue
            if patient and len(stay) == 1 and troubles.tries >= self._gate.limits.tries:
                # The other requests will show whether this one or the platform is to blame.
                pending.append((stay, troubles))
            elif (patient and troubles.tries < self._gate.limits.tries) or len(stay) < len(part):
                # The request was not to blame, or the tasks to blame have left the stage meanwhile.
                pending.insert(0, (stay, troubles))
            elif len(stay) > 1:
                pending[:0] = split(stay, troubles)
            else:
                forbidden += meaning is Verdict.FORBIDDEN
                if forbidden == len(results) > 1 and not self._gate.has_granted("actions"):
                    raise SetUpError(reply.error) from reply.error
                settle(stay[0], Failed(_fault(stay[0], Phase.MOVE, reply.error)))

    def _proceed(self, results: Sequence[Result]) -> None:
        bundle = new_bundle()
        for result in results:
            assert result.pathway is not None
            result.context.task.proceed(pathway_uuid=str(result.pathway.uuid), bundle=bundle)
        bundle.execute()

    def _still_to_move(self, results: Sequence[Result], asked: Sequence[Result], settle: Settle) -> list[Result]:
        """Return the results whose task is still in the stage. Only ``asked`` are checked; the others are kept."""
        if not asked:
            return list(results)
        there, refused = still_in(self._agent.stage, [r.context.task for r in asked], self._gate)
        stay = []
        for result in results:
            uuid = result.context.task.uuid
            if uuid in there or result not in asked:
                stay.append(result)
            elif uuid in refused:
                settle(result, Failed(_fault(result, Phase.MOVE, refused[uuid])))
            else:
                self._settle_gone(result, settle, f"the task left the stage before it could be moved{_written(result)}")
        return stay

    def _settle_gone(self, result: Result, settle: Settle, why: str) -> None:
        """Settle a task that is no longer in the stage, although no answer confirmed its move."""
        if result.move_unclear:
            self._settle_moved(result, settle, confirmed=False)
        else:
            result.context.gone = True
            settle(result, Failed(result.fault) if result.fault is not None else Skipped(why))

    @staticmethod
    def _settle_moved(result: Result, settle: Settle, *, confirmed: bool) -> None:
        assert result.pathway is not None
        moved = Moved(result.pathway, confirmed=confirmed)
        settle(result, moved if result.fault is None else Failed(result.fault, moved_to=result.pathway))


def _written(result: Result) -> str:
    """Return the parts of a result that were written before its move, as the end of a sentence."""
    if result.label_row is not None:
        return f"; its labels {'and its priority ' if result.prioritised else ''}were written"
    return "; its priority was written" if result.prioritised else ""


def _labels(result: Result) -> Parcel:
    assert result.labels is not None
    return result.labels


def _is_superseded(result: Result, kind: Kind) -> bool:
    """Return True if a thread that the agent started, or a later attempt, has saved the row since the result came."""
    return result.context.held is not None and kind in result.context.held.superseded


def _pack_priority(result: Result) -> Parcel:
    assert result.context.row is not None
    assert result.priority is not None
    return packed(result.context.row.set_priority, result.priority)


def _note(results: Sequence[Result], reply: Reply[None], refused: dict[int, Fault]) -> None:
    if reply.error is not None:
        for result in results:
            refused[id(result)] = _fault(result, Phase.SAVE, reply.error)


def _fault(result: Result, phase: Phase, error: Exception) -> Fault:
    if result.fault is not None:  # the earlier fault says more
        if phase is Phase.SAVE and (result.labels is not None or result.priority is not None):
            return Fault(phase, error, result.context.attempts, platform=is_platform_trouble(error))
        add_note(result.fault.exception, f"It could not be moved down its failure pathway: {described(error)}")
        return result.fault
    return Fault(phase, error, result.context.attempts, platform=is_platform_trouble(error))
