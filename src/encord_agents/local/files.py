"""The YAML and JSON files that users write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from encord_agents.local.trouble import WorkflowError


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML or JSON file.

    Raises:
        WorkflowError: The file cannot be read, is not a mapping, or has a duplicate key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin files with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise WorkflowError(f"{path} cannot be read: {error}") from error
    try:
        if path.suffix.lower() == ".json":
            data = json.loads(text, object_pairs_hook=_unique)
        else:
            data = _load_yaml(text)
    except WorkflowError as error:
        raise WorkflowError(f"{path}: {error}") from None
    except ValueError as error:
        raise WorkflowError(f"{path} is neither YAML nor JSON: {error}") from error
    except RecursionError:
        raise WorkflowError(f"{path} is nested too deeply.") from None
    if not isinstance(data, dict):
        raise WorkflowError(f"{path} must hold a mapping, and holds {kind(data)}")
    return data


def _load_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Refuses duplicate keys, which are a mistake; plain YAML loaders keep the last one."""

        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            # Checked on the mapping as written: after merging, keys from a merge key may legitimately be overridden.
            node: yaml.MappingNode = super().compose_mapping_node(anchor)
            _unique([(key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
            return node

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def _unique(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, value in pairs:
        if key in found:
            raise WorkflowError(f"{key!r} is there twice in one mapping")
        found[key] = value
    return found


def kind(value: Any) -> str:
    """Describe a value for a message: a short one by its repr, others by their type."""
    if value is None:
        return "nothing"
    short = isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= 100)
    return f"{value!r}" if short else f"a {type(value).__name__}"
