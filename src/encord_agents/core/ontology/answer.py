"""A checked answer: its attributes with their values, and their transfer onto a label row."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

from encord.constants.enums import is_geometric
from encord.objects import LabelRowV2
from encord.objects.attributes import Attribute
from encord.objects.classification import Classification
from encord.objects.classification_instance import ClassificationInstance
from encord.objects.coordinates import Coordinates
from encord.objects.frames import Frames, Range, frames_class_to_frames_list
from encord.objects.ontology_object import Object
from encord.objects.ontology_object_instance import ObjectInstance

from encord_agents.core.ontology.fields import HASH, Checklist, Field, Radio
from encord_agents.exceptions import PrintableError

__all__ = ["Answer", "Setting", "settings_in"]

Setting = tuple[Attribute[Any], Any]
"""An attribute and its value: text, a number, an option, or a list of options."""


def settings_in(fields: Sequence[Field], data: Mapping[str, Any]) -> Iterator[Setting]:
    """Yield each attribute with its value in an answer of the schema's form; nested ones follow their parents."""
    for one in fields:
        if one.key not in data:
            continue
        answer = data[one.key]
        if isinstance(one, Checklist):
            yield one.attribute, [option for key, option in one.options.items() if answer[key]]
        elif not isinstance(one, Radio):
            yield one.attribute, answer["value"]
        elif one.nested:
            inner = answer["choice"]
            (choice,) = (choice for choice in one.choices if choice.hash == inner[HASH])
            yield one.attribute, choice.element
            yield from settings_in(choice.fields, inner)
        else:
            yield one.attribute, next(c.element for c in one.choices if c.title == answer["choice"])


@dataclass(frozen=True)
class Answer:
    """A model's answer, checked by `OntologyDataModel.read`.

    Attributes:
        data: The answer in the form of the schema.
        parts: Each classification or object that it is about, with its attributes and their values.
        about_object: True if it is about an object.
    """

    data: Mapping[str, Any]
    parts: tuple[tuple[Classification | Object, tuple[Setting, ...]], ...] = field(repr=False)
    about_object: bool = field(repr=False)

    def classification_instances(self, *, range_only: bool = False) -> list[ClassificationInstance]:
        """Return new instances of the answered classifications, on no label row and no frame yet.

        Args:
            range_only: Make instances for audio or text, whose label rows accept no others.
        """
        instances = []
        for element, settings in self.parts:
            if isinstance(element, Classification):
                instance = element.create_instance(range_only=range_only)
                _set(instance, settings)
                instances.append(instance)
        return instances

    def object_instance(self) -> ObjectInstance:
        """Return a new instance of the object, on no label row and without coordinates yet.

        Dynamic attributes belong to frames, so they are set by `add_to` and `apply_to` only.

        Raises:
            PrintableError: The answer is about classifications.
        """
        ((element, settings),) = self._object()
        instance = element.create_instance()
        _set(instance, [setting for setting in settings if not setting[0].dynamic])
        return instance

    def add_to(
        self,
        label_row: LabelRowV2,
        frames: Frames | Iterable[SupportsIndex] | SupportsIndex | None = None,
        *,
        coordinates: Coordinates | None = None,
        replace: bool = False,
        confidence: float = 1.0,
        manual_annotation: bool = False,
    ) -> list[ClassificationInstance] | list[ObjectInstance]:
        """Put the answer on a label row whose labels are loaded.

        Args:
            label_row: The label row.
            frames: The frames: a number, numbers in a list, a ``range`` or the like, or the SDK's ranges. Default: all
                frames; for audio or text, the whole file.
            coordinates: The object's coordinates on these frames; required for an answer about an object, and not
                allowed otherwise.
            replace: Remove the row's existing answers, on these frames, to the classifications of this answer. Without
                it, an existing answer is an error.
            confidence: The model's confidence, from 0 to 1.
            manual_annotation: Mark the labels as made by a person.

        Returns:
            The new instances, for further changes.

        Raises:
            PrintableError: An object has no coordinates; a classification is already answered there; or ``frames`` are
                none, or not on the row. The label row is then unchanged.
        """
        geometric = is_geometric(label_row.data_type)
        if frames is None:
            frames = Range(0, max(label_row.number_of_frames, 1) - 1) if geometric else Range(0, 0)
        else:
            frames = _as_frames(frames)
            if geometric:
                _check_frames(label_row, frames)
        marks: dict[str, Any] = {"confidence": confidence, "manual_annotation": manual_annotation}
        if self.about_object:
            if coordinates is None:
                raise PrintableError("The answer is about an object: say where it is, with coordinates=...")
            new = self.object_instance()
            new.set_for_frames(coordinates, frames=frames, **marks)
            label_row.add_object_instance(new)
            self.apply_to(new, frames)
            return [new]
        if coordinates is not None:
            raise PrintableError("The answer is about classifications, which have no coordinates.")
        instances = self.classification_instances(range_only=not geometric)
        for instance in instances:
            instance.set_for_frames(frames, **marks)
        for instance in instances:
            _make_way(label_row, instance.ontology_item, frames, replace=replace)
        for instance in instances:
            label_row.add_classification_instance(instance)
        return instances

    def apply_to(
        self, instance: ObjectInstance, frames: Frames | Iterable[SupportsIndex] | SupportsIndex | None = None
    ) -> None:
        """Set the attributes of an existing object; earlier answers are overwritten.

        Args:
            instance: An instance of the object that the answer is about.
            frames: The frames on which dynamic attributes get these values, as in `add_to`. Default: all frames of the
                object.

        Raises:
            PrintableError: The answer is about classifications, or about another object; or ``frames`` are none.
        """
        frames = None if frames is None else _as_frames(frames)
        ((element, settings),) = self._object()
        if element.feature_node_hash != instance.ontology_item.feature_node_hash:
            raise PrintableError(
                f"The answer is about an object {element.title!r}, and this is one of {instance.object_name!r}."
            )
        for attribute, value in settings:
            instance.set_answer(value, attribute, frames=frames if attribute.dynamic else None, overwrite=True)

    def _object(self) -> list[tuple[Object, tuple[Setting, ...]]]:
        found = [(element, settings) for element, settings in self.parts if isinstance(element, Object)]
        if not found:
            raise PrintableError("The answer is about classifications, not about an object.")
        return found


