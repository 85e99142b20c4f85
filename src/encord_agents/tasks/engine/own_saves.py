"""Agents' own saves: sent when they are made, or held and sent together with others.

The saves of an attempt are held by its task (`Held`), and are sent at one of three times: before another request of the
attempt, so that the agent reads its own writes; with the task's result, before it moves; or at the end of the stage, if
an attempt was interrupted and has no result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.core.sdk.bundle import Parcel
from encord_agents.core.sdk.entrusted import can_hold_saves
from encord_agents.core.tracebacks import add_note, described
from encord_agents.exceptions import CertificateError, NoRoomError, OutageError
from encord_agents.tasks.engine.changes import overtaken
from encord_agents.tasks.engine.context import Context, Result
from encord_agents.tasks.engine.events import TaskRef
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.held import KINDS, Held, Kind, send_together, validated_apart
from encord_agents.tasks.engine.load import Loader
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.verdict import is_platform_trouble
from encord_agents.tasks.engine.weight import by_weight

__all__ = ["OwnSaves"]

logger = get_logger(__name__)


@dataclass(eq=False)
class OwnSaves:
    """Handles agents' own saves in the run of a stage.

    Args:
        loader: Lists label rows, to find those that somebody else has saved.
        bundled: Hold them, and send them together with others.
        dry_run: Do not send them at all. Only with ``bundled``.
    """

    gate: Gate
    loader: Loader
    bundled: bool = False
    dry_run: bool = False
    _at_work: dict[int, Context] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bundled = self.bundled and can_hold_saves()
        self.dry_run = self.dry_run and self.bundled

    def begin(self, context: Context) -> Held:
        """Begin an attempt of a task."""
        held = context.held
        if held is None:
            held = context.held = Held(
                self.gate,
                bundled=self.bundled,
                dry_run=self.dry_run,
                before=partial(self.drop_overtaken, [context]),
            )
        held.begin(context.row, context.in_part, context.agent.plan.name)
        if self.bundled:  # noted before the agent is called: an interrupt leaves no other trace of its saves
            self._at_work[id(context)] = context
        return held

    def refusal(self, context: Context) -> Fault | None:
        """Return the fault of a task if a save that was to be sent before it had a result was refused."""
        if context.held is None or (error := context.held.refused) is None:
            return None
        return Fault(Phase.SAVE, error, context.attempts, platform=is_platform_trouble(error))

    def see_to(self, context: Context, ended: Result | Fault) -> Result | Fault:
        """Attach an attempt's own saves to its result, or return the fault of a save that was refused already."""
        if (refused := self.refusal(context)) is not None:
            if context.held is not None:
                context.held.let_go()
            if isinstance(ended, Fault):
                add_note(refused.exception, f"After that, the attempt failed: {described(ended.exception)}")
            return refused
        return self._with_contents(ended) if isinstance(ended, Result) else ended

    def finally_failed(self, context: Context, verdict: Result | Fault) -> Result | Fault:
        """Attach the agent's own saves to the verdict on a task that is not tried again, so that they are written."""
        if isinstance(verdict, Fault):
            if not context.held:
                return verdict
            verdict = Result(context, fault=verdict, finished_at=self.gate.clock())
        return self._with_contents(verdict)

    def _with_contents(self, result: Result) -> Result:
        """Attach the held saves to a result, unless the agent returned something newer."""
        if (held := result.context.held) is None:
            return result
        held.with_result = True
        # They stay held until the task has its outcome: an interrupt may come before the result is stored.
        if result.labels is None and (labels := held.parcel("save")) is not None:
            result.labels, result.label_row, result.oddity = labels, held.row, held.oddity
        if result.priority is None and (priority := held.parcel("priorities")) is not None:
            ((_, result.priority),) = priority.payload.priorities
        return result

    def finished(self, context: Context) -> None:
        """Release the saves of a task that has its outcome: they were written with its result, or never will be."""
        if context.held is not None and context.held.with_result:
            context.held.let_go()
        if not context.held:  # otherwise they are sent at the end of the stage
            self._at_work.pop(id(context), None)

    # Saves without a result

    def send(self, contexts: Iterable[Context]) -> None:
        """Send the saves of some tasks' last attempts, before these tasks wait for long or are loaded again.

        Raises:
            SetUpError, OutageError, NoRoomError, Leaving: See `Gate.each`. Unsent parcels are still held.
        """
        if self.dry_run:
            return
        contexts = [context for context in contexts if context.held]
        self.drop_overtaken(contexts)
        held = [one for context in contexts if (one := context.held)]
        for kind in KINDS:
            parcels = [(one, parcel) for one in held if (parcel := one.parcel(kind)) is not None]
            alike = validated_apart(parcels, _parcel)
            for chunk in (chunk for some in alike for chunk in by_weight(some, _parcel, self.gate.limits)):
                for part, reply in self.gate.each(chunk, partial(_send_current, kind), kind=kind):
                    for one, parcel in part:
                        one.sent = True
                        one.refused = one.refused or reply.error
                        one.let_go(parcel)  # only this one: a newer save may be held by now

    def drop_overtaken(self, contexts: Iterable[Context]) -> None:
        """Release the saves of tasks that have left their stage meanwhile, or whose labels somebody else has saved.

        As for results, the platform is asked only about tasks that were seen in their stage a while ago.

        Raises:
            SetUpError, OutageError, NoRoomError, Leaving: See `Gate.each`.
        """
        stale = [
            (context, held)
            for context in contexts
            if (held := context.held) and self.gate.age(context.seen_at) >= self.gate.timing.stale_after
        ]
        asked = [(context, held.parcel("save") is not None, held.row) for context, held in stale]
        found = overtaken(self.loader, self.gate, asked)
        for context, held in stale:
            if id(context) not in found:
                continue
            if (error := found[id(context)]) is not None:
                held.refused = held.refused or error
            else:
                logger.warning(
                    "%s (%s): the task left the stage while its agent ran; what the agent has saved by its own hand "
                    "since is not written.",
                    *(on_a_line(context.task.data_title), context.task.uuid),
                )
            held.let_go()

    def send_rest(self, unwritten: list[TaskRef]) -> None:
        """Send the saves of interrupted attempts, at the end of a stage.

        Args:
            unwritten: The list to which tasks are added whose saves could not be sent.
        """
        at_work = [(one, one.held) for one in self._at_work.values() if one.held and one.ref not in unwritten]
        self._at_work.clear()
        for _, held in at_work:
            held.end()  # threads that agents left behind may still save: from now on, with requests of their own
        if self.dry_run:
            return
        try:
            self.send(context for context, _ in at_work)
        except (Leaving, NoRoomError, OutageError, CertificateError, SetUpError) as error:
            logger.debug("What interrupted attempts have saved could not all be sent: %s", on_a_line(described(error)))
        finally:
            for context, held in at_work:
                if not held and held.refused is None:
                    continue
                logger.warning(
                    "%s (%s): what its agent has saved by its own hand is not written%s.",
                    on_a_line(context.task.data_title),
                    context.task.uuid,
                    "" if held.refused is None else f": {on_a_line(described(held.refused))}",
                )
                if context.ref not in unwritten:
                    unwritten.append(context.ref)


def _parcel(held: tuple[Held, Parcel]) -> Parcel:
    return held[1]


def _send_current(kind: Kind, parcels: Iterable[tuple[Held, Parcel]]) -> None:
    # While others were sent, a thread that the agent started may have sent something newer.
    send_together(parcel for one, parcel in parcels if one.parcel(kind) is parcel)
