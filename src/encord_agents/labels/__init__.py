"""Detections <-> labels: detectors' results drawn on label rows, and label rows as detections."""

from __future__ import annotations

from encord_agents.labels.detections import Detections
from encord_agents.labels.drawing import add_detections
from encord_agents.labels.reading import to_detections

__all__ = ["Detections", "add_detections", "to_detections"]
