"""Dry runs: the writes that were not made, in words."""

from __future__ import annotations

from encord_agents.core.tracebacks import contained
from encord_agents.tasks.engine.context import Result

__all__ = ["dry_summary"]


def dry_summary(result: Result) -> str:
    """Describe the writes that a result would have caused."""
    where = f"move along {result.pathway.name!r}" if result.pathway else "stay in its stage"
    parts = [where]
    if result.label_row is not None:
        row = result.label_row
        labels = "its labels"
        with contained:  # as in `weight_of`
            objects, classifications = len(row.get_object_instances()), len(row.get_classification_instances())
            labels = f"{_counted(objects, 'object')} and {_counted(classifications, 'classification')}"
        parts.append(f"save {labels}")
    if result.priority is not None:
        parts.append(f"set its priority to {result.priority:g}")
    return "would " + ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
