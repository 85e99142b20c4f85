"""Conversion of detectors' results to labels on label rows, and of label rows to detections."""

from __future__ import annotations

from encord_agents.labels.detections import Detections
from encord_agents.labels.drawing import add_detections
from encord_agents.labels.reading import to_detections

__all__ = ["Detections", "add_detections", "to_detections"]
