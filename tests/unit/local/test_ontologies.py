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
        ('{"objects": [{"id": "1", "name": "Cat"}]}', "something in it lacks '"),
        (json.dumps({"objects": [CAT | {"shape": "blob"}]}), "blob"),
        ('{"objects": "cats"}', "SDK understands"),
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