def _set(instance: ClassificationInstance | ObjectInstance, settings: Sequence[Setting]) -> None:
    for attribute, value in settings:
        instance.set_answer(value, attribute)


def _as_frames(frames: Any) -> Frames:
    """Return frames as the types that the SDK accepts."""
    if isinstance(frames, Range):
        return frames
    try:
        return operator.index(frames)  # accepts numpy's integers, too
    except TypeError:
        pass
    try:
        listed = list(frames)
        if listed and all(isinstance(one, Range) for one in listed):
            return listed
        numbers = [operator.index(one) for one in listed]
    except TypeError:
        raise PrintableError(
            f"frames=... is of type {type(frames).__name__}: give a number, numbers in a list, or the SDK's Range."
        ) from None
    if not numbers:
        raise PrintableError("frames=... has no frame: give at least one, or None for all.")
    return numbers


def _check_frames(label_row: LabelRowV2, frames: Frames) -> None:
    """Refuse frames that a row does not have. The SDK would accept them, since the instance is on no row yet."""
    count = label_row.number_of_frames
    beyond = [frame for frame in frames_class_to_frames_list(frames) if not 0 <= frame < max(count, 1)]
    if beyond and count:
        raise PrintableError(
            f"{label_row.data_title!r} has {count} frames (0 to {count - 1}), so there is no frame {beyond[0]}."
        )


def _is_global(instance: ClassificationInstance) -> bool:
    """Return True if an answer applies to the whole row. Older SDKs have no such answers."""
    asked: Any = getattr(instance, "is_global", None)
    return bool(asked()) if asked is not None else False


def _is_on(instance: ClassificationInstance, frames: Frames) -> bool:
    """Return True if an answer is on any of these frames. Older SDKs have no method for this."""
    asked: Any = getattr(instance, "is_on_frame", None)
    if asked is not None:
        return bool(asked(frames))
    wanted = set(frames_class_to_frames_list(frames))
    if instance.is_range_only():
        return any(one.start <= frame <= one.end for one in instance.range_list for frame in wanted)
    return not wanted.isdisjoint(annotation.frame for annotation in instance.get_annotations())


def _make_way(label_row: LabelRowV2, classification: Classification, frames: Frames, *, replace: bool) -> None:
    """Remove other instances of a classification from some frames, or refuse if there are any."""
    for other in label_row.get_classification_instances(classification):
        if not (_is_global(other) or _is_on(other, frames)):
            continue
        if not replace:
            raise PrintableError(
                f"{label_row.data_title!r} has an answer to {classification.title!r} already.\n"
                "To replace it, give add_to(..., replace=True)."
            )
        here: set[int] = set()
        if not (_is_global(other) or other.is_range_only()):
            here = {annotation.frame for annotation in other.get_annotations()}
        shared = here.intersection(frames_class_to_frames_list(frames))
        if shared == here:
            label_row.remove_classification(other)
        else:
            other.remove_from_frames(sorted(shared))
