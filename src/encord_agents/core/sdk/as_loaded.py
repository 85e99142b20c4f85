"""A row's labels as they were loaded, to detect whether an attempt changed them, and to restore them.

They are kept as the pickled response of the platform, not as a copy of the SDK's objects: that costs a thirtieth of
loading them (0.8 ms and 0.4 MB for a thousand boxes), and an agent's changes to the objects do not affect it. The row
is not requested again: it would then contain the labels that the failed attempt saved itself, and the retry would draw
them a second time.

Read from encord 0.1.180 and 0.1.211: `LabelRowV2.from_labels_dict` makes new objects and classifications, in the
dictionaries that are named below, and replaces ``_label_row_read_only_data`` with another object.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

from encord.objects import ClassificationInstance, LabelRowV2, ObjectInstance

from encord_agents.core.sdk.bundle import BUNDLE
from encord_agents.core.sdk.seam import Seam, names_in

__all__ = ["AS_LOADED", "LoadedLabels", "can_keep_labels", "state_of"]

DATES = frozenset({"createdAt", "lastEditedAt"})
"""Fields that the SDK fills with the current time if the platform sent none."""

OBJECTS = ("_objects_map", "_space_objects_map")
CLASSIFICATIONS = ("_classifications_map", "_space_classifications_map")

STATE = "_label_row_read_only_data"

Instance = ObjectInstance | ClassificationInstance


def _differences() -> Iterator[str]:
    anew = names_in(LabelRowV2.from_labels_dict)
    missing = {STATE, OBJECTS[0], CLASSIFICATIONS[0]} - {*anew}
    if missing:
        yield f"LabelRowV2.from_labels_dict() does not set {', '.join(sorted(missing))}"
    if "_parent" not in names_in(ObjectInstance.__init__) or "_parent" not in names_in(ClassificationInstance.__init__):
        yield "objects and classifications have no _parent"
    if "_dynamic_answer_manager" not in names_in(ObjectInstance.__init__):
        yield "ObjectInstance has no _dynamic_answer_manager"


AS_LOADED = Seam(
    does="has a row as it was loaded, without asking for it again",
    read_from=("0.1.180", "0.1.211"),
    reads=(
        "encord.objects.LabelRowV2.from_labels_dict",
        "encord.objects.ObjectInstance.__init__",
        "encord.objects.ClassificationInstance.__init__",
    ),
    differences=_differences,
    otherwise="whether an attempt changed a row is not told, and restore_labels loads it from the platform",
)


def can_keep_labels() -> bool:
    """Return True if a row's labels can be kept as they were loaded, by bundles that show the platform's responses."""
    return BUNDLE.holds and AS_LOADED.holds


def state_of(row: LabelRowV2) -> object:
    """Return an object that the SDK replaces with another one whenever it loads a row's labels again.

    If the SDK does not do so, return the row itself: the row then always counts as loaded only once.
    """
    return row._label_row_read_only_data if AS_LOADED.holds else row


class LoadedLabels:
    """The labels of one row, and the objects and classifications that the SDK made from them.

    Args:
        row: The row, just initialised.
        answer: The platform's response, pickled before the SDK used it.
    """

    def __init__(self, row: LabelRowV2, answer: bytes) -> None:
        self._answer = answer
        self._read_only = row._label_row_read_only_data
        self._instances = _instances(row)

    def differ_from(self, row: LabelRowV2) -> bool:
        """Return True if the row's labels have changed. Takes as long as loading the row and saving it twice.

        Rows with spaces (groups, scenes) are assumed to be unchanged: their contents cannot be read twice.
        """
        try:
            if getattr(row, "_space_map", None) or row.data_type.value == "scene":
                return False
            now = row.to_encord_dict()
            as_loaded = copy.copy(row)
            as_loaded.from_labels_dict(pickle.loads(self._answer))
            return not _same(as_loaded.to_encord_dict(), now)
        except Exception:  # noqa: BLE001 - as loaded, it could be serialised: it has changed
            return True

    def restore(self, row: LabelRowV2) -> None:
        """Restore the row as it was loaded, with the same instances, including those that were removed since.

        Instances that were added since then belong to no row any more, and may be added again.
        """
        added = {id(instance): instance for instance in _instances(row).values()}
        for instance in self._instances.values():
            added.pop(id(instance), None)
        for instance in added.values():
            instance._parent = None
            getattr(instance, "_spaces", {}).clear()
        row.from_labels_dict(pickle.loads(self._answer))
        row._label_row_read_only_data = self._read_only
        for names in (OBJECTS, CLASSIFICATIONS):
            for instances in _maps(row, names):
                for name, fresh in instances.items():
                    before = self._instances.get((names, name))
                    if before is not None and before is not fresh:
                        _become(before, fresh)
                        instances[name] = before


def _maps(row: LabelRowV2, names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for holder in (row, *getattr(row, "_space_map", {}).values()):
        for name in names:
            yield getattr(holder, name, {})


def _instances(row: LabelRowV2) -> dict[tuple[tuple[str, ...], str], Instance]:
    return {
        (names, name): instance
        for names in (OBJECTS, CLASSIFICATIONS)
        for instances in _maps(row, names)
        for name, instance in instances.items()
    }


def _become(instance: Instance, other: Instance) -> None:
    """Give an instance the state of another one, to which no other code has a reference."""
    vars(instance).clear()
    vars(instance).update(vars(other))
    if isinstance(instance, ObjectInstance):
        instance._dynamic_answer_manager._object_instance = instance


def _same(one: Any, other: Any) -> bool:
    """Return True if two rows' labels are equal, apart from dates."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one if key not in DATES)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
