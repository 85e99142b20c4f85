"""Reads a project's ontology from an SDK structure, a mapping or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, model_validator

from encord_agents.local.files import kind, read_mapping
from encord_agents.local.trouble import LocalPlatformError
from encord_agents.local.written import Flag, Text, checked, choice, refuse_others

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


class _Part(BaseModel):
    """A part of an ontology written by hand: the keys that the SDK reads, and no others."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        return refuse_others(given, [field.alias or name for name, field in cls.model_fields.items()])


class _Feature(_Part):
    id: Any
    feature: Annotated[Text, Field(alias="featureNodeHash")]


class _Option(_Feature):
    label: Text
    value: Text
    archived: Flag = False
    options: list[_Attribute] = []


class _Attribute(_Feature):
    name: Text
    type: Literal["radio", "checklist", "text", "numeric"]
    required: Flag
    archived: Flag = False
    dynamic: Flag = False
    options: list[_Option] = []


def _shape(given: str) -> str:
    from encord.objects import Shape

    there = [shape.value for shape in Shape]
    if given not in there:
        raise ValueError(f"no shape is called {given!r}; {choice(given, there, 'shapes')}")
    return given


class _Object(_Feature):
    name: Text
    color: Text
    shape: Annotated[Text, AfterValidator(_shape)]
    required: Flag = False
    archived: Flag = False
    attributes: list[_Attribute] = []


class _Classification(_Feature):
    level: Text | None = None
    attributes: list[_Attribute]


class _Editor(_Part):
    objects: list[_Object] = []
    classifications: list[_Classification] = []
    skeleton_templates: list[Any] = []


_WRITTEN = TypeAdapter(_Editor)


def editor(given: Mapping[str, Any] | OntologyStructure | str | Path | None) -> dict[str, Any]:
    """Return the ``editor`` of a given ontology, which is the platform's name for its content.

    Raises:
        LocalPlatformError: It is not an ontology, or the SDK does not understand it.
    """
    if given is None:
        return DEFAULT
    from encord.objects import OntologyStructure

    source = "The ontology"
    if isinstance(given, OntologyStructure):
        return understood(given.to_dict())
    if isinstance(given, (str, Path)):
        source = str(given)
        given = read_mapping(Path(given))
    content = given.get("editor") or given
    if not isinstance(content, Mapping) or not ("objects" in content or "classifications" in content):
        raise LocalPlatformError(f"{source} is not an ontology: it has neither `objects` nor `classifications`.")
    checked(_WRITTEN, content, source)
    return understood(content, source)


def understood(content: Mapping[str, Any], source: str = "The ontology") -> dict[str, Any]:
    """Return an editor after a round trip through the SDK.

    Raises:
        LocalPlatformError: The SDK does not understand it.
    """
    from encord.objects import OntologyStructure

    try:
        read = OntologyStructure.from_dict({"objects": [], "classifications": [], **content}).to_dict()
        _check_features(read, source)
        orjson.dumps([[[[read]]]])  # it will be sent nested deep inside an answer
        return read
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
    """Check that each feature has a unique hash that is text: labels refer to features by hash alone.

    Raises:
        LocalPlatformError: A hash is missing, not text, or not unique.
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
