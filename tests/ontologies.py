"""An ontology with attributes of every kind, nested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from encord.objects import OntologyStructure, Shape
from encord.objects.attributes import ChecklistAttribute, NumericAttribute, RadioAttribute, TextAttribute


@dataclass
class Things:
    """The ontology, and how an answer about it begins."""

    structure: OntologyStructure = field(default_factory=OntologyStructure)

    def __post_init__(self) -> None:
        structure = self.structure
        quality = structure.add_classification().add_attribute(RadioAttribute, "Quality?", required=True)
        quality.add_option("Good")
        bad = quality.add_option("Bad!")
        why = bad.add_nested_attribute(ChecklistAttribute, "Why bad")
        why.add_option("Blurry")
        why.add_option("Dark (very)")
        bad.add_nested_attribute(TextAttribute, "Comment", required=True)
        structure.add_classification().add_attribute(TextAttribute, "Caption")
        tags = structure.add_classification().add_attribute(ChecklistAttribute, "Tags")
        tags.add_option("Indoors")
        tags.add_option("People")
        structure.add_classification().add_attribute(NumericAttribute, "How many")
        car = structure.add_object("Car", Shape.BOUNDING_BOX)
        colour = car.add_attribute(RadioAttribute, "Colour")
        colour.add_option("Red")
        colour.add_option("Blue")
        car.add_attribute(TextAttribute, "Plate", dynamic=True)
        structure.add_object("Tree", Shape.BOUNDING_BOX)

    def hash(self, title: str) -> str:
        """The hash of the attribute, option or object with this title."""
        return _hashes(self.structure)[title]

    def answer(self) -> dict[str, Any]:
        """A complete answer about the classifications, as the schema wants it."""
        hash_ = self.hash
        return {
            "quality": {
                "feature_node_hash": hash_("Quality?"),
                "choice": {
                    "feature_node_hash": hash_("Bad!"),
                    "title": "Bad!",
                    "why_bad": {"feature_node_hash": hash_("Why bad"), "blurry": True, "dark_very": False},
                    "comment": {"feature_node_hash": hash_("Comment"), "value": "hm"},
                },
            },
            "caption": {"feature_node_hash": hash_("Caption"), "value": "a cat"},
            "tags": {"feature_node_hash": hash_("Tags"), "indoors": True, "people": False},
            "how_many": {"feature_node_hash": hash_("How many"), "value": 3.5},
        }

    def about_a_car(self) -> dict[str, Any]:
        """A complete answer about an object."""
        return {
            "choice": {
                "feature_node_hash": self.hash("Car"),
                "title": "Car",
                "colour": {"feature_node_hash": self.hash("Colour"), "choice": "Red"},
                "plate": {"feature_node_hash": self.hash("Plate"), "value": "X 1"},
            }
        }


def _hashes(structure: OntologyStructure) -> dict[str, str]:
    found: dict[str, str] = {}

    def look(attributes: Any) -> None:
        for attribute in attributes:
            found[attribute.title] = attribute.feature_node_hash
            for option in getattr(attribute, "options", ()):
                found[option.label] = option.feature_node_hash
                look(getattr(option, "attributes", ()))

    for element in (*structure.classifications, *structure.objects):
        found.setdefault(element.title, element.feature_node_hash)
        look(element.attributes)
    return found


def answered(instance: Any) -> dict[str, Any]:
    """What an instance of the SDK says, by the titles of its attributes."""
    told: dict[str, Any] = {}
    for answer in instance.get_all_static_answers():
        if answer.is_answered():
            value = answer.get()
            if isinstance(value, list):
                value = [option.label for option in value]
            told[answer.ontology_attribute.title] = getattr(value, "label", value)
    return told
