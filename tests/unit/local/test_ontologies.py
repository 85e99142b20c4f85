"""Ontologies: what is understood, and what is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from encord.objects import OntologyStructure

from encord_agents.local import LocalPlatformError
from encord_agents.local.ontologies import DEFAULT, editor

CAT = {"id": "1", "name": "Cat", "color": "#D33115", "shape": "polygon", "featureNodeHash": "c4t"}


def names(given: Any) -> list[str]:
    return [found["name"] for found in editor(given)["objects"]]


def test_what_may_be_given(tmp_path: Path) -> None:
    """A mapping, one with an `editor` as the platform exports it, the SDK's structure, or a file with either."""
    structure = OntologyStructure.from_dict({"objects": [CAT], "classifications": []})
    path = tmp_path / "ontology.json"
    path.write_text(json.dumps({"title": "Cats", "editor": {"objects": [CAT]}}))
    for given in ({"objects": [CAT]}, {"editor": {"objects": [CAT]}}, structure, path, str(path)):
        assert names(given) == ["Cat"]
    assert editor(None) == DEFAULT


def test_the_default_is_one() -> None:
    """The SDK understands it, and changes nothing about its features."""
    assert OntologyStructure.from_dict(DEFAULT).to_dict()["objects"][0]["featureNodeHash"] == "pErs0nB1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("{", "neither YAML nor JSON"),
        ("[]", "must hold a mapping"),
        ("{}", "neither `objects` nor `classifications`"),
        ('{"stages": []}', "neither `objects` nor `classifications`"),
        ('{"editor": "words"}', "neither `objects` nor `classifications`"),
        ('{"objects": [{"id": "1", "name": "Cat"}]}', "objects[0].shape: is missing"),
        (json.dumps({"objects": [CAT | {"shape": "blob"}]}), "objects[0].shape: no shape is called 'blob'; shapes are"),
        ('{"objects": "cats"}', "objects: must be a list, not 'cats'"),
        (
            json.dumps({"objects": [CAT | {"colour": "red"}]}),
            "there is no 'colour' here; there are 'id', 'featureNodeHash'",
        ),
        (json.dumps({"objects": [CAT], "title": "Cats"}), "there is no 'title' here"),
        ('{"objects": [], "objects": []}', "'objects' is there twice"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str | None, says: str) -> None:
    """The message names the file and says what is wrong."""
    path = tmp_path / "ontology.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(LocalPlatformError) as caught:
        editor(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def radio(hash: Any, option: Any) -> dict[str, Any]:
    options = [{"id": "1.1.1", "label": "In", "value": "in", "featureNodeHash": option}]
    attribute = {"id": "1.1", "name": "Where", "type": "radio", "required": False, "featureNodeHash": hash}
    return {"id": "1", "featureNodeHash": "cl4", "attributes": [attribute | {"options": options}]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"objects": [CAT | {"featureNodeHash": None}]}, "objects[0].featureNodeHash: is missing"),
        ({"objects": [CAT | {"featureNodeHash": 3}]}, "objects[0].featureNodeHash: must be text, not 3"),
        ({"objects": [CAT | {"featureNodeHash": ""}]}, "objects[0].featureNodeHash: must not be empty"),
        ({"objects": [CAT, CAT | {"id": "2", "name": "Dog"}]}, "'Cat' and 'Dog' have the same featureNodeHash, 'c4t'"),
        ({"classifications": [radio(None, "o")]}, "classifications[0].attributes[0].featureNodeHash: is missing"),
        ({"classifications": [radio("r", 7)]}, "attributes[0].options[0].featureNodeHash: must be text, not 7"),
        ({"classifications": [radio("cl4", "o")]}, "have the same featureNodeHash, 'cl4'"),
        ({"objects": [CAT], "classifications": [radio("r", "c4t")]}, "'Cat' and 'In' have the same featureNodeHash"),
        ({"objects": [CAT | {"name": "\ud800"}]}, "objects[0].name: must be text that can be stored"),
    ],
)
def test_hashes_that_name_no_one_feature(given: Any, says: str) -> None:
    """The message names the feature, and what its hash must be; wherever it is in the ontology."""
    with pytest.raises(LocalPlatformError) as caught:
        editor(given)
    assert says in str(caught.value)


def test_an_ontology_that_is_too_deep() -> None:
    """It is refused when the project is made, and not when it is asked for."""
    inner: dict[str, Any] = {}
    for level in range(150):
        options = [{"id": "1.1.1", "label": "x", "value": "x", "featureNodeHash": f"o{level}"}]
        if inner:
            options[0]["options"] = [inner]  # type: ignore[assignment]
        inner = {"id": "1.1", "name": "x", "type": "radio", "required": False, "featureNodeHash": f"a{level}"}
        inner["options"] = options
    with pytest.raises(LocalPlatformError, match=r"nested too deeply|SDK understands|there is no"):
        editor({"classifications": [{"id": "1", "featureNodeHash": "c", "attributes": [inner]}]})
