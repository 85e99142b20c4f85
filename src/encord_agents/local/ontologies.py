"""The ontology of a project, from whatever a user has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.workflow import read_mapping

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

    if isinstance(given, OntologyStructure):
        return given.to_dict()
    source = "The ontology"
    if isinstance(given, (str, Path)):
        source = str(given)
        given = read_mapping(Path(given))
    content = given.get("editor") or given
    if not isinstance(content, Mapping) or not ("objects" in content or "classifications" in content):
        raise LocalPlatformError(f"{source} is not an ontology: it has neither `objects` nor `classifications`.")
    try:
        return OntologyStructure.from_dict({"objects": [], "classifications": [], **content}).to_dict()
    except KeyError as error:
        raise LocalPlatformError(f"{source} is not an ontology: something in it lacks {error}.") from error
    except Exception as error:
        raise LocalPlatformError(
            f"{source} is not an ontology that the SDK understands: {type(error).__name__}: {error}"
        ) from error
