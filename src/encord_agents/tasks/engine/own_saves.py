"""Agents' own saves: sent when they are made, or held and sent together with others.

The saves of an attempt are held by its task (`Held`), and are sent at one of three times: before another request of the
attempt, so that the agent reads its own writes; with the task's result, before it moves; or at the end of the stage, if
an attempt was interrupted and has no result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from encord_agents.core.legible import on_one_line
from encord_agents.core.sdk import Parcel, can_hold_saves
from encord_agents.core.tracebacks import add_note, described
from encord_agents.exceptions import CertificateError, NoRoomError, OutageError
from encord_agents.tasks.engine.context import ODD_LABELS, Context, Result
from encord_agents.tasks.engine.events import TaskRef
from encord_agents.tasks.engine.gate import Gate, SetUpError
from encord_agents.tasks.engine.held import Held, send_together
from encord_agents.tasks.engine.outcome import Fault, Phase
from encord_agents.tasks.engine.stop import Leaving
from encord_agents.tasks.engine.verdict import is_platform_trouble

__all__ = ["OwnSaves", "is_validated"]

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class OwnSaves:
    """The treatment of agents' own saves in a run.

    Args:
        bundled: Hold them, and send them together with others.
        dry_run: Do not send them at all. Only with ``bundled``.
    """

    gate: Gate
    bundled: bool = False
    dry_run: bool = False
    _at_work: dict[int, Context] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bundled = self.bundled and can_hold_saves()

    def begin(self, context: Context) -> Held:
        """Begin an attempt of a task."""
        held = context.held
        if held is None:
            held = context.held = Held(self.gate, bundled=self.bundled, dry_run=self.dry_run)
        held.begin(context.row, context.in_part, context.agent.plan.name)
        if self.bundled:
            self._at_work[id(context)] = context
        return held

    def refusal(self, context: Context) -> Fault | None:
        """Return the fault of a task if a save that was sent while its agent ran was refused."""
        if context.held is None or (error := context.held.refused) is None:
            return None
        return Fault(Phase.SAVE, error, context.attempts, platform=is_platform_trouble(error))

    def see_to(self, context: Context, ended: Result | Fault) -> Result | Fault:
        """Attach an attempt's own saves to its result; a save that was refused already is its fault."""
        if (refused := self.refusal(context)) is not None:
            if context.held is not None:
                context.held.let_go()
            if isinstance(ended, Fault):
                add_note(refused.exception, f"After that, the attempt failed: {described(ended.exception)}")
            return refused
        return self._with_contents(ended) if isinstance(ended, Result) else ended

    def finally_failed(self, context: Context, verdict: Result | Fault) -> Result | Fault:
        """Have the agent's own saves written for a task that is not tried again."""
        if isinstance(verdict, Fault):
            if not context.held:
                return verdict
            verdict = Result(context, fault=verdict, finished_at=self.gate.clock())
        return self._with_contents(verdict)

    def _with_contents(self, result: Result) -> Result:
        """Have a result take over the held contents, unless the agent returned something newer."""
        if (held := result.context.held) is None:
            return result
        contents = held.contents  # held until the task has its outcome: an interrupt may come before the result is kept
        if result.labels is None and contents.labels is not None:
            result.labels, result.label_row = contents.labels, contents.row
            if ODD_LABELS not in result.context.agent.warned:
                result.oddity = held.oddity
        held.with_result = True
        if result.priority is None and contents.priority is not None:
            ((_, result.priority),) = contents.priority.payload.priorities
        return result

    def finished(self, context: Context) -> None:
        """Release the saves of a task that has its outcome: they were written with its result, or never will be."""
        if context.held is not None and context.held.with_result:
            context.held.let_go()
        if not context.held:
            self._at_work.pop(id(context), None)

    # Without a result to go with

    def send(self, contexts: Iterable[Context]) -> None:
        """Send the saves of some tasks' last attempts, before these tasks wait for long or are loaded anew.

        Raises:
            SetUpError, OutageError, NoRoomError, Leaving: As `Gate.each`. Unsent contents are still held.
        """
        if self.dry_run:
            return
        held = [one for context in contexts if (one := context.held)]
        for kind in ("save", "priorities"):
            for alike in _alike(held, kind):
                for part, reply in self.gate.each(alike, _send, kind=kind):
                    for one, parcel in part:
                        one.sent = True
                        one.refused = one.refused or reply.error
                        one.let_go(parcel)

    def send_rest(self, unwritten: list[TaskRef]) -> None:
        """Send the saves of interrupted attempts, at the end of a stage.

        Args:
            unwritten: The list to which tasks are added whose saves could not be sent.
        """
        rest = [context for context in self._at_work.values() if context.held and context.ref not in unwritten]
        self._at_work.clear()
        for context in rest:
            if context.held is not None:
                context.held.end()
        if self.dry_run:
            return
        try:
            self.send(rest)
        except (Leaving, NoRoomError, OutageError, CertificateError, SetUpError) as error:
            logger.debug("What interrupted attempts have saved could not all be sent: %s", described(error))
        finally:
            unsent = [one for one in rest if one.held is not None and (one.held or one.held.refused is not None)]
            for one in unsent:
                refused = one.held.refused if one.held is not None else None
                logger.warning(
                    "%s (%s): what its agent has saved by its own hand is not written%s.",
                    on_one_line(one.task.data_title),
                    one.task.uuid,
                    "" if refused is None else f": {on_one_line(described(refused))}",
                )
                if one.ref not in unwritten:
                    unwritten.append(one.ref)


def _alike(held: Sequence[Held], kind: str) -> list[list[tuple[Held, Parcel]]]:
    """Group parcels of a kind into requests. Labels that are to be validated go apart: validation is per request."""
    if kind == "priorities":
        return [[(one, parcel) for one in held if (parcel := one.contents.priority) is not None]]
    labels = [(one, parcel) for one in held if (parcel := one.contents.labels) is not None]
    return [[one for one in labels if is_validated(one[1]) is wanted] for wanted in (False, True)]


def is_validated(parcel: Parcel) -> bool:
    """Return True if labels are to be validated by the platform before they are saved."""
    return bool(getattr(parcel.payload, "validate_before_saving", False))


def _send(part: Sequence[tuple[Held, Parcel]]) -> None:
    send_together([parcel for _, parcel in part])
