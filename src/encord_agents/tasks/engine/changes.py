"""Tasks that others have moved, or whose labels they have saved, since they were seen: nothing of them is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from encord.objects import LabelRowV2

from encord_agents.core.legible import on_a_line
from encord_agents.core.logs import get_logger
from encord_agents.tasks.engine.context import Context
from encord_agents.tasks.engine.gate import Gate
from encord_agents.tasks.engine.load import Loader
from encord_agents.tasks.engine.poll import still_in

__all__ = ["LabelsChangedError", "changed_labels", "overtaken"]

logger = get_logger(__name__)


class LabelsChangedError(ValueError):
    """Somebody saved a task's labels while its agent ran on older ones."""


def overtaken(
    loader: Loader, gate: Gate, stale: Sequence[tuple[Context, bool, LabelRowV2 | None]]
) -> dict[int, Exception | None]:
    """Return why tasks of a stage must not be written, by the context's id; ``None``: the task has left the stage.

    Args:
        stale: The tasks, whether labels are to be saved, and the rows of these if they are not the tasks' own.

    Raises:
        SetUpError, OutageError, NoRoomError, Leaving: See `Gate.each`.
    """
    if not stale:
        return {}
    there, refused = still_in(stale[0][0].agent.stage, [context.task for context, _, _ in stale], gate)
    found: dict[int, Exception | None] = {
        id(context): refused.get(context.task.uuid) for context, _, _ in stale if context.task.uuid not in there
    }
    to_save = [(context, row) for context, saves, row in stale if saves and id(context) not in found]
    return found | changed_labels(loader, to_save, gate.timing.same_edit)


def changed_labels(
    loader: Loader, to_save: Sequence[tuple[Context, LabelRowV2 | None]], same_edit: float
) -> dict[int, LabelsChangedError]:
    """Return an error for each task whose labels somebody has saved since they were loaded, by the context's id.

    An agent that made requests with the runner's client may have saved them itself, which is only logged.

    Args:
        to_save: The tasks, and the rows that are to be saved if they are not the tasks' own.
        same_edit: Seconds; saves less far apart count as one.
    """
    listed = [Context(context.agent, context.task, context.seen_at) for context, _ in to_save]
    loader.list_rows(listed, required=False)
    found = {}
    for (context, row), now in zip(to_save, listed, strict=True):
        changed_at = None if now.row is None else _edited_since(context, row, now.row, timedelta(seconds=same_edit))
        if changed_at is None:
            continue
        if not context.used_client:
            found[id(context)] = LabelsChangedError(
                f"Somebody saved the labels of {context.task.data_title!r} at {changed_at:%H:%M:%S} UTC, while the "
                "agent ran. Theirs stand: nothing was saved or moved. The next run begins with them."
            )
            continue
        logger.warning(
            "%s (%s): its labels were saved at %s, while the agent ran: by the agent, or by somebody whose labels "
            "are overwritten now. An agent that returns its label row need not save it.",
            *(on_a_line(context.task.data_title), context.task.uuid, changed_at),
        )
    return found


def _edited_since(
    context: Context, to_save: LabelRowV2 | None, row: LabelRowV2, same_edit: timedelta
) -> datetime | None:
    """Return the time of a save since labels were loaded, as the platform lists it now; ``None`` if there was none."""
    edited_at = _utc(row.last_edited_at)
    if edited_at is None:
        return None
    saved = to_save or context.row  # the agent may have listed and loaded the row that it returns itself
    listed_at = context.edited_at if saved is context.row else None
    # If there were no labels yet, loading has created them.
    known = [listed_at or row.created_at, None if saved is None else saved.last_edited_at]
    loaded = [at for one in known if (at := _utc(one)) is not None]
    return edited_at if loaded and edited_at - max(loaded) >= same_edit else None


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
