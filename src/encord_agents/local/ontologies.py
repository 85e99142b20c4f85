"""The ontology of a project, from whatever a user has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from encord_agents.local.files import kind, read_mapping
from encord_agents.local.trouble import LocalPlatformError

if TYPE_CHECKING:
    from encord.objects import OntologyStructure

DEFAULT: dict[str, Any] = {
    "objects": [
        {
            "id": "1",
            "name": "Person",
            "color": "#D33115",
            "shape": "bounding_box",
            "featureNodeHash": "pErs0nB1",
            "required": False,
            "archived": False,
        }
    ],
    "classifications": [
        {
            "id": "1",
            "featureNodeHash": "sCeneCl1",
            "attributes": [
                {
                    "id": "1.1",
                    "name": "Scene",
                    "type": "radio",
                    "required": False,
                    "featureNodeHash": "sCeneRa1",
                    "options": [
                        {"id": "1.1.1", "label": "Indoors", "value": "indoors", "featureNodeHash": "sCeneIn1"},
                        {"id": "1.1.2", "label": "Outdoors", "value": "outdoors", "featureNodeHash": "sCeneOu1"},
                    ],
                }
            ],
        }
    ],
    "skeleton_templates": [],
}


def editor(given: Mapping[str, Any] | OntologyStructure | str | Path | None) -> dict[str, Any]:
    """The editor of an ontology: the platform's word for its content.

    Raises:
        LocalPlatformError: It is none, or one that the SDK does not understand.
    """
    if given is None:
        return DEFAULT
    from encord.objects import OntologyStructure

    source = "The ontology"
    if isinstance(given, OntologyStructure):
        given = given.to_dict()
    if isinstance(given, (str, Path)):
        source = str(given)
        given = read_mapping(Path(given))
    content = given.get("editor") or given
    if not isinstance(content, Mapping) or not ("objects" in content or "classifications" in content):
        raise LocalPlatformError(f"{source} is not an ontology: it has neither `objects` nor `classifications`.")
    try:
        understood = OntologyStructure.from_dict({"objects": [], "classifications": [], **content}).to_dict()
        _check_features(understood, source)
        orjson.dumps([[[[understood]]]])  # it will be sent, deep within an answer
        return understood
    except LocalPlatformError:
        raise
    except RecursionError:
        raise LocalPlatformError(f"{source} is nested too deeply.") from None
    except KeyError as error:
        raise LocalPlatformError(f"{source} is not an ontology: something in it lacks {error}.") from error
    except Exception as error:
        raise LocalPlatformError(
            f"{source} is not an ontology that the SDK understands: {type(error).__name__}: {error}"
        ) from error


def _check_features(editor: Mapping[str, Any], source: str) -> None:
    """Labels name a feature by its hash alone, so that it must be text, and one feature's.

    Raises:
        LocalPlatformError: Another hash.
    """
    seen: dict[str, str] = {}
    waiting = [*editor["classifications"][::-1], *editor["objects"][::-1]]
    while waiting:
        feature = waiting.pop()
        name = str(feature.get("name") or feature.get("label") or f"the classification {feature.get('id')}")
        hash = feature.get("featureNodeHash")
        if not isinstance(hash, str) or not hash:
            raise LocalPlatformError(f"{source}: the featureNodeHash of {name!r} must be text, not {kind(hash)}.")
        if hash in seen:
            raise LocalPlatformError(f"{source}: {seen[hash]!r} and {name!r} have the same featureNodeHash, {hash!r}.")
        seen[hash] = name
        for inner in ("attributes", "options"):
            waiting += reversed(feature.get(inner) or [])
