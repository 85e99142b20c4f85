"""Recognition of objects that an agent has drawn, by a mark in each object's hash.

A hash is six bytes as text. In the hash of an object that `add_detections` draws, the first three bytes are derived
from the detector's name; the others are random. The mark is saved with the labels, so no separate list is needed.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64encode

from encord.objects import LabelRowV2
from encord.objects.ontology_object_instance import ObjectInstance

__all__ = ["drawn_before", "new_hash", "take_off"]


def _mark(source: str) -> str:
    return b64encode(hashlib.sha256(source.encode()).digest()[:3]).decode()


def new_hash(source: str) -> str:
    """Return a hash for a new object; one in 16 million is the same as another one."""
    return _mark(source) + b64encode(os.urandom(3)).decode()


def drawn_before(label_row: LabelRowV2, source: str, frame: int) -> list[ObjectInstance]:
    """Return the objects on a frame that ``source`` has drawn and nobody has changed there since."""
    mark = _mark(source)
    found = []
    for instance in label_row.get_object_instances(filter_frames=frame):
        if instance.object_hash.startswith(mark):
            annotation = instance.get_annotation(frame)
            edited = None not in (annotation.created_by, annotation.last_edited_by) and (
                annotation.created_by != annotation.last_edited_by
            )
            if not annotation.manual_annotation and not edited:
                found.append(instance)
    return found


def take_off(label_row: LabelRowV2, instance: ObjectInstance, frame: int) -> None:
    """Remove an object from a frame, and from the row if it is on no other frame."""
    if len(instance.get_annotation_frames()) > 1:
        instance.remove_from_frames(frame)
    else:
        label_row.remove_object(instance)
