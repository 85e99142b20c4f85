"""Keys and titles of an answer."""

from __future__ import annotations

import pytest
from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, RadioAttribute, TextAttribute

from encord_agents.core.ontology.fields import (
    Checklist,
    Radio,
    choices_of_objects,
    fields_of_classifications,
    loose,
)
from encord_agents.exceptions import PrintableError


def text_titled(*titles: str) -> OntologyStructure:
    structure = OntologyStructure()
    for title in titles:
        structure.add_classification().add_attribute(TextAttribute, title)
    return structure


@pytest.mark.parametrize(
    ("title", "key"),
    [
        ("Caption", "caption"),
        ("Why bad?", "why_bad"),
        ("2 wheels", "2_wheels"),
        ("A/B-C", "abc"),
        ("  x ", "x"),
        ("a.b", "ab"),
        ("Größe", "grosse"),
        ("日本", "field"),
        ("!?", "field"),
        ("feature_node_hash", "feature_node_hash_2"),
        ("x" * 100, "x" * 56),
    ],
)
def test_keys(title: str, key: str) -> None:
    """A key is what every provider takes for a name; those of plain titles are as in 0.2.10."""
    (field,) = fields_of_classifications(text_titled(title).classifications)
    assert field.key == key


def test_titles_that_look_alike_stay_apart() -> None:
    """Titles that differ only in case or punctuation have keys of their own."""
    fields = fields_of_classifications(text_titled("Big", "big!", "BIG", "big 2").classifications)
    assert [field.key for field in fields] == ["big", "big_2", "big_3", "big_2_2"]


def test_options_that_look_alike_stay_apart() -> None:
    """Flags have keys of their own, and options of one title have their hash with it."""
    structure = OntologyStructure()
    checklist = structure.add_classification().add_attribute(ChecklistAttribute, "Tags")
    radio = structure.add_classification().add_attribute(RadioAttribute, "Kind")
    hashes = []
    for label in ("a b", "A b!"):
        checklist.add_option(label)
        radio.add_option(label)
        hashes.append(radio.add_option("same").feature_node_hash)
    tags, kind = fields_of_classifications(structure.classifications)
    assert isinstance(tags, Checklist)
    assert isinstance(kind, Radio)
    assert list(tags.options) == ["a_b", "a_b_2"]
    assert [c.title for c in kind.choices] == ["a b", f"same [{hashes[0]}]", "A b!", f"same [{hashes[1]}]"]


def test_a_title_that_is_the_word_title() -> None:
    """A nested attribute may be called "Title"; then the option's own title is not told beside it."""
    structure = OntologyStructure()
    thing = structure.add_object("Book", Shape.BOUNDING_BOX)
    thing.add_attribute(TextAttribute, "Title")
    (choice,) = choices_of_objects([thing])
    assert not choice.tells_title


def test_what_was_archived_is_no_answer() -> None:
    """Archived attributes and options are left out."""
    structure = OntologyStructure()
    radio = structure.add_classification().add_attribute(RadioAttribute, "Kind")
    radio.add_option("old").archived = True
    radio.add_option("new")
    structure.add_classification().add_attribute(TextAttribute, "Old").archived = True
    (kind,) = fields_of_classifications(structure.classifications)
    assert isinstance(kind, Radio)
    assert [choice.title for choice in kind.choices] == ["new"]


def test_without_options_there_is_no_answer() -> None:
    """That is told when the model is made, with the attribute's title."""
    structure = OntologyStructure()
    structure.add_classification().add_attribute(RadioAttribute, "Kind")
    with pytest.raises(PrintableError, match="'Kind' has no options"):
        fields_of_classifications(structure.classifications)


def test_what_loosely_is_the_same() -> None:
    """Case, accents, spaces and punctuation do not count."""
    assert loose(" Crème-brûlée! ") == loose("CREME BRULEE")
